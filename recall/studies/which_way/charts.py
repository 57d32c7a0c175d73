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


def probed(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors by k under an intervention: a mark per model, lines for the two ways to know the query's system.

    table: `edits.probe` with `led`, each model's kind.  start: intervention, dimension, systems and needle
    shown first."""
    there = {kind: each for kind, each in KINDS.items() if kind in set(table.led)}
    marks = [*(f"{kind} model" for kind in there), "the same on the plain prompt"]
    ways = ["by label", "by observation"]
    colours, shapes, _ = zip(*there.values())
    key = alt.Scale(domain=[*marks, *ways], range=[*colours, GREY, LOOK_UP, CONTINUE])
    table = table[["intervention", "dimension", "systems", "needle", "predictor", "led", "seed", "k", "mean"]].round(
        {"mean": 3}
    )
    base = compact(table)
    for name in start:
        if name != "intervention":
            base = base.transform_filter(f"datum.{name} == pick_{name}")
    chosen = "datum.intervention == pick_intervention"
    x = alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0))
    y = alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 2.3], clamp=True))
    colour = alt.Color("what:N", sort=[*marks, *ways], scale=key, legend=alt.Legend(columns=2))
    shape = alt.Shape(
        "what:N",
        sort=[*marks, *ways],
        scale=alt.Scale(domain=[*marks, *ways], range=[*shapes, "cross", "stroke", "stroke"]),
        legend=None,
    )
    lines = (
        base.transform_filter(f"{chosen} && datum.predictor != 'model'")
        .transform_calculate(what="datum.predictor")
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=colour,
            strokeDash=alt.StrokeDash("what:N", scale=alt.Scale(domain=ways, range=[[1, 0], [6, 3]]), legend=None),
        )
    )
    points = (
        base.transform_filter(f"datum.predictor == 'model' && ({chosen} || datum.intervention == 'plain')")
        .transform_calculate(
            what=f"{chosen} ? datum.led + ' model' : '{marks[-1]}'",
            side="datum.intervention == 'plain' ? 'plain' : 'edited'",
        )
        .mark_point(size=75, strokeWidth=2, opacity=0.9)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            xOffset=alt.XOffset("side:N", scale=alt.Scale(domain=["plain", "edited"])),
            tooltip=["what:N", "seed:N", "k:O", alt.Tooltip("mean:Q", format=".3f")],
        )
    )
    return themed(
        alt.layer(lines, points, missing_note(table, start, "this edit cannot be made on such prompts")).add_params(
            *pickers(table, start)
        ),
        320,
    )


def norm_gap(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Error of 2-after-query by how far the two systems' norms are apart, a line per model.  table:
    `edits.norm_gaps` with `led`.
    """
    pick = choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension)
    there = {kind: each for kind, each in KINDS.items() if kind in set(table.led)}
    colours, _, dashes = zip(*there.values())
    chart = (
        alt.Chart(table.round(3))
        .transform_filter("datum.dimension == pick_dimension")
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=45))
        .encode(
            x=alt.X("group:O", title="distance of norms (1: closest, 5: farthest)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("error:Q", title="mean squared error of 2-after-query"),
            color=alt.Color("led:N", scale=alt.Scale(domain=list(there), range=list(colours))),
            strokeDash=alt.StrokeDash("led:N", scale=alt.Scale(domain=list(there), range=list(dashes))),
            detail="seed:N",
            tooltip=[
                "seed",
                "led",
                alt.Tooltip("gap", format=".2f", title="larger norm / smaller"),
                alt.Tooltip("error", format=".3f"),
            ],
        )
    )
    return themed(chart.add_params(pick), 240)


ROLES = ["label", "observed", "recent", "other"]


def _own(table: pd.DataFrame, start: dict) -> tuple[pd.DataFrame, dict]:
    """With pickers that move together with each other, and not with those of the page's other figures, which know
    other models.
    """
    return table.rename(columns={name: f"ways_{name}" for name in start}), {
        f"ways_{name}": value for name, value in start.items()
    }


