"""Run folders: what was trained, with what, and the proof that the files belong together.

A run folder holds

    config.json          everything that made the run; its hash is part of the folder's name
    history.csv.gz       one row per evaluation, N, condition, event and k
    final.csv            the same columns on a larger set, at the end, with the published weights
    final.safetensors    the published model: weights rounded to half precision
    manifest.json        SHA-256 of the files above, command, seconds, threads, versions, and its own seal
    checkpoints/         step-000300.safetensors, …: a cache, committed (half precision) only where the playground
                         shows it
    resume.safetensors   a local cache, not committed

Of a run that matters for its tables only, a copy without the weights may be kept (`keep`): the manifest says so.

Nothing is pickled, every file is written beside its place and moved there, and none is read that is longer
than it may be or not as it was written: the manifest seals the run's files and itself, a checkpoint carries the digest
of its tensors.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recall.config import check

COLLECTIONS = ("runs", "atlas", "knockouts")  # of committed runs, folders of the data folder
WEIGHTS = "final.safetensors"
PART = ".part"  # ends the name of a file that is being written
KEPT_DIGITS = 4  # far below what seeds differ by
MOST_BYTES = 2**31  # of a file of weights: the study's largest model, with its optimiser's state, has half of that
MOST_TEXT = 2**28  # bytes of any other file, unpacked
FILES = ("config.json", "history.csv.gz", "final.csv", WEIGHTS)


@dataclass(frozen=True)
class Run:
    """A finished run.  config: as in config.json; history, final: tables; manifest: as in manifest.json."""

    folder: Path
    config: dict
    history: pd.DataFrame
    final: pd.DataFrame
    manifest: dict

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def whole(self) -> bool:
        """Whether its weights are there; else only its tables were kept."""
        return WEIGHTS not in self.manifest.get("left_out", ())

    @property
    def steps(self) -> list[int]:
        """Training steps of which the weights are there, the last one among them."""
        there = (self.folder / "checkpoints").glob("step-*.safetensors")
        earlier = [int(path.stem.removeprefix("step-")) for path in there]
        last = [int(self.history.step.max())] if self.whole else []
        return sorted({*earlier, *last})

    def weights(self, step: int | None = None) -> dict[str, Tensor]:
        """The published (half-precision) weights in single precision, or those of an earlier step.

        ValueError where they are not there.
        """
        if step is not None and step != self.history.step.max():
            check("step", step in self.steps, f"one of {', '.join(map(str, self.steps))} for {self.name}", step)
            path = checkpoint_path(self.folder, step)
            tensors, notes = load_tensors(path)
            ours, whose = hash8(self.config), notes.get("configuration")
            check("checkpoint", whose == ours, f"of this run's configuration ({ours}): {path}", whose)
            check("checkpoint", notes.get("step") == str(step), f"of step {step}: {path}", notes.get("step"))
        elif self.whole:
            tensors = safetensors.torch.load(verified(self.folder, WEIGHTS, self.manifest["files"]))
        else:
            raise ValueError(
                f"run must have its weights, but of {self.name} only the tables were kept; to train it again: "
                f"python -m recall train --config {self.folder / 'config.json'} --out _runs/{self.name}"
            )
        return {name: tensor.float() for name, tensor in tensors.items()}


def checkpoint_path(folder: Path, step: int) -> Path:
    return Path(folder) / "checkpoints" / f"step-{step:06d}.safetensors"


def canonical(config: dict) -> str:
    """The one JSON text of a configuration."""
    return json.dumps(config, sort_keys=True, indent=1) + "\n"


def hash8(config: dict) -> str:
    """First eight hexadecimal digits of the SHA-256 of the canonical configuration."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:8]


