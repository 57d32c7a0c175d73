"""What charts of several chapters share: how the two abilities look, axes, a line or a mark per seed."""

from __future__ import annotations

import altair as alt

from recall.figures import ABILITIES, CONTINUE, LOOK_UP

PAIR = ABILITIES[:2]
_COLOURS = alt.Scale(domain=PAIR, range=[LOOK_UP, CONTINUE])
COLOUR, FILL = alt.Color("ability:N", scale=_COLOURS), alt.Fill("ability:N", scale=_COLOURS)
DASH = alt.StrokeDash("ability:N", scale=alt.Scale(domain=PAIR, range=[[1, 0], [6, 3]]))
SHAPE = alt.Shape("ability:N", scale=alt.Scale(domain=PAIR, range=["circle", "square"]))

K_QUERY = alt.X("k:O", title="k, observations after the query's label", axis=alt.Axis(labelAngle=0))
ERROR = "mean squared error"


def logarithmic(field: str, title: str, **scale) -> alt.X:
    return alt.X(field, title=title, scale=alt.Scale(type="log", nice=False, **scale))


def within(field: str, title: str, low: float, high: float) -> alt.Y:
    """Values beyond the ends are drawn there."""
    return alt.Y(field, title=title, scale=alt.Scale(domain=[low, high], clamp=True))


def number(field: str, form: str, title: str | None = None) -> alt.Tooltip:
    """In a tooltip; form: of d3, such as `.3f`."""
    return alt.Tooltip(field, format=form, **{"title": title} if title else {})


def over_training(
    base: alt.Chart, value: alt.Y, colour: alt.Color, dash: alt.StrokeDash, tooltip: alt.Tooltip
) -> alt.Chart:
    """A line per seed.  Fields examples (thousands), seed and those of the channels."""
    examples = number("examples:Q", ",.0f", "thousand examples")
    return base.mark_line(strokeWidth=1.8, opacity=0.85, clip=True).encode(
        x=logarithmic("examples:Q", "training examples (thousands, logarithmic)"),
        y=value,
        color=colour,
        strokeDash=dash,
        detail="seed:N",
        tooltip=[colour.shorthand, "seed:N", examples, tooltip],
    )


def hollow(condition: str, filled: float = 0.8):
    """Fill opacity: only an outline where the condition does not hold."""
    return alt.condition(condition, alt.value(filled), alt.value(0))
