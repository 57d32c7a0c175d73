"""What the parts of a circuit do: where heads look, what is left without them, which edges stand in for each other.

Written down before these tables:

    heads      A head has a *role* at the row of the prediction if it looks at one landmark with LOOKS or more of its
               attention there; the role counts where corrupting that head at that row alone (its share of the sum,
               whole context) costs the prediction COSTS or more.  Predicted: in 1-after-query heads that look at the
               needle's label or close label matter; in 2-after-query, where a state can be matched, heads that look at
               the needle's states.
    copy       1-after-query would *copy* a next state already computed at the needle's last payload row if that row
               alone, before the last layer, moved the prediction; both when it comes from a prompt with another map
               (whole-context) and from one with another last state of the same systems (other-states).  Nothing
               moves: the hypothesis is refuted.
    removal    Separate mechanisms: without 1-after's circuit 2-after-query is left as it is, and the reverse.  Beside
               it stands the removal of as many random edges, for any large removal hurts; only where a task keeps more
               without the other's circuit than without random edges do the circuits part.
               Added after the first model had been seen: that a task gets along without the edges which only the
               other's circuit has is no finding, its own circuit is whole then; that the other does not is one only if
               it is worse than the loss of what only the first of its own two draws has, for then its own edges are no
               choice among equals.  Added when all had been seen: these are fewer edges, so that each loss is taken
               beyond that of as many random ones.
    pairs      Backups (either edge is enough) or partners (both are needed) of PAIR or more of the prediction beyond
               the sum of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall.circuits.corruptions import attention, landmarks, patched
from recall.circuits.faithfulness import measure
from recall.circuits.graph import Graph, Patcher, pairs
from recall.studies.weights.shared import KEYS, TASKS, circuits_of

if TYPE_CHECKING:
    from recall.studies.weights.dissect import Subject

LOOKS, COSTS, PAIR = 0.3, 0.1, 0.1  # shares of a row's attention, of the prediction, of the prediction
RANDOM = 10  # random removals that a circuit's is held against
ELSEWHERE = ("whole-context", "other-states")  # what a row is taken from

HEADS = [*KEYS, *"task layer head landmark attention cost cost_here".split()]
ROWS = [*KEYS, *"corruption task landmark layer lost".split()]
REMOVALS = [*KEYS, *"removed task edges kept error".split()]
PAIRS = [*KEYS, *"task writer_a reader_a writer_b reader_b noising denoising or_ and_".split()]


def roles(subject: Subject, circuits: pd.DataFrame, edges: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """Tables HEADS, ROWS, REMOVALS and PAIRS.

    circuits, edges: as `dissect` makes them of it; where the corruption does not move both tasks, the last two tables
    are empty."""
    of, edges = circuits_of(subject.rows(circuits)), subject.rows(edges)
    fresh = {task: subject.testing(task) for task in TASKS}
    removed = removals(fresh, {task: of[task] for task in TASKS}) if set(TASKS) <= set(of) else pd.DataFrame()
    together = [
        pairs(subject.finding(task), edges.rename(columns=lambda name, k=k: name.removesuffix(f"_{k}"))).assign(
            task=task
        )
        for k, task in enumerate(TASKS, start=1)
        if len(edges)
    ]
    found = (
        (heads(subject, fresh), HEADS),
        (trace(subject), ROWS),
        (removed, REMOVALS),
        (pd.concat(together) if together else pd.DataFrame(), PAIRS),
    )
    return tuple(table.assign(**subject.keys).reindex(columns=columns) for table, columns in found)


@torch.no_grad()
def heads(subject: Subject, patchers: dict[str, Patcher]) -> pd.DataFrame:
    """Of every head and task: the landmark that the prediction's row looks at most, its share of the attention, and
    what the prediction loses when all that the head writes comes from the corrupted run (cost), or only what it
    writes on that row (cost_here)."""
    model, rows = subject.model, []
    for task, patcher in patchers.items():
        looks = attention(model, subject.prompts(), task).sort_values("attention", ascending=False)
        looks = looks.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"])
        for look in looks.to_dict("records"):
            name = f"h.{look['layer']}.attn"
            mask = torch.tensor([float(writer != f"{name}.{look['head']}") for writer, _ in patcher.graph.edges])
            here = patched(model, patcher.pair, f"{name}.hook_z", np.s_[:, look["head"], -1])
            costs = (patcher.lost(outputs).mean().item() for outputs in (patcher(mask), here))
            rows.append({"task": task, **look, **dict(zip(("cost", "cost_here"), costs))})
    return pd.DataFrame(rows)


@torch.no_grad()
def trace(subject: Subject) -> pd.DataFrame:
    """Share of the prediction that moves when one row's residual stream before a layer comes from the corrupted run:
    corruption, task, landmark, layer, lost.  1 at the needle's last state would mean that the answer is made there and
    copied."""
    model, prompts, rows = subject.model, subject.prompts(), []
    for corruption in ELSEWHERE:
        for task in TASKS:
            patcher = subject.testing(task, corruption)
            for landmark, row in landmarks(prompts, task).items():
                for layer in range(len(model.h)):
                    outputs = patched(model, patcher.pair, f"h.{layer}.hook_resid_pre", np.s_[:, row])
                    rows.append((corruption, task, landmark, layer, patcher.lost(outputs).mean().item()))
    return pd.DataFrame(rows, columns=["corruption", "task", "landmark", "layer", "lost"])


@torch.no_grad()
def removals(patchers: dict[str, Patcher], circuits: dict[str, list[Tensor]]) -> pd.DataFrame:
    """What is kept of each task (1 - lost) and its error without a circuit, without what it has and the other has not
    (`only`), without what its first draw has and its second has not (`first draw only`), and, means over RANDOM draws,
    without as many random edges.

    circuits: of both tasks, two draws each."""
    graph, rows = next(iter(patchers.values())).graph, []
    for (task, own), (_, other) in zip(circuits.items(), reversed(circuits.items())):
        parts = {
            task: own[0],
            f"{task} only": own[0] * (1 - other[0]),
            f"{task} first draw only": own[0] * (1 - own[1]),
        }
        for name, part in parts.items():
            size, generator = int(part.sum()), torch.Generator().manual_seed(0)
            random = [_some(graph, size, generator) for _ in range(RANDOM)]
            for each, patcher in patchers.items():
                for removed, draws in ((name, [part]), (f"random, as {name}", random)):
                    left = [measure(patcher, 1 - draw) for draw in draws]
                    kept, error = (
                        float(np.mean(values)) for values in zip(*((1 - one["lost"], one["error"]) for one in left))
                    )
                    rows.append((removed, each, size, kept, error))
    return pd.DataFrame(rows, columns=["removed", "task", "edges", "kept", "error"])


def _some(graph: Graph, size: int, generator: torch.Generator) -> Tensor:
    """[E] a random circuit of edges that carry something."""
    places = graph.carrying.nonzero().flatten()
    chosen = places[torch.randperm(len(places), generator=generator)[:size]]
    return graph.mask([]).index_fill(0, chosen, 1)
