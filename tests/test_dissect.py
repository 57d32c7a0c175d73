"""Circuits side by side: the rule for a verdict by hand, tables from a small model, planted overlap found."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from recall import runs
from recall.circuits.faithfulness import eliminate
from recall.circuits.graph import Graph, Patcher
from recall.prose import verdicts
from recall.settings import from_json, vary
from recall.studies.weights import charts, dissect, findings, graphs, methods
from recall.training import trained_model

GRAPH = Graph(3, 4)


def circuit(kept) -> str:
    return dissect.written(torch.tensor([float(i in kept) for i in range(len(GRAPH.edges))]))


def table(first, second, run="a", corruption="whole-context"):
    """Circuits of both tasks, two draws each."""
    return pd.DataFrame(
        [
            dict(
                run=run,
                dimension=5,
                labels=4,
                seed=0,
                layers=3,
                heads=4,
                step=1,
                corruption=corruption,
                task=task,
                draw=draw + 1,
                circuit=circuit(kept),
            )
            for task, draws in (("1-after", first), ("2-after", second))
            for draw, kept in enumerate(draws)
        ]
    )


CARRYING = GRAPH.carrying.nonzero().flatten().tolist()


def test_circuits_survive_a_table(tmp_path):
    kept = set(CARRYING[::3])
    runs.write_csv(tmp_path / "t.csv", table([kept, kept], [set(), kept]))
    again = pd.read_csv(tmp_path / "t.csv")
    assert dissect.read(again.circuit[0]).nonzero().flatten().tolist() == sorted(kept) and len(again.circuit[2]) == 302


def test_strongest_edges_by_hand():
    """Two models whose five strongest edges of both tasks have two and five in common."""
    edges = pd.DataFrame(
        [
            dict(
                run=run,
                step=1,
                corruption="whole-context",
                writer=w,
                reader=r,
                noising_1=1.0 * (i in first),
                denoising_1=0.0,
                noising_2=0.0,
                denoising_2=-1.0 * (i in second),
            )
            for run, first, second in (("a", CARRYING[:5], CARRYING[3:8]), ("b", CARRYING[:5], CARRYING[:5]))
            for i, (w, r) in enumerate(GRAPH.edges)
        ]
    )
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
    label, state = (
        table([a, a], [set(), set()], corruption="query-label"),
        table([a, a], [b, b], corruption="resumed-state"),
    )
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
    assert dissect.verdict(values) == verdict


def test_the_row_that_moves_most_in_words():
    one = pd.DataFrame(
        [
            dict(task="1-after", landmark=mark, layer=2, lost=lost)
            for mark, lost in (("needle last state", 0.1), ("needle close label", 0.7), ("own row", 0.2))
        ]
    )
    other = one.assign(lost=[0.1, 0.0, 0.6])
    words = verdicts.traced(
        pd.concat([one.assign(model="a"), one.assign(model="b"), other.assign(model="c")]).assign(
            corruption="whole-context"
        )
    )
    assert (
        "*needle close label* in 2 of 3 models (over all of them by 0.00 to 0.70) (c: own row, 0.60), and by 0.10 at "
        "most" in words
    )


SMALL = dissect.Scale(find=3, learn=4, test=3, steps=3, telling=1e-9)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of two layers of two heads, with three checkpoints from step FIRST on."""
    from test_training import tiny

    from recall import training

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FINAL_HAYSTACKS", 2)
        patch.setattr(training, "FINAL_TRACES", 3)
        config = vary(tiny(91), "custom", model=dict(n_layer=2, n_head=2, n_embd=16))
        return training.train(config, tmp_path_factory.mktemp("runs") / config.name)


def test_a_small_model_taken_apart(small):
    """Every row of the plan is there, draws differ in their prompts only, a second call gives the same tables."""
    edges_there, carrying = len(Graph(2, 2).edges), int(Graph(2, 2).carrying.sum())
    some = {name: dissect.PLAN[name] for name in ("query-label", "resumed-state")}
    circuits, edges = dissect.dissect(small, scale=SMALL, plan=some)
    assert circuits[["corruption", "task", "draw"]].values.tolist() == [
        ["query-label", "1-after", 1],
        ["query-label", "1-after", 2],
        ["query-label", "2-after", 1],
        ["query-label", "2-after", 2],
        ["resumed-state", "2-after", 1],
    ]
    assert (
        (circuits.circuit.str.len() == edges_there).all()
        and (circuits.distance >= 0).all()
        and len(edges) == edges_there
        and (edges.corruption == "query-label").all()
    )
    again, _ = dissect.dissect(small, scale=SMALL, plan={"resumed-state": dissect.PLAN["resumed-state"]})
    assert again.circuit.iloc[0] == circuits.circuit.iloc[-1]
    drawn = graphs.graph_table(circuits, edges, pd.DataFrame(columns=methods.COMPARED), {small.name: "x"}, small.name)
    assert (
        len(drawn) == carrying
        and set(drawn.circuit) <= set(graphs.PARTS) == set(charts.PARTS)
        and (drawn.x < drawn.x2).all()
    )
    traced = dissect.trace(small, scale=SMALL)
    assert len(traced) == 2 * 5 * 2 and np.isfinite(traced.lost).all()
    own = traced[(traced.task == "2-after") & (traced.landmark == "own row") & (traced.layer == 0)].lost.iloc[0]
    assert own != 0


