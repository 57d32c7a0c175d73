"""Six verbs: what they print, what they write, and one line for every bad value."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from recall import data, runs, settings, studies
from recall.__main__ import main
from recall.model import GPT


def call(capsys, *arguments):
    code = main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder: weights as at the start, n = 2 with 3 labels."""
    folder, config = tmp_path_factory.mktemp("runs") / "mine", settings.preset("fast-0", 2, 3)
    weights = GPT(config.model).state_dict()
    table = pd.DataFrame(dict(step=[0, 2], k=1))
    runs.write(folder, settings.to_json(config), table, table, weights, {})
    return folder


# --- train, evaluate, show


@pytest.mark.standard
@pytest.mark.parametrize("source", ["preset", "config"])
def test_train_prints_json(trained, tmp_path, capsys, source):
    config = settings.preset("fast-0", 2, 2, seed=5, steps=2, batch_size=2)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings.to_json(config)), encoding="utf-8")
    given = dict(preset="--preset fast-0 --dimension 2 --labels 2 --seed 5 --steps 2", config=f"--config {file}")
    code, out, _ = call(capsys, "train", *given[source].split(), "--out", tmp_path / "run", "--json")
    row = json.loads(out)
    assert code == 0 and (row["dimension"], row["labels"], row["seed"], row["steps"]) == (2, 2, 5, 2)
    assert row["emergence"]["1-after"] == {"2": None}
    assert runs.open_run(tmp_path / "run").config["seed"] == 5


def test_evaluate_rows(trained, capsys):
    how = "--systems 3 --haystacks 2 --traces 2 --intervention misdirected --json".split()
    code, out, _ = call(capsys, "evaluate", trained, *how)
    rows = json.loads(out)
    keys = {"systems", "event", "k", "mean", "median", "q25", "q75", "score", "label_index"}
    assert code == 0 and keys <= set(rows[0])
    assert [(row["event"], row["k"]) for row in rows][:5] == [("query", k) for k in range(1, 6)]


@pytest.mark.standard
def test_committed_run_evaluates_to_its_own_table(capsys):
    """The published weights give the committed numbers again, within what another processor rounds."""
    name = runs.names()[0]
    code, out, _ = call(capsys, "evaluate", name, "--systems", "2", "--json")
    got = [row for row in json.loads(out) if row["event"] == "query"]
    kept = runs.load(name).final.query("systems == 2 and condition == 'plain' and event == 'query'")
    assert code == 0
    assert [row["mean"] for row in got] == pytest.approx(kept["mean"].tolist(), rel=0.02, abs=1e-3)


SHOWN = {  # the keys that programs read
    "runs": "name family dimension labels setting seed steps ended examples seconds evaluation_seconds checkpoint "
    "emergence emergence_strict study_cutoff unedited misdirected",
    "presets": "name parameters minutes memory_mb about",
    "interventions": "name question label observation applies_to",
}


@pytest.mark.parametrize("what", [pytest.param("runs", marks=pytest.mark.standard), "presets", "interventions"])
def test_show(what, capsys):
    code, out, _ = call(capsys, "show", what, "--json")
    rows = json.loads(out)
    assert code == 0 and all(list(row) == SHOWN[what].split() for row in rows)
    assert what != "runs" or [row["name"] for row in rows] == runs.names()
    code, out, _ = call(capsys, "show", what)
    assert code == 0 and "name" in out.splitlines()[0] and len(out.splitlines()) == len(rows) + 1


@pytest.mark.standard
def test_show_claims(capsys):
    code, out, _ = call(capsys, "show", "claims", "--json")
    assert code == 0 and all({"id", "status", "evidence"} <= set(row) for row in json.loads(out))


# --- measure


def made_up(name: str, whole: bool = True, **task):
    task = dict(dimension=3, labels=4) | task
    return SimpleNamespace(name=name, whole=whole, config=dict(task=task, setting="x", seed=0), folder=name)


