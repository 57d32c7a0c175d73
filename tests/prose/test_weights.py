"""What chapter 7 says of made-up tables."""

import math

import pandas as pd
import pytest
from made_circuits import CARRYING, circuit, circuits, compared

from recall.prose import verdicts
from recall.studies.weights import methods


def test_the_row_that_moves_most_in_words():
    one = pd.DataFrame(dict(task="1-after", landmark=["needle last state", "needle close label", "own row"], layer=2))
    one["lost"] = [0.1, 0.7, 0.2]
    models = [one.assign(model="a"), one.assign(model="b"), one.assign(model="c", lost=[0.1, 0.0, 0.6])]
    words = verdicts.traced(pd.concat(models).assign(corruption="whole-context"))
    assert "*needle close label* in 2 of 3 models (over all of them by 0.00 to 0.70) (c: own row, 0.60)" in words
    assert ", and by 0.10 at most" in words


def test_edges_that_begin_early_in_words():
    made = pd.DataFrame(dict(run="a", task="1-after", writer="w", reader="r", onset=[2, math.nan], date=2.5))
    said = "1 of the 2 edges of its last circuits carry 5% alone at some step; 100% of these do so before"
    assert said in verdicts.begun(made)


@pytest.mark.parametrize("joint, verdict", [(60, "it can"), (100, "it cannot"), (80, "in part")])
def test_price_of_one_circuit_in_words(joint, verdict):
    table = compared(40, 60, joint)
    words = verdicts.sharing(table, {f"m{i}": i / 10 for i in range(6)})
    varies = methods.prices(table).price.nunique() > 1
    assert ("label index is highest (0.50, n = 5, seed 5)" in words) == varies
    assert f"By the rule: *{verdict}*" in words
    assert "with 1-after's by +0.30 (+0.30 to +0.30), its edges by +0.00" in words


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
    rows = [
        (f"m{i}", removed, f"{k}-after", 20, both[k - 1] + 0.01 * i * ("first" not in removed) - 0.02 * (k == 2))
        for i in range(5)
        for removed, both in kept.items()
        for k in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["run", "removed", "task", "edges", "kept"])
    first, second = verdicts.dissociated(table).splitlines()
    for said in ("keeps 0.12 (0.10 to 0.14) of itself", "2-after-query 0.90", "is -0.30"):  # 0.1 - 0.5 to 0.8 - 0.9
        assert said in first
    assert first.endswith("*it needs edges of its own*.")
    no = "no sign that it needs edges of its own. Not in all: 5 of them lose no more than with random edges."
    assert second.endswith(no)
    assert verdicts.dissociated(table[table.run < "m4"]).count("too few for a verdict") == 2
    rows = verdicts.removed(table)
    assert len(rows) == 6 and rows["random"].tolist()[:2] == ["–", "0.52"]
    assert rows["kept of 1-after"].tolist()[2] == "0.80<br>(0.80 to 0.80)"


def test_a_converting_model_in_words():
    table = pd.DataFrame(dict(run="a", dimension=3, seed=7, step=[100, 200, 300, 400, 500], date_1=150, date_2=90))
    table = table.assign(label_index=[0.5, 0.1, 0.5, 0.9, 0.95], shared=[0.9, 0.2, 0.3, 0.4, 0.5])
    table["price"] = 1 - table.shared
    words = verdicts.converted(table)
    for said in (
        "from step 200 to 500 the label index of 2-after-query goes from 0.10 to 0.95",
        ", the shared part r from 0.20 to 0.50",
        "+1.00 over 4 steps, reached by 4% of all orders",
        "price of one circuit for both goes from 0.80 to 0.50",
        "clearly rises with the label index in 1 of the 1 that could be followed: *undecided*",
        "the one that the price falls in 1",
    ):
        assert said in words
    assert "nothing to follow" in verdicts.converted(table.assign(date_1=math.nan))
    # three steps in order are no surprise: one order of six
    short = table[table.step < 500].assign(run="b")
    assert "in 1 of the 2 that could be followed: *undecided*" in verdicts.converted(pd.concat([table, short]))
    several = lambda names: [table.assign(run=run) for run in names]
    mixed, all_rise = pd.concat([*several("acde"), short]), pd.concat(several("abcde"))
    assert "in 4 of the 5 that could be followed: overlap does not tell" in verdicts.converted(mixed)
    assert "in 5 of the 5 that could be followed: overlap tells which" in verdicts.converted(all_rise)


def test_who_solves_synchronised_prompts():
    """Two models solve them and share with 1-after; one does not and shares with 2-after."""
    one, other = set(CARRYING[:30]), set(CARRYING[30:60])

    def make(run, own, error):
        both = circuits([one, one], [other, other], run=run)
        sync = both.iloc[[-1]].assign(task="sync 2-after", draw=1, circuit=circuit(own))
        return pd.concat([both, sync]).assign(error_full=error)

    words = verdicts.synchronised(pd.concat([make("a", one, 0.02), make("b", one, 0.2), make("c", other, 0.6)]))
    assert words == (
        "Of 3 models, 2 solve them (error 0.02 to 0.20): overlap of their synchronised 2-after-query 1.00 with "
        "1-after-query, 0.00 with 2-after-query; "
        "1 do not (error 0.60 to 0.60): overlap of their synchronised 2-after-query 0.00 with 1-after-query, 1.00 "
        "with 2-after-query."
    )
