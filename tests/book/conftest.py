"""Chapters with other parameters, executed once for all processes of a session."""

import nbformat
import pytest
from filelock import FileLock
from notebooks import CHANGED, SOURCES

from recall.book.__main__ import execute


@pytest.fixture(scope="session")
def executed(shared):
    folder = shared / "chapters"
    folder.mkdir(exist_ok=True)

    def run(name):
        target = folder / f"{name}.ipynb"
        with FileLock(folder / f"{name}.lock"):
            if not target.exists():
                execute(SOURCES[name], target, CHANGED[name])
        return nbformat.read(target, 4)

    return run