def of(chosen, **columns) -> pd.DataFrame:
    return pd.DataFrame([dict(run=run.name, **columns) for run in chosen])


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study of three measures and the runs a, b (without weights) and c in place of the real ones; data elsewhere."""
    given = {name: made_up(name, name != "b") for name in "abc"}
    both = lambda chosen: {"t": of(chosen, value=1), "u": of(chosen, value=2)}
    after = lambda chosen, t: of(chosen, value=0 if t is None else len(t))
    declared = (
        studies.Measure(("t", "u"), studies.each(studies.whole), both),
        studies.Measure(("v",), studies.each(lambda run: run.name == "a"), after, uses=("t",)),
        studies.Measure(("w",), lambda chosen: [], both),
    )
    monkeypatch.setattr(studies, "measures", lambda name: declared)
    monkeypatch.setattr(runs, "load", given.__getitem__)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RECALL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_measure_makes_what_the_runs_are_about(study, capsys):
    code, out, _ = call(capsys, "measure", "when", "a", "b", "c", "--json")
    lines = json.loads(out)
    assert code == 0 and [(line["table"], line["runs"], line["rows"]) for line in lines] == [
        ("t", 2, 2),
        ("u", 2, 2),
        ("v", 1, 1),
    ]
    assert [line["file"] for line in lines] == [f"_runs/tables/{name}.csv" for name in "tuv"]
    assert pd.read_csv("_runs/tables/v.csv").value.tolist() == [2]  # of the table made just before
    assert not list((study / "data").iterdir())


def test_measure_makes_only_the_tables_that_are_named(study, capsys):
    code, out, _ = call(capsys, "measure", "when", "a", "b", "--tables", "v", "--out", "mine", "--json")
    assert code == 0 and [line["file"] for line in json.loads(out)] == ["mine/v.csv"]
    assert pd.read_csv("mine/v.csv").value.tolist() == [0]


def test_only_commit_changes_the_committed_tables(study, capsys):
    data.merge("t", pd.DataFrame(dict(run=["c", "a"], value=[8, 9])))
    code, out, _ = call(capsys, "measure", "when", "a", "--commit", "--json")
    assert code == 0 and [line["file"] for line in json.loads(out)] == [
        str(study / "data" / "tables" / f"{name}.csv") for name in "tuv"
    ]
    assert data.table("t").values.tolist() == [["c", 8], ["a", 1]]
    assert not (study / "_runs").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["when", "a", "--tables", "x"], "tables must be of t, u, v, w, not 'x'"),
        (["when", "b", "c", "--tables", "v"], "RUN must be at least one run that v is about, not 'b c'"),
        (["when", "b"], "RUN must be at least one run that a table of when is about, not 'b'"),
        (["where", "a"], "argument STUDY: invalid choice: 'where'"),
        (["when", "a", "--out", "x", "--commit"], "argument --commit: not allowed with argument --out"),
    ],
)
def test_bad_measures(study, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["measure", *arguments]))
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert [path.name for path in study.rglob("*")] == ["data"]


@pytest.mark.parametrize("study", ["abilities", "when", "which_way", "weights"])
def test_studies_declare_tables_once(study):
    """Every study is found by name, and no two measures make a table of the same name."""
    assert study in studies.names() and len(studies.names()) == 4
    named = [name for each in studies.measures(study) for name in each.tables]
    assert len(named) == len(set(named)) and all(isinstance(each.tables, tuple) for each in studies.measures(study))


@pytest.mark.standard
def test_every_committed_table_is_declared_by_a_study_or_made_by_a_sweep():
    declared = {name for study in studies.names() for each in studies.measures(study) for name in each.tables}
    there = {path.name.split(".")[0] for path in (runs.data_folder() / "tables").glob("*.csv*")}
    swept = {name for name in there if "name" in (table := data.table(name)) and "steps" in table}
    assert there - swept == declared


@pytest.mark.standard
def test_measured_again_a_committed_row_is_as_committed(tmp_path, capsys):
    """Dates of a committed run at nine thresholds: of its history alone, so to the digit; nothing else is written."""
    before, kept = digests(runs.data_folder()), data.table("ratios")
    name = next(each for each in runs.names() if "-l4-" in each)
    code, out, _ = call(capsys, "measure", "when", name, "--tables", "ratios", "--out", tmp_path, "--json")
    assert code == 0 and json.loads(out)[0]["rows"] == 18
    assert list(pd.read_csv(tmp_path / "ratios.csv")) == list(kept)
    assert digests(runs.data_folder()) == before


# --- bad values

BAD = {
    "train --preset fast-9 --out X": "preset must be one of fast-2, fast-1, fast-0, .*, not 'fast-9'",
    "train --preset fast-0 --dimension 0 --out X": "dimension must be 1 to 64, not 0",
    "train --preset fast-0 --labels 0 --out X": "labels must be at least 2: with one there is nothing to recall, not 0",
    "train --preset fast-0 --steps 0 --out X": "steps must be at least 1, not 0",
    "train --preset fast-0 --steps 1000000000000 --out X": "steps must be at most 1000000000, not",
    "train --preset fast-0 --labels 300 --out X": "labels must be 1 to 256, not 300",
    "train --config HUGE/n_embd.json --out X": "n_embd must be at most 100000, not 1099511627776",
    "train --config HUGE/batch_size.json --out X": "batch_size must be at most 1000000, not 1000000000000",
    "train --config HUGE/steps.json --out X": "steps must be at most 1000000000, not 1000",
    "train --config HUGE/clip.json --out X": "training.clip must be a number below 1e300, not 1000",
    "train --preset fast-0 --seed -1 --out X": "seed must be 0 to",
    "train --preset fast-0 --out /proc/nowhere/X": "out must be a folder that can be written to",
    "train --config /nowhere.json --out X": "No such file",
    "train --config RUN/config.json --seed 1 --out X": "seed must be left out with --config",
    "train --config RUN/final.csv --out X": "final.csv must be a JSON file that can be read",
    "train --preset fast-0 --threads 0 --out X": "threads must be at least 1, not 0",
    "train --preset fast-0 --device cuda:7 --out X": "device must be a device that torch can use here",
    "train --preset fast-0 --device abacus --out X": "device must be a device that torch can use here",
    "train --preset fast-0 --steps many --out X": "argument --steps: invalid int value: 'many'",
    "sweep no-such-sweep": "sweep must be",
    "sweep fresh --cost --table nowhere/t.csv": "table must be a file in a folder that exists",
    "evaluate RUN --systems 9": r"systems must be 1 to labels \(3\), not 9",
    "evaluate RUN --intervention x": "intervention must be one of plain, misdirected, .*, not 'x'",
    "evaluate RUN --needle 2": r"needle must be 0 to systems - 1 \(1\), not 2",
    "evaluate nowhere": "RECALL_DATA must name the data folder of a checkout, for 'nowhere', which is no run folder",
    "measure which_way RUN --tables ways": "RUN must be at least one run that ways is about",
    "measure when nowhere": "RECALL_DATA must name",
    "measure when RUN --commit": "RECALL_DATA must name",
    "show runs": "RECALL_DATA must name the data folder of a checkout, for committed runs",
    "show everything": "argument WHAT: invalid choice: 'everything'",
    "circuits RUN": "argument VERB: invalid choice: 'circuits'",
    "language --train invented --out X --tasks 0": "tasks must be",
}


COMMITTED = {
    "measure which_way RUN --out {data}/tables": "out must lie outside the committed data",
    "sweep fresh --cost --table {data}/tables/fresh.csv": "table must lie outside the committed data",
}


@pytest.mark.parametrize("line", COMMITTED)
def test_nothing_committed_is_named_as_a_place_to_write(trained, tmp_path, monkeypatch, capsys, line):
    (tmp_path / "data" / "tables").mkdir(parents=True)
    monkeypatch.setenv("RECALL_DATA", str(tmp_path / "data"))
    words = line.format(data=tmp_path / "data").replace("RUN", str(trained)).split()
    code, _, said = call(capsys, *words)
    assert code == 2 and re.search(COMMITTED[line], said), said
    assert not list((tmp_path / "data" / "tables").iterdir())


def test_only_runs_of_a_frozen_setting_are_committed(tmp_path, monkeypatch, capsys):
    """Another run may have the same place and seed under the name `custom`."""
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    config = settings.preset("fast-0", 2, 2, steps=3)
    table = pd.DataFrame(dict(step=[0, 3], k=1))
    runs.write(tmp_path / "mine", settings.to_json(config), table, table, GPT(config.model).state_dict(), {})
    code, _, said = call(capsys, "measure", "which_way", tmp_path / "mine", "--commit")
    assert code == 2 and "RUN must be of a frozen setting with --commit" in said


def test_of_tables_made_together_only_those_named_are_written(monkeypatch):
    made = studies.Measure(("one", "two"), lambda chosen: chosen, lambda chosen: dict(one=pd.DataFrame(), two=None))
    monkeypatch.setattr(studies, "measures", lambda study: (made,))
    run = SimpleNamespace(name="r", whole=True)
    assert [name for name, _, _ in studies.measure("when", [run], ["one"])] == ["one"]
    assert [name for name, _, _ in studies.measure("when", [run])] == ["one", "two"]


HUGE = dict(n_embd=("model", 2**40), batch_size=("training", 10**12), steps=("training", 10**400))
HUGE |= dict(clip=("training", 10**400))


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """A folder of configurations, each with a number that no machine holds."""
    folder = tmp_path_factory.mktemp("huge")
    for name, (part, value) in HUGE.items():
        config = settings.to_json(settings.preset("fast-0", 2, 2))
        config[part][name] = value
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_and_exit_2(trained, huge, tmp_path, monkeypatch, capsys, line):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("RECALL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(line.replace("RUN", str(trained)).replace("HUGE", str(huge)).split()))
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == "" and captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("recall") and re.search(BAD[line], captured.err), captured.err
    assert not list((tmp_path / "here").iterdir())  # nothing half-written


def test_of_nothing_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    assert call(capsys, "show", "runs")[:2] == (0, "none\n")
    assert call(capsys, "show", "runs", "--json")[:2] == (0, "[]\n")


@pytest.mark.standard
def test_a_reader_that_leaves_is_no_error():
    """As in `show interventions --json | true`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "recall", "show", "interventions", "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    os.close(write)
    assert done.returncode == 141 and done.stderr == ""