def run_name(config: dict) -> str:
    """{family}-n{n}-l{labels}-{setting}-s{seed}-{hash8}"""
    task = config["task"]
    of_task = f"{task['family']}-n{task['dimension']}-l{task['labels']}"
    return f"{of_task}-{config['setting']}-s{config['seed']}-{hash8(config)}"


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, then move: a reader sees the old file or the new one.

    Raises ValueError, naming the folder, if it cannot be written to.
    """
    path, file = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", suffix=PART, delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except BaseException as error:
        if file is not None:
            Path(file.name).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ValueError(f"out must be a folder that can be written to: {path.parent}: {error.strerror}") from error


def clear_parts(folder: Path) -> None:
    """Remove what killed processes had begun to write in a folder that nobody else is writing to."""
    for part in Path(folder).rglob(f".*{PART}"):
        part.unlink(missing_ok=True)


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in .gz; ValueError where it cannot be read or is longer than
    MOST_TEXT."""
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(MOST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a file that can be read: {error}") from error
    check(str(path), len(content) <= MOST_TEXT, f"at most {MOST_TEXT:,} bytes long", "longer")
    return content


def read_json(path: Path) -> dict:
    """The object in a JSON file; ValueError names a file that holds none."""
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file that can be read: {error}") from error
    check(str(path), isinstance(found, dict), "an object in JSON", found)
    return found


def read_table(path: Path) -> pd.DataFrame:
    """The table in a CSV file; ValueError names a file that holds none."""
    try:
        return pd.read_csv(io.BytesIO(read_bytes(path)))
    except ValueError as error:
        raise ValueError(f"{path} must be a table that can be read: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, str] | None = None) -> None:
    """Safetensors file with the digest of what it holds, written atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    notes = dict(notes or {})
    content = safetensors.torch.save(tensors, notes | {"sha256": _digest(tensors, notes)})
    write_atomically(path, content)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of a file that `save_tensors` wrote; ValueError if it is not one, or was altered since."""
    try:
        size = Path(path).stat().st_size
        check("checkpoint", size <= MOST_BYTES, f"a file of at most {MOST_BYTES:,} bytes: {path}", size)
        with safe_open(path, "pt") as file:
            tensors, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"checkpoint must be a readable safetensors file: {path}: {error}") from error
    if notes.pop("sha256", None) != _digest(tensors, notes):
        raise ValueError(f"checkpoint must be as it was written: {path} was altered, or another program wrote it")
    return tensors, notes


def _digest(tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    """SHA-256 over notes, names, types, shapes and bytes."""
    sha = hashlib.sha256(canonical(notes).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def write(
    folder: Path, config: dict, history: pd.DataFrame, final: pd.DataFrame, weights: dict[str, Tensor], facts: dict
) -> Run:
    """Publish a finished run; the manifest goes last, so that a folder with one is whole."""
    folder = Path(folder)
    write_atomically(folder / "config.json", canonical(config).encode())
    _write_history(folder, history, 6)
    write_atomically(folder / "final.csv", final.to_csv(float_format="%.6g", index=False).encode())
    save_tensors(folder / WEIGHTS, {name: t.half() for name, t in weights.items()})
    return _write_manifest(folder, {"files": {name: _sha256(folder / name) for name in FILES}, **facts})


def _write_manifest(folder: Path, manifest: dict) -> Run:
    sealed = manifest | {"seal": _seal(manifest)}
    write_atomically(folder / "manifest.json", (json.dumps(sealed, indent=1) + "\n").encode())
    return open_run(folder)


def _seal(manifest: dict) -> str:
    """SHA-256 of all that a manifest says but for its seal."""
    return hashlib.sha256(canonical(manifest).encode()).hexdigest()


def _write_history(folder: Path, history: pd.DataFrame, digits: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "history.csv.gz"
        history.to_csv(packed, compression={"method": "gzip", "mtime": 0}, float_format=f"%.{digits}g", index=False)
        write_atomically(folder / "history.csv.gz", packed.read_bytes())


def open_run(folder: Path) -> Run:
    """Read a run folder and verify it: ValueError if a file is missing or altered."""
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise ValueError(f"run must be a folder with a manifest.json: {folder}")
    manifest = read_json(folder / "manifest.json")
    if manifest.pop("seal", None) != _seal(manifest) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"run must have the manifest.json that it was written with: {folder} has not")
    for name in (name for name in FILES if name not in manifest.get("left_out", ())):
        verified(folder, name, manifest["files"])
    history, final = read_table(folder / "history.csv.gz"), read_table(folder / "final.csv")
    return Run(folder, read_config(folder), history, final, manifest)


def verified(folder: Path, name: str, digests: dict[str, str]) -> bytes:
    """The content of a file, as it lies there; ValueError if it is not there or has another SHA-256 than is listed."""
    path = Path(folder) / name
    if path.is_file() and path.stat().st_size <= MOST_BYTES:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == digests.get(name):
            return content
    raise ValueError(f"run must match its manifest: {path} is missing or altered")


def unfinished(folder: Path) -> Run:
    """What there is of a run in training: its configuration and checkpoints; its tables are empty."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"run must be a folder with a config.json: {folder}")
    empty = pd.DataFrame({"step": pd.Series(dtype=int)})
    return Run(folder, read_config(folder), empty, empty, {"left_out": [WEIGHTS]})


def read_config(folder: Path) -> dict:
    """What a run folder's config.json holds."""
    return read_json(Path(folder) / "config.json")


def keep(run: Run, root: Path, *, weights: bool = False, steps: tuple[int, ...] = ()) -> Run:
    """A copy of a finished run under `root` for its tables; with `weights` with those too, and those of earlier steps,
    in half precision.

    The SHA-256 of weights that are left out stays in the manifest; the history is of KEPT_DIGITS digits, which makes it
    a quarter smaller.
    """
    folder = Path(root) / run.name
    for name in ("config.json", "final.csv", *[WEIGHTS] * weights):
        write_atomically(folder / name, verified(run.folder, name, run.manifest["files"]))
    for step in steps:
        tensors, notes = load_tensors(checkpoint_path(run.folder, step))
        save_tensors(checkpoint_path(folder, step), {name: tensor.half() for name, tensor in tensors.items()}, notes)
    _write_history(folder, run.history, KEPT_DIGITS)
    files = run.manifest["files"] | {"history.csv.gz": _sha256(folder / "history.csv.gz")}
    left_out = {} if weights else {"left_out": [WEIGHTS]}
    return _write_manifest(folder, run.manifest | left_out | {"files": files})


def data_folder() -> Path:
    """Folder of the committed data: the one that the variable RECALL_DATA names, else `data` of this checkout."""
    return Path(os.environ.get("RECALL_DATA") or Path(__file__).resolve().parent.parent / "data")


def scratch(name: str) -> Path:
    """Folder for what a chapter trains by the way: of the checkout, from wherever the chapter is run; where there is
    none, of the working directory."""
    checkout = Path(__file__).resolve().parent.parent
    return (checkout if (checkout / "chapters").is_dir() else Path()) / "_runs" / name


def check_data(sought: str) -> None:
    """ValueError where the library was installed without the committed data, in which something is sought."""
    place = data_folder()
    if not place.is_dir():
        raise ValueError(f"RECALL_DATA must name the data folder of a checkout, for {sought}: there is none at {place}")


def _root(root: Path | str) -> Path:
    """A folder of run folders; one of COLLECTIONS is that of the committed data."""
    return data_folder() / root if root in COLLECTIONS else Path(root)


def names(root: Path | str = "runs") -> list[str]:
    """Names of the runs in one of COLLECTIONS, or under a folder, sorted."""
    return sorted(path.parent.name for path in _root(root).glob("*/manifest.json"))


def load(name: str, root: Path | str = "runs") -> Run:
    """A run by the path of its folder, or by its name one of COLLECTIONS or under a folder; its files are verified.

        run = recall.load("haar-n3-l4-adamw-0-s0-95e9bfe8")
        run.history.query("event == 'query' and k == 1")

    Raises ValueError: a list of what there is, or what is missing, altered or named after another configuration.
    """
    if root == "runs" and Path(name).is_dir():
        return open_run(name)
    if root in COLLECTIONS:
        check_data(f"{name!r}, which is no run folder")
    there = names(root)
    check("run", name in there, f"one of {', '.join(there) or 'none (no run found)'}", name)
    return _named(_root(root) / name)


def load_all(root: Path | str = "runs") -> list[Run]:
    """Every run of one of COLLECTIONS, or under a folder, verified."""
    if root in COLLECTIONS:
        check_data("committed runs")
    return [_named(_root(root) / name) for name in names(root)]


def _named(folder: Path) -> Run:
    run = open_run(folder)
    if run_name(run.config) != run.name:
        raise ValueError(f"run must be named after its configuration: {run.name} holds {run_name(run.config)}")
    return run


def csv(frame: pd.DataFrame) -> bytes:
    """A table as text, with five digits."""
    return frame.to_csv(index=False, float_format="%.5g").encode()


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table with five digits, atomically; where it lies."""
    write_atomically(path, csv(frame))
    return Path(path)


def discard(folder: Path) -> None:
    """Remove what a run left in its folder, but for its configuration; nothing else there is touched."""
    shutil.rmtree(Path(folder) / "checkpoints", ignore_errors=True)
    for name in ("manifest.json", *FILES[1:], "resume.safetensors"):
        (Path(folder) / name).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
