"""What is said of the rules that models answer by turns with the data."""

import math

import pandas as pd

from recall.prose import as_if as prose

INDEX, DATE = "label index 2 N=2", "1-after N=2"
CELL = dict(dimension=5, labels=4)


def test_the_nearest_rule_is_named():
    def said(label, state):
        rows = [
            dict(seed=seed, rule=rule, distance=distance)
            for seed in range(3)
            for rule, distance in (("by label", label), ("by state", state))
        ]
        same = dict(setting="fast-1", kind="label-led", label_error=0.01, noise=0.1, condition="misdirected", k=2)
        return prose.explained(pd.DataFrame(rows).assign(**CELL, **same))

    near, far = said(0.01, 1.0), said(1.0, 0.5)
    assert "by label in 3 of 3" in near and "close enough" in near
    assert "by state in 3 of 3" in far and "still 0.50" in far


def test_who_beats_bayes():
    gaps = pd.DataFrame(dict(gap=[0.1, 0.2], low=[0.05, 0.1], high=[0.15, 0.3]))
    assert prose.bound(gaps).startswith("No model beats")
    assert prose.bound(-gaps.rename(columns=dict(low="high", high="low"))).startswith("2 of 2")


def test_mixture_turns():
    shares = pd.DataFrame([dict(setting="a", kind="label-led", low=0.0, middle=0.1, high=0.9)])
    assert "most prompts are near" in prose.mixture(shares)
    assert "most answers lie between" in prose.mixture(shares.assign(middle=0.9, high=0.1))


def test_losses_turn():
    rows = [
        dict(kind=kind, dimension=5, systems=2, k=k, error=error, seed=seed)
        for seed in range(3)
        for k in (1, 2, 3)
        for kind, error in (("label-led", 0.1), ("observation-led", 0.2))
    ]
    finals = pd.DataFrame(rows)
    text = prose.losses(finals)
    assert "lower error is label-led" in text and "one picture" not in text
    assert "lower error is observation-led" in prose.losses(finals.assign(error=-finals.error))
    assert "one picture" in prose.losses(finals[finals.seed == 0])


def test_longer_training_turns():
    atlas = pd.DataFrame(
        [CELL | {"setting": "fast-1", "seed": seed, INDEX: index} for seed, index in ((0, 0.1), (1, 0.5))]
    )
    said = lambda ends, n=5: prose.longer(
        atlas.assign(**{"setting": "long", INDEX: ends, "dimension": n}), atlas.assign(dimension=n)
    )
    assert "compatible with one" in said([0.9, 1.0]) and "not one end state" in said([0.1, 1.0])
    assert "stands open" in said([0.9, 1.0], n=3)


def test_dates_without_repeats_turn():
    def dated(setting, *dates):
        return pd.DataFrame([CELL | {"setting": setting, "seed": i, DATE: date} for i, date in enumerate(dates)])

    usual = dated("fast-1", 1e4, 2e4, 3e4)
    later = prose.no_bigram(dated("no-repeats", 2e4, 3e4, 4e4), usual)
    assert "3 of 3" in later and "not what recall over a distance takes" in later
    without = prose.no_bigram(dated("no-repeats", math.nan, math.nan, 4e4), usual)
    assert "not learnt in most" in without and "not by the end" in without and "Ratio" not in without


def test_labels_that_err_turn():
    said = lambda a, b: prose.lies(pd.DataFrame({"setting": ["error-0.2-noise-0", "study-8"], INDEX: [a, b]}))
    assert "depends on training" in said(0.0, 1.0)
    assert "All trainings" in said(0.0, 0.1) and "No training" in said(1.0, 0.9)
