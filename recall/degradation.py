"""Why does 2-after-query get worse with more systems in the prompt?  Soft matching, attention span and similar systems, on finished models.

A soft matcher answers with a mixture over the systems j of the haystack, each going on from the state y just shown,

    answer = sum_j w_j U_j y,    w = softmax(beta * match_j),

and its error grows with N because the wrong candidates share ever more of the weight.  x_j is the state system j would show next; for
the needle's system it is y.  `ACCOUNTS` are the ways to match; beta is fitted once per model and account, at N = FITTED on plain prompts.
"""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from recall.evaluation import identification_score
from recall.interventions import INTERVENTIONS
from recall.needle import Prompts, needle_prompts
from recall.predictors import Predictor, Recall
from recall.runs import Run
from recall.settings import from_json
from recall.summary import kind
from recall.task import TaskConfig, check
from recall.training import trained_model

MODELS = ["family", "dimension", "labels", "setting", "seed", "kind"]
CELL = [name for name in MODELS if name != "seed"]
SEED = 7  # of the prompts: neither of training nor of other tables
PROMPTS = 1024  # each with systems of its own
EDITS, NEEDLES = ("plain", "equal-norm"), ("farthest", "nearest")
FITTED = 2  # N at which beta is fitted
STEEPEST = 1e4  # beta is sought in 0.01 .. STEEPEST; near the upper end the needle's system gets all the weight
LEAST = 3  # seeds from which an interval is given
GOOD = 0.8  # of the measured growth: an account foretells it within 1 - GOOD either way
PICK_ERROR = 0.05  # relative error of a remembered norm

# match_j from next states x [B, N, n], shown state y [B, 1, n], their maps' next states U x [B, N, n], U y [B, N, n] of the systems, named [B, N]
ACCOUNTS: dict[str, Callable[..., Tensor]] = {
    "direction": lambda x, y, named: torch.cosine_similarity(x, y, dim=-1),
    "norm": lambda x, y, named: -(x.norm(dim=-1) / y.norm(dim=-1)).log().square(),
    "distance": lambda x, y, named: -(x - y).square().sum(-1),
    "label": lambda x, y, named: named.to(x.dtype),
}
BASELINES = ("right system", "label-blind")  # beta = infinity and beta = 0


def counts(task: TaskConfig) -> tuple[int, ...]:
    """The N looked at: what training shows, up to 19 as in the study."""
    return tuple(N for N in ((2, 5, 8, 19) if task.max_systems > 8 else (2, 4, 8) if task.max_systems > 4 else (2, 3, 4)) if N <= task.max_systems)


def prompts_of(task: TaskConfig, N: int, needle: str = "farthest", edit: str = "plain", number: int = PROMPTS) -> Prompts:
    """`number` prompts of N systems, every one with systems of its own."""
    made = needle_prompts(task, N, haystacks=number, traces=1, needle=0 if needle == "farthest" else N - 1, seed=SEED)
    return INTERVENTIONS[edit].apply(made, task)


def candidates(prompts: Prompts) -> dict[str, Tensor]:
    """What each system of the haystack says at k = 2.

    next: [B, N, n] the state each would show next, x_j.  shown: [B, 1, n] the state just shown, y.  going_on: [B, N, n] U_j y.
    named: [B, N] whether the query's label is the system's.  truth: [B, n] what comes next.
    """
    s, N, row = prompts.segments, prompts.count, prompts.query_row
    index = s.system[:, :N]
    shown = prompts.targets[:, row]
    return dict(next=prompts.observations[index, (s.first + s.length)[:, :N]], shown=shown.unsqueeze(1),
                going_on=(prompts.systems.A[index] @ shown[:, None, :, None]).squeeze(-1),
                named=s.label[:, :N] == s.label[:, -1:], truth=prompts.targets[:, row + 1])


def mixture(account: str, beta: float, seen: dict[str, Tensor]) -> Tensor:
    """[B, n] the answer of a soft matcher at k = 2 (`candidates`); `BASELINES` take no notice of beta."""
    if account == "right system":
        return seen["truth"]
    if account == "label-blind":
        return seen["going_on"].mean(1)
    check("account", account in ACCOUNTS, f"one of {', '.join((*ACCOUNTS, *BASELINES))}", account)
    weights = (beta * ACCOUNTS[account](seen["next"], seen["shown"], seen["named"])).softmax(1)  # [B, N]
    return (weights.unsqueeze(-1) * seen["going_on"]).sum(1)


def fit(account: str, answers: Tensor, seen: dict[str, Tensor]) -> float:
    """beta in 0.01..STEEPEST with the least squared distance to the answers [B, n]; nan for `BASELINES`."""
    if account in BASELINES:
        return math.nan
    loss = lambda log: (mixture(account, math.exp(log), seen) - answers).square().sum().item()
    grid = np.linspace(math.log(0.01), math.log(STEEPEST), 33)
    at = grid[np.argmin([loss(log) for log in grid])]
    step = grid[1] - grid[0]
    return math.exp(minimize_scalar(loss, bounds=(at - step, min(at + step, grid[-1])), method="bounded", options=dict(xatol=1e-3)).x)


