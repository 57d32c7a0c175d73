"""Widgets that compute in the reader's page, and in JupyterLab: the trace explorer and the playground.

JavaScript in three floors: `core.js` computes, in a page or in the worker of `worker.js`; `dom.js`, `picture.js`,
`settings.js` and `controls.js` put it on the screen; `trace.js`, `playground.js` and `guess.js` are the widgets.  A
widget's module is its files one after the other, because a page opened from a folder (file://) may not import."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anywidget
import pandas as pd
import traitlets

from recall import runs
from recall.config import check
from recall.explorer import page
from recall.figures import WIDGET, embed_json, table_html

HERE = Path(__file__).parent
FILES = {
    "trace": ("core.js", "dom.js", "trace.js"),
    "playground": ("core.js", "dom.js", "worker.js", "picture.js", "settings.js", "controls.js", "playground.js"),
    "guess": ("core.js", "dom.js", "worker.js", "guess.js"),
}
STYLES = ("trace.css", "playground.css")

# What stands in a widget's place until it is mounted, in print and without JavaScript.
GAME_INSTEAD = (
    "<p>Here a reader with JavaScript guesses the next state of a system in the plane before the transformer does.</p>"
)
PLAYGROUND_INSTEAD = (
    "<strong>A playground stands here where JavaScript runs.</strong> Its first view: squared error, mean over its "
    "prompts with a 95 % interval."
)


def module(name: str) -> str:
    """The ES module of a widget, one of FILES."""
    return "\n".join((HERE / file).read_text(encoding="utf-8") for file in FILES[name])


def styles() -> str:
    """The style sheet of all widgets."""
    return "\n".join((HERE / file).read_text(encoding="utf-8") for file in STYLES)


class _Drawn(anywidget.AnyWidget):
    """A widget that the book's pages draw as JupyterLab does.  ValueError for a bad value of a trait."""

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except traitlets.TraitError as error:
            raise ValueError(str(error)) from error

    def _both(self, kind: str, names: Iterable[str], meanwhile: str = "", **more) -> dict:
        """What a notebook stores: markup of the traits of these names and `more`, that page.js mounts, and the widget.

        meanwhile stands there until then, and for readers without JavaScript."""
        state = embed_json({name: getattr(self, name) for name in names} | more)
        script = f'<script type="application/json">{state}</script>'
        markup = f'<div class="recall-explorer" data-widget="{kind}">{meanwhile}{script}</div>'
        return {"text/html": markup, WIDGET: super()._repr_mimebundle_()[0][WIDGET]}


class TraceExplorer(_Drawn):
    """Draws an interleaved trace and its tokens; the reader changes dimension, label count and segment lengths.

    dimension: 2..8.  labels: 1..8, every one of them in use.  min_payload, max_payload: observations per segment,
    1..15.  seed: of the page's own generator.  trace: what is on screen, {rows, segments: [{system, label, start,
    length}], observations: [system][time][n], tokens: [row][column]}; written by the page, read from Python."""

    _esm, _css = module("trace"), styles()
    dimension = traitlets.Int(2, min=2, max=8).tag(sync=True)
    labels = traitlets.Int(3, min=1, max=8).tag(sync=True)
    min_payload = traitlets.Int(3, min=1, max=15).tag(sync=True)
    max_payload = traitlets.Int(7, min=1, max=15).tag(sync=True)
    seed = traitlets.Int(1, min=0).tag(sync=True)
    trace = traitlets.Dict().tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        allowed = f"1 to max_payload ({self.max_payload})"
        check("min_payload", self.min_payload <= self.max_payload, allowed, self.min_payload)

    def _repr_mimebundle_(self, **kwargs):
        return self._both("trace", ("dimension", "labels", "min_payload", "max_payload", "seed"))


