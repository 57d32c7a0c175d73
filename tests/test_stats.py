"""Every interval and test against numbers made by hand or by another route."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_1samp

from recall import stats

nan = math.nan
# quantiles of Student's t by (degrees of freedom, level of the interval), from a printed table
T = {(2, 0.95): 4.302653, (4, 0.95): 2.776445, (4, 0.90): 2.131847, (7, 0.95): 2.364624, (7, 0.90): 1.894579}
FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]  # mean 3, standard error sqrt(2.5 / 5)
near = lambda *values: pytest.approx(values, rel=1e-5)
all_nan = lambda values: all(map(math.isnan, values))


def test_an_interval_by_hand():
    half = T[4, 0.95] * math.sqrt(0.5)
    assert stats.interval(FIVE) == near(3, 3 - half, 3 + half)
    half = T[4, 0.90] * math.sqrt(0.5)
    assert stats.interval([*FIVE, nan], 0.90) == near(3, 3 - half, 3 + half)  # nan is no value
    half = T[7, 0.95] * math.sqrt(6 / 8)  # of 1 to 8: variance 6
    assert stats.interval(range(1, 9)) == near(4.5, 4.5 - half, 4.5 + half)


def test_fewer_values_have_a_mean_and_no_interval():
    assert stats.interval([1.0, 2.0, 3.0, 4.0, nan])[0] == 2.5 and all_nan(stats.interval(FIVE[:4])[1:])
    assert stats.interval([1.0, 2.0, 3.0], least=2) == near(2, 2 - T[2, 0.95] / 3**0.5, 2 + T[2, 0.95] / 3**0.5)
    assert stats.interval([1.0], least=1)[0] == 1 and all_nan(stats.interval([1.0], least=1)[1:])
    assert all_nan(stats.interval([])) and stats.interval([0.5] * 5) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_and_tests_are_those_of_scipy(seed):
    values = np.random.default_rng(seed).normal(0.1, 0.3, 5 + seed)
    for level in (0.90, 0.95):
        assert stats.interval(values, level)[1:] == near(*ttest_1samp(values, 0.0).confidence_interval(level))
    assert stats.above(values).p == pytest.approx(ttest_1samp(values, 0.0, alternative="greater").pvalue)


def at_most(hits: int, trials: int, chance: float) -> float:
    """Chance of no more than so many hits."""
    return sum(math.comb(trials, i) * chance**i * (1 - chance) ** (trials - i) for i in range(hits + 1))


@pytest.mark.parametrize("hits, trials", [(8, 8), (7, 8), (0, 8), (3, 5), (1, 1)])
def test_clopper_and_pearson_leave_a_fortieth_on_either_side(hits, trials):
    share, low, high = stats.proportion(hits, trials)
    assert share == hits / trials
    assert (low == 0) if hits == 0 else 1 - at_most(hits - 1, trials, low) == pytest.approx(0.025)
    assert (high == 1) if hits == trials else at_most(hits, trials, high) == pytest.approx(0.025)


def test_the_sign_test_by_hand():
    assert stats.sign_test(7, 1, "greater") == float(Fraction(9, 256))  # C(8,7) + C(8,8) of 2^8
    assert stats.sign_test(7, 1) == stats.sign_test(1, 7) == float(Fraction(18, 256))
    assert stats.sign_test(5, 0, "greater") == 1 / 32 and stats.sign_test(5, 0) == 1 / 16
    assert math.isnan(stats.sign_test(4, 0)) and math.isnan(stats.sign_test(0, 0))


def test_a_share_is_tried_by_the_sign_test():
    seven = stats.share([True] * 7 + [False])
    assert (seven.estimate, seven.p, seven.runs, seven.refuted) == (7 / 8, 9 / 256, 8, False)
    assert (seven.low, seven.high) == stats.proportion(7, 8)[1:]
    assert stats.share([True] * 8).p == 1 / 256
    assert stats.share([False] * 8).refuted and stats.share([False] * 8).p == 1
    assert not stats.share([True] + [False] * 7).refuted  # upper bound 0.53
    assert math.isnan(stats.share([True] * 4).p) and not stats.share([False] * 4).refuted


def test_above_by_hand():
    result, half = stats.above(FIVE), T[4, 0.95] * math.sqrt(0.5)
    # the upper tail of t with 4 degrees of freedom at 3 / sqrt(0.5), in closed form
    x = 3 / math.sqrt(0.5) / math.sqrt(4 + 18)
    assert result.p == pytest.approx(0.5 - (1.5 * x - 0.5 * x**3) / 2, rel=1e-6)
    assert (result.estimate, result.low, result.high) == near(3, 3 - half, 3 + half) and not result.refuted
    assert stats.above([-value for value in FIVE]).refuted
    assert math.isnan(stats.above(FIVE[:4]).p) and stats.above(FIVE[:4]).runs == 4


def test_equivalence_needs_a_narrow_interval_inside():
    close = stats.equivalent([0.01, -0.01, 0.02, 0.0, -0.02])
    assert close.p < 1e-2 and -0.05 < close.low < close.high < 0.05
    wide = stats.equivalent([0.3, -0.3, 0.2, -0.2, 0.0])  # no difference to be seen, and no equivalence either
    assert wide.p > 0.05 and not wide.refuted
    far = stats.equivalent([0.2, 0.21, 0.19, 0.2, 0.22])
    assert far.p > 0.99 and far.refuted


@pytest.mark.parametrize("seed", range(20))
def test_equivalence_is_the_90_percent_interval(seed):
    values = np.random.default_rng(seed).normal(0.02, 0.03, 8)
    result, half = stats.equivalent(values), T[7, 0.90] * values.std(ddof=1) / 8**0.5
    assert (result.low, result.high) == near(values.mean() - half, values.mean() + half)
    assert (result.p <= 0.05) == (-0.05 <= result.low and result.high <= 0.05)


def test_only_the_refuters_side_refutes():
    below = [-0.2, -0.21, -0.19, -0.2, -0.22]
    assert stats.equivalent(below, worse=-1).refuted and not stats.equivalent(below, worse=1).refuted
    assert stats.equivalent(below).refuted


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.04, 0.001]) == pytest.approx([0.04, 0.002])
    adjusted = stats.holm([nan, 0.02])  # an undecided test still counts as one
    assert math.isnan(adjusted[0]) and adjusted[1] == pytest.approx(0.04)
    assert stats.holm([0.6, 0.9]) == [1.0, 1.0] and stats.holm([]) == []


def test_never_is_later_than_everything():
    assert stats.median([3, 1, 2]) == 2 and stats.median([1, 2, 3, 5.0]) == 2.5
    assert stats.median([1, nan, 2]) == 2
    assert all(map(math.isnan, map(stats.median, ([1, 2, nan, nan], [nan, nan, 1], []))))


def test_arrivals_by_hand():
    """Of four runs one arrives at 10, one at 20, and two end without; no further than all were seen."""
    assert stats.arrivals([10, nan, 20, nan], [40, 40, 40, 30]) == [(0, 0), (10, 0.25), (20, 0.5), (30, 0.5), (30, 0.5)]
    assert stats.arrivals([10, nan, 20], [30, 15, 30]) == [
        (0, 0),
        (10, pytest.approx(1 / 3)),
        (15, pytest.approx(1 / 3)),
        (15, pytest.approx(1 / 3)),
    ]


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 1000), min_size=5, max_size=12, unique=True))
def test_ranks_know_no_scale(index):
    rising, falling = (stats.spearman(index, [sign * value**3 for value in index], draws=100) for sign in (1, -1))
    assert rising == pytest.approx((1, 1, 1)) and falling == pytest.approx((-1, -1, -1))
    assert all_nan(stats.spearman(index[:4], index[:4]))


def test_spearman_by_hand():
    """One pair of neighbours exchanged among five: 1 - 6 · 2 / (5 · 24)."""
    rho, low, high = stats.spearman([1, 2, 3, 4, 5, nan], [1, 2, 4, 3, 5, 0])
    assert rho == pytest.approx(0.9) and low < rho < high <= 1
    assert all_nan(stats.spearman([1] * 6, range(6)))


def test_the_bootstrap_is_as_wide_as_fishers_interval():
    rng = np.random.default_rng(1)
    a = rng.normal(size=200)
    rho, low, high = stats.spearman(a, a + rng.normal(size=200))
    half = norm.ppf(0.975) * math.sqrt(1 + rho**2 / 2) / math.sqrt(200 - 3)  # Bonett and Wright
    wide = math.tanh(math.atanh(rho) + half) - math.tanh(math.atanh(rho) - half)
    assert high - low == pytest.approx(wide, rel=0.1)


def test_a_trend_is_held_against_all_orders():
    assert stats.trend([1, 2, 3], [1, 2, 3]) == (pytest.approx(1), pytest.approx(1 / 6))
    assert all_nan(stats.trend([1, 2, 3], [1, 1, 1]))
    rho, p = stats.trend([1, 2, 3, 4], [2, 1, 3, 4])
    better = [order for order in itertools.permutations([1, 2, 3, 4]) if np.dot(order, [1, 2, 3, 4]) >= 29]
    assert rho == pytest.approx(0.8) and p == len(better) / 24
