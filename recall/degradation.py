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
from scipy import stats
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
GAIN = 0.005  # of R2 over the right system alone, below which an account is not called better
LARGE = 0.05  # growth from which kinds with fewer than LEAST seeds are told of, as exploratory
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


# --- what the tables say ----------------------------------------------------------------------------------------------


def over_seeds(values) -> dict[str, float]:
    """mean, low, high: 95 % t interval over seeds, nan for fewer than LEAST."""
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < LEAST:
        return dict(mean=mean, low=math.nan, high=math.nan)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return dict(mean=mean, low=mean - half, high=mean + half)


def growth(errors: pd.DataFrame, k: int = 2, intervention: str = "plain", needle: str = "farthest") -> pd.DataFrame:
    """Per kind of model: seeds, most (N), error at N = 2 (at2) and at the most (atmost), and mean, low, high of their difference."""
    return _between(errors[(errors.k == k) & (errors.intervention == intervention) & (errors.needle == needle)])


def span(errors: pd.DataFrame, k: int = 2) -> pd.DataFrame:
    """Per kind of model at the most N on plain prompts: errors for the farthest and the nearest needle, mean, low, high of farthest - nearest."""
    rows = []
    for key, group in errors[(errors.k == k) & (errors.intervention == "plain")].groupby(CELL):
        wide = group[group.systems == group.systems.max()].pivot(index="seed", columns="needle", values="mean")
        rows.append(dict(zip(CELL, key)) | dict(seeds=len(wide), most=group.systems.max(), farthest=wide.farthest.mean(), nearest=wide.nearest.mean())
                    | over_seeds(wide.farthest - wide.nearest))
    return pd.DataFrame(rows)


def alike(similarity: pd.DataFrame) -> pd.DataFrame:
    """Per kind of model and feature: error of 2-after-query in the lowest and highest third, mean, low, high of highest - lowest."""
    rows = []
    for key, group in similarity.groupby([*CELL, "feature"]):
        wide = group.pivot(index="seed", columns="tertile", values="error")
        rows.append(dict(zip([*CELL, "feature"], key)) | dict(seeds=len(wide), least=wide[1].mean(), most_alike=wide[3].mean()) | over_seeds(wide[3] - wide[1]))
    return pd.DataFrame(rows)


def told(accounts: pd.DataFrame, intervention: str = "plain") -> pd.DataFrame:
    """Per kind of model and account: seeds, most, beta (median), r2 at N = 2 and at the most N (r2_2, r2_most; means over seeds),
    measured and predicted growth of the error between them (means), and their ratio `share`."""
    rows = []
    for key, group in accounts[accounts.intervention == intervention].groupby([*CELL, "account"], sort=False):
        first, last = (group[group.systems == N] for N in (FITTED, group.systems.max()))
        grew, said = last.error.mean() - first.error.mean(), last.predicted.mean() - first.predicted.mean()
        rows.append(dict(zip([*CELL, "account"], key)) | dict(seeds=group.seed.nunique(), most=group.systems.max(), beta=first.beta.median(), r2_2=first.r2.mean(),
                    r2_most=last.r2.mean(), measured=grew, predicted=said, share=said / grew if abs(grew) > 1e-9 else math.nan))
    return pd.DataFrame(rows)


