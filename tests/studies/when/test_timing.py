"""Both dates by cell and over training: made-up runs by hand, and the page's dates against the library's."""

import math
import re

import numpy as np
import pytest
import vl_convert
from made_runs import DOUBLINGS, EARLY, LATE, LINEAR, NEVER, made_run

from recall import measures, runs
from recall.evaluation import curve, emergence
from recall.stats import median
from recall.studies.when import charts, timing

MEASURES = {"identification score": "score", "mean squared error": "mean", "median squared error": "median"}


def octaves_apart(gap: int, seed: int):
    """1-after passes 1/2 at 2 thousand examples or `gap` doublings later, 2-after at 2 thousand."""
    return made_run([0.0] * (2 + gap) + [1.0] * 4, [0, 0, 1, 1, 1, 1], seed, examples=DOUBLINGS)


def test_ratios_of_dates_by_hand():
    """Ratios 1, 2, 2, 2 and 4 of five seeds: a mean of one octave with standard error sqrt(1/2) / sqrt(5)."""
    cell = [octaves_apart(gap, seed) for seed, gap in enumerate((0, 1, 1, 1, 2))]
    row = timing.gaps(cell).iloc[0]
    half = 2.776445 * math.sqrt(0.5 / 5)
    assert (row.ratio, row.low, row.high) == pytest.approx((2, 2 ** (1 - half), 2 ** (1 + half)), rel=1e-5)
    assert (row["reached 1-after"], row["2-after first"], row.together) == (5, 4, 1)
    date = 2000 * 2**0.5  # half way, in log, from 2 to 4 thousand
    assert row["2-after, median"] == pytest.approx(date / 1000)
    assert row["both, seconds"] == pytest.approx(100 * 2 * date / DOUBLINGS[-1])
    four = timing.gaps(cell[:4]).iloc[0]
    assert four.ratio == pytest.approx(2**0.75) and math.isnan(four.low)


def test_a_cell_with_a_seed_that_did_not_get_there_has_no_ratio():
    made = [(LATE, EARLY), (NEVER, EARLY), (NEVER, EARLY), (EARLY, LATE), (EARLY, NEVER), (NEVER, NEVER)]
    row = timing.gaps([made_run(one, two, seed) for seed, (one, two) in enumerate(made)]).iloc[0]
    assert math.isnan(row.ratio) and math.isnan(row.low) and row.seeds == 6
    assert (row["2-after first"], row["1-after first"], row.together) == (3, 2, 0)
    assert (row["reached 1-after"], row["reached 2-after"]) == (3, 4) and math.isnan(row["1-after, median"])
    elsewhere = timing.gaps([made_run(LATE, EARLY, device="cuda")]).iloc[0]
    assert math.isnan(elsewhere["both, seconds"]) and not math.isnan(elsewhere.ratio)


def test_shares_of_seeds_over_training():
    """Of three seeds one has it at its date and one later; drawn to the end of the shortest run."""
    late, early = (measures.dates(made_run(LATE, EARLY), 2)[name].date for name in measures.ABILITIES)
    short = made_run(NEVER[:8], NEVER[:8], 2, examples=LINEAR[:8])
    shown = timing.survival([made_run(LATE, EARLY, 0), made_run(NEVER, EARLY, 1), short])
    of = {ability: group[["examples", "share"]].values.tolist() for ability, group in shown.groupby("ability")}
    assert of["1-after-query"] == [[0, 0], [round(late / 1000, 1), 0.333], [22.4, 0.333], [22.4, 0.333]]
    assert of["2-after-query"][1] == [round(early / 1000, 1), 0.667] and set(shown.seeds) == {3}
    assert timing.survival([made_run(LATE, EARLY, seed) for seed in (0, 1)]).empty  # cells of three seeds or more


def test_evaluations_are_smoothed():
    spiked = [-1, 0.2, 0.4, 0.8, -0.5, 0.9, 0.9, 0.9, 0.9]
    table = timing.evaluations([made_run(LATE, spiked)]).query("systems == 2")
    assert table.mean2.tolist() == [1.0, 0.4, 0.3, 0.3, 0.1, 0.05, 0.05, 0.05, 0.05] and len(table) == 9


# --- the committed runs -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return runs.load_all()


@pytest.fixture(scope="module")
def evaluations(committed):
    return timing.evaluations(committed)


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
    middle = {k: median(dates) for k, dates in when.items()}
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


@pytest.mark.standard
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("dimension, systems, threshold", [(5, 2, 0.5), (5, 4, 0.3), (3, 2, 0.8), (3, 4, 0.65)])
def test_dates_of_the_page_are_those_of_the_library(committed, evaluations, measure, dimension, systems, threshold):
    """Vega's transforms against `evaluation.emergence`, over the committed runs."""
    chart = charts.atlas(evaluations, dict(dimension=5, labels=4, systems=2, setting="fast-0"))
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


@pytest.mark.standard
def test_a_run_without_an_ability_is_never(evaluations):
    going, beginning, first = words_of(
        charts.atlas(evaluations, dict(dimension=3, labels=4, systems=2, setting="adamw-0"))
    )
    assert beginning == "Beginning again: 0 of 2, median never" and "ratio" not in first


@pytest.mark.standard
def test_a_choice_without_runs_says_so(evaluations):
    chart = charts.atlas(evaluations, dict(dimension=5, labels=2, systems=4, setting="fast-0"))
    assert "a prompt cannot hold more systems than there are labels" in vl_convert.vegalite_to_svg(chart.to_dict())
