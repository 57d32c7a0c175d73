"""Figures of chapters 2 to 4: tidy table in, Altair chart out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from recall.figures import (
    ABILITIES,
    ABILITY_COLOUR,
    ABILITY_DASH,
    CONTINUE,
    GREY,
    LOOK_UP,
    PURPLE,
    THIRD,
    choice,
    chosen,
    folded,
    missing_note,
    pickers,
    reference_lines,
    themed,
)


def pseudoinverse_theory(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Error by k after the first label: theory as a line, simulation as points.  Columns n, k, theory, simulated."""
    n = choice("n", "system dimension n ", sorted(table.n.unique().tolist()), 5)
    base = (
        alt.Chart(table)
        .transform_filter("datum.n == pick_n")
        .encode(x=alt.X("k:O", title="k, observations after the first open label", axis=alt.Axis(labelAngle=0)))
    )
    y = alt.Y("theory:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1]))
    key = alt.Color("key:N", scale=alt.Scale(domain=["theory", "simulation"], range=[GREY, LOOK_UP]))
    line = base.transform_calculate(key="'theory'").mark_line(strokeWidth=2).encode(y=y, color=key)
    points = (
        base.transform_calculate(key="'simulation'")
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            y="simulated:Q",
            color=key,
            tooltip=["n", "k", alt.Tooltip("theory", format=".3f"), alt.Tooltip("simulated", format=".3f")],
        )
    )
    return themed((line + points).add_params(n), 260)


