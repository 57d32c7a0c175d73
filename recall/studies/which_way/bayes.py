"""Bayes for the query's system: each system seen, or a new one, weighed by what labels and observations say.

A segment's label is open; which system is on?  Hypotheses h: one of the u systems seen so far, or a new one.

    weight of h   ~   prior * p(label | h) * p(observations of the segment so far | h, pairs of h seen so far)
    prediction    =   sum over h of  weight * posterior mean of the next state under h

prior       The generator's: a trace has m systems, m uniform on 1..M, each segment's uniform among them.  Given m, a certain seen system
            is on with chance 1/m, a new one with (m - u)/m; m itself is weighed by the segments so far.
labels      p(l | seen system of label j) = (1 - e) [l = j] + e/L,   p(l | new) = (1 - e) [l unused]/(L - u) + e/L.  e: label error.
observations   A Haar map on O(n) of which r independent pairs are known sends x to a known part in r dimensions plus a vector uniform on the
            sphere of radius |x - its known part| in the other n - r: its posterior mean is the pseudoinverse's (only
            the whole of O(n) is symmetric so: not SO(n), not plain QR).  A state y so has density N(known part; s)
            N(radius; s) / (area of that sphere), s: state noise, taken small against the states.  A new system's
            first state is N(0, I/n).

For s -> 0 the supports are nested, a point inside a sphere inside all of space, and the smallest that fits takes
all: without noise the posterior is 0 or 1, and a prompt whose label contradicts its states has probability zero.
Only e and s make it answer: they are parameters.

Segments gone by are taken to be named rightly by their labels.  B traces, T rows, L labels, H = L + 1 hypotheses,
the last one new."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recall.predictors import RTOL, Predictor, Reading, at_rows, latest_row, read, running_sums
from recall.task import TaskConfig, check

EXACT = 1e-3  # state noise that stands for none: far above rounding, far below what strangers differ by


@dataclass(frozen=True)
class Evidence:
    """Of every row and hypothesis, [B, T, H]: prior and seen, logarithms (seen: of the segment's states so far, for
    one `noise`); named, whether the segment's label is the hypothesis's; fresh, among how many labels it may
    choose.  answer: [B, T, H, n] posterior mean of the next state; unmoved: the same by the maps as they were known
    when the segment opened.  active: [B, T] rows that are scored.
    """

    prior: Tensor
    seen: Tensor
    named: Tensor
    fresh: Tensor
    answer: Tensor
    unmoved: Tensor
    active: Tensor


def weigh(evidence: Evidence, label_error: float = 0.0, labels: bool = True, observations: bool = True) -> Tensor:
    """[B, T, H] posterior weights of the hypotheses; 0 where nothing is asked."""
    L, total = evidence.named.shape[-1] - 1, evidence.prior
    if labels:
        right = torch.where(evidence.fresh > 0, 1 / evidence.fresh.clamp(min=1), 0.0)
        total = total + ((1 - label_error) * evidence.named * right + label_error / L).log()
    if observations:
        total = total + evidence.seen
    top = total.amax(-1, keepdim=True)
    weights = (total - top.where(top.isfinite(), torch.zeros_like(top))).exp()  # nothing fits: probability zero
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-300) * evidence.active.unsqueeze(-1)


def gather(tokens: Tensor, config: TaskConfig, noise: float = EXACT) -> Evidence:
    """Everything but the weighing, in double precision.  ValueError for a family other than haar, for a noise that
    is not positive.
    """
    check("family", config.family == "haar", "haar, where the pseudoinverse is the posterior mean", config.family)
    check("noise", 0 < noise < 1, "above 0, below 1", noise)
    reading = read(tokens, config)
    L, n, start = config.labels, config.dimension, reading.open_row.clamp(min=0)
    # rows that end a pair inside their segment
    within = reading.payload & (torch.arange(start.shape[1], device=start.device) > start + 1)
    first = reading.payload & ~within
    s_xx, s_yx = running_sums(reading, reading.payload)
    opening = (start + 1).clamp(max=start.shape[1] - 1)
    segment = [
        torch.where(reading.payload[..., None, None], s - at_rows(s, opening), torch.zeros_like(s))
        for s in (s_xx, s_yx)
    ]
    before = torch.cat([torch.zeros_like(reading.observation[:, :1]), reading.observation[:, :-1]], 1)
    seen, answer, unmoved = [], [], []
    for label in range(L + 1):
        if label < L:
            member = (reading.label == label) & reading.payload
            latest = latest_row(member).gather(1, start)  # what was known of it when the segment opened
            last = at_rows(reading.observation, latest)
            # the segment's first state
            bridge = at_rows(reading.observation, opening.where(reading.payload, torch.full_like(opening, -1)))
            known = [at_rows(s, latest) for s in running_sums(reading, member)]
            joined = [
                known[0] + segment[0] + _outer(last, last) * reading.payload[..., None, None],
                known[1] + segment[1] + _outer(bridge, last),
            ]
        else:
            latest, last, known, joined = (
                torch.full_like(start, -1),
                torch.zeros_like(before),
                [torch.zeros_like(s) for s in segment],
                segment,
            )
        x = torch.where(first.unsqueeze(-1), last, before)  # what the row's state came from
        earlier = [
            torch.where(first[..., None, None], k, torch.cat([torch.zeros_like(j[:, :1]), j[:, :-1]], 1))
            for k, j in zip(known, joined)
        ]
        density = _density(reading.observation, x, *earlier, noise)
        if label == L:  # a first state of its own
            density = torch.where(first, _normal(reading.observation, n), density)
        density = torch.where(reading.payload, density, torch.zeros_like(density)).cumsum(1)
        density = density - density.gather(1, start)  # of this segment
        seen.append(density if label == L else density.where(latest >= 0, torch.full_like(density, -math.inf)))
        state = torch.where(reading.payload.unsqueeze(-1), reading.observation, last)
        times = lambda sums: (_known(*sums)[0] @ state.unsqueeze(-1)).squeeze(-1)
        answer.append(times([torch.where(reading.payload[..., None, None], j, k) for j, k in zip(joined, known)]))
        unmoved.append(times(known) if label < L else answer[-1])
    prior, used = _prior(reading, config)
    named = torch.nn.functional.one_hot(reading.label.clamp(min=0), L).double()
    there = used.gather(2, reading.label.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    fresh = torch.cat([torch.ones_like(named), (L - used.sum(-1, keepdim=True)).double()], -1)
    named = torch.cat([named, 1 - there.double().unsqueeze(-1)], -1)
    return Evidence(
        prior,
        torch.stack(seen, -1),
        named,
        fresh,
        torch.stack(answer, -2),
        torch.stack(unmoved, -2),
        reading.opens | reading.payload,
    )


def _outer(y, x):
    return y.unsqueeze(-1) * x.unsqueeze(-2)


def _known(s_xx: Tensor, s_yx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs with these sums: the map on what is known [.., n, n], the projection on the known x [.., n, n], how
    many dimensions that is [..].
    """
    value, vector = torch.linalg.eigh(s_xx)
    there = value > RTOL * value[..., -1:].clamp(min=1e-12)
    inverse = torch.where(there, 1 / value.where(there, torch.ones_like(value)), torch.zeros_like(value))
    part = vector * there.unsqueeze(-2)
    return s_yx @ (vector * inverse.unsqueeze(-2)) @ vector.mT, part @ part.mT, there.sum(-1)


