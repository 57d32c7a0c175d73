"""Heads x answers: what cutting a head costs the first answer (1-after-query) and the second (2-after-query).

A head is cut as the playground cuts it: what it writes is set to zero, on every row.  Its price is the identification
score without it taken from the score with it, on the same prompts (farthest needle), with a 95 % t interval over
haystacks.

Written down before these tables, over all models that look labels up at N = 2 (`LOOKS_UP`):

    takes the first, leaves the second   some head takes the score of 1-after-query from LOOKS_UP or more to below it,
                                         and costs 2-after-query less than LEAVES.
    takes the second, leaves the first   the reverse.
    One ability could be removed without the other if the first held in most models; that it holds in none, or in no
    more than the reverse, would speak for one mechanism."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from recall import stats
from recall.evaluation import event_errors, identification_score
from recall.measures import LOOKS_UP, cell_of
from recall.model import hooks
from recall.needle import needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.training import trained_model

LEAVES = 0.1  # of the score
SYSTEMS, HAYSTACKS, TRACES, SEED = 2, 32, 64, 5  # prompts; those of training and of other tables have other seeds
ANSWERS = {1: "first", 2: "second"}


def cuts(runs: list[Run], haystacks: int = HAYSTACKS, traces: int = TRACES) -> pd.DataFrame:
    """Of every model, head and answer k: run, dimension, labels, setting, seed, layer, head, k, whole and cut (scores
    with and without the head), and the ends low, high of the interval of whole - cut."""
    rows = []
    for run in runs:
        config, model = from_json(run.config), trained_model(run)
        prompts = needle_prompts(config.task, SYSTEMS, haystacks=haystacks, traces=traces, seed=SEED)
        whole = _scores(model, prompts, config.task)
        for layer in range(config.model.n_layer):
            for head in range(config.model.n_head):
                with hooks(model, {f"h.{layer}.attn.hook_z": lambda z, head=head: _without(z, head)}):
                    without = _scores(model, prompts, config.task)
                for k in ANSWERS:
                    _, low, high = stats.interval(whole[k] - without[k])
                    row = dict(run=run.name, **cell_of(run), layer=layer, head=head, k=k)
                    rows.append(row | dict(whole=whole[k].mean(), cut=without[k].mean(), low=low, high=high))
    return pd.DataFrame(rows)


def _without(z: torch.Tensor, head: int) -> torch.Tensor:
    """[B, H, T, d] with nothing of one head."""
    z = z.clone()
    z[:, head] = 0
    return z


def _scores(model, prompts, task) -> dict[int, np.ndarray]:
    """k -> [haystacks] identification score of the mean error over a haystack's traces."""
    errors = event_errors(model.predict(prompts.inputs), prompts, task)["query"].double().mean(2)  # [K, haystacks]
    score = lambda error: identification_score(error, task.family, prompts.count)
    return {k: np.array([score(error) for error in errors[k - 1].tolist()]) for k in ANSWERS}


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """A row per model that looks labels up: its key, and which head (`layer.head`, "" for none) takes the first answer
    and leaves the second, and the reverse (of several the one that costs most)."""
    rows = []
    for run, heads in table.groupby("run", sort=False):
        of = {k: heads[heads.k == k].set_index(["layer", "head"]) for k in ANSWERS}
        if of[1].whole.iloc[0] < LOOKS_UP:
            continue
        key = heads.iloc[0][["dimension", "labels", "setting", "seed"]].to_dict()
        found = {f"takes the {ANSWERS[k]}": _taker(of[k], of[3 - k]) for k in ANSWERS}
        rows.append(dict(run=run, **key, **found))
    return pd.DataFrame(rows)


def _taker(taken: pd.DataFrame, left: pd.DataFrame) -> str:
    takes = (taken.whole >= LOOKS_UP) & (taken.cut < LOOKS_UP) & (left.whole - left.cut < LEAVES)
    if not takes.any():
        return ""
    layer, head = (taken.whole - taken.cut)[takes].idxmax()
    return f"{layer}.{head}"
