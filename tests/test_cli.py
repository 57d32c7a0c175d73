import json
import re
import subprocess
import sys

import pytest

from recall import runs, settings
from recall.__main__ import main

needs_runs = pytest.mark.skipif(not runs.names(), reason="no committed run")


def call(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mine"
    config = settings.preset("fast-0", 2, 3, steps=2, batch_size=2)
    path = out.parent / "config.json"
    path.write_text(json.dumps(settings.to_json(config)))
    assert main(["train", "--config", str(path), "--out", str(out)]) == 0
    return out


def test_train_by_preset_prints_json(tmp_path, capsys):
    code, out, err = call(
        capsys,
        "train",
        "--preset",
        "fast-0",
        "--dimension",
        "2",
        "--labels",
        "2",
        "--seed",
        "5",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "run"),
        "--json",
    )
    row = json.loads(out)
    assert code == 0 and (row["dimension"], row["labels"], row["seed"], row["steps"]) == (2, 2, 5, 2)
    assert row["emergence"]["1-after"] == {"2": None}
    assert runs.open_run(tmp_path / "run").config["seed"] == 5


def test_evaluate_rows(trained, capsys):
    code, out, _ = call(
        capsys,
        "evaluate",
        str(trained),
        "--systems",
        "3",
        "--haystacks",
        "2",
        "--traces",
        "2",
        "--json",
        "--intervention",
        "misdirected",
    )
    rows = json.loads(out)
    assert code == 0 and {"systems", "event", "k", "mean", "median", "q25", "q75", "score", "label_index"} <= set(
        rows[0]
    )
    assert [(row["event"], row["k"]) for row in rows][:5] == [("query", k) for k in range(1, 6)]


@needs_runs
def test_committed_run_evaluates_to_its_own_table(capsys):
    """The published weights give the committed numbers again."""
    name = runs.names()[0]
    code, out, _ = call(capsys, "evaluate", name, "--systems", "2", "--json")
    got = [row for row in json.loads(out) if row["event"] == "query"]
    kept = runs.load(name).final.query("systems == 2 and condition == 'plain' and event == 'query'")
    assert code == 0
    assert [row["mean"] for row in got] == pytest.approx(kept["mean"].tolist(), rel=0.02, abs=1e-3)


@needs_runs
def test_runs_json(capsys):
    code, out, _ = call(capsys, "runs", "--json")
    rows = json.loads(out)
    assert code == 0 and [row["name"] for row in rows] == runs.names()
    assert {
        "name",
        "family",
        "dimension",
        "labels",
        "setting",
        "seed",
        "steps",
        "seconds",
        "checkpoint",
        "emergence",
    } <= set(rows[0])


def test_listings(capsys):
    for command, keys in (
        ("presets", {"name", "parameters", "minutes", "memory_mb"}),
        ("interventions", {"name", "question", "label", "observation", "applies_to"}),
    ):
        code, out, _ = call(capsys, command, "--json")
        assert code == 0 and all(keys <= set(row) for row in json.loads(out))
        code, out, _ = call(capsys, command)
        assert code == 0 and "name" in out.splitlines()[0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "--preset", "fast-9", "--out", "X"], "preset must be one of fast-1, fast-0, .*, not 'fast-9'"),
        (["train", "--preset", "fast-0", "--dimension", "0", "--out", "X"], "dimension must be 1 to 64, not 0"),
        (
            ["train", "--preset", "fast-0", "--labels", "0", "--out", "X"],
            "labels must be at least 2: with one there is nothing to recall, not 0",
        ),
        (["train", "--preset", "fast-0", "--steps", "0", "--out", "X"], "steps must be at least 1, not 0"),
        (["train", "--preset", "fast-0", "--seed", "-1", "--out", "X"], "seed must be 0 to"),
        (["train", "--preset", "fast-0", "--out", "/proc/nowhere/X"], "out must be a folder that can be written to"),
        (["train", "--config", "/nowhere.json", "--out", "X"], "No such file"),
        (["train", "--preset", "fast-0", "--threads", "0", "--out", "X"], "threads must be at least 1, not 0"),
        (
            ["train", "--preset", "fast-0", "--device", "cuda:7", "--out", "X"],
            "device must be a device that torch can use here",
        ),
        (
            ["train", "--preset", "fast-0", "--device", "abacus", "--out", "X"],
            "device must be a device that torch can use here",
        ),
        (["evaluate", "no-such-run"], "run must be one of"),
        (["evaluate", "RUN", "--systems", "9"], r"systems must be 1 to labels \(3\), not 9"),
        (["evaluate", "RUN", "--intervention", "x"], "intervention must be one of plain, misdirected, .*, not 'x'"),
        (["ways", "RUN"], "labels must be 4, so that every label is used, not 3"),
        (["evaluate", "RUN", "--needle", "2"], r"needle must be 0 to systems - 1 \(1\), not 2"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(trained, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *[str(trained) if a == "RUN" else a for a in arguments])
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(message, err), err
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_config_excludes_preset_fields(trained, capsys):
    code, _, err = call(capsys, "train", "--config", str(trained / "config.json"), "--out", str(trained), "--seed", "1")
    assert code == 2 and "seed must be left out with --config" in err


def test_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "recall", "train", "--preset", "nope", "--out", "x"], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("recall train: preset must be one of")
