"""What a circuit explains, a circuit being a mask of zeros and ones over the edges of a `graph.Graph`.

    faithfulness    (E_0 - E_C) / (E_0 - E_M): E_M the model's error, E_0 that of its corrupted run, E_C that of the
                    circuit, whose edges keep this run's activations while all others take the corrupted run's.  Beside
                    it the output's distance to the model's: a circuit may miss the model and be as near the truth.
    completeness    the edges outside do nothing of the kind: their share is about 0, also after random ones among them
                    are removed, and what the removal of a part of the circuit does to it, it does to the model.
    minimality      every edge is needed: its removal costs more than 1 %.

Prompts that chose a circuit flatter it: measure on others.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from scipy import stats as scipy_stats
from torch import Tensor

from recall.circuits.graph import Graph, Patcher
from recall.config import check

ESSENTIAL = 0.01  # of the distance of the corrupted run: what an edge of a minimal circuit costs at least
RISE = 0.01  # of E|x|^2 = 1: a corruption that raises the error by less leaves nothing to be faithful to


def strongest(effects: Tensor | np.ndarray | pd.Series, size: int) -> Tensor:
    """[E] the circuit of the `size` edges of largest absolute effect."""
    effects = _sizes(effects)
    check("size", 0 <= size <= len(effects), f"0 to {len(effects)} edges", size)
    return torch.zeros(len(effects)).index_fill(0, effects.argsort(descending=True, stable=True)[:size], 1)


def _sizes(effects) -> Tensor:
    return torch.tensor(np.array(effects, dtype=float)).abs()


@torch.no_grad()
def measure(patcher: Patcher, circuit: Tensor) -> dict[str, float]:
    """What a circuit explains.

    edges: how many it has.  error, error_full, error_empty: mean squared norm of its errors, E_C, of the model's, E_M,
    and of its corrupted run's, E_0.  faithfulness = (E_0 - E_C) / (E_0 - E_M), 1 for the model; nan where the
    corruption raises the error by less than RISE.  difference: mean |corrupted run - model|^2, what there is to
    explain: where it is small beside E|x|^2 a circuit says little about the model, however near it comes.  distance:
    mean |circuit - model|^2 / difference, 0 for the model, which a circuit must be near also where it errs.  lost: as
    in `Patcher.lost`.  error_std, distance_std, lost_std: over prompts."""
    output, target = patcher(circuit), patcher.pair.target
    over_prompts = dict(
        error=(output - target).square().sum(-1),
        distance=(output - patcher.full).square().sum(-1) / patcher.scale,
        lost=patcher.lost(output),
    )
    mean = {name: value.mean().item() for name, value in over_prompts.items()}
    full, empty = ((each - target).square().sum(-1).mean().item() for each in (patcher.full, patcher.empty))
    return dict(
        edges=int((circuit.cpu() * patcher.graph.carrying).count_nonzero()),
        faithfulness=(empty - mean["error"]) / (empty - full) if empty - full > RISE else math.nan,
        difference=patcher.scale,
        **mean,
        error_full=full,
        error_empty=empty,
        **{f"{name}_std": value.std(correction=0).item() for name, value in over_prompts.items()},
    )


@torch.no_grad()
def completeness(patcher: Patcher, circuit: Tensor, generator: torch.Generator, subsets: int = 10) -> dict[str, float]:
    """Whether anything outside the circuit does the same work.

    complement: share of the prediction (1 - lost) kept by the edges outside, with the circuit's corrupted: 0 for a
    complete one.  complement_after: the largest of that, in absolute value, over `subsets` random halves taken away
    from the outside.  gap: mean over random halves K of the circuit of |kept by circuit without K - kept by model
    without K|."""
    graph, circuit = patcher.graph, circuit.cpu()
    outside, inside = graph.mask() - circuit, circuit.bool() & graph.carrying
    kept = lambda mask: 1 - patcher.lost(patcher(mask)).mean().item()
    half = lambda: (torch.rand(len(circuit), generator=generator) < 0.5).float()
    after = [kept(outside * half()) for _ in range(subsets)]
    left = [1 - inside * half() for _ in range(subsets)]
    gaps = [abs(kept(circuit * mask) - kept(mask)) for mask in left]
    return dict(complement=kept(outside), complement_after=max(after, key=abs), gap=float(np.mean(gaps)))


@torch.no_grad()
def minimality(patcher: Patcher, circuit: Tensor) -> pd.DataFrame:
    """What the removal of every edge of a circuit costs: writer, reader, cost (rise of `distance`), essential (cost
    above ESSENTIAL)."""
    circuit, rows = circuit.cpu(), []
    start = _distance(patcher, circuit)
    for i in (circuit.bool() & patcher.graph.carrying).nonzero().flatten().tolist():
        cost = _distance(patcher, _drop(circuit, i)) - start
        rows.append((*patcher.graph.edges[i], cost, cost > ESSENTIAL))
    return pd.DataFrame(rows, columns=["writer", "reader", "cost", "essential"])


def _distance(patcher: Patcher, circuit: Tensor) -> float:
    return (patcher(circuit) - patcher.full).square().sum(-1).mean().item() / patcher.scale


def _drop(circuit: Tensor, i: int) -> Tensor:
    fewer = circuit.clone()
    fewer[i] = 0
    return fewer


@torch.no_grad()
def eliminate(
    patchers: Patcher | list[Patcher], effects: Tensor | np.ndarray | pd.Series, distance: float = 0.1
) -> Tensor:
    """[E] the reference circuit, by greedy backward elimination: the edges are tried from the smallest absolute
    effect up, and one whose loss leaves the circuit's `distance` to the model below the given one is taken away,
    until a round takes none.

    Several patchers of one model (other tasks, other prompts): a joint circuit, which stays that near on every one
    of them.  effects: [E], such as `exact`'s, best measured on other prompts than the patchers'."""
    check("distance", 0 < distance < 1, "between 0 and 1", distance)
    patchers = [patchers] if isinstance(patchers, Patcher) else list(patchers)
    order, circuit = _sizes(effects).argsort(stable=True).tolist(), patchers[0].graph.carrying.float()
    while True:
        before = circuit
        for i in order:
            if circuit[i] and all(_distance(patcher, _drop(circuit, i)) < distance for patcher in patchers):
                circuit = _drop(circuit, i)
        if torch.equal(circuit, before):
            return circuit


def overlap(a: Tensor, b: Tensor, graph: Graph) -> dict[str, float]:
    """What two circuits share, position edges left out: a, b, both (edges), overlap (edges in both over edges in
    either), null (its mean over random circuits of these sizes: exact, hypergeometric).

    What the same task gives twice, on other prompts or by another method, is the measure to hold two tasks against."""
    a, b = (each.cpu().bool() & graph.carrying for each in (a, b))
    size_a, size_b, both, carrying = int(a.sum()), int(b.sum()), int((a & b).sum()), int(graph.carrying.sum())
    share = lambda both: both / (size_a + size_b - both) if size_a + size_b else math.nan
    possible = np.arange(max(0, size_a + size_b - carrying), min(size_a, size_b) + 1)
    null = float((scipy_stats.hypergeom.pmf(possible, carrying, size_a, size_b) * share(possible)).sum())
    return dict(a=size_a, b=size_b, both=both, overlap=share(both), null=null)
