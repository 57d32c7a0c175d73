"""Knock-outs, factors and Kaplan-Meier curves, against hand-computed answers."""

import math

import pandas as pd
import pytest
import vl_convert

from recall import data, measures, runs
from recall.evaluation import NEVER, Emergence
from recall.prose import claims as prose_claims
from recall.prose import verdicts
from recall.studies import claims
from recall.studies.when import charts, knockouts, timing
from recall.studies.when import factors as when_factors
from recall.studies.which_way import edits
from recall.sweeps import cues, factors
from recall.sweeps import knockouts as sweeps_knockouts
from recall.task import Task


@pytest.fixture(scope="module")
def atlas():
    return runs.load_all("atlas")


def table(dates):
    """`pairs` of made-up runs that end at 128: {setting: [(1-after, 2-after), …]}, nan for never; the first setting
    is the whole loss.
    """
    rows = []
    for setting, seeds in dates.items():
        for seed, pair in enumerate(seeds):
            for ability, date, whole in zip(knockouts.PAIR, pair, dates[knockouts.WHOLE][seed]):
                row = dict(setting=setting, seed=seed, ability=ability, date=date, end=128.0)
                if setting != knockouts.WHOLE:
                    new, old = (
                        Emergence(*NEVER, 128.0) if math.isnan(d) else Emergence(d, d, d, 128.0) for d in (date, whole)
                    )
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
    "first-x4": [(40.0, 16.0), (33.0, 16.0), (42.0, 15.0), (44.0, 16.0), (42.0, 17.0)],
    "first-x16": [(32.0, 16.0), (33.0, 16.0), (32.0, 15.0), (34.0, 16.0), (32.0, 17.0)],
}


def test_shifts_and_gaps_by_hand():
    made = table(KEPT)
    moved = knockouts.shifts(made).set_index(["setting", "ability"])
    # the end stands for the date
    assert moved.loc[("no-first", "1-after"), "mean"] == pytest.approx((1 + 2 + 1 + math.log2(128 / 60) + 1) / 5)
    assert (
        moved.loc[("no-first", "1-after"), "bound"] == "at least" and moved.loc[("no-first", "1-after"), "reached"] == 0
    )
    assert (
        moved.loc[("no-first", "2-after"), "bound"] == "exact"
        and abs(moved.loc[("no-first", "2-after"), "mean"]) < 0.02
    )
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
    turned = KEPT | {
        "no-first": later,
        "no-going-on": [(4 * a if 4 * a < 128 else NAN, NAN) for a, _ in WHOLE],
        "two-alone": level,
        "first-x16": swapped,
    }
    assert outcomes(turned) == ["failed", "failed", "held", "held"]
    assert "Practice explains the order" in verdicts.knocked(
        knockouts.outcomes(table(turned)), knockouts.gaps(table(turned))
    )


def test_with_fewer_than_five_seeds_nothing_is_decided():
    few = table({name: seeds[:4] for name, seeds in KEPT.items()})
    assert {row["outcome"] for row in knockouts.outcomes(few)} == {"not all runs are there"}
    assert verdicts.knocked(knockouts.outcomes(few), knockouts.gaps(few)).startswith("Not all runs are there")
    assert prose_claims._practised(knockouts.outcomes(few))[1] == "undecided"
    assert prose_claims._practised(knockouts.outcomes(table(KEPT)))[1] == "answered"


def test_committed_knock_outs_are_declared_ones_on_the_same_batches(atlas):
    names = {config.name for config in sweeps_knockouts.configs()}
    committed = runs.load_all("knockouts")
    assert committed and {run.name for run in committed} <= names
    made = knockouts.pairs(atlas, committed)
    row = made.query("setting == 'no-first' and seed == 300 and ability == '2-after'").iloc[0]
    assert row.date == pytest.approx(
        measures.dates(next(r for r in committed if r.config["setting"] == "no-first" and r.config["seed"] == 300), 2)[
            "2-after"
        ].date
    )
    # what no loss asks for is not learnt
    assert made.query("setting == 'no-first' and ability == '1-after'").date.isna().all()


