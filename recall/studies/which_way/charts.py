"""Figures of chapter 6: tidy table in, Altair chart out."""

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

KINDS = {  # of a model, `measures.KINDS`: colour, shape, dash
    "observation-led": (CONTINUE, "square", [6, 3]),
    "between": (PURPLE, "diamond", [2, 2]),
    "label-led": (LOOK_UP, "circle", [1, 0]),
    "no look-up": (GREY, "triangle-up", [8, 3, 2, 3]),
}
ROLES = ["label", "observed", "recent", "other"]


# --- parts


def _x(field: str, title: str, **axis) -> alt.X:
    return alt.X(field, title=title, axis=alt.Axis(labelAngle=0, **axis))


def _tip(field: str, digits: int = 2, title=alt.Undefined) -> alt.Tooltip:
    return alt.Tooltip(field, format=f".{digits}f", title=title)


def _marked(field: str, domain: list[str], colours: list[str], shapes: list[str], merged: bool = False) -> dict:
    """Colour, and the shape that repeats it.  merged: in one legend, a line each; else the legend shows colours."""
    scale = lambda values: alt.Scale(domain=domain, range=list(values))
    legend, other = (alt.Legend(columns=1), alt.Legend(columns=1)) if merged else (alt.Legend(columns=2), None)
    return dict(
        color=alt.Color(field, sort=domain, scale=scale(colours), legend=legend),
        shape=alt.Shape(field, sort=domain, scale=scale(shapes), legend=other),
    )


def _picks(table: pd.DataFrame, column: str, words: str, start, name: str | None = None) -> alt.Parameter:
    """A list of a column's values; name: of the parameter, if not the column's."""
    return choice(name or column, words, sorted(table[column].unique().tolist()), start)


def _kinds_in(table: pd.DataFrame) -> tuple[list, list, list, list]:
    """Those of the models in the table: names, colours, shapes, dashes."""
    names = [kind for kind in KINDS if kind in set(table.led)]
    return names, *(list(part) for part in zip(*(KINDS[kind] for kind in names)))


# --- interventions


def probed(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors by k under an intervention: a mark per model, lines for the two ways to know the query's system.

    table: `edits.probe` with `led`, each model's kind.  start: intervention, dimension, systems and needle
    shown first."""
    kinds, colours, shapes, _ = _kinds_in(table)
    ways, same = ["by label", "by observation"], "same, plain prompt"
    marked = _marked(
        "what:N",
        [*(f"{kind} model" for kind in kinds), same, *ways],
        [*colours, GREY, LOOK_UP, CONTINUE],
        [*shapes, "cross", "stroke", "stroke"],
    )
    columns = "intervention dimension systems needle predictor led seed k mean".split()
    others = [name for name in start if name != "intervention"]
    base = filtered(compact(table[columns].round({"mean": 3})), chosen(others))
    edited = "datum.intervention == pick_intervention"
    at = dict(
        x=_x("k:O", "k, observations after the query's label"),
        y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 2.3], clamp=True)),
    )
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=ways, range=[[1, 0], [6, 3]]), legend=None)
    lines = (
        base.transform_filter(f"{edited} && datum.predictor != 'model'")
        .transform_calculate(what="datum.predictor")
        .mark_line(strokeWidth=2)
        .encode(**at, color=marked["color"], strokeDash=dash)
    )
    points = (
        base.transform_filter(f"datum.predictor == 'model' && ({edited} || datum.intervention == 'plain')")
        .transform_calculate(
            what=f"{edited} ? datum.led + ' model' : '{same}'",
            side="datum.intervention == 'plain' ? 'plain' : 'edited'",
        )
        .mark_point(size=75, strokeWidth=2, opacity=0.9)
        .encode(
            **at,
            **marked,
            xOffset=alt.XOffset("side:N", scale=alt.Scale(domain=["plain", "edited"])),
            tooltip=["what:N", "seed:N", "k:O", _tip("mean:Q", 3)],
        )
    )
    note = missing_note(table, start, "this edit cannot be made on such prompts")
    return themed(alt.layer(lines, points, note).add_params(*pickers(table, start)), 320)


def norm_gap(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Error of 2-after-query by how far the two systems' norms are apart, a line per model.  table:
    `edits.norm_gaps` with `led`.
    """
    kinds, colours, _, dashes = _kinds_in(table)
    chart = (
        alt.Chart(table.round(3))
        .transform_filter("datum.dimension == pick_dimension")
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=45))
        .encode(
            x=_x("group:O", "distance of norms (1: closest, 5: farthest)"),
            y=alt.Y("error:Q", title="mean squared error of 2-after-query"),
            color=alt.Color("led:N", scale=alt.Scale(domain=kinds, range=colours)),
            strokeDash=alt.StrokeDash("led:N", scale=alt.Scale(domain=kinds, range=dashes)),
            detail="seed:N",
            tooltip=["seed", "led", _tip("gap", title="larger norm / smaller"), _tip("error", 3)],
        )
    )
    return themed(chart.add_params(_picks(table, "dimension", "system dimension n ", dimension)), 240)


