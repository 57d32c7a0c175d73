"""Every circuit that chapter 7 compares: of one model, task by task, corruption by corruption, each found twice.

A circuit is the reference kind: greedy backward elimination, in the order of exact single-edge effects, down to a tenth of the
corrupted run's distance (`faithfulness.eliminate`).  The two *draws* of one task use other prompts: what they share is the most
that two tasks can be asked to share.  Everything is then measured on a third set.

Written down before any of these tables, for the verdict on "separate mechanisms" (LOW, HIGH):

    shared part   r = (o - null) / (ceiling - null), with o the overlap of the circuits of 1- and 2-after-query (edges in both over
                  edges in either, mean over draws), null that of random circuits of these sizes, ceiling that of one task's two draws
                  (mean of both tasks).  Only models in which the corruption changes both predictions by TELLING or more.
    separate      the 95 % t interval of r over models lies below LOW;  shared: above HIGH;  partly shared: inside [LOW, HIGH];
                  else undecided, and so with fewer than five models.
    The study's 0 % is refuted where the interval of o itself lies above 0.

    The natural experiment.  If overlap of edges meant a shared mechanism, r would rise with the label index at k = 2: models whose
    2-after-query follows the label must compute it with what computes 1-after-query.  Spearman's rank correlation of r with that
    index over models, 95 % interval (bootstrap): above 0, overlap measures what the study takes it for; below or around 0, it does not.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from recall import interventions
from recall.circuits import Graph, Patcher, exact
from recall.corruptions import corrupted_pair
from recall.evaluation import curve
from recall.faithfulness import completeness, eliminate, measure, minimality, overlap
from recall.needle import needle_prompts, query_payload
from recall.runs import Run
from recall.settings import from_json
from recall.training import build_model

LOW, HIGH = 0.25, 0.75
TELLING = 0.05  # of E|x|^2 = 1: a corruption that moves the prediction by less leaves nothing to be found
DISTANCE = 0.1  # to which circuits are reduced
LEAST = 5  # models
FIND, TEST = dict(haystacks=48, traces=2), dict(haystacks=128, traces=2)  # prompts of N = 2, the needle farthest
SEEDS = {1: 11, 2: 12}  # of the prompts of each draw
TEST_SEED = 13
FAR = 7  # a late k, or the last that the prompts hold

# corruption -> (task, draws); `sync` before a task: on synchronised prompts, where the state tells nothing
PLAN = {
    "whole-context": (("1-after", (1, 2)), ("2-after", (1, 2)), ("3-after", (1,)), ("far-after", (1,)), ("sync 2-after", (1,))),
    "binding-swap": (("1-after", (1, 2)), ("2-after", (1, 2)), ("sync 2-after", (1,))),
    "query-label": (("1-after", (1, 2)), ("2-after", (1, 2))),
    "resumed-state": (("2-after", (1,)),),
}


def pair(task_config, task: str, corruption: str, seed: int, size: dict):
    """The clean and corrupted prompts of one of PLAN's tasks."""
    prompts = needle_prompts(task_config, 2, seed=seed, **size)
    if task.startswith("sync "):
        prompts = interventions.synchronised(prompts, task_config)
    k = min(FAR, query_payload(task_config))
    return corrupted_pair(prompts, task_config, task.removeprefix("sync ").replace("far", str(k)), corruption)


