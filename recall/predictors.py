"""Reference predictors: what could be known, with the same call as the model.

`predict(tokens[B, T, C]) -> [B, T, n]` reads nothing but the tokens.  Row t predicts the observation of row t + 1; on
rows before a label the answer is 0 and never scored.

Least squares in all of them:  U^ = S_yx S_xx^+  with  S_xx = sum x x',  S_yx = sum y x'  over the pairs (x, y) of
successive states seen so far.  This equals  Y X^+,  the study's pseudoinverse predictor, and for a Haar-orthogonal U it
is the posterior mean: given fewer than n independent pairs the unseen part of U is symmetric about 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recall.config import check
from recall.task import TaskConfig

MATCH = 1e-2  # squared distance below which a state is a candidate's next one; noiseless matches are at about 1e-9
# squared distance by which one match is better than another: far above rounding, far below the distance of strangers
TOLERANCE = 1e-4
RTOL = 1e-9  # of S_xx in double precision; its eigenvalues are squared, so 3e-5 of the largest state direction


@dataclass(frozen=True)
class Reading:
    """What the label columns of tokens [B, T, C] say.

    label: [B, T] label of the segment a row lies in, -1 before the first.  opens, payload: [B, T] bool.
    open_row: [B, T] row of that segment's open label.  observation: [B, T, n] in double precision.
    """

    label: Tensor
    opens: Tensor
    payload: Tensor
    open_row: Tensor
    observation: Tensor

    @property
    def row(self) -> Tensor:
        """[T] numbers of the rows."""
        return torch.arange(self.label.shape[1], device=self.label.device)

    @property
    def start(self) -> Tensor:
        """[B, T] `open_row`, 0 before the first segment: an index that can be gathered at."""
        return self.open_row.clamp(min=0)

    @property
    def before(self) -> Tensor:
        """[B, T, n] the observation on the row before, 0 on the first."""
        return torch.cat([torch.zeros_like(self.observation[:, :1]), self.observation[:, :-1]], 1)

    def answered(self, answer: Tensor) -> Tensor:
        """[B, T, n] the answer where one is asked for, 0 on the rows before a label."""
        return answer * (self.opens | self.payload).unsqueeze(-1)

    def seen_last(self, row: Tensor) -> Tensor:
        """[B, T, n] on an observation that one, else the one at `row` [B, T]."""
        return torch.where(self.payload.unsqueeze(-1), self.observation, at_rows(self.observation, row))


def read(tokens: Tensor, config: TaskConfig) -> Reading:
    """Parse tokens laid out by recall.task; ValueError if the width is another task's."""
    if tokens.shape[-1] != config.columns:
        raise ValueError(f"tokens must have {config.columns} columns, not {tokens.shape[-1]}")
    opening = tokens[..., 0 : 2 * config.labels : 2] > 0  # [B, T, L]
    opens = opening.any(-1)
    open_row = latest_row(opens)
    label = opening.float().argmax(-1).gather(1, open_row.clamp(min=0)).where(open_row >= 0, -1)
    payload = tokens[..., 2 * config.labels + 1] > 0
    return Reading(label, opens, payload, open_row, tokens[..., -config.dimension :].double())


def latest_row(event: Tensor) -> Tensor:
    """[B, T] index of the latest row, this one included, where `event` holds; -1 before the first."""
    row = torch.arange(event.shape[1], device=event.device).expand_as(event)
    return row.where(event, -1).cummax(1).values


def at_rows(values: Tensor, index: Tensor) -> Tensor:
    """values [B, T, ...] at row index [B, T], zero where the index is -1."""
    flat = values.flatten(2)
    picked = flat.gather(1, index.clamp(min=0).unsqueeze(-1).expand(*index.shape, flat.shape[2]))
    return (picked * (index >= 0).unsqueeze(-1)).reshape(*index.shape, *values.shape[2:])


def running_sums(reading: Reading, member: Tensor) -> tuple[Tensor, Tensor]:
    """Running S_xx, S_yx [B, T, n, n] over the pairs of one system, whose observations are the rows `member` [B, T]."""
    latest = latest_row(member)
    before = torch.cat([torch.full_like(latest[:, :1], -1), latest[:, :-1]], 1)
    x = at_rows(reading.observation, before) * member.unsqueeze(-1)
    y = reading.observation
    return (x.unsqueeze(-1) * x.unsqueeze(-2)).cumsum(1), (y.unsqueeze(-1) * x.unsqueeze(-2)).cumsum(1)


