"""The mask against numbers worked out by hand, against an independent route through hooks, and on planted circuits."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recall.circuits.corruptions import CORRUPTIONS, attention, corrupted_pair, landmarks, patch_row
from recall.circuits.faithfulness import (
    agreement,
    completeness,
    eliminate,
    measure,
    minimality,
    overlap,
    strongest,
    swap,
)
from recall.circuits.graph import Graph, Pair, Patcher, attribution, exact, pairs
from recall.circuits.pruning import PruningConfig, gate, open_chance, prune, steady_gate
from recall.model import GPT, GPTConfig, hooks, run_with_cache
from recall.needle import needle_prompts
from recall.task import TaskConfig, stream

CONFIG = TaskConfig.compact(dimension=3, labels=5)


def random_model(n_layer=2, n_head=2, n_embd=8, seed=0, dtype=torch.float64, **changes):
    model = GPT(
        GPTConfig(
            n_in=5,
            n_out=3,
            n_positions=9,
            n_layer=n_layer,
            n_head=n_head,
            n_embd=n_embd,
            initialisation="fan_in",
            **changes,
        )
    )
    generator = stream("init", seed)
    for name, p in model.named_parameters():  # away from the initialisation's zeros and ones
        torch.nn.init.normal_(p, 1.0 if "ln_" in name and "weight" in name else 0.0, std=0.6, generator=generator)
    return model.to(dtype)


def random_pair(model, B=4, T=6, seed=0):
    generator = stream("evaluation", seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(model.read_out.weight)
    return Pair(draw(B, T, model.config.n_in), draw(B, T, model.config.n_in), draw(B, model.config.n_out))


# --- the graph
# ----------------------------------------------------------------------------------------------------------


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
# ------------------------------------------------------------------------------------------------------------

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
# ---------------------------------------------------------------------------


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
@pytest.mark.parametrize("positions", ["learned", "none"])
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


@hypothesis_settings(max_examples=40, deadline=None)
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
    assert torch.autograd.gradcheck(patcher, (mask,))


# --- exact effects, attribution
# -----------------------------------------------------------------------------------------


def test_exact_effects_are_single_masks():
    model = random_model()
    patcher = Patcher(model, random_pair(model))
    effects, graph = exact(patcher), patcher.graph
    for i, (writer, reader) in enumerate(graph.edges):
        if writer == "position":
            assert tuple(effects.iloc[i][["noising", "denoising", "noising_std"]]) == (0, 0, 0)
            continue
        without = torch.ones(len(graph.edges))
        without[i] = 0
        noising = patcher.lost(patcher(without))
        denoising = (
            1
            - patcher.lost(
                by_hooks(model, Pair(patcher.pair.corrupted, patcher.pair.clean, patcher.pair.target), without)
            ).mean()
        )
        assert effects.noising[i] == pytest.approx(noising.mean().item(), abs=1e-9)
        assert effects.noising_std[i] == pytest.approx(noising.std(correction=0).item(), abs=1e-9)
        assert effects.denoising[i] == pytest.approx(denoising.item(), abs=1e-9)


def test_pairs_are_masks_of_two():
    """Among them pairs whose readers stand in different layers."""
    model = random_model()
    patcher = Patcher(model, random_pair(model))
    effects, layer = exact(patcher), dict(zip(patcher.graph.edges, patcher.graph.layer))
    rows, alone = pairs(patcher, effects, strongest=6), effects.set_index(["writer", "reader"])
    assert len(rows) == 15 and any(
        layer[a.writer_a, a.reader_a] != layer[a.writer_b, a.reader_b] for a in rows.itertuples()
    )
    for row in rows.itertuples():
        both = [(row.writer_a, row.reader_a), (row.writer_b, row.reader_b)]
        for name, excess, each in (("noising", "or_", patcher), ("denoising", "and_", patcher.swapped())):
            together = each.lost(each(patcher.graph.mask() - patcher.graph.mask(both))).mean().item()
            assert getattr(row, name) == pytest.approx(together, abs=1e-9)
            assert getattr(row, excess) == pytest.approx(
                together - sum(alone.loc[edge][name] for edge in both), abs=1e-9
            )


def test_attribution_is_the_integral():
    """Adds up to the whole prediction; and where the model is one edge deep it is the exact effect."""
    model = random_model()
    effects = attribution(Patcher(model, random_pair(model, 5), piece=3), nodes=150)
    assert effects.effect.sum() == pytest.approx(1, abs=1e-3) and effects.effect_std.min() >= 0
    assert (effects.effect[effects.writer == "position"] == 0).all() and (effects.effect != 0).sum() > 30
    for block in model.h:  # nobody writes but the read-in
        torch.nn.init.zeros_(block.attn.c_proj.weight), torch.nn.init.zeros_(block.mlp.c_proj.weight)
    patcher = Patcher(model, random_pair(model, 5))
    one, single = attribution(patcher, nodes=150).effect, exact(patcher)
    assert np.abs(one - single.noising).max() < 1e-3 and one[
        (single.writer == "read_in") & (single.reader == "read_out")
    ].item() == pytest.approx(1, abs=1e-3)
    assert math.isnan(attribution(patcher, 1).effect_std[0])
    with pytest.raises(ValueError, match="nodes must be at least 1, not 0"):
        attribution(patcher, 0)


# --- circuits
# -----------------------------------------------------------------------------------------------------------

PLANTED = (
    {("read_in", f"h.0.attn.1.{part}") for part in "qkv"}
    | {(w, "h.1.mlp") for w in ("read_in", "h.0.attn.1")}
    | {(w, "read_out") for w in ("read_in", "h.0.attn.1", "h.1.mlp")}
)


def planted_model():
    """Two layers of two heads of which only head 1 of the first and the MLP of the second write anything."""
    model = random_model(seed=4)
    with torch.no_grad():
        model.h[0].attn.c_proj.weight[:, :4] = 0
        model.h[1].attn.c_proj.weight.zero_(), model.h[0].mlp.c_proj.weight.zero_()
        model.h[0].attn.c_proj.weight.mul_(3), model.h[1].mlp.c_proj.weight.mul_(3)
    return model


def test_elimination_finds_the_planted_circuit_and_measures_agree():
    model = planted_model()
    patcher = Patcher(model, random_pair(model, 32))
    effects = exact(patcher)
    circuit = eliminate(patcher, effects.noising, distance=1e-9)
    assert {patcher.graph.edges[i] for i in circuit.nonzero().flatten()} == PLANTED
    whole, none = patcher.graph.mask(), patcher.graph.mask([])
    one, other = measure(patcher, whole), measure(patcher, circuit)
    assert {**one, "edges": 8} == pytest.approx(other, nan_ok=True) and one["edges"] == int(
        patcher.graph.carrying.sum()
    )
    for mask, expected in ((circuit, (8, 1, 0, 0)), (none, (0, 0, 1, 1))):
        got = measure(patcher, mask)
        errors = [(y - patcher.pair.target).square().sum(-1).mean().item() for y in (patcher.full, patcher.empty)]
        assert (got["error_full"], got["error_empty"]) == pytest.approx(errors)
        assert got["difference"] == pytest.approx((patcher.full - patcher.empty).square().sum(-1).mean().item())
        assert (got["edges"], got["distance"], got["lost"]) == pytest.approx((expected[0], *expected[2:]), abs=1e-9)
        assert math.isnan(got["faithfulness"]) or got["faithfulness"] == pytest.approx(expected[1], abs=1e-9)
    # the truth is what the model says
    aim = Patcher(model, Pair(patcher.pair.clean, patcher.pair.corrupted, patcher.full))
    assert [measure(aim, mask)["faithfulness"] for mask in (circuit, none)] == pytest.approx([1, 0], abs=1e-9)
    generator = stream("evaluation", 3)
    assert completeness(patcher, circuit, generator) == pytest.approx(
        dict(complement=0, complement_after=0, gap=0), abs=1e-9
    )
    part = circuit - patcher.graph.mask([("read_in", "read_out")])
    assert abs(completeness(patcher, part, generator)["complement"]) > 0.02
    costs = minimality(patcher, circuit)
    assert len(costs) == 8 and (costs.cost > 0).all() and costs.essential.tolist() == (costs.cost > 0.01).tolist()
    useless = minimality(patcher, patcher.graph.mask())
    assert ((useless.cost.abs() < 1e-12) == [edge not in PLANTED for edge in zip(useless.writer, useless.reader)]).all()
    loose = eliminate(patcher, effects.noising, distance=0.2)
    assert loose.sum() < 8 and measure(patcher, loose)["distance"] < 0.2
    assert all(
        measure(patcher, loose - patcher.graph.mask([patcher.graph.edges[i]]))["distance"] >= 0.2
        for i in loose.nonzero().flatten()
    )


def test_a_joint_circuit_is_near_on_both_prompts():
    """Prompts on whose last row nothing differs do without the direct edge; a joint circuit with the others may not."""
    model = planted_model()
    pair, graph = random_pair(model, 32), Graph.of(model)
    early = Pair(pair.clean, torch.cat([pair.corrupted[:, :-1], pair.clean[:, -1:]], 1), pair.target)
    patchers = [Patcher(model, early), Patcher(model, pair)]
    effects = exact(patchers[1]).noising
    direct = graph.edges.index(("read_in", "read_out"))
    assert not eliminate(patchers[0], effects, 0.001)[direct]
    joint = eliminate(patchers, effects, 0.001)
    assert joint[direct] and all(measure(patcher, joint)["distance"] < 0.001 for patcher in patchers)


def test_pruning_finds_the_planted_circuit():
    model = planted_model()
    pair, graph = random_pair(model, 64), Graph.of(model)
    config = PruningConfig(edges=8, steps=100, batch=16)
    circuit, gates = prune(model, pair, config)
    names = lambda circuit: {graph.edges[i] for i in circuit.nonzero().flatten()}
    assert len(names(circuit)) == 8 and len(names(circuit) & PLANTED) >= 7
    assert (
        gates[[i for i, edge in enumerate(graph.edges) if edge not in PLANTED]] < 0.5
    ).all() and circuit.dtype == torch.float64
    corrupted = torch.cat([pair.corrupted[:, :-1], pair.clean[:, -1:]], 1)
    early = Pair(pair.clean, corrupted, pair.target)  # the last row is clean: what reads nothing else carries nothing
    direct = ("read_in", "read_out")
    assert direct not in names(prune(model, early, config)[0]) and direct in names(circuit)
    assert direct in names(prune(model, [early, pair], config)[0])  # a joint circuit must serve both


def test_sharing_rewards_the_edges_of_another_circuit():
    model = planted_model()
    pair, graph = random_pair(model, 64), Graph.of(model)
    useless = graph.mask([("read_in", "h.0.mlp"), ("h.0.mlp", "read_out"), ("h.1.attn.1", "read_out")])
    kept = lambda sharing: (
        prune(model, pair, PruningConfig(edges=11, steps=100, batch=16, sharing=sharing), useless)[0] * useless
    ).sum()
    assert kept(0.0) < 3 and kept(5.0) == 3  # three edges more than the eight that are needed
    with pytest.raises(ValueError, match="shared must be given where sharing is above 0"):
        prune(model, pair, PruningConfig(edges=8, sharing=0.5))
    with pytest.raises(ValueError, match="edges must be at most 46, those that can carry a difference, not 48"):
        prune(model, pair, PruningConfig(edges=48))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(edges=0), "edges must be at least 1"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(sharing=-1.0), "sharing must be 0 or more"),
        (dict(wanted="x"), "wanted must be model or truth"),
        (dict(rate=0.0), "rate must be positive"),
        (dict(pressure=0.0), "pressure must be positive"),
        (dict(ramp=0.0), "ramp must be above 0"),
    ],
)
def test_bad_pruning_values(change, message):
    with pytest.raises(ValueError, match=message):
        PruningConfig(**{"edges": 1, **change})


def test_hard_concrete_gates():
    """P(z > 0) of many draws is the closed form; values lie in [0, 1] and are often exactly at the ends."""
    a = torch.tensor([-3.0, -1.0, 0.0, 2.0]).double()
    draws = gate(a, torch.rand(20_000, 4, generator=stream("evaluation", 4)).double().clamp(1e-6, 1 - 1e-6))
    assert draws.min() == 0 and draws.max() == 1
    assert torch.allclose((draws > 0).double().mean(0), open_chance(a), atol=0.012)
    assert steady_gate(torch.tensor([-9.0, 0.0, 9.0])).tolist() == pytest.approx([0, 0.5, 1])


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.integers(0, 13), st.integers(0, 13), st.integers(0, 999))
def test_overlap(size_a, size_b, seed):
    graph, generator = Graph(1, 2), stream("evaluation", seed)
    carrying = graph.carrying.nonzero().flatten()
    assert len(carrying) == 13
    draw = lambda size: graph.mask([]).index_fill(0, carrying[torch.randperm(13, generator=generator)[:size]], 1)
    a, b = draw(size_a), draw(size_b)
    sets = [set(each.nonzero().flatten().tolist()) for each in (a, b)]
    got = overlap(a + (~graph.carrying), b + (~graph.carrying), graph)  # the position edges are not counted
    if not size_a + size_b:
        assert math.isnan(got["overlap"])
        return
    assert got["overlap"] == len(sets[0] & sets[1]) / len(sets[0] | sets[1]) <= got["ceiling"] + 1e-12
    assert got["ceiling"] == min(size_a, size_b) / max(size_a, size_b) and 0 <= got["null"] <= got["ceiling"] + 1e-12


def test_overlap_null_and_agreement():
    graph, generator = Graph(2, 2), stream("evaluation", 5)
    carrying = graph.carrying.nonzero().flatten()
    draw = lambda size: graph.mask([]).index_fill(
        0, carrying[torch.randperm(len(carrying), generator=generator)[:size]], 1
    )
    results = [overlap(draw(10), draw(15), graph) for _ in range(1500)]
    assert np.mean([each["overlap"] for each in results]) == pytest.approx(results[0]["null"], abs=0.005)
    assert np.mean([each["both"] >= 5 for each in results]) == pytest.approx(
        next(each["p"] for each in results if each["both"] == 5), abs=0.03
    )
    effects = torch.randn(len(graph.edges), generator=generator)
    assert agreement(effects, -2 * effects, graph, 10)["rank"] == pytest.approx(1)
    assert strongest(effects, 3).nonzero().flatten().tolist() == sorted(effects.abs().topk(3).indices.tolist())
    with pytest.raises(ValueError, match="size must be 0 to"):
        strongest(effects, 999)


def test_swap_table():
    model = planted_model()
    patchers = {"1-after": Patcher(model, random_pair(model)), "2-after": Patcher(model, random_pair(model, seed=1))}
    circuits = {"1-after": patchers["1-after"].graph.mask(), "none": patchers["1-after"].graph.mask([])}
    rows = swap(circuits, patchers).set_index(["circuit", "task"])
    assert rows.distance.tolist() == pytest.approx([0, 0, 1, 1], abs=1e-9) and list(rows.index) == list(
        itertools.product(circuits, patchers)
    )


# --- corruptions
# --------------------------------------------------------------------------------------------------------

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
    rows = attention(model, prompts, "2-after")
    pattern = run_with_cache(model, tokens[:, : prompts.query_row + 2], ["h.1.attn.hook_pattern"])[1][
        "h.1.attn.hook_pattern"
    ]
    assert len(rows) == 2 * 2 * 5
    for row in (row for row in rows if row["layer"] == 1):
        assert row["attention"] == pytest.approx(pattern[:, row["head"], -1, mark[row["landmark"]]].mean().item())


def test_one_row_alone(prompts):
    """Before the first layer, a row of another stream is a row of other tokens; the last row before the last layer's
    read is nearly all.
    """
    model, pair = task_model(n_layer=2, n_head=2, n_embd=16), corrupted_pair(prompts, CONFIG, "1-after")
    row = landmarks(prompts, "1-after")["needle last state"]
    tokens = pair.clean.clone()
    tokens[:, row] = pair.corrupted[:, row]
    assert torch.allclose(patch_row(model, pair, row, 0), model(tokens)[:, -1], atol=1e-6)
    assert not torch.allclose(patch_row(model, pair, row, 0), patch_row(model, pair, row, 1), atol=1e-6)
    for wrong, message in (((row, 2), "layer must be 0 to 1, not 2"), ((999, 0), "row must be 0 to 37, not 999")):
        with pytest.raises(ValueError, match=message):
            patch_row(model, pair, *wrong)


# --- the study's size, the command line
# ---------------------------------------------------------------------------------


def test_the_studys_medium_model():
    config = TaskConfig.study()
    model = GPT(GPTConfig.size("medium", config.columns, config.dimension, 251), stream("init", 0))
    pair = corrupted_pair(needle_prompts(config, 2, haystacks=2, traces=1), config, "2-after")
    effects = attribution(Patcher(model, pair), nodes=2)
    assert len(effects) == 15_656 and np.isfinite(effects.effect).all() and (effects.effect != 0).sum() > 15_000
    circuit, gates = prune(model, pair, PruningConfig(edges=1000, steps=3, batch=2))
    assert circuit.sum() == 1000 and gates.shape == (15_656,)
