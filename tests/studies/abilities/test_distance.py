"""Nearest against farthest needle, at every checkpoint of a run."""

from dataclasses import replace

import pytest

from recall import runs, settings, training
from recall.evaluation import EvaluationConfig
from recall.studies.abilities import tables


def tiny():
    config = settings.preset("fast-0", 2, 2, seed=3, steps=12, batch_size=4, evaluate_every=5)
    return replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))


def test_needle_distance_reads_every_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)
    run = training.train(tiny(), tmp_path / "run")
    rows = tables.needle_distance(run.folder, haystacks=2, traces=3)
    assert sorted(rows.examples.unique()) == [4 * step for step in training.checkpoint_steps(12)]
    assert rows.groupby(["needle", "k"]).size().to_dict() == {
        (n, k): 2 for n in ("farthest", "nearest") for k in (1, 2)
    }
    assert set(rows.run) == {settings.from_json(run.config).name}
    runs.discard(run.folder)
    (run.folder / "config.json").write_text(runs.canonical(run.config), encoding="utf-8")
    with pytest.raises(ValueError, match="checkpoints must be in the run folder"):
        tables.needle_distance(run.folder)
