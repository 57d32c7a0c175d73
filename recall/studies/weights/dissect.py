"""Every circuit that chapter 7 compares: of one model, task by task, corruption by corruption, each found twice.

A circuit is the reference kind: greedy backward elimination, in the order of exact single-edge effects, down to a
tenth of the corrupted run's distance (`faithfulness.eliminate`).  The two *draws* of one task use other prompts: what
they share is the most that two tasks can be asked to share (`shared`).  Everything is then measured on a third set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from recall import interventions
from recall.circuits.corruptions import corrupted_pair
from recall.circuits.faithfulness import completeness, eliminate, measure, minimality
from recall.circuits.graph import Pair, Patcher, exact
from recall.config import check
from recall.evaluation import curve, emergence, table
from recall.model import GPT
from recall.needle import Prompts, needle_prompts, query_payload
from recall.runs import Run
from recall.settings import RunConfig, from_json
from recall.studies.weights.shared import CORRUPTION, DISTANCE, KEYS, SHARED, TASKS, as_text, larger, overlaps, price
from recall.training import build_model

TELLING = 0.05  # of E|x|^2 = 1: a corruption that moves the prediction by less leaves nothing to be found
SEEDS = {1: 11, 2: 12}  # of the prompts of each draw
TEST_SEED = 13
FIRST = 64  # training step from which on a model is followed
FAR = 7  # a late k, or the last that the prompts hold

MEASURED = (
    "edges faithfulness difference distance lost error error_full error_empty error_std distance_std lost_std".split()
)
CIRCUITS = [*KEYS, "corruption", "task", "draw", "circuit", *MEASURED]
CIRCUITS += "complement complement_after gap essential other other_distance".split()
EDGES = "run step corruption writer reader noising_1 denoising_1 noising_2 denoising_2".split()
TRAINING = [*KEYS, *"label_index error_1 error_2 date_1 date_2".split(), *SHARED]
TRAINING += "edges_1 edges_2 joint price circuit_1 circuit_2".split()

# corruption -> task -> draws; `sync` before a task: on synchronised prompts, where the state tells nothing
BOTH = {"1-after": (1, 2), "2-after": (1, 2)}
PLAN = {
    "whole-context": BOTH | {"3-after": (1,), "far-after": (1,), "sync 2-after": (1,)},
    "binding-swap": BOTH | {"sync 2-after": (1,)},
    "query-label": BOTH,
    "resumed-state": {"2-after": (1,)},
}
OTHER = {"1-after": "2-after", "2-after": "1-after"}


@dataclass(frozen=True)
class Scale:
    """What is spent on one model: haystacks, of two prompts each, N = 2, the needle farthest.

    find: that choose a circuit.  learn: that train the gates of learned pruning, for `steps` steps.  test: that
    measure.  telling: of E|x|^2 = 1, a corruption that moves the prediction by less leaves nothing to be found."""

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


FULL, SOME = Scale(), Scale(find=24)  # for a finished model; for each step of one that is followed


@dataclass(frozen=True)
class Subject:
    """A run's model at one step (None: its last), and the prompts that it is asked."""

    run: Run
    step: int | None = None
    scale: Scale = FULL

    @cached_property
    def config(self) -> RunConfig:
        return from_json(self.run.config)

    @cached_property
    def model(self) -> GPT:
        return build_model(self.config, self.run.weights(self.step))

    @property
    def keys(self) -> dict:
        """What names it in a table: KEYS."""
        config, size = self.config, self.config.model
        step = int(self.run.history.step.max()) if self.step is None else self.step
        values = (
            self.run.name,
            config.task.dimension,
            config.task.labels,
            config.seed,
            size.n_layer,
            size.n_head,
            step,
        )
        return dict(zip(KEYS, values))

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """What a table of circuits or edges says of it under CORRUPTION."""
        mine = (table.run == self.run.name) & (table.step == self.keys["step"])
        return table[mine & (table.corruption == CORRUPTION)].reset_index(drop=True)

    def prompts(self, seed: int = TEST_SEED, haystacks: int | None = None) -> Prompts:
        return needle_prompts(self.config.task, 2, seed=seed, haystacks=haystacks or self.scale.test, traces=2)

    def pair(self, task: str, corruption: str, seed: int, haystacks: int) -> Pair:
        """The clean and corrupted prompts of one of PLAN's tasks."""
        prompts, config = self.prompts(seed, haystacks), self.config.task
        if task.startswith("sync "):
            prompts = interventions.synchronised(prompts, config)
        task = task.removeprefix("sync ").replace("far", str(min(FAR, query_payload(config))))
        return corrupted_pair(prompts, config, task, corruption)

    def finding(self, task: str, corruption: str = CORRUPTION, draw: int = 1) -> Patcher:
        """On the prompts that choose a circuit."""
        return Patcher(self.model, self.pair(task, corruption, SEEDS[draw], self.scale.find))

    def learning(self, task: str) -> Pair:
        """The prompts that train gates."""
        return self.pair(task, CORRUPTION, SEEDS[1], self.scale.learn)

    def testing(self, task: str, corruption: str = CORRUPTION) -> Patcher:
        """On the prompts that measure it."""
        return Patcher(self.model, self.pair(task, corruption, TEST_SEED, self.scale.test))