def dissect(run: Run, step: int | None = None, corruptions=tuple(PLAN)) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Circuits of one model (circuit: a 0 or 1 for every edge, in the order of `Graph.edges`) and every edge's effects.

    First table: run, dimension, labels, seed, step, corruption, task, draw, circuit, and of the circuit on fresh prompts the columns
    of `faithfulness.measure`, complement and gap of `completeness`, essential (share of edges whose loss costs more than 1 %), and
    other (faithfulness) and other_distance on the other task (1- for 2-after and the reverse).  circuit is empty where the
    corruption moves the prediction by less than TELLING.  Second: the same keys of draw 1, writer, reader, noising, denoising.
    """
    config = from_json(run.config)
    model = build_model(config, run.weights(step))
    keys = dict(run=run.name, dimension=config.task.dimension, labels=config.task.labels, seed=config.seed, step=step or int(run.history.step.max()))
    rows, edges = [], []
    for corruption in corruptions:
        fresh = {task: Patcher(model, pair(config.task, task, corruption, TEST_SEED, TEST)) for task, _ in PLAN[corruption]}
        for task, draws in PLAN[corruption]:
            for draw in draws:
                row = keys | dict(corruption=corruption, task=task, draw=draw)
                if fresh[task].scale < TELLING:
                    rows.append(row | dict(circuit="", difference=fresh[task].scale))
                    continue
                patcher = Patcher(model, pair(config.task, task, corruption, SEEDS[draw], FIND))
                effects = exact(patcher)
                circuit = eliminate(patcher, effects[["noising", "denoising"]].abs().max(axis=1), DISTANCE)
                row |= dict(circuit=written(circuit)) | measure(fresh[task], circuit)
                row |= completeness(fresh[task], circuit, torch.Generator().manual_seed(draw), subsets=5)
                row |= dict(essential=float(minimality(patcher, circuit).essential.mean()))
                other = {"1-after": "2-after", "2-after": "1-after"}.get(task)
                if other in fresh and fresh[other].scale >= TELLING:
                    swapped = measure(fresh[other], circuit)
                    row |= dict(other=swapped["faithfulness"], other_distance=swapped["distance"])
                rows.append(row)
                if draw == 1:
                    edges.append(effects[["writer", "reader", "noising", "denoising"]].assign(**keys, corruption=corruption, task=task))
    return pd.DataFrame(rows), pd.concat(edges)


def written(circuit: Tensor) -> str:
    return "".join(str(int(kept)) for kept in circuit.tolist())


def read(circuit: str) -> Tensor:
    return torch.tensor([float(kept) for kept in circuit])


def label_index(run: Run) -> float:
    """Of 2-after-query under a misdirected label, of the finished model (N = 2)."""
    return float(curve(run.final.assign(examples=0), 2, 2, "misdirected").label_index.iloc[0])


def overlaps(circuits: pd.DataFrame, other: str = "2-after") -> pd.DataFrame:
    """Overlap of 1-after-query's circuits with another task's, one row per model and corruption: overlap, null, ceiling, shared.

    Means over the pairs of draws.  shared is the r of this module's docstring; nan where a circuit is missing.
    """
    rows = []
    for keys, group in circuits.groupby(["run", "dimension", "labels", "seed", "step", "corruption"], sort=False):
        of = {task: [read(c) for c in part.sort_values("draw").circuit if isinstance(c, str) and c] for task, part in group.groupby("task")}
        if not (of.get("1-after") and of.get(other)):
            continue
        graph = Graph(*_layers(len(of["1-after"][0])))
        between = [overlap(a, b, graph) for a in of["1-after"] for b in of[other]]
        twice = [overlap(*of[task], graph)["overlap"] for task in ("1-after", other) if len(of[task]) == 2]
        o, null, ceiling = (float(np.mean(values)) if len(values) else math.nan
                            for values in ([each["overlap"] for each in between], [each["null"] for each in between], twice))
        rows.append(dict(zip(("run", "dimension", "labels", "seed", "step", "corruption"), keys)) |
                    dict(other=other, overlap=o, null=null, ceiling=ceiling, shared=(o - null) / (ceiling - null), p=max(each["p"] for each in between)))
    return pd.DataFrame(rows)


def _layers(edges: int) -> tuple[int, int]:
    """(layers, heads) of the CPU models, by their number of edges: 302 at 3 layers of 4 heads."""
    for n_layer in range(1, 25):
        for n_head in range(1, 33):
            if len(Graph(n_layer, n_head).edges) == edges:
                return n_layer, n_head
    raise ValueError(f"circuit must be of a model with a position table, not one of {edges} edges")


def interval(values) -> tuple[float, float, float]:
    """Mean and 95 % t interval over models; nan for fewer than two."""
    values = np.asarray([value for value in values if not math.isnan(value)])
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def verdict(shared) -> str:
    """`separate`, `shared`, `partly shared` or `undecided`, by the rule written down above."""
    values = [value for value in shared if not math.isnan(value)]
    if len(values) < LEAST:
        return "undecided"
    _, low, high = interval(values)
    return "separate" if high < LOW else "shared" if low > HIGH else "partly shared" if low >= LOW and high <= HIGH else "undecided"


def rises(index, shared, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's correlation of the shared part with the label index over models, and its 95 % bootstrap interval over models."""
    both = pd.DataFrame(dict(index=np.asarray(index), shared=np.asarray(shared))).dropna().to_numpy()
    if len(both) < LEAST:
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(0)
    again = [stats.spearmanr(*both[rng.integers(len(both), size=len(both))].T).statistic for _ in range(draws)]
    return float(stats.spearmanr(*both.T).statistic), *(float(v) for v in np.nanquantile(again, [0.025, 0.975]))
