"""Figures of chapter 5: tidy table in, Altair chart out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from recall.figures import (
    CONTINUE,
    GREY,
    LOOK_UP,
    PURPLE,
    THIRD,
    choice,
    chosen,
    compact,
    filtered,
    missing_note,
    pickers,
    reference_lines,
    themed,
)
from recall.studies.marks import COLOUR, DASH, ERROR, FILL, PAIR, SHAPE, hollow, logarithmic, number

SCORE, MEAN, MEDIAN = MEASURES = ["identification score", "mean squared error", "median squared error"]
LOGARITHMIC, LINEAR = AXES = ["logarithmic", "linear"]

# --- two dates, at a threshold that the reader moves ------------------------------------------------------------------

BY_SCORE = f"pick_measure == '{SCORE}'"
BY_DECADES = f"pick_axis == '{LOGARITHMIC}'"
NEVER = 1e15  # examples: a date that has not come counts as later than all


def atlas(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """When each ability appears, for a threshold that the reader moves: curves, a line per seed, and their dates.

    table: `timing.evaluations`.  start: dimension, labels, systems and setting shown first.  A date is computed in
    the page by the rule of `evaluation.emergence`: from when the curve stays on the good side of the threshold to
    its end."""
    threshold = alt.binding_range(min=0.1, max=0.9, step=0.05, name="threshold ")
    controls = [
        *pickers(table, start),
        choice("measure", "measure ", MEASURES, SCORE),
        choice("ability", "show ", ["both", *PAIR], "both"),
        choice("axis", "axis of examples ", AXES, LOGARITHMIC),
        alt.param(name="pick_threshold", value=0.5, bind=threshold),
    ]
    measured = lambda k: (
        f"{BY_SCORE} ? 1 - datum.mean{k} * datum.systems / (datum.systems - 1) : "
        f"pick_measure == '{MEAN}' ? datum.mean{k} : datum.median{k}"
    )
    base = (
        filtered(compact(table), chosen(start))
        .transform_calculate(value1=measured(1), value2=measured(2))
        .transform_fold(["value1", "value2"], as_=["key", "value"])
        .transform_calculate(ability="substring(datum.key, 5) + '-after-query'")
    )
    shown = base.transform_filter("pick_ability == 'both' || pick_ability == datum.ability")
    label = f"format({BY_DECADES} ? pow(10, datum.value) : datum.value, '.2~s')"
    x = alt.X(
        "place:Q",
        title="training examples",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(labelExpr=label, tickCount=6),
    )
    low, high = alt.ExprRef(f"{BY_SCORE} ? -1.1 : 0"), alt.ExprRef(f"{BY_SCORE} ? 1.05 : 1.3")
    scale = alt.Scale(domainMin=low, domainMax=high, clamp=True, nice=False)
    y = alt.Y("value:Q", title="chosen measure", scale=scale)
    lines = (
        shown.transform_filter("datum.examples > 0")
        .transform_calculate(place=_on_axis("datum.examples"))
        .mark_line(strokeWidth=1.6, opacity=0.75, clip=True)
        .encode(
            x=x,
            y=y,
            color=COLOUR,
            strokeDash=DASH,
            detail="seed:N",
            tooltip=["ability:N", "seed:N", number("examples:Q", ",.0f"), number("value:Q", ".3f")],
        )
    )
    state = "datum.reached ? 'there' : 'not there when the run ended'"
    points = (
        _dated(shown)
        .transform_calculate(place=_on_axis("datum.date"), value="pick_threshold", state=state)
        .mark_point(size=85, strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=COLOUR,
            shape=SHAPE,
            fill=FILL,
            fillOpacity=hollow("datum.reached"),
            tooltip=["ability:N", "seed:N", number("date:Q", ",.0f", "examples"), "state:N"],
        )
    )
    rule = alt.Chart(pd.DataFrame([{}])).transform_calculate(value="pick_threshold")
    rule = rule.mark_rule(strokeDash=[4, 4], color=GREY).encode(y=y)
    layers = alt.layer(rule, lines, points, _told(base), missing_note(table, start))
    return themed(layers.add_params(*controls), 320)


def _on_axis(examples: str) -> str:
    return f"{BY_DECADES} ? log({examples}) / LN10 : {examples}"


def _dated(rows: alt.Chart) -> alt.Chart:
    """Of each seed and ability the evaluation after which the curve stays good, with `date` and whether it is
    `reached`: interpolated in the value and the logarithm of examples, or the end of the run.
    """
    return (
        rows.transform_calculate(
            bad=f"({BY_SCORE} ? datum.value >= pick_threshold : datum.value < pick_threshold) ? -1 : datum.examples"
        )
        .transform_joinaggregate(last_bad="max(bad)", end="max(examples)", groupby=["seed", "ability"])
        .transform_window(
            next_examples="lead(examples)",
            next_value="lead(value)",
            sort=[alt.SortField("examples")],
            groupby=["seed", "ability"],
        )
        .transform_filter("datum.examples == datum.last_bad")
        .transform_calculate(
            share="(pick_threshold - datum.value) / (datum.next_value - datum.value)",
            reached="isValid(datum.next_examples)",
        )
        .transform_calculate(
            date="!datum.reached ? datum.end : datum.examples > 0 ? datum.examples * pow(datum.next_examples / "
            "datum.examples, datum.share) : datum.next_examples * datum.share"
        )
    )


def _told(rows: alt.Chart) -> alt.Chart:
    """What the dates come to over seeds, above the chart."""
    begin, go_on = (f"datum['{ability}']" for ability in PAIR)
    thousand = lambda field: f"(datum.{field} < 1e9 ? format(datum.{field}, '.2~s') : 'never')"
    return (
        _dated(rows)
        .transform_calculate(when=f"datum.reached ? datum.date : {NEVER}")
        .transform_pivot("ability", value="when", groupby=["seed"])
        .transform_calculate(
            begin=begin,
            go_on=go_on,
            begun=f"{begin} < {NEVER} ? 1 : 0",
            gone=f"{go_on} < {NEVER} ? 1 : 0",
            ratio=f"{begin} / {go_on}",
            first=f"{go_on} < {begin} ? 1 : 0",
        )
        .transform_aggregate(
            seeds="count()",
            begin="median(begin)",
            go_on="median(go_on)",
            begun="sum(begun)",
            gone="sum(gone)",
            ratio="median(ratio)",
            first="sum(first)",
        )
        .transform_calculate(
            text=f"['Going on: ' + datum.gone + ' of ' + datum.seeds + ' seeds, median ' + {thousand('go_on')}, "
            f"'Beginning again: ' + datum.begun + ' of ' + datum.seeds + ', median ' + {thousand('begin')}, "
            "'Going on first: ' + datum.first + ' of ' + datum.seeds + (datum.begin < 1e9 && datum.go_on < 1e9 ? "
            "', median ratio ' + format(datum.ratio, '.1f') : '')]"
        )
        .mark_text(align="left", baseline="top", fontSize=13, lineHeight=17)
        .encode(x=alt.value(0), y=alt.value(-84), text="text:N")
    )


# --- dates ------------------------------------------------------------------------------------------------------------


def study_curves(table: pd.DataFrame, systems: int = 2) -> alt.TopLevelMixin:
    """The study's curves on either measure.  table: `published.curves`."""
    pick = choice("study_systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems)
    measure = choice("study_measure", "measure ", [SCORE, MEDIAN], SCORE)
    by_score = f"pick_study_measure == '{SCORE}'"
    low = alt.ExprRef(f"{by_score} ? -1.2 : 0")
    scale = alt.Scale(domainMin=low, domainMax=1.05, clamp=True, nice=False)
    lines = (
        alt.Chart(table.round(3))
        .transform_filter("datum.systems == pick_study_systems")
        .transform_calculate(
            ability="datum.k + '-after-query'",
            value=f"{by_score} ? datum.score : datum.median",
            millions="datum.examples / 1e6",
        )
        .mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=25), clip=True)
        .encode(
            x=logarithmic("millions:Q", "training examples (millions, logarithmic)"),
            y=alt.Y("value:Q", title="chosen measure", scale=scale),
            color=COLOUR,
            strokeDash=DASH,
            tooltip=["ability:N", number("millions:Q", ".1f"), number("value:Q", ".3f")],
        )
    )
    half = reference_lines(pd.DataFrame({"level": [0.5], "words": ["½"]}))
    return themed((half + lines).add_params(pick, measure), 280)


