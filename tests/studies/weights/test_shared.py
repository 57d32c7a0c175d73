"""What circuits share, and the rule for a verdict, by hand."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from made_circuits import CARRYING, GRAPH, circuit, circuits

from recall import runs
from recall.circuits.graph import Graph
from recall.studies.weights import shared


def effects(graph, step=1, run="a", **of):
    """Effects on both tasks, 0 but for `of`: column -> a function of an edge's number."""
    rows = [dict(run=run, step=step, corruption="whole-context", writer=w, reader=r) for w, r in graph.edges]
    columns = [f"{name}_{k}" for name, k in itertools.product(("noising", "denoising"), (1, 2))]
    values = {name: [float(of[name](i)) if name in of else 0.0 for i in range(len(rows))] for name in columns}
    return pd.DataFrame(rows).assign(**values)


def test_circuits_survive_a_table(tmp_path):
    kept = set(CARRYING[::3])
    (tmp_path / "t.csv").write_bytes(runs.csv(circuits([kept, kept], [set(), kept])))
    again = pd.read_csv(tmp_path / "t.csv")
    assert shared.from_text(again.circuit[0]).nonzero().flatten().tolist() == sorted(kept)
    assert len(again.circuit[2]) == len(GRAPH.edges) == 302


def test_damaged_circuits_are_refused():
    with pytest.raises(ValueError, match="circuit must be made of x and ."):
        shared.from_text("0101")


def test_overlap_by_hand():
    a, b, c = set(CARRYING[:20]), set(CARRYING[10:30]), set(CARRYING[15:35])
    row = shared.overlaps(circuits([a, a], [b, c])).iloc[0]
    assert row.overlap == pytest.approx((10 / 30 + 5 / 35) / 2)  # a with b, a with c, each twice
    assert row.ceiling == pytest.approx((1 + 15 / 25) / 2)
    assert row.inside == pytest.approx((10 / 20 + 5 / 20) / 2) and row.inside_null == pytest.approx(20 / 262)
    assert 0.02 < row.null < 0.06 and row.shared == pytest.approx((row.overlap - row.null) / (row.ceiling - row.null))


def test_the_same_circuits_are_shared_and_strangers_are_not():
    rng = np.random.default_rng(0)
    one, other = (set(rng.choice(CARRYING, 60, replace=False).tolist()) for _ in range(2))
    assert shared.overlaps(circuits([one, one], [one, one])).shared.iloc[0] == pytest.approx(1)
    assert abs(shared.overlaps(circuits([one, one], [other, other])).shared.iloc[0]) < 0.1


def test_a_small_circuit_inside_a_large_one_is_no_stranger():
    row = shared.overlaps(circuits([set(CARRYING[:100])] * 2, [set(CARRYING[:25])] * 2)).iloc[0]
    assert row.inside == 1 and row.overlap == 0.25 and row.shared < 0.3


def test_circuits_across_two_corruptions():
    a, b = set(CARRYING[:20]), set(CARRYING[10:30])
    label = circuits([a, a], [set(), set()], corruption="query-label")
    row = shared.across(pd.concat([label, circuits([], [b], corruption="resumed-state")])).iloc[0]
    assert row.overlap == pytest.approx(10 / 30) and row.inside == 0.5


def test_tasks_side_by_side():
    a, b = set(CARRYING[:20]), set(CARRYING[10:30])
    made = shared.between_tasks(circuits([a, a], [b, a]))
    assert made.loc["1-after", "1-after"] == 1 and made.loc["2-after", "2-after"] == pytest.approx(1 / 3)
    assert made.loc["1-after", "2-after"] == made.loc["2-after", "1-after"] == pytest.approx((1 / 3 + 1) / 2)


def test_a_model_without_a_circuit_is_left_out():
    a = set(CARRYING[:20])
    missing = circuits([a, a], [a, a], run="b")
    for nothing in ("", math.nan):
        missing.loc[missing.task == "2-after", "circuit"] = nothing
        assert shared.overlaps(pd.concat([circuits([a, a], [a, a]), missing])).run.tolist() == ["a"]


@pytest.mark.parametrize(
    "values, verdict",
    [
        ([0.0, 0.05, 0.1, 0.02, 0.08], "separate"),
        ([0.9, 0.95, 1.0, 0.92, 0.88], "shared"),
        ([0.5, 0.45, 0.55, 0.5, 0.52], "partly shared"),
        ([0.0, 1.0, 0.2, 0.9, 0.5], "undecided"),
        ([0.0, 0.01, 0.02, 0.01], "undecided"),
        ([0.0, 0.01, 0.02, 0.01, math.nan], "undecided"),
    ],
)
def test_verdict_by_the_rule(values, verdict):
    assert shared.verdict(values) == verdict


def test_strongest_edges_by_hand():
    """Two models whose five strongest edges of both tasks have two and five in common."""
    of = lambda run, first, second: effects(
        GRAPH, run=run, noising_1=lambda i: i in first, denoising_2=lambda i: -(i in second)
    )
    edges = pd.concat([of("a", CARRYING[:5], CARRYING[3:8]), of("b", CARRYING[:5], CARRYING[:5])])
    made = shared.by_size(edges, sizes=(5, 999))
    row = made.iloc[0]
    assert len(made) == 1 and row["size"] == 5  # no model has 999
    assert row.inside == pytest.approx((2 / 5 + 1) / 2) and row.chance == pytest.approx(5 / 262) and row.models == 2


def test_onsets_by_hand():
    """One edge of the last circuit matters from step 2 on, one never; what is outside of the circuit does not count."""
    graph = Graph(1, 1)
    kept, never, outside = graph.carrying.nonzero().flatten().tolist()[:3]
    grows = lambda step: lambda i: -0.06 * (step > 1 and i in (kept, outside))
    edges = pd.concat([effects(graph, step, denoising_1=grows(step)) for step in (1, 2, 3)])
    row = dict(run="a", layers=1, heads=1, circuit_1=circuit((kept, never), graph), circuit_2="", date_1=2.5)
    training = pd.DataFrame([row | dict(step=step, date_2=math.nan) for step in (1, 2, 3)])
    made = shared.onsets(training, edges)
    assert list(zip(made.writer, made.reader)) == [graph.edges[kept], graph.edges[never]]
    assert made.onset[0] == 2 and math.isnan(made.onset[1])
    assert made.date.tolist() == [2.5, 2.5] and set(made.task) == {"1-after"}
