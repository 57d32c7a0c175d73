"""Interventions on finished runs: the table, and what is made of it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall import data, evaluation, measures, runs
from recall.config import to_json
from recall.interventions import INTERVENTIONS
from recall.needle import needle_prompts
from recall.predictors import HYPOTHESES, blind_error
from recall.prose import verdicts
from recall.runs import Run
from recall.settings import from_json, preset
from recall.studies.which_way import charts, edits
from recall.training import trained_model

NAMES = {3: "haar-n3-l4-fast-0-s1-cd6e8b74", 5: "haar-n5-l4-fast-0-s2-6ec303c8"}  # one between, one led by the label
KEYS = [*edits.MODELS, "predictor", "intervention", "needle", "systems", "k"]


@pytest.fixture(scope="module")
def committed():
    return data.table("interventions")


def of_model(table, name):
    """Rows of one run."""
    cell = measures.cell_of(runs.load(name))
    return table[(table[edits.MODELS] == list(cell.values())).all(axis=1)]


def test_a_rule_stands_beside_itself(monkeypatch):
    """A "model" that is a rule has the rule's rows, where prompts are as many."""
    run = Run(Path("made-up"), to_json(preset("fast-1", 2, 2, 0)), None, None, {})
    monkeypatch.setattr(edits, "FEW", (2, 3))
    monkeypatch.setattr(edits, "trained_model", lambda run: HYPOTHESES["by label"](from_json(run.config).task))
    table = edits.probe([run, run], counts=(2, 4), haystacks=2, traces=3)
    assert set(table.systems) == {2} and set(table.predictor) == {"model", *HYPOTHESES}  # no four systems of two labels
    mean = table.set_index(["predictor", "intervention", "needle", "k"])["mean"]
    model = mean["model"].groupby(level=[0, 1, 2]).first()
    assert (model == mean["by label"].reindex(model.index)).all() and len(table) == 4 * len(model)
    made = {needle: set(rows.intervention) for needle, rows in table.groupby("needle")}
    assert made["nearest"] == set(edits.NEAR) and "unseen-label" not in made["farthest"]


def test_effects_by_hand():
    rows = [
        dict(zip(edits.MODELS, (3, 4, "x", seed)), intervention=name, k=k, mean=mean)
        for seed in range(6)
        for name, shift in (("plain", 0.0), ("equal-norm", 0.1 * seed))
        for k, mean in ((1, 0.2), (2, 0.3 + shift))
    ]
    probed = pd.DataFrame(rows).assign(predictor="model", needle="farthest", systems=2)
    kinds = probed.groupby(edits.MODELS).k.first().map(lambda _: "observation-led")
    kinds.iloc[5] = "label-led"
    table = edits.effects(probed, kinds)
    assert table.groupby("kind").seeds.first().to_dict() == {"label-led": 1, "observation-led": 5}
    (row,) = table.query("kind == 'observation-led' and intervention == 'equal-norm'").to_dict("records")
    half = 2.776445 * 0.1 * math.sqrt(2.5 / 5)  # Student's t, 4 degrees of freedom; the differences are 0 to 0.4
    assert (row["seeds"], row["plain2"], row["edited2"]) == (5, pytest.approx(0.3), pytest.approx(0.5))
    assert (row["low2"], row["high2"]) == (pytest.approx(0.2 - half, abs=1e-6), pytest.approx(0.2 + half))
    assert row["plain1"] == row["edited1"] and (row["low1"], row["high1"]) == (0, 0)


def test_figures_of_made_up_models():
    cell = dict(labels=4, setting="x", intervention="plain", needle="farthest", systems=2, mean=0.1)
    rows = [
        cell | dict(dimension=n, seed=seed, predictor=predictor, led=led, k=k)
        for n in (3, 5)
        for seed, predictor, led in ((0, "model", "between"), (-1, "by label", None))
        for k in (1, 2)
    ]
    start = dict(intervention="plain", dimension=5, systems=2, needle="farthest")
    probed = charts.probed(pd.DataFrame(rows), start).to_json()
    assert "between model" in probed and "observation-led" not in probed and "no committed run" not in probed
    gaps = pd.DataFrame([dict(dimension=3, seed=0, group=g, gap=g, error=0.1, led="label-led") for g in range(1, 6)])
    assert "pick_dimension" in charts.norm_gap(gaps, 3).to_json()


# --- committed