@pytest.fixture(scope="module")
def found(small):
    return findings.find(small, scale=SMALL)


def test_every_part_of_the_findings(small, found):
    assert tuple(found) == findings.TABLES
    compared, carrying = found["circuit_methods"], int(Graph(2, 2).carrying.sum())
    assert compared.groupby("task").method.apply(list).to_dict() == {
        "1-after": ["reference", "again", "noising", "denoising", "larger", "attribution", "pruned", "joint"],
        "2-after": [
            "reference",
            "again",
            "noising",
            "denoising",
            "larger",
            "attribution",
            "pruned",
            "joint",
            "rewarded",
            "pruned rewarded",
        ],
    }
    sized = compared[compared.method.isin(["reference", *methods.METHODS, "pruned rewarded"])]
    assert (sized.groupby("task").edges.nunique() == 1).all()  # all at the reference's size
    assert (compared[compared.method == "reference"].overlap == 1).all() and compared[
        compared.method == "joint"
    ].circuit.nunique() == 1
    assert (
        compared[compared.task == "1-after"].with_first.isna().all()
        and compared[(compared.task == "2-after") & (compared.method != "joint")].with_first.notna().all()
    )
    assert (compared[compared.method == "joint"].distance < 1).all()
    heads, rows, removals, pairs = (found[name] for name in findings.PARTS["roles"])
    assert (
        len(heads) == 2 * 2 * 2
        and heads.attention.between(0, 1).all()
        and len(rows) == 2 * 2 * 5 * 2
        and len(pairs) == 2 * 66
    )
    top = heads[heads.layer == 1]
    assert np.allclose(top.cost, top.cost_here, atol=1e-5)  # only the last row of the last layer is read
    assert not np.allclose(*heads[heads.layer == 0][["cost", "cost_here"]].to_numpy().T, atol=1e-5)
    assert set(removals.removed) == {
        f"{random}{task}{only}"
        for random in ("", "random, as ")
        for task in ("1-after", "2-after")
        for only in ("", " only", " first draw only")
    }
    assert (removals.edges <= carrying).all()


def test_rewarded_elimination_tries_the_others_edges_last(small, found):
    """The same circuit from places in a list: what the other task's circuit has not comes first, then by effect."""
    by = found["circuit_methods"].set_index(["task", "method"])
    edges = found["circuit_edges"].query("corruption == 'whole-context'")
    spared, effect = (
        dissect.read(by.circuit["1-after", "reference"]),
        edges[["noising_2", "denoising_2"]].abs().max(axis=1).tolist(),
    )
    order = sorted(range(len(effect)), key=lambda i: (spared[i].item(), effect[i]))
    config = from_json(small.config)
    patcher = Patcher(
        trained_model(small), dissect.pair(config.task, "2-after", "whole-context", dissect.SEEDS[1], SMALL.find)
    )
    again = eliminate(patcher, np.argsort(order) + 1.0, dissect.DISTANCE)
    assert dissect.written(again) == by.circuit["2-after", "rewarded"]
    assert by.with_first["2-after", "rewarded"] >= by.with_first["2-after", "reference"]


def test_a_model_followed_over_training(small, found):
    training, edges = (found[name] for name in findings.PARTS["training"])
    assert training.step.tolist() == [64, 76, 91] == sorted(set(edges.step)) and len(edges) == 3 * len(
        Graph(2, 2).edges
    )
    last = dissect.overlaps(
        dissect.dissect(small, scale=SMALL, plan={"whole-context": dissect.PLAN["whole-context"][:2]})[0]
    ).iloc[0]
    assert training.overlap.iloc[-1] == last.overlap and training.ceiling.iloc[-1] == last.ceiling
    assert (training[["error_1", "error_2"]] > 0).all(axis=None)
    assert (training.joint >= training[["edges_1", "edges_2"]].min(axis=1)).all() and training.price.notna().all()
    drawn = graphs.graph_over_training(training, edges, {small.name: "x"})
    assert set(drawn.step) == {64, 76, 91} and len(drawn) == 3 * int(Graph(2, 2).carrying.sum())


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