def _density(y: Tensor, x: Tensor, s_xx: Tensor, s_yx: Tensor, noise: float) -> Tensor:
    """[B, T] log density of y = U x for a Haar U of which these pairs are known."""
    n = y.shape[-1]
    U, of_x, rank = _known(s_xx, s_yx)
    times = lambda matrix, vector: (matrix @ vector.unsqueeze(-1)).squeeze(-1)
    of_y = times(U @ U.mT, y)  # U is a partial isometry: U U' projects on the image of the known x
    known = (of_y - times(U, x)).square().sum(-1)
    left, radius = (y - of_y).norm(dim=-1), (x - times(of_x, x)).norm(dim=-1)
    rest = (n - rank).to(y)
    area = (
        math.log(2)
        + rest / 2 * math.log(math.pi)
        - torch.lgamma(rest.clamp(min=1) / 2)
        + (rest - 1) * left.clamp(min=noise).log()
    )
    line = -0.5 * math.log(2 * math.pi * noise**2)
    sphere = -((left - radius).square() / (2 * noise**2)) + line - area
    return -known / (2 * noise**2) + rank * line + torch.where(rest > 0, sphere, torch.zeros_like(sphere))


def _normal(y: Tensor, n: int) -> Tensor:
    """Log density of N(0, I/n)."""
    return -0.5 * n * (y.square().sum(-1) + math.log(2 * math.pi / n))


