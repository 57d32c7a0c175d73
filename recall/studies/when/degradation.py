"""Why 2-after-query gets worse with the number of systems N: three explanations, each with a number that could
refute it.

At k = 2 the query has shown one state y, which is U_i x_i, the next state of the needle i.  Whoever goes by the
states compares y with the next state v_j = U_j x_j of every candidate j and applies the map of the one it fits:

    answer = sum over j of w_j U_j y,    w = softmax over j of (beta * likeness of v_j and y)

beta (one, or one for each of two likenesses) is fitted at N = 2 to the predictions of a model by least squares, and
nothing after that. ACCOUNTS are the likenesses.

    interference      the weights of an account spread over more candidates as N grows
    attention span    the needle lies farther back as N grows: nearest against farthest needle
    similar systems   maps that are alike are confused: likeness of the maps against that of the next states, on
                      prompts of 2 systems
"""

from __future__ import annotations

import itertools
import math

import pandas as pd
import torch
from scipy.optimize import minimize
from torch import Tensor

from recall import data, stats
from recall.config import check
from recall.evaluation import Predict, identification_score
from recall.interventions import apply
from recall.measures import CELL, KINDS, cell_of, kind
from recall.needle import Prompts, needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.task import TaskConfig
from recall.training import trained_model

TABLES = ("degradation", "degradation_accounts", "degradation_similarity")
SEED = 6  # of the prompts; training, the final tables and `edits` have others
SETS = (128, 8)  # haystacks and traces
PAIRS = 4096  # prompts of 2 systems, each with maps of its own
CHUNK = 256  # prompts at a time
LARGEST = 9.0  # logarithm of beta: weights change no more
NORM_ERROR = 0.05  # relative error with which a norm is read off
DRAWN, EQUAL = NORMS = ("as drawn", "equal")
MODEL = ["family", *CELL, "kind"]
TERTILES = ("low", "middle", "high")
NORM, DIRECTION, MAPS = "norm", "direction", "maps"
RIGHT, BLIND = BASELINES = ("right system alone", "label-blind average")


