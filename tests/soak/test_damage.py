"""Files cut short, emptied, flipped in one bit or swapped: a line that names them, or what was there before."""

import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from recall import data, runs, settings, training
from recall.explorer import page
from recall.language import results

pytestmark = pytest.mark.soak

DAMAGES = ("cut", "emptied", "flipped", "swapped")


def damaged(content, kind, other, draw):
    """The content of a file after some misfortune; `other` is that of another file of its kind."""
    if kind == "cut":
        return content[: draw.randrange(len(content))]
    if kind == "emptied":
        return b""
    if kind == "swapped":
        return other
    place = draw.randrange(8 * len(content))
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << place % 8
    return bytes(flipped)


def same(a, b):
    """Whether two readings of the same file are equal: runs, tables, weights, texts."""
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def hurt(case, path, other, read, draw, what):
    """Every damage of one file: `read` must give what it gave before, or one line."""
    content, before = path.read_bytes(), read()
    for kind in DAMAGES:
        changed = damaged(content, kind, other, draw)
        if changed == content:
            continue
        path.write_bytes(changed)
        with case(f"{what} {kind}"):
            try:
                after = read()
            except ValueError as error:
                assert "\n" not in str(error) and str(path.parent) in str(error), f"names no file: {error}"
            else:
                assert same(after, before), "another number"
    path.write_bytes(content)
    assert same(read(), before)


def everything(folder):
    """All that a run folder tells."""
    run = runs.open_run(folder)
    weights = {step: run.weights(step) for step in run.steps}
    return run.config, run.history, run.final, run.manifest, weights


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two finished runs of other seeds, with their checkpoints."""
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)
    configs = [settings.preset("fast-2", 2, 2, seed, steps=40, batch_size=4, evaluate_every=20) for seed in (0, 1)]
    return [training.train(config, tmp_path / config.name).folder for config in configs]


def test_every_file_of_a_run_folder(two, case):
    ours, theirs = two
    draw = random.Random(1)
    for path in sorted(each for each in ours.rglob("*") if each.is_file() and each.name != ".lock"):
        if path.name == "resume.safetensors":  # of a finished run: nobody reads it
            continue
        other = (theirs / path.relative_to(ours)).read_bytes()
        for _ in range(6):
            hurt(case, path, other, lambda: everything(ours), draw, path.name)


def test_the_state_of_a_run_that_goes_on(two, tmp_path, case):
    """A state that was damaged is refused, and its run begins anew where that is asked for."""
    draw, how = random.Random(2), dict(steps=40, batch_size=4, evaluate_every=20)
    config, other = (settings.preset("fast-2", 2, 2, seed, **how) for seed in (0, 1))
    for each in (config, other):
        training.train(each, tmp_path / f"half-{each.seed}", stop_after=20)
    theirs = (tmp_path / "half-1" / "resume.safetensors").read_bytes()
    for kind in DAMAGES * 8:
        out = tmp_path / "again"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "half-0", out)
        state = out / "resume.safetensors"
        changed = damaged(state.read_bytes(), kind, theirs, draw)
        state.write_bytes(changed)
        with case(f"state {kind}"):
            with pytest.raises(ValueError, match="resume.safetensors"):
                training.train(config, out)
            assert state.read_bytes() == changed and not (out / "manifest.json").exists()
    whole = training.train(config, out, fresh=True)
    assert same(whole.weights(), runs.open_run(two[0]).weights())


def test_every_file_of_the_committed_data(tmp_path, monkeypatch, case):
    """By what reads it: the run's folder, the table, the language model's tables, the list of the playground."""
    folder, draw = tmp_path / "data", random.Random(3)
    shutil.copytree(runs.data_folder(), folder)
    monkeypatch.setenv("RECALL_DATA", str(folder))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kind = lambda path: (path.parent.parent.name, path.name) if path.parent.parent.name in runs.COLLECTIONS else None
    others = {}
    for path in files:
        others.setdefault(kind(path) or path.suffix, []).append(path)
    for path in files:
        among = [each for each in others[kind(path) or path.suffix] if each != path]
        other = draw.choice(among).read_bytes() if among else b"another"
        name = path.relative_to(folder).as_posix()
        hurt(case, path, other, reader(folder, Path(name)), draw, name)


def reader(folder, name):
    """What reads a file of the data folder."""
    place = name.parts[0]
    if place in runs.COLLECTIONS:
        return lambda: everything(folder / place / name.parts[1])
    if place == "tables":
        return lambda: data.table(name.name.split(".")[0])
    if place == "language":
        return lambda: results.load()
    if name.name == page.LISTED:
        return lambda: [run.name for run in page.listed()]
    if name.name == data.SUMS:
        return lambda: [data.path(*each.relative_to(folder).parts).read_bytes() for each in sealed(folder)]
    return lambda: data.path(*name.parts).read_bytes()


def sealed(folder):
    return sorted(p for part in data.SEALED for p in (folder / part, *(folder / part).rglob("*")) if p.is_file())