class _Answering(_Drawn):
    """A widget whose page asks for checkpoints: `asked` names one (and counts, after a #), `weights` then holds its
    bytes and `answered` its name.
    """

    catalogue = traitlets.List().tag(sync=True)
    asked = traitlets.Unicode("").tag(sync=True)
    answered = traitlets.Unicode("").tag(sync=True)
    weights = traitlets.Bytes(b"").tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)  # why `asked` has no answer
    seed = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(self, models: list[runs.Run], **values):
        self._runs = {run.name: run for run in models}
        super().__init__(catalogue=[page.entry(run) for run in models], **values)

    @traitlets.observe("asked")
    def _hand_over(self, change):
        name, _, step = change["new"].partition("#")[0].rpartition("-")
        try:
            check("asked", name in self._runs, f"a step of {', '.join(self._runs)}", change["new"])
            self._send_weights(name, int(step))
        except (ValueError, OSError) as error:
            self.trouble = str(error)

    def _send_weights(self, name: str, step: int) -> None:
        with self.hold_sync():
            self.answered, self.weights = f"{name}-{step}", page.packed(self._runs[name], step)


class YouFirst(_Answering):
    """The reader guesses the next state of a system in the plane, before the transformer's answer is shown.

    labelled: the query shows the system's label.  seed: of the systems.
    """

    _esm, _css = module("guess"), styles()
    labelled = traitlets.Bool(True).tag(sync=True)

    def __init__(self, **values):
        super().__init__([run for run in page.listed() if run.config["task"]["dimension"] == 2][:1], **values)

    def _repr_mimebundle_(self, **kwargs):
        return self._both("guess", ("catalogue", "labelled", "seed"), GAME_INSTEAD)


SETTINGS = ("run", "step", "systems", "needle", "length", "shown", "fresh", "equal_norm", "share", "cut", "seed")


