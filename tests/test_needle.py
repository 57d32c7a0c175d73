"""Needle prompts are what the protocol says."""

import pytest
import torch

from recall import systems
from recall.needle import haystack_payload, needle_prompts, prompt_rows, query_payload
from recall.task import TaskConfig, stream

CONFIG = TaskConfig.compact(2, 4)


def test_prompts_are_what_the_protocol_says():
    prompts = needle_prompts(CONFIG, 3, haystacks=2, traces=5, needle=1)
    L, n = CONFIG.labels, CONFIG.dimension
    assert prompts.inputs.shape == (10, prompt_rows(CONFIG, 3), CONFIG.columns) and prompts.query_row == 1 + 12 * 3
    opens = prompts.tokens[..., 0 : 2 * L : 2] > 0
    assert opens.any(-1).nonzero()[:, 1].view(10, 4).tolist() == [[1, 13, 25, 37]] * 10
    label = opens.float().argmax(-1)
    assert torch.equal(label[:, prompts.query_row], label[:, 13])  # the needle is segment 1
    assert not torch.equal(label[:, 37], label[:, 1])
    # the query goes on where the needle stopped, by its own map; traces of a haystack share the maps
    needle, query = prompts.tokens[:, 14:24, -n:], prompts.tokens[:, 38:, -n:]
    A = prompts.systems.A[prompts.segments.system[:, 1]]
    assert torch.allclose((A @ needle[:, -1:].mT).squeeze(-1), query[:, 0], atol=1e-5)
    assert torch.equal(A[0], A[4]) and not torch.equal(A[4], A[5])
    assert not torch.equal(needle[0], needle[1])


def test_lengths_follow_the_dimension():
    for n, haystack in ((2, 10), (5, 10), (8, 10), (12, 14)):  # more where ten observations do not determine the map
        config = TaskConfig.compact(n, 3)
        assert haystack_payload(config) == haystack and query_payload(config) == n + 3
        assert needle_prompts(config, 3, haystacks=1, traces=1).inputs.shape[1] == prompt_rows(config, 3)


def test_the_same_prompts_for_every_run_and_others_for_another_seed_or_needle():
    make = lambda **how: needle_prompts(CONFIG, 2, haystacks=2, traces=3, **how).tokens
    assert torch.equal(make(), make()) and not torch.equal(make(), make(seed=1))
    assert not torch.equal(make(), make(needle=1))


def test_systems_can_be_given():
    drawn = systems.draw("haar", 4, 2, stream("evaluation", 9))
    prompts = needle_prompts(CONFIG, 2, haystacks=2, traces=3, drawn=drawn, own_states=True)
    assert torch.equal(prompts.systems.A, drawn.repeat(3).A) and torch.equal(prompts.systems.x0, drawn.repeat(3).x0)
    assert torch.equal(prompts.tokens[0, 2, -2:], drawn.x0[0]) and torch.equal(prompts.tokens[3, 2, -2:], drawn.x0[2])
    with pytest.raises(ValueError, match="drawn must be 6 systems, not 4"):
        needle_prompts(CONFIG, 3, haystacks=2, traces=3, drawn=drawn)


@pytest.mark.parametrize(
    "systems, how, message",
    [
        (5, {}, "systems must be 1 to labels (4), not 5"),
        (2, dict(needle=2), "needle must be 0 to systems - 1 (1), not 2"),
        (2, dict(traces=0), "traces must be at least 1, not 0"),
        (2, dict(haystacks=0), "haystacks must be at least 1, not 0"),
    ],
)
def test_bad_counts(systems, how, message):
    with pytest.raises(ValueError) as error:
        needle_prompts(CONFIG, systems, **how)
    assert str(error.value) == message