def references_by_k(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean error after the query by k, one line per reference predictor.  Columns predictor, systems, k, mean."""
    counts = sorted(table.systems.unique().tolist())
    N = choice("systems", "systems in the prompt N ", counts, 4 if 4 in counts else counts[-1])
    order = table.predictor.unique().tolist()
    chart = (
        alt.Chart(table)
        .transform_filter("datum.systems == pick_systems")
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=60), strokeWidth=2)
        .encode(
            x=alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1])),
            color=alt.Color(
                "predictor:N",
                sort=order,
                scale=alt.Scale(domain=order, range=[GREY, THIRD, LOOK_UP, PURPLE, "#b8902a", CONTINUE]),
                legend=alt.Legend(columns=2),
            ),
            shape=alt.Shape("predictor:N", sort=order, scale=alt.Scale(domain=order), legend=alt.Legend(columns=2)),
            tooltip=["predictor", "k", alt.Tooltip("mean", format=".3f")],
        )
    )
    return themed(chart.add_params(N), 300)


def training_curve(history: pd.DataFrame, blind: float, systems: int) -> alt.TopLevelMixin:
    """Errors of one run over training.  history: columns step, ability, mean."""
    lines = (
        alt.Chart(history)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("step:Q", title="training step"),
            y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
            color=alt.Color("ability:N", scale=ABILITY_COLOUR),
            strokeDash=alt.StrokeDash("ability:N", scale=ABILITY_DASH),
            tooltip=["step", "ability", alt.Tooltip("mean", format=".3f")],
        )
    )
    levels = pd.DataFrame({"level": [1.0, blind], "words": ["zero predictor", f"label-blind average of {systems}"]})
    return themed(reference_lines(levels) + lines, 300)


def emergence_curves(
    table: pd.DataFrame, levels: pd.DataFrame, start: dict, controls: bool = True
) -> alt.TopLevelMixin:
    """Error of 1- and 2-after-query over training, a line per seed.

    table: dimension, labels, setting, systems, seed, examples, error1, error2 (mean squared errors, thousands of
    examples).  levels: systems, level, words.  start: the choice shown first.
    """
    abilities = ABILITIES[:2]
    lines = (
        folded(table, start, "error", abilities)
        .mark_line(strokeWidth=1.8, opacity=0.85, clip=True)
        .encode(
            x=alt.X(
                "examples:Q",
                title="training examples (thousands, logarithmic)",
                scale=alt.Scale(type="log", nice=False),
            ),
            y=alt.Y("value:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
            color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
            strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=abilities, range=[[1, 0], [6, 3]])),
            detail="seed:N",
            tooltip=[
                "ability:N",
                "seed:N",
                alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"),
                alt.Tooltip("value:Q", format=".3f", title="error"),
            ],
        )
    )
    rules = reference_lines(levels, ["datum.systems == pick_systems"])
    chart = alt.layer(rules, lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 320)


def label_index_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Label index of 1-, 2- and 3-after on misdirected prompts over training, a line per seed.  Columns index1..3."""
    lines = (
        folded(table, start, "index", ABILITIES)
        .mark_line(strokeWidth=1.8, opacity=0.85, clip=True)
        .encode(
            x=alt.X(
                "examples:Q",
                title="training examples (thousands, logarithmic)",
                scale=alt.Scale(type="log", nice=False),
            ),
            y=alt.Y("value:Q", title="label index", scale=alt.Scale(domain=[-0.15, 1.15], clamp=True)),
            color=alt.Color("ability:N", scale=ABILITY_COLOUR),
            strokeDash=alt.StrokeDash("ability:N", scale=ABILITY_DASH),
            detail="seed:N",
            tooltip=[
                "ability:N",
                "seed:N",
                alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"),
                alt.Tooltip("value:Q", format=".2f", title="label index"),
            ],
        )
    )
    observed = reference_lines(pd.DataFrame({"level": [0.0], "words": ["follows what was observed"]}), below=True)
    label = reference_lines(pd.DataFrame({"level": [1.0], "words": ["follows the label"]}))
    chart = alt.layer(observed, label, lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 300)


def misdirected_errors(table: pd.DataFrame, levels: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Final errors by k with the right and with a misdirected label, a point per seed.

    table: dimension, labels, setting, systems, seed, k, condition, error.
    """
    conditions = ["right label", "misdirected label"]
    base = alt.Chart(table)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    points = base.mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("condition:N", sort=conditions),
        y=alt.Y("error:Q", title="mean squared error", scale=alt.Scale(domain=[0, 2.3], clamp=True)),
        color=alt.Color("condition:N", sort=conditions, scale=alt.Scale(domain=conditions, range=[THIRD, PURPLE])),
        shape=alt.Shape("condition:N", sort=conditions, scale=alt.Scale(domain=conditions, range=["circle", "cross"])),
        tooltip=["condition", "seed", "k", alt.Tooltip("error", format=".3f")],
    )
    chart = alt.layer(reference_lines(levels, ["datum.systems == pick_systems"]), points, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 300)


def distance_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Error of 1-after-query over training for the nearest and the farthest needle, with 2-after for the farthest.

    table: dimension, labels, setting, seed, examples (thousands), curve, mean.  start: without `systems`, which is 2.
    """
    names = ["1-after, farthest", "1-after, nearest", "2-after, farthest"]
    base = alt.Chart(table)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    lines = base.mark_line(strokeWidth=1.8, opacity=0.85, clip=True).encode(
        x=alt.X(
            "examples:Q", title="training examples (thousands, logarithmic)", scale=alt.Scale(type="log", nice=False)
        ),
        y=alt.Y("mean:Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.3], clamp=True)),
        color=alt.Color("curve:N", scale=alt.Scale(domain=names, range=[LOOK_UP, PURPLE, CONTINUE])),
        strokeDash=alt.StrokeDash("curve:N", scale=alt.Scale(domain=names, range=[[1, 0], [2, 2], [6, 3]])),
        detail="seed:N",
        tooltip=[
            "curve:N",
            "seed:N",
            alt.Tooltip("examples:Q", format=",.0f", title="thousand examples"),
            alt.Tooltip("mean:Q", format=".3f", title="error"),
        ],
    )
    levels = pd.DataFrame({"level": [1.0, 0.5], "words": ["zero predictor", "label-blind average"]})
    chart = alt.layer(reference_lines(levels), lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 300)


def prices(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Training seconds until each ability, a point per seed, a row per setting.

    table: dimension, setting, seed, ability, seconds, state; hollow where the state is not `there`.
    """
    abilities = ABILITIES[:2]
    pick = choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension)
    chart = (
        alt.Chart(table)
        .transform_filter("datum.dimension == pick_dimension")
        .mark_point(size=80, strokeWidth=2)
        .encode(
            x=alt.X(
                "seconds:Q",
                title="training seconds on one core (logarithmic)",
                scale=alt.Scale(type="log", nice=False, padding=12),
            ),
            y=alt.Y("setting:N", title=None, axis=alt.Axis(labelLimit=110)),
            yOffset=alt.YOffset("ability:N", sort=abilities[::-1]),
            color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
            fill=alt.Fill("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
            fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.75), alt.value(0)),
            shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
            tooltip=["setting", "seed", "ability", alt.Tooltip("seconds", format=",.0f"), "state"],
        )
    )
    return themed(chart.add_params(pick), 240)
