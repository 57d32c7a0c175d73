"""Loss knock-outs beside the whole loss: made-up dates by hand, the sweep's runs."""

import math

import pandas as pd
import pytest
from made_runs import EARLY, LATE, NEVER, made_run
from made_when import KEPT, NAN, TURNED, WHOLE, pairs

from recall import measures, runs
from recall.studies.when import charts, knockouts
from recall.sweeps import knockouts as sweeps_knockouts

of = lambda dates: knockouts.outcomes(pairs(dates))
outcomes = lambda dates: [row["outcome"] for row in of(dates)]
shifts = lambda dates: knockouts.shifts(pairs(dates)).set_index(["setting", "ability"])
gaps = lambda dates: knockouts.gaps(pairs(dates)).set_index("setting")


def test_shifts_and_gaps_by_hand():
    moved = shifts(KEPT)
    never, kept = moved.loc["no-first", "1-after"], moved.loc["no-first", "2-after"]
    # the end stands for the date
    assert never["mean"] == pytest.approx((1 + 2 + 1 + math.log2(128 / 60) + 1) / 5)
    assert (never.bound, never.reached, never.pairs) == ("at least", 0, 5)
    assert kept.bound == "exact" and abs(kept["mean"]) < 0.02 and kept.low < 0 < kept.high
    apart = gaps(KEPT)
    assert apart["mean"][knockouts.WHOLE] == pytest.approx(sum(math.log2(a / b) for a, b in WHOLE) / 5)
    assert apart["first"]["no-going-on"] == 0 and apart.bound["no-going-on"] == "at most"
    assert apart["first"]["first-x16"] == 5 and apart["mean"]["first-x16"] == pytest.approx(1.01, abs=0.05)
    neither = gaps(KEPT | {"two-alone": [(NAN, NAN), *KEPT["two-alone"][1:]]}).loc["two-alone"]
    assert neither.runs == 4 and neither.bound == "exact" and math.isnan(neither.low)  # four have no interval


def test_predictions_are_decided_by_the_dates_and_turn_with_them():
    assert outcomes(KEPT) == ["held", "held", "failed", "failed"]
    assert outcomes(TURNED) == ["failed", "failed", "held", "held"]
    assert all(row["complete"] for row in of(KEPT)) and knockouts.outcomes(pd.DataFrame()) == []


def test_with_fewer_than_five_seeds_nothing_is_decided():
    assert set(outcomes({name: seeds[:4] for name, seeds in KEPT.items()})) == {"not all runs are there"}
    lacking = KEPT | {"first-x4": KEPT["first-x4"][:4]}
    assert outcomes(lacking) == outcomes(KEPT) and not any(row["complete"] for row in of(lacking))
    assert len(of({name: KEPT[name] for name in (knockouts.WHOLE, "no-first")})) == 1


def test_an_interval_that_is_merely_wide_decides_nothing():
    """Gaps of the whole loss itself at seeds 300 to 302 have an interval that holds 0, and yet going on came first
    in every one of them.
    """
    wide = KEPT | {"two-alone": [(64.0, 16.0), (17.0, 16.0), (90.0, 15.0), (15.0, 16.0), (16.1, 17.0)]}
    assert outcomes(wide)[2] == "undecided"
    gap = gaps(wide).loc["two-alone"]
    assert gap.low <= 0 <= gap.high and gap.high > knockouts.LEFT


def test_bounds_have_no_interval_and_are_left_to_the_sign_test():
    moved = shifts(KEPT)
    never, once = moved.loc["no-first", "1-after"], moved.loc["first-x16", "1-after"]
    assert math.isnan(never.low) and (never.above, never.below) == (5, 0) and never.p == pytest.approx(2 / 32)
    assert knockouts.lies(never, "above") and not knockouts.lies(never, "below")
    # later in one seed of five: 2 (1 + 5) of 2^5
    assert once.p == pytest.approx(2 * 6 / 32) and not knockouts.all_on(once, "below")
    assert not knockouts.all_on(pd.Series(dict(above=4, below=0)), "above")  # 1/16
    assert knockouts.all_on(pd.Series(dict(above=0, below=5)), "below")
    # neither the whole loss nor the knock-out brings it: nothing is known of that pair
    mixed = shifts(KEPT | {knockouts.WHOLE: [(NAN, 16.0), *WHOLE[1:]]})
    assert (mixed.bound["no-first", "1-after"], mixed.above["no-first", "1-after"]) == ("mixed", 4)
    assert mixed.bound["no-going-on", "1-after"] == "at most" and mixed.below["no-going-on", "1-after"] >= 1


def test_knock_outs_in_the_other_order_are_found():
    assert knockouts.turned(pairs(KEPT)).empty
    other = KEPT | {"first-x4": [(46.0, 47.5), (33.0, NAN), *KEPT["first-x4"][2:]]}
    assert knockouts.turned(pairs(other))[["setting", "seed"]].values.tolist() == [["first-x4", 0], ["first-x4", 1]]
    assert knockouts.turned(pairs(KEPT | {"no-going-on": [(1.0, NAN)] * 5})).empty  # it was not asked to go on


def test_pairs_are_of_one_seed():
    atlas = [made_run(LATE, EARLY, 300), made_run(EARLY, EARLY, 301), made_run(LATE, EARLY, 300, labels=8)]
    table = knockouts.pairs(atlas, [made_run(NEVER, EARLY, 300, setting="no-first")])
    assert set(table.seed) == {300} and table.setting.tolist() == [knockouts.WHOLE] * 2 + ["no-first"] * 2
    first, second = table[table.setting == "no-first"].to_dict("records")
    late = measures.dates(atlas[0], 2)["1-after"].date
    assert (first["shift"], first["bound"]) == (pytest.approx(math.log2(25_600 / late)), "at least")
    assert (second["shift"], second["bound"]) == (0, "exact")
    shown = knockouts.shown(table)
    assert shown.state.tolist() == ["there"] * 2 + ["not there when the run ended", "there"]
    assert shown.examples[2] == 25.6 and charts.knocked_out(shown).to_dict()["height"] == 44 * 2 + 60


@pytest.mark.standard
def test_committed_knock_outs_are_declared_ones_on_the_same_batches():
    atlas, committed = runs.load_all("atlas"), runs.load_all("knockouts")
    assert committed and {run.name for run in committed} <= {config.name for config in sweeps_knockouts.configs()}
    made = knockouts.pairs(atlas, committed)
    run = next(run for run in committed if (run.config["setting"], run.config["seed"]) == ("no-first", 300))
    row = made.query("setting == 'no-first' and seed == 300 and ability == '2-after'").iloc[0]
    assert row.date == pytest.approx(measures.dates(run, 2)["2-after"].date)
    # what no loss asks for is not learnt
    assert made.query("setting == 'no-first' and ability == '1-after'").date.isna().all()


def test_settings_are_those_of_the_sweep():
    assert list(knockouts.KNOCKOUTS) == list(sweeps_knockouts.WEIGHTS)