def dissect(subject: Subject, plan: dict = PLAN) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Circuits of one model (CIRCUITS) and every edge's effects (EDGES).

    First table, a row per corruption, task and draw of `plan`: circuit, a letter for every edge in the order of
    `Graph.edges` (`shared.as_text`), empty where the corruption moves the prediction by less than `Scale.telling`; and
    of it on fresh prompts the columns of `faithfulness.measure` and `completeness`, essential (share of edges whose
    loss costs more than 1 %), other and other_distance (faithfulness and distance on the other task, 1- for 2-after
    and the reverse).  Second, in the order of `Graph.edges`: the effects of `graph.exact` (draw 1) on 1- and
    2-after-query, of the corruptions that move both."""
    rows, effects = [], {}
    for corruption, tasks in plan.items():
        fresh = {task: subject.testing(task, corruption) for task in tasks}
        moved = [task for task, patcher in fresh.items() if patcher.scale >= subject.scale.telling]
        for task, draw in ((task, draw) for task, draws in tasks.items() for draw in draws):
            row = subject.keys | {"corruption": corruption, "task": task, "draw": draw}
            if task not in moved:
                rows.append(row | {"circuit": "", "difference": fresh[task].scale})
                continue
            patcher = subject.finding(task, corruption, draw)
            alone = exact(patcher)
            circuit = eliminate(patcher, larger(alone), DISTANCE)
            row |= {"circuit": as_text(circuit)} | measure(fresh[task], circuit)
            row |= completeness(fresh[task], circuit, torch.Generator().manual_seed(draw), subsets=5)
            row |= {"essential": float(minimality(patcher, circuit).essential.mean())}
            other = OTHER.get(task)
            if other in moved:
                swapped = measure(fresh[other], circuit)
                row |= {"other": swapped["faithfulness"], "other_distance": swapped["distance"]}
            rows.append(row)
            if draw == 1:
                effects[corruption, task] = alone
    return pd.DataFrame(rows, columns=CIRCUITS), _side_by_side(subject, effects)


def _side_by_side(subject: Subject, effects: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """EDGES: effects on 1- and 2-after-query in one row per edge, of the corruptions that have both."""
    rows = []
    for corruption in dict.fromkeys(corruption for corruption, _ in effects):
        one, two = (effects.get((corruption, task)) for task in TASKS)
        if one is None or two is None:
            continue
        named = one[["writer", "reader"]].assign(**subject.keys, corruption=corruption)
        for k, each in ((1, one), (2, two)):
            named = named.assign(**{f"noising_{k}": each.noising, f"denoising_{k}": each.denoising})
        rows.append(named[EDGES])
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=EDGES)


def over_training(run: Run, scale: Scale = SOME, most: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A model taken apart at up to `most` steps of which it has the weights (`followed`): CORRUPTION, 1- and
    2-after-query, two draws.

    First table, TRAINING, one row per step: label_index (of 2-after-query), error_1, error_2 (plain prompts), date_1,
    date_2 (step at which the abilities emerged, nan if not; from the run's history), what their circuits share,
    edges_1, edges_2, joint (edges of one circuit for both), price, circuit_1, circuit_2 (draw 1).  Second: EDGES."""
    check("run", run.whole, "a finished run with its weights", run.name)
    rows, edges, batch = [], [], from_json(run.config).training.batch_size
    dates = {f"date_{k}": emergence(curve(run.history, k, 2)).date / batch for k in (1, 2)}
    for step in followed(run.steps, np.max([*dates.values()]), most):
        subject = Subject(run, step, scale)
        circuits, effects = dissect(subject, {CORRUPTION: BOTH})
        row = subject.keys | dates | _answers(subject)
        row |= next(iter(overlaps(circuits)[SHARED].to_dict("records")), {})
        first_draw = circuits[circuits.draw == 1].set_index("task")
        for k, task in ((1, TASKS[0]), (2, TASKS[1])):
            row |= {f"edges_{k}": first_draw.edges[task], f"circuit_{k}": first_draw.circuit[task]}
        if len(effects):
            largest = np.maximum(larger(effects, "_1"), larger(effects, "_2"))
            joint = int(eliminate([subject.finding(task) for task in TASKS], largest, DISTANCE).sum())
            row |= {"joint": joint, "price": price(joint, row["edges_1"], row["edges_2"])}
        rows.append(row)
        edges.append(effects)
    return pd.DataFrame(rows, columns=TRAINING), pd.concat(edges, ignore_index=True)


def _answers(subject: Subject) -> dict[str, float]:
    """Errors of 1- and 2-after-query on plain prompts, label index of 2-after-query on misdirected ones."""
    prompts, errors = subject.prompts(), {}
    for name in ("plain", "misdirected"):
        rows = table(subject.model.predict, prompts, subject.config.task, name)
        errors[name] = rows[rows.event == "query"].set_index("k")
    plain, misdirected = errors.values()
    return {"label_index": misdirected.label_index[2], "error_1": plain["mean"][1], "error_2": plain["mean"][2]}


def followed(steps: list[int], date: float, most: int) -> list[int]:
    """Up to `most` of the steps from FIRST on, the last one among them: two thirds after the date at which both
    abilities are there (and the last step before it), where a model may convert, one third before; all along where
    there is no such date."""
    steps = [step for step in steps if step >= min(FIRST, steps[-1])]
    start = max((step for step in steps if step <= date), default=steps[0])
    early, late = [step for step in steps if step <= start], [step for step in steps if step >= start]
    return sorted({*_spaced(early, most // 3 + 1), *_spaced(late, most - most // 3)})


def _spaced(steps: list[int], most: int) -> set[int]:
    """Up to `most` of the steps at about equal ratios, the first and the last among them."""
    wanted = np.geomspace(steps[0], steps[-1], most)
    return {min(steps, key=lambda step: abs(math.log(step / want))) for want in wanted}
