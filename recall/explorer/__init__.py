"""The explorer: one JavaScript module that draws traces in the reader's page, and in JupyterLab as a widget."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from recall.book.figure import WIDGET, embed_json

HERE = Path(__file__).parent


class TraceExplorer(anywidget.AnyWidget):
    """Draws an interleaved trace and its tokens; the reader changes dimension, label count and segment lengths.

    dimension: 2..8.  labels: 1..8, every one of them in use.  min_payload, max_payload: observations per segment, 1..15.
    seed: of the page's own generator.  trace: what is on screen, {rows, segments: [{system, label, start, length}],
    observations: [system][time][n], tokens: [row][column]}; written by the page, read from Python.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    dimension = traitlets.Int(2, min=2, max=8).tag(sync=True)
    labels = traitlets.Int(3, min=1, max=8).tag(sync=True)
    min_payload = traitlets.Int(3, min=1, max=15).tag(sync=True)
    max_payload = traitlets.Int(7, min=1, max=15).tag(sync=True)
    seed = traitlets.Int(1, min=0).tag(sync=True)
    trace = traitlets.Dict().tag(sync=True)

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except traitlets.TraitError as error:
            raise ValueError(str(error)) from error
        if self.min_payload > self.max_payload:
            raise ValueError(f"min_payload must be 1 to max_payload ({self.max_payload}), not {self.min_payload}")

    def _repr_mimebundle_(self, **kwargs):
        state = {name: getattr(self, name) for name in ("dimension", "labels", "min_payload", "max_payload", "seed")}
        page = f'<div class="recall-explorer"><script type="application/json">{embed_json(state)}</script></div>'
        return {"text/html": page, WIDGET: super()._repr_mimebundle_(**kwargs)[0][WIDGET]}
