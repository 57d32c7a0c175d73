"""A small untrained model taken apart: every part of the findings, and what must hold of them."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_circuits import names as edges_of

from recall import runs
from recall.circuits.faithfulness import eliminate
from recall.circuits.graph import Graph
from recall.model import GPT
from recall.settings import preset, to_json, vary
from recall.studies.weights import dissect, findings, graphs, methods, roles, shared
from recall.task import stream

SMALL = dissect.Scale(find=2, learn=2, test=2, steps=2, telling=1e-9)
GRAPH = Graph(2, 2)
EDGES, CARRYING = len(GRAPH.edges), int(GRAPH.carrying.sum())
FOLLOWED = [64, 91]  # training steps of which there are weights
STARTS = {1: 32, 2: 64}  # k -> step of the first score of 1
standard = pytest.mark.standard  # what needs every circuit of the model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of two layers of two heads: random weights at each step, and a history in which both abilities emerge."""
    config = vary(preset("fast-0", 2, 2, seed=3, steps=91), "custom", model=dict(n_layer=2, n_head=2, n_embd=16))
    weights = {
        step: GPT(replace(config.model, zero_init=False), stream("init", step)).state_dict() for step in FOLLOWED
    }
    rows = [dict(step=step, k=k, score=float(step >= STARTS[k])) for step in (0, 16, 32, *FOLLOWED) for k in STARTS]
    history = pd.DataFrame(rows).assign(systems=2, condition="plain", event="query")
    history["examples"] = history.step * config.training.batch_size
    folder = tmp_path_factory.mktemp("runs") / config.name
    run = runs.write(folder, to_json(config), history, history, weights[FOLLOWED[-1]], {})
    for step in FOLLOWED[:-1]:
        notes = {"step": str(step), "configuration": runs.hash8(run.config)}
        runs.save_tensors(runs.checkpoint_path(folder, step), weights[step], notes)
    return dissect.Subject(run, scale=SMALL)


@pytest.fixture(scope="module")
def found(small):
    return findings.find(small.run, scale=SMALL)


@standard
def test_every_row_of_the_plan(found):
    circuits, edges = found["circuits"], found["circuit_edges"]
    planned = [
        (corruption, task, draw)
        for corruption, tasks in dissect.PLAN.items()
        for task, draws in tasks.items()
        for draw in draws
    ]
    assert list(zip(circuits.corruption, circuits.task, circuits.draw)) == planned
    assert (circuits.circuit.str.len() == EDGES).all() and (circuits.distance >= 0).all()
    assert (circuits.circuit.str.count("x") == circuits.edges).all()
    both = circuits.task.isin(shared.TASKS) & (circuits.corruption != "resumed-state")
    assert circuits.other_distance.notna().tolist() == both.tolist()
    assert edges.groupby("corruption", sort=False).size().to_dict() == dict.fromkeys(list(dissect.PLAN)[:3], EDGES)


@standard
def test_draws_differ_in_their_prompts_only(small, found):
    """A second call on the same prompts finds the same circuit."""
    again, edges = dissect.dissect(small, {"resumed-state": dissect.PLAN["resumed-state"]})
    assert again.circuit.iloc[0] == found["circuits"].circuit.iloc[-1] and edges.empty


def test_what_does_not_move_the_prediction_has_no_circuit(small):
    deaf = replace(small, scale=replace(SMALL, telling=1e9))
    circuits, edges = dissect.dissect(deaf, {"query-label": dissect.BOTH})
    assert (circuits.circuit == "").all() and circuits.difference.gt(0).all() and edges.empty
    assert methods.compare(deaf, circuits, edges).empty
    heads, rows, removals, pairs = roles.roles(small, circuits, edges)
    assert len(heads) and len(rows) and list(removals) == roles.REMOVALS and list(pairs) == roles.PAIRS
    assert removals.empty and pairs.empty


@standard
def test_every_part_of_the_findings(found):
    columns = [dissect.CIRCUITS, dissect.EDGES, methods.COMPARED, roles.HEADS, roles.ROWS, roles.REMOVALS, roles.PAIRS]
    columns += [dissect.TRAINING, dissect.EDGES]
    assert {name: list(table) for name, table in found.items()} == dict(zip(findings.TABLES, columns))


@standard
def test_every_method_at_the_references_size(found):
    compared = found["circuit_methods"]
    once = ["reference", "again", *methods.METHODS, "joint"]
    assert compared.groupby("task").method.apply(list).to_dict() == {
        "1-after": once,
        "2-after": [*once, "rewarded", "pruned rewarded"],
    }
    sized = compared[compared.method.isin(["reference", *methods.METHODS, "pruned rewarded"])]
    assert (sized.groupby("task").edges.nunique() == 1).all()
    assert (compared[compared.method == "reference"].overlap == 1).all()
    joint = compared[compared.method == "joint"]
    assert joint.circuit.nunique() == 1 and (joint.distance < 1).all()
    with_first = (compared.task == "2-after") & (compared.method != "joint")
    assert compared.with_first.notna().tolist() == with_first.tolist()


