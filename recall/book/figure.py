"""How a chart or an explorer leaves a notebook: for the page as markup that page.js draws, for JupyterLab as a widget."""

from __future__ import annotations

import html
import itertools
import json
import re

import altair as alt
import ipywidgets
import pandas as pd

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
        live = alt.JupyterChart(self.chart.properties(width=LIVE_WIDTH), embed_options={"renderer": "svg", "actions": False})
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

    words: cells hold sentences (and may hold HTML), so they wrap; with up to ROWS columns the table is read row by row on a telephone.
    """
    rows = words and len(frame.columns) <= ROWS
    kind = "recall-table" + " recall-words" * words + " recall-rows" * rows
    with pd.option_context("display.max_colwidth", None):
        body = frame.to_html(index=False, border=0, na_rep="–", formatters=formats or {}, classes=kind, escape=False)
    if rows:
        names = itertools.cycle(html.escape(str(name), quote=True) for name in frame)
        body = re.sub("<td>", lambda _: f'<td data-label="{next(names)}">', body)
    return f'<figure class="recall-figure recall-scroll" tabindex="0"><figcaption>{caption}</figcaption>{body}</figure>'