def fit(s_xx: Tensor, s_yx: Tensor) -> Tensor:
    """[..., n, n] least-squares map S_yx S_xx^+."""
    return s_yx @ torch.linalg.pinv(s_xx, rtol=RTOL, hermitian=True)


def fitted_maps(reading: Reading) -> tuple[Tensor, dict[int, Tensor]]:
    """Fitted maps [B, T, n, n], at each observation row that of its own label's system so far; and, per label,
    [B, T] the latest row with an observation of it (-1 before)."""
    x = reading.observation
    U, latest = torch.zeros(*x.shape, x.shape[-1], dtype=x.dtype, device=x.device), {}
    for label in reading.label.unique().tolist():
        member = (reading.label == label) & reading.payload
        s_xx, s_yx = running_sums(reading, member)
        U[member] = fit(s_xx[member], s_yx[member])
        latest[label] = latest_row(member)
    return U, latest


def times(U: Tensor, x: Tensor) -> Tensor:
    """[..., n] each map [..., n, n] on its state [..., n]."""
    return (U @ x.unsqueeze(-1)).squeeze(-1)


class Predictor:
    """Base of the predictors that need only tokens: built from a TaskConfig, called like the model."""

    def __init__(self, config: TaskConfig):
        self.config = config

    def predict(self, tokens: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, n] of the tokens' dtype."""
        pieces = [self._predict(read(piece, self.config)) for piece in tokens.split(128)]
        return torch.cat(pieces).to(tokens.dtype)


class Zero(Predictor):
    """Predicts 0: mean squared norm 1, median 0.870 at n = 5."""

    def _predict(self, reading):
        return torch.zeros_like(reading.observation)


class Pseudoinverse(Predictor):
    """Fits the map to the current segment alone, as if every segment began anew."""

    def _predict(self, reading):
        s_xx, s_yx = running_sums(reading, reading.payload)
        # the pair that ends on a segment's first observation begins in the segment before: leave out what came up to it
        first = (reading.open_row + 1).clamp(0, len(reading.row) - 1)
        inside = reading.payload & (reading.row > first)
        U = torch.zeros_like(s_xx)
        U[inside] = fit((s_xx - at_rows(s_xx, first))[inside], (s_yx - at_rows(s_yx, first))[inside])
        return times(U, reading.observation)


class Recall(Predictor):
    """Ideal recall with the label: pairs of all the label's segments, the step across the gap included.

    On an open label it applies the map to the last state seen under that label.
    """

    def _predict(self, reading):
        U, latest = fitted_maps(reading)
        own = torch.full_like(reading.label, -1)
        for label, row in latest.items():
            own = torch.where(reading.label == label, row, own)
        own = own.where(reading.opens | reading.payload, -1)
        return times(at_rows(U, own), at_rows(reading.observation, own))


class LabelBlind(Predictor):
    """Knows every system seen, not which one is on: the average of the N candidates.

    On an open label: the mean of the candidates' next states.  On an observation: of the candidates' maps applied to
    it. shrunken divides by N + 1 instead of N, which allows for a new system.  Raw, its mean error is (N - 1)/N."""

    def __init__(self, config: TaskConfig, shrunken: bool = False):
        super().__init__(config)
        self.shrunken = shrunken

    def _predict(self, reading):
        U, latest = fitted_maps(reading)
        total = torch.zeros_like(reading.observation)
        count = torch.zeros_like(reading.observation[..., :1])
        for row in latest.values():
            total += times(at_rows(U, row), reading.seen_last(row))
            count += (row >= 0).unsqueeze(-1)
        return reading.answered(total / (count + self.shrunken).clamp(min=1))


class Match(Predictor):
    """Knows every system seen and not the labels at the query, but looks at the states: from k = 2 on it goes on
    with the systems that explain all observations of the segment so far.

    On an open label it can only average.  Candidates whose squared errors in the segment sum to less than MATCH are
    weighted by exp(-sum / (2 TOLERANCE)): one that fits wins, several that fit equally are averaged.  Where none
    does, the segment is a new system's and the pseudoinverse takes over.  Labels serve it as names of what was seen
    before, never at the query."""

    def _predict(self, reading):
        U, latest = fitted_maps(reading)
        blind, fresh = LabelBlind(self.config)._predict(reading), Pseudoinverse(self.config)._predict(reading)
        start, before = reading.start, reading.before
        first = (reading.payload & (reading.row == start + 1)).unsqueeze(-1)
        total, weights = torch.zeros_like(blind), torch.zeros_like(blind[..., :1])
        for row in latest.values():
            then = row.gather(1, start)  # latest observation of this candidate when the segment opened
            map_then = at_rows(U, then)
            x = torch.where(first, at_rows(reading.observation, then), before)
            error = ((times(map_then, x) - reading.observation).square().sum(-1) * reading.payload).cumsum(1)
            error = error - error.gather(1, start)  # of this segment
            weight = (torch.exp(-error / (2 * TOLERANCE)) * ((error < MATCH) & (then >= 0))).unsqueeze(-1)
            total, weights = total + weight * times(map_then, reading.observation), weights + weight
        known = weights > 0
        answer = torch.where(known, total / weights.where(known, torch.ones_like(weights)), fresh)
        answer = answer * reading.payload.unsqueeze(-1)
        return torch.where(reading.opens.unsqueeze(-1), blind, answer)


