"""Heads x answers: the price of a cut by another route, and the rule on made-up tables."""

import pandas as pd
import pytest
import torch

from recall import runs, training
from recall.evaluation import EvaluationConfig, Evaluator
from recall.settings import from_json
from recall.studies.weights.cuts import cuts, verdicts


@pytest.mark.standard
def test_a_cut_is_a_head_whose_columns_of_the_output_matrix_are_zero(monkeypatch):
    """The evaluator of training, asked with edited weights, on the prompts of the same seed."""
    run = runs.load("haar-n3-l4-fast-0-s0-30096626")
    config = from_json(run.config)
    table = cuts([run], haystacks=6, traces=8).set_index(["layer", "head", "k"])
    assert len(table) == 3 * 4 * 2 and (table.low <= table.whole - table.cut).all()
    assert (table.high >= table.whole - table.cut).all()
    evaluator = Evaluator(config.task, EvaluationConfig(systems=(2,), haystacks=6, traces=8, seed=5))
    for layer, head in ((0, 1), (1, 3), (2, 0)):
        model, d = training.trained_model(run), config.model.n_embd // config.model.n_head
        with torch.no_grad():
            model.h[layer].attn.c_proj.weight[:, head * d : (head + 1) * d] = 0
        found = evaluator(model.predict).query("event == 'query' and condition == 'plain'").set_index("k").score
        for k in (1, 2):
            assert table.cut[layer, head, k] == pytest.approx(found[k], abs=1e-4)


def made(*heads, whole=(0.9, 0.95)):
    """One model; of each head what is left of the first and the second answer."""
    key = dict(run="a", dimension=3, labels=4, setting="made", seed=0, low=0.0, high=0.0)
    return pd.DataFrame(
        [
            key | dict(layer=0, head=h, k=k, whole=whole[k - 1], cut=left[k - 1])
            for h, left in enumerate(heads)
            for k in (1, 2)
        ]
    )


def test_the_rule_by_hand():
    first, second = "takes the first", "takes the second"
    one = lambda table: verdicts(table).iloc[0]
    found = one(made((0.4, 0.9), (0.2, 0.9), (0.1, 0.8), (0.9, 0.95)))
    assert found[first] == "0.1"  # 0.2 costs the second answer 0.15, and 0.0 takes less
    assert found[second] == ""
    assert one(made((0.85, 0.3), (0.5, 0.95)))[[first, second]].tolist() == ["", "0.0"]  # a score of 1/2 is not below
    assert verdicts(made((0.1, 0.9), whole=(0.4, 0.9))).empty  # looks nothing up