def test_onsets_by_hand():
    """One edge of the last circuit matters from step 2 on, one never; what is outside of the circuit does not count."""
    graph = Graph(1, 1)
    kept, never, outside = graph.carrying.nonzero().flatten().tolist()[:3]
    effects = pd.DataFrame(
        [
            dict(
                run="a",
                step=step,
                corruption="whole-context",
                writer=w,
                reader=r,
                noising_1=0.0,
                denoising_1=-0.06 * (step > 1 and i in (kept, outside)),
                noising_2=0.0,
                denoising_2=0.0,
            )
            for step in (1, 2, 3)
            for i, (w, r) in enumerate(graph.edges)
        ]
    )
    circuit = dissect.written(torch.tensor([float(i in (kept, never)) for i in range(len(graph.edges))]))
    training = pd.DataFrame(
        [
            dict(run="a", step=step, layers=1, heads=1, circuit_1=circuit, circuit_2="", date_1=2.5, date_2=math.nan)
            for step in (1, 2, 3)
        ]
    )
    made = dissect.onsets(training, effects)
    assert (
        made.onset.tolist() == [2, pytest.approx(math.nan, nan_ok=True)]
        and made.date.tolist() == [2.5, 2.5]
        and set(made.task) == {"1-after"}
    )
    assert (
        "1 of the 2 edges of its last circuits carry 5% alone at some step; 100% of these do so before"
        in verdicts.begun(made)
    )


