"""The mask against numbers worked out by hand, against an independent route through hooks, and single edges."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_circuits import random_model, random_pair

from recall.circuits.corruptions import corrupted_pair
from recall.circuits.graph import Graph, Pair, Patcher, attribution, exact, pairs
from recall.circuits.pruning import PruningConfig, prune
from recall.model import GPT, GPTConfig, hooks
from recall.needle import needle_prompts
from recall.task import TaskConfig, stream


@pytest.mark.parametrize("layers, heads, edges", [(3, 4, 302), (12, 8, 15_656)])
def test_number_of_edges(layers, heads, edges):
    graph = Graph(layers, heads)
    from_writers = (
        sum(3 * heads * (2 + i * (heads + 1)) + 2 + i * (heads + 1) + heads for i in range(layers))
        + 2
        + layers * (heads + 1)
    )
    assert len(graph.edges) == from_writers == edges == len(graph.layer) == len(set(graph.edges))
    assert len(graph.writers) == 2 + layers * (heads + 1)
    # each reads the position table
    assert edges - int(graph.carrying.sum()) == len(graph.readers) == layers * (3 * heads + 1) + 1
    assert len(Graph(layers, heads, positions=False).edges) == int(graph.carrying.sum())


def test_an_edge_goes_from_a_writer_to_a_reader_behind_it():
    graph = Graph(2, 2)
    depth = lambda name: (
        -1
        if name in ("read_in", "position")
        else 99
        if name == "read_out"
        else 2 * int(name.split(".")[1]) + ("mlp" in name)
    )
    assert set(graph.edges) == {(w, r) for w in graph.writers for r in graph.readers if depth(w) < depth(r)}
    assert all(layer == min(max(depth(reader) // 2, 0), 2) for (_, reader), layer in zip(graph.edges, graph.layer))
    with pytest.raises(ValueError, match="edge must be a writer and a reader behind it, not"):
        graph.mask([("h.0.mlp", "h.0.attn.0.q")])
    assert graph.mask([("read_in", "h.0.mlp")]).nonzero().flatten().tolist() == [
        graph.edges.index(("read_in", "h.0.mlp"))
    ]


# --- by hand


READ_IN, HEADS, UP, DOWN = 1000, (3000, 500), 1700, -210
HAND = (
    [("read_in", f"h.0.attn.{h}.{part}") for part in "qkv" for h in (0, 1)]
    + [("read_in", "h.0.mlp"), ("h.0.attn.0", "h.0.mlp"), ("h.0.attn.1", "h.0.mlp")]
    + [("read_in", "read_out"), ("h.0.attn.0", "read_out"), ("h.0.attn.1", "read_out"), ("h.0.mlp", "read_out")]
)
CLEAN, CORRUPTED = (1, -1), (1, 1)


def micro_model():
    """One layer, two heads, D = 2.  Every vector is (r, -r), which a layer norm turns into (s, -s), s the sign of r.

    read-in r = 1000 t; head 0 attends to rows of its own sign, head 1 to rows of the other (all rows where there is
    none) and reads their sign; they write 3000 and 500 times what they read; the MLP writes 1700 on a positive
    stream, -210 on a negative one; the read-out is the sign of the stream."""
    model = GPT(
        GPTConfig(n_in=1, n_out=1, n_positions=2, n_layer=1, n_head=2, n_embd=2, activation="relu", positions="none")
    ).double()
    column = torch.tensor([1.0, -1.0]).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln_" not in name:
                p.zero_()
        block = model.h[0]
        model.read_in.weight[:, 0] = READ_IN * column
        # q0 q1 k0 k1 v0 v1; 6 * 6 in an exponent is as good as infinite
        for row, weight in enumerate((6, 6, 6, -6, 1, 1)):
            block.attn.c_attn.weight[row, 0] = weight
        for h in (0, 1):
            block.attn.c_proj.weight[:, h] = HEADS[h] * column
        block.mlp.c_fc.weight[0, 0], block.mlp.c_fc.weight[1, 0] = 1, -1
        block.mlp.c_proj.weight[:, 0], block.mlp.c_proj.weight[:, 1] = UP * column, DOWN * column
        model.read_out.weight[0, 0] = 1
    return model


def micro_pair():
    rows = lambda signs: torch.tensor(signs).double().view(1, 2, 1)
    return Pair(rows(CLEAN), rows(CORRUPTED), torch.tensor([[-1.0]]).double())


def micro_run(mask, signs, other=None):
    """The last row in plain arithmetic: (read-in, head 0, head 1, MLP, read-out).  mask: {edge: 0 or 1}; other: the
    corrupted run.
    """
    sign = lambda r: (r > 0) - (r < 0)
    corrupted = other or [0] * 5
    pick = lambda edge, mine, theirs: mine if mask[edge] else theirs
    wrote = [READ_IN * signs[-1]]
    for h in (0, 1):
        q, k, v = (
            [pick(("read_in", f"h.0.attn.{h}.{part}"), s, c) for s, c in zip(signs, CORRUPTED)] for part in "qkv"
        )
        wanted = q[-1] * (1, -1)[h]
        seen = [v[t] for t in (0, 1) if k[t] == wanted] or v
        wrote.append(HEADS[h] * sum(seen) / len(seen))
    names = ("read_in", "h.0.attn.0", "h.0.attn.1", "h.0.mlp")
    stream = sum(pick((name, "h.0.mlp"), mine, theirs) for name, mine, theirs in zip(names, wrote, corrupted))
    wrote.append(UP if stream > 0 else DOWN)
    stream_out = sum(pick((name, "read_out"), mine, theirs) for name, mine, theirs in zip(names, wrote, corrupted))
    assert stream and stream_out  # no tie anywhere
    return [*wrote, sign(stream_out)]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_micro_model_under_every_mask():
    patcher = Patcher(micro_model(), micro_pair())
    assert patcher.graph.edges == tuple(HAND)
    other = micro_run(dict.fromkeys(HAND, 1), CORRUPTED)
    masks = list(itertools.product((0, 1), repeat=len(HAND)))
    expected = torch.tensor([micro_run(dict(zip(HAND, mask)), CLEAN, other)[-1] for mask in masks])
    with torch.no_grad():
        got = torch.vmap(patcher)(torch.tensor(masks)).flatten()
    assert len(masks) == 8192 and (got - expected).abs().max() < 1e-9 and set(expected.tolist()) == {1, -1}


def test_micro_model_by_hand():
    """Clean rows + -: streams -1000 -3000 +500 -210 < 0.  Corrupted rows + +: 1000 +3000 +500 +1700 > 0."""
    patcher = Patcher(micro_model(), micro_pair())
    assert patcher.full.item() == pytest.approx(-1, abs=1e-9) and patcher.empty.item() == pytest.approx(1, abs=1e-9)
    effects = exact(patcher)
    # lost without: q0 (head 0 turns to row 0: +3000), v0 (reads +1), what head 0 writes to the read-out (+3000); every
    # other sum stays below 0
    assert effects.noising.tolist() == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0], abs=1e-9)
    # 1000 -3000 +500 +1700 = 200: no edge alone turns it
    assert effects.denoising.tolist() == pytest.approx([0] * 13, abs=1e-9)
    by_pair = pairs(patcher, effects, strongest=13).set_index(["writer_a", "reader_a", "writer_b", "reader_b"])
    assert len(by_pair) == 13 * 12 / 2
    both = lambda a, b: next(by_pair.loc[key] for key in ((*a, *b), (*b, *a)) if key in by_pair.index)
    # 1000 -3000 +500 +1700: lost, though neither alone loses it
    either = both(("read_in", "read_out"), ("h.0.mlp", "read_out"))
    assert (either.noising, either.or_) == pytest.approx((1, 1), abs=1e-9)
    # -1000 -3000 +500 +1700: restored by the two together
    needed = both(("read_in", "read_out"), ("h.0.attn.0", "read_out"))
    assert (needed.denoising, needed.and_) == pytest.approx((1, 1), abs=1e-9) and needed.or_ == pytest.approx(
        0, abs=1e-9
    )


# --- two routes, and what any model must obey


def by_hooks(model, pair, mask):
    """The same patched output through the plain model: hooks replace what each reader computed by what it computes
    from a new input.
    """
    graph, H = Graph.of(model), model.config.n_head
    value = {edge: mask[i].item() for i, edge in enumerate(graph.edges)}

    def record(into):
        """Hooks that note what every writer writes."""
        note = lambda name: lambda x: into.__setitem__(name, x)
        edits = {"hook_embed": note("read_in")}
        for i, block in enumerate(model.h):

            def heads(z, i=i, block=block):
                W = block.attn.c_proj.weight
                d = z.shape[-1]
                for h in range(H):
                    into[f"h.{i}.attn.{h}"] = z[:, h] @ W[:, h * d : (h + 1) * d].T

            edits |= {f"h.{i}.attn.hook_z": heads, f"h.{i}.hook_mlp_out": note(f"h.{i}.mlp")}
        return edits

    theirs, mine = {}, {}
    with torch.no_grad(), hooks(model, record(theirs)):
        model(pair.corrupted)
    streams = {}

    def patched(reader, x):
        return x + sum(
            (1 - value[edge]) * (theirs[edge[0]] - mine[edge[0]])
            for edge in graph.edges
            if edge[1] == reader and edge[0] != "position"
        )

    edits = record(mine)
    for i, block in enumerate(model.h):
        edits[f"h.{i}.hook_resid_pre"] = lambda x, i=i: streams.__setitem__(i, x)
        for p, part in enumerate("qkv"):

            def renew(x, i=i, p=p, part=part, block=block):
                D, d = block.attn.c_attn.in_features, x.shape[-1]
                return torch.stack(
                    [
                        block.attn.c_attn(block.ln_1(patched(f"h.{i}.attn.{h}.{part}", streams[i])))[
                            ..., p * D + h * d : p * D + (h + 1) * d
                        ]
                        for h in range(H)
                    ],
                    1,
                )

            edits[f"h.{i}.attn.hook_{part}"] = renew
        edits[f"h.{i}.hook_attn_out"] = lambda x, i=i: streams.__setitem__(i, streams[i] + x)
        edits[f"h.{i}.mlp.hook_post"] = lambda x, i=i, block=block: block.mlp.activation(
            block.mlp.c_fc(block.ln_2(patched(f"h.{i}.mlp", streams[i])))
        )
    edits["hook_final"] = lambda x: patched("read_out", x)
    with torch.no_grad(), hooks(model, edits):
        return model(pair.clean)[:, -1]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_two_routes_to_a_patched_output(dtype, tolerance, positions):
    model = random_model(n_layer=3, n_head=2, dtype=dtype, positions=positions)
    pair, generator = random_pair(model), stream("evaluation", 1)
    patcher = Patcher(model, pair, piece=3)
    for share in (0.1, 0.5, 0.9):
        mask = (torch.rand(len(patcher.graph.edges), generator=generator) < share).to(dtype)
        for each in (mask, mask * torch.rand(len(mask), generator=generator)):
            expected = by_hooks(model, pair, each)
            assert (patcher(each) - expected).abs().max() < tolerance * expected.abs().max()
            assert (expected - patcher.full).abs().max() > 1e-3


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_model(data):
    draw = lambda low, high: data.draw(st.integers(low, high))
    H, layers = draw(1, 3), draw(1, 3)
    model = random_model(
        layers, H, H * draw(2, 3), draw(0, 99), positions=data.draw(st.sampled_from(["learned", "none"]))
    )
    pair = random_pair(model, draw(1, 4), draw(1, 6), draw(0, 99))
    patcher = Patcher(model, pair, piece=draw(1, 4))
    graph, near = patcher.graph, lambda a, b: (a - b).abs().max() <= 1e-12 * max(1, b.abs().max())
    assert near(patcher(graph.mask()), model(pair.clean)[:, -1]) and near(
        patcher(graph.mask([])), model(pair.corrupted)[:, -1]
    )
    mask = (torch.rand(len(graph.edges), generator=stream("evaluation", draw(0, 99))) < 0.5).double()
    assert near(patcher(torch.where(graph.carrying, mask, 1 - mask)), patcher(mask))  # the position edges carry nothing
    start = draw(0, layers)
    mask[[i for i, layer in enumerate(graph.layer) if layer < start]] = 1
    assert near(patcher(mask, start), patcher(mask))
    lost = patcher.lost(torch.stack([patcher.full, patcher.empty, (patcher.full + patcher.empty) / 2])).mean(1)
    assert lost.tolist() == pytest.approx([0, 1, 0.5])


def test_ones_in_single_precision_and_causality():
    model = random_model(3, 4, 64, dtype=torch.float32)
    patcher = Patcher(model, random_pair(model, 50))
    assert (patcher(patcher.graph.mask()) - patcher.full).norm() < 1e-6 * patcher.full.norm()
    with pytest.raises(ValueError, match="mask must be one number for each of 302 edges"):
        patcher(torch.ones(3))
    with pytest.raises(ValueError, match="corruption must be one that changes the model's prediction"):
        Patcher(model, Pair(patcher.pair.clean, patcher.pair.clean, patcher.pair.target))
    with pytest.raises(ValueError, match="corrupted must be shaped as the clean prompts"):
        Pair(patcher.pair.clean, patcher.pair.corrupted[:, :-1], patcher.pair.target)


def test_mask_is_differentiable():
    model = random_model()
    patcher = Patcher(model, random_pair(model, 2, 3))
    mask = torch.rand(len(patcher.graph.edges), generator=stream("evaluation", 2), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(patcher, (mask,), fast_mode=True)


# --- exact effects, attribution


def test_exact_effects_are_single_masks():
    model = random_model()
    patcher = Patcher(model, random_pair(model))
    effects, graph = exact(patcher), patcher.graph
    for i, (writer, _) in enumerate(graph.edges):
        if writer == "position":
            assert tuple(effects.iloc[i][["noising", "denoising", "noising_std"]]) == (0, 0, 0)
            continue
        without = torch.ones(len(graph.edges))
        without[i] = 0
        noising = patcher.lost(patcher(without))
        denoising = 1 - patcher.lost(by_hooks(model, patcher.swapped().pair, without)).mean()
        assert effects.noising[i] == pytest.approx(noising.mean().item(), abs=1e-9)
        assert effects.noising_std[i] == pytest.approx(noising.std(correction=0).item(), abs=1e-9)
        assert effects.denoising[i] == pytest.approx(denoising.item(), abs=1e-9)


def test_pairs_are_masks_of_two():
    """Among them pairs whose readers stand in different layers."""
    model = random_model()
    patcher = Patcher(model, random_pair(model))
    effects, layer = exact(patcher), dict(zip(patcher.graph.edges, patcher.graph.layer))
    rows, alone = pairs(patcher, effects, strongest=6), effects.set_index(["writer", "reader"])
    assert len(rows) == 15
    assert any(layer[a.writer_a, a.reader_a] != layer[a.writer_b, a.reader_b] for a in rows.itertuples())
    for row in rows.itertuples():
        both = [(row.writer_a, row.reader_a), (row.writer_b, row.reader_b)]
        for name, excess, each in (("noising", "or_", patcher), ("denoising", "and_", patcher.swapped())):
            together = each.lost(each(patcher.graph.mask() - patcher.graph.mask(both))).mean().item()
            assert getattr(row, name) == pytest.approx(together, abs=1e-9)
            beyond = together - sum(alone.loc[edge][name] for edge in both)
            assert getattr(row, excess) == pytest.approx(beyond, abs=1e-9)


def test_attribution_is_the_integral():
    """Adds up to the whole prediction; and where the model is one edge deep it is the exact effect."""
    model = random_model()
    effects = attribution(Patcher(model, random_pair(model, 5), piece=3), nodes=60)
    assert effects.effect.sum() == pytest.approx(1, abs=1e-2) and effects.effect_std.min() >= 0
    assert (effects.effect[effects.writer == "position"] == 0).all() and (effects.effect != 0).sum() > 30
    for block in model.h:  # nobody writes but the read-in
        torch.nn.init.zeros_(block.attn.c_proj.weight)
        torch.nn.init.zeros_(block.mlp.c_proj.weight)
    patcher = Patcher(model, random_pair(model, 5))
    one, single = attribution(patcher, nodes=60).effect, exact(patcher)
    assert np.abs(one - single.noising).max() < 1e-2
    assert one[patcher.graph.edges.index(("read_in", "read_out"))] == pytest.approx(1, abs=1e-2)
    assert math.isnan(attribution(patcher, 1).effect_std[0])
    with pytest.raises(ValueError, match="nodes must be at least 1, not 0"):
        attribution(patcher, 0)


@pytest.mark.standard
def test_the_studys_medium_model():
    config = TaskConfig.study()
    model = GPT(GPTConfig.size("medium", config.columns, config.dimension, 251), stream("init", 0))
    pair = corrupted_pair(needle_prompts(config, 2, haystacks=2, traces=1), config, "2-after")
    effects = attribution(Patcher(model, pair), nodes=2)
    assert len(effects) == 15_656 and np.isfinite(effects.effect).all() and (effects.effect != 0).sum() > 15_000
    circuit, gates = prune(model, pair, PruningConfig(edges=1000, steps=3, batch=2))
    assert circuit.sum() == 1000 and gates.shape == (15_656,)
