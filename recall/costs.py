"""What training costs: FLOPs of a step, and what each ability took, by setting.

Two things are kept apart on purpose: how much sooner a setting gets there on the *same* model and task (`price_table`), and
how much less one trace costs because model and task are smaller than the study's (`trace_flops`).  They are not
multiplied into one number: the task is another one too, and nobody has run the study's recipe on it to the end.
"""

from __future__ import annotations

import math

import pandas as pd

from recall import summary
from recall.model import GPTConfig
from recall.runs import Run
from recall.settings import from_json


def trace_flops(model: GPTConfig, rows: int) -> int:
    """Floating-point operations of the matrix products in one training trace of `rows` rows, forward and backward.

    A product of [a, b] and [b, c] takes 2abc.  Forward per row: twice the weights of the matrices, and 4 D rows per
    layer for scores and values (the causal half that is never used is counted, as usual).  Backward: twice forward, less
    the gradient by the tokens, which nobody asks for.
    """
    D, L = model.n_embd, model.n_layer
    weights = model.n_in * D + 12 * L * D * D + D * model.n_out
    forward = rows * (2 * weights + 4 * L * D * rows)
    return 3 * forward - rows * 2 * model.n_in * D


def price(run: Run, systems: int = 2) -> dict:
    """FLOPs, tokens and one-thread training seconds until each ability and both emerged at N = `systems`; nan: never.

    limit: the run's own end, in tokens, where a missing ability is right-censored.  score: of both abilities in the
    published model, their mean.
    """
    config = from_json(run.config)
    rows = config.task.trace_length
    dates = {name: each.date for name, each in summary.dates(run, systems).items()}
    dates["both"] = max(dates.values(), key=lambda date: (math.isnan(date), date))
    line = dict(dimension=config.task.dimension, labels=config.task.labels, setting=config.setting, seed=config.seed)
    for name, examples in dates.items():
        line |= {f"{name} tokens": examples * rows,
                 f"{name} flops": examples * trace_flops(config.model, rows),
                 f"{name} seconds": summary.seconds_until(run, examples)}
    final = [summary.curve(run.final.assign(examples=0), k, systems).score.iloc[0] for k in (1, 2)]
    return line | dict(score=sum(final) / 2, ended=run.manifest.get("ended", "steps"), limit=float(run.history.examples.max() * rows),
                       evaluation_seconds=run.manifest["evaluation_seconds"],
                       start_seconds=run.manifest["session_seconds"] - run.manifest["training_seconds"]
                       - run.manifest["evaluation_seconds"])


def median(values: pd.Series) -> float:
    """Median with nan counted as later than everything: nan where half of the runs or more never got there.

    Between a reached and a missing value (even counts) the answer is nan too.
    """
    ordered = sorted(values, key=lambda value: (math.isnan(value), value))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return sum(middle) / 2


def price_table(prices: pd.DataFrame) -> pd.DataFrame:
    """`price` rows by dimension, labels and setting: runs, how many reached both, medians; the best setting first.

    Best: most runs that reached both abilities, then the smallest median of seconds, then the highest score.
    """
    measures = [c for c in prices if c.endswith((" tokens", " flops", " seconds"))]
    rows = []
    for key, group in prices.groupby(["dimension", "labels", "setting"]):
        rows.append(dict(zip(("dimension", "labels", "setting"), key)) | dict(
            runs=len(group), reached=int(group["both seconds"].notna().sum()),
            **{name: median(group[name]) for name in measures},
            slowest=group["both seconds"].max(skipna=False), score=group.score.mean(), limit=group.limit.max()))
    table = pd.DataFrame(rows).assign(share=lambda t: t.reached / t.runs)
    order = ["dimension", "labels", "share", "both seconds", "score"]
    return table.sort_values(order, ascending=[True, True, False, True, False]).drop(columns="share").reset_index(drop=True)
