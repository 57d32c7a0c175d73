"""Widgets seen from Python: runs of one's own, training that is followed, bad values."""

import pytest
from made_explorer import tiny

from recall import runs, training
from recall.explorer import Explorer, TraceExplorer, YouFirst, module, page

pytestmark = pytest.mark.standard


def test_widget_of_ones_own_run(trained_folder):
    assert Explorer(runs.open_run(trained_folder)).run == trained_folder.name
    widget = Explorer(trained_folder)
    assert (widget.step, [each["steps"] for each in widget.catalogue]) == (2, [[0, 2]])
    widget.asked = f"{widget.run}-0#1"  # as the page asks
    run = runs.open_run(trained_folder)
    assert widget.answered == f"{widget.run}-0" and widget.weights == page.packed(run, 0) != page.packed(run, 2)
    widget.asked = f"{widget.run}-1#2"
    assert widget.trouble.startswith("step must be one of 0, 2")
    with pytest.raises(ValueError, match="shown must be a segment: all 2 labels are in the prompt"):
        Explorer(trained_folder, shown=-1)
    with pytest.raises(ValueError, match="step must be one of 0, 2, not 1"):
        Explorer(trained_folder, step=1)
    with pytest.raises(ValueError, match="systems must be 1 to labels"):
        Explorer(trained_folder, systems=7)
    with pytest.raises(ValueError, match="run must be a folder with a config.json"):
        Explorer("nowhere")
    with pytest.raises(ValueError, match="share"):
        Explorer(share=1.5)


def test_widget_follows_training(tmp_path, small_final):
    config = tiny(20)
    folder = tmp_path / config.name
    training.train(config, folder, stop_after=1)
    widget, seen = Explorer(folder), []
    assert (widget.step, widget.catalogue[0]["kind"]) == (0, "in training")
    widget.observe(lambda change: seen.append(change["new"]), "step")
    training.train(config, folder, report=widget.follow(folder))
    assert seen == [16, 19, 20] and widget.catalogue[0]["steps"] == [0, 16, 19, 20]


def test_game_takes_a_model_of_the_plane():
    game = YouFirst()
    assert [each["dimension"] for each in game.catalogue] == [2] and "render" in module("guess")


def test_bad_values_of_a_trace_are_named():
    with pytest.raises(ValueError, match=r"min_payload must be 1 to max_payload \(7\), not 9"):
        TraceExplorer(min_payload=9)
    with pytest.raises(ValueError, match="dimension"):
        TraceExplorer(dimension=1)
