"""What the parts of a circuit do: where heads look, what is left without them, which edges stand in for each other.

Written down before these tables:

    heads       A head has a *role* at the row of the prediction if it looks at one landmark with LOOKS or more of its attention there; the
                role counts where corrupting that head at that row alone (its share of the sum, whole context) costs
                the prediction COSTS or more.  Predicted: in 1-after-query heads that look at the needle's label or
                close label matter; in 2-after-query, where a state can be matched, heads that look at the needle's
                states.
    copy        1-after-query would *copy* a next state already computed at the needle's last payload row if that row alone, before
                the last layer, moved the prediction; both when it comes from a prompt with another map
                (whole-context) and from one with another last state of the same systems (other-states).  Nothing
                moves: the hypothesis is refuted.
    removal     Separate mechanisms: without 1-after's circuit 2-after-query is left as it is, and the reverse.  Beside it stands the
                removal of as many random edges, for any large removal hurts; only where a task keeps more without
                the other's circuit than without random edges do the circuits part. Added after the first model had
                been seen: that a task gets along without the edges which only the other's circuit has is no finding,
                its own circuit is whole then; that the other does not is one only if it is worse than the loss of
                what only the first of its own two draws has, for then its own edges are no choice among equals.
                Added when all had been seen: these are fewer edges, so that each loss is taken beyond that of as
                many random ones.
    pairs       Backups (either edge is enough) or partners (both are needed) of PAIR or more of the prediction beyond the sum of each.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from recall.circuits.corruptions import attention
from recall.circuits.faithfulness import measure
from recall.circuits.graph import Graph, Patcher, pairs
from recall.model import GPT, hooks, run_with_cache
from recall.needle import needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.studies.weights.dissect import KEYS, SEEDS, TEST_SEED, Scale, circuits_of, keys, pair, trace
from recall.training import build_model

LOOKS, COSTS, PAIR = 0.3, 0.1, 0.1  # shares of a row's attention, of the prediction, of the prediction
CORRUPTION, TASKS = "whole-context", ("1-after", "2-after")
RANDOM = 10  # random removals that a circuit's is held against

HEADS = [*KEYS, "task", "layer", "head", "landmark", "attention", "cost", "cost_here"]
ROWS = [*KEYS, "corruption", "task", "landmark", "layer", "lost"]
REMOVALS = [*KEYS, "removed", "task", "edges", "kept", "error"]
PAIRS = [*KEYS, "task", "writer_a", "reader_a", "writer_b", "reader_b", "noising", "denoising", "or_", "and_"]


@torch.no_grad()
def roles(run: Run, circuits: pd.DataFrame, edges: pd.DataFrame, scale: Scale = Scale()) -> tuple[pd.DataFrame, ...]:
    """Tables HEADS, ROWS, REMOVALS and PAIRS of the last step of a run.  circuits, edges: as `dissect` makes them of
    it.
    """
    config, step = from_json(run.config), run.history.step.max()
    model = build_model(config, run.weights())
    mine = lambda table: table[(table.run == run.name) & (table.corruption == CORRUPTION) & (table.step == step)]
    fresh = {task: Patcher(model, pair(config.task, task, CORRUPTION, TEST_SEED, scale.test)) for task in TASKS}
    prompts = needle_prompts(config.task, 2, seed=TEST_SEED, haystacks=scale.test, traces=2)
    rows = [trace(run, name, scale=scale).assign(corruption=name) for name in ("whole-context", "other-states")]
    named = lambda table, columns: table.assign(**keys(run))[columns]
    of = circuits_of(mine(circuits))
    removed = (
        removals(fresh, {task: of[task] for task in TASKS}) if set(TASKS) <= set(of) else pd.DataFrame(columns=REMOVALS)
    )
    found = [
        pairs(
            Patcher(model, pair(config.task, task, CORRUPTION, SEEDS[1], scale.find)),
            mine(edges)
            .rename(columns={f"noising_{k}": "noising", f"denoising_{k}": "denoising"})
            .reset_index(drop=True),
        ).assign(task=task)
        for k, task in enumerate(TASKS, start=1)
        if len(mine(edges))
    ]
    return (
        named(heads(model, fresh, prompts), HEADS),
        named(pd.concat(rows), ROWS),
        named(removed, REMOVALS),
        named(pd.concat(found), PAIRS) if found else pd.DataFrame(columns=PAIRS),
    )


def heads(model: GPT, patchers: dict[str, Patcher], prompts) -> pd.DataFrame:
    """Of every head and task: the landmark that the prediction's row looks at most, its share of the attention, and
    what the prediction loses when all that the head writes comes from the corrupted run (cost), or only what it
    writes on that row (cost_here).
    """
    rows = []
    for task, patcher in patchers.items():
        looks = (
            pd.DataFrame(attention(model, prompts, task))
            .sort_values("attention", ascending=False)
            .drop_duplicates(["layer", "head"])
        )
        for look in looks.sort_values(["layer", "head"]).to_dict("records"):
            name = f"h.{look['layer']}.attn.{look['head']}"
            mask = torch.tensor([float(writer != name) for writer, _ in patcher.graph.edges])
            rows.append(
                look
                | dict(
                    task=task,
                    cost=patcher.lost(patcher(mask)).mean().item(),
                    cost_here=patcher.lost(without_here(model, patcher.pair, look["layer"], look["head"]))
                    .mean()
                    .item(),
                )
            )
    return pd.DataFrame(rows)


@torch.no_grad()
def without_here(model: GPT, both, layer: int, head: int) -> torch.Tensor:
    """[B, n] predictions when one head's output on the last row is that of the corrupted run, nothing else."""
    name = f"h.{layer}.attn.hook_z"  # [B, H, T, d]
    theirs = run_with_cache(model, both.corrupted, [name])[1][name]

    def put(z):
        z = z.clone()
        z[:, head, -1] = theirs[:, head, -1]
        return z

    with hooks(model, {name: put}):
        return model(both.clean)[:, -1]


@torch.no_grad()
def removals(patchers: dict[str, Patcher], circuits: dict[str, list[torch.Tensor]]) -> pd.DataFrame:
    """What is kept of each task (1 - lost) and its error without a circuit, without what it has and the other has
    not (`only`), without what its first draw has and its second has not (`first draw only`), and, means over RANDOM
    draws, without as many random edges.

    circuits: of both tasks, two draws each."""
    graph, rows = next(iter(patchers.values())).graph, []
    for (task, own), (_, other) in zip(circuits.items(), reversed(circuits.items())):
        for name, circuit in (
            (task, own[0]),
            (f"{task} only", own[0] * (1 - other[0])),
            (f"{task} first draw only", own[0] * (1 - own[1])),
        ):
            size, generator = int(circuit.sum()), torch.Generator().manual_seed(0)
            random = [_some(graph, size, generator) for _ in range(RANDOM)]
            for each, patcher in patchers.items():
                for removed, draws in ((name, [circuit]), (f"random, as {name}", random)):
                    made = [measure(patcher, 1 - draw) for draw in draws]
                    rows.append(
                        dict(
                            removed=removed,
                            task=each,
                            edges=size,
                            kept=float(np.mean([1 - one["lost"] for one in made])),
                            error=float(np.mean([one["error"] for one in made])),
                        )
                    )
    return pd.DataFrame(rows)


def _some(graph: Graph, size: int, generator: torch.Generator) -> torch.Tensor:
    """[E] a random circuit of edges that carry something."""
    places = graph.carrying.nonzero().flatten()
    return graph.mask().zero_().index_fill(0, places[torch.randperm(len(places), generator=generator)[:size]], 1)
