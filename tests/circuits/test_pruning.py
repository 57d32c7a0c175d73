"""Learned gates find a planted circuit."""

from dataclasses import replace

import pytest
import torch
from made_circuits import DIRECT, PLANTED, last_row_clean, names, planted_model, random_pair

from recall.circuits.graph import Graph
from recall.circuits.pruning import PruningConfig, gate, open_chance, prune, steady_gate
from recall.task import stream


def test_pruning_finds_the_planted_circuit():
    model = planted_model()
    pair, graph = random_pair(model, 64), Graph.of(model)
    config = PruningConfig(edges=8, steps=40, batch=8)
    circuit, gates = prune(model, pair, config)
    found, others = names(graph, circuit), [i for i, edge in enumerate(graph.edges) if edge not in PLANTED]
    assert len(found) == 8 and len(found & PLANTED) >= 7 and circuit.dtype == torch.float64
    assert (gates[others] < 0.5).all()
    early = last_row_clean(pair)
    assert DIRECT in found and DIRECT not in names(graph, prune(model, early, replace(config, edges=7))[0])
    assert DIRECT in names(graph, prune(model, [early, pair], config)[0])  # a joint circuit must serve both


def test_sharing_rewards_the_edges_of_another_circuit():
    model = planted_model()
    pair, graph = random_pair(model, 64), Graph.of(model)
    useless = graph.mask([("read_in", "h.0.mlp"), ("h.0.mlp", "read_out"), ("h.1.attn.1", "read_out")])
    config = PruningConfig(edges=11, steps=40, batch=8)  # three edges more than the eight that are needed
    free, paid = (prune(model, pair, replace(config, sharing=sharing), useless)[0] for sharing in (0.0, 5.0))
    assert (free * useless).sum() < 3 and (paid * useless).sum() == 3
    with pytest.raises(ValueError, match="shared must be given where sharing is above 0"):
        prune(model, pair, PruningConfig(edges=8, sharing=0.5))
    with pytest.raises(ValueError, match="edges must be at most 46, those that can carry a difference, not 48"):
        prune(model, pair, PruningConfig(edges=48))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(edges=0), "edges must be at least 1"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(sharing=-1.0), "sharing must be 0 or more"),
        (dict(wanted="x"), "wanted must be model or truth"),
        (dict(rate=0.0), "rate must be positive"),
        (dict(pressure=0.0), "pressure must be positive"),
        (dict(ramp=0.0), "ramp must be above 0"),
    ],
)
def test_bad_pruning_values(change, message):
    with pytest.raises(ValueError, match=message):
        PruningConfig(**{"edges": 1, **change})


def test_hard_concrete_gates():
    """P(z > 0) of many draws is the closed form; values lie in [0, 1] and are often exactly at the ends."""
    a = torch.tensor([-3.0, -1.0, 0.0, 2.0]).double()
    draws = gate(a, torch.rand(20_000, 4, generator=stream("evaluation", 4)).double().clamp(1e-6, 1 - 1e-6))
    assert draws.min() == 0 and draws.max() == 1
    assert torch.allclose((draws > 0).double().mean(0), open_chance(a), atol=0.012)
    assert steady_gate(torch.tensor([-9.0, 0.0, 9.0])).tolist() == pytest.approx([0, 0.5, 1])
