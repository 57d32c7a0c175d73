"""Claims and reviewers' questions in words, from made-up tables."""

import pandas as pd
import pytest
from made_circuits import compared
from made_claims import ONE, models, octave_gaps
from made_when import KEPT, pairs

from recall import data, measures, runs
from recall.prose import claims
from recall.studies.when import factors, knockouts
from recall.studies.which_way import edits

asked = lambda **more: {row["question"]: row for row in claims.questions([], **more)}
claimed = lambda name, **more: next(row for row in claims.table([], **more) if row["id"] == name)


def test_without_runs_nothing_is_tested():
    assert (
        {row["status"] for row in claims.questions([])} == {row["status"] for row in claims.table([])} == {"not tested"}
    )


def test_circuits_in_words():
    same = pd.concat(models(ONE))
    row = claimed("separate-circuits", circuits=same)
    assert row["status"] == "not reproduced" and "whole-context: shared, overlap 1.00" in row["evidence"]
    controls = asked(circuits=same)
    assert "overlap 1.00" in controls[claims.CONTROLS]["answer"]
    assert controls.pop(claims.CONTROLS)["status"] == "in part"
    assert {row["status"] for row in controls.values()} == {"not tested"}
    rewarded = asked(circuits=same, compared=compared(40, 60, 80))[claims.CONTROLS]
    assert rewarded["status"] == "answered" and rewarded["answer"].endswith(
        "the overlap changes: elimination, +0.30 (95 % interval +0.30 to +0.30); learned pruning, +0.30 (95 % "
        "interval +0.30 to +0.30)"
    )
    assert asked(circuits=same, compared=compared(40, 60, 80, models=4))[claims.CONTROLS]["status"] == "in part"


def test_language_in_words():
    found = octave_gaps(*[[2.0, 2.1, 2.2, 1.9, 2.0]] * 2)
    row = claimed("language", language=found)
    assert row["status"] == "only at this scale" and "were not run" in row["evidence"]
    assert "at least 2.04 octaves (5 seeds; in 1 the first token never got there, so the interval" in row["evidence"]
    rows = asked(language=found)
    assert rows.pop(claims.ELSEWHERE)["status"] == "in part"
    assert {row["status"] for row in rows.values()} == {"not tested"}


@pytest.mark.parametrize(
    "values, written",
    [
        ((0.875, 0.47, 1.0), ("0.88", "0.47", "1.00")),
        ((-0.0012, -0.0034, 0.0021), ("-0.001", "-0.003", "0.002")),
        ((0.0131, -0.0001, 0.0262), ("0.0131", "-0.0001", "0.0262")),
        ((0.0, 0.0, 0.0), ("0.0000", "0.0000", "0.0000")),
    ],
)
def test_no_end_of_an_interval_is_rounded_to_nothing(values, written):
    assert claims.written(dict(zip(("estimate", "low", "high"), values))) == written


def test_practice_is_answered_once_all_runs_are_there():
    status = lambda dates: asked(practice=knockouts.outcomes(pairs(dates)))[claims.PRACTICE]["status"]
    assert status(KEPT) == "answered"
    assert status({name: seeds[:4] for name, seeds in KEPT.items()}) == "undecided"
    assert status(KEPT | {"first-x4": KEPT["first-x4"][:4]}) == "undecided"
    wide = [(64.0, 16.0), (17.0, 16.0), (90.0, 15.0), (15.0, 16.0), (16.1, 17.0)]
    assert status(KEPT | {"two-alone": wide}) == "undecided"


@pytest.mark.standard
def test_segments_and_edits_enter_the_questions():
    atlas, lines = runs.load_all("atlas"), data.table("factors")
    shown = factors.dated(lines, atlas)
    probed, kinds = data.table("interventions"), measures.kinds(runs.load_all())
    effects = {needle: edits.effects(probed, kinds, needle=needle) for needle in ("farthest", "nearest")}
    practice = knockouts.outcomes(pairs(KEPT))
    plain = asked(practice=practice)
    told = asked(practice=practice, segments=shown, edits=(effects["farthest"], effects["nearest"]))
    assert "lengths of segments" not in plain[claims.PRACTICE]["answer"]
    assert plain[claims.HEAVIER]["status"] == "not tested" and told[claims.PRACTICE]["status"] == "answered"
    answer = told[claims.PRACTICE]["answer"]
    assert "lengths of segments, as points: the usual lengths: going on first in 3 of 3" in answer
    short = lines.query("setting == 'short-segments'")
    first = int((short["2-after N=2"] < short["1-after N=2"].fillna(float("inf"))).sum())
    assert f"short segments: going on first in {first} of {len(short)}" in answer
    for name, needle, question in (
        ("louder-label", "farthest", claims.HEAVIER),
        ("repeated-label", "farthest", claims.HEAVIER),
        ("no-close", "nearest", claims.CLOSES),
    ):
        row = effects[needle].set_index(["intervention", "kind", "dimension"]).loc[name, "observation-led", 5]
        assert f"n = 5, 1-after {row.plain1:.2f} → {row.edited1:.2f}" in told[question]["answer"]
        assert told[question]["status"] == "in part"
    going_on = (shown.setting == "short-segments") & (shown.ability == "2-after-query")
    late = shown.assign(state=shown.state.where(~going_on, "not there when the run ended"))
    assert (
        "short segments: going on first in 0 of 3 (thousands of examples, going on never, never, never"
        in asked(practice=practice, segments=late)[claims.PRACTICE]["answer"]
    )
