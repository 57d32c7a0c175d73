"""Why going on gets worse: made-up tables with opposite results give opposite sentences."""

import pandas as pd
from made_when import degraded

from recall.prose import degradation
from recall.studies.when.degradation import MODEL, change


def test_the_models_stand_beside_the_norm_matcher():
    words = degradation.norm_alone(degraded(), counted=(2, 19))
    assert (
        "93 % at N = 2 (error 0.14; 5 models led by the states: 0.06 to 0.06), 44 % at N = 19 (error 1.12)." in words
        and "All these models do better" in words
    )
    assert "Not all" in degradation.norm_alone(
        degraded(growth=0.9), counted=(4,)
    ) and "models" not in degradation.norm_alone(degraded(kind="label-led"), counted=(2,))


def test_the_answer_follows_its_tables():
    words, status = degradation.answer(degraded())
    assert (
        status == "answered"
        and "most of the growth" in words
        and "distance is not what costs" in words
        and "first of all what is alike in norm" in words
    )
    words, status = degradation.answer(degraded(expected=0.01, span=0.05, states=0.0, maps=0.1, norm=-0.1))
    assert (
        status == "in part"
        and "less than half of the growth" in words
        and "distance costs something" in words
        and "first of all what is alike in maps" in words
    )
    assert (
        "does not clearly degrade" in degradation.answer(degraded(growth=-0.01))[0]
        and degradation.answer(degraded(growth=-0.01))[1] == "in part"
    )
    assert degradation.answer(degraded(kind="label-led")) == ("no model whose states lead was asked", "not tested")
    assert "no likeness is clearly confused" in degradation.answer(degraded(states=0.0, norm=-0.1))[0]
    assert degradation.answer(degraded(seeds=2))[1] == "in part"  # two seeds have no interval


def test_changes_in_words():
    index = lambda count: pd.MultiIndex.from_tuples(
        [("haar", 5, 4, "x", i, "between") for i in range(count)], names=MODEL
    )
    words = lambda *values: degradation.words_of(change(pd.Series(values, index(len(values)))))
    assert words(0.1, 0.2) == "+0.15 (2 models: +0.10 to +0.20)" and words(0.1) == "+0.10 (one model)"
    assert words(0.1, 0.2, 0.3, 0.4, 0.5) == "+0.30 (95 % interval +0.10 to +0.50, 5 seeds)"


def test_accounts_sentences_follow_their_tables():
    assert "more than any one" in degradation.best(degraded()) and "best is label in 5" in degradation.best(
        degraded(best="label")
    )
    assert "no account explains as much" in degradation.best(degraded(best="distance"))
    assert "The expected error carries over." in degradation.transfer(
        degraded()
    ) and "does not carry over" in degradation.transfer(degraded(equal=0.6))
