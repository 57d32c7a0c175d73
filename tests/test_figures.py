"""House style of charts and tables: what stands in every figure, and what a page gets."""

import json
import re
import subprocess
import sys

import altair as alt
import pandas as pd
import pytest

from recall import figures

TABLE = pd.DataFrame(
    [
        dict(dimension=n, labels=L, systems=N, seed=0, examples=e, error1=0.5, error2=e / 10)
        for n, L, N in ((2, 2, 2), (2, 4, 2), (2, 4, 3), (5, 4, 2))
        for e in (1, 2)
    ]
)
START = dict(dimension=2, labels=4, systems=3)


def datasets(chart):
    return list(chart.to_dict()["datasets"].values())


def test_pickers_hold_what_the_table_holds_and_what_is_asked_for():
    dimension, labels, systems = figures.pickers(TABLE, START | dict(dimension=3))
    assert [each.name for each in (dimension, labels, systems)] == ["pick_dimension", "pick_labels", "pick_systems"]
    assert dimension.param.to_dict()["bind"]["options"] == [2, 3, 5] and dimension.param.value == 3
    assert labels.param.to_dict()["bind"] == dict(input="select", name="label count ", options=[2, 4])
    with pytest.raises(ValueError, match="ability must be one of a, b, not 'c'"):
        figures.choice("ability", "show ", ["a", "b"], "c")


def test_a_choice_without_runs_is_answered():
    (gaps,) = datasets(figures.missing_note(TABLE, START))
    said = {(row["dimension"], row["labels"], row["systems"]): row["words"] for row in gaps}
    assert said[2, 2, 3].startswith("a prompt cannot hold more systems") and said[5, 2, 2].startswith(
        "no committed run"
    )
    assert len(said) == 8 - 4 and not {(2, 4, 3), (5, 4, 2)} & said.keys()
    (told,) = datasets(figures.missing_note(TABLE, dict(dimension=5, labels=2), "none at 2"))
    assert told == [dict(dimension=5, labels=2, words="none at 2")]
    assert datasets(figures.missing_note(TABLE, dict(labels=4))) == [[]]


def test_rows_travel_as_csv_with_their_types():
    chart = figures.folded(TABLE, dict(labels=4), "error", figures.ABILITIES[:2]).mark_line().to_dict()
    assert chart["data"]["format"]["parse"] == dict.fromkeys(
        ["labels", "seed", "examples", "error1", "error2"], "number"
    )
    (text,) = chart["datasets"].values()
    assert text.splitlines()[:2] == ["labels,seed,examples,error1,error2", "2,0,1,0.5,0.1"]
    assert chart["transform"][0] == {"filter": "datum.labels == pick_labels"}
    assert chart["transform"][1]["fold"] == ["error1", "error2"]


def test_reference_lines_are_named_above_or_below():
    levels = pd.DataFrame(dict(level=[0.5], words=["blind"]))
    above, below = (
        figures.reference_lines(levels, ["datum.level > 0"], below).to_dict()["layer"] for below in (False, True)
    )
    assert [each["transform"] for each in above] == [[{"filter": "datum.level > 0"}]] * 2
    assert (above[1]["mark"]["baseline"], below[1]["mark"]["baseline"]) == ("bottom", "top")


def test_a_figure_is_markup_that_its_words_cannot_break():
    chart = figures.themed(alt.Chart(pd.DataFrame(dict(a=["</script>"]))).mark_point().encode(x="a:N"), 100)
    page = figures.Figure(chart, "see <em>this</em>", 'a "quoted" text').html()
    assert page.count("</script>") == 1 and "<em>this</em>" in page and 'aria-label="a &quot;quoted&quot; text"' in page
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert spec["description"] == 'a "quoted" text' and (spec["width"], spec["height"]) == ("container", 100)
    assert spec["background"] == "transparent" and spec["config"]["axis"]["labelColor"] == "currentColor"
    with pytest.raises(ValueError):
        figures.embed_json(float("nan"))


def test_tables_scroll_and_tables_of_words_are_read_row_by_row():
    frame = pd.DataFrame({"n": [2], "share": [0.25], "no": [float("nan")]})
    numbers = figures.table_html(frame, "caption", {"share": "{:.0%}".format})
    assert "<td>25%</td>" in numbers and "<td>–</td>" in numbers and "<figcaption>caption</figcaption>" in numbers
    words = figures.table_html(pd.DataFrame({"a": ["x"], 'b "c"': ["y"]}), "caption", words=True)
    assert '<td data-label="a">x</td>' in words and '<td data-label="b &quot;c&quot;">y</td>' in words
    wide = pd.DataFrame([range(figures.ROWS + 1)])
    assert "data-label" not in figures.table_html(wide, "caption", words=True)


@pytest.mark.standard
def test_charts_need_no_torch():
    """Every chart module, and the house style, where torch cannot be imported."""
    code = """
import importlib, pkgutil, sys
sys.modules["torch"] = None
import recall
names = [each.name for each in pkgutil.walk_packages(recall.__path__, "recall.", onerror=lambda name: None)]
names = ["recall.figures", *(name for name in names if name.endswith(".charts"))]
for name in names:
    importlib.import_module(name)
print(*names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    kinds = ("abilities", "when", "which_way", "weights")
    assert set(done.stdout.split()) >= {"recall.language.charts", *(f"recall.studies.{each}.charts" for each in kinds)}
