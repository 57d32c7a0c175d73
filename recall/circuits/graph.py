"""The graph of a model, a mask over its edges, and what each edge does.

The residual stream is a sum of what the *writers* before it wrote: the read-in, the position table, every head,
every MLP.  Every *reader* takes that sum through its own layer norm: q, k and v of each head, each MLP, the
read-out.  A writer and a later reader make an *edge*.  Beside the clean prompts runs a corrupted copy of them, and a
mask m with one number per edge says what its reader gets:

    input of reader r  =  sum over w before r of  m[w, r] * (w in this run)  +  (1 - m[w, r]) * (w in the corrupted run)

1 keeps the edge, 0 takes the corrupted run's activation (interchange, as in the study), applied before the reader's
layer norm. The mask is differentiable and serves three methods: `exact` (one edge at a time), `attribution` (its
gradient, integrated) and `pruning` (its learning).  A *circuit* is a mask of zeros and ones: `faithfulness` says
what it explains.

The position edges carry the same table in both runs: interchange leaves them without effect, and they count in no
figure here.

B prompts, T rows, D = n_embd, H = n_head, d = D / H, W writers, E edges, n outputs, read on the last row alone.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from recall.config import check
from recall.model import GPT, run_with_cache

PIECE = 64  # prompts at a time, that their readers' inputs stay in a CPU's cache: 16 % quicker than 32 on two cores
POSITION = "position"
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Graph:
    """Writers x readers of a model of n_layer layers and n_head heads; positions: whether it has a position table.

    Edges are numbered reader by reader.  Within a layer the readers are q of every head, k of every head, v of every
    head (the order of c_attn's rows), then the MLP; a reader's edges follow the order of the writers, of which it
    sees the first few."""

    n_layer: int
    n_head: int
    positions: bool = True

    @classmethod
    def of(cls, model: GPT) -> Graph:
        config = model.config
        return cls(config.n_layer, config.n_head, config.positions != "none")

    def seen(self, layer: int, mlp: bool = False) -> int:
        """How many writers stand before a layer's heads, or before its MLP; before the read-out for layer = n_layer."""
        return 1 + self.positions + layer * (self.n_head + 1) + mlp * self.n_head

    @cached_property
    def writers(self) -> tuple[str, ...]:
        parts = [*(f"attn.{h}" for h in range(self.n_head)), "mlp"]
        blocks = [f"h.{i}.{part}" for i in range(self.n_layer) for part in parts]
        return ("read_in", *[POSITION] * self.positions, *blocks)

    @cached_property
    def _readers(self) -> list[tuple[str, int, int]]:
        """(name, layer, writers seen)"""
        listed = []
        for i in range(self.n_layer):
            listed += [(f"h.{i}.attn.{h}.{part}", i, self.seen(i)) for part in "qkv" for h in range(self.n_head)]
            listed.append((f"h.{i}.mlp", i, self.seen(i, mlp=True)))
        return [*listed, ("read_out", self.n_layer, self.seen(self.n_layer))]

    @cached_property
    def readers(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self._readers)

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(writer, reader) of every edge."""
        return tuple((writer, name) for name, _, seen in self._readers for writer in self.writers[:seen])

    @cached_property
    def layer(self) -> list[int]:
        """Of every edge, its reader's layer (n_layer for the read-out): before it the edge changes nothing."""
        return [layer for _, layer, seen in self._readers for _ in range(seen)]

    @cached_property
    def carrying(self) -> Tensor:
        """[E] bool: the edges that can carry a difference, all but those from the position table."""
        return torch.tensor([writer != POSITION for writer, _ in self.edges])

    @cached_property
    def sizes(self) -> list[int]:
        """How many edges go into each layer's heads and into its MLP, layer by layer, then into the read-out."""
        layers = [(3 * self.n_head * self.seen(i), self.seen(i, mlp=True)) for i in range(self.n_layer)]
        return [*itertools.chain(*layers), self.seen(self.n_layer)]

    def mask(self, edges=None) -> Tensor:
        """[E] ones, or a circuit: 1 on the (writer, reader) pairs given; ValueError for a pair that is no edge."""
        if edges is None:
            return torch.ones(len(self.edges))
        place, result = {edge: i for i, edge in enumerate(self.edges)}, torch.zeros(len(self.edges))
        for edge in edges:
            check("edge", tuple(edge) in place, "a writer and a reader behind it", edge)
            result[place[tuple(edge)]] = 1
        return result

    def table(self, **columns: Tensor) -> pd.DataFrame:
        """One row per edge: writer, reader and columns [E]."""
        names = pd.DataFrame(self.edges, columns=["writer", "reader"])
        return names.assign(**{name: value.detach().cpu().double().numpy() for name, value in columns.items()})


@dataclass(frozen=True)
class Pair:
    """Prompts and their corrupted copies [B, T, C], row by row of one layout.  target: [B, n], what truly follows."""

    clean: Tensor
    corrupted: Tensor
    target: Tensor

    def __post_init__(self):
        clean, corrupted = tuple(self.clean.shape), tuple(self.corrupted.shape)
        check("corrupted", corrupted == clean, f"shaped as the clean prompts, {clean}", corrupted)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, index) -> Pair:
        return Pair(self.clean[index], self.corrupted[index], self.target[index])


