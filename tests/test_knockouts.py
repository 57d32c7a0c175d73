"""Knock-outs, factors and Kaplan-Meier curves, against hand-computed answers."""

import math

import pandas as pd
import pytest

from recall import charts, claims, factors, knockouts, runs, summary, verdicts
from recall.evaluation import NEVER, Emergence
from recall.sweeps import cues
from recall.sweeps import factors as changed
from recall.sweeps import knockouts as declared


@pytest.fixture(scope="module")
def atlas():
    return runs.load_all(claims.ATLAS)


def table(dates):
    """`pairs` of made-up runs that end at 128: {setting: [(1-after, 2-after), …]}, nan for never; the first setting is the whole loss."""
    rows = []
    for setting, seeds in dates.items():
        for seed, pair in enumerate(seeds):
            for ability, date, whole in zip(knockouts.PAIR, pair, dates[knockouts.WHOLE][seed]):
                row = dict(setting=setting, seed=seed, ability=ability, date=date, end=128.0)
                if setting != knockouts.WHOLE:
                    new, old = (Emergence(*NEVER, 128.0) if math.isnan(d) else Emergence(d, d, d, 128.0) for d in (date, whole))
                    row |= dict(shift=knockouts.octaves(new, old), bound=knockouts.BOUNDS[new.reached, old.reached])
                rows.append(row)
    return pd.DataFrame(rows)


NAN = math.nan
WHOLE = [(64.0, 16.0), (32.0, 16.0), (64.0, 15.0), (60.0, 16.0), (64.0, 17.0)]
KEPT = {
    knockouts.WHOLE: WHOLE,
    "no-first": [(NAN, 16.1), (NAN, 15.9), (NAN, 15.0), (NAN, 16.2), (NAN, 16.8)],
    "no-going-on": [(64.0, NAN), (32.1, NAN), (63.0, NAN), (61.0, NAN), (64.0, NAN)],
    "two-alone": [(64.0, 16.0), (64.0, 15.0), (60.0, 16.0), (64.0, 14.0), (62.0, 16.0)],
    "first-x16": [(32.0, 16.0), (33.0, 16.0), (32.0, 15.0), (34.0, 16.0), (32.0, 17.0)],
}


def test_shifts_and_gaps_by_hand():
    made = table(KEPT)
    moved = knockouts.shifts(made).set_index(["setting", "ability"])
    assert moved.loc[("no-first", "1-after"), "mean"] == pytest.approx((1 + 2 + 1 + math.log2(128 / 60) + 1) / 5)  # the end stands for the date
    assert moved.loc[("no-first", "1-after"), "bound"] == "at least" and moved.loc[("no-first", "1-after"), "reached"] == 0
    assert moved.loc[("no-first", "2-after"), "bound"] == "exact" and abs(moved.loc[("no-first", "2-after"), "mean"]) < 0.02
    apart = knockouts.gaps(made).set_index("setting")
    assert apart.loc[knockouts.WHOLE, "mean"] == pytest.approx(sum(math.log2(a / b) for a, b in WHOLE) / 5)
    assert apart.loc["no-going-on", "first"] == 0 and apart.loc["no-going-on", "bound"] == "at most"
    assert apart.loc["first-x16", "first"] == 5 and apart.loc["first-x16", "mean"] == pytest.approx(1.01, abs=0.05)


def test_predictions_are_decided_by_the_dates_and_turn_with_them():
    outcomes = lambda dates: [row["outcome"] for row in knockouts.outcomes(table(dates))]
    assert outcomes(KEPT) == ["held", "held", "failed", "failed"]
    words = verdicts.knocked(knockouts.outcomes(table(KEPT)), knockouts.gaps(table(KEPT)))
    assert words.startswith("Neither ability waits for the other") and "More practice is not why" in words
    later = [(NAN, 4 * b) for _, b in WHOLE]
    swapped = [(b, a) for a, b in KEPT["first-x16"]]
    level = [(16.0, 16.1), (16.2, 16.0), (15.0, 15.1), (16.1, 16.0), (16.0, 16.0)]
    turned = KEPT | {"no-first": later, "no-going-on": [(4 * a if 4 * a < 128 else NAN, NAN) for a, _ in WHOLE], "two-alone": level, "first-x16": swapped}
    assert outcomes(turned) == ["failed", "failed", "held", "held"]
    assert "Practice explains the order" in verdicts.knocked(knockouts.outcomes(table(turned)), knockouts.gaps(table(turned)))


