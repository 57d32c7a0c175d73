"""Learned pruning: a hard-concrete gate per edge, trained to keep the prediction with few edges (as the
study's, after Edge Pruning).

A gate is  z = clip(1.2 s - 0.1, 0, 1),  s = sigmoid((log u - log(1 - u) + a) / temperature),  u uniform, a learned:
it is exactly 0 or 1 with positive probability, and P(z > 0) = sigmoid(a - temperature log(0.1 / 1.1)) counts edges
without noise.  The objective

    fit * mean |prediction under z - wanted|^2 / mean |corrupted run - model|^2
        +  l1 (s - s*)  +  l2 (s - s*)^2  -  sharing * h

has s, the expected share of edges gone, driven to s* by multipliers l1, l2 that ascend the gradient while the gates
descend, and h, the expected share of another task's circuit that is kept: the reward for sharing, which leaves the
number of edges as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recall.circuits.graph import Graph, Pair, Patcher
from recall.config import check
from recall.model import GPT

LOW, HIGH, TEMPERATURE = -0.1, 1.1, 2 / 3  # stretch and temperature of the hard-concrete gate
EVALUATION = 0.8  # factor on a in the gate without noise
# a ~ N(2, 0.01) at the start, most gates open (10 in the study, from where 200 steps do not come down)
START, SPREAD = 2.0, 0.01


@dataclass(frozen=True)
class PruningConfig:
    """edges: size of the circuit wanted.  steps: of training.  ramp: share of them in which s* rises linearly from 0
    (a sixth in the study).  batch: prompts a step.  wanted: `model`, its own prediction, or `truth`, what follows (the
    study's).  sharing: weight of the reward for edges of the `shared` circuit, 0 or more, on the scale of `fit`.

    rate: learning rate of the gates, AdamW, warmed up over a sixth of the steps, then falling linearly to 0 (0.8 in
    the study); that of the multipliers is `pressure` times as large (1 in the study, for 3000 steps: in a few hundred
    they would not catch up, and the circuit cut from gates that are still open explains nothing).  fit: weight of
    the fit (1000 in the study, on a mean over dimensions).  Of 28 combinations tried on one model (n = 3, seed 0,
    1-after-query), at the size of its reference circuit, these came nearest to it."""

    edges: int
    steps: int = 200
    ramp: float = 0.5
    rate: float = 0.2
    pressure: float = 100.0
    batch: int = 32
    fit: float = 20.0
    wanted: str = "model"
    sharing: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("edges", "steps", "batch"):
            check(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in ("rate", "fit", "pressure"):
            check(name, 0 < getattr(self, name) < math.inf, "positive and finite", getattr(self, name))
        check("ramp", 0 < self.ramp <= 1, "above 0, at most 1", self.ramp)
        check("wanted", self.wanted in ("model", "truth"), "model or truth", self.wanted)
        check("sharing", 0 <= self.sharing < math.inf, "0 or more and finite", self.sharing)


def gate(a: Tensor, u: Tensor) -> Tensor:
    """[E] one draw of hard-concrete gates for noise u in (0, 1)."""
    s = torch.sigmoid((u.log() - (1 - u).log() + a) / TEMPERATURE)
    return (LOW + (HIGH - LOW) * s).clamp(0, 1)


def steady_gate(a: Tensor) -> Tensor:
    """[E] the gates without noise, as they are evaluated."""
    return (LOW + (HIGH - LOW) * torch.sigmoid(a / TEMPERATURE * EVALUATION)).clamp(0, 1)


def open_chance(a: Tensor) -> Tensor:
    """[E] P(z > 0)."""
    return torch.sigmoid(a - TEMPERATURE * math.log(-LOW / HIGH))


def prune(
    model: GPT, pairs: Pair | list[Pair], config: PruningConfig, shared: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A learned circuit [E] of config.edges edges (the most open gates), and the gates without noise [E].

    Several pairs: a joint circuit, one set of gates whose fit is the mean of theirs.  shared: [E] a circuit of
    another task whose edges are rewarded (`sharing`): where tasks can share edges at no cost to the fit, they will.
    Position edges are left out.  ValueError where more edges are wanted than carry anything."""
    pairs, graph = [pairs] if isinstance(pairs, Pair) else list(pairs), Graph.of(model)
    check("shared", shared is not None or config.sharing == 0, "given where sharing is above 0", shared)
    most = int(graph.carrying.sum())
    check("edges", config.edges <= most, f"at most {most}, those that can carry a difference", config.edges)
    weight, generator = model.read_out.weight, torch.Generator().manual_seed(config.seed)
    random = lambda draw: draw(len(graph.edges), generator=generator).to(weight)
    carrying, gone = graph.carrying.to(weight.device), 1 - config.edges / most
    reward = 0.0
    if shared is not None:
        reward = config.sharing * carrying * shared.to(weight) / shared.sum().clamp(min=1).to(weight)
    a = (START + SPREAD * random(torch.randn)).requires_grad_()
    multipliers = weight.new_zeros(2).requires_grad_()
    optimiser, schedule = _optimiser(a, multipliers, config)
    for step in range(config.steps):
        z = torch.where(carrying, gate(a, random(torch.rand).clamp(1e-6, 1 - 1e-6)), 1)
        misfit = sum(_misfit(model, pair, z, config, generator) for pair in pairs) / len(pairs)
        chance = open_chance(a) * carrying
        short = 1 - chance.sum() / most - gone * min(1.0, (step + 1) / (config.ramp * config.steps))
        loss = config.fit * misfit + multipliers[0] * short + multipliers[1] * short.square() - (reward * chance).sum()
        optimiser.zero_grad()
        loss.backward(inputs=[a, multipliers])
        optimiser.step()
        schedule.step()
    a = a.detach().masked_fill(~carrying, -math.inf)
    circuit = torch.zeros_like(a).index_fill(0, a.argsort(descending=True, stable=True)[: config.edges], 1)
    return circuit, steady_gate(a)


def _optimiser(a: Tensor, multipliers: Tensor, config: PruningConfig):
    """AdamW that descends for the gates and ascends for the multipliers, and its warm-up and decay."""
    ascends = {"params": [multipliers], "maximize": True, "lr": config.rate * config.pressure}
    optimiser = torch.optim.AdamW([{"params": [a]}, ascends], lr=config.rate, weight_decay=0)
    warm = max(config.steps // 6, 1)
    rate = lambda step: min((step + 1) / warm, (config.steps - step) / max(config.steps - warm, 1))
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def _misfit(model: GPT, pair: Pair, z: Tensor, config: PruningConfig, generator: torch.Generator) -> Tensor:
    batch = Patcher(model, pair[torch.randperm(len(pair), generator=generator)[: config.batch]])
    wanted = batch.full if config.wanted == "model" else batch.pair.target
    return (batch(z) - wanted).square().sum(-1).mean() / batch.scale
