"""Names of a model's checkpoints, as their publishers give them."""

import pytest

from recall.language import revisions


@pytest.mark.parametrize(
    "name, key",
    [
        ("stage1-step140000-tokens294B", (1, 140000)),
        ("step150-tokens1B", (0, 150)),
        ("step512", (0, 512)),
        ("stage2-ingredient1-step11931-tokens50B", (2, 11931)),
        ("step-001000-2BT", (0, 1000)),
    ],
)
def test_steps_of_published_names(name, key):
    assert revisions.step_of(name) == key


def test_choice_of_revisions_is_spaced_by_ratio(monkeypatch):
    steps = [0, *(2**i for i in range(10)), *range(1000, 144000, 1000)]
    monkeypatch.setattr(revisions, "available", lambda model: ["main", *(f"step{s}" for s in reversed(steps))])
    assert revisions.choose("x", ["step*"]) == [f"step{s}" for s in steps]
    few = [revisions.step_of(name)[1] for name in revisions.choose("x", ["step*"], at_most=9)]
    assert few[0] == 0 and few[-1] == 143000 and 6 <= len(few) <= 10
    assert all(2 <= b / a <= 8 for a, b in zip(few[1:], few[2:]))
    assert revisions.choose("x", ["step5000", "step1"]) == ["step1", "step5000"]
    with pytest.raises(ValueError, match="revisions must be among those of x"):
        revisions.choose("x", ["step5"])


def test_a_later_stage_lies_behind_the_one_before():
    names = ["stage1-step10-tokens1B", "stage1-step900-tokens2B", "stage2-ingredient1-step50-tokens3B"]
    assert [revisions.axis(names, name) for name in names] == [10, 900, 950]
