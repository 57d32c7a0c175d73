"""The committed tables of chapter 7: whole, in order, and one of them made again from weights."""

import numpy as np
import pytest

from recall import runs
from recall.circuits.graph import Graph
from recall.studies.weights import dissect, findings, shared

pytestmark = pytest.mark.standard
LAYERS, HEADS = 3, 4
EDGES = list(Graph(LAYERS, HEADS).edges)


def test_effects_stand_in_the_order_of_the_graph():
    """Circuits are texts with a letter for every row of these tables."""
    for name in ("circuit_edges", "circuit_edges_over_training"):
        (table,) = findings.committed([name]).values()
        for _, group in table.groupby(["run", "step", "corruption"]):
            assert list(zip(group.writer, group.reader)) == EDGES
    for name in ("circuits", "circuit_methods"):
        (table,) = findings.committed([name]).values()
        assert (table.layers == LAYERS).all() and (table.heads == HEADS).all()
        assert table.circuit.dropna().str.fullmatch(f"[x.]{{{len(EDGES)}}}").all()


def test_every_model_is_in_every_table():
    tables = findings.committed()
    finished = set(tables["circuits"].run)
    assert len(finished) == 11 and set(tables["circuits_over_training"].run).isdisjoint(finished)
    for part in ("circuits", "methods", "roles"):
        assert all(set(tables[name].run) == finished for name in findings.PARTS[part])


def test_what_the_page_shows():
    found = findings.shown("", 3)
    assert set(found.circuits.dimension) == {3, 5} and found.circuits.run.nunique() == 10
    assert found.models and all("n = 3" in words for words in found.models.values())
    assert found.first("observation-led") in found.models and set(found.index) == set(found["circuits"].run)
    with pytest.raises(ValueError, match="dimension must be one of 2, 3, 5, or that of a run of your own"):
        findings.shown("", 4)
    with pytest.raises(ValueError, match="run must be one of haar"):
        findings.shown("nothing")


def test_committed_effects_are_those_of_the_committed_weights():
    """Some edges of one model under whole context, each alone, from the weights and the prompts.

    Tolerance: 5e-5 of the prediction.  The table has five digits; another processor than that of the table and three
    sets of its instructions were off by up to 5e-6, that is by the last digit."""
    name = "haar-n3-l4-fast-0-s0-30096626"
    table = findings.committed(["circuit_edges"])["circuit_edges"]
    table = table[(table.run == name) & (table.corruption == "whole-context")].reset_index(drop=True)
    subject = dissect.Subject(runs.load(name))
    chosen = [*shared.larger(table, "_1").nlargest(6).index, *range(0, len(EDGES), 25)]
    for k, task in enumerate(shared.TASKS, start=1):
        clean = subject.finding(task)
        for kind, patcher in ((f"noising_{k}", clean), (f"denoising_{k}", clean.swapped())):
            made = [patcher.lost(patcher(1 - patcher.graph.mask([EDGES[i]]))).mean().item() for i in chosen]
            assert np.abs(made - table[kind][chosen]).max() < 5e-5, kind
