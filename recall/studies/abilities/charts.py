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
    filtered,
    folded,
    missing_note,
    pickers,
    reference_lines,
    themed,
)
from recall.studies.marks import (
    COLOUR,
    DASH,
    ERROR,
    FILL,
    K_QUERY,
    PAIR,
    SHAPE,
    hollow,
    logarithmic,
    number,
    over_training,
    within,
)


def pseudoinverse_theory(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Error by k after the first label: theory as a line, simulation as points.  Columns n, k, theory, simulated."""
    n = choice("n", "system dimension n ", sorted(table.n.unique().tolist()), 5)
    x = alt.X("k:O", title="k, observations after the first open label", axis=alt.Axis(labelAngle=0))
    y = alt.Y("theory:Q", title=ERROR, scale=alt.Scale(domain=[0, 1.1]))
    key = alt.Color("key:N", scale=alt.Scale(domain=["theory", "simulation"], range=[GREY, LOOK_UP]))
    base = alt.Chart(table).transform_filter("datum.n == pick_n").encode(x=x)
    line = base.transform_calculate(key="'theory'").mark_line(strokeWidth=2).encode(y=y, color=key)
    points = base.transform_calculate(key="'simulation'").mark_point(filled=True, size=70, opacity=1)
    tooltip = ["n", "k", number("theory", ".3f"), number("simulated", ".3f")]
    return themed((line + points.encode(y="simulated:Q", color=key, tooltip=tooltip)).add_params(n), 260)


def references_by_k(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean error after the query by k, one line per reference predictor.  Columns predictor, systems, k, mean."""
    counts = sorted(table.systems.unique().tolist())
    N = choice("systems", "systems in the prompt N ", counts, 4 if 4 in counts else counts[-1])
    order = table.predictor.unique().tolist()
    colours = alt.Scale(domain=order, range=[GREY, THIRD, LOOK_UP, PURPLE, "#b8902a", CONTINUE])
    key = dict(sort=order, legend=alt.Legend(columns=2))
    chart = (
        alt.Chart(table)
        .transform_filter("datum.systems == pick_systems")
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=60), strokeWidth=2)
        .encode(
            x=K_QUERY,
            y=alt.Y("mean:Q", title=ERROR, scale=alt.Scale(domain=[0, 1.1])),
            color=alt.Color("predictor:N", scale=colours, **key),
            shape=alt.Shape("predictor:N", scale=alt.Scale(domain=order), **key),
            tooltip=["predictor", "k", number("mean", ".3f")],
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
            y=within("mean:Q", ERROR, 0, 1.3),
            color=alt.Color("ability:N", scale=ABILITY_COLOUR),
            strokeDash=alt.StrokeDash("ability:N", scale=ABILITY_DASH),
            tooltip=["step", "ability", number("mean", ".3f")],
        )
    )
    levels = pd.DataFrame({"level": [1.0, blind], "words": ["zero predictor", f"label-blind average of {systems}"]})
    return themed(reference_lines(levels) + lines, 300)


def emergence_curves(table: pd.DataFrame, levels: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Error of 1- and 2-after-query over training, a line per seed.

    table: dimension, labels, setting, systems, seed, examples, error1, error2 (mean squared errors, thousands of
    examples).  levels: systems, level, words.  start: the choice shown first.
    """
    base = folded(table, start, "error", PAIR)
    lines = over_training(base, within("value:Q", ERROR, 0, 1.3), COLOUR, DASH, number("value:Q", ".3f", "error"))
    rules = reference_lines(levels, ["datum.systems == pick_systems"])
    chart = alt.layer(rules, lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 320)


def label_index_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Label index of 1-, 2- and 3-after on misdirected prompts over training, a line per seed.  Columns index1..3."""
    lines = over_training(
        folded(table, start, "index", ABILITIES),
        within("value:Q", "label index", -0.15, 1.15),
        alt.Color("ability:N", scale=ABILITY_COLOUR),
        alt.StrokeDash("ability:N", scale=ABILITY_DASH),
        number("value:Q", ".2f", "label index"),
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
    looks = lambda values: dict(sort=conditions, scale=alt.Scale(domain=conditions, range=values))
    points = (
        filtered(alt.Chart(table), chosen(start))
        .mark_point(size=75, strokeWidth=2, opacity=0.9)
        .encode(
            x=K_QUERY,
            xOffset=alt.XOffset("condition:N", sort=conditions),
            y=within("error:Q", ERROR, 0, 2.3),
            color=alt.Color("condition:N", **looks([THIRD, PURPLE])),
            shape=alt.Shape("condition:N", **looks(["circle", "cross"])),
            tooltip=["condition", "seed", "k", number("error", ".3f")],
        )
    )
    chart = alt.layer(reference_lines(levels, ["datum.systems == pick_systems"]), points, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 300)


def distance_curves(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Error of 1-after-query over training for the nearest and the farthest needle, with 2-after for the farthest.

    table: dimension, labels, setting, seed, examples (thousands), curve, mean.  start: without `systems`, which is 2.
    """
    names = ["1-after, farthest", "1-after, nearest", "2-after, farthest"]
    lines = over_training(
        filtered(alt.Chart(table), chosen(start)),
        within("mean:Q", ERROR, 0, 1.3),
        alt.Color("curve:N", scale=alt.Scale(domain=names, range=[LOOK_UP, PURPLE, CONTINUE])),
        alt.StrokeDash("curve:N", scale=alt.Scale(domain=names, range=[[1, 0], [2, 2], [6, 3]])),
        number("mean:Q", ".3f", "error"),
    )
    levels = pd.DataFrame({"level": [1.0, 0.5], "words": ["zero predictor", "label-blind average"]})
    chart = alt.layer(reference_lines(levels), lines, missing_note(table, start))
    return themed(chart.add_params(*pickers(table, start)), 300)


def prices(table: pd.DataFrame, dimension: int) -> alt.TopLevelMixin:
    """Training seconds until each ability, a point per seed, a row per setting.

    table: dimension, setting, seed, ability, seconds, state; hollow where the state is not `there`.
    """
    pick = choice("dimension", "system dimension n ", sorted(table.dimension.unique().tolist()), dimension)
    chart = (
        alt.Chart(table)
        .transform_filter("datum.dimension == pick_dimension")
        .mark_point(size=80, strokeWidth=2)
        .encode(
            x=logarithmic("seconds:Q", "training seconds on one core (logarithmic)", padding=12),
            y=alt.Y("setting:N", title=None, axis=alt.Axis(labelLimit=110)),
            yOffset=alt.YOffset("ability:N", sort=PAIR[::-1]),
            color=COLOUR,
            fill=FILL,
            fillOpacity=hollow("datum.state == 'there'", 0.75),
            shape=SHAPE,
            tooltip=["setting", "seed", "ability", number("seconds", ",.0f"), "state"],
        )
    )
    return themed(chart.add_params(pick), 240)
