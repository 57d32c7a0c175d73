"""Bayes for the query's system: each system seen, or a new one, weighed by what labels and observations say.

A segment's label is open; which system is on?  Hypotheses h: one of the u systems seen so far, or a new one.

    weight of h   ~   prior * p(label | h) * p(observations of the segment so far | h, pairs of h seen so far)
    prediction    =   sum over h of  weight * posterior mean of the next state under h

prior         The generator's: a trace has m systems, m uniform on 1..M, each segment's uniform among them.  Given m, a
              certain seen system is on with chance 1/m, a new one with (m - u)/m; m itself is weighed by the segments
              so far.
labels        p(l | seen system of label j) = (1 - e) [l = j] + e/L,  p(l | new) = (1 - e) [l unused]/(L - u) + e/L.
              e: label error.
observations  A Haar map on O(n) of which r independent pairs are known sends x to a known part in r dimensions plus a
              vector uniform on the sphere of radius |x - its known part| in the other n - r: its posterior mean is
              the pseudoinverse's (only the whole of O(n) is symmetric so: not SO(n), not plain QR).  A state y so has
              density N(known part; s) N(radius; s) / (area of that sphere), s: state noise, taken small against the
              states.  A new system's first state is N(0, I/n).

For s -> 0 the supports are nested, a point inside a sphere inside all of space, and the smallest that fits takes
all: without noise the posterior is 0 or 1, and a prompt whose label contradicts its states has probability zero.
Only e and s make it answer: they are parameters.

Segments gone by are taken to be named rightly by their labels.  B traces, T rows, L labels, H = L + 1 hypotheses,
the last one new."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recall.config import check
from recall.predictors import RTOL, Predictor, Reading, at_rows, latest_row, read, running_sums, times
from recall.task import TaskConfig

EXACT = 1e-3  # state noise that stands for none: far above rounding, far below what strangers differ by


@dataclass(frozen=True)
class Evidence:
    """Of every row and hypothesis, [B, T, H]: prior, its logarithm; named, whether the segment's label is the
    hypothesis's; fresh, among how many labels it may choose; seen, logarithm of the density of the segment's states
    so far, for one `noise`.  answer: [B, T, H, n] posterior mean of the next state; unmoved: the same by the maps as
    they were known when the segment opened.  active: [B, T] rows that are scored.
    """

    prior: Tensor
    named: Tensor
    fresh: Tensor
    seen: Tensor
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
    payload, y = reading.payload, reading.observation
    first = payload & (reading.row <= reading.start + 1)  # the segment's first state
    seen, answer, unmoved = [], [], []
    for each in _hypotheses(reading, config.labels):
        x = torch.where(first.unsqueeze(-1), each.last, reading.before)  # what the row's state came from
        earlier = [torch.where(_wide(first), k, _row_before(j)) for k, j in zip(each.known, each.joined)]
        density = _density(y, x, *earlier, noise)
        if each.there is None:  # a first state of its own
            density = torch.where(first, _normal(y), density)
        density = density.where(payload, 0.0).cumsum(1)
        density = density - density.gather(1, reading.start)  # of this segment
        seen.append(density if each.there is None else density.where(each.there, -math.inf))
        state = torch.where(payload.unsqueeze(-1), y, each.last)
        now = [torch.where(_wide(payload), j, k) for j, k in zip(each.joined, each.known)]
        answer.append(times(_known(*now)[0], state))
        unmoved.append(answer[-1] if each.there is None else times(_known(*each.known)[0], state))
    return Evidence(
        *_prior(reading, config),
        seen=torch.stack(seen, -1),
        answer=torch.stack(answer, -2),
        unmoved=torch.stack(unmoved, -2),
        active=reading.opens | payload,
    )


@dataclass(frozen=True)
class _Hypothesis:
    """A system that may be on.  there: [B, T] whether it was seen before the segment; None of a new one.  last:
    [B, T, n] its last state before the segment.  known, joined: sums S_xx, S_yx [B, T, n, n] over its pairs before
    the segment, and with those inside.
    """

    there: Tensor | None
    last: Tensor
    known: list[Tensor]
    joined: list[Tensor]


def _hypotheses(reading: Reading, labels: int) -> Iterator[_Hypothesis]:
    """The systems of the labels, then a new one."""
    payload, y = reading.payload, reading.observation
    opening = (reading.start + 1).clamp(max=y.shape[1] - 1)  # row of the segment's first state
    bridge = at_rows(y, opening.where(payload, -1))  # that state
    inside = [(sums - at_rows(sums, opening)).where(_wide(payload), 0.0) for sums in running_sums(reading, payload)]
    for label in range(labels):
        member = (reading.label == label) & payload
        latest = latest_row(member).gather(1, reading.start)  # what was known of it when the segment opened
        last = at_rows(y, latest)
        known = [at_rows(sums, latest) for sums in running_sums(reading, member)]
        joined = [
            known[0] + inside[0] + _outer(last, last) * _wide(payload),
            known[1] + inside[1] + _outer(bridge, last),
        ]
        yield _Hypothesis(latest >= 0, last, known, joined)
    yield _Hypothesis(None, torch.zeros_like(y), [torch.zeros_like(sums) for sums in inside], inside)


def _wide(rows: Tensor) -> Tensor:
    """[B, T, 1, 1]"""
    return rows[..., None, None]


def _row_before(values: Tensor) -> Tensor:
    """[B, T, ...] what stood on the row before, 0 on the first."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], 1)


