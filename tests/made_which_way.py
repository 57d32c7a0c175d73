"""Tables and runs of chapter 6 that tests make up."""

import math
from itertools import product

import pandas as pd

from recall.runs import Run
from recall.studies.which_way import cues, ways

SEEDS = range(300, 308)


def story(seeds=8, n=5, **changes):
    """Tables of `ways` in which the ways show in the order pool, match, carry on, look up; the label comes to rule
    k = 2.  changes: at which of the doublings of training what begins.
    """
    at = dict(pool=1, match=2, carry=3, look=5, far=5, take=99, forget=6, end=8) | changes
    rows = {name: [] for name in ("ways", "ways_lags", "ways_unseen", "ways_histogram")}
    cells = [("fast-1", seed, 1000 * 2**t, t) for seed in range(300, 300 + seeds) for t in range(at["end"])]
    even = {f"nearest_{role}": 0.25 for role in ways.ROLES}
    for setting, seed, examples, t in [*cells, ("pool", -1, 0, 0), ("bayes", -1, 0, -1)]:
        run = dict(dimension=n, setting=setting, seed=seed)
        cell = run | dict(examples=examples)
        looks, follows = float(t >= at["look"]), float(t >= at["take"])
        pooled, observed = 0.2, 0.0
        if seed >= 0:
            pooled, observed = 0.2 * (at["pool"] <= t < at["match"]), (1 - follows) * (t >= at["match"])
        first = dict(label=looks, observed=0.0, recent=0.1, other=0.0)
        second = dict(label=pooled + follows, observed=pooled + observed, recent=pooled, other=pooled)
        rows["ways"] += [cell | dict(k=k) | each | dict(explained=1.0) | even for k, each in ((1, first), (2, second))]
        for lag in ways.LAGS:
            near = float(t >= (at["carry"] if lag == 1 else at["far"]))
            points = dict(named=near, nearest=1.0, to_named=near, to_nearest=0.8 - 0.7 * near)
            rows["ways_lags"].append(cell | dict(lag=lag, score=near) | points)
        matched = float(at["match"] <= t < at["forget"]) + 0.001 * (seed % 3) * (seed >= 0)
        rows["ways_unseen"].append(cell | dict(k=2, observed=matched, other=0.0, explained=1.0))
        if t == at["end"] - 1:
            bins = [dict(bin=b / 10, traces=1 / 11, mixture=float(b == 5)) for b in range(11)]
            rows["ways_histogram"] += [run | each for each in bins]
    return {name: pd.DataFrame(each) for name, each in rows.items()}


def norms(change, index, seeds=8):
    """`equal_norms` of 16 models: score of 2-after under a misdirected label is 0.9 + change, a little different for
    every seed.
    """
    rows = []
    for kind, prompts, seed, N, k, condition in product(
        cues.NORMS, cues.NORMS, range(seeds), (2, 4), (1, 2), cues.CONDITIONS
    ):
        wrong = condition == "misdirected"
        score = (-2.0 if wrong else 0.9) if k == 1 else 0.9 + (change + 0.001 * seed if wrong else 0)
        run = dict(dimension=5, setting="equal" if kind == "equal" else cues.BASE, seed=seed, kind=kind)
        cell = dict(norms=prompts, condition=condition, systems=N, k=k)
        mean = 0.1 + 0.01 * (N - 2) * k + 0.001 * seed * (N == 2)
        rows.append(run | cell | dict(mean=mean, score=score, label_index=index if wrong else math.nan))
    return pd.DataFrame(rows)


def early(index, share=0.9):
    """`early_led` of the same models."""
    runs = product(("equal", cues.BASE), range(8))
    rows = pd.DataFrame([dict(dimension=5, labels=4, setting=setting, seed=seed) for setting, seed in runs])
    return rows.assign(evaluations=3, first=10.0, early_index=index, early_map=share)


def weights(index=lambda p, s: 0.0, label=lambda p: 1 - 0.75 * p):
    """`cue_weights`: of the label at k = 1, label index at k = 2."""
    rows = []
    for p, s, seed, k in product((0.0, 0.05, 0.2, 0.5), (0.0, 0.1, 0.3), (300, 301), (1, 2)):
        cell = dict(dimension=5, setting="x", seed=seed, label_error=p, state_noise=s, systems=2, k=k)
        own, led = (label(p), 1.0) if k == 1 else (index(p, s), index(p, s))
        ideal = 1 - 0.75 * p if k == 1 else float(p == 0) if p or s else math.nan
        bayes = dict(bayes_label=ideal, bayes_observed=0.1, bayes_shaken=ideal, bayes_trusting=ideal)
        score = 0.9 if p < 0.5 else 0.1
        rows.append(cell | dict(score=score, label=own, observed=0.1, label_index=led) | bayes)
    return pd.DataFrame(rows)


def dated_run(seed, begins=2, goes_on=1, dimension=5, **columns):
    """A run of fast-1 whose 1- and 2-after-query are there from the given one of four evaluations on, at 1, 2, 4 and
    8 thousand examples; k = n + 2 as 2-after.  columns: more of its history, a value per evaluation.
    """
    rows = []
    for k, N, condition, event, t in product(
        (1, 2, dimension + 2), (2, 4), ("plain", "misdirected"), ("query", "initial"), range(4)
    ):
        there = t >= (begins if k == 1 else goes_on)
        rows.append(
            dict(examples=1000 * 2**t, step=100 * 2**t, k=k, systems=N, condition=condition, event=event)
            | dict(mean=1 - there, score=float(there))
            | {name: values[t] for name, values in columns.items()}
        )
    config = dict(task=dict(dimension=dimension, labels=4, family="haar"), setting="fast-1", seed=seed)
    return Run(None, config, pd.DataFrame(rows), pd.DataFrame(), {})
