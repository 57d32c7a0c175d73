"""One row per run: what it cost, when each ability emerged and in which order, and whom the finished model follows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from recall.evaluation import NEVER, THRESHOLD, Emergence, curve, emergence, first_below
from recall.model import GPTConfig
from recall.runs import WEIGHTS, Run
from recall.settings import RunConfig, from_json

ABILITIES = {"1-after": 1, "2-after": 2}  # k after the query: look-up, continuing
CELL = ("dimension", "labels", "setting", "seed")


def cell_of(run: Run) -> dict:
    task = run.config["task"]
    return dict(zip(CELL, (task["dimension"], task["labels"], run.config["setting"], run.config["seed"])))


def cells(runs: list[Run], least: int = 1) -> dict[tuple, list[Run]]:
    """Runs by (dimension, labels, setting), for the cells with at least `least` seeds."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(cell_of(run).values())[:3], []).append(run)
    return {key: group for key, group in sorted(groups.items()) if len(group) >= least}


def lines(finished: list[Run]) -> pd.DataFrame:
    """One line per run: `flat`, and its `price`."""
    return pd.DataFrame([flat(describe(run)) | price(run) for run in finished])


def describe(run: Run) -> dict:
    """The run as `python -m recall show runs --json` prints it.

    emergence: ability -> N -> examples from which the identification score stays at or above 1/2, single evaluations
    excepted (`evaluation.emergence`); emergence_strict: without exception.  nan: not by the end, or no score (it is
    defined for the family `haar`).
    study_cutoff: the same by the study's rule, median squared error below 0.5.
    seconds: of one core; nan for a run on another device.
    checkpoint: None where only the tables were kept.
    ended: why the run ended (`training.train`), after `steps` steps.
    misdirected: N -> k -> error and label index of the published model.
    """
    config, history = run.config, run.history
    counts = [N for N in config["evaluation"]["systems"] if N > 1]

    def found(rule):
        rule = _never if run.manifest.get("ended") == "diverged" else rule
        return {name: {N: float(rule(curve(history, k, N)).date) for N in counts} for name, k in ABILITIES.items()}

    def finals(N, condition):
        value = lambda k, column: final_value(run, k, column, N, condition)
        return {k: dict(error=value(k, "mean"), label_index=value(k, "label_index")) for k in (1, 2, 3)}

    return dict(
        name=run.name,
        family=config["task"]["family"],
        dimension=config["task"]["dimension"],
        labels=config["task"]["labels"],
        setting=config["setting"],
        seed=config["seed"],
        steps=int(history.step.max()),
        ended=run.manifest.get("ended", "steps"),
        examples=int(history.examples.max()),
        seconds=run.manifest["training_seconds"] if on_cpu(run) else math.nan,
        evaluation_seconds=run.manifest["evaluation_seconds"],
        checkpoint=str(run.folder / WEIGHTS) if run.whole else None,
        emergence=found(emergence),
        emergence_strict=found(lambda c: emergence(c, window=1)),
        study_cutoff=found(first_below),
        unedited={N: finals(N, "plain") for N in counts},
        misdirected={N: finals(N, "misdirected") for N in counts},
    )


def flat(row: dict) -> dict:
    """The same as one line of a table: columns such as `1-after N=2` and `misdirected 2-after N=4`."""
    keys = ("name", "dimension", "labels", "setting", "seed", "steps", "ended", "examples", "seconds")
    line = {key: row[key] for key in keys}
    for key, prefix in (("emergence", ""), ("study_cutoff", "cutoff ")):
        for ability, dates in row[key].items():
            line |= {f"{prefix}{ability} N={N}": date for N, date in dates.items()}
    for N, finals in row["misdirected"].items():
        for k, value in finals.items():
            line[f"misdirected {k}-after N={N}"] = value["error"]
            line[f"label index {k} N={N}"] = value["label_index"]
    return line


def final_value(run: Run, k: int, column: str, systems: int = 2, condition: str = "plain") -> float:
    """One number of the published model's table, k after the query; nan where the table has no such column."""
    if column not in run.final:
        return math.nan
    final = run.final
    rows = (final.event == "query") & (final.k == k) & (final.systems == systems) & (final.condition == condition)
    return float(final.loc[rows, column].iloc[0])


# --- when -------------------------------------------------------------------------------------------------------------