class Named(Predictor):
    """Knows every system seen and believes the label: goes on with the label's system as it was known when the segment
    opened, whatever is then observed.

    Under a label that is new the segment is a new system's and the pseudoinverse takes over.  With the right label
    and maps determined by the haystack this is ideal recall."""

    def _predict(self, reading):
        U, latest = fitted_maps(reading)
        answer = Pseudoinverse(self.config)._predict(reading)
        for label, row in latest.items():
            then = row.gather(1, reading.start)  # latest observation under this label when the segment opened
            known = ((reading.label == label) & (then >= 0)).unsqueeze(-1)
            answer = torch.where(known, times(at_rows(U, then), reading.seen_last(then)), answer)
        return reading.answered(answer)


class Pool(Predictor):
    """One map for everything in the context, whoever made it: least squares on all pairs inside segments, applied to
    the latest state.

    memory: weight of a pair, by which it falls with every later observation; 1 forgets nothing (pooled regression),
    less leans to what came last."""

    def __init__(self, config: TaskConfig, memory: float = 1.0):
        super().__init__(config)
        check("memory", 0 < memory <= 1, "above 0, at most 1", memory)
        self.memory = memory

    def _predict(self, reading):
        inside = reading.payload & (reading.row > reading.open_row + 1)
        last = at_rows(reading.observation, latest_row(reading.payload))
        before, answer, (B, T, n) = reading.before, torch.zeros_like(last), last.shape
        kept = torch.where(reading.payload, last.new_tensor(self.memory), last.new_tensor(1.0))[..., None, None]
        s_xx, s_yx = last.new_zeros(2, B, n, n)
        for t in range(T):  # a recursion, since weights of long ago would overflow a running sum
            x = inside[:, t, None, None] * before[:, t].unsqueeze(-2)  # [B, 1, n]
            s_xx = kept[:, t] * s_xx + before[:, t].unsqueeze(-1) * x
            s_yx = kept[:, t] * s_yx + reading.observation[:, t].unsqueeze(-1) * x
            answer[:, t] = times(fit(s_xx, s_yx), last[:, t])
        return reading.answered(answer)


class CarryOn(Predictor):
    """Goes on with the system of the segment before, as if no label had come in between: on an open label its next
    state, then its map applied to what is observed; in a trace's first segment the pseudoinverse.
    """

    def _predict(self, reading):
        U, _ = fitted_maps(reading)
        then = latest_row(reading.payload).gather(1, reading.start)  # the last state of the segment before
        carried, fresh = times(at_rows(U, then), reading.seen_last(then)), Pseudoinverse(self.config)._predict(reading)
        return reading.answered(torch.where((then >= 0).unsqueeze(-1), carried, fresh))


REFERENCES = {
    "zero": Zero,
    "pseudoinverse": Pseudoinverse,
    "label-blind average": LabelBlind,
    "label-blind, shrunken": lambda config: LabelBlind(config, shrunken=True),
    "match by state": Match,
    "ideal recall": Recall,
}

HYPOTHESES = {"by label": Named, "by observation": Match}  # the two ways to know the query's system, when they disagree


def pseudoinverse_error(n: int, k: int) -> float:
    """Expected squared error of the pseudoinverse at k after the first label, Haar maps of dimension n:
    1 for k <= 2, (n - k + 2)/n for 3 <= k <= n + 1, 0 from k = n + 2.
    """
    return 1.0 if k <= 2 else max(0.0, (n - k + 2) / n)


def blind_error(systems: int, shrunken: bool = False) -> float:
    """Expected squared error of the label-blind average of N candidates, Haar maps: (N - 1)/N, shrunken
    (N^2 + N - 1)/(N + 1)^2."""
    N = systems
    return (N * N + N - 1) / (N + 1) ** 2 if shrunken else (N - 1) / N