def survival(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Share of seeds that have each ability, over training (Kaplan-Meier).  table: `timing.survival`.  start:
    dimension, labels, setting.
    """
    base = filtered(alt.Chart(table), chosen(start))
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x=alt.X("examples:Q", title="training examples (thousands)"),
        y=alt.Y("share:Q", title="share of seeds that have it", scale=alt.Scale(domain=[0, 1.02])),
        color=COLOUR,
        strokeDash=DASH,
        tooltip=["ability", number("examples", ",.1f"), number("share", ".2f"), "seeds"],
    )
    return themed(alt.layer(lines, missing_note(table, start)).add_params(*pickers(table, start)), 240)


# --- dates by what was asked, or changed ------------------------------------------------------------------------------


def knocked_out(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Dates of both abilities by what was asked in training.  table: `knockouts.shown`."""
    order = table.asked.drop_duplicates().tolist()
    y = alt.Y("asked:N", sort=order, title=None, axis=alt.Axis(labelLimit=170, labelExpr="split(datum.label, ', ')"))
    return themed(_both_dates(alt.Chart(table), y), 44 * len(order) + 60)


def factors(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Dates of both abilities by what is changed.  table: `factors.dated`.  kind: shown first."""
    base, y, pick = _of_kind(table, table, kind)
    more = [alt.Tooltip("index", title="label index of 2-after"), "rule"]
    return themed(_both_dates(base, y, more).add_params(pick), 300)


def factor_index(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Whom 2-after-query follows by what is changed, beside `factors` (one list moves both): a mark per run, hollow
    where 1-after-query had not come. table: `factors.dated`; a run without a label index has no mark.
    """
    drawn = table[table.ability == PAIR[0]][["kind", "setting", "seed", "index", "state"]]
    base, y, pick = _of_kind(table, drawn, kind)
    scale = alt.Scale(domain=[-0.1, 1.1], clamp=True, nice=False)
    marks = base.mark_point(size=75, strokeWidth=2, opacity=0.9, color=PURPLE, fill=PURPLE, shape="diamond").encode(
        x=alt.X("index:Q", title="label index (0: states, 1: label)", scale=scale),
        y=y,
        fillOpacity=hollow("datum.state == 'there'"),
        tooltip=["setting", "seed", number("index", ".2f"), alt.Tooltip("state", title="1-after-query")],
    )
    return themed(marks.add_params(pick), 200)


def _of_kind(table: pd.DataFrame, drawn: pd.DataFrame, kind: str) -> tuple[alt.Chart, alt.Y, alt.Parameter]:
    """The rows `drawn` of one kind of factor, a row of the chart per setting, and the list of kinds of `table`."""
    pick = choice("kind", "what is changed ", table.kind.drop_duplicates().tolist(), kind)
    # a fixed margin: another choice may have longer names
    axis = alt.Axis(labelLimit=130, minExtent=112, maxExtent=112, labelExpr="split(datum.label, '+')")
    y = alt.Y("setting:N", sort=table.setting.drop_duplicates().tolist(), title=None, axis=axis)
    return alt.Chart(drawn).transform_filter("datum.kind == pick_kind"), y, pick


def _both_dates(base: alt.Chart, y: alt.Y, more: list = ()) -> alt.Chart:
    """A mark per run and ability at its date, hollow where it had not come by the end of the run.  Fields ability,
    examples (thousands), state, seed.  more: in the tooltip.
    """
    return base.mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=logarithmic("examples:Q", "thousand examples (log axis)", padding=12),
        y=y,
        yOffset=alt.YOffset("ability:N", sort=PAIR),
        color=COLOUR,
        shape=SHAPE,
        fill=FILL,
        fillOpacity=hollow("datum.state == 'there'"),
        tooltip=["ability", "seed", number("examples", ",.0f", "thousand examples"), "state", *more],
    )


def ratio_map(table: pd.DataFrame) -> alt.TopLevelMixin:
    """How many times as many examples 1-after-query takes as 2-after-query, by what is changed and by threshold.
    table: `factors.ratio_map`.

    Depth of colour: octaves; blue where going on came first, orange where beginning again did.  A bound is written
    so, a question mark where bounds lie on both sides; a dash where no run has either."""
    signs = {"exact": "", "at least": "≥", "at most": "≤"}

    def words(row) -> str:
        if not row.runs:
            return "–"
        return "?" if row.bound == "mixed" else f"{signs[row.bound]}{2.0**row.mean:.1f}"

    order, came = table.setting.drop_duplicates().tolist(), ["going on first", "beginning again first"]
    cells = table.assign(
        ratio=2.0 ** table["mean"],
        words=[words(row) for row in table.itertuples()],
        depth=(table["mean"].abs() / 3).clip(upper=1).fillna(0).where(table.bound != "mixed", 0),
        came=(table["mean"] >= 0).map(dict(zip((True, False), came))),
    )
    cells = cells[["setting", "threshold", "runs", "first", "ratio", "words", "depth", "came"]]
    names = alt.Axis(labelLimit=110, labelFontSize=11, labelLineHeight=11, labelExpr="split(datum.label, '+')")
    base = alt.Chart(cells.round({"ratio": 2, "depth": 2})).encode(
        x=alt.X("threshold:O", title="threshold on the score", axis=alt.Axis(labelAngle=0, format=".1f")),
        y=alt.Y("setting:N", sort=order, title=None, axis=names),
    )
    boxes = base.mark_rect(stroke="currentColor", strokeOpacity=0.15).encode(
        color=alt.Color("came:N", scale=alt.Scale(domain=came, range=[CONTINUE, LOOK_UP])),
        opacity=alt.Opacity("depth:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.75]), legend=None),
        tooltip=[
            "setting",
            "threshold",
            alt.Tooltip("words", title="1-after over 2-after"),
            alt.Tooltip("first", title="going on first in"),
            alt.Tooltip("runs", title="of runs with either"),
        ],
    )
    texts = base.mark_text(fontSize=alt.ExprRef("width < 300 ? 8.5 : 10.5")).encode(text="words:N")
    return themed(boxes + texts, 26 * len(order) + 20)


# --- more systems -----------------------------------------------------------------------------------------------------


def errors_by_systems(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Final error of 1- and 2-after-query against the number of systems in the prompt, a mark per seed, a bar at
    their mean.

    table: dimension, labels, setting, seed, systems, k, error.  start: without `systems`.
    """
    base = filtered(alt.Chart(table), chosen(start)).transform_calculate(ability="datum.k + '-after-query'")
    encoding = dict(
        x=alt.X("systems:O", title="systems in the prompt N", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("ability:N", sort=PAIR),
        color=COLOUR,
    )
    points = base.mark_point(size=70, strokeWidth=2, opacity=0.85).encode(
        y=alt.Y("error:Q", title=ERROR),
        shape=SHAPE,
        tooltip=["ability:N", "seed", "systems", number("error", ".3f")],
        **encoding,
    )
    means = base.mark_tick(thickness=3, size=28).encode(y="mean(error):Q", **encoding)
    return themed(alt.layer(means, points, missing_note(table, start)).add_params(*pickers(table, start)), 260)


# columns of the models that were asked why, and what stands before their lists
OF_MODELS = {"models": "models ", "norms": "norms of the states ", "needle": "needle ", "by": "states alike in "}


def _lists(table: pd.DataFrame, start: dict) -> list[alt.Parameter]:
    there = {name: table[name].drop_duplicates().tolist() for name in OF_MODELS if name in start}
    return [choice(name, OF_MODELS[name], options, start[name]) for name, options in there.items()]


# Models trained on equal norms are asked on nothing else, and norms that are equal sort nothing.
EQUAL_ONLY = "trained and asked on equal norms only"
ALL_ALIKE = "equal norms only, and those are all alike"


def degradation(errors: pd.DataFrame, accounts: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors of 1- and 2-after-query against N, a mark per model, and what accounts of 2-after-query expect as lines
    (mean over models).

    errors: models, norms, needle, seed, systems, k, mean.  accounts: models, norms, systems, account, expected (one
    row each). start: models, norms and needle shown first; accounts are of the farthest needle, and are drawn with
    it only."""
    order = accounts.account.drop_duplicates().tolist()
    keys = [*PAIR, *order]
    scale = lambda values: alt.Scale(domain=keys, range=values[: len(keys)])
    columns = alt.Legend(columns=2)
    # one legend: marks for models, lines for accounts
    looks = dict(sort=keys, legend=columns)
    key = alt.Color("what:N", scale=scale([LOOK_UP, CONTINUE, GREY, THIRD, PURPLE, "#b8902a"]), **looks)
    dash = scale([[1, 0], [1, 0], [1, 0], [2, 2], [6, 3], [8, 3, 2, 3]])
    shape = scale(["circle", "square", *["stroke"] * len(order)])
    x = alt.X(
        "systems:Q",
        title="systems in the prompt N",
        axis=alt.Axis(values=sorted(errors.systems.unique().tolist()), format="d"),
        scale=alt.Scale(zero=False, padding=16, nice=False),
    )
    y = lambda field: alt.Y(f"{field}:Q", title=ERROR, scale=alt.Scale(zero=True))
    points = (
        filtered(compact(errors.round({"mean": 4})), chosen(start))
        .transform_calculate(what="datum.k + '-after-query'")
        .mark_point(size=70, strokeWidth=2, opacity=0.85)
        .encode(
            x=x,
            y=y("mean"),
            color=key,
            shape=alt.Shape("what:N", scale=shape, **looks),
            tooltip=["what:N", "seed:N", "systems:Q", number("mean:Q", ".3f", "error")],
        )
    )
    farthest = alt.Chart(accounts.assign(needle="farthest").round({"expected": 4}))
    lines = (
        filtered(farthest, chosen(start))
        .transform_calculate(what="datum.account")
        .mark_line(strokeWidth=2.2)
        .encode(
            x=x,
            y=y("expected"),
            color=key,
            strokeDash=alt.StrokeDash("what:N", scale=dash, **looks),
            tooltip=["what:N", "systems:Q", number("expected:Q", ".3f")],
        )
    )
    layers = alt.layer(lines, points, missing_note(errors, start, EQUAL_ONLY))
    return themed(layers.add_params(*_lists(errors, start)), 320)


def likeness(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """3 x 3 table of 2-after-query on prompts of 2 systems: how alike are the next states, how alike the maps?

    table: models, norms, by (likeness of the states in norm or direction), states, maps (low, middle, high), error,
    other. start: models, norms and by shown first."""
    thirds, measures = ["low", "middle", "high"], {"error": ERROR, "other": "share of the other system"}
    measure = choice("likeness", "measure ", list(measures.values()), ERROR)
    base = filtered(alt.Chart(table.rename(columns=measures).round(3)), chosen(start))
    base = base.transform_calculate(value="datum[pick_likeness]").encode(
        x=alt.X("maps:O", sort=thirds, title="likeness of the maps, thirds", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("states:O", sort=thirds[::-1], title="likeness of the next states, thirds"),
    )
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("value:Q", scale=alt.Scale(range=["#f3f3f3", LOOK_UP], domainMin=0), legend=None),
        tooltip=["states", "maps", number("value:Q", ".3f")],
    )
    words = base.mark_text(fill="black", fontSize=13).encode(text=alt.Text("value:Q", format=".2f"))
    layers = alt.layer(cells, words, missing_note(table, start, ALL_ALIKE))
    return themed(layers.add_params(*_lists(table, start), measure), 240)


# --- a frozen library -------------------------------------------------------------------------------------------------


def by_heart(table: pd.DataFrame, event: str = "query", library: int = 100, systems: int = 2) -> alt.TopLevelMixin:
    """What models trained on a frozen library know by heart: error by k, a mark per seed, a line through their mean.

    table: `by_heart.library`.  event, library, systems: shown first.
    """
    shown = table.shown.unique().tolist()
    places = {"initial": "the first label", "query": "the query's label"}
    pick = [
        choice("event", "after ", list(places.values()), places[event]),
        choice("library", "systems in the library ", sorted(table.library.unique().tolist()), library),
        choice("systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems),
    ]
    table = table.assign(after=table.event.map(places))
    table = table[["after", "systems", "library", "shown", "seed", "k", "mean"]].round(3)
    looks = lambda values: dict(sort=shown, scale=alt.Scale(domain=shown, range=values))
    colour = alt.Color("shown:N", **looks([LOOK_UP, PURPLE, CONTINUE]), legend=alt.Legend(columns=2))
    dash = alt.StrokeDash("shown:N", **looks([[1, 0], [2, 2], [6, 3]]), legend=None)
    shape = alt.Shape("shown:N", **looks(["circle", "triangle-up", "square"]), legend=None)
    base = (
        alt.Chart(table)
        .transform_filter("datum.after == pick_event")
        .transform_filter("datum.systems == pick_systems && datum.library == pick_library")
        .encode(x=alt.X("k:O", title="k, observations after it", axis=alt.Axis(labelAngle=0)), color=colour)
    )
    line = base.mark_line(strokeWidth=2).encode(y="mean(mean):Q", strokeDash=dash)
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.8).encode(
        y=alt.Y("mean:Q", title=ERROR), shape=shape, tooltip=["shown", "seed", number("mean", ".3f")]
    )
    return themed(alt.layer(line, points).add_params(*pick), 260)