def compared(first, second, joint, with_first=0.2, rewarded=0.5, runs_=6):
    """Methods of several models that differ a little."""
    rows = []
    for i in range(runs_):
        model = dict(zip(dissect.KEYS, (f"m{i}", 5, 4, i, 3, 4, 1)))
        for task, size in (("1-after", first), ("2-after", second)):
            rows += [
                model
                | dict(
                    task=task,
                    method=method,
                    edges=edges + i % 2,
                    overlap=overlap + 0.01 * (i % 2),
                    null=0.1,
                    with_first=shared + 0.01 * (i % 2),
                    faithfulness=0.9,
                    distance=0.1,
                )
                for method, edges, overlap, shared in (
                    ("reference", size, 1, with_first),
                    ("again", size, 0.7, with_first),
                    ("noising", size, 0.72, with_first),
                    ("larger", size, 0.5, 0.2),
                    ("pruned", size, 0.6, with_first),
                    ("joint", joint, 0.5, math.nan),
                    ("rewarded", size, 0.5, rewarded),
                    ("pruned rewarded", size, 0.5, rewarded),
                )
            ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("joint, verdict", [(60, "it can"), (100, "it cannot"), (80, "in part")])
def test_price_of_one_circuit_for_both(joint, verdict):
    table = compared(40, 60, joint)
    prices = methods.prices(table)
    assert (
        prices.price.iloc[0] == (joint - 60) / 40
        and prices.together.iloc[0] == pytest.approx((100 / 1.2 - 60) / 40)
        and methods.verdict(prices) == verdict
    )
    words = verdicts.sharing(table, {f"m{i}": i / 10 for i in range(6)})
    assert (
        ("label index is highest (0.50, n = 5, seed 5)" in words) == (prices.price.nunique() > 1)
        and f"By the rule: *{verdict}*" in words
        and "with 1-after's by +0.30 (+0.30 to +0.30), its edges by +0.00" in words
    )
    assert methods.verdict(prices[:4]) == "undecided"


def test_methods_against_the_ceiling():
    words = verdicts.agreement(compared(40, 60, 60))
    assert "exact, noising**: +0.02 (+0.02 to +0.02) from the ceiling, 6 models: stands in" in words
    assert "exact, the larger**: -0.20 (-0.20 to -0.20) from the ceiling, 6 models: does not" in words


def test_a_task_that_needs_edges_of_its_own():
    """1-after falls without its own edges and not without those of one draw; 2-after falls as much without either."""
    kept = {
        "1-after only": (0.1, 0.9),
        "1-after first draw only": (0.8, 0.8),
        "2-after only": (0.6, 0.2),
        "2-after first draw only": (0.7, 0.2),
        "random, as 1-after only": (0.5, 0.5),
        "random, as 1-after first draw only": (0.9, 0.9),
        "random, as 2-after only": (0.5, 0.1),
        "random, as 2-after first draw only": (0.5, 0.1),
    }
    table = pd.DataFrame(
        [
            dict(
                run=f"m{i}",
                removed=removed,
                task=f"{k}-after",
                edges=20,
                kept=both[k - 1] + 0.01 * i * ("first" not in removed) - 0.02 * (k == 2),
            )
            for i in range(5)
            for removed, both in kept.items()
            for k in (1, 2)
        ]
    )
    first, second = verdicts.dissociated(table).splitlines()
    # 0.1 - 0.5 against 0.8 - 0.9
    assert (
        first.endswith("*it needs edges of its own*.")
        and "keeps 0.12 (0.10 to 0.14) of itself" in first
        and "2-after-query 0.90" in first
        and "is -0.30" in first
    )
    assert second.endswith(
        "no sign that it needs edges of its own. Not in all: 5 of them lose no more than with random edges."
    )
    assert verdicts.dissociated(table[table.run < "m4"]).count("too few for a verdict") == 2
    rows = verdicts.removed(table)
    assert (
        len(rows) == 6
        and rows["random"].tolist()[:2] == ["–", "0.52"]
        and rows["kept of 1-after"].tolist()[2] == "0.80<br>(0.80 to 0.80)"
    )


def test_a_converting_model_in_words():
    table = pd.DataFrame(
        [
            dict(
                run="a",
                dimension=3,
                seed=7,
                step=step,
                label_index=index,
                shared=shared,
                price=1 - shared,
                date_1=150,
                date_2=90,
            )
            for step, index, shared in (
                (100, 0.5, 0.9),
                (200, 0.1, 0.2),
                (300, 0.5, 0.3),
                (400, 0.9, 0.4),
                (500, 0.95, 0.5),
            )
        ]
    )
    words = verdicts.converted(table)
    assert (
        "from step 200 to 500 the label index of 2-after-query goes from 0.10 to 0.95, the shared part r from 0.20 "
        "to 0.50" in words
    )
    assert (
        "+1.00 over 4 steps, reached by 4% of all orders" in words
        and "price of one circuit for both goes from 0.80 to 0.50" in words
    )
    assert (
        "clearly rises with the label index in 1 of the 1 that could be followed: *undecided*" in words
        and "the one that the price falls in 1" in words
        and "nothing to follow" in verdicts.converted(table.assign(date_1=math.nan))
    )
    # three steps in order are no surprise: one order of six
    both = pd.concat([table, table[table.step < 500].assign(run="b")])
    assert "in 1 of the 2 that could be followed: *undecided*" in verdicts.converted(both)
    mixed = pd.concat([table.assign(run=run) for run in "acde"] + [both[both.run == "b"]])
    assert "in 4 of the 5 that could be followed: overlap does not tell" in verdicts.converted(mixed)
    assert "in 5 of the 5 that could be followed: overlap tells which" in verdicts.converted(
        pd.concat([table.assign(run=run) for run in "abcde"])
    )


def test_findings_of_a_run_and_the_committed(small):
    with pytest.raises(ValueError, match="dimension must be one of 2, 3, 5, or that of a run of your own"):
        findings.shown("", 4)
    with pytest.raises(ValueError, match="parts must be among circuits, methods, roles, training, not 'x'"):
        findings.find(small, ("x",))
    with pytest.raises(ValueError, match="run must be one of haar"):
        findings.shown("nothing")
    committed = findings.shown("", 3)
    assert (
        set(committed.circuits.dimension) == {3, 5}
        and committed.circuits.run.nunique() == 10
        and all("n = 3" in words for words in committed.models.values())
    )


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


def test_who_solves_synchronised_prompts():
    """Two models solve them and share with 1-after; one does not and shares with 2-after."""
    one, other = set(CARRYING[:30]), set(CARRYING[30:60])
    make = lambda run, own, error: pd.concat(
        [
            table([one, one], [other, other], run=run),
            table([one, one], [other, other], run=run)
            .iloc[[-1]]
            .assign(task="sync 2-after", draw=1, circuit=circuit(own)),
        ]
    ).assign(error_full=error)
    words = verdicts.synchronised(pd.concat([make("a", one, 0.02), make("b", one, 0.2), make("c", other, 0.6)]))
    assert words == (
        "Of 3 models, 2 solve them (error 0.02 to 0.20): overlap of their synchronised 2-after-query 1.00 with "
        "1-after-query, 0.00 with 2-after-query; "
        "1 do not (error 0.60 to 0.60): overlap of their synchronised 2-after-query 0.00 with 1-after-query, 1.00 "
        "with 2-after-query."
    )
