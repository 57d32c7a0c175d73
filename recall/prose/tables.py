"""Tables whose cells are text."""

from __future__ import annotations

import math

import pandas as pd

from recall.runs import Run
from recall.studies.abilities.tables import plateaus


def plateau_table(runs: list[Run]) -> pd.DataFrame:
    """`plateaus` by dimension, labels, setting and N: median and range over runs, as text."""
    rows = []
    for key, group in plateaus(runs).groupby(["dimension", "labels", "setting", "systems"]):
        there = group.plateau.dropna()
        spread = f"{there.min():.2f} to {there.max():.2f}" if len(there) > 1 else "–"
        rows.append(
            dict(zip(("n", "labels", "setting", "N"), key))
            | {
                "runs": len(group),
                "with a plateau": len(there),
                "1-after waits at": f"{there.median():.2f}" if len(there) else "–",
                "range": spread,
                "zero predictor": "1.00",
                "label-blind average": f"{group.blind.iloc[0]:.2f}",
            }
        )
    return pd.DataFrame(rows)


def prices(table: pd.DataFrame) -> pd.DataFrame:
    """`costs.price_table` as text for a page, a dash for never; FLOPs in units of 10^12, tokens in millions."""
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
