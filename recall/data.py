"""The committed data: tables that chapters read and `python -m recall measure --commit` writes, and their checksums.

    tables/{name}.csv    one tidy table; {name}.csv.gz if it is large
    reference/           curves of the study, word pairs
    language/            tables of language models
    playground.json      checkpoints that the playground offers
    SHA256SUMS           of all of these, as sha256sum writes it (`sha256sum --check SHA256SUMS` in the folder)

The folder is `runs.data_folder()`.  A file that is not as it was written is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import pandas as pd

from recall import runs
from recall.config import check

SUMS = "SHA256SUMS"
SEALED = ("tables", "reference", "language", "playground.json")
PACKED_BYTES = 100_000  # a table as large as this is kept packed, since all of data/ stays under 40 MB
CELL = ("family", "dimension", "labels", "setting", "seed")  # what tells runs apart in a table without their names


def path(*parts: str) -> Path:
    """A committed file, such as path("reference", "words.csv"); ValueError if it is missing or was altered."""
    folder, name = runs.data_folder(), "/".join(parts)
    runs.check_data(name)
    if not (folder / name).is_file():
        raise ValueError(f"data must hold {name}, but {folder} does not")
    if _digest(folder / name) != _sums(folder).get(name):
        raise ValueError(f"{folder / name} does not match {folder / SUMS}")
    return folder / name


def table_path(name: str) -> Path | None:
    """Where the committed table `name` lies; None if there is none."""
    return next((each for each in _table_paths(name) if each.is_file()), None)


def table(name: str) -> pd.DataFrame:
    """A committed tidy table; ValueError lists what there is, or says that it was edited."""
    runs.check_data(f"the table {name}")
    found = table_path(name)
    if found is None:
        there = sorted(each.name.split(".")[0] for each in (runs.data_folder() / "tables").glob("*.csv*"))
        raise ValueError(f"table must be one of {', '.join(there) or 'none'}, not {name!r}")
    return runs.read_table(path("tables", found.name))


def merge(name: str, frame: pd.DataFrame) -> Path:
    """Put the rows of a committed table in place of those that it holds of the same runs; where it lies now.

    Runs are told apart by the column `run` (`name` where there is none), else by CELL.  Rows of other runs stay as
    they are, digit for digit and in their order; runs that are new come last.  ValueError if the columns are others.
    """
    runs.check_data(f"the table {name}")
    new, found = _as_text(runs.csv(frame)), table_path(name)
    key = next(([column] for column in ("run", "name") if column in new), [column for column in CELL if column in new])
    check("table", key, f"one with a column run, name or of {', '.join(CELL)}", name)
    if found is not None:
        old = _as_text(_unpacked(path("tables", found.name)))
        new = _merged(name, key, old, new)
    text, (plain, packed) = new.to_csv(index=False).encode(), _table_paths(name)
    large = len(text) >= PACKED_BYTES
    target, other = (packed, plain) if large else (plain, packed)
    runs.write_atomically(target, gzip.compress(text, mtime=0) if large else text)
    other.unlink(missing_ok=True)
    record(target, other)
    return target


def record(*paths: Path) -> None:
    """Take down the checksums of files just written (or removed), those of them that SHA256SUMS is about."""
    folder = runs.data_folder().resolve()
    names = {_name_in(folder, Path(each).resolve()) for each in paths} - {None}
    if not names:
        return
    sums = {name: digest for name, digest in _sums(folder).items() if name not in names}
    sums |= {name: _digest(folder / name) for name in names if (folder / name).is_file()}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    runs.write_atomically(folder / SUMS, "".join(lines).encode())


def _name_in(folder: Path, file: Path) -> str | None:
    if not file.is_relative_to(folder):
        return None
    name = file.relative_to(folder).as_posix()
    return name if name.split("/")[0] in SEALED else None


def _sums(folder: Path) -> dict[str, str]:
    """Name -> SHA-256, from lines of two columns."""
    listed = folder / SUMS
    lines = listed.read_text(encoding="utf-8", errors="replace").splitlines() if listed.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _table_paths(name: str) -> tuple[Path, Path]:
    tables = runs.data_folder() / "tables"
    return tables / f"{name}.csv", tables / f"{name}.csv.gz"


def _unpacked(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _as_text(csv: bytes) -> pd.DataFrame:
    """A table whose cells are the text they were written as: nothing is rounded twice."""
    return pd.read_csv(io.BytesIO(csv), dtype=str, keep_default_na=False)


def _merged(name: str, key: list[str], old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    of = lambda table: pd.MultiIndex.from_frame(table.reindex(columns=key))
    left = old[~of(old).isin(of(new))]
    if not left.empty:
        check("table", list(old) == list(new), f"{name} with its committed columns, or of all of its runs", list(new))
    rows = pd.concat([left, new], ignore_index=True)[list(new)]
    order = of(old).append(of(new)).unique()  # runs as they stood, new ones after them
    return rows.iloc[order.get_indexer(of(rows)).argsort(kind="stable")]
