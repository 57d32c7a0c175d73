"""Other ways to a circuit than the reference's, and circuits that are rewarded for sharing.

Methods, each at the number of edges of the reference circuit (`dissect`, draw 1, whole context), each measured on
fresh prompts:

    noising, denoising, larger    the edges of largest exact effect, or of the larger of both
    attribution                   of largest integrated gradient
    pruned                        learned gates

Written down before these tables (of one model, n = 3, seed 0, 1-after-query, overlaps had been seen while the
methods were timed):

    A method stands in for the reference where its overlap with it is as high as that of the reference found twice:
    the 95 % t interval over models of (overlap - ceiling) reaches 0 or more.  Predicted: the exact effects come
    near, for elimination tries the edges in that order; attribution below them; pruning, which alone sees edges
    together, lower in overlap and yet nearest in distance. If all methods miss the ceiling by as much as two tasks
    do, an overlap of two tasks found by *different* methods says nothing.

    Can one set of edges serve both tasks?  Two objectives that reward sharing:
    joint       elimination on the prompts of both tasks at once, down to a tenth of either's distance.  Its price
                c = (edges of the joint circuit - of the larger own one) / edges of the smaller own one is 0 where
                the larger circuit serves both tasks as it stands, 1 where each needs all of its own.  Interval of c
                over models below LOW: one set of edges can serve both; above HIGH: it cannot; inside: in part; else
                undecided.
    rewarded    2-after-query found again, with 1-after's circuit favoured: in elimination every edge outside of that is tried first; in
                pruning, at equal size, keeping that circuit is worth SHARING.  Overlap up to the ceiling without
                loss of distance on fresh prompts: that the unrewarded circuits differ is a choice among equals.
                Overlap that does not rise, or only at a price: the tasks need edges of their own.
    Predicted: c inside [LOW, HIGH]: they share the haystack's reading and part at the query. Added when all had been
    seen: the c of the two reference circuits put together.  Where the joint circuit is no smaller, asking for one
    has saved nothing, and c says no more than their overlap does. Added when six models had been seen: rank
    correlation of c with the label index of 2-after-query, as for r in `recall.studies.weights.dissect`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall.circuits.faithfulness import eliminate, measure, overlap, strongest
from recall.circuits.graph import Patcher, attribution
from recall.circuits.pruning import PruningConfig, prune
from recall.runs import Run
from recall.settings import from_json
from recall.studies.weights import dissect
from recall.studies.weights.dissect import DISTANCE, KEYS, SEEDS, TEST_SEED, Scale, circuits_of, keys, pair, written
from recall.training import build_model

CORRUPTION, TASKS = "whole-context", ("1-after", "2-after")
METHODS = ("noising", "denoising", "larger", "attribution", "pruned")
# keeping one of some fifty edges is then worth 0.005 of the distance, half of what makes an edge essential
SHARING = 5.0

COMPARED = [
    *KEYS,
    "task",
    "method",
    "edges",
    "overlap",
    "null",
    "with_first",
    "with_first_null",
    "faithfulness",
    "distance",
    "circuit",
]


def compare(run: Run, circuits: pd.DataFrame, edges: pd.DataFrame, scale: Scale = Scale()) -> pd.DataFrame:
    """Every method's circuit of 1- and 2-after-query, whole context, of the last step: COMPARED, a row per task and
    method.

    circuits, edges: as `dissect` makes them of this run.  Methods are METHODS, `reference` and `again` (its second
    draw, at its own size, whose overlap is the ceiling), and for sharing `joint`, `rewarded` (elimination), `pruned
    rewarded`; the last two of 2-after-query only.  overlap, null: with the reference, and of random circuits of
    these sizes.  with_first, with_first_null: of a circuit of 2-after-query with that of 1-after-query by the same
    method; rewarded ones with the one they were rewarded for. A model that the corruption does not move in both
    tasks has no rows."""
    circuits = circuits[
        (circuits.run == run.name) & (circuits.corruption == CORRUPTION) & (circuits.step == run.history.step.max())
    ]
    edges = edges[(edges.run == run.name) & (edges.corruption == CORRUPTION) & (edges.step == run.history.step.max())]
    of, config = circuits_of(circuits), from_json(run.config)
    if not set(TASKS) <= set(of):
        return pd.DataFrame(columns=COMPARED)
    model = build_model(config, run.weights())
    prompts = lambda seed, haystacks: {task: pair(config.task, task, CORRUPTION, seed, haystacks) for task in TASKS}
    patchers, fresh = (
        {task: Patcher(model, each) for task, each in prompts(seed, n).items()}
        for seed, n in ((SEEDS[1], scale.find), (TEST_SEED, scale.test))
    )
    learnt, graph = prompts(SEEDS[1], scale.learn), next(iter(fresh.values())).graph
    size = {task: int(of[task][0].sum()) for task in TASKS}
    edges = edges.set_index(["writer", "reader"]).loc[list(graph.edges)]
    effects = {
        task: edges[[f"noising_{k}", f"denoising_{k}"]]
        .set_axis(["noising", "denoising"], axis=1)
        .assign(larger=lambda f: f.abs().max(axis=1), attribution=attribution(patchers[task]).effect.to_numpy())
        for k, task in ((1, TASKS[0]), (2, TASKS[1]))
    }
    found = {(task, name): circuit for task in TASKS for name, circuit in zip(("reference", "again"), of[task])}
    for task in TASKS:
        found |= {(task, name): strongest(effects[task][name], size[task]) for name in METHODS[:-1]}
        found[task, "pruned"] = prune(model, learnt[task], PruningConfig(size[task], steps=scale.steps))[0]
    first, second = TASKS
    joint = eliminate(
        list(patchers.values()), np.maximum(*(effects[task].larger.to_numpy() for task in TASKS)), DISTANCE
    )
    found |= {(task, "joint"): joint for task in TASKS}
    favoured = effects[second].larger.to_numpy() + 1e3 * of[first][0].numpy()
    found[second, "rewarded"] = eliminate(patchers[second], favoured, DISTANCE)
    found[second, "pruned rewarded"] = prune(
        model, learnt[second], PruningConfig(size[second], steps=scale.steps, sharing=SHARING), found[first, "pruned"]
    )[0]
    rows = []
    for (task, method), circuit in found.items():
        own, measured = overlap(circuit, of[task][0], graph), measure(fresh[task], circuit)
        row = keys(run) | dict(
            task=task, method=method, circuit=written(circuit), overlap=own["overlap"], null=own["null"]
        )
        row |= {name: measured[name] for name in ("edges", "faithfulness", "distance")}
        if task == second and method != "joint":
            other = overlap(
                circuit, found[first, {"rewarded": "reference", "pruned rewarded": "pruned"}.get(method, method)], graph
            )
            row |= dict(with_first=other["overlap"], with_first_null=other["null"])
        rows.append(row)
    return pd.DataFrame(rows, columns=COMPARED)


def prices(methods: pd.DataFrame) -> pd.DataFrame:
    """What one circuit for both tasks costs, a row per model: KEYS, first, second, joint (edges), price (the c of
    this module's docstring), together (the c of the two reference circuits put together, for which nobody asked).
    """
    rows = []
    for values, group in methods.groupby(KEYS, sort=False):
        edges = group.set_index(["method", "task"]).edges
        first, second, joint = edges["reference", TASKS[0]], edges["reference", TASKS[1]], edges["joint", TASKS[0]]
        # from edges in both / in either
        either = (first + second) / (1 + group.set_index(["method", "task"]).with_first["reference", TASKS[1]])
        rows.append(
            dict(zip(KEYS, values))
            | dict(
                first=first,
                second=second,
                joint=joint,
                price=dissect.price(joint, first, second),
                together=dissect.price(either, first, second),
            )
        )
    return pd.DataFrame(rows, columns=[*KEYS, "first", "second", "joint", "price", "together"])


def differences(methods: pd.DataFrame, column: str, method: str, other: str, task: str | None = None) -> pd.Series:
    """By model (mean over tasks, or of one): a column of one method less that of another."""
    rows = methods if task is None else methods[methods.task == task]
    means = rows.pivot_table(index="run", columns="method", values=column, sort=False)
    return (means[method] - means[other]).dropna() if {method, other} <= set(means) else pd.Series(dtype=float)


def verdict(prices: pd.DataFrame) -> str:
    """Whether one set of edges can serve both tasks, by the rule of this module's docstring: `it can`, `it cannot`,
    `in part` or `undecided`.
    """
    return {"separate": "it can", "shared": "it cannot", "partly shared": "in part"}.get(
        dissect.verdict(prices.price), "undecided"
    )