def dates(run: Run, systems: int, window: int = 3) -> dict[str, Emergence]:
    """Emergence of each ability by the identification score at N = `systems`; window as in `evaluation.emergence`."""
    curves = {name: curve(run.history, k, systems) for name, k in ABILITIES.items()}
    if run.manifest.get("ended") == "diverged":
        return {name: _never(each) for name, each in curves.items()}
    return {name: emergence(each, window=window) for name, each in curves.items()}


def _never(curve: pd.DataFrame) -> Emergence:
    """A run that diverged ends without its abilities, whatever it had before."""
    return Emergence(*NEVER, float(curve.examples.max()))


def later(dates) -> float:
    """The last of them; nan, never, comes after all."""
    return max(dates, key=lambda date: (math.isnan(date), date))


def order_of(run: Run, systems: int = 2, window: int = 3) -> str:
    """`2-after first`, `1-after first`, `together` (in the same interval between evaluations) or `neither`.

    An ability that the run did not reach counts as later than one that it did.
    """
    when = dates(run, systems, window)
    begin, go_on = when["1-after"], when["2-after"]
    if not begin.reached and not go_on.reached:
        return "neither"
    if not begin.reached or (go_on.reached and go_on.by <= begin.after):
        return "2-after first"
    if not go_on.reached or begin.by <= go_on.after:
        return "1-after first"
    return "together"


# --- whom the finished model follows ----------------------------------------------------------------------------------

OBSERVATION_LED, LABEL_LED = 0.25, 0.75  # of the label index at k = 2: below and above, a model has a kind
LOOKS_UP = THRESHOLD  # of the score of 1-after-query: below, the label does not yet rule k = 1
KINDS = ("observation-led", "between", "label-led", "no look-up")


def kind_of(first, label_index):
    """The kind of a model (of KINDS), or an array of them.

    first: identification score of 1-after-query, or another quantity that is at least LOOKS_UP where labels are looked
    up.  label_index: what the label gets at k = 2 under a misdirected label, of label and observation together."""
    first, label_index = np.asarray(first, float), np.asarray(label_index, float)
    rules = [~(first >= LOOKS_UP), label_index > LABEL_LED, label_index < OBSERVATION_LED]
    return np.select(rules, ["no look-up", "label-led", "observation-led"], "between")[()]


def label_index(run: Run, systems: int = 2) -> float:
    """Of 2-after-query under a misdirected label, of the finished model."""
    return final_value(run, 2, "label_index", systems, "misdirected")


def kind(run: Run, systems: int = 2) -> str:
    """`kind_of` the finished model."""
    return str(kind_of(final_value(run, 1, "score", systems), label_index(run, systems)))


def kinds(finished: list[Run]) -> pd.Series:
    """`kind` of every run, indexed by CELL."""
    index = pd.MultiIndex.from_tuples([tuple(cell_of(run).values()) for run in finished], names=CELL)
    return pd.Series([kind(run) for run in finished], index, name="kind", dtype=object)


# --- what it cost -----------------------------------------------------------------------------------------------------


def on_cpu(run: Run) -> bool:
    """Whether the run's seconds are one core's: only those are compared."""
    return run.manifest.get("device", "cpu") == "cpu"


def seconds_until(run: Run, date: float) -> float:
    """One-thread training seconds at `date` examples, from the run's mean rate; nan for a run on another device than
    the CPU.
    """
    return math.nan if not on_cpu(run) else run.manifest["training_seconds"] * date / int(run.history.examples.max())


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
    if config.training.optimiser == "adamw":
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
    stayed = ended == "emerged" or not config.training.patience
    when = {name: each.date for name, each in dates(run, systems).items()}
    when["both"] = later(when.values()) if stayed else math.nan
    line = cell_of(run)
    for name, examples in when.items():
        line |= {
            f"{name} tokens": examples * rows,
            f"{name} flops": examples / batch * step_flops(config),
            f"{name} seconds": seconds_until(run, examples),
        }
    final = run.final.query("systems == @systems and event == 'query' and condition == 'plain' and k <= 2")
    return line | dict(
        score=final.score.mean(skipna=False),
        ended=ended,
        limit=float(run.history.examples.max() * rows),
        limit_seconds=run.manifest["training_seconds"] if on_cpu(run) else math.nan,
        evaluation_seconds=run.manifest["evaluation_seconds"],
        start_seconds=run.manifest.get("start_seconds", math.nan),
    )
