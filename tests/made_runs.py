"""Finished runs that tests make up: scores over training, and the table of the published model."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd

from recall import settings
from recall.runs import Run
from recall.settings import to_json

nan = math.nan
# scores of one ability at successive evaluations, for good from 1/2 at the seventh, at the fourth, and not at all
LATE, EARLY, NEVER = [-1, 0, 0, 0, 0, 0, 0.9, 0.9, 0.9], [-1, 0.2, 0.4, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9], [0.0] * 9
LINEAR = [3200.0 * i for i in range(9)]  # examples
DOUBLINGS = [1000.0 * 2**i for i in range(6)]


def made_run(
    one,
    two,
    seed: int = 0,
    dimension: int = 5,
    labels: int = 4,
    setting: str = "fast-1",
    examples=LINEAR,
    ended: str = "steps",
    index: float = 0.0,
    end: float = 0.9,
    misdirected: float = 0.9,
    error4: float = 0.2,
    **facts,
) -> Run:
    """A run of `fast-1` under the name of a setting.

    one, two: scores of 1- and of 2- and 3-after-query at every N, per evaluation.  index, misdirected: label index and
    score of the published model under a misdirected label.  end: score of 1- and 2-after at the end.  error4: mean
    squared error of 2-after at N >= 4.  facts: of the manifest."""
    config = replace(settings.preset("fast-1", dimension, labels, seed), setting=setting)
    history = [
        dict(step=int(seen) // 32, examples=seen, loss=1.0, systems=N, condition="plain", event="query", k=k)
        | dict(mean=(1 - 1 / N) * (1 - score), median=(1 - 1 / N) * (1 - score), score=score)
        for N in config.evaluation.systems
        if N > 1
        for k, scores in ((1, one), (2, two), (3, two))
        for seen, score in zip(examples, scores)
    ]
    final = [
        dict(systems=N, condition=condition, event="query", k=k, mean=error, score=score, label_index=follows)
        for N in config.evaluation.systems
        if N > 1
        for condition, score, follows in (("plain", end, nan), ("misdirected", misdirected, index))
        for k, error in enumerate((0.05, 0.05, 0.05) if N == 2 else (0.06, error4, 0.1), start=1)
    ]
    manifest = dict(ended=ended, training_seconds=100.0, evaluation_seconds=10.0) | facts
    folder = Path(f"made-n{dimension}-l{labels}-{setting}-s{seed}")
    return Run(folder, to_json(config), pd.DataFrame(history), pd.DataFrame(final), manifest)
