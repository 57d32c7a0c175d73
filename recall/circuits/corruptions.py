"""Clean prompts and their corrupted copies: which edges carry the difference?

A task `k-after` is the prediction of the k-th observation after the query: needle prompts cut behind the row that it
is made on.

    1-after    start (a a0..a9 )a (b b0..b9 )b (a            read on the query's open label, the answer is a10
    2-after    start (a a0..a9 )a (b b0..b9 )b (a a10        read on the first resumed state, the answer is a11

                     what the corrupted copy shows                             rows that differ
    query-label      another seen system's label at the query                  the query's open label
    resumed-state    another seen system going on under the needle's label     the first resumed state (all, if k > 2)
    binding-swap     labels of needle and that other system exchanged          the label rows of these two segments
    whole-context    the prompt of other systems, under labels of its own      nearly all
    other-states     the same systems from other first states                  the rows of states

The other system is the next one in the cycle, as in the misdirected intervention.  `resumed-state` leaves 1-after as
it is, which holds no resumed state: it exists from 2-after on.

Edges that compute the needle's map from the haystack carry a difference only where the haystacks differ.  Where they
are the same they drop out of every circuit, and circuits of 1-after and 2-after, of which the one then begins at the
label and the other at the state, can be disjoint by construction.  **Predicted before it was measured:** the overlap
of the two is high under whole-context, low under query-label and resumed-state; binding-swap, which changes what the
labels are bound to but no state, finds much for 1-after and little for 2-after."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from recall.circuits.graph import Pair
from recall.config import check
from recall.interventions import apply, named_segment
from recall.model import GPT, hooks, run_with_cache
from recall.needle import Prompts, query_payload
from recall.task import TaskConfig, edit

DEFAULT = "whole-context"
PIECE = 256  # prompts at a time


@dataclass(frozen=True)
class Corruption:
    """changes: what the corrupted copy shows, in one line.  least: smallest k of the tasks that it touches."""

    name: str
    changes: str
    least: int
    apply: Callable[[Prompts, TaskConfig], Prompts]


def _query_label(prompts, config):
    return apply("misdirected", prompts, config)


def _resumed_state(prompts, config):
    s, other = prompts.segments, _other(prompts)
    system, first = s.system.clone(), s.first.clone()
    system[:, -1], first[:, -1] = s.system[:, other], s.first[:, other] + s.length[:, other]
    return edit(prompts, config, system=system, first=first)


def _binding_swap(prompts, config):
    label, other = prompts.segments.label.clone(), _other(prompts)
    label[:, [prompts.needle, other]] = prompts.segments.label[:, [other, prompts.needle]]
    return edit(prompts, config, label=label)


def _whole_context(prompts, config):
    """Every prompt becomes the one of the next haystack, with its systems, states and labels."""
    haystacks, traces = prompts.shape
    check("haystacks", haystacks >= 2, "at least 2: the corrupted prompts are those of another haystack", haystacks)
    s = prompts.segments
    return edit(prompts, config, **{name: value.roll(-traces, 0) for name, value in vars(s).items()})


def _other_states(prompts, config):
    """Every prompt shows the next trace of its haystack: the same systems, other first states; the labels stay."""
    traces = prompts.shape[1]
    check("traces", traces >= 2, "at least 2: the corrupted prompts show the states of another trace", traces)
    return edit(prompts, config, system=prompts.segments.system.unflatten(0, prompts.shape).roll(-1, 1).flatten(0, 1))


def _other(prompts):
    check("systems", prompts.count >= 2, "at least 2 for this corruption", prompts.count)
    return named_segment(prompts)


CORRUPTIONS = {
    each.name: each
    for each in (
        Corruption("query-label", "another seen system's label at the query", 1, _query_label),
        Corruption("resumed-state", "another seen system going on under the needle's label", 2, _resumed_state),
        Corruption("binding-swap", "labels of needle and another system exchanged in the haystack", 1, _binding_swap),
        Corruption("whole-context", "the prompt of other systems, under labels of its own", 1, _whole_context),
        Corruption("other-states", "the same systems from other first states", 1, _other_states),
    )
}


def task_k(task: str) -> int:
    """k of `k-after`; ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,3})-after", task)
    check("task", match is not None, "1-after, 2-after, ...", task)
    return int(match[1])


def corrupted_pair(prompts: Prompts, config: TaskConfig, task: str, corruption: str = DEFAULT) -> Pair:
    """The pair of one task and corruption, cut behind the row of the prediction: [B, query_row + k, C].

    ValueError for an unknown name, a k that the prompts do not hold, a corruption that does not touch the task."""
    k, most = task_k(task), query_payload(config)
    check("corruption", corruption in CORRUPTIONS, f"one of {', '.join(CORRUPTIONS)}", corruption)
    check("task", k <= most, f"1-after to {most}-after", task)
    chosen = CORRUPTIONS[corruption]
    later = f"{chosen.least}-after or later for {corruption}: a prompt of it ends before what is changed"
    check("task", k >= chosen.least, later, task)
    rows, other = prompts.query_row + k, chosen.apply(prompts, config)
    return Pair(prompts.tokens[:, :rows], other.tokens[:, :rows], prompts.targets[:, rows - 1])


def landmarks(prompts: Prompts, task: str) -> dict[str, int]:
    """Rows of the cut prompt that a mechanism would look for."""
    s, row = prompts.segments, prompts.query_row + task_k(task) - 1
    start, length = int(s.start[0, prompts.needle]), int(s.length[0, prompts.needle])
    return {
        "needle label": start,
        "needle last state": start + length,
        "needle close label": start + length + 1,
        "previous row": row - 1,
        "own row": row,
    }


def attention(model: GPT, prompts: Prompts, task: str) -> pd.DataFrame:
    """Mean attention of the task's last row to each landmark: layer, head, landmark, attention."""
    names = [f"h.{i}.attn.hook_pattern" for i in range(len(model.h))]
    pieces = prompts.tokens[:, : prompts.query_row + task_k(task)].split(PIECE)
    cache = [run_with_cache(model, piece, names)[1] for piece in pieces]
    rows = []
    for i, name in enumerate(names):
        mean = torch.cat([each[name][:, :, -1] for each in cache]).mean(0)  # [H, rows]
        for mark, row in landmarks(prompts, task).items():
            rows += [(i, h, mark, share) for h, share in enumerate(mean[:, row].tolist())]
    return pd.DataFrame(rows, columns=["layer", "head", "landmark", "attention"])


@torch.no_grad()
def patched(model: GPT, pair: Pair, name: str, index: tuple) -> Tensor:
    """[B, n] the clean run's predictions with activation[index] at the hook `name` taken from the corrupted run.

    `h.2.hook_resid_pre`, [:, row] is one row's residual stream before a layer: if 1-after copies a next state that
    was already computed at the needle's last payload row, that row alone moves the prediction.  `h.2.attn.hook_z`,
    [:, head, -1] is what one head writes on the last row.  KeyError, IndexError for what there is not."""
    outputs = []
    for clean, corrupted in zip(pair.clean.split(PIECE), pair.corrupted.split(PIECE)):
        theirs = run_with_cache(model, corrupted, [name])[1][name]

        def put(x, theirs=theirs):
            x = x.clone()
            x[index] = theirs[index]
            return x

        with hooks(model, {name: put}):
            outputs.append(model(clean)[:, -1])
    return torch.cat(outputs)
