"""House style of charts and tables, and how they leave a notebook: for the page as markup that page.js draws, for
JupyterLab as a widget.

Colours are readable on white and on black, text and axes take the page's own colour (`currentColor`, so charts are
drawn as SVG), and a meaning never rests on colour alone: dashes or shapes repeat it.  Parameters named `pick_...`
are linked across all figures of a page."""

from __future__ import annotations

import html
import io
import itertools
import json
import re

import altair as alt
import ipywidgets
import pandas as pd

LOOK_UP, CONTINUE, THIRD, PURPLE, GREY = "#d1660f", "#2f7fc1", "#2a9d6f", "#b05fb5", "#8a8a8a"
ABILITIES = ["1-after-query", "2-after-query", "3-after-query"]
ABILITY_COLOUR = alt.Scale(domain=ABILITIES, range=[LOOK_UP, CONTINUE, THIRD])
ABILITY_DASH = alt.Scale(domain=ABILITIES, range=[[1, 0], [6, 3], [2, 2]])
ABILITY_SHAPE = alt.Scale(domain=ABILITIES, range=["circle", "square", "triangle-up"])


def themed(chart: alt.TopLevelMixin, height: int = 300) -> alt.TopLevelMixin:
    """Fills its column, in the colours of the page."""
    line = dict(
        labelColor="currentColor",
        titleColor="currentColor",
        titleFontWeight="normal",
        labelFontSize=12,
        titleFontSize=12.5,
    )
    return (
        chart.properties(
            width="container",
            height=height,
            background="transparent",
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        )
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            gridColor="currentColor", gridOpacity=0.12, domainColor="currentColor", tickColor="currentColor", **line
        )
        .configure_legend(
            orient="top", title=None, symbolStrokeWidth=2.5, symbolSize=140, labelLimit=260, columnPadding=18, **line
        )
        .configure_text(color="currentColor")
    )


def choice(name: str, words: str, options: list, value) -> alt.Parameter:
    """A drop-down list; charts of one page that use the same name move together.  ValueError if it lacks `value`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, not {value!r}")
    return alt.param(name=f"pick_{name}", value=value, bind=alt.binding_select(options=options, name=words))


def reference_lines(levels: pd.DataFrame, where=None, below: bool = False) -> alt.LayerChart:
    """Dashed horizontal lines, each named at its right end, above it or below; levels: columns level, words (and what
    `where` filters)."""
    base = alt.Chart(levels)
    for condition in where or []:
        base = base.transform_filter(condition)
    rule = base.mark_rule(strokeDash=[4, 4], color=GREY).encode(y="level:Q")
    words = base.mark_text(
        align="right", baseline="top" if below else "bottom", dx=-4, dy=4 if below else -2, fontSize=11.5
    ).encode(x=alt.value("width"), y="level:Q", text="words:N")
    return rule + words


def pickers(table: pd.DataFrame, start: dict) -> list[alt.Parameter]:
    words = {
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
    order = lambda name: (
        table[name].drop_duplicates().tolist() if name == "intervention" else options_of(table, name, start)
    )
    return [choice(name, words[name], order(name), start[name]) for name in words if name in start]


def options_of(table: pd.DataFrame, name: str, start: dict) -> list:
    """What the table holds, and what was asked for first even if the table lacks it: `_missing` then says so."""
    return sorted({*table[name].tolist(), start[name]})


def chosen(start: dict) -> list[str]:
    return [f"datum.{name} == pick_{name}" for name in start]


def missing_note(table: pd.DataFrame, start: dict, words="no committed run for this choice") -> alt.Chart:
    """Says so where no committed run answers the choice.  words: a text, or a function of the choice that makes one."""
    everything = pd.MultiIndex.from_product([options_of(table, name, start) for name in start], names=list(start))
    there = pd.MultiIndex.from_frame(table[list(start)].drop_duplicates())
    gaps = everything.difference(there).to_frame(index=False)
    if gaps.empty:
        gaps = pd.DataFrame(columns=list(start))
    if {"systems", "labels"} <= set(start):
        too_many = gaps.systems > gaps.labels
        gaps["words"] = too_many.map({True: "a prompt cannot hold more systems than there are labels", False: words})
    else:
        gaps["words"] = [words if isinstance(words, str) else words(row) for row in gaps.itertuples()]
    base = alt.Chart(gaps)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    return base.mark_text(fontSize=14).encode(
        x=alt.XValue(alt.ExprRef("width / 2")), y=alt.YValue(alt.ExprRef("height / 2")), text="words:N"
    )


def compact(table: pd.DataFrame) -> alt.Chart:
    """A chart of the table as CSV, a third of what the same rows take as JSON."""
    numbers = {column: "number" for column in table.select_dtypes("number")}
    return alt.Chart(
        alt.InlineData(values=table.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=numbers))
    )


def folded(table: pd.DataFrame, start: dict, prefix: str, abilities: list[str]) -> alt.Chart:
    """Rows of the chosen runs, one per ability; columns {prefix}1, {prefix}2, … become `value` and `ability`."""
    columns = [f"{prefix}{name[0]}" for name in abilities]
    base = compact(table[[*start, "seed", "examples", *columns]])  # a page carries what it draws
    for condition in chosen(start):
        base = base.transform_filter(condition)
    return (
        base.transform_fold(columns, as_=["key", "value"])
        .transform_calculate(ability=f"substring(datum.key, {len(prefix)}) + '-after-query'")
        .transform_filter("isValid(datum.value)")
    )


def picture(chart: alt.TopLevelMixin, width: int = 720) -> bytes:
    """A chart as SVG, without a network."""
    buffer = io.StringIO()
    chart.properties(width=width, background="white").save(buffer, format="svg")
    return buffer.getvalue().encode()


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
        live = alt.JupyterChart(
            self.chart.properties(width=LIVE_WIDTH), embed_options={"renderer": "svg", "actions": False}
        )
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
    """JSON that cannot close the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def table_html(frame, caption: str, formats: dict | None = None, words: bool = False) -> str:
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