def candidates(prompts: Prompts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What k = 2 has to go by: y [B, n] the state just shown, v [B, N, n] each candidate's next state, m [B, N, n]
    each map applied to y, needle [B, N] bool.  Needs a family whose state is observed.
    """
    s, N = prompts.segments, prompts.count
    index = s.system[:, :N]
    y = prompts.targets[:, prompts.query_row].double()
    v = prompts.observations[index, (s.first + s.length)[:, :N]].double()
    m = (prompts.systems.A[index].double() @ y[:, None, :, None]).squeeze(-1)
    return y, v, m, index == s.system[:, -1:]


def _log_ratio(y, v):
    return v.norm(dim=-1).log() - y.norm(dim=-1, keepdim=True).log()


def _cosine(y, v):
    return torch.nn.functional.cosine_similarity(v, y.unsqueeze(1), dim=-1)


ACCOUNTS = {  # likeness [B, N] of the candidates and the state shown, or two of them [B, N, 2]
    "norm": lambda y, v, needle: -_log_ratio(y, v).square(),
    "direction": lambda y, v, needle: _cosine(y, v),
    "norm and direction": lambda y, v, needle: torch.stack([-_log_ratio(y, v).square(), _cosine(y, v)], -1),
    "distance": lambda y, v, needle: -(v - y.unsqueeze(1)).square().sum(-1),
    "label": lambda y, v, needle: needle.double(),  # the right label counts as much however many others there are
}


def weights(likeness: Tensor, *beta: float) -> Tensor:
    """[B, N] softmax over candidates of beta * likeness, summed over likenesses where there are two.  nan counts as
    0.
    """
    scale = torch.tensor(beta, dtype=likeness.dtype).nan_to_num(0.0)
    return ((likeness * scale).sum(-1) if likeness.dim() == 3 else likeness * scale).softmax(-1)


def mix(w: Tensor, m: Tensor) -> Tensor:
    """[B, n] sum over j of w_j U_j y."""
    return (w.unsqueeze(-1) * m).sum(1)


def fit(answer: Tensor, likeness: Tensor, m: Tensor) -> tuple[float, ...]:
    """beta of each likeness by least squares on the answers [B, n]; nan where all candidates are alike in it.

    At the end of LARGEST it means "larger than can be told": the account is then the right system alone.
    """
    each = likeness if likeness.dim() == 3 else likeness.unsqueeze(-1)
    told = [bool((each[..., f].amax(-1) - each[..., f].amin(-1)).max() > 1e-5) for f in range(each.shape[-1])]
    if not any(told):
        return (math.nan,) * len(told)
    fill = lambda logs: [math.exp(min(next(logs), LARGEST)) if there else math.nan for there in told]
    loss = lambda logs: (answer - mix(weights(each, *fill(iter(logs))), m)).square().sum().item()
    starts = sorted(itertools.product(range(-3, 9), repeat=sum(told)), key=loss)[:3]
    found = min(
        (minimize(loss, start, method="Nelder-Mead", options=dict(xatol=1e-3, fatol=1e-9)) for start in starts),
        key=lambda each: each.fun,
    )
    return tuple(fill(iter(found.x)))


def second_answers(predict: Predict, prompts: Prompts) -> Tensor:
    """[B, 2, n] predictions at k = 1 and 2 after the query, in double precision."""
    rows = slice(prompts.query_row, prompts.query_row + 2)
    return torch.cat([predict(part)[:, rows].double() for part in prompts.inputs.split(CHUNK)])


def counts(config) -> list[int]:
    """Values of N for a task: all up to 4, a few above, none that training has not shown."""
    return [N for N in (1, 2, 3, 4, 5, 8, 12, 19) if N <= config.max_systems]


def on_norms(prompts: Prompts, config: TaskConfig, norms: str) -> Prompts:
    """`equal` moves every state to the needle's norm."""
    return apply("equal-norm", prompts, config) if norms == EQUAL and config.family != "equal" else prompts


def prompt_sets(config: TaskConfig, norms: str, N: int, needle: int) -> Prompts:
    prompts = needle_prompts(config, N, haystacks=SETS[0], traces=SETS[1], needle=needle, seed=SEED)
    return on_norms(prompts, config, norms)


def measure(predict: Predict, config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Errors of 1- and 2-after-query by norms, needle and N, and what every account predicts of the farthest needle.

    First table: norms, needle (farthest, nearest), systems, k, mean, score.  Second: norms, systems, account, beta,
    beta2, error (of the model), mixing (error of the account's answers), r2 (of the answers), explained (share of
    the answers' deviation from the right answer; 0 for the right system alone, negative for worse), expected
    (mixing, moved by one constant so that it is the model's error where beta was fitted).  beta is fitted at N = 2
    on norms as drawn (on equal ones for the family `equal`)."""
    errors, accounts, betas, start = [], [], {}, {}
    for norms in _norms(config):
        for N in counts(config):
            for place, needle in (("farthest", 0), ("nearest", N - 1)) if N > 1 else (("farthest", 0),):
                prompts = prompt_sets(config, norms, N, needle)
                answers = second_answers(predict, prompts)
                rows = slice(prompts.query_row, prompts.query_row + 2)
                means = (answers - prompts.targets[:, rows]).square().sum(-1).mean(0).tolist()
                for k, mean in enumerate(means, start=1):
                    score = identification_score(mean, config.family, N)
                    errors.append(dict(norms=norms, needle=place, systems=N, k=k, mean=mean, score=score))
                if N == 1 or place == "nearest":
                    continue
                betas = betas or {name: fit(answers[:, 1], like, m) for name, like, m in _likenesses(prompts)}
                for row in account(answers[:, 1], prompts, betas):
                    anchor = start.setdefault(row["account"], row["error"] - row["mixing"])
                    accounts.append(dict(norms=norms, systems=N) | row | dict(expected=anchor + row["mixing"]))
    rounded = dict.fromkeys("error mixing r2 explained expected".split(), 4)
    return pd.DataFrame(errors), pd.DataFrame(accounts).round(rounded)


def _norms(config):
    return NORMS if config.family != "equal" else (EQUAL,)


def _likenesses(prompts):
    y, v, m, right = candidates(prompts)
    return [(name, like(y, v, right), m) for name, like in ACCOUNTS.items()]


def account(answer: Tensor, prompts: Prompts, betas: dict[str, tuple[float, ...]]) -> list[dict]:
    """What every account and baseline says of the answers [B, n] at k = 2; columns as in `measure`."""
    m, right = candidates(prompts)[2:]
    spread = {name: weights(like, *betas[name]) for name, like, _ in _likenesses(prompts)}
    spread |= {RIGHT: right.double(), BLIND: torch.full(right.shape, 1 / prompts.count, dtype=torch.float64)}
    error, rows = (answer - m[right]).square().sum(-1).mean().item(), []
    for name, w in spread.items():
        said = mix(w, m)
        left = (answer - said).square().sum(-1).mean().item()
        beta = dict(zip(("beta", "beta2"), (*betas.get(name, ()), math.nan, math.nan)))
        rows.append(
            dict(
                account=name,
                **beta,
                error=error,
                mixing=(said - m[right]).square().sum(-1).mean().item(),
                r2=1 - left / answer.square().sum(-1).mean().item(),
                explained=1 - left / error if error else math.nan,
            )
        )
    return rows


def similarity(predict: Predict, config, pairs: int = PAIRS) -> pd.DataFrame:
    """2-after-query on prompts of 2 systems, by thirds of the likeness of the next states (in direction, or in norm)
    and of the maps.

    Columns norms, by (direction: the cosine; norm: minus |ln of the ratio of norms|, as drawn only), states, maps
    (low, middle, high), prompts, error (mean), other (share of the other system in the answer: least squares of
    answer - U_1 y on U_2 y - U_1 y), so that what a confusion costs is apart from how much is confused."""
    frames = []
    for norms in _norms(config):
        prompts = on_norms(needle_prompts(config, 2, haystacks=pairs, traces=1, seed=SEED + 1), config, norms)
        answer = second_answers(predict, prompts)[:, 1]
        for by in (NORM, DIRECTION) if norms == DRAWN else (DIRECTION,):
            frames.append(by_likeness(answer, prompts, by).assign(norms=norms, by=by))
    return pd.concat(frames, ignore_index=True)[["norms", "by", "states", "maps", "prompts", "error", "other"]]


def by_likeness(answer: Tensor, prompts: Prompts, by: str) -> pd.DataFrame:
    """`similarity` for answers [B, n] at k = 2 that are there already."""
    check("systems", prompts.count == 2, "2: a prompt has one pair", prompts.count)
    y, v, m, right = candidates(prompts)
    own, other = m[right], m[~right]
    states = _cosine(v[:, 0], v[:, 1:])[:, 0] if by == DIRECTION else -_log_ratio(v[:, 0], v[:, 1:])[:, 0].abs()
    A = prompts.systems.A[prompts.segments.system[:, :2]].double()
    return tertiles(
        states,
        (A[:, 0] * A[:, 1]).sum((-2, -1)) / A.shape[-1],
        (answer - own).square().sum(-1),
        ((answer - own) * (other - own)).sum(-1),
        (other - own).square().sum(-1),
    )


def tertiles(states: Tensor, maps: Tensor, error: Tensor, along: Tensor, apart: Tensor) -> pd.DataFrame:
    """A row per cell of the 3 x 3 table: mean error, and other = sum(along) / sum(apart).  All arguments [B]."""
    third = lambda x: torch.bucketize(x, x.quantile(torch.tensor([1 / 3, 2 / 3], dtype=x.dtype)))
    a, b, rows = third(states), third(maps), []
    for (i, of_states), (j, of_maps) in itertools.product(enumerate(TERTILES), repeat=2):
        cell = (a == i) & (b == j)
        other = (along[cell].sum() / apart[cell].sum()).item()
        mean = error[cell].mean().item()
        rows.append(dict(states=of_states, maps=of_maps, prompts=int(cell.sum()), error=mean, other=other))
    return pd.DataFrame(rows)


def norm_matcher(n: int, systems: int, error: float = NORM_ERROR, draws: int = 200_000) -> tuple[float, float]:
    """Share of prompts in which a matcher by norm picks the needle, and its mean squared error at k = 2, by simulation.

    States are N(0, I/n), whose norms orthogonal maps keep.  The needle's norm is read off with a relative error of
    standard deviation `error`, and the candidate of the nearest norm is taken; a wrong map is off by 2 |y|^2 in the
    mean.  Standard error about 0.001."""
    generator = torch.Generator().manual_seed(1000 * n + systems)
    norm = (torch.randn(draws, systems, n, generator=generator).square().sum(-1) / n).sqrt()
    seen = norm[:, :1] * (1 + error * torch.randn(draws, 1, generator=generator))
    wrong = (norm - seen).abs().argmin(1) != 0
    return 1 - wrong.double().mean().item(), (2 * wrong * norm[:, 0].square()).double().mean().item()


def find(chosen: list[Run]) -> dict[str, pd.DataFrame]:
    """The three TABLES of finished runs, in families whose state is observed and whose maps keep norms."""
    found = {name: [] for name in TABLES}
    for run in chosen:
        task, predict = from_json(run.config).task, trained_model(run).predict
        model = dict(family=task.family) | cell_of(run) | dict(kind=kind(run))
        for name, frame in zip(TABLES, (*measure(predict, task), similarity(predict, task))):
            found[name].append(frame.assign(**model)[[*MODEL, *frame]])
    return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}


def read() -> dict[str, pd.DataFrame]:
    """The committed TABLES."""
    return {name: data.table(name) for name in TABLES}


# --- what the tables say ----------------------------------------------------------------------------------------------

SHOWN = ("norm", "direction", "norm and direction", "label")  # the accounts that pages show
STATES = KINDS[0]


def named(table: pd.DataFrame) -> pd.DataFrame:
    """With `models`, what a page calls the group of a model: recipe, dimension and whom it believes."""

    def recipe(row) -> str:
        if row.setting.startswith("study-"):
            return f"study's generator, {row.labels} labels, "
        return {"fast-1": "", "equal": "trained on equal norms, "}.get(row.setting, "other recipes, ")

    return table.assign(models=[f"{recipe(row)}n = {row.dimension}, {row.kind}" for row in table.itertuples()])


def change(values: pd.Series) -> dict:
    """estimate, low, high: mean with its 95 % t interval over seeds; nan ends for fewer than `stats.LEAST`, or for
    models of several recipes.  least, most: of the values; seeds: how many.

    values: indexed by MODEL."""
    one = all(values.index.get_level_values(name).nunique() == 1 for name in ("setting", "dimension"))
    _, low, high = stats.interval(values) if one and values.std() > 0 else (math.nan, math.nan, math.nan)
    return dict(estimate=values.mean(), low=low, high=high, least=values.min(), most=values.max(), seeds=len(values))


def ends(errors: pd.DataFrame, norms: str, k: int, needle: str) -> pd.DataFrame:
    """A row per model: its error at N = 2 (`two`) and at the most systems of its training that were asked (`many`,
    `systems`).
    """
    rows = errors.query("norms == @norms and k == @k and needle == @needle and systems >= 2").sort_values("systems")
    return rows.groupby(MODEL).agg(two=("mean", "first"), many=("mean", "last"), systems=("systems", "last"))


def growths(errors: pd.DataFrame, norms: str, k: int = 2, needle: str = "farthest") -> pd.Series:
    """By model, error at the most systems minus error at N = 2."""
    both = ends(errors, norms, k, needle)
    return both.many - both.two


def at_most(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at every model's most systems."""
    return table[table.systems == table.groupby(MODEL).systems.transform("max")]


def effects(tables: dict[str, pd.DataFrame], column: str = "other") -> pd.DataFrame:
    """By MODEL and norms: highest minus lowest third of the likeness of next states in norm and in direction, and of
    the maps (mean over thirds of the other); of the other system's share, or the error.
    """
    table, found = tables["degradation_similarity"], {}
    for name, by, what in ((NORM, NORM, "states"), (DIRECTION, DIRECTION, "states"), (MAPS, DIRECTION, "maps")):
        wide = table[table.by == by].pivot_table(index=[*MODEL, "norms"], columns=what, values=column)
        found[name] = wide["high"] - wide["low"] if len(wide) else pd.Series(dtype=float)
    return pd.DataFrame(found)


def cells(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The 3 x 3 tables, mean over the models of a group: models, norms, by, states, maps, error, other."""
    return (
        named(tables["degradation_similarity"])
        .groupby(["models", "norms", "by", "states", "maps"], sort=False)[["error", "other"]]
        .mean()
        .reset_index()
    )


def led_by_states(table: pd.DataFrame) -> pd.DataFrame:
    """Models whose 2-after-query follows the states, not the label; trained on norms as drawn."""
    return table[(table.kind == STATES) & (table.family == "haar")]


def shown(tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """For the figures: errors of models, what SHOWN accounts expect (mean over models), and the 3 x 3 tables (mean
    over models).
    """
    errors, accounts = named(tables["degradation"]), named(tables["degradation_accounts"])
    errors = errors[errors.systems >= 2][["models", "norms", "needle", "seed", "systems", "k", "mean"]]
    expected = (
        accounts[accounts.account.isin(SHOWN)]
        .groupby(["models", "norms", "systems", "account"], sort=False)
        .expected.mean()
        .reset_index()
    )
    return errors, expected, cells(tables)


def start(table: pd.DataFrame, thirds: bool = False) -> dict:
    """What the figures show first: models of dimension 5 whose states lead, if there are any; norms as drawn; the
    farthest needle.
    """
    models = table.models.drop_duplicates().tolist()
    first = f"n = 5, {STATES}"
    norms = DRAWN if DRAWN in set(table.norms) else EQUAL
    more = dict(by=NORM) if thirds else dict(needle="farthest")
    return dict(models=first if first in models else models[0], norms=norms) | more
