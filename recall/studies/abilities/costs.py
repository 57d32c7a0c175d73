"""What training costs: FLOPs of a step, and what each ability took, by setting.

Two things are kept apart on purpose: how much sooner a setting gets there on the *same* model and task
(`price_table`), and how much less one trace costs because model and task are smaller than the study's
(`trace_flops`).  They are not multiplied into one number: the task is another one too, and nobody has run the
study's recipe on it to the end."""

from __future__ import annotations

import math

import pandas as pd

from recall import measures, stats
from recall.model import GPTConfig
from recall.runs import Run
from recall.settings import RunConfig, from_json


def trace_flops(model: GPTConfig, rows: int) -> int:
    """Floating-point operations of the matrix products in one training trace of `rows` rows, forward and backward.

    A product of [a, b] and [b, c] takes 2abc.  Forward per row: twice the weights of the matrices, and 4 D rows per
    layer for scores and values (the causal half that is never used is counted, as usual).  Backward: twice forward,
    less the gradient by the tokens, which nobody asks for."""
    D, L = model.n_embd, model.n_layer
    weights = model.n_in * D + 12 * L * D * D + D * model.n_out
    forward = rows * (2 * weights + 4 * L * D * rows)
    return 3 * forward - rows * 2 * model.n_in * D


def optimiser_flops(config: RunConfig) -> int:
    """Products of one optimiser step: Muon's five Newton-Schulz iterations, X -> aX + (bA + cAA)X with A = XX', on
    every hidden matrix [m, n] with m <= n: 4 m^2 n + 2 m^3 each.  AdamW has none.
    """
    if config.training.optimiser != "muon":
        return 0
    D = config.model.n_embd
    shapes = [(D, 3 * D), (D, D), (D, 4 * D), (D, 4 * D)]
    return config.model.n_layer * sum(5 * (4 * m * m * n + 2 * m**3) for m, n in shapes)


def step_flops(config: RunConfig) -> int:
    """Products of one training step: the traces of its batch and the optimiser."""
    batch = config.training.batch_size
    return batch * trace_flops(config.model, config.task.trace_length) + optimiser_flops(config)


def price(run: Run, systems: int = 2) -> dict:
    """FLOPs, tokens and one-thread training seconds until each ability and both emerged at N = `systems`; nan: never.

    In a run with patience `both` also needs that its abilities stayed for so long (`ended` is emerged).
    limit: the run's own end, in tokens, where a missing ability is right-censored, and limit_seconds.  score: of both
    abilities in the published model, their mean.  All nan where the run was not evaluated at that N.
    """
    config, ended = from_json(run.config), run.manifest.get("ended", "steps")
    rows, batch = config.task.trace_length, config.training.batch_size
    dates = {name: each.date for name, each in measures.dates(run, systems).items()}
    dates["both"] = max(dates.values(), key=lambda date: (math.isnan(date), date))
    if config.training.patience and ended != "emerged":
        dates["both"] = math.nan
    line = dict(dimension=config.task.dimension, labels=config.task.labels, setting=config.setting, seed=config.seed)
    for name, examples in dates.items():
        line |= {
            f"{name} tokens": examples * rows,
            f"{name} flops": examples / batch * step_flops(config),
            f"{name} seconds": measures.seconds_until(run, examples),
        }
    final = run.final.query("systems == @systems and event == 'query' and condition == 'plain' and k <= 2")
    return line | dict(
        score=final.score.mean(skipna=False),
        ended=ended,
        limit=float(run.history.examples.max() * rows),
        limit_seconds=run.manifest["training_seconds"] if measures.on_cpu(run) else math.nan,
        evaluation_seconds=run.manifest["evaluation_seconds"],
        start_seconds=run.manifest.get("start_seconds", math.nan),
    )


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
    for ability in measures.ABILITIES:
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
