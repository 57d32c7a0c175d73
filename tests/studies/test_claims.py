"""The rules that decide the claims, over made-up runs and tables."""

import math

import pandas as pd
import pytest
from made_claims import ONE, OTHER, models, octave_gaps
from made_runs import EARLY, LATE, NEVER, made_run, nan

from recall import sweeps
from recall.studies import claims

RISING = [-1, 0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.9]
of = lambda runs: {row["id"]: row for row in claims.outcomes(runs)}


def test_going_on_comes_first_or_does_not():
    assert claims.goes_on_first(made_run(LATE, EARLY)) and claims.goes_on_first(made_run(NEVER, EARLY))
    assert not claims.goes_on_first(made_run(EARLY, EARLY))  # a tie is against the claim
    assert not any(map(claims.goes_on_first, (made_run(EARLY, LATE), made_run(NEVER, NEVER))))
    assert not claims.goes_on_first(made_run(LATE, EARLY, ended="diverged"))


def test_rise_by_hand():
    run = made_run(LATE, RISING)
    # 0.1 at the second evaluation; 0.5 half way, in log, from the fourth to the fifth
    low, high = 2.0, 4 * (5 / 4) ** 0.5
    assert claims.rise(run, 2) == pytest.approx(3200 * (high - low)) and claims.begins_abruptly(run)
    late_and_slow = [-1, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # fewer doublings than EARLY, more examples
    assert not claims.begins_abruptly(made_run(late_and_slow, EARLY))
    never = made_run(NEVER, EARLY)
    assert math.isnan(claims.rise(never, 1)) and not claims.begins_abruptly(never)


def test_outcomes_use_the_declared_runs_only():
    finished = [made_run(LATE, EARLY, seed, index=0.001 * seed % 0.01) for seed in claims.SEEDS]
    # another seed, another setting
    finished += [made_run(EARLY, LATE, 0), made_run(EARLY, LATE, 300, setting="adamw-1")]
    rows = of(finished)
    assert (rows["order-5"]["seeds"], rows["order-5"]["estimate"], rows["order-5"]["p"]) == (8, 1, 1 / 256)
    assert (rows["order-3"]["seeds"], rows["order-3"]["outcome"]) == (0, "undecided")
    assert math.isnan(rows["order-3"]["p"]) and rows["deaf-5"]["outcome"] == "passed"
    early = of(finished[:7])["order-5"]
    assert early["seeds"] == 7 and math.isnan(early["p"])  # nobody looks before all seeds are there
    with pytest.raises(ValueError, match="level must be between 0 and 1, not 2"):
        claims.outcomes([], level=2)


def test_only_seeds_that_look_labels_up_can_be_asked_about_labels():
    blind = [made_run(LATE, EARLY, seed, end=0.9 if seed < 304 else 0.1) for seed in claims.SEEDS]
    row = of(blind)["deaf-5"]
    assert (row["runs"], row["seeds"], row["outcome"]) == (4, 8, "undecided")  # too few look labels up
    # a label index of nearly no weight is left out, and counted
    faint = [made_run(LATE, EARLY, seed, index=nan if seed == 300 else 0.001 * seed % 0.01) for seed in claims.SEEDS]
    row = of(faint)["deaf-5"]
    assert (row["runs"], row["seeds"], row["outcome"]) == (7, 8, "passed")


def test_a_label_that_decides_refutes_deafness():
    rows = of(
        [
            made_run(LATE, EARLY, seed, index=0.5 + seed / 1e4, misdirected=-1.0 + seed / 1e4, error4=0.2 + seed / 1e4)
            for seed in claims.SEEDS
        ]
    )
    assert rows["deaf-5"]["outcome"] == rows["unchanged-5"]["outcome"] == "refuted"
    assert rows["degrades-5"]["outcome"] == "passed"
    assert rows["degrades-5"]["estimate"] == pytest.approx(0.15 - 0.01 + 303.5 / 1e4)


def test_status_follows_from_outcomes():
    row = lambda outcome, seeds=8: dict(outcome=outcome, seeds=seeds)
    assert claims.status([]) == claims.status([row("undecided", 0)]) == "not tested"
    assert claims.status([row("passed")] * 2) == "reproduced"
    assert claims.status([row("passed"), row("undecided")]) == "in part"
    assert claims.status([row("refuted"), row("undecided")]) == "not reproduced"
    assert claims.status([row("undecided")] * 2) == "undecided"


def test_the_declaration():
    assert len(claims.TESTS) <= 8 and len({test.id for test in claims.TESTS}) == len(claims.TESTS)
    assert {test.claim for test in claims.TESTS} <= set(claims.CLAIMS)
    configs = sweeps.load("atlas")
    for test in claims.TESTS:
        cell = (test.dimension, claims.LABELS, claims.SETTING)
        seeds = {c.seed for c in configs if (c.task.dimension, c.task.labels, c.setting) == cell}
        assert seeds >= set(claims.SEEDS)
    assert all(2 in config.evaluation.systems for config in configs)


def test_circuits_decide_their_claim_by_the_rule():
    """Strangers, twins and a mixture of both, in five models each; too few models say nothing."""
    status = lambda tables: claims.circuits_status(claims.overlaps(pd.concat(tables)))
    assert status(models(OTHER)) == "reproduced" and status(models(ONE)) == "not reproduced"
    assert status(models(OTHER) + models(ONE, "binding-swap")) == "in part"
    assert status(models(OTHER, count=4)) == "not tested"
    (row,) = claims.overlaps(pd.concat(models(ONE))).to_dict("records")
    assert (row["models"], row["verdict"], row["overlap"], row["twice"]) == (5, "shared", 1, 1)
    assert row["low"] == row["high"] == 1 and row["beyond"] == pytest.approx(1 - row["chance"])


def test_circuits_that_share_no_more_than_chance_are_not_refuted():
    row = dict(corruption="x", models=5, verdict="undecided", beyond=-0.1)
    assert claims.circuits_status(pd.DataFrame([row])) == "in part"
    assert claims.circuits_status(pd.DataFrame([row | dict(beyond=0.1)])) == "not reproduced"


def test_language_models_decide_their_claim_by_the_rule():
    """Both dates must say so, in the invented words under arbitrary labels; nothing here can be called reproduced."""
    above, around, below = [2.0, 2.1, 2.2, 1.9, 2.0], [-1.0, 1.0, -2.0, 2.0, 0.1], [-2.0, -2.1, -2.2, -1.9, -2.0]
    status = lambda half, toy: claims.language_status(claims.octaves(octave_gaps(half, toy)))
    assert status(above, above) == "only at this scale"
    assert status(above, around) == status(around, around) == status(above[:4], above[:4]) == "undecided"
    assert status(above, below) == status(below, below) == "not reproduced"
    half, toy = claims.octaves(octave_gaps(above, below)).to_dict("records")
    assert (half["by"], half["seeds"], half["late"], half["octaves"]) == ("half", 5, 1, pytest.approx(2.04))
    assert half["high"] - 2.04 == pytest.approx(2.776445 * math.sqrt(0.013 / 5), rel=1e-5)