def r2(predicted: Tensor, answers: Tensor) -> float:
    """Share of the answers' squared size that is accounted for (their mean is 0 by symmetry)."""
    return 1 - ((predicted - answers).square().sum() / answers.square().sum()).item()


class SoftMatcher(Predictor):
    """A predictor that is an account: Recall everywhere but at the row k = 2 of these prompts."""

    def __init__(self, config: TaskConfig, prompts: Prompts, account: str, beta: float):
        super().__init__(config)
        self.prompts, self.account, self.beta = prompts, account, beta

    def predict(self, tokens: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, n]."""
        answers = Recall(self.config).predict(tokens).clone()
        answers[:, self.prompts.query_row + 1] = mixture(self.account, self.beta, candidates(self.prompts))
        return answers


def measured(predict, task: TaskConfig, over: tuple[int, ...], number: int = PROMPTS) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One model: errors, accounts and similarity.

    errors: intervention, needle, systems, k (1, 2), mean, score.  accounts (farthest needle): account, beta, intervention, systems, error of
    the model, predicted error, r2.  similarity (plain, N = 2): feature, tertile (1 = least alike), level, error of 2-after-query.
    """
    errors, accounts, betas = [], [], {}
    for edit in EDITS:
        for N in over:
            for needle in NEEDLES:
                prompts = prompts_of(task, N, needle, edit, number)
                answers = predict(prompts.inputs)
                squared = (answers - prompts.targets).square().sum(-1)[:, prompts.query_row:prompts.query_row + 2]  # [B, 2]
                for k in (1, 2):
                    mean = squared[:, k - 1].double().mean().item()
                    errors.append(dict(intervention=edit, needle=needle, systems=N, k=k, mean=mean, score=identification_score(mean, task.family, N)))
                if needle == "farthest":
                    seen, answer = candidates(prompts), answers[:, prompts.query_row + 1]
                    if (edit, N) == ("plain", FITTED):
                        betas = {account: fit(account, answer, seen) for account in (*ACCOUNTS, *BASELINES)}
                        similarity = _similar(prompts, seen, squared[:, 1])
                    for account, beta in betas.items():
                        said = mixture(account, beta, seen)
                        accounts.append(dict(account=account, beta=beta, intervention=edit, systems=N, error=squared[:, 1].mean().item(),
                                             predicted=(said - seen["truth"]).square().sum(-1).mean().item(), r2=r2(said, answer)))
    return pd.DataFrame(errors), pd.DataFrame(accounts), similarity


def _similar(prompts: Prompts, seen: dict[str, Tensor], error: Tensor) -> pd.DataFrame:
    A = prompts.systems.A[prompts.segments.system[:, :2]]
    features = {"next states": torch.cosine_similarity(seen["next"][:, 0], seen["next"][:, 1], dim=-1),
                "maps": (A[:, 0] * A[:, 1]).sum((-1, -2)) / A.shape[-1]}
    return tertiles(features, error)


def tertiles(features: dict[str, Tensor], error: Tensor) -> pd.DataFrame:
    """Mean error [B] by thirds of each feature [B]: columns feature, tertile (1 = lowest), level (mean of the feature), error."""
    return pd.DataFrame([dict(feature=name, tertile=third, level=values[index].mean().item(), error=error[index].mean().item())
                         for name, values in features.items() for third, index in enumerate(values.argsort().tensor_split(3), start=1)])


def degrade(finished: list[Run], number: int = PROMPTS) -> dict[str, pd.DataFrame]:
    """`measured` of every run, with its family, dimension, labels, setting, seed and kind: tables errors, accounts, similarity."""
    parts = {"errors": [], "accounts": [], "similarity": []}
    for run in finished:
        config = from_json(run.config)
        who = dict(family=config.task.family, dimension=config.task.dimension, labels=config.task.labels, setting=config.setting, seed=config.seed, kind=kind(run))
        for name, table in zip(parts, measured(trained_model(run).predict, config.task, counts(config.task), number)):
            parts[name].append(table.assign(**who)[[*MODELS, *table.columns]])
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def picked(n: int, N: int, error: float = PICK_ERROR, number: int = 20_000, seed: int = 0) -> float:
    """Share of prompts in which a matcher by norm alone picks the needle: it remembers every norm |x_j| with a relative error of
    `error` (normal, standard deviation) and takes the one nearest to |y|.  States are N(0, I/n)."""
    generator = torch.Generator().manual_seed(seed)
    norm = torch.randn(number, N, n, generator=generator).norm(dim=-1)
    remembered = norm * (1 + error * torch.randn(number, N, generator=generator))
    return ((remembered - norm[:, :1]).abs().argmin(1) == 0).double().mean().item()
