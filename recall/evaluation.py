"""Scores: errors by k after the query, identification score, label index, emergence.

The error of a prediction is its squared distance to the observation (a squared norm, not a mean over dimensions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall.config import counted, require
from recall.interventions import apply, named_segment
from recall.needle import Prompts, haystack_payload, needle_prompts, query_payload
from recall.predictors import blind_error, times
from recall.task import TaskConfig

THRESHOLD = 0.5  # of the identification score: half way from the label-blind average to ideal recall
STUDY_CUTOFF = 0.5  # of the median squared error, the study's rule

HAAR = ("haar", "equal")  # families with Haar maps and E|x|^2 = 1

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EvaluationConfig:
    """systems: values of N.  haystacks x traces prompts of each.  seed: of the evaluation stream.

    The set is the same at every evaluation of a run and for every run of a task.
    """

    systems: tuple[int, ...] = (1, 2, 4)
    haystacks: int = 16
    traces: int = 64
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "systems", tuple(self.systems))
        require(
            self,
            haystacks=counted(self.haystacks, most=10**6),
            traces=counted(self.traces, most=10**6),
            systems=(min(self.systems, default=0) >= 1, "counts of at least 1"),
        )


def event_errors(predictions: Tensor, prompts: Prompts, config: TaskConfig) -> dict[str, Tensor]:
    """Squared errors [K, haystacks, traces] for k = 1..K after `query` and after `initial`.

    K = n + 3 after query; after initial it is the length of a haystack segment where that is shorter (n >= 8).
    """
    squared = (predictions - prompts.targets).square().sum(-1)  # [B, T]
    K = query_payload(config)
    count = {"query": K, "initial": min(K, haystack_payload(config))}
    first = {"query": prompts.query_row, "initial": prompts.initial_row}
    rows = {event: slice(first[event], first[event] + count[event]) for event in count}
    return {event: squared[:, rows[event]].T.reshape(-1, *prompts.shape) for event in count}


def identification_score(mean_error: float, family: str, systems: int) -> float:
    """s = (E_blind - E)/(E_blind - E_ideal) with E_ideal = 0: 0 for the label-blind average, 1 for ideal recall.

    nan at N = 1, where there is nothing to identify, and for families without Haar maps, whose E_blind has no closed
    form.
    """
    if family not in HAAR or systems == 1:
        return math.nan
    blind = blind_error(systems)
    return (blind - mean_error) / blind


def label_index(predictions: Tensor, prompts: Prompts) -> list[dict[str, float]]:
    """Which system a misdirected query's predictions follow, for k = 1..K.

    Least squares, pooled over prompts, of the predictions on the next state of the *observed* system and of the system
    the *label* names.  At k = 1 the latter is that system's own next state, U_L x_L.  From k = 2 on there are two
    readings of it: `label_map`, its map applied to the state just observed (U_L y), and `label_state`, its own
    trajectory going on unseen (U_L^k x_L).  label_index = label weights / all weights: 0 = observation-led,
    1 = label-led; nan where the predictions follow neither (weights below 0.1 in sum).  Needs a family whose state is
    observed; nan too where the two systems' predictions coincide (identity maps) or the model's are not finite.
    """
    K = prompts.targets.shape[1] - prompts.query_row
    named = prompts.segments.system[:, named_segment(prompts)]
    resumed = int(prompts.segments.first[0, -1])
    own = prompts.observations[named, resumed : resumed + K]  # [B, K, n] the named system going on
    rows = slice(prompts.query_row, prompts.query_row + K)
    observed, answer = prompts.targets[:, rows], predictions[:, rows]
    mapped = times(prompts.systems.A[named].unsqueeze(1), observed[:, :-1])  # [B, K-1, n]
    result = []
    for k in range(K):
        columns = {"observed": observed[:, k], "label_state": own[:, k]}
        if k:
            columns["label_map"] = mapped[:, k - 1]
        result.append(_shares(columns, answer[:, k]))
    return result


def _shares(columns: dict[str, Tensor], answer: Tensor) -> dict[str, float]:
    """Weights of least squares of the answer [B, n] on the columns [B, n], and the label's share of them."""
    X = torch.stack([c.double().flatten() for c in columns.values()], 1)
    y = answer.double().reshape(-1, 1)
    if not y.isfinite().all() or torch.linalg.matrix_rank(X) < X.shape[1]:
        return {"label_index": math.nan}
    weights = torch.linalg.lstsq(X, y).solution.flatten().tolist()
    row = {f"weight_{name}": weight for name, weight in zip(columns, weights)}
    total = sum(weights)
    return row | {"label_index": (total - row["weight_observed"]) / total if total >= 0.1 else math.nan}


