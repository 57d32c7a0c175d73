"""Every circuit that chapter 7 compares: of one model, task by task, corruption by corruption, each found twice.

A circuit is the reference kind: greedy backward elimination, in the order of exact single-edge effects, down to a
tenth of the corrupted run's distance (`faithfulness.eliminate`).  The two *draws* of one task use other prompts:
what they share is the most that two tasks can be asked to share.  Everything is then measured on a third set.

Written down before any of these tables, for the verdict on "separate mechanisms" (LOW, HIGH):

    shared part   r = (o - null) / (ceiling - null), with o the overlap of the circuits of 1- and 2-after-query (edges in both over
                  edges in either, mean over draws), null that of random circuits of these sizes, ceiling that of one
                  task's two draws (mean of both tasks).  Only models in which the corruption changes both
                  predictions by TELLING or more.
    separate      the 95 % t interval of r over models lies below LOW;  shared: above HIGH;  partly shared: inside [LOW, HIGH];
                  else undecided, and so with fewer than five models.
    The study's 0 % does not hold in our models where the interval of o itself lies above 0.

    The natural experiment.  If overlap of edges meant a shared mechanism, r would rise with the label index at k =
    2: models whose 2-after-query follows the label must compute it with what computes 1-after-query.  Spearman's
    rank correlation of r with that index over models, 95 % interval (bootstrap): above 0, overlap measures what the
    study takes it for; below or around 0, it does not.

Added after the first three models had been seen; the rule above stays:

    beyond chance   "above 0" is easy, random circuits of these sizes share edges too: 0 % counts as wrong only where the interval of
                    o - null lies above 0.
    inside          edges in both over the edges of the smaller circuit: a circuit that lies within a larger one is at 1, whose o is
                    bounded by the ratio of their sizes.
    across          the circuit that the label moves at k = 1 (query-label) beside the one that the state moves at k = 2 (resumed-state).
    other tasks     the same figures for 3-after and later, and for 2-after on synchronised prompts, where the state tells nothing.

Written down before any model was followed while it converts (`over_training`; its 2-after-query goes from following
the states to following the label, label index at k = 2 from about 0 to about 1):

    If overlap of edges meant a shared mechanism, r would rise as the model converts: in each model, Spearman's
    correlation over steps of r with the label index, steps before both abilities are there left out.  All clearly
    positive: overlap tells which mechanism is used.  Around zero or of mixed sign: the way 2-after-query is answered
    changes and the overlap does not notice. Predicted: r stays where it is, as it does between finished models of
    both kinds. Added when six finished models had been seen, before a converting one: the price c of one circuit for
    both tasks (`recall.studies.weights.methods`) is 0 in the only one of them whose label index is about 1, and 0.3
    or more in the others. If c, unlike r, tells the mechanism, it falls towards 0 in each model that converts. Added
    when both converting models had been seen: *clearly* positive is a correlation that at most one in twenty orders
    of the steps reaches (steps of one run are not independent: that is no p-value); fewer than LEAST models decide
    nothing either way. An edge starts to matter at the first step at which the larger of its exact effects on a task
    is ONSET or more.  If an ability were one mechanism put together at its date, the edges of its last circuit would
    start near that date; if it is built out of what is there, many of them start before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall import interventions
from recall.circuits.corruptions import corrupted_pair, landmarks, patch_row
from recall.circuits.faithfulness import completeness, eliminate, measure, minimality, overlap
from recall.circuits.graph import POSITION, Graph, Patcher, exact
from recall.evaluation import curve, emergence, table
from recall.needle import needle_prompts, query_payload
from recall.runs import Run
from recall.settings import from_json
from recall.stats import LEAST, interval
from recall.task import check
from recall.training import build_model

LOW, HIGH = 0.25, 0.75
TELLING = 0.05  # of E|x|^2 = 1: a corruption that moves the prediction by less leaves nothing to be found
DISTANCE = 0.1  # to which circuits are reduced
# dimensions of the ten models for which the rule was written; one of n = 2 came later, for the methods' agreement
DECLARED = (3, 5)
SEEDS = {1: 11, 2: 12}  # of the prompts of each draw
TEST_SEED = 13
FIRST = 64  # training step from which on a model is followed
ONSET = 0.05  # share of the prediction that an edge alone carries, from which on it matters
FAR = 7  # a late k, or the last that the prompts hold

KEYS = ["run", "dimension", "labels", "seed", "layers", "heads", "step"]
MEASURED = [
    "edges",
    "faithfulness",
    "difference",
    "distance",
    "lost",
    "error",
    "error_full",
    "error_empty",
    "error_std",
    "distance_std",
    "lost_std",
]
CIRCUITS = [
    *KEYS,
    "corruption",
    "task",
    "draw",
    "circuit",
    *MEASURED,
    "complement",
    "complement_after",
    "gap",
    "essential",
    "other",
    "other_distance",
]
EDGES = ["run", "step", "corruption", "writer", "reader", "noising_1", "denoising_1", "noising_2", "denoising_2"]
SHARED = ["overlap", "null", "inside", "inside_null", "ceiling", "inside_ceiling", "shared"]
TRAINING = [
    *KEYS,
    "label_index",
    "error_1",
    "error_2",
    "date_1",
    "date_2",
    *SHARED,
    "edges_1",
    "edges_2",
    "joint",
    "price",
    "circuit_1",
    "circuit_2",
]
# corruption -> (task, draws); `sync` before a task: on synchronised prompts, where the state tells nothing
PLAN = {
    "whole-context": (
        ("1-after", (1, 2)),
        ("2-after", (1, 2)),
        ("3-after", (1,)),
        ("far-after", (1,)),
        ("sync 2-after", (1,)),
    ),
    "binding-swap": (("1-after", (1, 2)), ("2-after", (1, 2)), ("sync 2-after", (1,))),
    "query-label": (("1-after", (1, 2)), ("2-after", (1, 2))),
    "resumed-state": (("2-after", (1,)),),
}


@dataclass(frozen=True)
class Scale:
    """What is spent on one model: haystacks, of two prompts each, N = 2, the needle farthest.

    find: that choose a circuit.  learn: that train the gates of learned pruning, for `steps` steps.  test: that
    measure. telling: of E|x|^2 = 1, a corruption that moves the prediction by less leaves nothing to be found."""

    find: int = 48
    learn: int = 256
    test: int = 128
    steps: int = 200
    telling: float = TELLING

    def __post_init__(self):
        for name in ("find", "learn", "test"):
            check(name, getattr(self, name) >= 2, "at least 2 haystacks", getattr(self, name))
        check("steps", self.steps >= 1, "at least 1", self.steps)
        check("telling", self.telling > 0, "positive", self.telling)


def pair(task_config, task: str, corruption: str, seed: int, haystacks: int):
    """The clean and corrupted prompts of one of PLAN's tasks."""
    prompts = needle_prompts(task_config, 2, seed=seed, haystacks=haystacks, traces=2)
    if task.startswith("sync "):
        prompts = interventions.synchronised(prompts, task_config)
    k = min(FAR, query_payload(task_config))
    return corrupted_pair(prompts, task_config, task.removeprefix("sync ").replace("far", str(k)), corruption)


