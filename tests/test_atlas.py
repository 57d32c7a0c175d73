"""The atlas: the page's dates against the library's, the cells' table, the study's curves re-scored."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy import stats

from recall import measures, runs, sweeps
from recall import stats as recall_stats
from recall.evaluation import curve, emergence
from recall.prose import claims as prose_claims
from recall.prose import verdicts
from recall.studies import claims
from recall.studies.when import charts, published, timing

MEASURES = {"identification score": "score", "mean squared error": "mean", "median squared error": "median"}


@pytest.fixture(scope="module")
def committed():
    return runs.load_all()


def words_of(chart, **chosen):
    """The three lines that Vega writes above the chart for these choices."""
    spec = chart.to_dict()
    assert set(chosen) <= {p["name"] for p in spec["params"]}
    for parameter in spec["params"]:
        parameter["value"] = chosen.get(parameter["name"], parameter.get("value"))
    svg = vl_convert.vegalite_to_svg(spec)
    return re.findall(r">((?:Going on|Beginning again)[^<]*)<", svg)


def expected(group, systems, measure, threshold):
    when = {k: [emergence(curve(run.history, k, systems), measure, threshold).date for run in group] for k in (1, 2)}
    middle = {k: recall_stats.median(pd.Series(dates)) for k, dates in when.items()}
    digits = lambda value: "never" if math.isnan(value) else f"{float(f'{value / 1000:.2g}'):g}k"
    there = {k: sum(not math.isnan(date) for date in dates) for k, dates in when.items()}
    late = lambda date: math.inf if math.isnan(date) else date
    first = sum(late(two) < late(one) for one, two in zip(when[1], when[2]))
    lines = [
        f"Going on: {there[2]} of {len(group)} seeds, median {digits(middle[2])}",
        f"Beginning again: {there[1]} of {len(group)}, median {digits(middle[1])}",
        f"Going on first: {first} of {len(group)}",
    ]
    if not math.isnan(middle[1]) and not math.isnan(middle[2]):
        lines[2] += f", median ratio {np.median([late(one) / late(two) for one, two in zip(when[1], when[2])]):.1f}"
    return lines


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("dimension, systems, threshold", [(5, 2, 0.5), (5, 4, 0.3), (3, 2, 0.8), (3, 4, 0.65)])
def test_dates_of_the_page_are_those_of_the_library(committed, measure, dimension, systems, threshold):
    """Vega's transforms against `evaluation.emergence`, over the committed runs."""
    chart = charts.atlas(timing.evaluations(committed), dict(dimension=5, labels=4, systems=2, setting="fast-0"))
    group = measures.cells(committed)[dimension, 4, "fast-0"]
    drawn = " ".join(
        words_of(chart, pick_dimension=dimension, pick_systems=systems, pick_measure=measure, pick_threshold=threshold)
    )
    wanted = " ".join(expected(group, systems, MEASURES[measure], threshold))
    number = r"\d+(?:\.\d+)?"
    assert re.sub(number, "#", drawn) == re.sub(number, "#", wanted)
    numbers = [[float(found) for found in re.findall(number, text)] for text in (drawn, wanted)]
    # the page has three digits of every error, and shows two of a date
    assert numbers[0] == pytest.approx(numbers[1], rel=0.05)


def test_a_run_without_an_ability_is_never(committed):
    chart = charts.atlas(timing.evaluations(committed), dict(dimension=3, labels=4, systems=2, setting="adamw-0"))
    going, beginning, first = words_of(chart)
    assert beginning == "Beginning again: 0 of 2, median never" and "ratio" not in first


def test_a_choice_without_runs_says_so(committed):
    chart = charts.atlas(timing.evaluations(committed), dict(dimension=5, labels=2, systems=4, setting="fast-0"))
    assert "a prompt cannot hold more systems than there are labels" in vl_convert.vegalite_to_svg(chart.to_dict())