def _over_training(
    table: pd.DataFrame, start: dict, value: alt.Y, key: str, scale: dict, dashes: list, more: list, tooltip: list
) -> alt.LayerChart:
    """A thin line per seed and a thick one for the mean over seeds, over training; key: field of colour and dash."""
    base = compact(table)
    for condition in [*chosen(start), *more]:
        base = base.transform_filter(condition)
    if key == "role":
        base = base.transform_fold(ROLES, as_=["role", "value"])
    encoding = dict(
        x=alt.X(
            "examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)
        ),
        color=alt.Color(f"{key}:N", scale=alt.Scale(**scale), legend=alt.Legend(columns=2)),
        strokeDash=alt.StrokeDash(f"{key}:N", scale=alt.Scale(domain=scale["domain"], range=dashes)),
    )
    thin = base.mark_line(strokeWidth=1, opacity=0.4, clip=True).encode(
        y=value, detail="seed:N", tooltip=tooltip, **encoding
    )
    thick = (
        base.transform_aggregate(value="mean(value)", groupby=["examples", key])
        .mark_line(strokeWidth=3, clip=True)
        .encode(y=value, **encoding)
    )
    return thin + thick


def ways_curves(table: pd.DataFrame, start: dict, k: int = 2) -> alt.TopLevelMixin:
    """Weight of each role's system on conflict prompts over training.  table: `ways.curves`; start: dimension,
    setting.
    """
    table, start = _own(table, start)
    pick = choice("k", "k, observations after the query's label ", sorted(table.k.unique().tolist()), k)
    value = alt.Y(
        "value:Q", title="weight in the prediction", scale=alt.Scale(domain=[-0.2, 1.1], clamp=True, nice=False)
    )
    lines = _over_training(
        table,
        start,
        value,
        "role",
        dict(domain=ROLES, range=[LOOK_UP, CONTINUE, PURPLE, GREY]),
        [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]],
        ["datum.k == pick_k"],
        [
            "role:N",
            "seed:N",
            alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"),
            alt.Tooltip("value:Q", format=".2f", title="weight"),
        ],
    )
    levels = reference_lines(pd.DataFrame({"level": [1.0], "words": ["this system alone"]}))
    nothing = reference_lines(pd.DataFrame({"level": [0.0], "words": ["no say"]}), below=True)
    return themed(
        alt.layer(levels, nothing, lines, missing_note(table, start)).add_params(pick, *pickers(table, start)), 320
    )