def test_kaplan_meier_by_hand(monkeypatch, atlas):
    """Dates 10, 30 and one run censored at 20: the estimate falls to 2/3 at 10 and to 0 at 30, when one of one is
    left.
    """
    found = iter(
        [Emergence(9, 10_000.0, 10, 40_000.0), Emergence(*NEVER, 20_000.0), Emergence(29, 30_000.0, 30, 40_000.0)]
    )
    monkeypatch.setattr(measures, "dates", lambda run, systems: {"1-after": (each := next(found)), "2-after": each})
    three = [run for run in atlas if run.config["task"]["dimension"] == 2 and run.config["task"]["labels"] == 4]
    shown = timing.survival(three).query("ability == '1-after-query'")
    assert shown[["examples", "share"]].values.tolist()[:2] == [[0.0, 0.0], [10.0, 0.333]]
    assert shown.iloc[-1].tolist()[4:6] == [20.0, 0.333]  # drawn to the end of the shortest run


def test_the_last_step_of_kaplan_meier(monkeypatch, atlas):
    found = iter(
        [Emergence(9, 10_000.0, 10, 40_000.0), Emergence(*NEVER, 40_000.0), Emergence(29, 30_000.0, 30, 40_000.0)]
    )
    monkeypatch.setattr(measures, "dates", lambda run, systems: {"1-after": (each := next(found)), "2-after": each})
    three = [run for run in atlas if run.config["task"]["dimension"] == 2 and run.config["task"]["labels"] == 4]
    assert timing.survival(three).query("ability == '1-after-query'").share.tolist() == [
        0.0,
        0.333,
        0.667,
        0.667,
        0.667,
    ]


def test_inversions_are_found_and_named():
    lines = pd.DataFrame(
        {
            "name": list("abcd"),
            "setting": "x",
            "dimension": 3,
            "labels": 4,
            "seed": range(4),
            "1-after N=2": [10_000.0, 5_000.0, NAN, 7_000.0],
            "2-after N=2": [5_000.0, 6_000.0, 3_000.0, NAN],
        }
    )
    found = when_factors.inversions(lines)
    assert found.name.tolist() == ["b", "d"]
    words = verdicts.inverted(lines, found)
    assert (
        "came first in 2. " in words
        and "*refuted* as a law; it comes first in 1 of 2." in words
        and "within a factor of 1.20" in words
    )
    assert (
        "(beginning again at 5 thousand examples, going on at 6 thousand examples)" in words
        and "(beginning again at 7 thousand examples, going on never)" in words
    )
    assert "there is none" in verdicts.inverted(lines, found[:0])


def test_the_committed_tables_hold_declared_runs_and_the_page_names_the_inversions(atlas):
    for name, sweep in (("factors", factors), ("cues", cues)):
        assert set(data.table(name).name) <= {config.name for config in sweep.configs()}
    there, wanted = data.table("factors"), factors.configs()
    # chapter 5 names what has not been run
    assert {config.setting for config in wanted} - set(there.setting) == {"layers-6", "batch-128"}
    assert set(there[there.setting == "vocabulary-8"].dimension) == {3}
    lines = when_factors.every(atlas, runs.load_all())
    assert len(lines) >= 300 and lines.name.is_unique
    assert {"haar-n5-l25-study-25-s300-c0d1180e"} <= set(when_factors.inversions(lines).name)


def test_factors_say_what_is_missing(atlas):
    shown = when_factors.dated(pd.concat([data.table("factors"), data.table("cues")]), atlas)
    layers = shown[(shown.setting == "layers-1")]
    assert set(layers.state) == {"not there when the run ended"} and set(layers.examples) == {128.0}
    words = verdicts.changed(shown)
    assert (
        "`layers-1`" in words.split("Going on alone")[0]
        and "`layers-2`" in words.split("Going on alone")[1].split(". ")[0]
    )
    assert set(shown[shown.setting == "gaussian"].rule) == {"median"}
    charts.factors(shown)
    with pytest.raises(ValueError, match="kind must be one of"):
        charts.factors(shown, "weather")