# --- four ways, over training


def _own(table: pd.DataFrame, start: dict) -> tuple[pd.DataFrame, dict]:
    """With pickers that move together with each other, and not with those of the page's other figures, which know
    other models.
    """
    names = {name: f"ways_{name}" for name in start}
    return table.rename(columns=names), {names[name]: value for name, value in start.items()}


def _over_training(
    base: alt.Chart, key: str, domain: list, colours: list, dashes: list, value: alt.Y, tip
) -> alt.Chart:
    """A thin line per seed and a thick one for the mean over seeds of `value`; key: field of colour and dash."""
    examples = alt.Tooltip("examples:Q", format=",.0f", title="thousand examples")
    encoding = dict(
        x=alt.X(
            "examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)
        ),
        y=value,
        color=alt.Color(f"{key}:N", scale=alt.Scale(domain=domain, range=colours), legend=alt.Legend(columns=2)),
        strokeDash=alt.StrokeDash(f"{key}:N", scale=alt.Scale(domain=domain, range=dashes)),
    )
    thin = base.mark_line(strokeWidth=1, opacity=0.4, clip=True)
    thick = base.transform_aggregate(value="mean(value)", groupby=["examples", key]).mark_line(strokeWidth=3, clip=True)
    tooltip = [f"{key}:N", "seed:N", examples, tip]
    return thin.encode(**encoding, detail="seed:N", tooltip=tooltip) + thick.encode(**encoding)


def ways_curves(table: pd.DataFrame, start: dict, k: int = 2) -> alt.TopLevelMixin:
    """Weight of each role's system on conflict prompts over training.  table: `ways.curves`; start: dimension,
    setting.
    """
    table, start = _own(table, start)
    base = filtered(compact(table), [*chosen(start), "datum.k == pick_k"])
    scale = alt.Scale(domain=[-0.2, 1.1], clamp=True, nice=False)
    lines = _over_training(
        base.transform_fold(ROLES, as_=["role", "value"]),
        "role",
        ROLES,
        [LOOK_UP, CONTINUE, PURPLE, GREY],
        [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]],
        alt.Y("value:Q", title="weight in the prediction", scale=scale),
        _tip("value:Q", title="weight"),
    )
    levels = reference_lines(pd.DataFrame({"level": [1.0], "words": ["this system alone"]}))
    nothing = reference_lines(pd.DataFrame({"level": [0.0], "words": ["no say"]}), below=True)
    pick = _picks(table, "k", "k, observations after the query's label ", k)
    chart = alt.layer(levels, nothing, lines, missing_note(table, start))
    return themed(chart.add_params(pick, *pickers(table, start)), 320)