def record(model: GPT, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What every writer writes [W, B, T, D], the residual stream before each layer and at the end [n_layer + 1, B,
    T, D], and the predictions [B, n].

    A head writes its share of c_proj without the bias, which is part of the stream but of no writer: it carries no
    difference."""
    layers, table = range(len(model.h)), ["hook_pos_embed"] * (model.config.positions != "none")
    parts = [f"h.{i}.{part}" for i in layers for part in ("hook_resid_pre", "attn.hook_z", "hook_mlp_out")]
    output, cache = run_with_cache(model, tokens, ["hook_embed", *table, *parts, "hook_final"])
    writers = [cache["hook_embed"], *(cache[name].expand_as(cache["hook_embed"]) for name in table)]
    for i, block in enumerate(model.h):
        writers += [*_project(block.attn, cache[f"h.{i}.attn.hook_z"].transpose(0, 1)), cache[f"h.{i}.hook_mlp_out"]]
    stream = torch.stack([*(cache[f"h.{i}.hook_resid_pre"] for i in layers), cache["hook_final"]])
    return torch.stack(writers).detach(), stream, output[:, -1]


def _project(attention, z: Tensor) -> Tensor:
    """[H, B, T, d] -> [H, B, T, D]: each head's own share of c_proj."""
    return torch.einsum("hbtd,Dhd->hbtD", z, attention.c_proj.weight.unflatten(1, (attention.n_head, -1)))


def _read_heads(block, gates: Tensor, x: Tensor, delta: Tensor, some: slice) -> Tensor:
    """[readers, B, T, d] what `some` of q, k and v of every head read from the stream x [B, T, D], each with its
    gates [3H, writers] on delta [writers, B, T, D]."""
    weight, bias = (p.unflatten(0, (len(gates), -1))[some] for p in block.attn.c_attn.parameters())  # [., d, D], [., d]
    inputs = block.ln_1(x + torch.tensordot(gates[some], delta, 1)).flatten(1, 2)
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT).unflatten(1, x.shape[:2])


