"""Figures of language models: what they draw."""

import io

import pandas as pd
import pytest

from recall import figures
from recall.language import charts

GAINED = {1: (0, 0, 0, 0, 3, 3), 2: (0, 2, 2, 2, 2, 2)}  # bits by token, over the steps


def summary(words="invented", labels=("arbitrary", "names")):
    rows = [
        dict(words=words, seed=0, labels=label, step=step, k=k, quantity=quantity, mean=value)
        for label in labels
        for k, curve in GAINED.items()
        for step, gained in zip((0, 100, 200, 400, 800, 1600), curve)
        for quantity, value in (("gained", gained), ("accuracy", gained / 4))
    ]
    return pd.DataFrame(rows)


def drawn(chart):
    """The rows of a chart's CSV data."""
    (text,) = [rows for rows in chart.to_dict()["datasets"].values() if isinstance(rows, str)]
    return pd.read_csv(io.StringIO(text))


def test_gains_are_drawn_by_token_and_kind_of_labels():
    rows = drawn(charts.language_gains(summary(), under="names")).set_index(["token", "under", "step"])
    assert rows["bits gained by the source"]["first token", "names", 800] == 3
    assert rows["bits gained by the source"]["second token", "arbitrary", 200] == 2
    assert (
        rows["accuracy"]["second token", "arbitrary", 200] == 0.5 and rows["bits gained over a new label"].isna().all()
    )


def test_what_is_not_there_is_said():
    both = pd.concat([summary(), summary("words", ["names"])])
    data = charts.language_gains(both).to_dict()["datasets"].values()
    notes = [rows for rows in data if isinstance(rows, list) and rows and "words" in rows[0]]
    assert notes == [[dict(lexicon="words", under="arbitrary", words="these words have no such prompts")]]
    with pytest.raises(ValueError, match="lexicon must be one of"):
        charts.language_gains(summary(), under="names").add_params(figures.choice("lexicon", "words ", ["a"], "b"))


def test_gains_can_be_kept_as_a_picture():
    assert figures.picture(charts.language_gains(summary())).startswith(b"<svg")


def test_bridge_takes_one_clock():
    rows = [
        dict(where=where, what=what, seed=3, octaves=octaves, score=octaves / 4)
        for where in ("toy", "invented, names")
        for what in ("beginning again", "going on")
        for octaves in (-1.00049, 0, 2)
    ]
    chart = charts.bridge(pd.DataFrame(rows))
    assert drawn(chart).octaves.tolist() == [-1.0, 0.0, 2.0] * 4
    (pick,) = chart.to_dict()["params"]
    assert pick["value"] == "invented, names" and pick["bind"]["options"] == ["invented, names"]
