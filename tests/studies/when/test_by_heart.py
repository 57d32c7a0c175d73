"""What models trained on a frozen library know by heart."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from recall import data
from recall.config import to_json
from recall.prose import verdicts
from recall.runs import Run
from recall.settings import from_json, preset, vary
from recall.studies.when import by_heart
from recall.task import Task


def test_a_library_s_own_trajectories_are_shown_and_told_from_new_states(monkeypatch):
    """A memory that knows the library's trajectories is right on those from k = 2 after the first label on, and on
    nothing else.
    """
    made = vary(preset("fast-1", 2, 4, 0), "library", task=dict(library=20))
    run = Run(Path("nowhere"), to_json(made), pd.DataFrame(), pd.DataFrame(), {})
    config = from_json(run.config)
    stored = Task(config.task, config.seed).library  # [M, T, n]

    class Memory:
        def predict(self, tokens):
            seen, states = tokens[..., -config.task.dimension :], stored.flatten(0, 1)
            at = torch.cdist(seen, states.unsqueeze(0).expand(len(seen), -1, -1)).argmin(-1)
            following = states[(at + 1).clamp(max=len(states) - 1)]
            return following * (at % stored.shape[1] < stored.shape[1] - 1).unsqueeze(-1)

    monkeypatch.setattr(by_heart, "trained_model", lambda run: Memory())
    found = by_heart.library([run], counts=(2,), haystacks=24)
    error = found.query("event == 'initial' and k == 2").set_index("shown")["mean"]
    assert error["trained trajectories"] < 1e-6
    assert error["trained maps, new states"] > 0.1 and error["fresh systems"] > 0.1
    assert found.query("event == 'query' and k == 2 and shown == 'trained trajectories'")["mean"].item() < 1e-6
    with pytest.raises(ValueError, match="run must be one that was trained on a library"):
        by_heart.library([replace(run, config=to_json(preset("fast-1", 2, 4, 0)))])


@pytest.mark.standard
def test_committed_library_table_says_what_the_page_says():
    table = data.table("library")
    assert set(table.library) == {100, 1000, 10000} and set(table.seed) == {300, 301, 302}
    words = verdicts.by_heart(table)
    assert "**100 systems.** Trajectories are known by heart in all of its models" in words
    assert "**10,000 systems.** Trajectories are known by heart in none of its models" in words
    turned = table.assign(mean=table["mean"].where(table.shown != "trained trajectories", 1.0))
    assert "in all" not in verdicts.by_heart(turned)
