"""What the circuits of two tasks share, and the rule for "separate mechanisms".

Written down before any of these tables (LOW, HIGH):

    shared part   r = (o - null) / (ceiling - null), with o the overlap of the circuits of 1- and 2-after-query (edges
                  in both over edges in either, mean over draws), null that of random circuits of these sizes, ceiling
                  that of one task's two draws (mean of both tasks).  Only models in which the corruption changes both
                  predictions by `dissect.TELLING` or more.
    separate      the 95 % t interval of r over models lies below LOW;  shared: above HIGH;  partly shared: inside
                  [LOW, HIGH];  else undecided, and so with fewer than five models.
    The study's 0 % does not hold in our models where the interval of o itself lies above 0.

    The natural experiment.  If overlap of edges meant a shared mechanism, r would rise with the label index at k = 2:
    models whose 2-after-query follows the label must compute it with what computes 1-after-query.  Spearman's rank
    correlation of r with that index over models, 95 % interval (bootstrap): above 0, overlap measures what the study
    takes it for; below or around 0, it does not.

Added after the first three models had been seen; the rule above stays:

    beyond chance   "above 0" is easy, random circuits of these sizes share edges too: 0 % counts as wrong only where
                    the interval of o - null lies above 0.
    inside          edges in both over the edges of the smaller circuit: a circuit that lies within a larger one is at
                    1, whose o is bounded by the ratio of their sizes.
    across          the circuit that the label moves at k = 1 (query-label) beside the one that the state moves at
                    k = 2 (resumed-state).
    other tasks     the same figures for 3-after and later, and for 2-after on synchronised prompts, where the state
                    tells nothing.

Written down before any model was followed while it converts (`dissect.over_training`; its 2-after-query goes from
following the states to following the label, label index at k = 2 from about 0 to about 1):

    If overlap of edges meant a shared mechanism, r would rise as the model converts: in each model, Spearman's
    correlation over steps of r with the label index, steps before both abilities are there left out.  All clearly
    positive: overlap tells which mechanism is used.  Around zero or of mixed sign: the way 2-after-query is answered
    changes and the overlap does not notice.  Predicted: r stays where it is, as it does between finished models of
    both kinds.

    Added when six finished models had been seen, before a converting one: the price c of one circuit for both tasks
    (`methods`) is 0 in the only one of them whose label index is about 1, and 0.3 or more in the others.  If c, unlike
    r, tells the mechanism, it falls towards 0 in each model that converts.

    Added when both converting models had been seen: *clearly* positive is a correlation that at most one in twenty
    orders of the steps reaches (steps of one run are not independent: that is no p-value); fewer than LEAST models
    decide nothing either way.  An edge starts to matter at the first step at which the larger of its exact effects on
    a task is ONSET or more.  If an ability were one mechanism put together at its date, the edges of its last circuit
    would start near that date; if it is built out of what is there, many of them start before.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall.circuits.faithfulness import overlap
from recall.circuits.graph import POSITION, Graph
from recall.config import check
from recall.stats import LEAST, interval

LOW, HIGH = 0.25, 0.75
# dimensions of the ten models for which the rule was written; one of n = 2 came later, for the methods' agreement
DECIDING = (3, 5)
DISTANCE = 0.1  # to which circuits are reduced
ONSET = 0.05  # share of the prediction that an edge alone carries, from which on it matters

TASKS, CORRUPTION = ("1-after", "2-after"), "whole-context"
KEYS = ["run", "dimension", "labels", "seed", "layers", "heads", "step"]
BETWEEN = ["overlap", "null", "inside", "inside_null"]
SHARED = [*BETWEEN, "ceiling", "inside_ceiling", "shared"]
ONSETS = ["run", "task", "writer", "reader", "onset", "date"]


# --- tables of circuits: one a row, KEYS, corruption, task, draw and circuit, its edges as text


def as_text(circuit: Tensor) -> str:
    """x for an edge that is kept, a point for one that is not: no reader of a table takes it for a number."""
    return "".join("x" if kept else "." for kept in circuit.tolist())


def from_text(circuit: str) -> Tensor:
    """[E]; ValueError for what `as_text` does not write."""
    check("circuit", bool(circuit) and set(circuit) <= {"x", "."}, "made of x and .", circuit)
    return torch.tensor([float(kept == "x") for kept in circuit])


def circuits_of(group: pd.DataFrame) -> dict[str, list[Tensor]]:
    """task -> its circuits, draw by draw; tasks without one are left out."""
    found = group[group.circuit.notna() & (group.circuit != "")].sort_values("draw")
    return {task: [from_text(circuit) for circuit in part.circuit] for task, part in found.groupby("task", sort=False)}


def decisive(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the models that the verdict is about."""
    return table[table.dimension.isin(DECIDING)]


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.step == table.groupby("run").step.transform("max")]


# --- what two circuits share