def keys(run: Run, step: int | None = None) -> dict:
    """What names a model in a table: KEYS."""
    config = from_json(run.config)
    return dict(
        run=run.name,
        dimension=config.task.dimension,
        labels=config.task.labels,
        seed=config.seed,
        layers=config.model.n_layer,
        heads=config.model.n_head,
        step=int(run.history.step.max()) if step is None else step,
    )


def dissect(
    run: Run, step: int | None = None, scale: Scale = Scale(), plan: dict = PLAN
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Circuits of one model (circuit: a letter for every edge, in the order of `Graph.edges`, see `written`) and
    every edge's effects.

    First table: run, dimension, labels, seed, layers, heads, step, corruption, task, draw, circuit, and of the
    circuit on fresh prompts the columns of `faithfulness.measure`, complement and gap of `completeness`, essential
    (share of edges whose loss costs more than 1 %), and other (faithfulness) and other_distance on the other task
    (1- for 2-after and the reverse).  circuit is empty where the corruption moves the prediction by less than
    scale.telling.  Second, where it moves both: run, step, corruption, writer, reader, and the effects of
    `graph.exact` (draw 1) on 1- and 2-after-query: noising_1, denoising_1, noising_2, denoising_2."""
    config, model_keys = from_json(run.config), keys(run, step)
    model = build_model(config, run.weights(step))
    rows, edges = [], []
    for corruption, tasks in plan.items():
        fresh = {task: Patcher(model, pair(config.task, task, corruption, TEST_SEED, scale.test)) for task, _ in tasks}
        for task, draws in tasks:
            for draw in draws:
                row = model_keys | dict(corruption=corruption, task=task, draw=draw)
                if fresh[task].scale < scale.telling:
                    rows.append(row | dict(circuit="", difference=fresh[task].scale))
                    continue
                patcher = Patcher(model, pair(config.task, task, corruption, SEEDS[draw], scale.find))
                effects = exact(patcher)
                circuit = eliminate(patcher, larger(effects), DISTANCE)
                row |= dict(circuit=written(circuit)) | measure(fresh[task], circuit)
                row |= completeness(fresh[task], circuit, torch.Generator().manual_seed(draw), subsets=5)
                row |= dict(essential=float(minimality(patcher, circuit).essential.mean()))
                other = {"1-after": "2-after", "2-after": "1-after"}.get(task)
                if other in fresh and fresh[other].scale >= scale.telling:
                    swapped = measure(fresh[other], circuit)
                    row |= dict(other=swapped["faithfulness"], other_distance=swapped["distance"])
                rows.append(row)
                if draw == 1:
                    edges.append(
                        effects[["writer", "reader", "noising", "denoising"]].assign(
                            run=run.name, step=model_keys["step"], corruption=corruption, task=task
                        )
                    )
    return pd.DataFrame(rows, columns=CIRCUITS), side_by_side(pd.concat(edges)) if edges else pd.DataFrame(
        columns=EDGES
    )


def larger(effects: pd.DataFrame, task: str = "") -> pd.Series:
    """The larger of both exact effects; task: `_1` or `_2` in a table of both tasks."""
    return effects[[f"noising{task}", f"denoising{task}"]].abs().max(axis=1)


def over_training(run: Run, scale: Scale = Scale(find=24), most: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A model taken apart at up to `most` steps of which it has the weights (`followed`): whole context, 1- and
    2-after-query, two draws.

    First table, one row per step: KEYS, label_index (of 2-after-query), error_1, error_2 (plain prompts), date_1,
    date_2 (step at which the abilities emerged, nan if not; from the run's history), the columns of `overlaps`,
    edges_1, edges_2, joint (edges of one circuit for both), price, circuit_1, circuit_2 (draw 1). Second, every
    edge's effects, as `dissect`'s."""
    check("run", run.whole, "a finished run with its weights", run.name)
    config, rows, edges = from_json(run.config), [], []
    prompts = needle_prompts(config.task, 2, seed=TEST_SEED, haystacks=scale.test, traces=2)
    dates = {f"date_{k}": emergence(curve(run.history, k, 2)).date / config.training.batch_size for k in (1, 2)}
    for step in followed(run.steps, np.max([*dates.values()]), most):
        circuits, effects = dissect(run, step, scale, {"whole-context": PLAN["whole-context"][:2]})
        row, model = keys(run, step) | dates, build_model(config, run.weights(step))
        plain, misled = (
            table(model.predict, prompts, config.task, name).query("event == 'query'").set_index("k")
            for name in ("plain", "misdirected")
        )
        row |= {f"error_{k}": plain["mean"][k] for k in (1, 2)} | dict(label_index=misled.label_index[2])
        row |= next(iter(overlaps(circuits)[SHARED].to_dict("records")), {})
        for k in (1, 2):
            first = circuits[(circuits.task == f"{k}-after") & (circuits.draw == 1)].iloc[0]
            row |= {f"edges_{k}": first.edges, f"circuit_{k}": first.circuit}
        if len(effects):
            both = [
                Patcher(model, pair(config.task, f"{k}-after", "whole-context", SEEDS[1], scale.find)) for k in (1, 2)
            ]
            joint = int(eliminate(both, np.maximum(larger(effects, "_1"), larger(effects, "_2")), DISTANCE).sum())
            row |= dict(joint=joint, price=price(joint, row["edges_1"], row["edges_2"]))
        rows.append(row), edges.append(effects)
    return pd.DataFrame(rows, columns=TRAINING), pd.concat(edges, ignore_index=True)


def price(joint: int, first: int, second: int) -> float:
    """What one circuit for two tasks costs: 0 where it is no larger than the larger of their own, 1 where it is as
    large as both together.
    """
    return (joint - max(first, second)) / min(first, second)


def followed(steps: list[int], date: float, most: int) -> list[int]:
    """Up to `most` of the steps from FIRST on, the last one among them: two thirds after the date at which both
    abilities are there (and the last step before it), where a model may convert, one third before; all along where
    there is no such date.
    """
    steps = [step for step in steps if step >= min(FIRST, steps[-1])]
    start = max((step for step in steps if step <= date), default=steps[0])
    early, late = (
        [step for step in steps if side(step)] for side in (lambda step: step <= start, lambda step: step >= start)
    )
    return sorted({*spaced(early, most // 3 + 1), *spaced(late, most - most // 3)})


def spaced(steps: list[int], most: int) -> list[int]:
    """Up to `most` of the steps at about equal ratios, the first and the last among them."""
    return sorted(
        {min(steps, key=lambda step: abs(math.log(step / want))) for want in np.geomspace(steps[0], steps[-1], most)}
    )


def onsets(training: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    """When each edge of a model's last circuits starts to matter, in steps: run, task, writer, reader, onset (first
    step at which the larger of its effects is ONSET or more; nan if it never is), date (of the task's ability).
    """
    rows = []
    for run, group in training.groupby("run", sort=False):
        last = group.loc[group.step.idxmax()]
        graph, effects = Graph(last.layers, last.heads), edges[edges.run == run]
        for k in (1, 2):
            if not isinstance(last[f"circuit_{k}"], str) or not last[f"circuit_{k}"]:
                continue
            there = effects[larger(effects, f"_{k}") >= ONSET].groupby(["writer", "reader"]).step.min()
            rows += [
                dict(
                    run=run,
                    task=f"{k}-after",
                    writer=edge[0],
                    reader=edge[1],
                    onset=there.get(edge, math.nan),
                    date=last[f"date_{k}"],
                )
                for edge, kept in zip(graph.edges, read(last[f"circuit_{k}"]))
                if kept
            ]
    return pd.DataFrame(rows, columns=["run", "task", "writer", "reader", "onset", "date"])


def side_by_side(edges: pd.DataFrame) -> pd.DataFrame:
    """Effects on 1- and 2-after-query in one row per edge, of the corruptions that move both."""
    one, two = (
        edges[edges.task == f"{k}-after"]
        .rename(columns={name: f"{name}_{k}" for name in ("noising", "denoising")})
        .drop(columns="task")
        for k in (1, 2)
    )
    return one.merge(two, on=["run", "step", "corruption", "writer", "reader"])[EDGES]


def written(circuit: Tensor) -> str:
    """x for an edge that is kept, a point for one that is not: no reader of a table takes it for a number."""
    return "".join("x" if kept else "." for kept in circuit.tolist())


def read(circuit: str) -> Tensor:
    """[E]; ValueError for what `written` does not write."""
    check("circuit", bool(circuit) and set(circuit) <= {"x", "."}, "made of x and .", circuit)
    return torch.tensor([float(kept == "x") for kept in circuit])


def declared(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the models that the verdict is about."""
    return table[table.dimension.isin(DECLARED)]


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.step == table.groupby("run").step.transform("max")]


def circuits_of(group: pd.DataFrame) -> dict[str, list[Tensor]]:
    """task -> its circuits, draw by draw; tasks without one are left out."""
    found = group[group.circuit.map(lambda circuit: isinstance(circuit, str) and circuit != "")].sort_values("draw")
    return {task: [read(circuit) for circuit in part.circuit] for task, part in found.groupby("task", sort=False)}


def _both(pairs: list[tuple[Tensor, Tensor]], graph: Graph) -> dict[str, float]:
    """Means over pairs of circuits: overlap, null, inside, inside_null."""
    if not pairs:
        return dict(overlap=math.nan, null=math.nan, inside=math.nan, inside_null=math.nan)
    found = [overlap(a, b, graph) for a, b in pairs]
    most = int(graph.carrying.sum())
    mean = lambda value: float(np.mean([value(each) for each in found]))
    return dict(
        overlap=mean(lambda e: e["overlap"]),
        null=mean(lambda e: e["null"]),
        inside=mean(lambda e: e["both"] / max(min(e["a"], e["b"]), 1)),
        inside_null=mean(lambda e: max(e["a"], e["b"]) / most),
    )


def overlaps(circuits: pd.DataFrame, first: str = "1-after", second: str = "2-after") -> pd.DataFrame:
    """What the circuits of two tasks share, one row per model and corruption: overlap, null, ceiling, shared,
    inside, inside_null, inside_ceiling.

    Means over the pairs of draws; ceilings: the two draws of one task, mean of the tasks that have two.  shared is
    the r of this module's docstring.  A model without a circuit of either task is left out."""
    rows = []
    for values, group in circuits.groupby([*KEYS, "corruption"], sort=False):
        of, model = circuits_of(group), dict(zip([*KEYS, "corruption"], values))
        if first in of and second in of:
            graph = Graph(model["layers"], model["heads"])
            between = _both([(a, b) for a in of[first] for b in of[second]], graph)
            twice = _both([tuple(of[task]) for task in (first, second) if len(of[task]) == 2], graph)
            room = twice["overlap"] - between["null"]
            rows.append(
                model
                | between
                | dict(
                    ceiling=twice["overlap"],
                    inside_ceiling=twice["inside"],
                    shared=(between["overlap"] - between["null"]) / room if room else math.nan,
                )
            )
    return pd.DataFrame(rows, columns=[*KEYS, "corruption", *SHARED])


def across(circuits: pd.DataFrame) -> pd.DataFrame:
    """One row per model: what the label moves at k = 1 (query-label) beside what the state moves at k = 2
    (resumed-state).
    """
    rows = []
    for values, group in circuits.groupby(KEYS, sort=False):
        model = dict(zip(KEYS, values))
        label, state = (
            circuits_of(group[group.corruption == name]).get(task)
            for name, task in (("query-label", "1-after"), ("resumed-state", "2-after"))
        )
        if label and state:
            rows.append(model | _both([(a, b) for a in label for b in state], Graph(model["layers"], model["heads"])))
    return pd.DataFrame(rows, columns=[*KEYS, "overlap", "null", "inside", "inside_null"])


def between_tasks(circuits: pd.DataFrame, corruption: str = "whole-context") -> pd.DataFrame:
    """Overlap of every two tasks' circuits, mean over models; on the diagonal a task's two draws."""
    chosen = circuits[circuits.corruption == corruption]
    tasks = list(dict.fromkeys(chosen.task))
    means = pd.DataFrame(math.nan, index=tasks, columns=tasks)
    for i, first in enumerate(tasks):
        for second in tasks[i:]:
            found = overlaps(chosen, first, second)
            means.loc[first, second] = means.loc[second, first] = (
                found.ceiling if first == second else found.overlap
            ).mean()
    return means


def by_size(edges: pd.DataFrame, corruption: str = "whole-context", sizes=(5, 13, 26, 52, 104)) -> pd.DataFrame:
    """Of the `size` edges that matter most to 1-after-query (by the larger of both effects), the share among those
    of 2-after-query: size, inside (mean over models), low, high (95 % t interval), chance.
    """
    rows, chosen = [], last_steps(edges[edges.corruption == corruption])
    for size in sizes:
        shares, most = [], math.nan
        for _, group in chosen.groupby("run"):
            group = group[group.writer != POSITION]
            first, second = (set(larger(group, f"_{k}").nlargest(size).index) for k in (1, 2))
            shares.append(len(first & second) / size)
            most = len(group)
        mean, low, high = interval(shares)
        if size < most:  # of a small model, not all sizes
            rows.append(dict(size=size, inside=mean, low=low, high=high, chance=size / most, models=len(shares)))
    return pd.DataFrame(rows)


def verdict(shared) -> str:
    """`separate`, `shared`, `partly shared` or `undecided`, by the rule written down above."""
    values = [value for value in shared if not math.isnan(value)]
    if len(values) < LEAST:
        return "undecided"
    _, low, high = interval(values)
    return (
        "separate"
        if high < LOW
        else "shared"
        if low > HIGH
        else "partly shared"
        if low >= LOW and high <= HIGH
        else "undecided"
    )


@torch.no_grad()
def trace(
    run: Run, corruption: str = "whole-context", tasks=("1-after", "2-after"), scale: Scale = Scale()
) -> pd.DataFrame:
    """Share of the prediction that moves when one row's residual stream before a layer comes from the corrupted run:
    task, landmark, layer, lost.  1 at the needle's last state would mean that the answer is made there and
    copied.
    """
    config = from_json(run.config)
    model, rows = build_model(config, run.weights()), []
    for task in tasks:
        prompts = needle_prompts(config.task, 2, seed=TEST_SEED, haystacks=scale.test, traces=2)
        both = corrupted_pair(prompts, config.task, task, corruption)
        patcher = Patcher(model, both)
        for landmark, row in landmarks(prompts, task).items():
            for layer in range(config.model.n_layer):
                rows.append(
                    dict(
                        task=task,
                        landmark=landmark,
                        layer=layer,
                        lost=patcher.lost(patch_row(model, both, row, layer)).mean().item(),
                    )
                )
    return pd.DataFrame(rows)