def test_with_fewer_than_five_seeds_nothing_is_decided():
    few = table({name: seeds[:4] for name, seeds in KEPT.items()})
    assert {row["outcome"] for row in knockouts.outcomes(few)} == {"not all runs are there"}
    assert verdicts.knocked(knockouts.outcomes(few), knockouts.gaps(few)).startswith("Not all runs are there")
    assert claims._practised(knockouts.outcomes(few))[1] == "undecided"
    assert claims._practised(knockouts.outcomes(table(KEPT)))[1] == "answered"


def test_committed_knock_outs_are_declared_ones_on_the_same_batches(atlas):
    names = {config.name for config in declared.configs()}
    committed = runs.load_all(knockouts.FOLDER)
    assert committed and {run.name for run in committed} <= names
    made = knockouts.pairs(atlas, committed)
    row = made.query("setting == 'no-first' and seed == 300 and ability == '2-after'").iloc[0]
    assert row.date == pytest.approx(summary.dates(next(r for r in committed if r.config["setting"] == "no-first" and r.config["seed"] == 300), 2)["2-after"].date)
    assert made.query("setting == 'no-first' and ability == '1-after'").date.isna().all()  # what no loss asks for is not learnt


def test_kaplan_meier_by_hand(monkeypatch, atlas):
    """Dates 10, 30 and one run censored at 20: the estimate falls to 2/3 at 10 and to 0 at 30, when one of one is left."""
    found = iter([Emergence(9, 10_000.0, 10, 40_000.0), Emergence(*NEVER, 20_000.0), Emergence(29, 30_000.0, 30, 40_000.0)])
    monkeypatch.setattr(summary, "dates", lambda run, systems: {"1-after": (each := next(found)), "2-after": each})
    three = [run for run in atlas if run.config["task"]["dimension"] == 2 and run.config["task"]["labels"] == 4]
    shown = summary.survival(three).query("ability == '1-after-query'")
    assert shown[["examples", "share"]].values.tolist()[:2] == [[0.0, 0.0], [10.0, 0.333]]
    assert shown.iloc[-1].tolist()[4:6] == [20.0, 0.333]  # drawn to the end of the shortest run


def test_the_last_step_of_kaplan_meier(monkeypatch, atlas):
    found = iter([Emergence(9, 10_000.0, 10, 40_000.0), Emergence(*NEVER, 40_000.0), Emergence(29, 30_000.0, 30, 40_000.0)])
    monkeypatch.setattr(summary, "dates", lambda run, systems: {"1-after": (each := next(found)), "2-after": each})
    three = [run for run in atlas if run.config["task"]["dimension"] == 2 and run.config["task"]["labels"] == 4]
    assert summary.survival(three).query("ability == '1-after-query'").share.tolist() == [0.0, 0.333, 0.667, 0.667, 0.667]


def test_inversions_are_found_and_named():
    lines = pd.DataFrame({"name": list("abcd"), "setting": "x", "dimension": 3, "labels": 4, "seed": range(4),
                          "1-after N=2": [10_000.0, 5_000.0, NAN, 7_000.0], "2-after N=2": [5_000.0, 6_000.0, 3_000.0, NAN]})
    found = factors.inversions(lines)
    assert found.name.tolist() == ["b", "d"]
    words = verdicts.inverted(lines, found)
    assert "came first in 2" in words and "(5 and 6 thousand examples)" in words and "(7 and never thousand examples)" in words
    assert "there is none" in verdicts.inverted(lines, found[:0])


def test_the_committed_tables_hold_declared_runs_and_the_page_names_the_inversions(atlas):
    for name, sweep in (("factors", changed), ("cues", cues)):
        assert set(runs.table(name).name) <= {config.name for config in sweep.configs()}
    lines = factors.every(atlas, runs.load_all())
    assert len(lines) >= 300 and lines.name.is_unique
    assert {"haar-n5-l25-study-25-s300-c0d1180e"} <= set(factors.inversions(lines).name)


def test_factors_say_what_is_missing(atlas):
    shown = factors.dated(pd.concat([runs.table("factors"), runs.table("cues")]), atlas)
    layers = shown[(shown.setting == "layers-1")]
    assert set(layers.state) == {"not there when the run ended"} and set(layers.examples) == {128.0}
    words = verdicts.changed(shown)
    assert "`layers-1`" in words.split("Going on alone")[0] and "`layers-2`" in words.split("Going on alone")[1].split(".")[0]
    assert set(shown[shown.setting == "gaussian"].rule) == {"median"}
    charts.factors(shown)
    with pytest.raises(ValueError, match="kind must be one of"):
        charts.factors(shown, "weather")
