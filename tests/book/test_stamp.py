"""A chapter's stamp, on a small tree made by hand."""

import nbformat.v4 as made
import pytest

from recall.book import stamp


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A module and a package of recall, a table, and a folder with two runs."""
    monkeypatch.setattr(stamp, "ROOT", tmp_path)
    for name in (
        "recall/__init__.py",
        "recall/stats.py",
        "recall/studies/__init__.py",
        "data/tables/cues.csv",
        "data/atlas/a/final.csv",
        "data/atlas/b/final.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    return tmp_path


PARTS = ["data/atlas", "data/tables/cues.csv", "recall", "recall.stats", "recall.studies"]


@pytest.fixture
def stamped(root):
    cells = [made.new_markdown_cell("Words"), made.new_code_cell("1 + 1", metadata={"tags": ["hide-input"]})]
    notebook = made.new_notebook(cells=cells)
    notebook.metadata["recall"] = stamp.stamp(notebook, PARTS)
    return notebook


def test_what_was_read_is_named_by_its_parts(root):
    """Of a folder of folders the whole, of a table itself; nothing outside data/, no module of others, none twice."""
    modules = {"recall", "recall.stats", "recall.studies", "recall.gone", "recallable", "torch"}
    opened = {str(root / "data/atlas/a/final.csv"), str(root / "data/tables/cues.csv"), str(root / "recall/stats.py")}
    assert stamp.parts(modules, opened) == PARTS


def test_a_fresh_chapter_has_not_changed(stamped):
    assert set(stamped.metadata.recall) == {"source", *PARTS} and stamp.changed(stamped) == []


def test_a_chapter_without_a_stamp_is_stale():
    assert stamp.changed(made.new_notebook()) == ["stamp"]


@pytest.mark.parametrize(
    "name, part",
    [
        ("recall/stats.py", "recall.stats"),
        ("recall/studies/__init__.py", "recall.studies"),
        ("data/tables/cues.csv", "data/tables/cues.csv"),
        ("data/atlas/b/final.csv", "data/atlas"),
    ],
)
def test_what_changed_is_named(root, stamped, name, part):
    (root / name).write_text("another\n", encoding="utf-8")
    assert stamp.changed(stamped) == [part]
    (root / name).unlink()
    assert stamp.changed(stamped) == [part]


def test_a_run_that_came_is_a_change_and_a_cache_is_none(root, stamped):
    for name in ("resume.safetensors", ".lock"):
        (root / "data/atlas/a" / name).write_text("", encoding="utf-8")
    assert stamp.changed(stamped) == []
    (root / "data/atlas/c").mkdir()
    (root / "data/atlas/c/final.csv").write_text("", encoding="utf-8")
    assert stamp.changed(stamped) == ["data/atlas"]


def test_newlines_of_modules_make_no_difference(root, stamped):
    (root / "recall/stats.py").write_bytes(b"recall/stats.py\r\n")
    assert stamp.changed(stamped) == []


@pytest.mark.parametrize("field, value", [("source", "2 + 2"), ("metadata", {"tags": []}), ("cell_type", "raw")])
def test_source_and_tags_are_stamped_and_outputs_are_not(stamped, field, value):
    stamped.cells[1].outputs = [made.new_output("stream", text="2")]
    assert stamp.changed(stamped) == []
    stamped.cells[1][field] = value
    assert stamp.changed(stamped) == ["source"]
