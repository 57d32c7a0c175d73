"""Rows of chapter 4's table of distances, measured again on published weights."""

import pytest

from recall import data, runs
from recall.studies.abilities import tables

ROUNDING = 0.005  # the table was measured before weights were rounded to half precision, maybe on another processor


@pytest.mark.standard
@pytest.mark.parametrize("name", ["haar-n2-l4-fast-0-s0-01ef764b", "haar-n5-l4-fast-0-s0-998c8e1d"])
def test_distance_of_the_published_weights(name, tmp_path):
    run = runs.load(name)
    step = run.steps[-1]
    runs.save_tensors(runs.checkpoint_path(tmp_path, step), run.weights(), {"step": str(step)})
    (tmp_path / "config.json").write_bytes((run.folder / "config.json").read_bytes())
    again, committed = tables.needle_distance(tmp_path), data.table("distance").query("run == @name")
    both = again.merge(committed, on=["run", "examples", "needle", "k"], suffixes=("", "_committed"), validate="1:1")
    assert len(both) == 4 and set(both.needle) == {"farthest", "nearest"} and set(both.k) == {1, 2}
    assert (both["mean"] - both.mean_committed).abs().max() < ROUNDING
    assert (both.score - both.score_committed).abs().max() < 2 * ROUNDING
