"""Planted circuits are found and measured; what two circuits share against chance."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_circuits import DIRECT, PLANTED, last_row_clean, names, planted_model, random_pair

from recall.circuits.faithfulness import completeness, eliminate, measure, minimality, overlap, strongest
from recall.circuits.graph import Graph, Pair, Patcher, exact
from recall.task import stream


@pytest.fixture(scope="module")
def planted():
    """A patcher of the planted model, its noising effects, and the circuit that is eliminated down to nothing lost."""
    model = planted_model()
    patcher = Patcher(model, random_pair(model, 32))
    noising = exact(patcher).noising
    return patcher, noising, eliminate(patcher, noising, distance=1e-9)


def test_elimination_finds_the_planted_circuit(planted):
    patcher, noising, circuit = planted
    assert names(patcher.graph, circuit) == PLANTED
    loose = eliminate(patcher, noising, distance=0.2)
    assert loose.sum() < 8 and measure(patcher, loose)["distance"] < 0.2
    for edge in names(patcher.graph, loose):
        assert measure(patcher, loose - patcher.graph.mask([edge]))["distance"] >= 0.2


def test_a_circuit_is_measured_between_nothing_and_the_model(planted):
    patcher, _, circuit = planted
    target, none = patcher.pair.target, patcher.graph.mask([])
    whole, found = measure(patcher, patcher.graph.mask()), measure(patcher, circuit)
    assert {**whole, "edges": 8} == pytest.approx(found, nan_ok=True)
    assert whole["edges"] == int(patcher.graph.carrying.sum())
    errors = [(y - target).square().sum(-1).mean().item() for y in (patcher.full, patcher.empty)]
    for mask, edges, faithfulness, lost in ((circuit, 8, 1, 0), (none, 0, 0, 1)):
        got = measure(patcher, mask)
        assert (got["error_full"], got["error_empty"]) == pytest.approx(errors)
        assert got["difference"] == pytest.approx((patcher.full - patcher.empty).square().sum(-1).mean().item())
        assert (got["edges"], got["distance"], got["lost"]) == pytest.approx((edges, lost, lost), abs=1e-9)
        assert math.isnan(got["faithfulness"]) or got["faithfulness"] == pytest.approx(faithfulness, abs=1e-9)
    # the truth is what the model says
    aim = Patcher(patcher.model, Pair(patcher.pair.clean, patcher.pair.corrupted, patcher.full))
    assert [measure(aim, mask)["faithfulness"] for mask in (circuit, none)] == pytest.approx([1, 0], abs=1e-9)


def test_what_stands_outside_and_what_each_edge_costs(planted):
    patcher, _, circuit = planted
    generator = stream("evaluation", 3)
    nothing = dict(complement=0, complement_after=0, gap=0)
    assert completeness(patcher, circuit, generator) == pytest.approx(nothing, abs=1e-9)
    part = circuit - patcher.graph.mask([DIRECT])
    assert abs(completeness(patcher, part, generator)["complement"]) > 0.02
    costs = minimality(patcher, circuit)
    assert len(costs) == 8 and (costs.cost > 0).all() and costs.essential.tolist() == (costs.cost > 0.01).tolist()
    useless = minimality(patcher, patcher.graph.mask())
    assert ((useless.cost.abs() < 1e-12) == [edge not in PLANTED for edge in zip(useless.writer, useless.reader)]).all()


def test_a_joint_circuit_is_near_on_both_prompts(planted):
    """Prompts on whose last row nothing differs do without the direct edge; a joint circuit with the others may not."""
    patcher, noising, _ = planted
    patchers = [Patcher(patcher.model, last_row_clean(patcher.pair)), patcher]
    direct = patcher.graph.edges.index(DIRECT)
    assert not eliminate(patchers[0], noising, 0.001)[direct]
    joint = eliminate(patchers, noising, 0.001)
    assert joint[direct] and all(measure(each, joint)["distance"] < 0.001 for each in patchers)


def draws(graph, generator):
    """Random circuits by their size, of edges that carry something."""
    carrying = graph.carrying.nonzero().flatten()
    some = lambda size: carrying[torch.randperm(len(carrying), generator=generator)[:size]]
    return lambda size: graph.mask([]).index_fill(0, some(size), 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 13), st.integers(0, 13), st.integers(0, 999))
def test_overlap(size_a, size_b, seed):
    graph = Graph(1, 2)
    draw = draws(graph, stream("evaluation", seed))
    a, b = draw(size_a), draw(size_b)
    got = overlap(a + ~graph.carrying, b + ~graph.carrying, graph)  # the position edges are not counted
    if not size_a + size_b:
        assert math.isnan(got["overlap"])
        return
    in_a, in_b = names(graph, a), names(graph, b)
    assert (got["a"], got["b"], got["both"]) == (size_a, size_b, len(in_a & in_b))
    assert got["overlap"] == len(in_a & in_b) / len(in_a | in_b)
    assert 0 <= got["null"] <= min(size_a, size_b) / max(size_a, size_b) + 1e-12


def test_overlap_of_random_circuits_is_the_null():
    graph = Graph(2, 2)
    draw = draws(graph, stream("evaluation", 5))
    results = [overlap(draw(10), draw(15), graph) for _ in range(500)]
    assert np.mean([each["overlap"] for each in results]) == pytest.approx(results[0]["null"], abs=0.01)


def test_strongest_edges():
    assert strongest([0.1, -0.5, 0.2, 0.3], 2).tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="size must be 0 to 4 edges, not 5"):
        strongest([0.1, -0.5, 0.2, 0.3], 5)
