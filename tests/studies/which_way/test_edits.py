"""Interventions on finished runs: the table, and what is made of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recall import data, evaluation, measures, runs
from recall.config import to_json
from recall.interventions import INTERVENTIONS
from recall.needle import needle_prompts
from recall.predictors import blind_error
from recall.prose import verdicts
from recall.runs import Run
from recall.settings import from_json, preset, vary
from recall.studies.when import by_heart
from recall.studies.which_way import edits
from recall.task import Task
from recall.training import trained_model


@pytest.fixture(scope="module")
def committed():
    return data.table("interventions")


def test_committed_rows_are_those_of_the_committed_weights(committed):
    """One run's rows, made again by another route: the evaluation table of one edit."""
    run = runs.load("haar-n3-l4-fast-0-s1-cd6e8b74")
    task = from_json(run.config).task
    rows = committed.query(
        "dimension == 3 and labels == 4 and seed == 1 and predictor == 'model' and needle == 'farthest' and systems "
        "== 2"
    )
    prompts = needle_prompts(task, 2, haystacks=16, traces=64, needle=0, seed=edits.SEED)
    for name in ("equal-norm", "misdirected", "no-close"):
        again = evaluation.table(trained_model(run).predict, prompts, task, name).query("event == 'query' and k <= 5")
        assert rows[rows.intervention == name]["mean"].to_numpy() == pytest.approx(
            again["mean"].to_numpy(), rel=0.02, abs=2e-3
        )


def test_every_edit_that_can_be_made_is_there(committed):
    models = committed[committed.predictor == "model"]
    at = lambda N, needle: set(models[(models.systems == N) & (models.needle == needle)].intervention)
    assert at(2, "farthest") == set(INTERVENTIONS) - {"no-labels"} and at(2, "nearest") == set(edits.NEAR)
    assert at(4, "farthest") == at(2, "farthest") - {"unseen-label", "restart"}  # no label is left over
    assert (models.groupby(["dimension", "seed", "intervention", "needle", "systems"]).k.count() == edits.LAST_K).all()


def test_the_two_ways_are_what_they_should_be(committed):
    ways = committed[(committed.seed == -1) & (committed.needle == "farthest") & (committed.systems == 2)].set_index(
        ["dimension", "predictor", "intervention", "k"]
    )["mean"]
    for n in (3, 5):
        assert max(ways[n, "by label", "equal-norm"]) < 1e-3 and max(ways[n, "by observation", "equal-norm"][1:]) < 1e-3
        assert ways[n, "by observation", "plain", 1] == pytest.approx(blind_error(2), abs=0.1)
        assert (
            ways[n, "by label", "misdirected", 1] == pytest.approx(2, abs=0.25)
            and ways[n, "by observation", "misdirected", 2] < 1e-3
        )
        assert (
            0.3 < ways[n, "by observation", "synchronised", 2] < 0.7
            and ways[n, "by observation", "synchronised", 3] < 0.05
        )


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


def test_one_seed_has_no_interval(committed):
    one = committed[(committed.dimension == 5) & (committed.seed <= 0)]
    alone = edits.effects(one, measures.kinds(runs.load_all()))
    assert (
        len(alone)
        and (alone.seeds == 1).all()
        and alone.low2.isna().all()
        and "nan" not in verdicts.edits(alone).to_string()
    )
    assert np.isfinite(alone.edited2).all()


def test_norm_gaps_are_those_of_the_committed_weights():
    """By another route: the mean over groups is the error on all prompts; the closest norms are the closest."""
    table = data.table("norm_gaps")
    run = runs.load("haar-n3-l4-fast-0-s1-cd6e8b74")
    task = from_json(run.config).task
    rows = table.query("dimension == 3 and seed == 1")
    prompts = needle_prompts(task, 2, haystacks=32, traces=64, seed=edits.SEED)
    again = (
        evaluation.table(trained_model(run).predict, prompts, task).query("event == 'query' and k == 2")["mean"].iloc[0]
    )
    assert rows.error.mean() == pytest.approx(again, rel=0.03) and len(rows) == edits.GROUPS
    assert (rows.gap.diff().dropna() > 0).all() and 1 < rows.gap.iloc[0] < 1.3 and rows.gap.iloc[-1] > 2


def test_a_library_s_own_trajectories_are_shown_and_told_from_new_states(monkeypatch):
    """A memory that knows the library's trajectories is right on those from k = 2 after the first label on, and on
    nothing else.
    """
    run = tiny_library_run()
    config = from_json(run.config)
    stored = Task(config.task, config.seed).library  # [M, T, n]

    class Memory:
        def predict(self, tokens):
            seen = tokens[..., -config.task.dimension :]
            near = torch.cdist(seen, stored.flatten(0, 1).unsqueeze(0).expand(len(seen), -1, -1))
            at = near.argmin(-1)
            step = at % stored.shape[1]
            following = stored.flatten(0, 1)[(at + 1).clamp(max=stored.shape[0] * stored.shape[1] - 1)]
            return following * (step < stored.shape[1] - 1).unsqueeze(-1)

    monkeypatch.setattr(edits, "trained_model", lambda run: Memory())
    found = by_heart.library([run], counts=(2,), haystacks=24)
    error = found.query("event == 'initial' and k == 2").set_index("shown")["mean"]
    assert error["trained trajectories"] < 1e-6
    assert error["trained maps, new states"] > 0.1 and error["fresh systems"] > 0.1
    assert found.query("event == 'query' and k == 2 and shown == 'trained trajectories'")["mean"].item() < 1e-6
    with pytest.raises(ValueError, match="run must be one that was trained on a library"):
        by_heart.library([replace(run, config=to_json(preset("fast-1", 2, 4, 0)))])


def tiny_library_run(library=20):
    config = vary(preset("fast-1", 2, 4, 0), "library", task=dict(library=library))
    return Run(Path("nowhere"), to_json(config), pd.DataFrame(), pd.DataFrame(), {})


def test_committed_library_table_says_what_the_page_says():
    table = data.table("library")
    assert set(table.library) == {100, 1000, 10000} and set(table.seed) == {300, 301, 302}
    words = verdicts.by_heart(table)
    assert "**100 systems.** Trajectories are known by heart in all of its models" in words
    assert "**10,000 systems.** Trajectories are known by heart in none of its models" in words
    turned = table.assign(mean=table["mean"].where(table.shown != "trained trajectories", 1.0))
    assert "in all" not in verdicts.by_heart(turned)
