"""Curves, plateaus and the table of all runs, of made-up runs."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import EARLY, LATE, NEVER, made_run, nan

from recall.studies.abilities import charts, tables


def with_weights(run, label: float, index: float):
    """The run with misdirected evaluations: what the label gets in all, and its index."""
    wrong = run.history.assign(condition="misdirected", label_index=index, weight_label=label, weight_other=0.0)
    history = pd.concat([run.history, wrong], ignore_index=True)
    return type(run)(run.folder, run.config, history, run.final, run.manifest)


def test_curves_leave_out_a_share_of_nearly_nothing():
    runs = [with_weights(made_run(LATE, EARLY, seed), label, 0.4) for seed, label in ((0, 0.3), (1, 0.2))]
    table = tables.curves(runs)
    assert set(table.systems) == {2, 4} and table.examples.min() == 3.2  # thousands; not the untrained model
    strong, weak = (table[(table.seed == seed) & (table.systems == 2)] for seed in (0, 1))
    assert (strong.index1 == 0.4).all() and weak.index1.isna().all()
    assert strong.error2.tolist() == pytest.approx([0.5 * (1 - score) for score in EARLY[1:]])
    assert list(tables.curves(runs, points=2).examples.unique()) == [3.2, 25.6]
    start = dict(dimension=5, labels=4, systems=2, setting="fast-1")
    charts.label_index_curves(table, start)
    charts.emergence_curves(table, tables.levels(), start)


def test_a_plateau_is_what_precedes_a_fall():
    """1-after waits at a score of 0, that is at the label-blind average, from the emergence of 2-after on."""
    (row,) = tables.plateaus([made_run(LATE, EARLY)]).query("systems == 2").to_dict("records")
    assert (row["plateau"], row["blind"], row["evaluations"]) == (0.5, 0.5, 3)
    waiting = [-1, -1, -1, -0.6, -0.7, -0.6, 0.9, 0.9, 0.9]  # anywhere else it is found just as well
    (row,) = tables.plateaus([made_run(waiting, EARLY)]).query("systems == 2").to_dict("records")
    assert row["plateau"] == pytest.approx(0.5 * 1.6)
    short = tables.plateaus([made_run([-1, 0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9], EARLY)])
    assert short.plateau.isna().all() and set(short.evaluations) == {2}
    assert tables.plateaus([made_run(LATE, NEVER)]).evaluations.eq(0).all()


def test_the_table_of_all_runs():
    runs = [made_run(LATE, EARLY, 1, index=0.9), made_run(NEVER, EARLY, 0, end=0.1)]
    never, late = tables.overview(runs).to_dict("records")
    assert (never["seed"], never["kind"], late["kind"]) == (0, "no look-up", "label-led")
    assert math.isnan(never["to both"]) and math.isnan(never["1-after, N=2 (score)"])
    assert late["to both"] == pytest.approx(100 * late["1-after, N=2 (score)"] / 25.6)
    assert (late["label index 2"], late["misdirected 2-after"]) == (0.9, 0.05)
    formats = tables.formats(tables.overview(runs))
    assert formats["to both"](nan) == "–" and formats["label index 2"](0.899) == "0.90"


def test_finals_and_levels():
    final = tables.finals([made_run(LATE, EARLY, error4=0.25)])
    assert final.query("systems == 4 and k == 2 and condition == 'plain'").error.tolist() == [0.25]
    levels = tables.levels((2, 4), wrong=True).set_index(["systems", "words"]).level
    assert levels[4, "label-blind average"] == 0.75 and levels[2, "the wrong system's next state"] == 2
    assert len(tables.levels((2, 4))) == 4


def test_distances_keep_both_needles_of_look_up_alone():
    run = made_run(LATE, EARLY)
    rows = [
        dict(run=run.name, examples=examples, needle=needle, k=k, mean=0.1 * k, score=0.9)
        for examples in (0, 3200)
        for needle in ("farthest", "nearest")
        for k in (1, 2)
    ]
    table = tables.distance(pd.DataFrame([*rows, rows[-1] | dict(run="another")]), [run])
    assert sorted(table.curve) == ["1-after, farthest", "1-after, nearest", "2-after, farthest"]
    assert (table.examples == 3.2).all() and np.allclose(table["mean"], table.curve.str[0].astype(int) / 10)
    charts.distance_curves(table, dict(dimension=5, labels=4, setting="fast-1"))