def _between(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, group in table.groupby(CELL):
        wide = group.pivot(index="seed", columns="systems", values="mean")
        most = wide.columns.max()
        rows.append(dict(zip(CELL, key)) | dict(seeds=len(wide), most=most, at2=wide[FITTED].mean(), atmost=wide[most].mean()) | over_seeds(wide[most] - wide[FITTED]))
    return pd.DataFrame(rows)


def _who(row) -> str:
    trained = {"equal": "trained on equal norms, "}.get(row["family"], "") + ("the study's generator, " if row["setting"].startswith("study") else "")
    return f"{trained}n = {row['dimension']}, {row['labels']} labels, {row['seeds']} {row['kind']} model{'s' * (row['seeds'] > 1)}"


def _difference(row) -> str:
    return f"{row['mean']:+.3f}" + (" (too few seeds for an interval)" if math.isnan(row["low"]) else f" (95 % interval {row['low']:+.3f} to {row['high']:+.3f})")


def _sign(row) -> int:
    """1 or -1 where the interval leaves 0 out, else 0; 0 too where there is none."""
    return int(row["low"] > 0) - int(row["high"] < 0)


def grows(errors: pd.DataFrame) -> str:
    """Does the error of 2-after-query grow with N?  A line per kind of model, plain prompts and equal norms, farthest needle."""
    even = growth(errors, intervention="equal-norm").set_index(CELL)
    lines = []
    for row in growth(errors).to_dict("records"):
        other = even.loc[tuple(row[name] for name in CELL)]
        found = "too few seeds to say" if math.isnan(row["low"]) else {1: "it grows", 0: "no growth shown", -1: "it falls"}[_sign(row)]
        lines.append(f"* **{_who(row)}**: {row['at2']:.3f} at N = 2, {row['atmost']:.3f} at N = {row['most']}, difference {_difference(row)}: {found}. "
                     f"With equal norms {other['at2']:.3f} and {other['atmost']:.3f}.")
    return "\n".join(lines)


def best(accounts: pd.DataFrame) -> pd.DataFrame:
    """The account with the highest r2 at the most N per kind of model (rows of `told`), baselines among them."""
    table = told(accounts)
    return table.loc[table.groupby(CELL).r2_most.idxmax().sort_values()]


def explained(accounts: pd.DataFrame) -> str:
    """Which account answers most like the models at the most N, and does it foretell how much the error grows?"""
    table, lines = told(accounts), []
    for row in best(accounts).to_dict("records"):
        alone = table[(table[CELL] == pd.Series({name: row[name] for name in CELL})).all(axis=1) & (table.account == "right system")].iloc[0]
        gain = row["r2_most"] - alone["r2_most"]
        what = (f"no account answers more like them at N = {row['most']} than the right system alone (R² {alone['r2_most']:.3f})" if gain < GAIN else
                f"matching by {row['account']} answers most like them at N = {row['most']} (R² {row['r2_most']:.3f}; the right system alone {alone['r2_most']:.3f})")
        if row["measured"] <= 0:
            grew = "their error does not grow, so there is no growth to foretell"
        elif gain < GAIN:
            grew = f"it foretells none of the growth of {row['measured']:.3f}"
        else:
            good = "about the growth that is there" if GOOD <= row["share"] <= 2 - GOOD else "too little" if row["share"] < GOOD else "too much"
            grew = f"of a growth of {row['measured']:.3f} it foretells {row['predicted']:.3f}: {good}"
        lines.append(f"* **{_who(row)}**: {what}; {grew}.")
    return "\n".join(lines)


def account_table(accounts: pd.DataFrame) -> pd.DataFrame:
    """`told` as text for a page."""
    number = lambda value, digits: "–" if math.isnan(value) else f"{value:.{digits}f}"
    return pd.DataFrame([{"models": _who(row), "account": row["account"], "beta": "–" if math.isnan(row["beta"]) else f"{row['beta']:.3g}", "R², N = 2": number(row["r2_2"], 3), "R², most N": number(row["r2_most"], 3),
                          "most N": row["most"], "growth measured": number(row["measured"], 3), "foretold": number(row["predicted"], 3)} for row in told(accounts).to_dict("records")])


def similar(similarity: pd.DataFrame) -> str:
    """Is 2-after-query worse where the two systems are alike?  Intervals over seeds; kinds with fewer than LEAST seeds are points."""
    lines = []
    for row in alike(similarity).to_dict("records"):
        found = "too few seeds to say" if math.isnan(row["low"]) else {1: "worse when alike", 0: "no difference shown", -1: "better when alike"}[_sign(row)]
        lines.append(f"* **{_who(row)}, {row['feature']}**: {row['least']:.3f} in the third of prompts least alike, {row['most_alike']:.3f} in the third most alike, difference {_difference(row)}: {found}.")
    return "\n".join(lines)


def far(errors: pd.DataFrame) -> str:
    """Attention span: is 2-after-query worse for the farthest needle than for the nearest, at the most N?"""
    lines = []
    for row in span(errors).to_dict("records"):
        found = "too few seeds to say" if math.isnan(row["low"]) else {1: "worse when far", 0: "no difference shown", -1: "better when far"}[_sign(row)]
        lines.append(f"* **{_who(row)}, N = {row['most']}**: {row['farthest']:.3f} for the farthest needle, {row['nearest']:.3f} for the nearest, difference {_difference(row)}: {found}.")
    return "\n".join(lines)


def answer(errors: pd.DataFrame, accounts: pd.DataFrame, similarity: pd.DataFrame) -> tuple[str, str]:
    """(answer, status) to the reviewers' question: interference, attention span, or similar systems?

    The status rests on the kinds of model with LEAST seeds whose error grows (interval above 0): `undecided` where there is none,
    `answered` if at least one cause is shown in every one of them, else `in part`.  Kinds with fewer seeds are told of as exploratory where
    the growth is LARGE.  Interference: an account that mixes systems answers more like the models than the right system alone (GAIN) and
    foretells the growth within 1 - GOOD.  Span: worse for the farthest needle.  Similar systems: worse in the most alike third, by either feature.
    """
    rows = growth(errors).to_dict("records")
    tables = told(accounts), best(accounts), span(errors), alike(similarity)
    texts, shown = [], []
    for row in (row for row in rows if _sign(row) > 0):
        text, causes = _causes(row, *tables)
        shown.append(bool(causes))
        texts.append(f"{text}; shown: {', '.join(causes) or 'none of the three'}")
    texts = texts or ["no kind of model with three seeds shows a growth"]
    texts += [f"exploratory, {_causes(row, *tables)[0]}" for row in rows if row["seeds"] < LEAST and row["mean"] > LARGE]
    return "; ".join(texts), "undecided" if not shown else "answered" if all(shown) else "in part"


def _causes(row, table, chosen, distances, pairs) -> tuple[str, list[str]]:
    """What is measured for one kind of model (a row of `growth`), in words, and the causes that it shows."""
    of = lambda found: found[(found[CELL] == pd.Series({name: row[name] for name in CELL})).all(axis=1)].to_dict("records")
    first, distance, thirds = of(chosen)[0], of(distances)[0], of(pairs)
    gain = first["r2_most"] - next(each["r2_most"] for each in of(table) if each["account"] == "right system")
    mixing = first["account"] in ACCOUNTS and gain >= GAIN
    account = (f"matching by {first['account']} foretells {first['predicted']:.3f} of a growth of {first['measured']:.3f} (R² {first['r2_most']:.3f}, the right system alone {first['r2_most'] - gain:.3f})" if mixing
               else "no account answers more like them than the right system alone")
    causes = {"interference": mixing and GOOD <= first["share"] <= 2 - GOOD, "attention span": _sign(distance) > 0, "similar systems": any(_sign(each) > 0 for each in thirds)}
    text = (f"{_who(row)}: from {row['at2']:.3f} at N = 2 to {row['atmost']:.3f} at N = {row['most']}; {account}; farthest minus nearest needle {_difference(distance)}; "
            "most minus least alike " + ", ".join(f"{_difference(each)} by {each['feature']}" for each in thirds))
    return text, [name for name, there in causes.items() if there]


def pictured(accounts: pd.DataFrame) -> pd.DataFrame:
    """For `charts.degradation`: columns models, prompts, systems, account (or `measured`), seed (-1 for an account), error; accounts are means over seeds.

    Those that get much worse first; without models trained on equal norms, to which equal norms are no edit.
    """
    accounts = accounts[accounts.setting != "equal"]
    worse = accounts[accounts.account == "right system"].groupby("setting").error.max()
    accounts = accounts.sort_values("setting", key=lambda names: -names.map(worse), kind="stable")
    seeds = accounts.groupby(CELL).seed.nunique().to_dict()
    who = [_who(row | dict(seeds=seeds[tuple(row[name] for name in CELL)])) for row in accounts.to_dict("records")]
    table = accounts.assign(models=who, prompts=accounts.intervention.map({"plain": "plain", "equal-norm": "equal norms"}))
    key = ["models", "prompts", "systems"]
    marks = table[table.account == "right system"][[*key, "seed", "error"]].assign(account="measured")
    lines = table.groupby([*key, "account"], as_index=False).predicted.mean().rename(columns={"predicted": "error"}).assign(seed=-1)
    return pd.concat([marks, lines], ignore_index=True)[[*key, "account", "seed", "error"]]
