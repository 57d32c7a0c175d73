"""The committed chapters: whole, and made of what is there."""

import json
import re

import nbformat
import papermill
import pytest
from notebooks import CHANGED, SOURCES, figures

from recall.book.__main__ import execute, main
from recall.book.stamp import changed


def test_book_has_the_chapters():
    assert list(SOURCES) == list(CHANGED)


@pytest.mark.parametrize("name", SOURCES)
def test_committed_notebook_is_whole(name):
    notebook = nbformat.read(SOURCES[name], 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert all(cell.execution_count for cell in code), "execute it: make book"
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert SOURCES[name].stat().st_size < 1_000_000
    assert not re.search(r"\bdef \w+\(|\bclass \w+", "\n".join(cell.source for cell in code)), "chapters define nothing"
    assert "widgets" not in notebook.metadata and notebook.metadata.kernelspec.name == "python3"
    text = json.dumps([cell.get("outputs") for cell in code])
    assert "0x7f" not in text and not re.search(r"\d+(\.\d+)? ?s left", text), "an address or a timing is stored"


@pytest.mark.standard
@pytest.mark.parametrize("name", SOURCES)
def test_committed_outputs_are_those_of_what_is_there(name):
    """Its source, the modules it imported and the data it read are those with which it was executed."""
    notebook = nbformat.read(SOURCES[name], 4)
    stale = changed(notebook)
    assert not stale, f"{name} was executed with another {', '.join(stale)}: make book"
    assert len(json.dumps(notebook.metadata.recall, indent=1)) < 4000


def test_live_training_of_the_committed_book_is_in_range():
    """Chapter 3 as committed: going on is learnt, and the curve is that of a training run."""
    spec, _ = figures(nbformat.read(SOURCES["03_transformer"], 4))
    history = max(spec["datasets"].values(), key=len)
    last = max(row["step"] for row in history)
    end = {row["ability"]: row["mean"] for row in history if row["step"] == last}
    start = {row["ability"]: row["mean"] for row in history if row["step"] == 0}
    assert last >= 1000 and all(0.7 < value < 4 for value in start.values())
    assert end["2-after-query"] < 0.25 and end["3-after-query"] < 0.2 and end["1-after-query"] < 1.1


@pytest.mark.standard
def test_unknown_chapter_and_parameter(tmp_path, capsys):
    assert main(["09_nothing"]) == 2 and "chapter must be one of index, 01_task" in capsys.readouterr().err
    assert main(["01_task", "-p", "colour", "1", "--out", str(tmp_path)]) == 2
    assert "colour must be a parameter of 01_task.ipynb: dimension, labels, seed" in capsys.readouterr().err
    assert main(["01_task", "-p", "dimension", "3"]) == 2 and "out must be given with -p" in capsys.readouterr().err


@pytest.mark.standard
def test_a_failing_chapter_leaves_the_source_alone(tmp_path):
    source = tmp_path / "bad.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(notebook, source)
    before = source.read_bytes()
    with pytest.raises(papermill.PapermillExecutionError):
        execute(source, source)
    assert source.read_bytes() == before