def test_gaps_by_hand(committed):
    group = measures.cells(committed)[5, 4, "fast-0"]
    row = timing.gaps(committed).query("n == 5 and labels == 4 and setting == 'fast-0'").iloc[0]
    when = [measures.dates(run, 2) for run in group]
    ratio = [math.log(each["1-after"].date / each["2-after"].date) for each in when]
    middle, half = np.mean(ratio), stats.t.ppf(0.975, 4) * np.std(ratio, ddof=1) / math.sqrt(5)
    assert row.ratio == pytest.approx(math.exp(middle)) and (row.low, row.high) == pytest.approx(
        (math.exp(middle - half), math.exp(middle + half))
    )
    assert row["reached 1-after"] == 5 and row["2-after first"] == 5
    assert row["1-after, median"] == pytest.approx(sorted(each["1-after"].date for each in when)[2] / 1000)
    seconds = [
        run.manifest["training_seconds"] * each["1-after"].date / run.history.examples.max()
        for run, each in zip(group, when)
    ]
    assert row["both, seconds"] == pytest.approx(sorted(seconds)[2])
    adamw = timing.gaps(committed).query("n == 3 and setting == 'adamw-0'").iloc[0]
    assert adamw["reached 1-after"] == 0 and math.isnan(adamw["1-after, median"]) and math.isnan(adamw.ratio)


def test_blind_median_of_next_states_by_simulation():
    """The closed form for k = 1 against draws, and k = 2 at N = 2 by its own law: ||y||^2 (1 - cos)/2."""
    draws = np.random.default_rng(0).normal(size=(200_000, 3, 5)) / math.sqrt(5)
    assert published.blind_median(3, 1) == pytest.approx(
        np.median(np.square(draws.mean(1) - draws[:, 0]).sum(-1)), abs=0.005
    )
    way = np.random.default_rng(1).normal(size=(200_000, 5))
    cosine, norm = way[:, 0] / np.linalg.norm(way, axis=1), np.square(draws[:, 0]).sum(-1)
    assert published.blind_median(2, 2) == pytest.approx(np.median(norm * (1 - cosine) / 2), abs=0.005)


def test_the_study_rescored():
    """Points of the fact sheet's table, and the two rules' dates."""
    curves = published.curves()
    assert len(curves) == 5 * 2 * 36
    at = curves.query("systems == 2 and k == 2").set_index("examples")["median"]
    assert at.iloc[(at.index - 10_200_000).to_numpy().__abs__().argmin()] == pytest.approx(0.216, abs=0.01)  # facts 5.2
    dates = published.dates(curves).set_index("N")
    # facts 5.1
    assert dates["2-after (median < ½)"].loc[2] < 1.6 and dates["1-after (median < ½)"].loc[19] == pytest.approx(
        26, abs=1
    )
    assert dates["2-after (score ½)"].between(10, 14).all() and dates["ratio (score ½)"].between(1.8, 2.5).all()
    assert (
        dates["2-after (score 0.9)"].loc[19] > 2 * dates["2-after (score 0.9)"].loc[2]
        and dates["ratio (score 0.9)"].loc[19] < 1
    )
    assert "from 2 to 19" in verdicts.rescored(dates.reset_index())


def test_the_atlas_sweep_holds_what_the_claims_need():
    configs = sweeps.load("atlas")
    for test in claims.TESTS:
        seeds = {
            c.seed
            for c in configs
            if (c.task.dimension, c.task.labels, c.setting) == (test.dimension, claims.LABELS, claims.SETTING)
        }
        assert seeds >= set(claims.SEEDS)
    assert all(2 in c.evaluation.systems for c in configs)


def test_questions_without_runs_are_not_tested():
    rows = prose_claims.questions([])
    assert {row["status"] for row in rows} == {"not tested"} and {row["status"] for row in prose_claims.table([])} == {
        "not tested"
    }
    with pytest.raises(ValueError, match="level must be between 0 and 1, not 2"):
        claims.outcomes([], level=2)
