"""What each ability took, by setting.

Two things are kept apart on purpose: how much sooner a setting gets there on the *same* model and task
(`price_table`), and how much less one trace costs because model and task are smaller than the study's
(`measures.trace_flops`).  They are not multiplied into one number: the task is another one too, and nobody has run the
study's recipe on it to the end."""

from __future__ import annotations

import pandas as pd

from recall import stats
from recall.measures import ABILITIES, CELL, trace_flops
from recall.settings import RunConfig


def price_table(prices: pd.DataFrame) -> pd.DataFrame:
    """`measures.price` rows by dimension, labels and setting: runs, reached (how many reached both), medians, slowest
    (seconds until both), score, limits; the best setting first.

    Best: most runs that reached both abilities, then the smallest median of seconds, then the highest score.
    """
    priced = [c for c in prices if c.endswith((" tokens", " flops", " seconds"))]  # of an ability or both
    rows = []
    for key, group in prices.groupby(["dimension", "labels", "setting"]):
        line = dict(zip(CELL, key), runs=len(group), reached=int(group["both seconds"].notna().sum()))
        line |= {name: stats.median(group[name]) for name in priced}
        line |= dict(slowest=group["both seconds"].max(skipna=False), score=group.score.mean(skipna=False))
        rows.append(line | dict(limit=group.limit.min(), limit_seconds=group.limit_seconds.min()))
    table = pd.DataFrame(rows).assign(share=lambda t: t.reached / t.runs)
    order = ["dimension", "labels", "share", "both seconds", "score"]
    table = table.sort_values(order, ascending=[True, True, False, True, False])
    return table.drop(columns="share").reset_index(drop=True)


def points(prices: pd.DataFrame) -> pd.DataFrame:
    """`measures.price` rows as points: dimension, setting, seed, ability, seconds, state; a missing ability at the end
    of its run.
    """
    parts = []
    for ability in ABILITIES:
        seconds = prices[f"{ability} seconds"]
        found = dict(
            ability=f"{ability}-query",
            seconds=seconds.fillna(prices.limit_seconds).round(1),
            state=seconds.isna().map({True: "not there when the run ended", False: "there"}),
        )
        parts.append(prices[["dimension", "setting", "seed"]].assign(**found))
    return pd.concat(parts, ignore_index=True)


def smaller(ours: RunConfig, theirs: RunConfig) -> float:
    """How many times fewer operations one training trace takes: the factor from model and task alone."""
    return trace_flops(theirs.model, theirs.task.trace_length) / trace_flops(ours.model, ours.task.trace_length)
