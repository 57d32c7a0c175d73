"""What models trained on a frozen library know by heart."""

from __future__ import annotations

import pandas as pd
import torch

from recall.config import check
from recall.evaluation import table
from recall.measures import CELL, cell_of
from recall.needle import needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.task import Task, stream
from recall.training import trained_model

SEED = 3  # of the prompts; those of training and of the final tables have others
# whether the first states are their own; None: fresh systems
FROZEN = {"trained trajectories": True, "trained maps, new states": False, "fresh systems": None}


def library(runs: list[Run], counts: tuple[int, ...] = (2, 4), haystacks: int = 512) -> pd.DataFrame:
    """Models that were trained on a frozen library, on the systems it holds and on others, farthest needle: what did
    they learn by heart?

    Columns dimension, labels, setting, seed, library, shown (of FROZEN), systems, event, k <= 3, mean, score.  One
    trace a haystack, its systems drawn from the library without replacement.  ValueError for a run without a
    library."""
    rows = []
    for run in runs:
        config = from_json(run.config)
        size = config.task.library
        check("run", size is not None, "one that was trained on a library", run.name)
        frozen, predict = Task(config.task, config.seed).frozen, trained_model(run).predict
        for N in counts:
            # [haystacks * N]
            draws = torch.rand(haystacks, size, generator=stream("evaluation", SEED, N)).argsort(1)[:, :N].flatten()
            for shown, own in FROZEN.items():
                given = {} if own is None else dict(drawn=frozen[draws], own_states=own)
                prompts = needle_prompts(config.task, N, haystacks=haystacks, traces=1, seed=SEED, **given)
                found = table(predict, prompts, config.task)
                found = found[found.k <= 3][["systems", "event", "k", "mean", "score"]]
                rows.append(found.assign(**cell_of(run), library=size, shown=shown))
    return pd.concat(rows, ignore_index=True)[[*CELL, "library", "shown", "systems", "event", "k", "mean", "score"]]