def lag_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Score of 1-after-query over training by how far back the needle lies.  table: `ways.lag_curves`; start:
    dimension, setting.
    """
    table, start = _own(table, start)
    names = ["lag 1 (just before)", "lag 2", "lag 3", "lag 4 (farthest)"]
    named = table.assign(distance=table.lag.map(dict(enumerate(names, 1))), value=table.score).drop(
        columns=["lag", "score"]
    )
    value = alt.Y(
        "value:Q",
        title="identification score of 1-after-query",
        scale=alt.Scale(domain=[-0.6, 1.05], clamp=True, nice=False),
    )
    lines = _over_training(
        named,
        start,
        value,
        "distance",
        dict(domain=names, range=[PURPLE, CONTINUE, THIRD, LOOK_UP]),
        [[2, 2], [6, 3], [8, 2, 2, 2], [1, 0]],
        [],
        [
            "distance:N",
            "seed:N",
            alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"),
            alt.Tooltip("value:Q", format=".2f", title="score"),
        ],
    )
    levels = reference_lines(pd.DataFrame({"level": [0.0, 0.5], "words": ["label-blind average", "emerged"]}))
    return themed(alt.layer(levels, lines, missing_note(table, start)).add_params(*pickers(table, start)), 320)


def label_shares(table: pd.DataFrame, model: str) -> alt.TopLevelMixin:
    """The label's share in single answers at k = 2: bars; dots: if every answer were the same mixture.  table:
    `ways.shares`.
    """
    pick = choice("model", "model ", table.model.drop_duplicates().tolist(), model)
    base = alt.Chart(table).transform_filter("datum.model == pick_model")
    x = alt.X("bin:O", title="label's share (0: states, 1: label)", axis=alt.Axis(labelAngle=0, format=".1f"))
    y = alt.Y("traces:Q", title="share of prompts", scale=alt.Scale(domain=[0, 1]))
    key = alt.Color("key:N", scale=alt.Scale(domain=["answers", "if all were one mixture"], range=[CONTINUE, LOOK_UP]))
    tooltip = [
        alt.Tooltip("traces", format=".2f", title="answers"),
        alt.Tooltip("mixture", format=".2f", title="one mixture"),
    ]
    bars = base.transform_calculate(key="'answers'").mark_bar(opacity=0.75).encode(x=x, y=y, color=key, tooltip=tooltip)
    dots = (
        base.transform_calculate(key="'if all were one mixture'")
        .mark_point(filled=True, size=70, opacity=1, shape="diamond")
        .encode(x=x, y="mixture:Q", color=key, tooltip=tooltip)
    )
    return themed((bars + dots).add_params(pick), 240)


def equal_norms(table: pd.DataFrame, dimension: int, k: int = 2, condition: str = "plain") -> alt.TopLevelMixin:
    """Errors after the query against N, by the norms of training and of the prompts: a mark per seed, a bar at their
    mean.

    table: `cues.equal_norms` with `pair`, training and prompts in words.  dimension, k, condition: shown first.
    """
    table = table.assign(
        chosen_k=table.k.map("{}-after-query".format),
        label=table.condition.map({"plain": "right", "misdirected": "misdirected"}),
    )[["pair", "dimension", "chosen_k", "label", "systems", "seed", "mean", "label_index"]].round(3)
    pairs = table.pair.drop_duplicates().tolist()  # in the order of the table
    pick = [
        choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension),
        choice("norms_k", "prediction ", sorted(table.chosen_k.unique().tolist()), f"{k}-after-query"),
        choice("norms_label", "label ", ["right", "misdirected"], "right" if condition == "plain" else condition),
    ]
    numbers = {column: "number" for column in table.select_dtypes("number")}
    base = (
        alt.Chart(alt.InlineData(values=table.to_csv(index=False), format=alt.CsvDataFormat(type="csv", parse=numbers)))
        .transform_filter(
            "datum.dimension == pick_dimension && datum.chosen_k == pick_norms_k && datum.label == pick_norms_label"
        )
        .encode(
            x=alt.X("systems:O", title="systems in the prompt N", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("pair:N", sort=pairs, scale=alt.Scale(domain=pairs)),
            color=alt.Color(
                "pair:N",
                sort=pairs,
                scale=alt.Scale(domain=pairs, range=[CONTINUE, PURPLE, LOOK_UP, THIRD]),
                legend=alt.Legend(columns=2),
            ),
        )
    )
    points = base.mark_point(size=55, strokeWidth=1.8, opacity=0.85).encode(
        y=alt.Y("mean:Q", title="mean squared error"),
        shape=alt.Shape(
            "pair:N",
            sort=pairs,
            scale=alt.Scale(domain=pairs, range=["square", "diamond", "triangle-up", "circle"]),
            legend=None,
        ),
        tooltip=[
            "pair:N",
            "seed:N",
            "systems:O",
            alt.Tooltip("mean:Q", format=".3f"),
            alt.Tooltip("label_index:Q", format=".2f", title="label index"),
        ],
    )
    means = base.mark_tick(thickness=3, size=16).encode(y="mean(mean):Q")
    return themed((means + points).add_params(*pick), 280)


def cue_weights(table: pd.DataFrame, k: int = 2, systems: int = 2) -> alt.TopLevelMixin:
    """Weight of a misdirected label's system against the label error of training: a mark per model, solid lines
    through their mean, Bayes dashed.

    table: `cues.weights`.  k, systems: shown first.
    """
    table = table.assign(
        chosen_k=table.k.map("{}-after-query".format), s=table.state_noise.map("state noise {:g}".format)
    )[["chosen_k", "systems", "label_error", "s", "seed", "label", "bayes_label"]].round(3)
    noises = sorted(table.s.unique().tolist())
    pick = [
        choice("cue_k", "prediction ", sorted(table.chosen_k.unique().tolist()), f"{k}-after-query"),
        choice("systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems),
    ]
    base = (
        alt.Chart(table)
        .transform_filter("datum.chosen_k == pick_cue_k && datum.systems == pick_systems")
        .encode(
            x=alt.X("label_error:O", title="label error p of the training", axis=alt.Axis(labelAngle=0)),
            color=alt.Color(
                "s:N",
                sort=noises,
                scale=alt.Scale(domain=noises, range=[CONTINUE, PURPLE, LOOK_UP]),
                legend=alt.Legend(columns=2),
            ),
        )
    )
    y = alt.Y("label:Q", title="weight of the label's system", scale=alt.Scale(domain=[-0.05, 1.1]))
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean(label):Q"))
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.85).encode(
        y=y,
        shape=alt.Shape(
            "s:N", sort=noises, scale=alt.Scale(domain=noises, range=["square", "triangle-up", "circle"]), legend=None
        ),
        tooltip=[
            "s:N",
            "label_error",
            "seed",
            alt.Tooltip("label", format=".2f", title="model"),
            alt.Tooltip("bayes_label", format=".3f", title="Bayes"),
        ],
    )
    ideal = (
        base.transform_filter("isValid(datum.bayes_label)")
        .mark_line(strokeWidth=2, strokeDash=[5, 4])
        .encode(y="mean(bayes_label):Q")
    )
    return themed(alt.layer(ideal, line, points).add_params(*pick), 280)


def who_leads(table: pd.DataFrame, group: str) -> alt.TopLevelMixin:
    """Label index of 2-after-query by training: circles at the end, squares before 1-after-query was learnt, crosses
    where labels are not looked up at the end.

    table: `cues.led`.  group: shown first.
    """
    groups = table.group.drop_duplicates().tolist()
    pick = choice("training", "what is changed ", groups, group)
    moments = ["at the end", "before 1-after", "no look-up at the end"]
    end = table.assign(moment=table.knows.map({True: moments[0], False: moments[2]}), index=table.label_index)
    begin = table.assign(moment=moments[1], index=table.early_index)
    rows = (
        pd.concat([end, begin])[["group", "training", "order", "seed", "moment", "index"]]
        .dropna(subset="index")
        .round({"index": 3})
    )
    chart = (
        alt.Chart(rows)
        .transform_filter("datum.group == pick_training")
        .mark_point(size=70, strokeWidth=2, opacity=0.9)
        .encode(
            x=alt.X("index:Q", title="label index of 2-after-query", scale=alt.Scale(domain=[-0.1, 1.15], clamp=True)),
            y=alt.Y(
                "training:N",
                title=None,
                sort=alt.EncodingSortField("order", order="ascending"),
                axis=alt.Axis(labelLimit=150),
            ),
            yOffset=alt.YOffset("moment:N", sort=moments, scale=alt.Scale(domain=moments)),
            color=alt.Color(
                "moment:N",
                sort=moments,
                scale=alt.Scale(domain=moments, range=[LOOK_UP, CONTINUE, GREY]),
                legend=alt.Legend(columns=1),
            ),
            shape=alt.Shape(
                "moment:N",
                sort=moments,
                scale=alt.Scale(domain=moments, range=["circle", "square", "cross"]),
                legend=alt.Legend(columns=1),
            ),
            tooltip=["training", "seed", "moment", alt.Tooltip("index:Q", format=".2f", title="label index")],
        )
    )
    return themed(chart.add_params(pick), 430)
