"""Execute chapters headless: python -m recall.book [CHAPTER ...] [-p NAME VALUE ...] [--out FOLDER] [--workers N]

Each notebook runs with papermill into a scratch file and replaces the committed one only when it has run through.  With
its own parameters it is stamped with what it was made of (`stamp`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import nbformat
import papermill
import yaml

from recall.book.stamp import ROOT, stamp
from recall.figures import WIDGET
from recall.runs import write_atomically

WATCH = "--IPKernelApp.extra_extensions=recall.book.stamp"


def chapters() -> list[Path]:
    """Notebooks of the book in reading order, from _toc.yml."""
    if not (ROOT / "_toc.yml").is_file():
        raise ValueError(f"recall must be installed from a checkout, whose chapters these are: none in {ROOT}")
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = (toc["root"], *(entry["file"] for entry in toc["chapters"]))
    return [ROOT / f"{name}.ipynb" for name in names if (ROOT / f"{name}.ipynb").exists()]


def execute(source: Path, target: Path, parameters: dict | None = None) -> None:
    """Run `source` into `target`; ValueError for a parameter the chapter does not have.

    The stored notebook depends on its results only: no timestamps, no widget state, cell ids by position.
    """
    known = papermill.inspect_notebook(str(source))
    for name in parameters or {}:
        if name not in known:
            raise ValueError(f"{name} must be a parameter of {source.name}: {', '.join(known) or 'it has none'}")
    before = nbformat.read(source, 4)
    with tempfile.TemporaryDirectory() as scratch:
        out, read = Path(scratch) / "executed.ipynb", Path(scratch) / "read.json"
        with nullcontext() if parameters else watched(read):
            papermill.execute_notebook(
                str(source),
                str(out),
                parameters or {},
                cwd=str(source.parent),
                progress_bar=False,
                log_output=False,
                kernel_name="python3",
                extra_arguments=[] if parameters else [WATCH],
            )
        notebook = normalised(nbformat.read(out, 4))
        if not parameters:
            notebook.metadata["recall"] = stamp(before, json.loads(read.read_text(encoding="utf-8")))
    write_atomically(target, (nbformat.writes(notebook) + "\n").encode())


@contextmanager
def watched(read: Path):
    """Kernels that are started meanwhile know that the book is being made, and where to write what they read."""
    os.environ["RECALL_BOOK"] = str(read)
    try:
        yield
    finally:
        del os.environ["RECALL_BOOK"]


def normalised(notebook):
    """The notebook without what changes from one execution to the next."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "text/html" in data or "text/markdown" in data:
                data.pop("text/plain", None)  # holds object addresses
            output.get("metadata", {}).pop(WIDGET, None)
            if "transient" in output:
                del output["transient"]
    return notebook


def side_by_side(given: argparse.Namespace) -> int:
    """Chapters in several processes of one thread; the largest of their exit codes."""
    # more threads than there are cores wait for each other, and sums are in one order
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    how = [part for pair in given.p for part in ("-p", *pair)] + (["--out", str(given.out)] if given.out else [])

    def alone(name: str) -> int:
        code = subprocess.run([sys.executable, "-m", "recall.book", name, *how], env=one).returncode
        return code if code >= 0 else 128 - code  # ended by a signal

    with ThreadPoolExecutor(given.workers) as pool:
        return max(pool.map(alone, given.chapters or [path.stem for path in chapters()]))


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m recall.book", description=__doc__.splitlines()[0])
    options.add_argument("chapters", nargs="*", help="names such as 01_task (default: all)")
    options.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter")
    options.add_argument("--out", type=Path, help="folder for the executed notebooks (default: in place)")
    options.add_argument("--workers", type=int, default=1, help="chapters at a time, each in a process (default: 1)")
    given = options.parse_args(arguments)
    try:
        there = {path.stem: path for path in chapters()}
        for name in given.chapters:
            if name not in there:
                raise ValueError(f"chapter must be one of {', '.join(there)}, not {name!r}")
        if os.environ.get("RECALL_DATA") and not given.out:
            raise ValueError("out must be given with RECALL_DATA: a chapter is committed with the data of its checkout")
        if given.p and not given.out:
            raise ValueError("out must be given with -p: a chapter is committed with its own parameters")
        if given.workers > 1:
            return side_by_side(given)
        for name in given.chapters or there:
            source = there[name]
            print(f"executing {source.relative_to(ROOT)}", flush=True)
            execute(
                source,
                (given.out or source.parent) / source.name,
                {key: yaml.safe_load(value) for key, value in given.p},
            )
    except ValueError as error:
        print(f"recall.book: {error}", file=sys.stderr)
        return 2
    except papermill.PapermillExecutionError as error:
        print(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