def lag_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Score of 1-after-query over training by how far back the needle lies.  table: `ways.lag_curves`; start:
    dimension, setting.
    """
    table, start = _own(table, start)
    names = ["lag 1 (just before)", "lag 2", "lag 3", "lag 4 (farthest)"]
    named = table.assign(distance=table.lag.map(dict(enumerate(names, 1))), value=table.score)
    scale = alt.Scale(domain=[-0.6, 1.05], clamp=True, nice=False)
    lines = _over_training(
        filtered(compact(named.drop(columns=["lag", "score"])), chosen(start)),
        "distance",
        names,
        [PURPLE, CONTINUE, THIRD, LOOK_UP],
        [[2, 2], [6, 3], [8, 2, 2, 2], [1, 0]],
        alt.Y("value:Q", title="identification score of 1-after-query", scale=scale),
        _tip("value:Q", title="score"),
    )
    levels = reference_lines(pd.DataFrame({"level": [0.0, 0.5], "words": ["label-blind average", "emerged"]}))
    chart = alt.layer(levels, lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 320)


def label_shares(table: pd.DataFrame, model: str) -> alt.TopLevelMixin:
    """The label's share in single answers at k = 2: bars; dots: if every answer were the same mixture.  table:
    `ways.shares`.
    """
    mixed = "if all were one mixture"
    scale = alt.Scale(domain=["answers", mixed], range=[CONTINUE, LOOK_UP])
    base = alt.Chart(table).transform_filter("datum.model == pick_model")
    encoding = dict(
        x=_x("bin:O", "label's share (0: states, 1: label)", format=".1f"),
        color=alt.Color("key:N", scale=scale),
        tooltip=[_tip("traces", title="answers"), _tip("mixture", title="one mixture")],
    )
    y = alt.Y("traces:Q", title="share of prompts", scale=alt.Scale(domain=[0, 1]))
    bars = base.transform_calculate(key="'answers'").mark_bar(opacity=0.75)
    dots = base.transform_calculate(key=f"'{mixed}'").mark_point(filled=True, size=70, opacity=1, shape="diamond")
    pick = choice("model", "model ", table.model.drop_duplicates().tolist(), model)
    return themed((bars.encode(y=y, **encoding) + dots.encode(y="mixture:Q", **encoding)).add_params(pick), 240)


# --- cues that are more or less certain


def equal_norms(table: pd.DataFrame, dimension: int, k: int = 2, condition: str = "plain") -> alt.TopLevelMixin:
    """Errors after the query against N, by the norms of training and of the prompts: a mark per seed, a bar at their
    mean.

    table: `cues.equal_norms` with `pair`, training and prompts in words.  dimension, k, condition: shown first.
    """
    table = table.assign(
        chosen_k=table.k.map("{}-after-query".format),
        label=table.condition.map({"plain": "right", "misdirected": "misdirected"}),
    )["pair dimension chosen_k label systems seed mean label_index".split()].round(3)
    pairs = table.pair.drop_duplicates().tolist()  # in the order of the table
    colours, shapes = [CONTINUE, PURPLE, LOOK_UP, THIRD], ["square", "diamond", "triangle-up", "circle"]
    marked = _marked("pair:N", pairs, colours, shapes)
    base = (
        compact(table)
        .transform_filter(
            "datum.dimension == pick_dimension && datum.chosen_k == pick_norms_k && datum.label == pick_norms_label"
        )
        .encode(
            x=_x("systems:O", "systems in the prompt N"),
            xOffset=alt.XOffset("pair:N", sort=pairs, scale=alt.Scale(domain=pairs)),
            color=marked["color"],
        )
    )
    points = base.mark_point(size=55, strokeWidth=1.8, opacity=0.85).encode(
        y=alt.Y("mean:Q", title="mean squared error"),
        shape=marked["shape"],
        tooltip=["pair:N", "seed:N", "systems:O", _tip("mean:Q", 3), _tip("label_index:Q", title="label index")],
    )
    means = base.mark_tick(thickness=3, size=16).encode(y="mean(mean):Q")
    first = "right" if condition == "plain" else condition
    pick = [
        _picks(table, "dimension", "system dimension n ", dimension),
        _picks(table, "chosen_k", "prediction ", f"{k}-after-query", "norms_k"),
        choice("norms_label", "label ", ["right", "misdirected"], first),
    ]
    return themed((means + points).add_params(*pick), 280)


def cue_weights(table: pd.DataFrame, k: int = 2, systems: int = 2) -> alt.TopLevelMixin:
    """Weight of a misdirected label's system against the label error of training: a mark per model, solid lines
    through their mean, Bayes dashed.

    table: `cues.weights`.  k, systems: shown first.
    """
    table = table.assign(
        chosen_k=table.k.map("{}-after-query".format), s=table.state_noise.map("state noise {:g}".format)
    )["chosen_k systems label_error s seed label bayes_label".split()].round(3)
    noises = sorted(table.s.unique().tolist())
    marked = _marked("s:N", noises, [CONTINUE, PURPLE, LOOK_UP], ["square", "triangle-up", "circle"])
    base = (
        alt.Chart(table)
        .transform_filter("datum.chosen_k == pick_cue_k && datum.systems == pick_systems")
        .encode(x=_x("label_error:O", "label error p of the training"), color=marked["color"])
    )
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean(label):Q"))
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.85).encode(
        y=alt.Y("label:Q", title="weight of the label's system", scale=alt.Scale(domain=[-0.05, 1.1])),
        shape=marked["shape"],
        tooltip=["s:N", "label_error", "seed", _tip("label", title="model"), _tip("bayes_label", 3, "Bayes")],
    )
    known = base.transform_filter("isValid(datum.bayes_label)")
    ideal = known.mark_line(strokeWidth=2, strokeDash=[5, 4]).encode(y="mean(bayes_label):Q")
    pick = [
        _picks(table, "chosen_k", "prediction ", f"{k}-after-query", "cue_k"),
        _picks(table, "systems", "systems in the prompt N ", systems),
    ]
    return themed(alt.layer(ideal, line, points).add_params(*pick), 280)


def who_leads(table: pd.DataFrame, group: str) -> alt.TopLevelMixin:
    """Label index of 2-after-query by training: circles at the end, squares before 1-after-query was learnt, crosses
    where labels are not looked up at the end.

    table: `cues.led`.  group: shown first.
    """
    at_end, before, deaf = moments = ["at the end", "before 1-after", "no look-up at the end"]
    end = table.assign(moment=table.knows.map({True: at_end, False: deaf}), index=table.label_index)
    begin = table.assign(moment=before, index=table.early_index)
    rows = pd.concat([end, begin])["group training order seed moment index".split()].dropna(subset="index")
    marked = _marked("moment:N", moments, [LOOK_UP, CONTINUE, GREY], ["circle", "square", "cross"], merged=True)
    order = alt.EncodingSortField("order", order="ascending")
    chart = (
        alt.Chart(rows.round({"index": 3}))
        .transform_filter("datum.group == pick_training")
        .mark_point(size=70, strokeWidth=2, opacity=0.9)
        .encode(
            x=alt.X("index:Q", title="label index of 2-after-query", scale=alt.Scale(domain=[-0.1, 1.15], clamp=True)),
            y=alt.Y("training:N", title=None, sort=order, axis=alt.Axis(labelLimit=150)),
            yOffset=alt.YOffset("moment:N", sort=moments, scale=alt.Scale(domain=moments)),
            **marked,
            tooltip=["training", "seed", "moment", _tip("index:Q", title="label index")],
        )
    )
    pick = choice("training", "what is changed ", table.group.drop_duplicates().tolist(), group)
    return themed(chart.add_params(pick), 430)
