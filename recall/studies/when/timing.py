"""When each ability appears: every evaluation for the threshold explorer, both dates by cell, survival."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from recall.evaluation import curve, smooth
from recall.measures import ABILITIES, CELL, cell_of, cells, dates, later, on_cpu, order_of, seconds_until
from recall.runs import Run
from recall.stats import arrivals, interval, median


def evaluations(runs: list[Run]) -> pd.DataFrame:
    """Every evaluation of every run for the page's explorer: one row per run, N >= 2 and evaluation.

    Columns: dimension, labels, setting, seed, systems, examples, mean1, median1, mean2, median2: running medians
    over three evaluations of the mean and the median squared error of 1- and 2-after-query, as
    `evaluation.emergence` takes them."""
    tables = []
    for run in runs:
        for N in (N for N in run.config["evaluation"]["systems"] if N > 1):
            parts = {}
            for k in ABILITIES.values():
                rows = curve(run.history, k, N).set_index("examples")
                parts |= {f"{column}{k}": smooth(rows[column]) for column in ("mean", "median")}
            tables.append(pd.DataFrame(parts).reset_index().assign(systems=N, **cell_of(run)))
    table = pd.concat(tables, ignore_index=True).round(3)
    return table[[*CELL, "systems", "examples", "mean1", "median1", "mean2", "median2"]]


def gaps(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Both dates by dimension, labels and setting: one row per cell.

    Columns n, labels, setting, seeds; reached 2-after, reached 1-after; their median dates in thousands of examples
    (a run that never got there counts as later than all); both, seconds (training, one thread, median likewise);
    2-after first, 1-after first, together (seeds, by `order_of`); and, where every seed reached both, ratio, low, high:
    the geometric mean of the ratio of the dates with the 95 % t interval of its logarithm."""
    rows = []
    for key, group in cells(runs).items():
        when = pd.DataFrame([{name: each.date for name, each in dates(run, systems).items()} for run in group])
        ratio = np.log((when["1-after"] / when["2-after"]).to_numpy())
        line = dict(zip(("n", "labels", "setting"), key)) | {"seeds": len(group)}
        for name in reversed(ABILITIES):
            line |= {f"reached {name}": int(when[name].notna().sum()), f"{name}, median": median(when[name]) / 1000}
        both = zip(group, when.to_numpy())
        line["both, seconds"] = median([seconds_until(run, later(each)) for run, each in both if on_cpu(run)])
        orders = [order_of(run, systems) for run in group]
        line |= {order: orders.count(order) for order in ("2-after first", "1-after first", "together")}
        mean, low, high = (math.nan,) * 3 if np.isnan(ratio).any() else np.exp(interval(ratio)).tolist()
        rows.append(line | dict(ratio=mean, low=low, high=high))
    return pd.DataFrame(rows)


def survival(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Share of seeds that have each ability, over training: one minus the Kaplan-Meier estimate, runs that ended
    without it censored there.

    Columns dimension, labels, setting, ability, examples (thousands; from 0 to the end of the shortest run), share,
    seeds.  Cells of three seeds or more."""
    rows = []
    for key, group in cells(runs, 3).items():
        found = [dates(run, systems) for run in group]
        for name in ABILITIES:
            each = [when[name] for when in found]
            cell = dict(zip(CELL, key), ability=f"{name}-query", seeds=len(group))
            for examples, share in arrivals([date.date for date in each], [date.examples for date in each]):
                rows.append(cell | dict(examples=round(examples / 1000, 1), share=round(share, 3)))
    return pd.DataFrame(rows, columns=[*CELL[:3], "ability", "examples", "share", "seeds"])
