"""A chapter's stamp: digests of its source, of the modules of recall that it imported and of the files of data/ that it
read.  With it a test can tell, without executing the chapter, whether its outputs are still those of what is there.

`recall.book` keeps the stamp in the notebook's metadata.  While it executes a chapter, the kernel has this module as an
IPython extension, which keeps the names of what was read in the file that the environment variable RECALL_BOOK names.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ALONE = 3  # names of a path that stands for itself; a longer one stands for its folder of data/
# a run's own, as hidden files are: not committed; and what is read with every table, whichever has changed
LEFT_OUT = ("resume.safetensors", "SHA256SUMS")


def load_ipython_extension(shell) -> None:
    """Note every file that is opened; after each cell write what was read so far, as a JSON list of parts."""
    opened = set()

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str):
            opened.add(os.path.abspath(arguments[0]))

    def write(_) -> None:
        Path(os.environ["RECALL_BOOK"]).write_text(json.dumps(parts({*sys.modules}, {*opened})), encoding="utf-8")

    sys.addaudithook(note)
    shell.events.register("post_run_cell", write)


def parts(modules: set[str], opened: set[str]) -> list[str]:
    """What a chapter was made of: recall.stats, data/tables/cues.csv; of data/atlas/RUN/final.csv all of data/atlas."""
    data = [Path(path).relative_to(ROOT).parts for path in opened if Path(path).is_relative_to(ROOT / "data")]
    names = {"/".join(path if len(path) <= ALONE else path[:2]) for path in data}
    names |= {name for name in modules if name.split(".")[0] == "recall"}
    return sorted(name for name in names if files(name))


def files(part: str) -> list[Path]:
    """The files of a module, of a folder of data/ or of one table; none where it is gone."""
    if not part.startswith("data/"):
        module = ROOT.joinpath(*part.split("."))
        return [path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()]
    found = (path for path in [ROOT / part, *(ROOT / part).rglob("*")] if path.is_file())
    return sorted(path for path in found if path.name not in LEFT_OUT and not path.name.startswith("."))


def stamp(notebook, parts: list[str]) -> dict[str, str]:
    """{"source": digest, part: digest, …}; a digest is the first twelve digits of a SHA-256."""
    cells = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    return {"source": _sha256(json.dumps(cells).encode())} | {part: digest(part) for part in parts}


def digest(part: str) -> str:
    """Of the names and bytes of a part's files; the newlines of modules are the same on every system."""
    lines = []
    for path in files(part):
        content = path.read_bytes()
        plain = content.replace(b"\r\n", b"\n") if path.suffix == ".py" else content
        lines.append(f"{path.relative_to(ROOT).as_posix()} {_sha256(plain)}")
    return _sha256("\n".join(lines).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def changed(notebook) -> list[str]:
    """What is no longer as it was when the chapter was executed: "source", modules, data; "stamp" if it has none."""
    was = notebook.metadata.get("recall", {"stamp": ""})
    now = stamp(notebook, [part for part in was if part not in ("source", "stamp")])
    return [part for part in was if was[part] != now.get(part)]
