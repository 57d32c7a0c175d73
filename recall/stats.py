"""Every interval, test and rank correlation of the book, one of each."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats


def median(values: pd.Series) -> float:
    """Median with nan counted as later than everything: nan where half of the runs or more never got there.

    Between a reached and a missing value (even counts) the answer is nan too, and without values.
    """
    if not len(values):
        return math.nan
    ordered = sorted(values, key=lambda value: (math.isnan(value), value))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return sum(middle) / 2


def two_sided(before: int, after: int) -> float:
    """p of a sign test without a direction declared beforehand, ties left out; nan for fewer than LEAST that can
    tell.
    """
    return scipy_stats.binomtest(before, before + after).pvalue if before + after >= LEAST else math.nan


def interval(values) -> tuple[float, float, float]:
    """Mean and 95 % t interval over models; nan for fewer than two."""
    values = np.asarray([value for value in values if not math.isnan(value)])
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
    half = scipy_stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def rises(index, shared, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's correlation of the shared part with the label index over models, and its 95 % bootstrap interval
    over models.
    """
    both = pd.DataFrame(dict(index=np.asarray(index), shared=np.asarray(shared))).dropna().to_numpy()
    if len(both) < LEAST or not np.ptp(both, axis=0).all():  # what stands still has no rank
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(0)
    samples = (both[rng.integers(len(both), size=len(both))] for _ in range(draws))
    # one model over and over has no rank
    again = [scipy_stats.spearmanr(*sample.T).statistic for sample in samples if np.ptp(sample, axis=0).all()]
    return float(scipy_stats.spearmanr(*both.T).statistic), *(float(v) for v in np.quantile(again, [0.025, 0.975]))


def climbs(index, shared) -> tuple[float, float]:
    """Spearman's correlation over a model's steps, and the share of all orders of the steps that reach it; nan where
    one stands still.
    """
    if not np.ptp(index) or not np.ptp(shared):
        return math.nan, math.nan
    a, b = (ranks - ranks.mean() for ranks in map(scipy_stats.rankdata, (index, shared)))
    reached = np.mean([a @ order >= a @ b - 1e-9 for order in itertools.permutations(b)])
    return float(a @ b / math.sqrt((a @ a) * (b @ b))), float(reached)


LEVEL = 0.05
MARGIN = 0.05  # of a score or an index: a difference smaller than that is no difference
LEAST = 5  # runs without which a test stays undecided


@dataclass(frozen=True)
class Result:
    """What a test found.  estimate with its interval: a share of runs or a mean over runs, as the test's `statistic`
    says.

    p: one-sided, of the claim's contrary; nan where fewer than LEAST runs can tell.  refuted: the interval lies on the
    refuter's side.
    """

    estimate: float
    low: float
    high: float
    p: float
    runs: int
    refuted: bool


NOTHING = (math.nan, math.nan, math.nan, math.nan)


def share(outcomes: list[bool]) -> Result:
    """Sign test: more than half of the runs.  Interval: Clopper-Pearson, 95 %."""
    if len(outcomes) < LEAST:
        return Result(*NOTHING, len(outcomes), False)
    test = scipy_stats.binomtest(sum(outcomes), len(outcomes), alternative="greater")
    interval = scipy_stats.binomtest(sum(outcomes), len(outcomes)).proportion_ci(0.95)
    return Result(
        sum(outcomes) / len(outcomes), interval.low, interval.high, test.pvalue, len(outcomes), interval.high < 0.5
    )


def above(values: list[float]) -> Result:
    """t test: the mean over runs is above 0.  Interval: 95 %."""
    if len(values) < LEAST:
        return Result(*NOTHING, len(values), False)
    test = scipy_stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    return Result(
        float(np.mean(values)),
        low,
        high,
        scipy_stats.ttest_1samp(values, 0.0, alternative="greater").pvalue,
        len(values),
        high < 0,
    )


def equivalent(values: list[float], margin: float = MARGIN, worse: int = 0) -> Result:
    """Two one-sided t tests: the mean over runs lies within ±margin.  Interval: 90 %, the one that must lie inside.

    worse: 1 if only a mean above the margin refutes, -1 if only one below its negative, 0 for both.
    """
    if len(values) < LEAST:
        return Result(*NOTHING, len(values), False)
    low, high = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.90)
    p = max(
        scipy_stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(values, margin, alternative="less").pvalue,
    )
    return Result(
        float(np.mean(values)),
        low,
        high,
        p,
        len(values),
        (low > margin and worse >= 0) or (high < -margin and worse <= 0),
    )


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values; nan (undecided) counts as 1 and stays nan."""
    adjusted, running = [math.nan] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))):
        running = max(running, min(1.0, (len(p) - rank) * p[i])) if not math.isnan(p[i]) else 1.0
        adjusted[i] = math.nan if math.isnan(p[i]) else running
    return adjusted