def _outer(y: Tensor, x: Tensor) -> Tensor:
    return y.unsqueeze(-1) * x.unsqueeze(-2)


def _known(s_xx: Tensor, s_yx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs with these sums: the map on what is known [.., n, n], the projection on the known x [.., n, n], how
    many dimensions that is [..].
    """
    value, vector = torch.linalg.eigh(s_xx)
    there = value > RTOL * value[..., -1:].clamp(min=1e-12)
    inverse = (1 / value.where(there, 1.0)).where(there, 0.0)
    part = vector * there.unsqueeze(-2)
    return s_yx @ (vector * inverse.unsqueeze(-2)) @ vector.mT, part @ part.mT, there.sum(-1)


def _density(y: Tensor, x: Tensor, s_xx: Tensor, s_yx: Tensor, noise: float) -> Tensor:
    """[B, T] log density of y = U x for a Haar U of which these pairs are known."""
    n = y.shape[-1]
    U, of_x, rank = _known(s_xx, s_yx)
    of_y = times(U @ U.mT, y)  # U is a partial isometry: U U' projects on the image of the known x
    known = (of_y - times(U, x)).square().sum(-1)
    left, radius = (y - of_y).norm(dim=-1), (x - times(of_x, x)).norm(dim=-1)
    rest = (n - rank).to(y)
    area = math.log(2) + rest / 2 * math.log(math.pi) - torch.lgamma(rest.clamp(min=1) / 2)
    area = area + (rest - 1) * left.clamp(min=noise).log()
    line = -0.5 * math.log(2 * math.pi * noise**2)
    sphere = -((left - radius).square() / (2 * noise**2)) + line - area
    return -known / (2 * noise**2) + rank * line + sphere.where(rest > 0, 0.0)


def _normal(y: Tensor) -> Tensor:
    """Log density of N(0, I/n)."""
    n = y.shape[-1]
    return -0.5 * n * (y.square().sum(-1) + math.log(2 * math.pi / n))


def _prior(reading: Reading, config: TaskConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Of `Evidence`: prior, named, fresh."""
    L, label = config.labels, reading.label.clamp(min=0)
    of_label = torch.nn.functional.one_hot(label, L)
    before = _row_before(of_label.bool() & reading.opens.unsqueeze(-1)).cumsum(1) > 0  # opened on an earlier row
    used = at_rows(before.double(), reading.open_row).bool()  # before this segment's open label
    m = torch.arange(1, config.max_systems + 1, device=used.device).double()
    u = before.sum(-1, keepdim=True)  # [B, T, 1] systems seen before the row
    old = before.gather(2, label.unsqueeze(-1))
    step = torch.where(old, (1 / m).log(), ((m - u).clamp(min=0) / m).log()).where(reading.opens.unsqueeze(-1), 0.0)
    history = at_rows(_row_before(step.cumsum(1)).exp(), reading.open_row)  # [B, T, M] of the segments before this one
    share = history / history.sum(-1, keepdim=True).clamp(min=1e-300)
    u = used.sum(-1, keepdim=True)
    seen = (share / m).sum(-1, keepdim=True) * used
    new = (share * (m - u).clamp(min=0) / m).sum(-1, keepdim=True)
    unused = ~used.gather(2, label.unsqueeze(-1))
    named = torch.cat([of_label, unused], -1).double()
    fresh = torch.cat([torch.ones_like(of_label), L - u], -1).double()
    return torch.cat([seen, new], -1).log(), named, fresh


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
        """[B, T, C] -> [B, T, n] of the tokens' dtype."""
        pieces = []
        for piece in tokens.split(64):
            evidence = gather(piece, self.config, self.noise)
            weights = weigh(evidence, self.label_error, self.labels, self.observations)
            answer = evidence.answer if self.observations else evidence.unmoved
            pieces.append((weights.unsqueeze(-1) * answer).sum(-2))
        return torch.cat(pieces).to(tokens.dtype)