@pytest.mark.standard
def test_every_edit_that_can_be_made_is_there(committed):
    models = committed[committed.predictor == "model"]
    at = lambda N, needle: set(models[(models.systems == N) & (models.needle == needle)].intervention)
    assert at(2, "farthest") == set(INTERVENTIONS) - {"no-labels"} and at(2, "nearest") == set(edits.NEAR)
    assert at(4, "farthest") == at(2, "farthest") - {"unseen-label", "restart"}  # no label is left over
    assert (models.groupby(["dimension", "seed", "intervention", "needle", "systems"]).k.count() == edits.LAST_K).all()


@pytest.mark.standard
def test_the_two_ways_are_what_they_should_be(committed):
    rules = committed[(committed.seed == -1) & (committed.needle == "farthest") & (committed.systems == 2)]
    error = rules.set_index(["dimension", "predictor", "intervention", "k"])["mean"]
    for n in (3, 5):
        label, state = error[n, "by label"], error[n, "by observation"]
        assert max(label["equal-norm"]) < 1e-3 and max(state["equal-norm"][1:]) < 1e-3
        assert state["plain", 1] == pytest.approx(blind_error(2), abs=0.1)
        assert label["misdirected", 1] == pytest.approx(2, abs=0.25) and state["misdirected", 2] < 1e-3
        assert 0.3 < state["synchronised", 2] < 0.7 and state["synchronised", 3] < 0.05


@pytest.mark.standard
def test_one_seed_has_no_interval(committed):
    one = committed[(committed.dimension == 5) & (committed.seed <= 0)]
    alone = edits.effects(one, measures.kinds(runs.load_all()))
    assert len(alone) and (alone.seeds == 1).all() and alone.low2.isna().all()
    assert "nan" not in verdicts.edits(alone).to_string() and np.isfinite(alone.edited2).all()


@pytest.mark.standard
@pytest.mark.parametrize("n", NAMES)
def test_committed_rows_are_those_of_the_committed_weights(committed, n):
    """Made again by another route, the evaluation table of one edit.  Tolerance: rounding of single precision grows
    through the layers to about 1e-4 of an error.
    """
    run = runs.load(NAMES[n])
    task = from_json(run.config).task
    rows = of_model(committed, NAMES[n]).query("needle == 'farthest' and systems == 2")
    prompts = needle_prompts(task, 2, haystacks=16, traces=64, needle=0, seed=edits.SEED)
    for name in ("equal-norm", "misdirected", "no-close"):
        again = evaluation.table(trained_model(run).predict, prompts, task, name).query("event == 'query' and k <= 5")
        there = rows[rows.intervention == name]["mean"].to_numpy()
        assert there == pytest.approx(again["mean"].to_numpy(), rel=2e-3, abs=1e-4)


@pytest.mark.standard
def test_norm_gaps_are_those_of_the_committed_weights():
    """Tolerance: as above, and a prompt at the border of two groups may change sides on another machine."""
    again = edits.norm_gaps([runs.load(name) for name in NAMES.values()])
    table = data.table("norm_gaps")
    there = pd.concat([of_model(table, name) for name in NAMES.values()])
    assert len(there) == len(again) == 2 * edits.GROUPS and there.group.tolist() == again.group.tolist()
    for column in ("gap", "error"):
        assert there[column].to_numpy() == pytest.approx(again[column].to_numpy(), rel=5e-3)
    assert (there.gap.to_numpy().reshape(2, -1)[:, 1:] > there.gap.to_numpy().reshape(2, -1)[:, :-1]).all()


@pytest.mark.nightly
def test_committed_tables_are_made_again(committed):
    """Every row of every run whose weights are committed.  Tolerances: rounding of single precision, and of the five
    digits that are kept; halfway from a rotation to a reflection two singular values are alike and rounding decides
    which map it is, so that `similar-maps` differs by up to 0.02 from one machine to another.
    """
    cells = set(map(tuple, committed[edits.MODELS].astype(object).to_numpy()))
    finished = [run for run in runs.load_all() if tuple(measures.cell_of(run).values()) in cells]
    assert len(finished) == 11
    for table, again, keys in (
        (committed, edits.probe(finished), KEYS),
        (data.table("norm_gaps"), edits.norm_gaps(finished), [*edits.MODELS, "group"]),
    ):
        table, again = (each.fillna({"setting": ""}).set_index(keys).sort_index() for each in (table, again))
        assert table.index.equals(again.index)
        unsure = np.array(["similar-maps" in key for key in table.index])
        for rows, close in ((unsure, dict(rel=0.05, abs=0.03)), (~unsure, dict(rel=2e-3, abs=1e-4))):
            assert table.to_numpy()[rows] == pytest.approx(again[list(table)].to_numpy()[rows], **close)
