"""Other ways to a circuit than the reference's, and circuits that are rewarded for sharing.

Methods, each at the number of edges of the reference circuit (`dissect`, draw 1, whole context), each measured on
fresh prompts:

    noising, denoising, larger    the edges of largest exact effect, or of the larger of both
    attribution                   of largest integrated gradient
    pruned                        learned gates

Written down before these tables (of one model, n = 3, seed 0, 1-after-query, overlaps had been seen while the methods
were timed):

    A method stands in for the reference where its overlap with it is as high as that of the reference found twice: the
    95 % t interval over models of (overlap - ceiling) reaches 0 or more.  Predicted: the exact effects come near, for
    elimination tries the edges in that order; attribution below them; pruning, which alone sees edges together, lower
    in overlap and yet nearest in distance.  If all methods miss the ceiling by as much as two tasks do, an overlap of
    two tasks found by *different* methods says nothing.

    Can one set of edges serve both tasks?  Two objectives that reward sharing:
    joint       elimination on the prompts of both tasks at once, down to a tenth of either's distance.  Its price
                c = (edges of the joint circuit - of the larger own one) / edges of the smaller own one is 0 where the
                larger circuit serves both tasks as it stands, 1 where each needs all of its own.  Interval of c over
                models below LOW: one set of edges can serve both; above HIGH: it cannot; inside: in part; else
                undecided.
    rewarded    2-after-query found again, with 1-after's circuit favoured: in elimination every edge outside of that
                is tried first; in pruning, at equal size, keeping that circuit is worth SHARING.  Overlap up to the
                ceiling without loss of distance on fresh prompts: that the unrewarded circuits differ is a choice
                among equals.  Overlap that does not rise, or only at a price: the tasks need edges of their own.
    Predicted: c inside [LOW, HIGH]: they share the haystack's reading and part at the query.

    Added when all had been seen: the c of the two reference circuits put together.  Where the joint circuit is no
    smaller, asking for one has saved nothing, and c says no more than their overlap does.  Added when six models had
    been seen: rank correlation of c with the label index of 2-after-query, as for r in `shared`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from recall.circuits.faithfulness import eliminate, measure, overlap, strongest
from recall.circuits.graph import Graph, attribution
from recall.circuits.pruning import PruningConfig, prune
from recall.config import check
from recall.studies.weights import shared
from recall.studies.weights.shared import DISTANCE, KEYS, TASKS, as_text, circuits_of, larger

if TYPE_CHECKING:
    from recall.studies.weights.dissect import Subject

FIRST_TASK, SECOND_TASK = TASKS
EFFECTS = ("noising", "denoising", "larger", "attribution")  # circuits of the strongest edges by one number for each
METHODS = (*EFFECTS, "pruned")
# keeping one of some fifty edges is then worth 0.005 of the distance, half of what makes an edge essential
SHARING = 5.0
REWARDED = {"rewarded": "reference", "pruned rewarded": "pruned"}  # for keeping 1-after's circuit by that method

COMPARED = [*KEYS, *"task method edges overlap null with_first with_first_null faithfulness distance circuit".split()]
SIZES = (("reference", FIRST_TASK), ("reference", SECOND_TASK), ("joint", FIRST_TASK))  # that make a price
PRICES = [*KEYS, "first", "second", "joint", "price", "together"]


def compare(subject: Subject, circuits: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    """Every method's circuit of 1- and 2-after-query, whole context, of the last step: COMPARED, a row per task and
    method.

    circuits, edges: as `dissect` makes them of it.  Methods are METHODS, `reference` and `again` (its second
    draw, at its own size, whose overlap is the ceiling), and for sharing `joint`, `rewarded` (elimination), `pruned
    rewarded`; the last two of 2-after-query only.  overlap, null: with the reference, and of random circuits of these
    sizes.  with_first, with_first_null: of a circuit of 2-after-query with that of 1-after-query by the same method;
    rewarded ones with the one they were rewarded for.  A model that the corruption does not move in both tasks has no
    rows."""
    of = circuits_of(subject.rows(circuits))
    if not set(TASKS) <= set(of):
        return pd.DataFrame(columns=COMPARED)
    found = _found(subject, of, subject.rows(edges))
    fresh, graph, rows = {task: subject.testing(task) for task in TASKS}, Graph.of(subject.model), []
    for (task, method), circuit in found.items():
        own, measured = overlap(circuit, of[task][0], graph), measure(fresh[task], circuit)
        row = subject.keys | {"task": task, "method": method, "circuit": as_text(circuit)}
        row |= {name: own[name] for name in ("overlap", "null")}
        row |= {name: measured[name] for name in ("edges", "faithfulness", "distance")}
        if task == SECOND_TASK and method != "joint":
            other = overlap(circuit, found[FIRST_TASK, REWARDED.get(method, method)], graph)
            row |= {"with_first": other["overlap"], "with_first_null": other["null"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=COMPARED)


def _found(subject: Subject, of: dict[str, list[Tensor]], edges: pd.DataFrame) -> dict[tuple[str, str], Tensor]:
    """(task, method) -> circuit.  of: the reference circuits, both draws; edges: exact effects on both tasks."""
    model, steps = subject.model, subject.scale.steps
    named = tuple(zip(edges.writer, edges.reader))
    check("edges", named == Graph.of(model).edges, "in the order of the model's graph", named[:1])
    patchers = {task: subject.finding(task) for task in TASKS}
    learnt = {task: subject.learning(task) for task in TASKS}
    found = {(task, name): circuit for task in TASKS for name, circuit in zip(("reference", "again"), of[task])}
    size, effects = {task: int(of[task][0].sum()) for task in TASKS}, {}
    for k, task in enumerate(TASKS, start=1):
        effects[task] = {
            "noising": edges[f"noising_{k}"],
            "denoising": edges[f"denoising_{k}"],
            "larger": larger(edges, f"_{k}"),
            "attribution": attribution(patchers[task]).effect,
        }
        found |= {(task, name): strongest(effects[task][name], size[task]) for name in EFFECTS}
        found[task, "pruned"] = prune(model, learnt[task], PruningConfig(size[task], steps=steps))[0]
    most = np.maximum(*(effects[task]["larger"] for task in TASKS))
    joint = eliminate([*patchers.values()], most, DISTANCE)
    found |= {(task, "joint"): joint for task in TASKS}
    favoured = effects[SECOND_TASK]["larger"] + 1e3 * of[FIRST_TASK][0].numpy()
    found[SECOND_TASK, "rewarded"] = eliminate(patchers[SECOND_TASK], favoured, DISTANCE)
    config = PruningConfig(size[SECOND_TASK], steps=steps, sharing=SHARING)
    kept = prune(model, learnt[SECOND_TASK], config, found[FIRST_TASK, "pruned"])[0]
    return found | {(SECOND_TASK, "pruned rewarded"): kept}


def prices(methods: pd.DataFrame) -> pd.DataFrame:
    """What one circuit for both tasks costs, a row per model: PRICES.

    first, second, joint: edges.  price: the c of this module's docstring.  together: the c of the two reference
    circuits put together, for which nobody asked."""
    rows = []
    for values, group in methods.groupby(KEYS, sort=False):
        of = group.set_index(["method", "task"])
        first, second, joint = (of.edges[key] for key in SIZES)
        # the edges in either, from edges in both / in either
        either = (first + second) / (1 + of.with_first["reference", SECOND_TASK])
        costs = shared.price(joint, first, second), shared.price(either, first, second)
        rows.append((*values, first, second, joint, *costs))
    return pd.DataFrame(rows, columns=PRICES)


def differences(methods: pd.DataFrame, column: str, method: str, other: str, task: str | None = None) -> pd.Series:
    """By model (mean over tasks, or of one): a column of one method less that of another."""
    rows = methods if task is None else methods[methods.task == task]
    means = rows.pivot_table(index="run", columns="method", values=column, sort=False)
    return (means[method] - means[other]).dropna() if {method, other} <= set(means) else pd.Series(dtype=float)


def verdict(prices: pd.DataFrame) -> str:
    """Whether one set of edges can serve both tasks, by the rule of this module's docstring: `it can`, `it cannot`,
    `in part` or `undecided`."""
    words = {"separate": "it can", "shared": "it cannot", "partly shared": "in part"}
    return words.get(shared.verdict(prices.price), "undecided")