def overlaps(circuits: pd.DataFrame, first: str = TASKS[0], second: str = TASKS[1]) -> pd.DataFrame:
    """What the circuits of two tasks share, one row per model and corruption: KEYS, corruption and SHARED.

    Means over the pairs of draws; ceilings: the two draws of one task, mean of the tasks that have two.  shared is
    the r of this module's docstring.  A model without a circuit of either task is left out."""
    rows, columns = [], [*KEYS, "corruption"]
    for values, group in circuits.groupby(columns, sort=False):
        of, model = circuits_of(group), dict(zip(columns, values))
        if not {first, second} <= set(of):
            continue
        graph = Graph(model["layers"], model["heads"])
        between = _between(graph, itertools.product(of[first], of[second]))
        twice = _between(graph, [of[task] for task in (first, second) if len(of[task]) == 2])
        room = twice["overlap"] - between["null"]
        shared = (between["overlap"] - between["null"]) / room if room else math.nan
        ceilings = {"ceiling": twice["overlap"], "inside_ceiling": twice["inside"]}
        rows.append(model | between | ceilings | {"shared": shared})
    return pd.DataFrame(rows, columns=[*columns, *SHARED])


def across(circuits: pd.DataFrame) -> pd.DataFrame:
    """What the label moves at k = 1 (query-label) beside what the state moves at k = 2 (resumed-state), one row per
    model: KEYS and BETWEEN."""
    rows = []
    for values, group in circuits.groupby(KEYS, sort=False):
        model = dict(zip(KEYS, values))
        label = circuits_of(group[group.corruption == "query-label"]).get("1-after")
        state = circuits_of(group[group.corruption == "resumed-state"]).get("2-after")
        if label and state:
            rows.append(model | _between(Graph(model["layers"], model["heads"]), itertools.product(label, state)))
    return pd.DataFrame(rows, columns=[*KEYS, *BETWEEN])


def _between(graph: Graph, pairs: Iterable) -> dict[str, float]:
    """BETWEEN, means over pairs of circuits; nan without any."""
    most, rows = int(graph.carrying.sum()), []
    for a, b in pairs:
        found = overlap(a, b, graph)
        small, large = sorted((found["a"], found["b"]))
        rows.append((found["overlap"], found["null"], found["both"] / max(small, 1), large / most))
    means = np.mean(rows, axis=0).tolist() if rows else [math.nan] * len(BETWEEN)
    return dict(zip(BETWEEN, means))


def between_tasks(circuits: pd.DataFrame, corruption: str = CORRUPTION) -> pd.DataFrame:
    """Overlap of every two tasks' circuits, mean over models; on the diagonal a task's two draws."""
    chosen = circuits[circuits.corruption == corruption]
    tasks = chosen.task.unique().tolist()
    means = pd.DataFrame(math.nan, index=tasks, columns=tasks)
    for first, second in itertools.combinations_with_replacement(tasks, 2):
        found = overlaps(chosen, first, second)
        mean = (found.ceiling if first == second else found.overlap).mean()
        means.loc[first, second] = means.loc[second, first] = mean
    return means


def verdict(shared) -> str:
    """`separate`, `shared`, `partly shared` or `undecided`, by the rule written down above."""
    values = [value for value in shared if not math.isnan(value)]
    _, low, high = interval(values)
    if len(values) < LEAST:
        return "undecided"
    if high < LOW:
        return "separate"
    if low > HIGH:
        return "shared"
    return "partly shared" if low >= LOW and high <= HIGH else "undecided"


def price(joint: float, first: float, second: float) -> float:
    """What one circuit for two tasks costs: 0 where it has no more edges than the larger of their own, 1 where it has
    as many as both together."""
    return (joint - max(first, second)) / min(first, second)


# --- single edges: tables of exact effects on both tasks, as `dissect.dissect` makes them


def larger(effects: pd.DataFrame, task: str = "") -> pd.Series:
    """The larger of both exact effects; task: `_1` or `_2` in a table of both tasks."""
    return effects[[f"noising{task}", f"denoising{task}"]].abs().max(axis=1)


def by_size(edges: pd.DataFrame, corruption: str = CORRUPTION, sizes=(5, 13, 26, 52, 104)) -> pd.DataFrame:
    """Of the `size` edges that matter most to 1-after-query (by the larger of both effects), the share among those of
    2-after-query: size, inside (mean over models), low, high (95 % t interval), chance, models.

    A size that is not less than all edges of some model is left out."""
    chosen, rows = last_steps(edges[(edges.corruption == corruption) & (edges.writer != POSITION)]), []
    models = [group for _, group in chosen.groupby("run")]
    most = min(map(len, models), default=0)
    for size in (size for size in sizes if size < most):
        strongest = [[set(larger(group, task).nlargest(size).index) for task in ("_1", "_2")] for group in models]
        inside, low, high = interval([len(first & second) / size for first, second in strongest])
        rows.append(dict(size=size, inside=inside, low=low, high=high, chance=size / most, models=len(models)))
    return pd.DataFrame(rows)


def onsets(training: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    """When each edge of a model's last circuits starts to matter, in steps: ONSETS, onset the first step at which the
    larger of its effects is ONSET or more (nan if it never is), date that of the task's ability."""
    rows = []
    for run, group in training.groupby("run", sort=False):
        last = group.loc[group.step.idxmax()]
        graph, effects = Graph(last.layers, last.heads), edges[edges.run == run]
        for k in (1, 2):
            circuit, task = last[f"circuit_{k}"], f"{k}-after"
            letters = circuit if isinstance(circuit, str) else ""
            since = effects[larger(effects, f"_{k}") >= ONSET].groupby(["writer", "reader"]).step.min()
            kept = [edge for edge, letter in zip(graph.edges, letters) if letter == "x"]
            rows += [(run, task, *edge, since.get(edge, math.nan), last[f"date_{k}"]) for edge in kept]
    return pd.DataFrame(rows, columns=ONSETS)
