"""Corrupted prompts show what they say; attention and single activations of a small model."""

import numpy as np
import pytest
import torch

from recall.circuits.corruptions import CORRUPTIONS, attention, corrupted_pair, landmarks, patched
from recall.model import GPT, GPTConfig, run_with_cache
from recall.needle import needle_prompts
from recall.task import TaskConfig, stream

CONFIG = TaskConfig.compact(dimension=3, labels=5)
N, NEEDLE = 3, 1


@pytest.fixture(scope="module")
def prompts():
    return needle_prompts(CONFIG, N, haystacks=4, traces=5, needle=NEEDLE)


def differing(pair):
    return set((pair.clean != pair.corrupted).any(-1).any(0).nonzero().flatten().tolist())


@pytest.mark.parametrize("task, k", [("1-after", 1), ("2-after", 2), ("3-after", 3)])
def test_corruptions_change_what_they_say(prompts, task, k):
    s, q, n = prompts.segments, prompts.query_row, CONFIG.dimension
    other = (NEEDLE + 1) % N
    labelled = {int(s.start[0, i]) + at for i in (NEEDLE, other) for at in (0, int(s.length[0, i]) + 1)}
    expected = {"query-label": {q}, "resumed-state": set(range(q + 1, q + k)), "binding-swap": labelled}
    for name in CORRUPTIONS:
        if (name, k) == ("resumed-state", 1):
            continue
        pair = corrupted_pair(prompts, CONFIG, task, name)
        assert pair.clean.shape == pair.corrupted.shape == (20, q + k, CONFIG.columns)
        assert torch.equal(pair.clean, prompts.tokens[:, : q + k]) and torch.equal(
            pair.target, prompts.tokens[:, q + k, -n:]
        )
        assert name in ("whole-context", "other-states") or differing(pair) == expected[name]
        assert torch.equal(pair.clean[..., -n - 1], pair.corrupted[..., -n - 1])  # the payload flags: same layout
        column = pair.corrupted[:, :, : 2 * CONFIG.labels].argmax(-1)
        if name == "query-label":
            assert torch.equal(column[:, q], 2 * s.label[:, other])
        if name == "resumed-state":
            state = prompts.tokens[:, int(s.start[0, other]) + int(s.length[0, other]), -n:]
            A = prompts.systems.A[s.system[:, other]]
            assert torch.allclose(pair.corrupted[:, q + 1, -n:], (A @ state.unsqueeze(-1)).squeeze(-1), atol=1e-5)
        if name == "binding-swap":
            assert torch.equal(column[:, int(s.start[0, NEEDLE])], 2 * s.label[:, other]) and torch.equal(
                column[:, int(s.start[0, other])], 2 * s.label[:, NEEDLE]
            )
        if name == "other-states":  # the maps and labels stay, every state is another
            assert torch.equal(column, pair.clean[:, :, : 2 * CONFIG.labels].argmax(-1)) and {
                int(s.start[0, i]) + at for i in range(N) for at in range(1, 11)
            } <= differing(pair)
            moved = torch.stack([pair.corrupted[:, int(s.start[0, NEEDLE]) + at, -n:] for at in range(1, 11)], 1)
            assert torch.allclose(
                (prompts.systems.A[s.system[:, NEEDLE]].unsqueeze(1) @ moved[:, :-1].unsqueeze(-1)).squeeze(-1),
                moved[:, 1:],
                atol=1e-5,
            )
        if name == "whole-context":
            assert torch.equal(pair.corrupted, pair.clean.roll(-5, 0)) and differing(pair) >= set(range(2, q - 1)) - {
                int(x) + 11 for x in s.start[0]
            } - set(s.start[0].tolist())
            assert not (prompts.segments.system == prompts.segments.system.roll(-5, 0)).any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(task="0-after"), "task must be 1-after, 2-after, ..., not '0-after'"),
        (dict(task="7-after"), "task must be 1-after to 6-after, not '7-after'"),
        (dict(corruption="x"), "corruption must be one of query-label, resumed-state"),
        (dict(corruption="resumed-state"), "task must be 2-after or later for resumed-state"),
    ],
)
def test_impossible_pairs_say_why(prompts, arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupted_pair(prompts, CONFIG, **{"task": "1-after", **arguments})


@pytest.mark.parametrize(
    "name, message",
    [
        ("whole-context", "haystacks must be at least 2"),
        ("binding-swap", "systems must be at least 2"),
        ("resumed-state", "systems must be at least 2"),
        ("query-label", "systems must be at least 2"),
        ("other-states", "traces must be at least 2"),
    ],
)
def test_prompts_too_few_to_corrupt(name, message):
    with pytest.raises(ValueError, match=message):
        corrupted_pair(needle_prompts(CONFIG, 1, haystacks=1, traces=1), CONFIG, "2-after", name)


def task_model(**size):
    return GPT(GPTConfig(CONFIG.columns, CONFIG.dimension, 80, initialisation="fan_in", **size), stream("init", 0))


def test_attention_and_landmarks(prompts):
    model, mark = task_model(n_layer=2, n_head=2, n_embd=16), landmarks(prompts, "2-after")
    tokens = prompts.tokens
    assert (
        torch.equal(tokens[:, mark["needle label"]], tokens[:, prompts.query_row])
        and mark["previous row"] == prompts.query_row
    )
    assert (tokens[:, mark["needle last state"], -CONFIG.dimension - 1] == 1).all() and (
        tokens[:, mark["needle close label"], : 2 * CONFIG.labels].argmax(-1)
        == 2 * prompts.segments.label[:, NEEDLE] + 1
    ).all()
    rows = attention(model, prompts, "2-after").to_dict("records")
    pattern = run_with_cache(model, tokens[:, : prompts.query_row + 2], ["h.1.attn.hook_pattern"])[1][
        "h.1.attn.hook_pattern"
    ]
    assert len(rows) == 2 * 2 * 5
    for row in (row for row in rows if row["layer"] == 1):
        assert row["attention"] == pytest.approx(pattern[:, row["head"], -1, mark[row["landmark"]]].mean().item())


def test_one_row_alone(prompts):
    """Before the first layer, a row of another stream is a row of other tokens."""
    model, pair = task_model(n_layer=2, n_head=2, n_embd=16), corrupted_pair(prompts, CONFIG, "1-after")
    row = landmarks(prompts, "1-after")["needle last state"]
    tokens = pair.clean.clone()
    tokens[:, row] = pair.corrupted[:, row]
    alone = lambda layer: patched(model, pair, f"h.{layer}.hook_resid_pre", np.s_[:, row])
    assert torch.allclose(alone(0), model(tokens)[:, -1], atol=1e-6)
    assert not torch.allclose(alone(0), alone(1), atol=1e-6)
    with pytest.raises(KeyError, match="no hook point 'h.2.hook_resid_pre'"):
        alone(2)
    with pytest.raises(IndexError):
        patched(model, pair, "h.0.hook_resid_pre", np.s_[:, 999])


def test_one_head_alone(prompts):
    """What a head of the last layer writes on the last row is all that is read of it: the same as its every row."""
    model, pair = task_model(n_layer=2, n_head=2, n_embd=16), corrupted_pair(prompts, CONFIG, "1-after")
    here, everywhere = (patched(model, pair, "h.1.attn.hook_z", index) for index in (np.s_[:, 1, -1], np.s_[:, 1]))
    other = patched(model, pair, "h.1.attn.hook_z", np.s_[:, 0, -1])
    assert torch.allclose(here, everywhere, atol=1e-6) and not torch.allclose(here, other, atol=1e-6)
