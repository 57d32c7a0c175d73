"""Two executions of a chapter that say the same, and that do not, by hand."""

import nbformat.v4 as made
import pytest
from nbformat import write

from recall.book.compare import difference, main, same


@pytest.mark.parametrize(
    "one, other, equal",
    [
        ("0.41", "0.42", True),
        ("0.41", "0.43", False),
        ("0.4", "0.42", False),  # by the finer of the two
        ("0.123", "0.1229", True),
        ("-0.00", "0.00", True),
        ("−0.31", "-0.32", True),
        ("7", "8", False),  # whole numbers count something
        ("1,234", "1,235", False),
        ("1,234.5", "1,234.6", True),
        ("0.30000000000000004", "0.3", True),
        ("0.12345678", "0.12345699", True),
        ("0.12345678", "0.12346", False),
        ("1.2e-05", "1.3e-05", True),
        ("1.2e-05", "1.5e-05", False),
        ("9.9e-06", "1e-05", True),
    ],
)
def test_numbers(one, other, equal):
    assert same(one, other) == same(other, one) == equal


@pytest.mark.parametrize(
    "one, other, equal",
    [
        ("score 0.41 at N = 2", "score 0.42 at N = 2", True),
        ("score 0.41 at N = 2", "score 0.41 at N = 3", False),
        ("first in 7 of 8 runs", "last in 7 of 8 runs", False),
        ("haar-n5-l4-fast-1-s300-775343fb", "haar-n5-l4-fast-1-s300-775344fb", False),  # a name is no number
        ("0.41", "0.41 0.42", False),
        ("0.41 then", "0.41", False),
        ('"a":"x,y\n0.125,3"', '"a":"x,y\n0.126,3"', True),
        ("[0.5,345]", "[0.5,346]", False),
    ],
)
def test_texts(one, other, equal):
    assert (difference(one, other) is None) == (difference(other, one) is None) == equal


def chapter(folder, name, *cells):
    """A notebook whose cells show (kind of text, text, tags)."""
    folder.mkdir(exist_ok=True)
    code = []
    for i, (kind, text, *tags) in enumerate(cells):
        shown = (
            made.new_output("stream", text=text) if kind == "text" else made.new_output("display_data", {kind: text})
        )
        code.append(made.new_code_cell("", id=f"cell-{i:02d}", outputs=[shown], metadata={"tags": tags}))
    write(made.new_notebook(cells=code), folder / f"{name}.ipynb")


def test_chapters_that_say_the_same(tmp_path, capsys):
    """But for the last digits, the digest in the name of a chart's data, and what was trained live."""
    for folder, name, error, loss in (("before", "0" * 32, 0.41, 1.234), ("after", "f" * 32, 0.42, 1.034)):
        chart = (
            f'<script>{{"data":{{"name":"data-{name}"}},"datasets":{{"data-{name}":"N,error\\n2,{error}"}}}}</script>'
        )
        live = ("text/markdown", f"ended at {loss}", "live")
        chapter(tmp_path / folder, "01_task", ("text/html", chart), ("text", f"error {error}\n"), live)
    assert main([str(tmp_path / "before"), str(tmp_path / "after")]) == 0
    assert capsys.readouterr().out == "01_task: the same\n"


@pytest.mark.parametrize(
    "cell, before, after",
    [
        (("text/html", "<td>0.44</td>"), "<td>0.41</td>", "<td>0.44</td>"),
        (("text/html", "<td>0.41</td><td>2</td>"), "<td>0.41</td>", "<td>2</td>"),
        (("text/markdown", "<td>0.41</td>"), "text/html", "text/markdown"),
        (("text/html", "<td>0.41</td> not yet", "live"), "<td>0.41</td>", "not yet"),
    ],
)
def test_what_differs_is_named_with_both_texts(tmp_path, capsys, cell, before, after):
    _, _, *tags = cell
    plain = ("text", "2 labels\n")
    chapter(tmp_path / "before", "01_task", plain, ("text/html", "<td>0.41</td>", *tags))
    chapter(tmp_path / "after", "01_task", plain, cell)
    assert main([str(tmp_path / "before"), str(tmp_path / "after")]) == 1
    head, one, other = capsys.readouterr().out.splitlines()
    assert (
        head == "01_task: differs" and one.strip().startswith("cell-01: before: ") and before in one and after in other
    )


def test_missing_chapters_and_folders(tmp_path, capsys):
    chapter(tmp_path / "before", "01_task", ("text", "2"))
    assert main([str(tmp_path / "before"), str(tmp_path / "after")]) == 1
    assert "after/01_task.ipynb is missing" in capsys.readouterr().out
    assert main([str(tmp_path / "none"), str(tmp_path / "none")]) == 2
    assert "before must be a folder of chapters" in capsys.readouterr().err