@standard
def test_rewarded_elimination_tries_the_others_edges_last(small, found):
    """The same circuit from places in a list: what the other task's circuit has not comes first, then by effect."""
    by = found["circuit_methods"].set_index(["task", "method"])
    edges = found["circuit_edges"].query("corruption == 'whole-context'")
    spared = shared.from_text(by.circuit["1-after", "reference"]).tolist()
    effect = shared.larger(edges, "_2").tolist()
    order = sorted(range(EDGES), key=lambda i: (spared[i], effect[i]))
    again = eliminate(small.finding("2-after"), np.argsort(order) + 1.0, dissect.DISTANCE)
    assert shared.as_text(again) == by.circuit["2-after", "rewarded"]
    assert by.with_first["2-after", "rewarded"] >= by.with_first["2-after", "reference"]


@standard
def test_heads_rows_removals_and_pairs(found):
    heads, rows, removals, pairs = (found[name] for name in findings.PARTS["roles"])
    assert len(heads) == 2 * 2 * 2 and heads.attention.between(0, 1).all()
    top = heads[heads.layer == 1]
    assert np.allclose(top.cost, top.cost_here, atol=1e-5)  # only the last row of the last layer is read
    assert not np.allclose(*heads[heads.layer == 0][["cost", "cost_here"]].to_numpy().T, atol=1e-5)
    assert len(rows) == 2 * 2 * 5 * 2 and np.isfinite(rows.lost).all()
    own = rows[(rows.corruption == "whole-context") & (rows.task == "2-after") & (rows.landmark == "own row")]
    assert own[own.layer == 0].lost.item() != 0
    parts = itertools.product(("", "random, as "), shared.TASKS, ("", " only", " first draw only"))
    assert set(removals.removed) == {"".join(part) for part in parts} and (removals.edges <= CARRYING).all()
    assert len(pairs) == 2 * 66


@standard
def test_a_model_followed_over_training(found):
    training, edges = (found[name] for name in findings.PARTS["training"])
    assert training.step.tolist() == FOLLOWED == sorted(set(edges.step)) and len(edges) == len(FOLLOWED) * EDGES
    last = shared.overlaps(found["circuits"]).iloc[0]  # the last step's, whole context
    assert training.overlap.iloc[-1] == last.overlap and training.ceiling.iloc[-1] == last.ceiling
    assert (training[["error_1", "error_2"]] > 0).all(axis=None)
    assert training.date_1.between(16, 32).all() and training.date_2.between(32, 64).all()
    assert (training.joint >= training[["edges_1", "edges_2"]].min(axis=1)).all() and training.price.notna().all()


@pytest.mark.parametrize(
    "date, most, expected",
    [
        (600, 6, [64, 128, 512, 1024, 2048, 4096]),  # three up to the last step before the date, four from it on
        (600, 99, [64, 128, 256, 512, 1024, 2048, 4096]),
        (math.nan, 6, [64, 256, 1024, 4096]),
        (10, 3, [64, 4096]),
    ],
)
def test_steps_that_are_followed(date, most, expected):
    assert dissect.followed([0, 16, 64, 128, 256, 512, 1024, 2048, 4096], date, most) == expected
    assert dissect.followed([0, 25], date, most) == [25]  # a short run has its last step


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(find=1), "find must be at least 2 haystacks"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(telling=0), "telling must be positive"),
    ],
)
def test_bad_scales(change, message):
    with pytest.raises(ValueError, match=message):
        dissect.Scale(**change)


@standard
def test_places_of_the_drawing(small, found):
    """Every edge that carries something is drawn once a scene, from left to right, and held by the right circuits."""
    names = {small.run.name: "x"}
    drawn = graphs.graph_table(
        found["circuits"], found["circuit_edges"], found["circuit_methods"], names, small.run.name
    )
    scenes = ["corruption", "tasks", "method"]
    assert (drawn.groupby(scenes).size() == CARRYING).all() and (drawn.x < drawn.x2).all()
    assert set(drawn.tasks) == {*graphs.PAIRS} and set(drawn.method) == {graphs.REFERENCE, *graphs.METHODS.values()}
    of = found["circuits"].query("corruption == 'query-label' and draw == 1").set_index("task").circuit
    first, second = (edges_of(GRAPH, shared.from_text(of[task])) for task in shared.TASKS)
    for row in drawn[drawn.corruption == "query-label"].itertuples():
        edge = row.writer, row.reader
        assert row.circuit == graphs.PARTS[(edge in first) + 2 * (edge in second)]
    training, edges = (found[name] for name in findings.PARTS["training"])
    drawn = graphs.graph_over_training(training, edges, names)
    assert (drawn.groupby("step").size() == CARRYING).all() and set(drawn.step) == set(FOLLOWED)


@standard
def test_parts_are_asked_by_name(small, found, monkeypatch):
    """An unknown one is refused; circuits that are known are not looked for again."""
    with pytest.raises(ValueError, match="parts must be among circuits, methods, roles, training, not 'x'"):
        findings.find(small.run, ("x",))
    monkeypatch.setattr(findings, "dissect", None)
    again = findings.find(small.run, ("roles",), SMALL, known=found)
    assert tuple(again) == findings.PARTS["roles"] and again["circuit_pairs"].equals(found["circuit_pairs"])
