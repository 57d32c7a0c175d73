"""House style of charts and tables, and how they leave a notebook: for the page as markup that page.js draws, for
JupyterLab as a widget.

Colours are readable on white and on black, text and axes take the page's own colour (`currentColor`, so charts are
drawn as SVG), and a meaning never rests on colour alone: dashes or shapes repeat it.  Parameters named `pick_...`
are linked across all figures of a page.

A chart's `start` is what it shows first: column -> value, each column with a picker of its values."""

from __future__ import annotations

import html
import io
import itertools
import json
import re
from collections.abc import Iterable

import altair as alt
import ipywidgets
import pandas as pd

LOOK_UP, CONTINUE, THIRD, PURPLE, GREY = "#d1660f", "#2f7fc1", "#2a9d6f", "#b05fb5", "#8a8a8a"
ABILITIES = ["1-after-query", "2-after-query", "3-after-query"]
ABILITY_COLOUR = alt.Scale(domain=ABILITIES, range=[LOOK_UP, CONTINUE, THIRD])
ABILITY_DASH = alt.Scale(domain=ABILITIES, range=[[1, 0], [6, 3], [2, 2]])

# columns that have a picker, in its order, and what stands before it
PICKERS = {
    "intervention": "intervention ",
    "dimension": "system dimension n ",
    "labels": "label count ",
    "systems": "systems in the prompt N ",
    "needle": "needle ",
    "setting": "training setting ",
    "ways_dimension": "system dimension n ",
    "ways_setting": "training setting ",
    "lexicon": "words ",
    "under": "labels ",
}

# --- parts of charts --------------------------------------------------------------------------------------------------


def themed(chart: alt.TopLevelMixin, height: int = 300) -> alt.TopLevelMixin:
    """Fills its column, in the colours of the page; height in pixels."""
    ink = "currentColor"
    words = dict(labelColor=ink, titleColor=ink, titleFontWeight="normal", labelFontSize=12, titleFontSize=12.5)
    lines = dict(gridColor=ink, gridOpacity=0.12, domainColor=ink, tickColor=ink)
    legend = dict(orient="top", title=None, symbolStrokeWidth=2.5, symbolSize=140, labelLimit=260, columnPadding=18)
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return (
        chart.properties(width="container", height=height, background="transparent", autosize=fit)
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(**lines, **words)
        .configure_legend(**legend, **words)
        .configure_text(color=ink)
    )


def choice(name: str, words: str, options: list, value) -> alt.Parameter:
    """A drop-down list; charts of one page that use the same name move together.  ValueError if it lacks `value`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, not {value!r}")
    return alt.param(name=f"pick_{name}", value=value, bind=alt.binding_select(options=options, name=words))


def pickers(table: pd.DataFrame, start: dict) -> list[alt.Parameter]:
    """A list of the table's values for each column of `start` that PICKERS names."""

    def values(name: str) -> list:
        return table[name].drop_duplicates().tolist() if name == "intervention" else options_of(table, name, start)

    return [choice(name, words, values(name), start[name]) for name, words in PICKERS.items() if name in start]


def options_of(table: pd.DataFrame, name: str, start: dict) -> list:
    """What the table holds, and what was asked for first even if the table lacks it: `missing_note` then says so."""
    return sorted({*table[name].tolist(), start[name]})


def chosen(start: Iterable[str]) -> list[str]:
    """Conditions of rows that belong to what the reader chose."""
    return [f"datum.{name} == pick_{name}" for name in start]


def filtered(chart: alt.Chart, conditions: Iterable) -> alt.Chart:
    """The chart of rows that fulfil all of them."""
    for condition in conditions:
        chart = chart.transform_filter(condition)
    return chart


def missing_note(table: pd.DataFrame, start: dict, words: str = "no committed run for this choice") -> alt.Chart:
    """Says so where no committed run answers the choice."""
    everything = pd.MultiIndex.from_product([options_of(table, name, start) for name in start], names=list(start))
    there = pd.MultiIndex.from_frame(table[list(start)].drop_duplicates())
    gaps = everything.difference(there).to_frame(index=False)
    if gaps.empty:
        gaps = pd.DataFrame(columns=list(start))
    if {"systems", "labels"} <= set(start):
        too_many = gaps.systems > gaps.labels
        gaps["words"] = too_many.map({True: "a prompt cannot hold more systems than there are labels", False: words})
    else:
        gaps["words"] = words
    middle = dict(x=alt.XValue(alt.ExprRef("width / 2")), y=alt.YValue(alt.ExprRef("height / 2")))
    return filtered(alt.Chart(gaps), chosen(start)).mark_text(fontSize=14).encode(**middle, text="words:N")


