import math
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2Model

from recall.model import ACTIVATIONS, GPT, SINUSOID, SIZES, GPTConfig, hooks, run_with_cache
from recall.task import stream


def small(**changes):
    return GPT(GPTConfig(n_in=9, n_out=3, n_positions=20, n_layer=2, n_head=2, n_embd=16, **changes), stream("init", 0))


@pytest.mark.parametrize(
    "name, thousands", [("tiny", 212), ("small", 701), ("medium", 2420), ("big", 10_700), ("huge", 24_100)]
)
def test_parameter_counts_of_the_study(name, thousands):
    with torch.device("meta"):
        count = GPT(GPTConfig.size(name, n_in=57, n_out=5, n_positions=251)).parameter_count
    d, layers, _ = SIZES[name]
    by_formula = 57 * d + d + 251 * d + layers * (12 * d * d + 13 * d) + 2 * d + 5 * d + 5
    assert count == by_formula
    assert count / 1000 == pytest.approx(thousands, rel=0.006)


def test_equals_transformers_gpt2():
    ours = small()
    generator = stream("init", 1)
    for p in ours.parameters():  # away from the initialisation's zeros and ones, every parameter different
        torch.nn.init.normal_(p, std=0.3, generator=generator)
    theirs = GPT2Model(
        GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=20, vocab_size=1, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0
        )
    ).eval()
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        if not name.startswith("read_"):
            linear = name.endswith("weight") and any(part in name for part in ("c_attn", "c_proj", "c_fc"))
            state[name] = value.T if linear else value  # GPT-2's Conv1D stores the transpose
    theirs.load_state_dict(state)
    tokens = torch.randn(4, 17, 9, generator=stream("evaluation", 0))
    expected = ours.read_out(theirs(inputs_embeds=ours.read_in(tokens)).last_hidden_state)
    assert torch.allclose(ours(tokens), expected, atol=1e-5)
    assert (ours(tokens) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_causality():
    model = small()
    tokens = torch.randn(1, 12, 9, requires_grad=True)
    model(tokens)[0, 5].sum().backward()
    assert tokens.grad[0, :6].abs().sum(-1).min() > 0 and tokens.grad[0, 6:].abs().max() == 0


def test_zero_init_makes_every_block_the_identity():
    model, tokens = small(zero_init=True), torch.randn(2, 7, 9)
    _, cache = run_with_cache(model, tokens, ["hook_final", "h.0.hook_resid_pre"])
    assert torch.equal(cache["hook_final"], cache["h.0.hook_resid_pre"])
    assert not torch.equal(
        *[
            run_with_cache(small(), tokens, ["hook_final", "h.0.hook_resid_pre"])[1][k]
            for k in ("hook_final", "h.0.hook_resid_pre")
        ]
    )


def test_initialisation_scales():
    config = dict(n_in=40, n_out=3, n_positions=50, n_layer=2, n_head=2, n_embd=128)
    gpt2, fan_in = GPT(GPTConfig(**config)), GPT(GPTConfig(**config, initialisation="fan_in"))
    assert gpt2.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert gpt2.h[0].mlp.c_proj.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert fan_in.h[0].attn.c_attn.weight.std().item() == pytest.approx((3 * 128) ** -0.5, rel=0.05)
    assert fan_in.read_in.weight.std().item() == pytest.approx((3 * 40) ** -0.5, rel=0.05)
    assert fan_in.wpe.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_explicit_pattern_equals_fused_attention():
    model, tokens = small(), torch.randn(2, 11, 9)
    prediction, cache = run_with_cache(model, tokens, ["h.1.attn.hook_pattern"])
    pattern = cache["h.1.attn.hook_pattern"]
    assert pattern.shape == (2, 2, 11, 11) and torch.allclose(pattern.sum(-1), torch.ones(2, 2, 11), atol=1e-6)
    assert pattern.triu(1).abs().max() == 0
    assert torch.allclose(prediction, model(tokens), atol=1e-5)


def test_hooks_replace_and_clean_up():
    model, tokens = small(), torch.randn(1, 5, 9)
    before = model(tokens)
    with hooks(model, {"h.0.hook_mlp_out": torch.zeros_like}):
        assert not torch.allclose(model(tokens), before)
    assert torch.equal(model(tokens), before)
    with pytest.raises(KeyError, match="no hook point 'nowhere'"):
        with hooks(model, {"nowhere": torch.zeros_like}):
            pass


def test_predict_splits_without_changing_anything():
    model, tokens = small(), torch.randn(300, 4, 9)
    assert torch.allclose(model.predict(tokens), model(tokens), atol=1e-6) and not model.predict(tokens).requires_grad


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(n_head=3), "n_embd must be a multiple of n_head"),
        (dict(activation="x"), "activation must be one of gelu_new"),
        (dict(n_layer=0), "n_layer must be at least 1"),
        (dict(initialisation="x"), "initialisation must be"),
        (dict(positions="x"), "positions must be learned, sinusoidal or none"),
    ],
)
def test_bad_model_values(change, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{"n_in": 3, "n_out": 1, "n_positions": 4, **change})
    with pytest.raises(ValueError, match="size must be one of tiny"):
        GPTConfig.size("giant", 1, 1, 1)


def test_too_long_or_too_wide_input():
    with pytest.raises(ValueError, match="at most 20 rows, not 21"):
        small()(torch.zeros(1, 21, 9))
    with pytest.raises(ValueError, match="9 columns, not 8"):
        small()(torch.zeros(1, 3, 8))
    assert set(ACTIVATIONS) == {"gelu_new", "relu", "silu"}


def test_without_positions_there_is_no_table_and_order_enters_by_causality_alone():
    """One layer without positions: the last row sees the rows before it as a set."""
    config = GPTConfig(n_in=5, n_out=2, n_positions=8, n_layer=1, n_head=2, n_embd=8, initialisation="fan_in")
    tokens = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    shuffled = tokens[:, [3, 1, 0, 2, 6, 4, 5, 7]]
    for positions, same in (("none", True), ("learned", False)):
        model = GPT(replace(config, positions=positions), torch.Generator().manual_seed(1))
        if positions == "learned":
            torch.nn.init.normal_(model.wpe.weight)
        assert torch.allclose(model.predict(tokens)[:, -1], model.predict(shuffled)[:, -1], atol=1e-5) is same
        assert any(name.startswith("wpe") for name in model.state_dict()) is not same


def test_a_sinusoidal_table_begins_as_sinusoids_and_is_learnt():
    """By hand: row t, column pair i holds sin and cos of t / 10000^(2i / 8)."""
    config = GPTConfig(n_in=5, n_out=2, n_positions=6, n_layer=1, n_head=2, n_embd=8, positions="sinusoidal")
    model = GPT(config, torch.Generator().manual_seed(1))
    for t in range(6):
        for i in range(4):
            angle = t / 10000 ** (2 * i / 8)
            assert model.wpe.weight[t, i].item() == pytest.approx(SINUSOID * math.sin(angle), abs=1e-6)
            assert model.wpe.weight[t, 4 + i].item() == pytest.approx(SINUSOID * math.cos(angle), abs=1e-6)
    model(torch.randn(1, 6, 5)).sum().backward()
    assert model.wpe.weight.grad.abs().sum() > 0
    odd = GPT(replace(config, n_embd=5, n_head=1), torch.Generator().manual_seed(1))
    assert odd.wpe.weight.shape == (6, 5)