def next_states(prompts: Prompts) -> Tensor:
    """[B, K, N, n] what each system of the haystack would do next, for k = 1..K, in double precision.

    At k = 1 its own next state, from k = 2 its map applied to the state just observed.  Needs a family whose state is
    observed.
    """
    N, K = prompts.count, prompts.targets.shape[1] - prompts.query_row
    A = prompts.systems.A[prompts.segments.system[:, :N]].double()  # [B, N, n, n]
    observed = prompts.targets[:, prompts.query_row :].double()
    mapped = torch.einsum("bnij,bkj->bnki", A, observed[:, : K - 1])
    return torch.cat([_going_on(prompts)[:, :, :1], mapped], 2).transpose(1, 2)


def _going_on(prompts: Prompts) -> Tensor:
    """[B, N, K, n] every system of the haystack going on unseen, U^k x."""
    s, N, K = prompts.segments, prompts.count, prompts.targets.shape[1] - prompts.query_row
    time = (s.first + s.length)[:, :N, None] + torch.arange(K)
    return prompts.observations[s.system[:, :N].unsqueeze(-1), time].double()


def pointing(predictions: Tensor, prompts: Prompts, ridge: float = 1e-6) -> Tensor:
    """[K, N] where the answers point: weight of what each system of the haystack would do next, for k = 1..K.

    Least squares, pooled over prompts, of the predictions on every system's next state (`next_states`).  The label's
    system may also go on unseen (U^k x): that counts as its own.  ridge: per prompt, shares out what columns have in
    common.
    """
    return pointed(predictions, prompts, ridge)[0]


def pointed(predictions: Tensor, prompts: Prompts, ridge: float = 1e-6) -> tuple[Tensor, Tensor]:
    """`pointing`, and [K] the share of the predictions' squared norm that its regression explains.

    nan of predictions that are all 0.
    """
    N, would, own = prompts.count, next_states(prompts), _going_on(prompts)
    shared = ridge * len(predictions) * torch.eye(N + 1, dtype=own.dtype)
    named = prompts.segments.label[:, :N] == prompts.segments.label[:, -1:]  # [B, N]
    weights, explained = [], []
    for k in range(would.shape[1]):
        alone = (own[:, :, k] * named.unsqueeze(-1)).sum(1, keepdim=True) * (k > 0)
        X = torch.cat([would[:, k], alone], 1).transpose(1, 2).reshape(-1, N + 1)  # [B * n, N + 1]
        y = predictions[:, prompts.query_row + k].double().reshape(-1)
        solved = torch.linalg.solve(X.T @ X + shared, X.T @ y)
        weights.append(solved[:N] + solved[N] * named.double().mean(0))
        explained.append(1 - (y - X @ solved).square().sum() / y.square().sum())
    return torch.stack(weights), torch.stack(explained)


def table(predict: Predict, prompts: Prompts, config: TaskConfig, condition: str = "plain") -> pd.DataFrame:
    """One row per event and k: mean, median (over traces, then over haystacks), quartiles over haystacks, score.

    On misdirected prompts of a fully observed family the query rows also carry `label_index` and its weights.
    """
    prompts = apply(condition, prompts, config)
    predictions = predict(prompts.inputs)
    rows = []
    for event, errors in event_errors(predictions, prompts, config).items():
        for k, error in enumerate(errors.double(), start=1):
            row = dict(systems=prompts.count, condition=condition, event=event, k=k) | _summary(error)
            queried = event == "query"
            row["score"] = identification_score(row["mean"], config.family, prompts.count) if queried else math.nan
            rows.append(row)
    frame = pd.DataFrame(rows)
    if condition == "misdirected" and prompts.systems.C is None:
        follows = pd.DataFrame(label_index(predictions, prompts)).assign(event="query")
        follows["k"] = range(1, len(follows) + 1)
        frame = frame.merge(follows, on=["event", "k"], how="left")
    return frame