class Patcher:
    """A model on a pair of prompt sets, to be run under any mask of its edges.  Works in the model's dtype, on its
    device.

    piece: prompts run at a time, which bounds the memory.  full, empty: [B, n] the model's predictions on the clean
    and on the corrupted prompts, that is under all ones and all zeros.  direction, scale: what there is to explain,
    full - empty [B, n] and the mean of its squared norm.  ValueError where the two do not differ."""

    def __init__(self, model: GPT, pair: Pair, piece: int = PIECE):
        check("piece", piece >= 1, "at least 1", piece)
        self.model, self.pair, self.graph, self.piece = model, pair, Graph.of(model), piece
        self.pieces, full, empty = [], [], []
        for clean_tokens, corrupted_tokens in zip(pair.clean.split(piece), pair.corrupted.split(piece)):
            clean, stream, output = record(model, clean_tokens)
            corrupted, _, other = record(model, corrupted_tokens)
            self.pieces.append((corrupted, corrupted - clean, stream))
            full.append(output), empty.append(other)
        self.full, self.empty = torch.cat(full), torch.cat(empty)
        self.direction = self.full - self.empty
        self.scale = self.direction.square().sum(-1).mean().item()
        check("corruption", self.scale > 0, "one that changes the model's prediction", "one that changes nothing of it")

    def swapped(self) -> Patcher:
        """Clean and corrupted exchanged: noising in one is denoising in the other."""
        return Patcher(self.model, Pair(self.pair.corrupted, self.pair.clean, self.pair.target), self.piece)

    def __call__(self, mask: Tensor, start: int = 0) -> Tensor:
        """Predictions [B, n] under a mask [E].  start: the first layer in which the mask is not all ones; those before
        are not run again."""
        edges = len(self.graph.edges)
        check("mask", mask.shape == (edges,), f"one number for each of {edges} edges", tuple(mask.shape))
        gone = 1 - mask.to(self.full)
        return torch.cat([self._run(*piece, gone, start) for piece in self.pieces])

    def _run(self, corrupted, delta, stream, gone, start):
        """gone: [E] 1 - mask.  The running stream x holds what this run's writers wrote; a reader's input is
        corrected by gone * delta, delta = corrupted run - this run: under a mask of ones nothing is added to what
        the plain model reads."""
        model, graph, H, gone = self.model, self.graph, self.graph.n_head, gone.split(self.graph.sizes)
        x, delta = stream[start], delta[: graph.seen(start)]  # [B, T, D], [writers seen, B, T, D]
        for i in range(start, graph.n_layer):
            block, attention, heads, mlp = model.h[i], model.h[i].attn, gone[2 * i], gone[2 * i + 1]
            gates = heads.view(3 * H, -1)  # [3H, writers seen]
            k, v = _read_heads(block, gates, x, delta, slice(H, None)).split(H)
            last = i == graph.n_layer - 1
            if last:  # only the last row is read out, so that only it asks and is written to
                x, delta, corrupted = x[:, -1:], delta[:, :, -1:], corrupted[:, :, -1:]
            q = _read_heads(block, gates, x, delta, slice(H))
            z = F.scaled_dot_product_attention(q, k, v, is_causal=not last)
            wrote = _project(attention, z)
            x = x + wrote.sum(0) + attention.c_proj.bias
            delta = torch.cat([delta, corrupted[graph.seen(i) : graph.seen(i, mlp=True)] - wrote])
            wrote = block.mlp(block.ln_2(x + torch.tensordot(mlp, delta, 1)))
            x = x + wrote
            delta = torch.cat([delta, (corrupted[graph.seen(i, mlp=True)] - wrote).unsqueeze(0)])
        final = x[:, -1] + torch.tensordot(gone[-1], delta[:, :, -1], 1)
        return model.read_out(model.ln_f(final))

    def lost(self, outputs: Tensor) -> Tensor:
        """[..., B] each prompt's part in the share of the prediction that is lost, linear in the outputs [..., B, n]:
        the projection of full - outputs on full - empty, over the mean square of the latter.  Its mean over prompts
        is 0 for full and 1 for empty."""
        return ((self.full - outputs) * self.direction).sum(-1) / self.scale