def test_an_interval_that_is_merely_wide_decides_nothing():
    """Gaps of the whole loss itself at seeds 300 to 302 have an interval that holds 0, and yet going on came first
    in every one of them.
    """
    wide = [(64.0, 16.0), (17.0, 16.0), (90.0, 15.0), (15.0, 16.0), (16.1, 17.0)]
    rows = knockouts.outcomes(table(KEPT | {"two-alone": wide}))
    assert rows[2]["outcome"] == "undecided" and prose_claims._practised(rows)[1] == "undecided"
    gap = knockouts.gaps(table(KEPT | {"two-alone": wide})).set_index("setting").loc["two-alone"]
    assert gap.low <= 0 <= gap.high and gap.high > knockouts.LEFT


def test_bounds_have_no_interval_and_are_left_to_the_sign_test():
    moved = knockouts.shifts(table(KEPT)).set_index(["setting", "ability"])
    never = moved.loc[("no-first", "1-after")]
    assert (
        math.isnan(never.low)
        and never.bound == "at least"
        and (never.above, never.below) == (5, 0)
        and never.p == pytest.approx(2 / 32)
    )
    assert knockouts.all_on(never, "above") and not knockouts.all_on(never, "below")
    # later in one seed of five: 2 (1 + 5) of 2^5
    assert moved.loc[("first-x16", "1-after"), "p"] == pytest.approx(2 * 6 / 32)
    assert not knockouts.all_on(moved.loc[("first-x16", "1-after")], "below")
    four = pd.Series(dict(above=4, below=0))
    assert not knockouts.all_on(four, "above")  # 1/16
    # neither the whole loss nor the knock-out brings it: nothing is known of that pair
    whole = [(NAN, 16.0), *WHOLE[1:]]
    pair = knockouts.shifts(table(KEPT | {knockouts.WHOLE: whole})).set_index(["setting", "ability"])
    assert pair.loc[("no-first", "1-after"), "bound"] == "mixed" and pair.loc[("no-first", "1-after"), "above"] == 4
    assert (
        pair.loc[("no-going-on", "1-after"), "bound"] == "at most"
        and pair.loc[("no-going-on", "1-after"), "below"] >= 1
    )
    shown = verdicts.knocked_shifts(knockouts.shifts(table(KEPT)))
    assert shown.iloc[0].tolist() == [
        "nothing asked of 1-after",
        "1-after",
        "0 of 5",
        "at least +1.22",
        "5 of 5",
        "0.062",
    ]


def test_nothing_is_answered_before_all_runs_are_there():
    lacking = {name: dates[:4] if name == "first-x4" else dates for name, dates in KEPT.items()}
    rows = knockouts.outcomes(table(lacking))
    assert [row["outcome"] for row in rows] == ["held", "held", "failed", "failed"] and not any(
        row["complete"] for row in rows
    )
    assert (
        prose_claims._practised(rows)[1] == "undecided"
        and prose_claims._practised(knockouts.outcomes(table(KEPT)))[1] == "answered"
    )
    only = {name: KEPT[name] for name in (knockouts.WHOLE, "no-first")}
    assert verdicts.knocked(knockouts.outcomes(table(only)), knockouts.gaps(table(only))).startswith(
        "Not all runs are there"
    )


def test_a_knock_out_in_the_other_order_is_named():
    found = knockouts.turned(table(KEPT))
    assert (
        not len(found)
        and verdicts.knocked_first(table(KEPT), found)
        == "Of the 15 knock-outs that ask for both abilities, 1-after-query came first in none."
    )
    other = KEPT | {"first-x4": [(46_000.0, 47_500.0), (33_000.0, NAN), *KEPT["first-x4"][2:]]}
    found = knockouts.turned(table(other))
    assert verdicts.knocked_first(table(other), found).endswith(
        "first in 2: *1-after counts 4 times*, seed 0 (46.0 against 47.5 thousand examples); *1-after counts 4 "
        "times*, seed 1 (33.0 against never thousand examples)."
    )
    assert len(knockouts.turned(table(KEPT | {"no-going-on": [(1.0, NAN)] * 5}))) == 0  # it was not asked to go on