def _summary(error: Tensor) -> dict[str, float]:
    """Of errors [haystacks, traces]: their mean, and the quartiles over haystacks of the medians over traces."""
    medians = error.median(-1).values if error.shape[-1] % 2 else error.quantile(0.5, -1)
    q25, q50, q75 = medians.quantile(medians.new_tensor([0.25, 0.5, 0.75])).tolist()
    return dict(mean=error.mean().item(), median=q50, q25=q25, q75=q75)


class Evaluator:
    """The fixed needle sets of one task, evaluated again and again while a model trains."""

    def __init__(self, task: TaskConfig, config: EvaluationConfig, device="cpu"):
        self.task = task
        size = dict(haystacks=config.haystacks, traces=config.traces, seed=config.seed)
        self.prompts = [needle_prompts(task, N, **size, device=device) for N in config.systems]

    def __call__(self, predict: Predict) -> pd.DataFrame:
        """`table` for every N, plain and (from N = 2) misdirected."""
        conditions = lambda prompts: ("plain", "misdirected") if prompts.count > 1 else ("plain",)
        tables = [table(predict, each, self.task, how) for each in self.prompts for how in conditions(each)]
        return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Emergence:
    """When an ability appeared, in training examples: it happened after `after` and by `by`; `date` is interpolated.

    All three are nan if it had not by the end of the run, `examples`: the run is right-censored there.
    """

    after: float
    date: float
    by: float
    examples: float

    @property
    def reached(self) -> bool:
        return not math.isnan(self.date)


NEVER = (math.nan, math.nan, math.nan)


def emergence(curve: pd.DataFrame, column: str = "score", threshold: float = THRESHOLD, window: int = 3) -> Emergence:
    """First evaluation from which `column` stays on the good side of `threshold` to the end of the run.

    curve: rows of one event, k, N and condition with `examples`, in order.  `score` must stay at or above the
    threshold; `mean` and `median` must stay below it.  The date is interpolated between the two evaluations,
    linearly in the column and in the logarithm of examples (in examples where the first of the two is the untrained
    model).

    window: the rule is applied to the running median of that many evaluations, because at a constant learning rate a
    single evaluation now and then falls on a spike of the loss that is gone at the next; 1 lets no evaluation fall
    back.  The first evaluation stands for itself, the last for the last `window`.
    """
    examples = curve["examples"].to_numpy(float)
    value = smooth(curve[column], window).to_numpy(float) - threshold
    value = value if column == "score" else -value
    good = value >= 0
    if not len(good) or not good[-1]:
        return Emergence(*NEVER, examples[-1] if len(examples) else 0.0)
    bad = np.flatnonzero(~good)
    if not len(bad):
        return Emergence(0.0, examples[0], examples[0], examples[-1])
    i = bad[-1]
    share = -value[i] / (value[i + 1] - value[i])
    low, high = examples[i], examples[i + 1]
    date = low * (high / low) ** share if low else high * share  # before the first step there is no logarithm
    return Emergence(examples[i], date, examples[i + 1], examples[-1])


def smooth(values: pd.Series, window: int = 3) -> pd.Series:
    """Running median over `window` values; the first stands for itself, the last for the last `window`."""
    middle = values.rolling(window, center=True).median()
    return middle.fillna(values[: window // 2]).fillna(values[-window:].median() if window > 1 else math.nan)


def first_below(curve: pd.DataFrame, cutoff: float = STUDY_CUTOFF) -> Emergence:
    """The study's date: the first evaluation whose median is below the cutoff, whatever follows."""
    below = np.flatnonzero(curve["median"].to_numpy() < cutoff)
    whole = curve["examples"].iloc[-1]
    if not len(below):
        return Emergence(*NEVER, whole)
    shortened = emergence(curve.iloc[: below[0] + 1], "median", cutoff, window=1)
    return Emergence(shortened.after, shortened.date, shortened.by, whole)


def curve(history: pd.DataFrame, k: int, systems: int, condition: str = "plain", event: str = "query") -> pd.DataFrame:
    """The rows of a history that make one curve, in order of training."""
    keep = (history.k == k) & (history.systems == systems) & (history.condition == condition) & (history.event == event)
    return history[keep].sort_values("examples")
