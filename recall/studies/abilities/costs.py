"""What training costs: FLOPs of a step, and what each ability took, by setting.

Two things are kept apart on purpose: how much sooner a setting gets there on the *same* model and task
(`price_table`), and how much less one trace costs because model and task are smaller than the study's
(`trace_flops`).  They are not multiplied into one number: the task is another one too, and nobody has run the
study's recipe on it to the end."""

from __future__ import annotations

import math

import pandas as pd

from recall import stats
from recall.measures import ABILITIES, trace_flops
from recall.settings import RunConfig


def price_table(prices: pd.DataFrame) -> pd.DataFrame:
    """`price` rows by dimension, labels and setting: runs, how many reached both, medians; the best setting first.

    Best: most runs that reached both abilities, then the smallest median of seconds, then the highest score.
    """
    measures = [c for c in prices if c.endswith((" tokens", " flops", " seconds"))]  # of an ability or both
    rows = []
    for key, group in prices.groupby(["dimension", "labels", "setting"]):
        rows.append(
            dict(zip(("dimension", "labels", "setting"), key))
            | dict(
                runs=len(group),
                reached=int(group["both seconds"].notna().sum()),
                **{name: stats.median(group[name]) for name in measures},
                slowest=group["both seconds"].max(skipna=False),
                score=group.score.mean(skipna=False),
                limit=group.limit.min(),
                limit_seconds=group.limit_seconds.min(),
            )
        )
    table = pd.DataFrame(rows).assign(share=lambda t: t.reached / t.runs)
    order = ["dimension", "labels", "share", "both seconds", "score"]
    return (
        table.sort_values(order, ascending=[True, True, False, True, False])
        .drop(columns="share")
        .reset_index(drop=True)
    )


def points(prices: pd.DataFrame) -> pd.DataFrame:
    """`price` rows as points: dimension, setting, seed, ability, seconds, state; a missing ability at the end of its
    run.
    """
    rows = []
    for ability in ABILITIES:
        seconds = prices[f"{ability} seconds"]
        state = seconds.isna().map({True: "not there when the run ended", False: "there"})
        rows.append(
            prices[["dimension", "setting", "seed"]].assign(
                ability=f"{ability}-query", seconds=seconds.fillna(prices.limit_seconds).round(1), state=state
            )
        )
    return pd.concat(rows, ignore_index=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`price_table` as text for a page, a dash for never; FLOPs in units of 10^12, tokens in millions."""
    number = lambda value, places: "–" if math.isnan(value) else f"{value:,.{places}f}"
    return pd.DataFrame(
        [
            {
                "n": row["dimension"],
                "setting": row["setting"],
                "runs": row["runs"],
                "got there": row["reached"],
                "2-after, s": number(row["2-after seconds"], 0),
                "1-after, s": number(row["1-after seconds"], 0),
                "both, s": number(row["both seconds"], 0),
                "slowest, s": number(row["slowest"], 0),
                "both, million tokens": number(row["both tokens"] / 1e6, 1),
                "both, 10¹² FLOP": number(row["both flops"] / 1e12, 1),
                "shortest run, million tokens": number(row["limit"] / 1e6, 1),
                "mean score at the end": number(row["score"], 2),
            }
            for row in table.to_dict("records")
        ]
    )


def smaller(ours: RunConfig, theirs: RunConfig) -> float:
    """How many times fewer operations one training trace takes: the factor from model and task alone."""
    return trace_flops(theirs.model, theirs.task.trace_length) / trace_flops(ours.model, ours.task.trace_length)
