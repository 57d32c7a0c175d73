"""Recipes, their JSON and their names; the committed runs keep theirs."""

import json
import shutil
from dataclasses import replace

import pytest

from recall import data, runs, settings, sweeps
from recall.config import to_json
from recall.settings import TrainingConfig


def changed(**training):
    return settings.preset("fast-0", 2, 2, seed=3, **training)


def test_json_round_trip_and_its_errors():
    config = settings.preset("fast-0", 3, 4, seed=7)
    values = to_json(config)
    assert settings.from_json(json.loads(json.dumps(values))) == config
    for path, value, message in [
        (("task", "colour"), 1, "task.colour must be left out"),
        (("task", "dimension"), "five", "task.dimension must be of type int, not 'five'"),
        (("task", "dimension"), 0, "dimension must be 1 to 64"),
        (("model", "n_in"), 99, r"model.n_in must be the task's columns \(13\), not 99"),
        (("evaluation", "systems"), [9], "evaluation.systems must be at most labels"),
        (("training", "steps"), 0, "steps must be at least 1"),
        (("seed",), True, "seed must be of type int"),
    ]:
        bad = json.loads(json.dumps(values))
        inner = bad
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        with pytest.raises(ValueError, match=message):
            settings.from_json(bad)
    del values["model"]["n_out"]
    with pytest.raises(ValueError, match="model.n_out must be given"):
        settings.from_json(values)


def test_later_fields_are_left_out_of_names_while_at_their_default():
    plain, other = changed(), changed(patience=2, beta2=0.95)
    assert "patience" not in to_json(plain)["training"] and "beta2" not in to_json(plain)["training"]
    assert to_json(other)["training"]["patience"] == 2 and other.name != plain.name
    assert settings.from_json(to_json(other)) == other and settings.from_json(to_json(plain)) == plain
    for field, value, message in [
        ("beta2", 1.0, "beta2 must be 0 to below 1"),
        ("momentum", -0.1, "momentum must be 0"),
        ("patience", -1, "patience must be at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            changed(**{field: value})


def test_vary_replaces_parts_and_keeps_the_rest():
    base = settings.preset("fast-0", 3, 4, seed=7)
    changed = settings.vary(base, "long", task={"max_payload": 10, "trace_length": 112}, training={"momentum": 0.5})
    assert changed.setting == "long" and changed.seed == 7 and changed.training.momentum == 0.5
    assert changed.model.n_positions == 112 and replace(changed.model, n_positions=base.model.n_positions) == base.model
    assert settings.vary(base, base.setting) == base
    for parts, message in [
        ({"colour": {}}, "part must be task, model, training or evaluation, not 'colour'"),
        ({"model": {"width": 3}}, "model field must be one of n_in, .*, not 'width'"),
    ]:
        with pytest.raises(ValueError, match=message):
            settings.vary(base, "x", **parts)


def test_position_table_fits_the_largest_prompt():
    for n, labels in [(2, 2), (5, 8), (5, 25)]:
        config = settings.preset("fast-0", n, labels)
        longest = 1 + (max(10, n + 2) + 2) * labels + n + 3
        assert config.model.n_positions >= max(longest, config.task.trace_length)


def test_rates():
    config = TrainingConfig(steps=100, warmup=10, decay_from=0.5)
    assert config.rate(0) == pytest.approx(0.1) and config.rate(30) == 1 and config.rate(75) == pytest.approx(0.5)
    assert TrainingConfig(warmup=0).rate(0) == 1


def test_presets_hold_what_they_are_asked_for():
    for name, preset in settings.PRESETS.items():
        config = settings.preset(name)
        assert (config.task.dimension, config.task.labels) == preset.defaults and config.setting == name
        assert settings.preset(name, 3, 2, 7).seed == 7 and settings.preset(name, 3, 2, steps=9).setting == "custom"
    with pytest.raises(ValueError, match="preset must be one of fast-2, fast-1, .*, not 'slow'"):
        settings.preset("slow")
    with pytest.raises(ValueError, match="labels must be at least 2: .*, not 1"):
        settings.preset("fast-1", labels=1)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(optimiser="sgd"), "optimiser must be one of muon, muon-batched, adamw, not 'sgd'"),
        (dict(learning_rate=0.0), "learning_rate must be above 0 and at most 1e+06, not 0.0"),
        (dict(muon_rate=float("inf")), "muon_rate must be above 0 and at most 1e+06, not inf"),
        (dict(batch_size=0), "batch_size must be at least 1, not 0"),
        (dict(warmup=-1), "warmup must be at least 0, not -1"),
        (dict(momentum=1.0), "momentum must be 0 to below 1, not 1.0"),
        (dict(weight_later=-1.0), "weight_later must be 0 to 1e+06, one of the four above 0, not -1.0"),
        (dict(decay_from=2.0), "decay_from must be 0 to 1, not 2.0"),
    ],
)
def test_bad_training_values(change, message):
    with pytest.raises(ValueError) as error:
        TrainingConfig(**change)
    assert str(error.value) == message


@pytest.mark.standard
def test_every_committed_run_opens_and_keeps_its_name():
    """Verified files, and a configuration whose hash is in the folder's name: a field added without `later` would
    rename them all.
    """
    committed = [(where, name) for where in runs.COLLECTIONS for name in runs.names(where)]
    assert len(committed) > 80
    for where, name in committed:
        run = runs.load(name, where)
        config = settings.from_json(run.config)
        assert config.name == name and to_json(config) == run.config
        if where == "runs" and config.setting in settings.PRESETS:
            assert config == settings.preset(config.setting, config.task.dimension, config.task.labels, config.seed)


@pytest.mark.standard
def test_committed_runs_are_the_members_of_their_sweeps():
    """Of the cells of a sweep that were run, every member is there under the name that its sweep gives it today."""
    committed = {sweep: set(runs.names(sweep)) for sweep in ("atlas", "knockouts")}
    committed |= {
        sweep: set(data.table(sweep).name) for sweep in ("adamw", "cues", "factors", "final", "fresh", "search")
    }
    for sweep, there in committed.items():
        members = {config.name for config in sweeps.load(sweep)}
        assert there and there <= members, (sweep, there - members)
        assert sweep not in ("atlas", "knockouts") or there == members


@pytest.mark.standard
def test_a_folder_that_holds_another_configuration_than_its_name_is_refused(tmp_path):
    name = runs.names()[0]
    shutil.copytree(runs.data_folder() / "runs" / name, tmp_path / f"{name[:-1]}0")
    with pytest.raises(ValueError, match=f"run must be named after its configuration: .* holds {name}"):
        runs.load(f"{name[:-1]}0", tmp_path)
