"""`python -m recall language`, end to end on a local folder of revisions."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
from safetensors import SafetensorError

from recall import data
from recall.__main__ import main
from recall.language import charts, lexicon, pretrain, prompts, results, revisions
from recall.language.lexicon import LexiconConfig, invented
from recall.language.pretrain import PretrainConfig
from recall.prose import verdicts
from recall.prose.claims import in_language

pytestmark = pytest.mark.standard

OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
WORDS = invented(LexiconConfig(twins=8), 0)
SMALL = PretrainConfig(width=16, layers=1, heads=2, batch_size=2, steps=32, tokens=30)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of six revisions of an Olmo2 model, with its lexicon."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("saved")
    pretrain.train(WORDS, SMALL, folder, seed=1)
    return folder


def arguments(model, out, *more):
    return ["language", "--model", str(model), "--out", str(out), "--prompts", "8", *more]


def one_line(capsys, *arguments):
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured.err
    return captured.err


def test_a_killed_run_goes_on_and_ends_with_the_same_tables(saved, tmp_path, capsys):
    killed = subprocess.Popen(
        [sys.executable, "-m", "recall", *arguments(saved, tmp_path / "killed")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=OFFLINE,
    )
    while not (done := list((tmp_path / "killed").glob("scores/step*.csv.gz"))):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "summary.csv").exists(), "it ended before it could be killed"
    stamps = {path: path.stat().st_mtime_ns for path in done}
    assert main(arguments(saved, tmp_path / "killed", "--json")) == 0
    again = capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in done} == stamps  # what was scored is not scored again
    names = revisions.choose(str(saved), ["*"])
    assert names == ["step0", "step16", "step19", "step23", "step27", "step32"]
    assert sorted(p.name for p in (tmp_path / "killed" / "scores").iterdir()) == sorted(
        f"{name}.csv.gz" for name in names
    )
    found = [{key: row[key] for key in ("labels", "quantity", "last_step", "pairs")} for row in json.loads(again)]
    assert dict(labels="arbitrary", quantity="gained", last_step=32, pairs="all") in found
    revisions.run(str(saved), names, WORDS, prompts.PromptConfig(count=8), tmp_path / "whole")
    for name in ("summary.csv", "emergence.csv", "config.json"):
        assert (tmp_path / "killed" / name).read_text(encoding="utf-8") == (tmp_path / "whole" / name).read_text(
            encoding="utf-8"
        )
    summary = pd.read_csv(tmp_path / "whole" / "summary.csv")
    assert set(summary.quantity) == {
        "accuracy",
        "surprisal",
        "gained",
        "gained_wrong",
        "gained_label",
        "label_led",
        "synchronised",
    }
    untrained = summary.query("step == 0 and quantity == 'surprisal'")["mean"]
    assert untrained.between(6, 9).all()  # of about 160 words, without knowledge: log2 160 = 7.3 bits


def test_other_settings_in_the_same_folder_are_refused(saved, tmp_path, capsys):
    assert main(arguments(saved, tmp_path, "--revisions", "step0", "step32")) == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert "out must be a folder of this model, lexicon and configuration (shots differs)" in one_line(
        capsys, *arguments(saved, tmp_path, "--shots", "1")
    )
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_a_missing_revision_is_named_and_nothing_is_written(saved, tmp_path, capsys):
    error = one_line(capsys, *arguments(saved, tmp_path / "out", "--revisions", "step0", "step99"))
    assert f"revisions must be among those of {saved} (6: step0, step16, step19, step23, ...), not 'step99'" in error
    assert not (tmp_path / "out").exists()


def test_a_revision_without_its_weights_stops_there_and_goes_on_when_they_are_back(saved, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(saved, model)
    weights = model / "step19" / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    (model / "step19" / "pytorch_model.bin").write_bytes(b"pickled")
    assert main(arguments(model, tmp_path / "out")) == 2
    *told, error = capsys.readouterr().err.splitlines()
    assert told == ["step0: 1 of 6", "step16: 2 of 6"]
    assert f"revision must have a model that can be read (weights as safetensors): {model}, step19: " in error
    assert sorted(p.name for p in (tmp_path / "out" / "scores").iterdir()) == ["step0.csv.gz", "step16.csv.gz"]
    weights.write_bytes(kept)
    assert main(arguments(model, tmp_path / "out")) == 0
    assert len(list((tmp_path / "out" / "scores").iterdir())) == 6


def test_no_padding_token_is_needed(saved):
    assert revisions.load(str(saved), "step0", "tokenizer").pad_token is None


@pytest.mark.parametrize(
    "word, reason",
    [
        ("zqx", "target must be of tokens that the tokeniser knows"),
        (WORDS.sources[0], "target must be two tokens or more: '.*' is one for this tokeniser"),
    ],
)
def test_targets_that_cannot_be_asked_are_refused_with_the_reason(saved, tmp_path, capsys, word, reason):
    """One in a list: left out and listed.  All: one line."""
    one = replace(WORDS, targets=((word, *WORDS.targets[0][1:]), *WORDS.targets[1:]))
    (tmp_path / "one.csv").write_text(one.to_csv(), encoding="utf-8")
    assert (
        main(arguments(saved, tmp_path / "out", "--revisions", "step0", "step32", "--pairs", str(tmp_path / "one.csv")))
        == 0
    )
    capsys.readouterr()
    refused = pd.read_csv(tmp_path / "out" / "refused.csv")
    assert refused[["source", "task"]].to_dict("records") == [
        dict(source=WORDS.sources[0], task=WORDS.tasks[0])
    ] and re.search(reason, refused.reason[0])
    all_ = replace(WORDS, targets=tuple((word, *row[1:]) for row in WORDS.targets))
    (tmp_path / "all.csv").write_text(all_.to_csv(), encoding="utf-8")
    error = one_line(capsys, *arguments(saved, tmp_path / "none", "--pairs", str(tmp_path / "all.csv")))
    assert re.search(f"lexicon must be .*0 usable of 72.*for example, {reason}", error), error
    assert not (tmp_path / "none").exists()


def test_an_unreachable_hub_is_one_line(tmp_path):
    pytest.importorskip("transformers")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "recall",
            *arguments("EleutherAI/pythia-160m", tmp_path / "out", "--revisions", "step0", "step1*"),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=OFFLINE,
    )
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "out").exists()
    assert done.stderr == (
        "recall language: model must be a local folder or in the hub's cache where the hub cannot be reached "
        "(not there: step0, step1*), not 'EleutherAI/pythia-160m'\n"
    )


@pytest.mark.parametrize(
    "more, message",
    [
        (
            ("--model", "/nowhere/models"),
            "model must be a local folder that exists, or a name on the hub, not '/nowhere/models'",
        ),
        (("--model", "SAVED", "--at-most", "1"), "at-most must be at least 2, not 1"),
        (("--model", "SAVED", "--tasks", "7"), "tasks must be 2 to 4, not 7"),
        (
            ("--model", "SAVED", "--device", "abacus"),
            "device must be a device that torch can use here, such as cpu, not 'abacus'",
        ),
        (("--model", "SAVED", "--dtype", "int8"), "dtype must be one of float32, bfloat16, float16, not 'int8'"),
        (("--model", "SAVED", "--steps", "5"), "steps must be left out with --model, not 5"),
        (
            ("--model", "SAVED", "--pairs", "/nowhere.csv"),
            "pairs must be a CSV file: source, a column per task, not '/nowhere.csv'",
        ),
        (("--train", "invented", "--steps", "0"), "steps must be at least 1, not 0"),
    ],
)
def test_bad_input_is_one_line(saved, tmp_path, capsys, more, message):
    error = one_line(
        capsys, "language", "--out", str(tmp_path / "out"), *[str(saved) if m == "SAVED" else m for m in more]
    )
    assert message in error and not (tmp_path / "out").exists()


def test_train_then_evaluate_by_one_command(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.setattr(pretrain, "recipe", lambda name, seed, steps: (WORDS, SMALL))
    call = ["language", "--train", "invented", "--out", str(tmp_path), "--prompts", "4", "--json"]
    assert main(call) == 0
    first, trained = capsys.readouterr().out, (tmp_path / "pretrain.json").read_text(encoding="utf-8")
    assert json.loads(trained)["parameters"] > 0 and (tmp_path / "emergence.csv").exists()
    assert (
        main(call) == 0
        and capsys.readouterr().out == first
        and (tmp_path / "pretrain.json").read_text(encoding="utf-8") == trained
    )
    assert lexicon.read(tmp_path / "lexicon.csv") == WORDS


def test_training_again_gives_the_same_weights(saved, tmp_path):
    pretrain.train(WORDS, SMALL, tmp_path, seed=1)
    weights = lambda folder, step: (folder / f"step{step}" / "model.safetensors").read_bytes()
    assert all(weights(tmp_path, step) == weights(saved, step) for step in (0, 16, 32))
    assert weights(saved, 0) != weights(saved, 16)
    with pytest.raises(ValueError, match="out must be a folder of this configuration and seed"):
        pretrain.train(WORDS, SMALL, tmp_path, seed=2)


def test_a_small_model_learns_the_second_token_in_few_steps(tmp_path):
    """Two tasks, four words: what is trained is the question that is asked."""
    pytest.importorskip("transformers")
    words = invented(LexiconConfig(tasks=2, syllables=2, twins=0), 0)
    pretrain.train(
        words,
        PretrainConfig(tasks=2, width=32, layers=2, heads=2, tokens=40, batch_size=16, steps=96),
        tmp_path,
        seed=0,
    )
    found, _ = revisions.run(
        str(tmp_path), ["step0", "step96"], words, prompts.PromptConfig(tasks=2, shots=1, count=16), tmp_path / "out"
    )
    gained = found.query("quantity == 'gained' and labels == 'arbitrary' and k == 2 and pairs == 'all'").set_index(
        "step"
    )["mean"]
    assert abs(gained[0]) < 0.1 and gained[96] > 0.5  # of log2 2 = 1 bit


def test_revisions_in_the_hubs_cache_are_read_without_the_hub(saved, tmp_path):
    """The way of a hub's name, `from_pretrained(name, revision=...)`, on a cache laid out as the hub's library does;
    `--forget` empties it.
    """
    place = tmp_path / "hub" / "models--somebody--small"
    for i, revision in enumerate(("step0", "step32")):
        shutil.copytree(saved / revision, place / "snapshots" / (commit := str(i) * 40))
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / revision).write_text(commit, encoding="utf-8")
    call = [
        sys.executable,
        "-m",
        "recall",
        *arguments(
            "somebody/small",
            tmp_path / "out",
            "--revisions",
            "step0",
            "step32",
            "--forget",
            "--pairs",
            str(saved / "lexicon.csv"),
        ),
    ]
    done = subprocess.run(
        call, capture_output=True, text=True, encoding="utf-8", env={**OFFLINE, "HF_HUB_CACHE": str(tmp_path / "hub")}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["step0: 1 of 2", "step32: 2 of 2"]
    assert pd.read_csv(tmp_path / "out" / "emergence.csv").last_step.unique() == [32]
    assert not list((tmp_path / "hub").rglob("model.safetensors"))


def test_a_model_of_the_hub_is_shown_beside_ours(saved, tmp_path, capsys):
    """Its tables, kept under its own name, reach the figure, the tables and the claims of the book."""
    model, kept = tmp_path / "OLMo-2-0425-1B", tmp_path / "language"
    shutil.copytree(saved, model)
    shutil.copytree(data.path("language", "invented-0", "made.json").parent.parent, kept)
    revisions_asked = ("--revisions", "step0", "step16", "step32")
    assert main(arguments(model, tmp_path / "out", *revisions_asked, "--keep", str(kept))) == 0
    capsys.readouterr()
    summary, dates = results.load(kept)
    own = summary[summary.words == model.name]
    assert set(own.step) == {0, 16, 32} and set(own.seed) == {0} and len(dates[dates.words == model.name]) > 0
    assert set(summary.words) == {"invented", "words", model.name}
    assert model.name in charts.language_gains(summary).to_json()
    gaps = results.both_gaps(kept)
    assert any(cell.startswith(f"<strong>{model.name}, real words") for cell in verdicts.language_dates(gaps)[""])
    evidence = in_language(gaps)["evidence"]
    assert f"{model.name}, dates at half" in evidence and "were not run" not in evidence
    assert "were not run" in in_language(results.both_gaps())["evidence"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, error):
    transformers = pytest.importorskip("transformers")

    def full(*arguments, **how):
        raise error

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", full)
    with pytest.raises(ValueError, match="out must be a folder that can be written to: .*No space left on device"):
        pretrain.train(WORDS, SMALL, tmp_path, seed=1)
    assert not (tmp_path / "pretrain.json").exists()
