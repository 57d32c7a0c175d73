"""Tables whose cells are text."""

from __future__ import annotations

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
