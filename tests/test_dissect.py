"""Circuits side by side: the rule for a verdict by hand, tables from a small model, planted overlap found."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recall import dissect, runs, verdicts
from recall.circuits import Graph
from recall.settings import vary

GRAPH = Graph(3, 4)


def circuit(kept) -> str:
    return dissect.written(torch.tensor([float(i in kept) for i in range(len(GRAPH.edges))]))


def table(first, second, run="a", corruption="whole-context"):
    """Circuits of both tasks, two draws each."""
    return pd.DataFrame([dict(run=run, dimension=5, labels=4, seed=0, layers=3, heads=4, step=1, corruption=corruption, task=task, draw=draw + 1, circuit=circuit(kept))
                         for task, draws in (("1-after", first), ("2-after", second)) for draw, kept in enumerate(draws)])


CARRYING = GRAPH.carrying.nonzero().flatten().tolist()


def test_circuits_survive_a_table(tmp_path):
    kept = set(CARRYING[::3])
    runs.write_csv(tmp_path / "t.csv", table([kept, kept], [set(), kept]))
    again = pd.read_csv(tmp_path / "t.csv")
    assert dissect.read(again.circuit[0]).nonzero().flatten().tolist() == sorted(kept) and len(again.circuit[2]) == 302


def test_strongest_edges_by_hand():
    """Two models whose five strongest edges of both tasks have two and five in common."""
    edges = pd.DataFrame([dict(run=run, step=1, corruption="whole-context", writer=w, reader=r, noising_1=1.0 * (i in first), denoising_1=0.0,
                               noising_2=0.0, denoising_2=-1.0 * (i in second))
                          for run, first, second in (("a", CARRYING[:5], CARRYING[3:8]), ("b", CARRYING[:5], CARRYING[:5])) for i, (w, r) in enumerate(GRAPH.edges)])
    row = dissect.by_size(edges, sizes=(5,)).iloc[0]
    assert row.inside == pytest.approx((2 / 5 + 1) / 2) and row.chance == pytest.approx(5 / 262) and row.models == 2


def test_overlap_by_hand():
    a, b, c = set(CARRYING[:20]), set(CARRYING[10:30]), set(CARRYING[15:35])
    row = dissect.overlaps(table([a, a], [b, c])).iloc[0]
    assert row.overlap == pytest.approx((10 / 30 + 5 / 35) / 2)  # a with b, a with c, each twice
    assert row.ceiling == pytest.approx((1 + 15 / 25) / 2)
    assert row.inside == pytest.approx((10 / 20 + 5 / 20) / 2) and row.inside_null == pytest.approx(20 / 262)
    assert 0.02 < row.null < 0.06 and row.shared == pytest.approx((row.overlap - row.null) / (row.ceiling - row.null))


def test_the_same_circuits_are_shared_and_strangers_are_not():
    rng = np.random.default_rng(0)
    draw = lambda: set(rng.choice(CARRYING, 60, replace=False).tolist())
    one, other = draw(), draw()
    assert dissect.overlaps(table([one, one], [one, one])).shared.iloc[0] == pytest.approx(1)
    assert abs(dissect.overlaps(table([one, one], [other, other])).shared.iloc[0]) < 0.1


def test_a_small_circuit_inside_a_large_one_is_no_stranger():
    row = dissect.overlaps(table([set(CARRYING[:100])] * 2, [set(CARRYING[:25])] * 2)).iloc[0]
    assert row.inside == 1 and row.overlap == 0.25 and row.shared < 0.3


def test_circuits_across_two_corruptions():
    a, b = set(CARRYING[:20]), set(CARRYING[10:30])
    label, state = table([a, a], [set(), set()], corruption="query-label"), table([a, a], [b, b], corruption="resumed-state")
    row = dissect.across(pd.concat([label, state[(state.task == "2-after") & (state.draw == 1)]])).iloc[0]
    assert row.overlap == pytest.approx(10 / 30) and row.inside == 0.5


def test_tasks_side_by_side():
    a, b = set(CARRYING[:20]), set(CARRYING[10:30])
    made = dissect.between_tasks(table([a, a], [b, a]))
    assert made.loc["1-after", "1-after"] == 1 and made.loc["2-after", "2-after"] == pytest.approx(1 / 3)
    assert made.loc["1-after", "2-after"] == made.loc["2-after", "1-after"] == pytest.approx((1 / 3 + 1) / 2)


def test_damaged_circuits_are_refused():
    with pytest.raises(ValueError, match="circuit must be made of x and ."):
        dissect.read("0101")


def test_a_model_without_a_circuit_is_left_out():
    a = set(CARRYING[:20])
    missing = table([a, a], [a, a], run="b")
    missing.loc[missing.task == "2-after", "circuit"] = ""
    both = pd.concat([table([a, a], [a, a]), missing])
    assert dissect.overlaps(both).run.tolist() == ["a"]
    assert dissect.overlaps(both.assign(circuit=both.circuit.replace("", math.nan))).run.tolist() == ["a"]


@pytest.mark.parametrize("values, verdict", [
    ([0.0, 0.05, 0.1, 0.02, 0.08], "separate"), ([0.9, 0.95, 1.0, 0.92, 0.88], "shared"), ([0.5, 0.45, 0.55, 0.5, 0.52], "partly shared"),
    ([0.0, 1.0, 0.2, 0.9, 0.5], "undecided"), ([0.0, 0.01, 0.02, 0.01], "undecided"), ([0.0, 0.01, 0.02, 0.01, math.nan], "undecided")])
def test_verdict_by_the_rule(values, verdict):
    assert dissect.verdict(values) == verdict


def test_interval_by_hand():
    mean, low, high = dissect.interval([1.0, 2.0, 3.0, math.nan])
    assert mean == 2 and high - mean == pytest.approx(4.302653 / 3**0.5, rel=1e-5) and mean - low == pytest.approx(high - mean)
    assert all(map(math.isnan, dissect.interval([])))


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 1000), min_size=5, max_size=12, unique=True))
def test_a_shared_part_that_rises_is_seen(index):
    rising, falling = (dissect.rises(index, [sign * value**3 for value in index], draws=100) for sign in (1, -1))
    assert rising == pytest.approx((1, 1, 1)) and falling == pytest.approx((-1, -1, -1))
    assert all(map(math.isnan, dissect.rises(index[:4], index[:4])))


def test_the_row_that_moves_most_in_words():
    one = pd.DataFrame([dict(task="1-after", landmark=mark, layer=2, lost=lost) for mark, lost in
                        (("needle last state", 0.1), ("needle close label", 0.7), ("own row", 0.2))])
    other = one.assign(lost=[0.1, 0.0, 0.6])
    words = verdicts.traced(pd.concat([one.assign(model="a"), one.assign(model="b"), other.assign(model="c")]))
    assert "*needle close label* in 2 of 3 models (over all of them by 0.00 to 0.70) (c: own row, 0.60), and by 0.10 at most" in words


def test_a_small_model_taken_apart(tmp_path, monkeypatch):
    """Every row of the plan is there, draws differ in their prompts only, a second call gives the same tables."""
    from test_training import tiny
    from recall import training

    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)
    monkeypatch.setattr(dissect, "FIND", dict(haystacks=3, traces=2))
    monkeypatch.setattr(dissect, "TEST", dict(haystacks=3, traces=2))
    monkeypatch.setattr(dissect, "TELLING", 1e-9)
    config = vary(tiny(60), "custom", model=dict(n_layer=2, n_head=2, n_embd=16))
    edges_there, carrying = len(Graph(2, 2).edges), int(Graph(2, 2).carrying.sum())
    run = training.train(config, tmp_path / config.name)
    circuits, edges = dissect.dissect(run, corruptions=("query-label", "resumed-state"))
    assert circuits[["corruption", "task", "draw"]].values.tolist() == [
        ["query-label", "1-after", 1], ["query-label", "1-after", 2], ["query-label", "2-after", 1], ["query-label", "2-after", 2], ["resumed-state", "2-after", 1]]
    assert (circuits.circuit.str.len() == edges_there).all() and (circuits.distance >= 0).all() and len(edges) == edges_there and (edges.corruption == "query-label").all()
    again, _ = dissect.dissect(run, corruptions=("resumed-state",))
    assert again.circuit.iloc[0] == circuits.circuit.iloc[-1]
    drawn = dissect.graph_table(circuits, edges, {run.name: "x"})
    assert len(drawn) == carrying and set(drawn.circuit) <= {"neither", "1-after-query only", "2-after-query only", "both"} and (drawn.x < drawn.x2).all()
    traced = dissect.trace(run)
    assert len(traced) == 2 * 5 * 2 and np.isfinite(traced.lost).all()
    own = traced[(traced.task == "2-after") & (traced.landmark == "own row") & (traced.layer == 0)].lost.iloc[0]
    assert own != 0