@pytest.mark.standard
def test_module_runs_as_a_command():
    command = [sys.executable, "-m", "recall", "train", "--preset", "nope", "--out", "x"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 2 and done.stderr.startswith("recall train: preset must be one of")


@pytest.mark.standard
def test_a_hub_that_does_not_answer_is_one_line(tmp_path):
    away = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "recall", "language", "--model", "a/b", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=away)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "model must be a local folder or in the hub's cache where the hub cannot be reached" in done.stderr


@pytest.mark.standard
@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_texts_are_read_as_they_were_written_under_any_locale(locale):
    """Source, data and style sheets hold letters that no ASCII or Latin-1 text does."""
    code = "import recall.explorer as e; from recall.language import lexicon; from recall import data; "
    code += "print(ascii(e.styles())[-9:], len(lexicon.read(data.path('reference', 'words.csv')).sources))"
    told = []
    for settings_ in (dict(LC_ALL=locale, PYTHONUTF8="0"), dict(PYTHONUTF8="1")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | settings_)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert told[0] == told[1]


@pytest.mark.standard
def test_a_checkout_has_the_same_bytes_whatever_git_is_told_of_line_ends():
    root = Path(runs.__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    asked = ["git", "-C", str(root), "check-attr", "text", "--", "data/SHA256SUMS", "recall/task.py", "README.md"]
    told = subprocess.run(asked, capture_output=True, text=True, encoding="utf-8").stdout.splitlines()
    assert len(told) == 3 and all(line.endswith("text: unset") for line in told), told