def reference_lines(levels: pd.DataFrame, where: Iterable = (), below: bool = False) -> alt.LayerChart:
    """Dashed horizontal lines, each named at its right end, above it or below; levels: columns level, words (and what
    the conditions `where` ask for)."""
    base = filtered(alt.Chart(levels), where)
    rule = base.mark_rule(strokeDash=[4, 4], color=GREY).encode(y="level:Q")
    side = dict(baseline="top", dy=4) if below else dict(baseline="bottom", dy=-2)
    text = base.mark_text(align="right", dx=-4, fontSize=11.5, **side)
    return rule + text.encode(x=alt.value("width"), y="level:Q", text="words:N")


# --- data: a page carries what it draws -------------------------------------------------------------------------------


def compact(table: pd.DataFrame) -> alt.Chart:
    """A chart of the table as CSV, a third of what the same rows take as JSON."""
    numbers = dict.fromkeys(table.select_dtypes("number"), "number")
    form = alt.CsvDataFormat(type="csv", parse=numbers)
    return alt.Chart(alt.InlineData(values=table.to_csv(index=False), format=form))


def folded(table: pd.DataFrame, start: dict, prefix: str, abilities: list[str]) -> alt.Chart:
    """Rows of the chosen runs, one per ability; columns {prefix}1, {prefix}2, … become `value` and `ability`."""
    columns = [f"{prefix}{name[0]}" for name in abilities]
    return (
        filtered(compact(table[[*start, "seed", "examples", *columns]]), chosen(start))
        .transform_fold(columns, as_=["key", "value"])
        .transform_calculate(ability=f"substring(datum.key, {len(prefix)}) + '-after-query'")
        .transform_filter("isValid(datum.value)")
    )


def picture(chart: alt.TopLevelMixin, width: int = 720) -> bytes:
    """A chart as SVG, without a network; width in pixels."""
    buffer = io.StringIO()
    chart.properties(width=width, background="white").save(buffer, format="svg")
    return buffer.getvalue().encode()


# --- how they leave a notebook ----------------------------------------------------------------------------------------

ROWS = 6  # columns; a row of more is longer on a telephone than a table that scrolls
LIVE_WIDTH = 640  # pixels; a widget has no column to fill
WIDGET = "application/vnd.jupyter.widget-view+json"


class Figure:
    """An Altair chart with a caption (what to see) and a text alternative.

    caption may hold HTML.  In a live kernel the chart is an offline JupyterChart; in the book page.js draws it.
    """

    def __init__(self, chart: alt.TopLevelMixin, caption: str, alt_text: str):
        self.chart, self.caption, self.alt_text = chart.properties(description=alt_text), caption, alt_text

    def _repr_mimebundle_(self, **kwargs):
        alt.JupyterChart.enable_offline(True)
        sized = self.chart.properties(width=LIVE_WIDTH)
        live = alt.JupyterChart(sized, embed_options={"renderer": "svg", "actions": False})
        widget = ipywidgets.VBox([live, ipywidgets.HTML(self.caption, layout={"max_width": f"{LIVE_WIDTH + 80}px"})])
        return {"text/html": self.html(), WIDGET: widget._repr_mimebundle_()[WIDGET]}

    def html(self) -> str:
        """Markup of the figure; the specification travels as inert JSON."""
        return (
            '<figure class="recall-figure"><div class="recall-controls"></div>'
            f'<div class="recall-canvas" role="img" aria-label="{html.escape(self.alt_text, quote=True)}"></div>'
            f'<script type="application/json">{embed_json(self.chart.to_dict())}</script>'
            f"<figcaption>{self.caption}</figcaption></figure>"
        )


def embed_json(value) -> str:
    """JSON that cannot close the script element it stands in; ValueError for nan and infinities."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def table_html(frame: pd.DataFrame, caption: str, formats: dict | None = None, words: bool = False) -> str:
    """A data frame as a scrolling table with a caption; formats: column -> format string or function.

    words: cells hold sentences (and may hold HTML), so they wrap; with up to ROWS columns the table is read row by
    row on a telephone."""
    rows = words and len(frame.columns) <= ROWS
    kind = "recall-table" + " recall-words" * words + " recall-rows" * rows
    with pd.option_context("display.max_colwidth", None):
        body = frame.to_html(index=False, border=0, na_rep="–", formatters=formats or {}, classes=kind, escape=False)
    if rows:
        names = itertools.cycle(html.escape(str(name), quote=True) for name in frame)
        body = re.sub("<td>", lambda _: f'<td data-label="{next(names)}">', body)
    return f'<figure class="recall-figure recall-scroll" tabindex="0"><figcaption>{caption}</figcaption>{body}</figure>'
