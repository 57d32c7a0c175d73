"""One function per figure: tidy table in, Altair chart out.

Colours are readable on white and on black, text and axes take the page's own colour (`currentColor`, so charts are drawn
as SVG), and a meaning never rests on colour alone: dashes or shapes repeat it.  Parameters named `pick_...` are linked
across all figures of a page.
"""

from __future__ import annotations

import io

import altair as alt
import pandas as pd

LOOK_UP, CONTINUE, THIRD, PURPLE, GREY = "#d1660f", "#2f7fc1", "#2a9d6f", "#b05fb5", "#8a8a8a"
ABILITIES = ["1-after-query", "2-after-query", "3-after-query"]
ABILITY_COLOUR = alt.Scale(domain=ABILITIES, range=[LOOK_UP, CONTINUE, THIRD])
ABILITY_DASH = alt.Scale(domain=ABILITIES, range=[[1, 0], [6, 3], [2, 2]])
ABILITY_SHAPE = alt.Scale(domain=ABILITIES, range=["circle", "square", "triangle-up"])


def themed(chart: alt.TopLevelMixin, height: int = 300) -> alt.TopLevelMixin:
    """Fills its column, in the colours of the page."""
    line = dict(labelColor="currentColor", titleColor="currentColor", titleFontWeight="normal", labelFontSize=12, titleFontSize=12.5)
    return (
        chart.properties(width="container", height=height, background="transparent", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(gridColor="currentColor", gridOpacity=0.12, domainColor="currentColor", tickColor="currentColor", **line)
        .configure_legend(orient="top", title=None, symbolStrokeWidth=2.5, symbolSize=140, labelLimit=260, columnPadding=18, **line)
        .configure_text(color="currentColor")
    )


def choice(name: str, words: str, options: list, value) -> alt.Parameter:
    """A drop-down list; charts of one page that use the same name move together.  ValueError if it lacks `value`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, not {value!r}")
    return alt.param(name=f"pick_{name}", value=value, bind=alt.binding_select(options=options, name=words))


def _rules(levels: pd.DataFrame, where=None, below: bool = False) -> alt.LayerChart:
    """Dashed horizontal lines, each named at its right end, above it or below; levels: columns level, words (and what
    `where` filters)."""
    base = alt.Chart(levels)
    for condition in where or []:
        base = base.transform_filter(condition)
    rule = base.mark_rule(strokeDash=[4, 4], color=GREY).encode(y="level:Q")
    words = base.mark_text(align="right", baseline="top" if below else "bottom", dx=-4, dy=4 if below else -2, fontSize=11.5).encode(
        x=alt.value("width"), y="level:Q", text="words:N")
    return rule + words


def pseudoinverse_theory(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Error by k after the first label: theory as a line, simulation as points.  Columns n, k, theory, simulated."""
    n = choice("n", "system dimension n ", sorted(table.n.unique().tolist()), 5)
    base = alt.Chart(table).transform_filter("datum.n == pick_n").encode(x=alt.X("k:O", title="k, observations after the first open label", axis=alt.Axis(labelAngle=0)))
    y = alt.Y("theory:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1]))
    key = alt.Color("key:N", scale=alt.Scale(domain=["theory", "simulation"], range=[GREY, LOOK_UP]))
    line = base.transform_calculate(key="'theory'").mark_line(strokeWidth=2).encode(y=y, color=key)
    points = base.transform_calculate(key="'simulation'").mark_point(filled=True, size=70, opacity=1).encode(
        y="simulated:Q", color=key, tooltip=["n", "k", alt.Tooltip("theory", format=".3f"), alt.Tooltip("simulated", format=".3f")])
    return themed((line + points).add_params(n), 260)


def references_by_k(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean error after the query by k, one line per reference predictor.  Columns predictor, systems, k, mean."""
    counts = sorted(table.systems.unique().tolist())
    N = choice("systems", "systems in the prompt N ", counts, 4 if 4 in counts else counts[-1])
    order = table.predictor.unique().tolist()
    chart = alt.Chart(table).transform_filter("datum.systems == pick_systems").mark_line(point=alt.OverlayMarkDef(filled=True, size=60), strokeWidth=2).encode(
        x=alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1])),
        color=alt.Color("predictor:N", sort=order, scale=alt.Scale(domain=order, range=[GREY, THIRD, LOOK_UP, PURPLE, "#b8902a", CONTINUE]), legend=alt.Legend(columns=2)),
        shape=alt.Shape("predictor:N", sort=order, scale=alt.Scale(domain=order), legend=alt.Legend(columns=2)),
        tooltip=["predictor", "k", alt.Tooltip("mean", format=".3f")],
    )
    return themed(chart.add_params(N), 300)


def training_curve(history: pd.DataFrame, blind: float, systems: int) -> alt.TopLevelMixin:
    """Errors of one run over training.  history: columns step, ability, mean."""
    lines = alt.Chart(history).mark_line(strokeWidth=2.5).encode(
        x=alt.X("step:Q", title="training step"),
        y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
        color=alt.Color("ability:N", scale=ABILITY_COLOUR),
        strokeDash=alt.StrokeDash("ability:N", scale=ABILITY_DASH),
        tooltip=["step", "ability", alt.Tooltip("mean", format=".3f")],
    )
    levels = pd.DataFrame({"level": [1.0, blind], "words": ["zero predictor", f"label-blind average of {systems}"]})
    return themed(_rules(levels) + lines, 300)


def _pickers(table: pd.DataFrame, start: dict) -> list[alt.Parameter]:
    words = {"intervention": "intervention ", "dimension": "system dimension n ", "labels": "label count ", "systems": "systems in the prompt N ",
             "needle": "needle ", "setting": "training setting ", "ways_dimension": "system dimension n ", "ways_setting": "training setting ", "lexicon": "words ", "under": "labels "}
    order = lambda name: table[name].drop_duplicates().tolist() if name == "intervention" else _options(table, name, start)
    return [choice(name, words[name], order(name), start[name]) for name in words if name in start]


def _options(table: pd.DataFrame, name: str, start: dict) -> list:
    """What the table holds, and what was asked for first even if the table lacks it: `_missing` then says so."""
    return sorted({*table[name].tolist(), start[name]})


def _chosen(start: dict) -> list[str]:
    return [f"datum.{name} == pick_{name}" for name in start]


def _missing(table: pd.DataFrame, start: dict, words="no committed run for this choice") -> alt.Chart:
    """Says so where no committed run answers the choice.  words: a text, or a function of the choice that makes one."""
    everything = pd.MultiIndex.from_product([_options(table, name, start) for name in start], names=list(start))
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
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    return base.mark_text(fontSize=14).encode(x=alt.XValue(alt.ExprRef("width / 2")),
                                              y=alt.YValue(alt.ExprRef("height / 2")), text="words:N")


def _compact(table: pd.DataFrame) -> alt.Chart:
    """A chart of the table as CSV, a third of what the same rows take as JSON."""
    numbers = {column: "number" for column in table.select_dtypes("number")}
    return alt.Chart(alt.InlineData(values=table.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=numbers)))


def _folded(table: pd.DataFrame, start: dict, prefix: str, abilities: list[str]) -> alt.Chart:
    """Rows of the chosen runs, one per ability; columns {prefix}1, {prefix}2, … become `value` and `ability`."""
    columns = [f"{prefix}{name[0]}" for name in abilities]
    base = _compact(table[[*start, "seed", "examples", *columns]])  # a page carries what it draws
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    return base.transform_fold(columns, as_=["key", "value"]).transform_calculate(
        ability=f"substring(datum.key, {len(prefix)}) + '-after-query'").transform_filter("isValid(datum.value)")


def emergence_curves(table: pd.DataFrame, levels: pd.DataFrame, start: dict, controls: bool = True) -> alt.TopLevelMixin:
    """Error of 1- and 2-after-query over training, a line per seed.

    table: dimension, labels, setting, systems, seed, examples, error1, error2 (mean squared errors, thousands of
    examples).  levels: systems, level, words.  start: the choice shown first.
    """
    abilities = ABILITIES[:2]
    lines = _folded(table, start, "error", abilities).mark_line(strokeWidth=1.8, opacity=0.85, clip=True).encode(
        x=alt.X("examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("value:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
        color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
        strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=abilities, range=[[1, 0], [6, 3]])),
        detail="seed:N",
        tooltip=["ability:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"), alt.Tooltip("value:Q", format=".3f", title="error")],
    )
    rules = _rules(levels, ["datum.systems == pick_systems"])
    chart = alt.layer(rules, lines, _missing(table, start))
    return themed(chart.add_params(*_pickers(table, start)), 320)


def label_index_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Label index of 1-, 2- and 3-after on misdirected prompts over training, a line per seed.  Columns index1..3."""
    lines = _folded(table, start, "index", ABILITIES).mark_line(strokeWidth=1.8, opacity=0.85, clip=True).encode(
        x=alt.X("examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("value:Q", title="label index", scale=alt.Scale(domain=[-0.15, 1.15], clamp=True)),
        color=alt.Color("ability:N", scale=ABILITY_COLOUR),
        strokeDash=alt.StrokeDash("ability:N", scale=ABILITY_DASH),
        detail="seed:N",
        tooltip=["ability:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"), alt.Tooltip("value:Q", format=".2f", title="label index")],
    )
    observed = _rules(pd.DataFrame({"level": [0.0], "words": ["follows what was observed"]}), below=True)
    label = _rules(pd.DataFrame({"level": [1.0], "words": ["follows the label"]}))
    chart = alt.layer(observed, label, lines, _missing(table, start))
    return themed(chart.add_params(*_pickers(table, start)), 300)


def misdirected_errors(table: pd.DataFrame, levels: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Final errors by k with the right and with a misdirected label, a point per seed.

    table: dimension, labels, setting, systems, seed, k, condition, error.
    """
    conditions = ["right label", "misdirected label"]
    base = alt.Chart(table)
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    points = base.mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("condition:N", sort=conditions),
        y=alt.Y("error:Q", title="mean squared error", scale=alt.Scale(domain=[0, 2.3], clamp=True)),
        color=alt.Color("condition:N", sort=conditions, scale=alt.Scale(domain=conditions, range=[THIRD, PURPLE])),
        shape=alt.Shape("condition:N", sort=conditions, scale=alt.Scale(domain=conditions, range=["circle", "cross"])),
        tooltip=["condition", "seed", "k", alt.Tooltip("error", format=".3f")],
    )
    chart = alt.layer(_rules(levels, ["datum.systems == pick_systems"]), points, _missing(table, start))
    return themed(chart.add_params(*_pickers(table, start)), 300)


def distance_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Error of 1-after-query over training for the nearest and the farthest needle, with 2-after for the farthest.

    table: dimension, labels, setting, seed, examples (thousands), curve, mean.  start: without `systems`, which is 2.
    """
    names = ["1-after, farthest", "1-after, nearest", "2-after, farthest"]
    base = alt.Chart(table)
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    lines = base.mark_line(strokeWidth=1.8, opacity=0.85, clip=True).encode(
        x=alt.X("examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
        color=alt.Color("curve:N", scale=alt.Scale(domain=names, range=[LOOK_UP, PURPLE, CONTINUE])),
        strokeDash=alt.StrokeDash("curve:N", scale=alt.Scale(domain=names, range=[[1, 0], [2, 2], [6, 3]])),
        detail="seed:N",
        tooltip=["curve:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"), alt.Tooltip("mean:Q", format=".3f", title="error")],
    )
    levels = pd.DataFrame({"level": [1.0, 0.5], "words": ["zero predictor", "label-blind average"]})
    chart = alt.layer(_rules(levels), lines, _missing(table, start))
    return themed(chart.add_params(*_pickers(table, start)), 300)


def prices(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Training seconds until each ability, a point per seed, a row per setting.

    table: dimension, setting, seed, ability, seconds, state; hollow where the state is not `there`.
    """
    abilities = ABILITIES[:2]
    pick = choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension)
    chart = alt.Chart(table).transform_filter("datum.dimension == pick_dimension").mark_point(size=80, strokeWidth=2).encode(
        x=alt.X("seconds:Q", title="training seconds on one core (logarithmic)", scale=alt.Scale(type="log", nice=False, padding=12)),
        y=alt.Y("setting:N", title=None, axis=alt.Axis(labelLimit=110)),
        yOffset=alt.YOffset("ability:N", sort=abilities[::-1]),
        color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
        fill=alt.Fill("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
        fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.75), alt.value(0)),
        shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
        tooltip=["setting", "seed", "ability", alt.Tooltip("seconds", format=",.0f"), "state"],
    )
    return themed(chart.add_params(pick), 240)


SCORE, MEAN, MEDIAN = MEASURES = ["identification score", "mean squared error", "median squared error"]
LOGARITHMIC, LINEAR = AXES = ["logarithmic", "linear"]


def atlas(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """When each ability appears, for a threshold that the reader moves: curves, a line per seed, and their dates.

    table: `summary.atlas`.  start: dimension, labels, systems and setting shown first.  A date is computed in the page by the
    rule of `evaluation.emergence`: from when the curve stays on the good side of the threshold to its end.
    """
    score = f"pick_measure == '{SCORE}'"
    measured = lambda k: (f"{score} ? 1 - datum.mean{k} * datum.systems / (datum.systems - 1) : "
                          f"pick_measure == '{MEAN}' ? datum.mean{k} : datum.median{k}")
    controls = [*_pickers(table, start), choice("measure", "measure ", MEASURES, SCORE), choice("ability", "show ", ["both", *ABILITIES[:2]], "both"),
                choice("axis", "axis of examples ", AXES, LOGARITHMIC),
                alt.param(name="pick_threshold", value=0.5, bind=alt.binding_range(min=0.1, max=0.9, step=0.05, name="threshold "))]
    base = _compact(table)
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    base = base.transform_calculate(value1=measured(1), value2=measured(2)).transform_fold(["value1", "value2"], as_=["key", "value"]).transform_calculate(
        ability="substring(datum.key, 5) + '-after-query'")
    shown = base.transform_filter("pick_ability == 'both' || pick_ability == datum.ability")

    on_axis = lambda examples: f"pick_axis == '{LOGARITHMIC}' ? log({examples}) / LN10 : {examples}"
    x = alt.X("place:Q", title="training examples", scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(
        labelExpr=f"format(pick_axis == '{LOGARITHMIC}' ? pow(10, datum.value) : datum.value, '.2~s')", tickCount=6))
    y = alt.Y("value:Q", title="chosen measure", scale=alt.Scale(domainMin=alt.ExprRef(f"{score} ? -1.1 : 0"), domainMax=alt.ExprRef(f"{score} ? 1.05 : 1.3"), clamp=True, nice=False))
    colour = alt.Color("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE]))
    dash = alt.StrokeDash("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[[1, 0], [6, 3]]))
    lines = shown.transform_filter("datum.examples > 0").transform_calculate(place=on_axis("datum.examples")).mark_line(
        strokeWidth=1.6, opacity=0.75, clip=True).encode(
        x=x, y=y, color=colour, strokeDash=dash, detail="seed:N",
        tooltip=["ability:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f"), alt.Tooltip("value:Q", format=".3f")])

    dated = lambda rows: (
        rows.transform_calculate(bad=f"({score} ? datum.value >= pick_threshold : datum.value < pick_threshold) ? -1 : datum.examples")
        .transform_joinaggregate(last_bad="max(bad)", end="max(examples)", groupby=["seed", "ability"])
        .transform_window(next_examples="lead(examples)", next_value="lead(value)", sort=[alt.SortField("examples")], groupby=["seed", "ability"])
        .transform_filter("datum.examples == datum.last_bad")
        .transform_calculate(share="(pick_threshold - datum.value) / (datum.next_value - datum.value)", reached="isValid(datum.next_examples)")
        .transform_calculate(date="!datum.reached ? datum.end : datum.examples > 0 ? datum.examples * pow(datum.next_examples / datum.examples, datum.share) : "
                                  "datum.next_examples * datum.share"))
    points = dated(shown).transform_calculate(place=on_axis("datum.date"), value="pick_threshold", state="datum.reached ? 'there' : 'not there when the run ended'").mark_point(
        size=85, strokeWidth=2).encode(
        x=x, y=y, color=colour, shape=alt.Shape("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=["circle", "square"])),
        fill=alt.Fill("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE])),
        fillOpacity=alt.condition("datum.reached", alt.value(0.8), alt.value(0)),
        tooltip=["ability:N", "seed:N", alt.Tooltip("date:Q", format=",.0f", title="examples"), "state:N"])
    rule = alt.Chart(pd.DataFrame([{}])).transform_calculate(value="pick_threshold").mark_rule(strokeDash=[4, 4], color=GREY).encode(y=y)

    late = 1e15  # a date that has not come counts as later than all
    per_seed = dated(base).transform_calculate(when=f"datum.reached ? datum.date : {late}").transform_pivot("ability", value="when", groupby=["seed"])
    begin, go_on = (f"datum['{ability}']" for ability in ABILITIES[:2])
    words = per_seed.transform_calculate(begin=begin, go_on=go_on, begun=f"{begin} < {late} ? 1 : 0", gone=f"{go_on} < {late} ? 1 : 0", ratio=f"{begin} / {go_on}",
                                         first=f"{go_on} < {begin} ? 1 : 0").transform_aggregate(
        seeds="count()", begin="median(begin)", go_on="median(go_on)", begun="sum(begun)", gone="sum(gone)", ratio="median(ratio)", first="sum(first)")
    thousand = lambda field: f"(datum.{field} < 1e9 ? format(datum.{field}, '.2~s') : 'never')"
    words = words.transform_calculate(text=(
        f"['Going on: ' + datum.gone + ' of ' + datum.seeds + ' seeds, median ' + {thousand('go_on')}, "
        f"'Beginning again: ' + datum.begun + ' of ' + datum.seeds + ', median ' + {thousand('begin')}, "
        "'Going on first: ' + datum.first + ' of ' + datum.seeds + (datum.begin < 1e9 && datum.go_on < 1e9 ? ', median ratio ' + format(datum.ratio, '.1f') : '')]"
    )).mark_text(align="left", baseline="top", fontSize=13, lineHeight=17).encode(x=alt.value(0), y=alt.value(-84), text="text:N")
    return themed(alt.layer(rule, lines, points, words, _missing(table, start)).add_params(*controls), 320)


def study_curves(table: pd.DataFrame, systems: int = 2) -> alt.TopLevelMixin:
    """The study's curves on either measure.  table: `study.curves`."""
    pick = choice("study_systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems)
    measure = choice("study_measure", "measure ", [SCORE, MEDIAN], SCORE)
    lines = alt.Chart(table.round(3)).transform_filter("datum.systems == pick_study_systems").transform_calculate(
        ability="datum.k + '-after-query'", value=f"pick_study_measure == '{SCORE}' ? datum.score : datum.median", millions="datum.examples / 1e6").mark_line(
        strokeWidth=2.2, point=alt.OverlayMarkDef(size=25), clip=True).encode(
        x=alt.X("millions:Q", title="training examples (millions, logarithmic)", scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("value:Q", title="chosen measure", scale=alt.Scale(domainMin=alt.ExprRef(f"pick_study_measure == '{SCORE}' ? -1.2 : 0"), domainMax=1.05, clamp=True, nice=False)),
        color=alt.Color("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE])),
        strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[[1, 0], [6, 3]])),
        tooltip=["ability:N", alt.Tooltip("millions:Q", format=".1f"), alt.Tooltip("value:Q", format=".3f")])
    half = _rules(pd.DataFrame({"level": [0.5], "words": ["½"]}))
    return themed((half + lines).add_params(pick, measure), 280)


def errors_by_systems(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Final error of 1- and 2-after-query against the number of systems in the prompt, a mark per seed, a bar at their mean.

    table: dimension, labels, setting, seed, systems, k, error.  start: without `systems`.
    """
    base = alt.Chart(table)
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    abilities = ABILITIES[:2]
    encoding = dict(x=alt.X("systems:O", title="systems in the prompt N", axis=alt.Axis(labelAngle=0)),
                    xOffset=alt.XOffset("ability:N", sort=abilities),
                    color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])))
    base = base.transform_calculate(ability="datum.k + '-after-query'")
    points = base.mark_point(size=70, strokeWidth=2, opacity=0.85).encode(
        y=alt.Y("error:Q", title="mean squared error"), shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
        tooltip=["ability:N", "seed", "systems", alt.Tooltip("error", format=".3f")], **encoding)
    means = base.mark_tick(thickness=3, size=28).encode(y="mean(error):Q", **encoding)
    return themed(alt.layer(means, points, _missing(table, start)).add_params(*_pickers(table, start)), 260)


def _both_dates(base: alt.Chart, y: alt.Y, extra: list) -> alt.Chart:
    """A mark per run and ability at its date, hollow where it had not come by the end of the run.  Fields ability, examples (thousands), state, seed."""
    abilities = ABILITIES[:2]
    scale = alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])
    return base.mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=alt.X("examples:Q", title="thousand examples (log axis)", scale=alt.Scale(type="log", nice=False, padding=12)), y=y, yOffset=alt.YOffset("ability:N", sort=abilities),
        color=alt.Color("ability:N", scale=scale), shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
        fill=alt.Fill("ability:N", scale=scale), fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.8), alt.value(0)),
        tooltip=["ability", "seed", alt.Tooltip("examples", format=",.0f", title="thousand examples"), "state", *extra])


def knocked_out(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Dates of both abilities by what was asked in training.  table: `knockouts.shown`."""
    order = table.asked.drop_duplicates().tolist()
    y = alt.Y("asked:N", sort=order, title=None, axis=alt.Axis(labelLimit=170, labelExpr="split(datum.label, ', ')"))
    return themed(_both_dates(alt.Chart(table), y, []), 44 * len(order) + 60)


_SETTINGS = alt.Axis(labelLimit=130, minExtent=112, maxExtent=112, labelExpr="split(datum.label, '+')")  # a fixed margin: another choice may have longer names


def factors(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Dates of both abilities by what is changed.  table: `factors.dated`.  kind: shown first."""
    pick = choice("kind", "what is changed ", table.kind.drop_duplicates().tolist(), kind)
    base = alt.Chart(table).transform_filter("datum.kind == pick_kind")
    order = table.setting.drop_duplicates().tolist()
    y = alt.Y("setting:N", sort=order, title=None, axis=_SETTINGS)
    return themed(_both_dates(base, y, [alt.Tooltip("index", title="label index of 2-after"), "rule"]).add_params(pick), 300)


def factor_index(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Whom 2-after-query follows by what is changed, beside `factors` (one list moves both): a mark per run, hollow where 1-after-query had not come.
    table: `factors.dated`; a run without a label index has no mark."""
    pick = choice("kind", "what is changed ", table.kind.drop_duplicates().tolist(), kind)
    order = table.setting.drop_duplicates().tolist()
    base = alt.Chart(table[table.ability == ABILITIES[0]][["kind", "setting", "seed", "index", "state"]]).transform_filter("datum.kind == pick_kind")
    marks = base.mark_point(size=75, strokeWidth=2, opacity=0.9, color=PURPLE, fill=PURPLE, shape="diamond").encode(
        x=alt.X("index:Q", title="label index (0: states, 1: label)", scale=alt.Scale(domain=[-0.1, 1.1], clamp=True, nice=False)),
        y=alt.Y("setting:N", sort=order, title=None, axis=_SETTINGS),
        fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.8), alt.value(0)), tooltip=["setting", "seed", alt.Tooltip("index", format=".2f"), alt.Tooltip("state", title="1-after-query")])
    return themed(marks.add_params(pick), 200)


def ratio_map(table: pd.DataFrame) -> alt.TopLevelMixin:
    """How many times as many examples 1-after-query takes as 2-after-query, by what is changed and by threshold.  table: `factors.ratio_map`.

    Depth of colour: octaves; blue where going on came first, orange where beginning again did.  A bound is written so, a question mark where bounds lie on both sides; a dash where no run has either.
    """
    signs = {"exact": "", "at least": "≥", "at most": "≤"}
    order = table.setting.drop_duplicates().tolist()
    cells = table.assign(ratio=2.0 ** table["mean"], words=["–" if not row.runs else "?" if row.bound == "mixed" else f"{signs[row.bound]}{2.0 ** row.mean:.1f}" for row in table.itertuples()],
                         depth=(table["mean"].abs() / 3).clip(upper=1).fillna(0).where(table.bound != "mixed", 0), came=(table["mean"] >= 0).map({True: "going on first", False: "beginning again first"}))
    base = alt.Chart(cells[["setting", "threshold", "runs", "first", "ratio", "words", "depth", "came"]].round({"ratio": 2, "depth": 2})).encode(
        x=alt.X("threshold:O", title="threshold on the score", axis=alt.Axis(labelAngle=0, format=".1f")), y=alt.Y("setting:N", sort=order, title=None, axis=alt.Axis(labelLimit=110, labelFontSize=11, labelLineHeight=11, labelExpr="split(datum.label, '+')")))
    colour = alt.Color("came:N", scale=alt.Scale(domain=["going on first", "beginning again first"], range=[CONTINUE, LOOK_UP]))
    boxes = base.mark_rect(stroke="currentColor", strokeOpacity=0.15).encode(
        color=colour, opacity=alt.Opacity("depth:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.75]), legend=None),
        tooltip=["setting", "threshold", alt.Tooltip("words", title="1-after over 2-after"), alt.Tooltip("first", title="going on first in"), alt.Tooltip("runs", title="of runs with either")])
    return themed(boxes + base.mark_text(fontSize=alt.ExprRef("width < 300 ? 8.5 : 10.5")).encode(text="words:N"), 26 * len(order) + 20)


def survival(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Share of seeds that have each ability, over training (Kaplan-Meier).  table: `summary.survival`.  start: dimension, labels, setting."""
    base = alt.Chart(table)
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    abilities = ABILITIES[:2]
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x=alt.X("examples:Q", title="training examples (thousands)"), y=alt.Y("share:Q", title="share of seeds that have it", scale=alt.Scale(domain=[0, 1.02])),
        color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])), strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=abilities, range=[[1, 0], [6, 3]])),
        tooltip=["ability", alt.Tooltip("examples", format=",.1f"), alt.Tooltip("share", format=".2f"), "seeds"])
    return themed(alt.layer(lines, _missing(table, start)).add_params(*_pickers(table, start)), 240)


def _only_equal(row) -> str:
    """Why there is nothing to draw: equal norms are all alike, and models trained on them are asked on nothing else."""
    return f"equal norms are all alike: {row.models}" if row.norms == "equal" else f"equal norms only: {row.models.removeprefix('trained on equal norms, ')}"


def degradation(errors: pd.DataFrame, accounts: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors of 1- and 2-after-query against N, a mark per model, and what accounts of 2-after-query expect as lines (mean over models).

    errors: models, norms, needle, seed, systems, k, mean.  accounts: models, norms, systems, account, expected (one row each).
    start: models, norms and needle shown first; accounts are of the farthest needle, and are drawn with it only.
    """
    order = accounts.account.drop_duplicates().tolist()
    key = alt.Color("what:N", sort=[*ABILITIES[:2], *order], scale=alt.Scale(domain=[*ABILITIES[:2], *order], range=[LOOK_UP, CONTINUE, GREY, THIRD, PURPLE, "#b8902a"][: 2 + len(order)]), legend=alt.Legend(columns=2))
    dash = alt.Scale(domain=[*ABILITIES[:2], *order], range=[[1, 0], [1, 0], [1, 0], [2, 2], [6, 3], [8, 3, 2, 3]][: 2 + len(order)])
    shape = alt.Scale(domain=[*ABILITIES[:2], *order], range=["circle", "square", *["stroke"] * len(order)])  # one legend: marks for models, lines for accounts
    titles = {"models": "models ", "norms": "norms of the states ", "needle": "needle "}
    pickers = [choice(name, title, errors[name].drop_duplicates().tolist(), start[name]) for name, title in titles.items()]
    base, lines = _compact(errors.round({"mean": 4})), alt.Chart(accounts.assign(needle="farthest").round({"expected": 4}))
    for condition in _chosen(start):
        base, lines = base.transform_filter(condition), lines.transform_filter(condition)
    x = alt.X("systems:Q", title="systems in the prompt N", axis=alt.Axis(values=sorted(errors.systems.unique().tolist()), format="d"), scale=alt.Scale(zero=False, padding=16, nice=False))
    y = lambda field: alt.Y(f"{field}:Q", title="mean squared error", scale=alt.Scale(zero=True))
    points = base.transform_calculate(what="datum.k + '-after-query'").mark_point(size=70, strokeWidth=2, opacity=0.85).encode(
        x=x, y=y("mean"), color=key, shape=alt.Shape("what:N", sort=shape.domain, scale=shape, legend=alt.Legend(columns=2)),
        tooltip=["what:N", "seed:N", "systems:Q", alt.Tooltip("mean:Q", format=".3f", title="error")])
    expected = lines.transform_calculate(what="datum.account").mark_line(strokeWidth=2.2).encode(
        x=x, y=y("expected"), color=key, strokeDash=alt.StrokeDash("what:N", sort=dash.domain, scale=dash, legend=alt.Legend(columns=2)),
        tooltip=["what:N", "systems:Q", alt.Tooltip("expected:Q", format=".3f")])
    return themed(alt.layer(expected, points, _missing(errors, start, _only_equal)).add_params(*pickers), 320)


def likeness(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """3 x 3 table of 2-after-query on prompts of 2 systems: how alike are the next states, how alike the maps?

    table: models, norms, by (likeness of the states in norm or direction), states, maps (low, middle, high), error, other.
    start: models, norms and by shown first.
    """
    thirds, measures = ["low", "middle", "high"], {"error": "mean squared error", "other": "share of the other system"}
    titles = {"models": "models ", "norms": "norms of the states ", "by": "states alike in "}
    pickers = [choice(name, title, table[name].drop_duplicates().tolist(), start[name]) for name, title in titles.items()]
    pickers.append(choice("likeness", "measure ", list(measures.values()), measures["error"]))
    base = alt.Chart(table.rename(columns=measures).round(3))
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    base = base.transform_calculate(value="datum[pick_likeness]").encode(
        x=alt.X("maps:O", sort=thirds, title="likeness of the maps, thirds", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("states:O", sort=thirds[::-1], title="likeness of the next states, thirds"))
    cells = base.mark_rect(stroke="white").encode(color=alt.Color("value:Q", scale=alt.Scale(range=["#f3f3f3", LOOK_UP], domainMin=0), legend=None), tooltip=["states", "maps", alt.Tooltip("value:Q", format=".3f")])
    words = base.mark_text(fill="black", fontSize=13).encode(text=alt.Text("value:Q", format=".2f"))
    return themed(alt.layer(cells, words, _missing(table, start, _only_equal)).add_params(*pickers), 240)


def by_heart(table: pd.DataFrame, event: str = "query", library: int = 100, systems: int = 2) -> alt.TopLevelMixin:
    """What models trained on a frozen library know by heart: error by k, a mark per seed, a line through their mean.

    table: `probes.library`.  event, library, systems: shown first.
    """
    shown = table.shown.unique().tolist()
    places = {"initial": "the first label", "query": "the query's label"}
    pick = [choice("event", "after ", list(places.values()), places[event]),
            choice("library", "systems in the library ", sorted(table.library.unique().tolist()), library),
            choice("systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems)]
    table = table.assign(after=table.event.map(places))[["after", "systems", "library", "shown", "seed", "k", "mean"]].round(3)
    base = alt.Chart(table).transform_filter("datum.after == pick_event").transform_filter("datum.systems == pick_systems && datum.library == pick_library").encode(
        x=alt.X("k:O", title="k, observations after it", axis=alt.Axis(labelAngle=0)),
        color=alt.Color("shown:N", sort=shown, scale=alt.Scale(domain=shown, range=[LOOK_UP, PURPLE, CONTINUE]), legend=alt.Legend(columns=2)))
    line = base.mark_line(strokeWidth=2).encode(y="mean(mean):Q", strokeDash=alt.StrokeDash("shown:N", sort=shown, scale=alt.Scale(domain=shown, range=[[1, 0], [2, 2], [6, 3]]), legend=None))
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.8).encode(
        y=alt.Y("mean:Q", title="mean squared error"), shape=alt.Shape("shown:N", sort=shown, scale=alt.Scale(domain=shown, range=["circle", "triangle-up", "square"]), legend=None),
        tooltip=["shown", "seed", alt.Tooltip("mean", format=".3f")])
    return themed(alt.layer(line, points).add_params(*pick), 260)


def probed(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors by k under an intervention: a mark per model, lines for the two ways to know the query's system.

    table: `probes.probe` with `led`, the kind of each model.  start: intervention, dimension, systems and needle shown first.
    """
    marks = ["observation-led model", "label-led model", "the same on the plain prompt"]
    ways = ["by label", "by observation"]
    key = alt.Scale(domain=[*marks, *ways], range=[CONTINUE, LOOK_UP, GREY, LOOK_UP, CONTINUE])
    table = table[["intervention", "dimension", "systems", "needle", "predictor", "led", "seed", "k", "mean"]].round({"mean": 3})
    base = _compact(table)
    for name in start:
        if name != "intervention":
            base = base.transform_filter(f"datum.{name} == pick_{name}")
    chosen = "datum.intervention == pick_intervention"
    x = alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0))
    y = alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 2.3], clamp=True))
    colour = alt.Color("what:N", sort=[*marks, *ways], scale=key, legend=alt.Legend(columns=2))
    shape = alt.Shape("what:N", sort=[*marks, *ways], scale=alt.Scale(domain=[*marks, *ways], range=["square", "circle", "cross", "stroke", "stroke"]), legend=None)
    lines = base.transform_filter(f"{chosen} && datum.predictor != 'model'").transform_calculate(what="datum.predictor").mark_line(strokeWidth=2).encode(
        x=x, y=y, color=colour, strokeDash=alt.StrokeDash("what:N", scale=alt.Scale(domain=ways, range=[[1, 0], [6, 3]]), legend=None))
    points = base.transform_filter(f"datum.predictor == 'model' && ({chosen} || datum.intervention == 'plain')").transform_calculate(
        what=f"{chosen} ? datum.led + ' model' : '{marks[2]}'", side="datum.intervention == 'plain' ? 'plain' : 'edited'").mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=x, y=y, color=colour, shape=shape, xOffset=alt.XOffset("side:N", scale=alt.Scale(domain=["plain", "edited"])),
        tooltip=["what:N", "seed:N", "k:O", alt.Tooltip("mean:Q", format=".3f")])
    return themed(alt.layer(lines, points, _missing(table, start, "this edit cannot be made on such prompts")).add_params(*_pickers(table, start)), 320)


def norm_gap(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Error of 2-after-query by how far the two systems' norms are apart, a line per model.  table: `probes.norm_gaps` with `led`."""
    pick = choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension)
    kinds = ["observation-led", "label-led"]
    chart = alt.Chart(table.round(3)).transform_filter("datum.dimension == pick_dimension").mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=45)).encode(
        x=alt.X("group:O", title="distance of norms (1: closest, 5: farthest)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("error:Q", title="mean squared error of 2-after-query"),
        color=alt.Color("led:N", scale=alt.Scale(domain=kinds, range=[CONTINUE, LOOK_UP])),
        strokeDash=alt.StrokeDash("led:N", scale=alt.Scale(domain=kinds, range=[[6, 3], [1, 0]])), detail="seed:N",
        tooltip=["seed", "led", alt.Tooltip("gap", format=".2f", title="larger norm / smaller"), alt.Tooltip("error", format=".3f")])
    return themed(chart.add_params(pick), 240)


ROLES = ["label", "observed", "recent", "other"]


def _own(table: pd.DataFrame, start: dict) -> tuple[pd.DataFrame, dict]:
    """With pickers that move together with each other, and not with those of the page's other figures, which know other models."""
    return table.rename(columns={name: f"ways_{name}" for name in start}), {f"ways_{name}": value for name, value in start.items()}


def _over_training(table: pd.DataFrame, start: dict, value: alt.Y, key: str, scale: dict, dashes: list, more: list, tooltip: list) -> alt.LayerChart:
    """A thin line per seed and a thick one for the mean over seeds, over training; key: field of colour and dash."""
    base = _compact(table)
    for condition in [*_chosen(start), *more]:
        base = base.transform_filter(condition)
    if key == "role":
        base = base.transform_fold(ROLES, as_=["role", "value"])
    encoding = dict(x=alt.X("examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)),
                    color=alt.Color(f"{key}:N", scale=alt.Scale(**scale), legend=alt.Legend(columns=2)), strokeDash=alt.StrokeDash(f"{key}:N", scale=alt.Scale(domain=scale["domain"], range=dashes)))
    thin = base.mark_line(strokeWidth=1, opacity=0.4, clip=True).encode(y=value, detail="seed:N", tooltip=tooltip, **encoding)
    thick = base.transform_aggregate(value="mean(value)", groupby=["examples", key]).mark_line(strokeWidth=3, clip=True).encode(y=value, **encoding)
    return thin + thick


def ways_curves(table: pd.DataFrame, start: dict, k: int = 2) -> alt.TopLevelMixin:
    """Weight of each role's system on conflict prompts over training.  table: `ways.curves`; start: dimension, setting."""
    table, start = _own(table, start)
    pick = choice("k", "k, observations after the query's label ", sorted(table.k.unique().tolist()), k)
    value = alt.Y("value:Q", title="weight in the prediction", scale=alt.Scale(domain=[-0.2, 1.1], clamp=True, nice=False))
    lines = _over_training(table, start, value, "role", dict(domain=ROLES, range=[LOOK_UP, CONTINUE, PURPLE, GREY]), [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]], ["datum.k == pick_k"],
                           ["role:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"), alt.Tooltip("value:Q", format=".2f", title="weight")])
    levels = _rules(pd.DataFrame({"level": [1.0], "words": ["this system alone"]}))
    nothing = _rules(pd.DataFrame({"level": [0.0], "words": ["no say"]}), below=True)
    return themed(alt.layer(levels, nothing, lines, _missing(table, start)).add_params(pick, *_pickers(table, start)), 320)


def lag_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Score of 1-after-query over training by how far back the needle lies.  table: `ways.lag_curves`; start: dimension, setting."""
    table, start = _own(table, start)
    names = ["lag 1 (just before)", "lag 2", "lag 3", "lag 4 (farthest)"]
    named = table.assign(distance=table.lag.map(dict(enumerate(names, 1))), value=table.score).drop(columns=["lag", "score"])
    value = alt.Y("value:Q", title="identification score of 1-after-query", scale=alt.Scale(domain=[-0.6, 1.05], clamp=True, nice=False))
    lines = _over_training(named, start, value, "distance", dict(domain=names, range=[PURPLE, CONTINUE, THIRD, LOOK_UP]), [[2, 2], [6, 3], [8, 2, 2, 2], [1, 0]], [],
                           ["distance:N", "seed:N", alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"), alt.Tooltip("value:Q", format=".2f", title="score")])
    levels = _rules(pd.DataFrame({"level": [0.0, 0.5], "words": ["label-blind average", "emerged"]}))
    return themed(alt.layer(levels, lines, _missing(table, start)).add_params(*_pickers(table, start)), 320)


def label_shares(table: pd.DataFrame, model: str) -> alt.TopLevelMixin:
    """The label's share in single answers at k = 2: bars; dots: if every answer were the same mixture.  table: `ways.shares`."""
    pick = choice("model", "model ", table.model.drop_duplicates().tolist(), model)
    base = alt.Chart(table).transform_filter("datum.model == pick_model")
    x = alt.X("bin:O", title="label's share (0: states, 1: label)", axis=alt.Axis(labelAngle=0, format=".1f"))
    y = alt.Y("traces:Q", title="share of prompts", scale=alt.Scale(domain=[0, 1]))
    key = alt.Color("key:N", scale=alt.Scale(domain=["answers", "if all were one mixture"], range=[CONTINUE, LOOK_UP]))
    tooltip = [alt.Tooltip("traces", format=".2f", title="answers"), alt.Tooltip("mixture", format=".2f", title="one mixture")]
    bars = base.transform_calculate(key="'answers'").mark_bar(opacity=0.75).encode(x=x, y=y, color=key, tooltip=tooltip)
    dots = base.transform_calculate(key="'if all were one mixture'").mark_point(filled=True, size=70, opacity=1, shape="diamond").encode(x=x, y="mixture:Q", color=key, tooltip=tooltip)
    return themed((bars + dots).add_params(pick), 240)


def equal_norms(table: pd.DataFrame, dimension: int, k: int = 2, condition: str = "plain") -> alt.TopLevelMixin:
    """Errors after the query against N, by the norms of training and of the prompts: a mark per seed, a bar at their mean.

    table: `cues.equal_norms` with `pair`, training and prompts in words.  dimension, k, condition: shown first.
    """
    table = table.assign(chosen_k=table.k.map("{}-after-query".format), label=table.condition.map({"plain": "right", "misdirected": "misdirected"}))[
        ["pair", "dimension", "chosen_k", "label", "systems", "seed", "mean", "label_index"]].round(3)
    pairs = table.pair.drop_duplicates().tolist()  # in the order of the table
    pick = [choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension),
            choice("norms_k", "prediction ", sorted(table.chosen_k.unique().tolist()), f"{k}-after-query"),
            choice("norms_label", "label ", ["right", "misdirected"], "right" if condition == "plain" else condition)]
    numbers = {column: "number" for column in table.select_dtypes("number")}
    base = alt.Chart(alt.InlineData(values=table.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=numbers))).transform_filter(
        "datum.dimension == pick_dimension && datum.chosen_k == pick_norms_k && datum.label == pick_norms_label").encode(
        x=alt.X("systems:O", title="systems in the prompt N", axis=alt.Axis(labelAngle=0)), xOffset=alt.XOffset("pair:N", sort=pairs, scale=alt.Scale(domain=pairs)),
        color=alt.Color("pair:N", sort=pairs, scale=alt.Scale(domain=pairs, range=[CONTINUE, PURPLE, LOOK_UP, THIRD]), legend=alt.Legend(columns=2)))
    points = base.mark_point(size=55, strokeWidth=1.8, opacity=0.85).encode(
        y=alt.Y("mean:Q", title="mean squared error"), shape=alt.Shape("pair:N", sort=pairs, scale=alt.Scale(domain=pairs, range=["square", "diamond", "triangle-up", "circle"]), legend=None),
        tooltip=["pair:N", "seed:N", "systems:O", alt.Tooltip("mean:Q", format=".3f"), alt.Tooltip("label_index:Q", format=".2f", title="label index")])
    means = base.mark_tick(thickness=3, size=16).encode(y="mean(mean):Q")
    return themed((means + points).add_params(*pick), 280)


def cue_weights(table: pd.DataFrame, k: int = 2, systems: int = 2) -> alt.TopLevelMixin:
    """Weight of a misdirected label's system against the label error of training: a mark per model, solid lines through their mean, Bayes dashed.

    table: `cues.weights`.  k, systems: shown first.
    """
    table = table.assign(chosen_k=table.k.map("{}-after-query".format), s=table.state_noise.map("state noise {:g}".format))[
        ["chosen_k", "systems", "label_error", "s", "seed", "label", "bayes_label"]].round(3)
    noises = sorted(table.s.unique().tolist())
    pick = [choice("cue_k", "prediction ", sorted(table.chosen_k.unique().tolist()), f"{k}-after-query"),
            choice("systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems)]
    base = alt.Chart(table).transform_filter("datum.chosen_k == pick_cue_k && datum.systems == pick_systems").encode(
        x=alt.X("label_error:O", title="label error p of the training", axis=alt.Axis(labelAngle=0)), color=alt.Color("s:N", sort=noises, scale=alt.Scale(domain=noises, range=[CONTINUE, PURPLE, LOOK_UP]), legend=alt.Legend(columns=2)))
    y = alt.Y("label:Q", title="weight of the label's system", scale=alt.Scale(domain=[-0.05, 1.1]))
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean(label):Q"))
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.85).encode(
        y=y, shape=alt.Shape("s:N", sort=noises, scale=alt.Scale(domain=noises, range=["square", "triangle-up", "circle"]), legend=None),
        tooltip=["s:N", "label_error", "seed", alt.Tooltip("label", format=".2f", title="model"), alt.Tooltip("bayes_label", format=".3f", title="Bayes")])
    ideal = base.transform_filter("isValid(datum.bayes_label)").mark_line(strokeWidth=2, strokeDash=[5, 4]).encode(y="mean(bayes_label):Q")
    return themed(alt.layer(ideal, line, points).add_params(*pick), 280)


def who_leads(table: pd.DataFrame, group: str) -> alt.TopLevelMixin:
    """Label index of 2-after-query by training: circles at the end, squares before 1-after-query was learnt, crosses where labels are not looked up at the end.

    table: `cues.led`.  group: shown first.
    """
    groups = table.group.drop_duplicates().tolist()
    pick = choice("training", "what is changed ", groups, group)
    moments = ["at the end", "before 1-after", "no look-up at the end"]
    end = table.assign(moment=table.knows.map({True: moments[0], False: moments[2]}), index=table.label_index)
    begin = table.assign(moment=moments[1], index=table.early_index)
    rows = pd.concat([end, begin])[["group", "training", "order", "seed", "moment", "index"]].dropna(subset="index").round({"index": 3})
    chart = alt.Chart(rows).transform_filter("datum.group == pick_training").mark_point(size=70, strokeWidth=2, opacity=0.9).encode(
        x=alt.X("index:Q", title="label index of 2-after-query", scale=alt.Scale(domain=[-0.1, 1.15], clamp=True)),
        y=alt.Y("training:N", title=None, sort=alt.EncodingSortField("order", order="ascending"), axis=alt.Axis(labelLimit=150)),
        yOffset=alt.YOffset("moment:N", sort=moments, scale=alt.Scale(domain=moments)),
        color=alt.Color("moment:N", sort=moments, scale=alt.Scale(domain=moments, range=[LOOK_UP, CONTINUE, GREY]), legend=alt.Legend(columns=1)),
        shape=alt.Shape("moment:N", sort=moments, scale=alt.Scale(domain=moments, range=["circle", "square", "cross"]), legend=alt.Legend(columns=1)),
        tooltip=["training", "seed", "moment", alt.Tooltip("index:Q", format=".2f", title="label index")])
    return themed(chart.add_params(pick), 430)


# what the figure of chapter 8 can show: quantity of `recall.language.scoring.per_prompt` -> its name in the list
QUANTITIES = {
    "gained": "bits gained by the source",
    "gained_label": "bits gained over a new label",
    "accuracy": "accuracy",
    "label_led": "share that a misdirected label gets",
    "synchronised": "share of the right one of two twins",
}
TOKENS = ["first token", "second token"]


def language_gains(table: pd.DataFrame, lexicon: str | None = None, under: str = "arbitrary") -> alt.TopLevelMixin:
    """What the first and the second token of a translation gain over a language model's training: a thin line per seed, thick ones for
    their mean.  table: `summary` of `recall.language.results.load`.  lexicon (its words), under (what labels): shown first."""
    table = table.rename(columns={"words": "lexicon", "labels": "under"})
    start = dict(lexicon=table.lexicon.iloc[0] if lexicon is None else lexicon, under=under)
    wide = table.pivot_table(index=["lexicon", "under", "seed", "step", "k"], columns="quantity", values="mean")
    wide = wide.reindex(columns=list(QUANTITIES)).rename(columns=QUANTITIES).round(3).reset_index().assign(token=lambda f: f.k.map(dict(enumerate(TOKENS, 1))))
    numbers = ["step", *QUANTITIES.values()]
    data = alt.InlineData(values=wide.drop(columns="k").to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse={name: "number" for name in numbers}))
    measure = choice("measure", "measure ", list(QUANTITIES.values()), QUANTITIES["gained"])
    base = alt.Chart(data).transform_filter("datum.lexicon == pick_lexicon && datum.under == pick_under").transform_calculate(
        value="datum[pick_measure]").transform_filter("isValid(datum.value)").encode(
        x=alt.X("step:Q", title="training step", scale=alt.Scale(type="symlog", constant=16),
                axis=alt.Axis(values=[0, *(m * 10**e for e in range(1, 6) for m in (2, 5, 10))], labelOverlap=True)),
        color=alt.Color("token:N", scale=alt.Scale(domain=TOKENS, range=[LOOK_UP, CONTINUE])),
        strokeDash=alt.StrokeDash("token:N", scale=alt.Scale(domain=TOKENS, range=[[1, 0], [6, 3]])))
    seeds = base.mark_line(strokeWidth=1, opacity=0.5).encode(y=alt.Y("value:Q", title="chosen measure"), detail="seed:N", tooltip=[
        "seed:N", "step:Q", "token:N", alt.Tooltip("value:Q", format=".2f")])
    mean = base.mark_line(strokeWidth=3).encode(y="mean(value):Q")
    return themed(alt.layer(seeds, mean, _missing(wide, start, "these words have no such prompts")).add_params(*_pickers(wide, start), measure), 320)


def bridge(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Toy and language model on one score and one clock.  Columns where (`toy` or a kind of language), what (`beginning again` or `going
    on`), seed, octaves (log2 of time over that seed's date of going on), score."""
    kinds = [name for name in table["where"].drop_duplicates() if name != "toy"]
    pick = choice("where", "beside the toy ", kinds, kinds[0])
    data = alt.InlineData(values=table.round(3).to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=dict(octaves="number", score="number")))
    base = alt.Chart(data).transform_filter("datum.where == 'toy' || datum.where == pick_where").transform_calculate(
        side="datum.where == 'toy' ? 'toy' : 'language'").encode(
        x=alt.X("octaves:Q", title="doublings since going on was learnt", scale=alt.Scale(domain=[-3, 5], clamp=True)),
        y=alt.Y("score:Q", title="identification score", scale=alt.Scale(domain=[-0.5, 1], clamp=True)),
        color=alt.Color("what:N", scale=alt.Scale(domain=["beginning again", "going on"], range=[LOOK_UP, CONTINUE])),
        strokeDash=alt.StrokeDash("side:N", scale=alt.Scale(domain=["toy", "language"], range=[[1, 0], [6, 3]])), detail="seed:N",
        tooltip=["where:N", "what:N", "seed:N", alt.Tooltip("octaves:Q", format=".1f"), alt.Tooltip("score:Q", format=".2f")])
    return themed(base.mark_line(strokeWidth=1.6, opacity=0.75).add_params(pick), 320)


def picture(chart: alt.TopLevelMixin, width: int = 720) -> bytes:
    """A chart as SVG, without a network."""
    buffer = io.StringIO()
    chart.properties(width=width, background="white").save(buffer, format="svg")
    return buffer.getvalue().encode()


PARTS = ["neither", "the first task only", "the second task only", "both"]
LEAST_EFFECT = 0.01  # of an edge in no circuit, to be drawn at all


def circuit_graph(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Writers and readers of a model, and the edges that carry two tasks; the reader raises the least effect shown.

    table: one row per edge and scene: the columns of `start`, writer, reader, x, y (of the writer), x2, y2 (of the reader), first, second
    (what its corruption alone costs 1- and 2-after-query), circuit (one of PARTS).  start: the scene shown first, a list for each of its
    columns.
    """
    if table.empty:
        return themed(alt.Chart(pd.DataFrame({"words": ["this corruption does not move both predictions of this model"]})).mark_text(fontSize=14).encode(text="words:N"), 200)
    pickers = [choice(name, f"{name} ", _options(table, name, start) if name == "step" else table[name].drop_duplicates().tolist(), start[name]) for name in start]
    shown = choice("edges", "edges ", ["in a circuit", "in both circuits", "by their effect alone"], "in a circuit")
    least = alt.param(name="pick_effect", value=0, bind=alt.binding_range(min=0, max=0.5, step=0.01, name="least effect "))
    scenes, lines = table[list(start)].drop_duplicates(ignore_index=True), table[["writer", "reader", "x", "y", "x2", "y2"]].drop_duplicates(["writer", "reader"])
    rows = table[(table.circuit != "neither") | (table[["first", "second"]].abs().max(axis=1) >= LEAST_EFFECT)].merge(scenes.assign(scene=scenes.index)).merge(
        lines[["writer", "reader"]].assign(edge=range(len(lines))))[["scene", "edge", "first", "second", "circuit"]].round({"first": 3, "second": 3})
    rows["part"] = rows.pop("circuit").map(PARTS.index)  # under a name of its own: a field that overwrites itself is read twice when a list changes
    data = alt.InlineData(values=rows.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse={column: "number" for column in rows}))
    base = alt.Chart(data).transform_lookup("scene", from_=alt.LookupData(scenes.assign(scene=scenes.index), "scene", list(start)))
    for condition in _chosen(start):
        base = base.transform_filter(condition)
    base = base.transform_lookup("edge", from_=alt.LookupData(lines.assign(edge=range(len(lines))), "edge", list(lines)))
    edges = base.transform_calculate(effect="max(abs(datum.first), abs(datum.second))", circuit=f"{PARTS}[datum.part]").transform_filter(
        "datum.effect >= pick_effect && (pick_edges == 'by their effect alone' || pick_edges == 'in both circuits' && datum.circuit == 'both'"
        " || pick_edges == 'in a circuit' && datum.circuit != 'neither')").mark_rule(opacity=0.75).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False, nice=False, padding=18)), y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False, padding=14)), x2="x2:Q", y2="y2:Q",
        color=alt.Color("circuit:N", scale=alt.Scale(domain=PARTS, range=[GREY, LOOK_UP, CONTINUE, PURPLE]), legend=alt.Legend(columns=2)),
        strokeDash=alt.StrokeDash("circuit:N", scale=alt.Scale(domain=PARTS, range=[[1, 3], [1, 0], [6, 3], [1, 0]]), legend=None),
        strokeWidth=alt.StrokeWidth("effect:Q", scale=alt.Scale(domain=[0, 0.5], range=[0.8, 7], clamp=True), legend=None),
        tooltip=["writer:N", "reader:N", alt.Tooltip("first:Q", title="cost to 1-after", format=".3f"), alt.Tooltip("second:Q", title="cost to 2-after", format=".3f"), "circuit:N"])
    nodes = pd.concat([lines[["writer", "x", "y"]].set_axis(["node", "x", "y"], axis=1), lines[["reader", "x2", "y2"]].set_axis(["node", "x", "y"], axis=1)]).drop_duplicates()
    nodes["words"] = nodes.node.str.replace("h.", "", regex=False).str.replace("attn.", "", regex=False).str.replace("_", "-")
    dots = alt.Chart(nodes).mark_circle(size=55, color=GREY, opacity=1).encode(x="x:Q", y="y:Q", tooltip="node:N")
    named = nodes[nodes.node.isin(lines.writer) & ~nodes.duplicated("node") | (nodes.node == "read_out")]  # readers say their name when pointed at
    words = alt.Chart(named).mark_text(fontSize=11, dy=-10).encode(x="x:Q", y="y:Q", text="words:N")
    missing = _missing(table, start, lambda row: f"{', '.join(str(getattr(row, name)) for name in start if name not in ('model', 'tasks'))}: see the caption")
    return themed(alt.layer(edges, dots, words, missing).add_params(*pickers, shown, least), 460)


def shared_by_kind(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Overlap of the circuits of 1- and 2-after-query against whom the model believes.  Columns corruption, index (label index of
    2-after-query), overlap, null, ceiling, run, dimension; a bar from null to ceiling for every model."""
    pick = choice("shared", "corruption ", table.corruption.drop_duplicates().tolist(), table.corruption.iloc[0])
    base = alt.Chart(table.round(3)).transform_filter("datum.corruption == pick_shared").encode(
        x=alt.X("index:Q", title="label index of 2-after-query (0: the states lead, 1: the label leads)", scale=alt.Scale(domain=[-0.05, 1.1], nice=False)))
    tips = ["run", "overlap", "null", "ceiling"]
    bars = base.mark_rule(strokeWidth=5, opacity=0.3, color=GREY).encode(y=alt.Y("null:Q", title="edges in both circuits / edges in either", scale=alt.Scale(domain=[0, 1])), y2="ceiling:Q", tooltip=tips)
    points = base.mark_point(filled=True, size=90, opacity=1, color=PURPLE).encode(
        y="overlap:Q", tooltip=tips, shape=alt.Shape("dimension:N", legend=alt.Legend(title="n")))
    return themed((bars + points).add_params(pick), 280)


def traced(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Share of the prediction that moves with one row of the prompt.  Columns model, corruption, task, layer, landmark, lost."""
    pickers = [choice(f"traced_{name}", words, table[name].drop_duplicates().tolist(), table[name].iloc[0]) for name, words in (("model", "model "), ("corruption", "the row comes from "))]
    table = table.assign(column=table.task + ", layer " + table.layer.astype(str)).round({"lost": 3})
    base = alt.Chart(table).transform_filter("datum.model == pick_traced_model && datum.corruption == pick_traced_corruption").encode(
        x=alt.X("column:O", sort=table.column.drop_duplicates().tolist(), title=None, axis=alt.Axis(labelAngle=-35)),
        y=alt.Y("landmark:N", sort=table.landmark.drop_duplicates().tolist(), title=None))
    cells = base.mark_rect(stroke="white").encode(color=alt.Color("lost:Q", scale=alt.Scale(domain=[0, 1], range=["#f3f3f3", LOOK_UP], clamp=True), legend=None),
                                                  tooltip=["task", "landmark", "layer", "lost"])
    words = base.mark_text(fill="black", fontSize=12).encode(text=alt.Text("lost:Q", format=".2f"))
    return themed((cells + words).add_params(*pickers), 260)


def converting(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Shared part r, price c and label index over training, with the dates of both abilities.

    table: `dissect.over_training` of several models, with `converting`, what the page calls each of them."""
    pick = choice("converting", "converting ", table.converting.drop_duplicates().tolist(), table.converting.iloc[0])
    lines = {"shared": "shared part r of the circuits", "price": "price c of one circuit for both", "label_index": "label index of 2-after-query"}
    key = alt.Scale(domain=[*lines.values()], range=[PURPLE, CONTINUE, LOOK_UP])
    x = alt.X("step:Q", title="training step (logarithmic)", scale=alt.Scale(type="log", nice=False))
    base = alt.Chart(table[["converting", "step", *lines]].rename(columns=lines).round(3)).transform_filter("datum.converting == pick_converting").transform_fold(
        [*lines.values()], as_=["what", "value"]).encode(
        x=x, y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[-0.2, 1.1], clamp=True)), color=alt.Color("what:N", scale=key, legend=alt.Legend(columns=1)),
        strokeDash=alt.StrokeDash("what:N", scale=alt.Scale(domain=key.domain, range=[[1, 0], [2, 2], [6, 3]]), legend=None),
        tooltip=["what:N", "step:Q", alt.Tooltip("value:Q", format=".2f")])
    dates = pd.concat([table[["converting", f"date_{k}"]].drop_duplicates().set_axis(["converting", "step"], axis=1).assign(words=f"{k}-after-query is there") for k in (1, 2)])
    marks = alt.Chart(dates.dropna()).transform_filter("datum.converting == pick_converting").encode(x=x)
    named = [marks.transform_filter(f"datum.words == '{words}'").mark_text(align="left", dx=4, fontSize=11.5).encode(text="words:N", y=alt.value(place))
             for words, place in zip(dates.words.drop_duplicates(), (8, 24))]
    return themed(alt.layer(marks.mark_rule(strokeDash=[4, 4], color=GREY), base.mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=50)), *named).add_params(pick), 280)