def _prior(reading: Reading, config: TaskConfig) -> tuple[Tensor, Tensor]:
    """log prior [B, T, L + 1] of a row's segment, and which labels were used before it [B, T, L] (bool)."""
    L = config.labels
    opened = torch.nn.functional.one_hot(reading.label.clamp(min=0), L).bool() & reading.opens.unsqueeze(-1)
    before = torch.cat([torch.zeros_like(opened[:, :1]), opened[:, :-1]], 1).cumsum(1) > 0  # opened on an earlier row
    used = at_rows(before.double(), reading.open_row).bool()  # before this segment's open label
    m = torch.arange(1, config.max_systems + 1, device=used.device).double()
    u = before.sum(-1, keepdim=True)  # [B, T, 1] systems seen before the row
    old = before.gather(2, reading.label.clamp(min=0).unsqueeze(-1))
    step = torch.where(old, (1 / m).log(), ((m - u).clamp(min=0) / m).log())
    step = torch.where(reading.opens.unsqueeze(-1), step, torch.zeros_like(step))
    history = torch.cat([torch.zeros_like(step[:, :1]), step[:, :-1].cumsum(1)], 1)  # of the segments before the row
    history = at_rows(history.exp(), reading.open_row)  # before this segment; [B, T, M]
    share = history / history.sum(-1, keepdim=True).clamp(min=1e-300)
    u = used.sum(-1, keepdim=True)
    seen = (share / m).sum(-1, keepdim=True) * used
    new = (share * (m - u).clamp(min=0) / m).sum(-1, keepdim=True)
    return torch.cat([seen, new], -1).log(), used


class Bayes(Predictor):
    """The posterior mean: what is best in mean squared error.

    labels, observations: whether the segment's label, and its states so far, are heard on which system is on.  With
    both, on the generator's own traces, the label settles it and the answer is ideal recall's.  States that are not
    heard do not change a seen system's map either: they are what it is applied to."""

    def __init__(
        self,
        config: TaskConfig,
        labels: bool = True,
        observations: bool = True,
        label_error: float = 0.0,
        noise: float = EXACT,
    ):
        super().__init__(config)
        check("label_error", 0 <= label_error <= 1, "0 to 1", label_error)
        self.labels, self.observations, self.label_error, self.noise = labels, observations, label_error, noise

    def predict(self, tokens: Tensor) -> Tensor:
        pieces = []
        for piece in tokens.split(64):
            evidence = gather(piece, self.config, self.noise)
            weights = weigh(evidence, self.label_error, self.labels, self.observations)
            pieces.append(
                (weights.unsqueeze(-1) * (evidence.answer if self.observations else evidence.unmoved)).sum(-2)
            )
        return torch.cat(pieces).to(tokens.dtype)
