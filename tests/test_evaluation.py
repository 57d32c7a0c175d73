import math

import pandas as pd
import pytest
import torch

from recall import evaluation, interventions
from recall.evaluation import EvaluationConfig, Evaluator, emergence, event_errors, first_below, identification_score
from recall.needle import needle_prompts
from recall.predictors import Recall, Zero
from recall.task import TaskConfig

CONFIG = TaskConfig.compact(2, 4)


def history(values, column="score", every=100):
    return pd.DataFrame({"examples": [i * every for i in range(len(values))], column: values})


def test_emergence_by_hand():
    # crosses 1/2 half way (in log examples) between 100 and 200: 100 * sqrt(2)
    date = emergence(history([0, 0.25, 0.75, 0.9]), window=1)
    assert (date.after, date.by, date.examples) == (100, 200, 300) and date.date == pytest.approx(100 * math.sqrt(2))
    never = emergence(history([0, 0.6, 0.4]), window=1)
    assert not never.reached and math.isnan(never.date) and never.examples == 200
    again = emergence(history([0, 0.6, 0.4, 0.8, 0.9]), window=1)  # what fell back does not count
    assert (again.after, again.by) == (200, 300)
    assert emergence(history([0.9, 0.9]), window=1).by == 0
    assert emergence(history([0.4, 0.5, 0.5]), window=1).by == 100  # the threshold itself is good


def test_one_spike_does_not_redate():
    values = [0, 0, 0.8, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9]
    assert emergence(history(values)).by == 200 and emergence(history(values), window=1).by == 600
    assert emergence(history([0, 0, 0.8, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9])).after > 400  # three in a row do
    assert emergence(history([0, 0, 0.9, 0.9, 0.1])).reached  # nor does one at the end,
    assert not emergence(history([0, 0, 0.9, 0.9, 0.1, 0.1])).reached  # but two there are a loss
    assert emergence(history([0, 0.9, 0.9, 0.9])).by == 100  # the untrained model stands for itself


def test_the_first_interval_is_interpolated_linearly():
    assert emergence(history([0, 1, 1, 1]), window=1).date == pytest.approx(50)


def test_study_cutoff_is_first_passage():
    date = first_below(history([0.9, 0.7, 0.3, 0.8, 0.8], "median"))
    assert (date.after, date.by) == (100, 200) and 100 < date.date < 200
    assert not first_below(history([0.9, 0.6], "median")).reached


def test_score_by_hand():
    assert identification_score(0.5, "haar", 2) == 0 and identification_score(0, "haar", 4) == 1
    assert identification_score(0.25, "haar", 2) == pytest.approx(0.5)
    assert identification_score(0.375, "haar", 4) == pytest.approx(0.5)
    assert math.isnan(identification_score(0.1, "haar", 1)) and math.isnan(identification_score(0.1, "identity", 2))


def test_k_is_read_on_the_right_row():
    """A predictor that is right on exactly one row moves exactly one k."""
    prompts = needle_prompts(CONFIG, 2, haystacks=2, traces=3)
    for event, row in (("query", prompts.query_row), ("initial", prompts.initial_row)):
        for k in (1, 2, 3):
            answer = prompts.targets + 1.0
            answer[:, row + k - 1] -= 1.0
            errors = event_errors(answer, prompts, CONFIG)[event].mean((1, 2))
            assert (errors < 1e-9).nonzero().flatten().tolist() == [k - 1]


def test_median_is_over_traces_then_haystacks():
    prompts = needle_prompts(CONFIG, 1, haystacks=3, traces=3)
    errors = torch.tensor([[1.0, 2, 9], [3, 4, 50], [5, 6, 7]])
    answer = prompts.targets.clone()
    answer[:, prompts.query_row, 0] += errors.flatten().sqrt()
    row = evaluation.table(lambda tokens: answer, prompts, CONFIG).iloc[0]
    assert (row["median"], row.q25, row.q75) == pytest.approx((4, 3, 5), rel=1e-5)
    assert row["mean"] == pytest.approx(errors.mean().item(), rel=1e-5)


def test_label_index_recovers_the_mixture():
    prompts = interventions.apply("misdirected", needle_prompts(CONFIG, 2, haystacks=20, traces=20), CONFIG)
    named = prompts.segments.system[:, 1]
    K, q = prompts.targets.shape[1] - prompts.query_row, prompts.query_row
    for share in (0.0, 0.3, 1.0):
        answer = prompts.targets.clone()
        answer[:, q:] = (1 - share) * prompts.targets[:, q:] + share * prompts.observations[named, 10 : 10 + K]
        rows = evaluation.label_index(answer, prompts)
        assert [row["label_index"] for row in rows] == pytest.approx([share] * K, abs=1e-4)
    mapped = prompts.targets.clone()  # closed loop: the named map on the state just seen
    mapped[:, q + 1 :] = (prompts.systems.A[named].unsqueeze(1) @ prompts.targets[:, q:-1].unsqueeze(-1)).squeeze(-1)
    rows = evaluation.label_index(mapped, prompts)
    assert rows[1]["weight_label_map"] == pytest.approx(1, abs=1e-4) and rows[1]["label_index"] == pytest.approx(
        1, abs=1e-4
    )
    assert all(math.isnan(row["label_index"]) for row in evaluation.label_index(torch.zeros_like(answer), prompts))


def test_misdirection_changes_one_token_row_and_its_label_only():
    prompts = needle_prompts(CONFIG, 3, haystacks=2, traces=2, needle=2)
    edited = interventions.apply("misdirected", prompts, CONFIG)
    rows = (prompts.tokens != edited.tokens).any(-1).nonzero()[:, 1].unique().tolist()
    assert rows == [prompts.query_row]
    assert torch.equal(edited.segments.label[:, -1], prompts.segments.label[:, 0])  # next in the cycle after segment 2
    assert torch.equal(prompts.segments.label[:, -1], prompts.segments.label[:, 2])  # the original is untouched
    with pytest.raises(ValueError, match="at least 2"):
        interventions.apply("misdirected", needle_prompts(CONFIG, 1, haystacks=1, traces=1), CONFIG)
    with pytest.raises(ValueError, match="intervention must be one of plain, misdirected"):
        interventions.apply("nothing", prompts, CONFIG)


def test_evaluator_is_fixed_and_complete():
    config = EvaluationConfig(systems=(1, 2), haystacks=2, traces=4)
    a, b = (Evaluator(CONFIG, config)(Recall(CONFIG).predict) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    assert a.groupby(["systems", "condition"]).size().to_dict() == {
        (1, "plain"): 10,
        (2, "plain"): 10,
        (2, "misdirected"): 10,
    }
    assert Evaluator(CONFIG, config)(Zero(CONFIG).predict)["mean"].between(0.3, 2).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: EvaluationConfig(haystacks=0), "haystacks must be at least 1"),
        (lambda: EvaluationConfig(systems=()), r"systems must be counts of at least 1, not \(\)"),
        (lambda: EvaluationConfig(systems=(0, 2)), r"systems must be counts of at least 1, not \(0, 2\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