class Explorer(_Answering):
    """The playground: a trained transformer answers needle prompts that the reader changes.  Set several controls
    from Python inside `with explorer.hold_sync():`, as the page brings each change into its range.

    Explorer() offers the committed models of data/playground.json, Explorer(name) begins with the one of that name;
    Explorer(run) offers a run of the reader's own: a `runs.Run`, or the folder of a run, trained or in training
    (`follow`).  dimension, labels: begin with the committed model that is nearest to these; it says what it is.
    Every control is a trait, read and set from Python:

    run: name of the model.  step: of its training, one that is there.  systems: N in the prompt.  needle: segment
    that comes back.  length: states in a segment.  shown: segment whose label the query shows, -1 for an unseen
    label.  fresh: a new system comes instead of the needle's.  equal_norm, share: the interventions equal-norm and
    synchronised.  cut: parts whose output is set to 0, "1.2" (layer 1, head 2) or "0.mlp".  seed: of the page's own
    generator; 0 is the prompt that came along.

    parts: groups of controls that are there (label, model, step, prompt, states, cut; none named: all).
    linked: the page's address can hold a view.  more: address of the page with all controls.
    """

    _esm, _css = module("playground"), styles()
    run = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    systems = traitlets.Int(2, min=1).tag(sync=True)
    needle = traitlets.Int(0, min=0).tag(sync=True)
    length = traitlets.Int(10, min=1).tag(sync=True)
    shown = traitlets.Int(0, min=-1).tag(sync=True)
    fresh = traitlets.Bool(False).tag(sync=True)
    equal_norm = traitlets.Bool(False).tag(sync=True)
    share = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    cut = traitlets.List(traitlets.Unicode()).tag(sync=True)
    parts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    linked = traitlets.Bool(False).tag(sync=True)
    more = traitlets.Unicode("").tag(sync=True)
    first = traitlets.Dict().tag(sync=True)  # in the book only: in JupyterLab the page computes it

    def __init__(
        self,
        run: runs.Run | Path | str | None = None,
        *,
        dimension: int | None = None,
        labels: int | None = None,
        **settings,
    ):
        own = isinstance(run, runs.Run) or (run is not None and Path(run).is_dir())
        models = [] if own else page.listed()
        if run is None:
            chosen = page.nearest(models, dimension, labels)
        elif run in (names := [each.name for each in models]):
            chosen = models[names.index(run)]
        else:
            chosen = run if isinstance(run, runs.Run) else _opened(Path(run))
            models = [chosen]
        task, steps = chosen.config["task"], chosen.steps
        check("run", bool(steps), "one with a checkpoint", chosen.name)
        settings = dict(step=steps[-1], systems=min(2, task["labels"])) | settings
        check("step", settings["step"] in steps, f"one of {', '.join(map(str, steps))}", settings["step"])
        super().__init__(models, run=chosen.name, **settings)
        check("family", task["family"] == "haar", "haar, the only one that the page draws", task["family"])
        last = self.systems - 1
        check("systems", self.systems <= task["labels"], f"1 to labels ({task['labels']})", self.systems)
        check("needle", self.needle <= last, f"0 to systems - 1 ({last})", self.needle)
        check("shown", self.shown <= last, f"-1 to systems - 1 ({last})", self.shown)
        spare = self.shown >= 0 or self.systems < task["labels"]
        check("shown", spare, f"a segment: all {task['labels']} labels are in the prompt", self.shown)

    def follow(self, folder: Path):
        """A `report` for `training.train(..., folder, report=explorer.follow(folder))`: the widget shows every new
        checkpoint.
        """
        folder = Path(folder)
        seen = set(_opened(folder).steps) if (folder / "config.json").exists() else set()

        def report(progress: dict) -> None:
            step = progress["step"]
            if step in seen or not runs.checkpoint_path(folder, step).exists():
                return
            seen.add(step)
            run = _opened(folder)
            self._runs = {run.name: run}
            with self.hold_sync():  # the weights unasked: while the kernel trains it hears nobody
                self._send_weights(run.name, step)
                self.catalogue, self.run, self.step = [page.entry(run)], run.name, step

        return report

    def _repr_mimebundle_(self, **kwargs):
        first = page.first_view(self._runs[self.run], {name: getattr(self, name) for name in SETTINGS})
        names = (*SETTINGS, "catalogue", "parts", "linked", "more")
        return self._both("playground", names, _meanwhile(first) if first else "", first=first)


def tries(views: list[tuple[str, dict]]) -> str:
    """A list of links (text, settings) that set the playground of their page: what is not given is as in Explorer()."""
    first = next(iter(page.listed()))
    prompt = dict(systems=2, needle=0, length=10, shown=0, fresh=False, equal_norm=False, share=0)
    plain = dict(run=first.name, step=first.steps[-1]) | prompt | dict(cut=[], seed=0)
    items = "".join(f'<li><a href="#play:{_address(plain | settings)}">{text}</a></li>' for text, settings in views)
    return f'<ul class="recall-tries">{items}</ul>'


def _address(settings: dict) -> str:
    """As `toFragment` in settings.js."""

    def written(value) -> str:
        if isinstance(value, list):
            return "+".join(value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return "&amp;".join(f"{name}={written(value)}" for name, value in settings.items())


def _opened(folder: Path) -> runs.Run:
    """A finished run, or what there is of one in training."""
    return runs.open_run(folder) if (folder / "manifest.json").exists() else runs.unfinished(folder)


def _meanwhile(first: dict) -> str:
    """The first view as a table: for print, and for readers without JavaScript."""
    error = first["stats"]["error"]
    columns = {"the model": "model", "who believes the label": "byLabel", "who looks at the states": "byState"}
    written = lambda each: f"{each['mean']:.2f} ± {each['half']:.2f}"
    rows = {title: list(map(written, error[name])) for title, name in columns.items()}
    frame = pd.DataFrame({"k after the query": range(1, len(error["model"]) + 1), **rows})
    return table_html(frame, PLAYGROUND_INSTEAD)