def exact(patcher: Patcher) -> pd.DataFrame:
    """Every edge alone: writer, reader, noising, noising_std, denoising, denoising_std (std: over prompts).

    noising: share of the prediction lost in the clean run when that edge alone gets the corrupted run's activation:
    it is needed.  denoising: share restored in the corrupted run when it alone gets the clean run's: it suffices.  A
    backup hides an edge from noising, a partner that must be clean as well hides it from denoising."""
    alone = [[i] for i in range(len(patcher.graph.edges))]
    with ThreadPoolExecutor(2) as pool:  # a core each: a quarter quicker than both cores in every small product
        both = pool.map(lambda each: _without(each, alone), (patcher, patcher.swapped()))
    columns = {}
    for name, lost in zip(("noising", "denoising"), both):
        columns |= {name: lost.mean(-1), f"{name}_std": lost.std(-1, correction=0)}
    return patcher.graph.table(**columns)


@torch.no_grad()  # of this thread
def _without(patcher: Patcher, groups: list[list[int]]) -> Tensor:
    """[groups, B] share lost without the edges of each group, 0 for the edges that carry nothing."""
    graph, rows = patcher.graph, []
    for group in groups:
        group = [i for i in group if graph.carrying[i]]
        if not group:
            rows.append(torch.zeros_like(patcher.full[:, 0]))
            continue
        mask = graph.mask()
        mask[group] = 0
        rows.append(patcher.lost(patcher(mask, min(graph.layer[i] for i in group))))
    return torch.stack(rows)


@torch.no_grad()
def pairs(patcher: Patcher, effects: pd.DataFrame, strongest: int = 12) -> pd.DataFrame:
    """Pairs among the `strongest` edges of `exact` (by the larger of their two effects): what both do beyond the sum
    of each.

    Columns writer_a, reader_a, writer_b, reader_b, noising, denoising, or_, and_.  or_ = joint noising - sum of the
    single ones: positive where either edge is enough.  and_ = the same of denoising: positive where both are needed."""
    order = np.argsort(-effects[["noising", "denoising"]].abs().max(axis=1).to_numpy())[:strongest]
    chosen = [[int(a), int(b)] for i, a in enumerate(order) for b in order[i + 1 :]]
    names = [(*patcher.graph.edges[a], *patcher.graph.edges[b]) for a, b in chosen]
    rows = pd.DataFrame(names, columns=["writer_a", "reader_a", "writer_b", "reader_b"])
    for name, excess, each in (("noising", "or_", patcher), ("denoising", "and_", patcher.swapped())):
        rows[name] = _without(each, chosen).mean(-1).cpu().numpy()
        rows[excess] = rows[name] - effects[name].to_numpy()[np.array(chosen)].sum(1)
    return rows


def attribution(patcher: Patcher, nodes: int = 4) -> pd.DataFrame:
    """Integrated gradient of the kept share along the masks (m, ..., m), m from 0 to 1.

    Columns writer, reader, effect, effect_std.  Effects add up to 1, the whole prediction, so that edges in series
    share what each of them alone would lose.  At m = 1 alone the gradient of a good model's error is near zero, and
    that of this linear measure is local.  nodes: of the midpoint rule, shifted from piece to piece of the prompts (by
    the golden ratio), which averages over the steps that the integrand takes where an attention changes its mind.
    effect_std: over pieces of prompts, scaled to one prompt; nan for a single piece."""
    check("nodes", nodes >= 1, "at least 1", nodes)
    carried = patcher.graph.carrying.to(patcher.full)
    effect = []
    for k, (piece, direction) in enumerate(zip(patcher.pieces, patcher.direction.split(patcher.piece))):
        total = torch.zeros_like(carried)
        for node in range(nodes):
            mask = torch.full_like(carried, (node + (0.5 + GOLDEN * k) % 1) / nodes).requires_grad_()
            kept = (patcher._run(*piece, 1 - mask, 0) * direction).sum(-1).mean() / patcher.scale
            total += torch.autograd.grad(kept, mask)[0] / nodes
        effect.append(total * carried)
    size = torch.tensor([len(each) for each in patcher.full.split(patcher.piece)]).to(carried)
    effect = torch.stack(effect)
    mean = size @ effect / size.sum()
    spread = (size @ (effect - mean).square() / (len(size) - 1)).sqrt() if len(size) > 1 else mean * math.nan
    return patcher.graph.table(effect=mean, effect_std=spread)
