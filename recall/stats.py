"""Every interval, test and rank correlation of the book: one definition of each.

Values are one per run, seed or model, nan where it has none.  Fewer than LEAST of them have a mean and no interval, and
decide no test.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import CensoredData, binomtest, ecdf, rankdata, t, ttest_1samp

LEVEL = 0.05  # of a test, or of several together
MARGIN = 0.05  # of a score or an index: a difference smaller than that is no difference
LEAST = 5  # values for an interval or a test: of fewer, not even all on one side pass the one-sided sign test at LEVEL


# --- estimates and their intervals ------------------------------------------------------------------------------------


def known(values) -> np.ndarray:
    """The values that are not nan."""
    values = np.asarray(values, float)
    return values[~np.isnan(values)]


def interval(values, level: float = 0.95, least: int = LEAST) -> tuple[float, float, float]:
    """Mean and the ends of its t interval; nan ends for fewer than `least` values (and for a single one)."""
    values = known(values)
    mean = float(values.mean()) if len(values) else math.nan
    if len(values) < max(least, 2):
        return mean, math.nan, math.nan
    half = t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return mean, float(mean - half), float(mean + half)


def proportion(hits: int, trials: int, level: float = 0.95) -> tuple[float, float, float]:
    """Share of hits and the ends of its Clopper-Pearson interval, whatever the number of trials (at least one)."""
    found = binomtest(hits, trials).proportion_ci(level)
    return hits / trials, float(found.low), float(found.high)


def median(values) -> float:
    """Median with nan counted as later than everything: nan where half of the runs or more never got there.

    Between a reached and a missing value (even counts) the answer is nan too, and without values.
    """
    if not len(values):
        return math.nan
    ordered = sorted(values, key=lambda value: (math.isnan(value), value))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return sum(middle) / 2


def arrivals(dates, ends) -> list[tuple[float, float]]:
    """Share of runs that have got there, over time: one minus the Kaplan-Meier estimate.

    dates: nan for a run that had not got there by its end, where it is right-censored.  (time, share) at 0, at every
    date and end up to the end of the shortest run, and there."""
    dates, ends = np.asarray(dates, float), np.asarray(ends, float)
    never = np.isnan(dates)
    found = ecdf(CensoredData.right_censored(np.where(never, ends, dates), never)).cdf
    last = float(ends.min())
    steps = [(float(time), float(share)) for time, share in zip(found.quantiles, found.probabilities) if time <= last]
    steps = [(0.0, 0.0), *steps]
    return [*steps, (last, steps[-1][1])]


# --- tests ------------------------------------------------------------------------------------------------------------


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


def undecided(count: int) -> Result:
    """Of a test that too few runs can tell, or that is not looked at yet."""
    return Result(math.nan, math.nan, math.nan, math.nan, count, False)


def sign_test(over: int, under: int, alternative: str = "two-sided") -> float:
    """p of the sign test, ties left out; nan for fewer than LEAST that can tell.  `greater`: more over than under."""
    return float(binomtest(over, over + under, alternative=alternative).pvalue) if over + under >= LEAST else math.nan


def share(outcomes: list[bool]) -> Result:
    """Sign test: more than half of the runs.  Interval: Clopper-Pearson, 95 %."""
    hits, runs = sum(outcomes), len(outcomes)
    if runs < LEAST:
        return undecided(runs)
    estimate, low, high = proportion(hits, runs)
    return Result(estimate, low, high, sign_test(hits, runs - hits, "greater"), runs, high < 0.5)


def above(values) -> Result:
    """t test: the mean over runs is above 0.  Interval: 95 %."""
    values = known(values)
    if len(values) < LEAST:
        return undecided(len(values))
    mean, low, high = interval(values)
    return Result(mean, low, high, _t_test(values, 0.0, "greater"), len(values), high < 0)


def equivalent(values, margin: float = MARGIN, worse: int = 0) -> Result:
    """Two one-sided t tests: the mean over runs lies within ±margin.  Interval: 90 %, the one that must lie inside.

    worse: 1 if only a mean above the margin refutes, -1 if only one below its negative, 0 for both.
    """
    values = known(values)
    if len(values) < LEAST:
        return undecided(len(values))
    mean, low, high = interval(values, 0.90)
    p = max(_t_test(values, -margin, "greater"), _t_test(values, margin, "less"))
    refuted = (low > margin and worse >= 0) or (high < -margin and worse <= 0)
    return Result(mean, low, high, p, len(values), refuted)


def _t_test(values: np.ndarray, mean: float, alternative: str) -> float:
    return float(ttest_1samp(values, mean, alternative=alternative).pvalue)


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values; nan (undecided) counts as 1 and stays nan."""
    adjusted, running = [math.nan] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))):
        if math.isnan(p[i]):
            break
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = running
    return adjusted


# --- ranks ------------------------------------------------------------------------------------------------------------


def spearman(a, b, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's correlation over models and its 95 % bootstrap interval over models; nan for fewer than LEAST, or
    where one stands still.
    """
    both = np.stack([np.asarray(a, float), np.asarray(b, float)], 1)
    both = both[~np.isnan(both).any(1)]
    if len(both) < LEAST or not np.ptp(both, axis=0).all():
        return math.nan, math.nan, math.nan
    samples = both[np.random.default_rng(0).integers(len(both), size=(draws, len(both)))]
    samples = samples[np.ptp(samples, axis=1).all(1)]  # one model over and over has no rank
    low, high = np.quantile(_of_ranks(samples[..., 0], samples[..., 1]), [0.025, 0.975])
    return float(_of_ranks(*both.T)), float(low), float(high)


def trend(a, b) -> tuple[float, float]:
    """Spearman's correlation over the steps of one model, and p of the permutation test: the share of all orders of
    the steps that reach it.  nan where one stands still.
    """
    if not np.ptp(a) or not np.ptp(b):
        return math.nan, math.nan
    found = _of_ranks(np.asarray(a), np.asarray(b))
    orders = np.array(list(itertools.permutations(b)))
    return float(found), float(np.mean(_of_ranks(np.broadcast_to(a, orders.shape), orders) >= found - 1e-9))


def _of_ranks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[...] Pearson's correlation of the ranks along the last axis."""
    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (rankdata(each, axis=-1) for each in (a, b)))
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
