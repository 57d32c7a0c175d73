"""Run folders: what is written is what is read, and nothing altered is read."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from recall import runs

CONFIG = dict(task=dict(family="haar", dimension=2, labels=3), setting="made", seed=4)
HISTORY = pd.DataFrame(dict(step=[0, 5], mean=[1 / 3, 2 / 3]))


@pytest.fixture
def run(tmp_path):
    weights = {"a": torch.linspace(-1, 1, 7), "b": torch.eye(2)}
    return runs.write(tmp_path / runs.run_name(CONFIG), CONFIG, HISTORY, HISTORY[1:], weights, dict(steps=5))


def test_what_is_written_is_what_is_read(run):
    assert run.name == f"haar-n2-l3-made-s4-{runs.hash8(CONFIG)}" and run.config == CONFIG and run.whole
    assert np.allclose(run.history["mean"], HISTORY["mean"], rtol=1e-5) and run.history.step.tolist() == [0, 5]
    assert run.manifest["steps"] == 5 and run.steps == [5]
    assert run.weights()["a"].dtype == torch.float32
    assert torch.allclose(run.weights()["a"], torch.linspace(-1, 1, 7), atol=1e-3)  # half precision
    assert {p.name for p in run.folder.iterdir()} == {*runs.FILES, "manifest.json"}


def test_names_do_not_depend_on_the_order_of_fields():
    assert runs.run_name(dict(reversed(CONFIG.items()))) == runs.run_name(CONFIG)
    assert runs.hash8(CONFIG) != runs.hash8(CONFIG | {"seed": 5})


@pytest.mark.parametrize("name", runs.FILES)
def test_an_altered_or_missing_file_is_named(run, name):
    (run.folder / name).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"run must match its manifest: .*{name} is missing or altered"):
        runs.open_run(run.folder)
    (run.folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing or altered"):
        runs.open_run(run.folder)


def test_a_folder_without_a_manifest_or_with_a_broken_one(run):
    for text, message in (("[]", "must be an object in JSON"), ("{", "must be a JSON file"), ("{}", "written with")):
        (run.folder / "manifest.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            runs.open_run(run.folder)
    (run.folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match="run must be a folder with a manifest.json"):
        runs.open_run(run.folder)
    assert runs.unfinished(run.folder).config == CONFIG and not runs.unfinished(run.folder).whole
    (run.folder / "config.json").unlink()
    with pytest.raises(ValueError, match="run must be a folder with a config.json"):
        runs.unfinished(run.folder)


def test_loading_by_folder_and_by_name(run):
    root = run.folder.parent
    assert runs.names(root) == [run.name] and runs.load(run.name, root).config == CONFIG
    assert runs.load(str(run.folder)).config == CONFIG
    assert [each.name for each in runs.load_all(root)] == [run.name]
    with pytest.raises(ValueError, match=f"run must be one of {run.name}, not 'x'"):
        runs.load("x", root)
    with pytest.raises(ValueError, match=r"run must be one of none \(no run found\), not 'x'"):
        runs.load("x", root / "empty")
    run.folder.rename(root / "other")
    with pytest.raises(ValueError, match=f"run must be named after its configuration: other holds {run.name}"):
        runs.load("other", root)


def test_a_run_kept_for_its_tables_has_no_weights(run, tmp_path):
    kept = runs.keep(run, tmp_path / "kept")
    assert not kept.whole and not kept.steps and not (kept.folder / runs.WEIGHTS).exists()
    assert kept.manifest["files"][runs.WEIGHTS] == run.manifest["files"][runs.WEIGHTS]
    assert np.allclose(kept.history["mean"], HISTORY["mean"], rtol=1e-3)  # four digits
    with pytest.raises(ValueError, match=f"run must have its weights, but of {run.name} only the tables were kept"):
        kept.weights()


def test_a_run_kept_with_its_weights_and_some_of_its_training(run, tmp_path):
    notes = {"step": "3", "configuration": runs.hash8(CONFIG)}
    runs.save_tensors(runs.checkpoint_path(run.folder, 3), {"a": torch.full((2,), 1 / 3)}, notes)
    kept = runs.keep(run, tmp_path / "kept", weights=True, steps=(3,))
    assert kept.whole and kept.steps == [3, 5] and torch.equal(kept.weights()["a"], run.weights()["a"])
    assert kept.weights(3)["a"].tolist() == [float(torch.tensor(1 / 3).half())] * 2


def test_a_manifest_is_sealed(run):
    """Seconds, say, that somebody rounds, and a seal that is left out."""
    there = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert there["steps"] == 5 and "seal" not in run.manifest
    for changed in (there | {"steps": 6}, {name: value for name, value in there.items() if name != "seal"}):
        (run.folder / "manifest.json").write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(ValueError, match="run must have the manifest.json that it was written with: .*-s4-"):
            runs.open_run(run.folder)


def test_tensors_carry_the_digest_of_what_they_are(tmp_path):
    """A bit of one weight, a note, and a file of another program: none is taken for what was written."""
    path = tmp_path / "t.safetensors"
    tensors = {"a": torch.linspace(-1, 1, 7), "b": torch.tensor(3), "c": torch.ones(2, 3).half(), "d": torch.ones(0)}
    runs.save_tensors(path, tensors, {"step": "5"})
    found, notes = runs.load_tensors(path)
    assert notes == {"step": "5"} and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    content = path.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content.replace(b'"step":"5"', b'"step":"6"')):
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="checkpoint must be as it was written: .*t.safetensors was altered"):
            runs.load_tensors(path)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(ValueError, match="or another program wrote it"):
        runs.load_tensors(path)


def test_files_that_unpack_to_more_than_anybody_wrote_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MOST_TEXT", 1000)
    for name, opened in (("t.csv.gz", gzip.open), ("t.csv", open)):
        with opened(tmp_path / name, "wb") as file:
            file.write(b"a\n" * 501)
        with pytest.raises(ValueError, match=f"{name} must be at most 1,000 bytes long"):
            runs.read_table(tmp_path / name)
    monkeypatch.setattr(runs, "MOST_BYTES", 1000)
    runs.save_tensors(tmp_path / "t.safetensors", {"a": torch.ones(500)})
    with pytest.raises(ValueError, match="checkpoint must be a file of at most 1,000 bytes"):
        runs.load_tensors(tmp_path / "t.safetensors")


def test_checkpoints_are_weights_of_earlier_steps(run):
    notes = {"step": "3", "configuration": runs.hash8(CONFIG)}
    runs.save_tensors(runs.checkpoint_path(run.folder, 3), {"a": torch.ones(2).half()}, notes)
    assert run.steps == [3, 5] and run.weights(3)["a"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=f"step must be one of 3, 5 for {run.name}, not 4"):
        run.weights(4)
    shutil.copy(runs.checkpoint_path(run.folder, 3), runs.checkpoint_path(run.folder, 4))
    with pytest.raises(ValueError, match="checkpoint must be of step 4: .*, not '3'"):
        run.weights(4)
    runs.discard(run.folder)
    assert [p.name for p in run.folder.iterdir()] == ["config.json"]


def test_chapters_train_into_the_checkout_from_anywhere(tmp_path, monkeypatch):
    checkout = Path(runs.__file__).parents[1]
    monkeypatch.chdir(tmp_path)
    assert runs.scratch("chapter-3") == checkout / "_runs" / "chapter-3"
    for chapter in (checkout / "chapters").rglob("*.ipynb"):
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert "../" not in code and "getcwd" not in code, chapter
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "site-packages" / "recall" / "runs.py"))
    assert runs.scratch("mine") == Path("_runs/mine")


def test_a_file_that_is_not_safetensors(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="checkpoint must be a readable safetensors file"):
        runs.load_tensors(tmp_path / "broken.safetensors")


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="out must be a folder that can be written to: .*file"):
        runs.write_atomically(tmp_path / "file" / "x", b"")
    runs.write_atomically(tmp_path / "x", b"1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "x"]  # nothing half-written is left


def test_a_table_has_five_digits(tmp_path):
    runs.write_csv(tmp_path / "t.csv", pd.DataFrame(dict(a=[1 / 3], b=[2])))
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a,b\n0.33333,2\n"
    assert json.loads(runs.canonical(CONFIG)) == CONFIG