def test_the_studys_traces_ask_for_both_in_94_percent_of_resumptions():
    task = Task(factors.study(25, 300).task, 7)
    lengths = [
        segments.length[(segments.first > 0) & (segments.length > 0)]
        for segments in (task.sample_batch(step, 250).segments for step in range(1, 5))
    ]
    share = sum(int((each >= 2).sum()) for each in lengths) / sum(map(len, lengths))
    assert share == pytest.approx(0.94, abs=0.01)


def test_every_kind_is_drawn_beside_the_base_runs_of_its_own_seeds(atlas):
    shown = when_factors.dated(pd.concat([data.table("factors"), data.table("cues")]), atlas)
    for kind, group in shown.groupby("kind"):
        assert set(group[group.setting == "unchanged"].seed) == set(group[group.setting != "unchanged"].seed) & set(
            claims.SEEDS
        ), kind
    words = verdicts.changed(shown)
    assert (
        all(f"`{name}`" in words.split("In some seeds")[-1] for name in ("gaussian", "identity", "rotations"))
        and "Without an identification score" in words
    )
    none = verdicts.changed(shown[shown.rule == "score"].assign(state="there"))
    assert none.startswith("Both came in every seed") and "Neither" not in none and "In some seeds" not in none
    some = shown[shown.setting.isin(["unchanged", "layers-4"])].copy()
    some.loc[(some.setting == "layers-4") & (some.seed == 300), "state"] = "not there when the run ended"
    assert "In some seeds only with `layers-4` (2-after in 2 of 3, 1-after in 2)." in verdicts.changed(some)


def test_each_option_of_the_two_figures_of_factors_changes_the_picture(atlas):
    shown = when_factors.dated(pd.concat([data.table("factors"), data.table("cues")]), atlas)
    for chart in (charts.factors, charts.factor_index):
        pictures = {vl_convert.vegalite_to_svg(chart(shown, kind).to_dict()) for kind in shown.kind.unique()}
        assert len(pictures) == shown.kind.nunique()


def test_segments_and_edits_enter_the_questions(atlas):
    shown = when_factors.dated(data.table("factors"), atlas)
    probed, kinds = data.table("interventions"), measures.kinds(runs.load_all())
    effects = {needle: edits.effects(probed, kinds, needle=needle) for needle in ("farthest", "nearest")}
    asked = lambda **more: {
        row["question"]: row for row in prose_claims.questions([], practice=knockouts.outcomes(table(KEPT)), **more)
    }
    plain, told = asked(), asked(segments=shown, edits=(effects["farthest"], effects["nearest"]))
    assert (
        "lengths of segments" not in plain[prose_claims.PRACTICE]["answer"]
        and plain[prose_claims.HEAVIER]["status"] == "not tested"
    )
    answer = told[prose_claims.PRACTICE]["answer"]
    assert (
        told[prose_claims.PRACTICE]["status"] == "answered"
        and "lengths of segments, as points: the usual lengths: going on first in 3 of 3" in answer
    )
    short = data.table("factors").query("setting == 'short-segments'")
    first = int((short["2-after N=2"] < short["1-after N=2"].fillna(math.inf)).sum())
    assert f"short segments: going on first in {first} of {len(short)}" in answer
    for name, needle, question in (
        ("louder-label", "farthest", prose_claims.HEAVIER),
        ("repeated-label", "farthest", prose_claims.HEAVIER),
        ("no-close", "nearest", prose_claims.CLOSES),
    ):
        row = effects[needle].query("intervention == @name and kind == 'observation-led' and dimension == 5").iloc[0]
        assert (
            f"n = 5, 1-after {row.plain1:.2f} → {row.edited1:.2f}" in told[question]["answer"]
            and told[question]["status"] == "in part"
        )
    late = shown.assign(
        state=shown.state.where(
            ~((shown.setting == "short-segments") & (shown.ability == "2-after-query")), "not there when the run ended"
        )
    )
    assert (
        "short segments: going on first in 0 of 3 (thousands of examples, going on never, never, never"
        in asked(segments=late)[prose_claims.PRACTICE]["answer"]
    )
