"""What `measure weights` hands on: circuits that were found already are not looked for again."""

from types import SimpleNamespace

import pandas as pd
import pytest

from recall import data
from recall.studies import measure
from recall.studies.weights import findings

RUNS = [SimpleNamespace(name=name, whole=True, steps=[2]) for name in "ab"]


@pytest.fixture
def known(monkeypatch, tmp_path):
    """By part and run, what `findings.find` was told of circuits; data elsewhere."""
    told = {}

    def find(run, parts, known=None):
        (part,) = parts
        told[part, run.name] = known
        return {name: pd.DataFrame(dict(run=[run.name])) for name in findings.PARTS[part]}

    monkeypatch.setattr(findings, "find", find)
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    return told


def test_circuits_made_just_now_are_handed_on(known):
    wanted = set(findings.TABLES) - set(findings.PARTS["training"])  # no run has checkpoints
    made = {name: (about, rows) for name, about, rows in measure("weights", RUNS, sorted(wanted))}
    assert set(made) == wanted
    assert all(rows.run.tolist() == ["a", "b"] and about == RUNS for about, rows in made.values())
    assert known["circuits", "a"] is None
    for part in ("methods", "roles"):
        assert all(known[part, "b"][name] is made[name][1] for name in findings.PARTS["circuits"])


def test_else_the_committed_ones_are(known):
    list(measure("weights", RUNS, ["circuit_methods"]))
    assert known == {("methods", "a"): None, ("methods", "b"): None}  # none there
    for name in findings.PARTS["circuits"]:
        data.merge(name, pd.DataFrame(dict(run=["b"], of=name)))
    list(measure("weights", RUNS, ["circuit_methods"]))
    assert {name: rows.of.tolist() for name, rows in known["methods", "a"].items()} == {
        name: [name] for name in findings.PARTS["circuits"]
    }
