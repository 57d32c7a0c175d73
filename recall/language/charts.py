"""Figures of chapter 8: tidy table in, Altair chart out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from recall.figures import CONTINUE, LOOK_UP, choice, chosen, compact, filtered, missing_note, pickers, themed

# what the figure of chapter 8 can show: quantity of `recall.language.scoring.per_prompt` -> its name in the list
QUANTITIES = {
    "gained": "bits gained by the source",
    "gained_label": "bits gained over a new label",
    "accuracy": "accuracy",
    "label_led": "share that a misdirected label gets",
    "synchronised": "share of the right one of two twins",
}
TOKENS = ["first token", "second token"]
DASHES = [[1, 0], [6, 3]]


def language_gains(table: pd.DataFrame, lexicon: str | None = None, under: str = "arbitrary") -> alt.TopLevelMixin:
    """What the first and the second token of a translation gain over a language model's training: a thin line per
    seed, thick ones for their mean.  table: `summary` of `recall.language.results.load`.  lexicon (its words), under
    (what labels): shown first.
    """
    table = table.rename(columns={"words": "lexicon", "labels": "under"})
    start = dict(lexicon=table.lexicon.iloc[0] if lexicon is None else lexicon, under=under)
    wide = table.pivot_table(index=["lexicon", "under", "seed", "step", "k"], columns="quantity", values="mean")
    wide = wide.reindex(columns=list(QUANTITIES)).rename(columns=QUANTITIES).round(3).reset_index()
    wide = wide.assign(token=wide.k.map(dict(enumerate(TOKENS, 1))), seed=wide.seed.astype(str)).drop(columns="k")
    measure = choice("measure", "measure ", list(QUANTITIES.values()), QUANTITIES["gained"])
    ticks = [0, *(m * 10**e for e in range(1, 6) for m in (2, 5, 10))]
    base = (
        filtered(compact(wide), [" && ".join(chosen(start))])
        .transform_calculate(value="datum[pick_measure]")
        .transform_filter("isValid(datum.value)")
        .encode(
            x=alt.X(
                "step:Q",
                title="training step",
                scale=alt.Scale(type="symlog", constant=16),
                axis=alt.Axis(values=ticks, labelOverlap=True),
            ),
            color=alt.Color("token:N", scale=alt.Scale(domain=TOKENS, range=[LOOK_UP, CONTINUE])),
            strokeDash=alt.StrokeDash("token:N", scale=alt.Scale(domain=TOKENS, range=DASHES)),
        )
    )
    seeds = base.mark_line(strokeWidth=1, opacity=0.5).encode(
        y=alt.Y("value:Q", title="chosen measure"),
        detail="seed:N",
        tooltip=["seed:N", "step:Q", "token:N", alt.Tooltip("value:Q", format=".2f")],
    )
    mean = base.mark_line(strokeWidth=3).encode(y="mean(value):Q")
    layers = alt.layer(seeds, mean, missing_note(wide, start, "these words have no such prompts"))
    return themed(layers.add_params(*pickers(wide, start), measure), 320)


def bridge(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Toy and language model on one score and one clock.  table: `recall.language.results.on_one_clock`."""
    kinds = [name for name in table["where"].drop_duplicates() if name != "toy"]
    pick = choice("where", "beside the toy ", kinds, kinds[0])
    colours = alt.Scale(domain=["beginning again", "going on"], range=[LOOK_UP, CONTINUE])
    rows = table[["where", "what", "seed", "octaves", "score"]].round(3).astype({"seed": str})
    octaves, score = alt.Tooltip("octaves:Q", format=".1f"), alt.Tooltip("score:Q", format=".2f")
    lines = (
        compact(rows)
        .mark_line(strokeWidth=1.6, opacity=0.75)
        .transform_filter("datum.where == 'toy' || datum.where == pick_where")
        .transform_calculate(side="datum.where == 'toy' ? 'toy' : 'language'")
        .encode(
            x=alt.X(
                "octaves:Q", title="doublings since going on was learnt", scale=alt.Scale(domain=[-3, 5], clamp=True)
            ),
            y=alt.Y("score:Q", title="identification score", scale=alt.Scale(domain=[-0.5, 1], clamp=True)),
            color=alt.Color("what:N", scale=colours),
            strokeDash=alt.StrokeDash("side:N", scale=alt.Scale(domain=["toy", "language"], range=DASHES)),
            detail="seed:N",
            tooltip=["where:N", "what:N", "seed:N", octaves, score],
        )
    )
    return themed(lines.add_params(pick), 320)
