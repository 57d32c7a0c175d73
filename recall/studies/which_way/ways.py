"""Four ways to predict, and which of them a model uses when.

    pool       one regression over everything in the context, whoever made it        `predictors.Pool`
    carry on   the system of the segment before, whatever the label says             `predictors.CarryOn`
    match      the system that the states tell                                       `predictors.Match`
    look up    the system that the label names                                       `predictors.Named`

On an ordinary prompt several of them agree.  On a *conflict prompt* they do not: N = 4 systems, of which the
farthest (segment 0) goes on under the label of segment 1.  Every candidate then has a role of its own:

    label      segment 1, which the label names            recent     segment 3, on just before the query
    observed   segment 0, whose states are shown           other      segment 2, which nothing speaks for

Weight of a role: `evaluation.pointing`, least squares over all prompts of the predictions on what each candidate
would do next, with no constraint: weights of 0 say "I do not know".  Nearest: share of prompts whose prediction
makes the smallest angle with that candidate's next state.

Definitions, written down before any of it was computed from a trained model.  A way *shows* at the first checkpoint
at which its quantity is at least its threshold; its date is interpolated as in `evaluation.emergence`, and it is
*kept* if the last checkpoint passes as well:

    pool       2-after on conflict prompts: the smallest of the four weights is at least half of the exact Pool's own.
               Whoever knows which system is on gives the other three nothing.
    carry on   1-after on plain prompts, N = 4: the weight of the system that the label names is larger by 1/2 with
               the nearest needle (lag 1) than with the farthest (lag 4).  Then going on with the segment just before
               is there and reaching further back is not.
    match      2-after on conflict prompts: the observed system's weight is larger by 1/2 than any other.
               (At least 1/2, as for looking up, would be near what the exact Pool gives it, 0.45: the query's own
               states are large where its pairs are.)
    look up    1-after on conflict prompts: the label's system has a weight of at least 1/2.

The exact predictor of each way passes its own criterion and fails the three others (a test).  A model that averages
maps which it knows apart from each other would pass as pooling: the two differ in how they know, not in what they
answer at k = 2.

The first showing, since a way can be given up: a model whose label comes to rule k = 2 no longer shows matching.  No
running median here: checkpoints are log-spaced, a factor 2^(1/4) apart, so that three of them span too much
(`emergence` with window 1).  A way that never shows in a run counts as later than one that does; two that show
between the same two checkpoints are a tie.

Three more tables.  *Lag*: plain prompts of 4 systems, needle at every distance; lag 1 is the nearest.  *Unseen
label*: N = 2, the farthest needle goes on under a label that the prompt does not hold.  With the generator's labels
a new label means a new system, so that Bayes gives the observed system a weight of 0 at k = 2.  *Starts*: dates from
a run's own history, which every run has, with or without checkpoints.

Added after the first look at the numbers: *starts*, and at which k the label has its say first (SAY, `says`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall import data
from recall.config import check
from recall.evaluation import THRESHOLD, Emergence, Predict, curve, emergence, next_states, pointed, pointing
from recall.interventions import apply
from recall.measures import kind_of
from recall.needle import Prompts, needle_prompts
from recall.predictors import CarryOn, Match, Named, Pool
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way.asked import NO_SEED, RUN, compact_task, first_score, run_key
from recall.studies.which_way.bayes import Bayes
from recall.task import TaskConfig
from recall.training import build_model

ROLES = {"label": 1, "observed": 0, "recent": 3, "other": 2}  # segment of a conflict prompt
SYSTEMS, LAGS, KS = 4, (1, 2, 3, 4), (1, 2, 3)
SEED = 6  # of the prompts; those of training, of the final tables and of `edits` have others
EARLIEST = 64  # steps: earlier checkpoints are not asked, but for the untrained model
WAYS = {"pool": Pool, "carry on": CarryOn, "match": Match, "look up": Named}
CELL = [*RUN, "examples"]  # of one checkpoint; exact predictors have NO_SEED, and their name as the setting
OVER_TRAINING = ("ways", "ways_lags", "ways_unseen")
TABLES = (*OVER_TRAINING, "ways_histogram", "ways_starts")
BINS = np.linspace(-0.05, 1.05, 12)  # of the label's share: eleven, the outer ones open
PARALLEL = 0.8  # cosine beyond which two candidates are too alike to share out one prediction between them
# weight from which the label has a say: well above the 0.15 that it has at k = 2 while nothing tells the systems apart
SAY = 0.25
FAINT = 0.1  # sum of weights below which a prediction follows neither


# --- asking one model


def prompts_of(task: TaskConfig, haystacks: int = 16, traces: int = 32) -> dict[str, Prompts]:
    """The prompts of all tables: `conflict`, lags 1 to 4 as `1` … `4`, and `unseen`.  ValueError for other than 4
    labels or hidden states.
    """
    check("labels", task.labels == SYSTEMS, f"{SYSTEMS}, so that every label is used", task.labels)
    few = max(traces // 2, 1)

    def drawn(systems: int, needle: int, traces: int) -> Prompts:
        return needle_prompts(task, systems, haystacks=haystacks, traces=traces, needle=needle, seed=SEED)

    return {
        "conflict": apply("misdirected", drawn(SYSTEMS, 0, traces), task),
        "unseen": apply("unseen-label", drawn(2, 0, few), task),
        **{str(lag): drawn(SYSTEMS, SYSTEMS - lag, few) for lag in LAGS},
    }


def of_model(predict: Predict, task: TaskConfig, prompts: dict[str, Prompts]) -> dict[str, pd.DataFrame]:
    """The three tables over training of one model, from `prompts_of` its task:

    ways         k; label, observed, recent, other: weights; explained: R^2 of that regression;
                 nearest_label, …: shares of prompts
    ways_lags    lag; score of 1-after-query; named, nearest: weights at k = 1 of the system that the label names and
                 of the one just before; to_named, to_nearest: shares of prompts whose prediction is nearest to them
                 in angle
    ways_unseen  k; observed, other: weights; explained
    """
    conflict, unseen = prompts["conflict"], prompts["unseen"]
    said, segments = predict(conflict.inputs), list(ROLES.values())
    weights, explained = pointed(said, conflict)
    nearest = identified(said, conflict)
    ways = _by_k(weights[:, segments], explained, ROLES)
    ways |= _columns(nearest[:, segments], [f"nearest_{role}" for role in ROLES])
    lags = [_at_lag(predict, task, prompts[str(lag)], lag) for lag in LAGS]
    new = _by_k(*pointed(predict(unseen.inputs), unseen), ("observed", "other"))
    return dict(zip(OVER_TRAINING, map(pd.DataFrame, (ways, lags, new))))


def _columns(values: Tensor, names) -> dict[str, list[float]]:
    """A column per name of values [K, names], for the first KS."""
    return dict(zip(names, values[: len(KS)].T.tolist()))


def _by_k(weights: Tensor, explained: Tensor, names) -> dict[str, list[float]]:
    return dict(k=KS) | _columns(weights, names) | dict(explained=explained[: len(KS)].tolist())


def _at_lag(predict: Predict, task: TaskConfig, prompts: Prompts, lag: int) -> dict[str, float]:
    said = predict(prompts.inputs)
    weight, to = pointing(said, prompts)[0].tolist(), identified(said, prompts)[0].tolist()
    score = first_score(said, prompts, task)
    return dict(lag=lag, score=score, named=weight[-lag], nearest=weight[-1], to_named=to[-lag], to_nearest=to[-1])


def identified(predictions: Tensor, prompts: Prompts) -> Tensor:
    """[K, N] share of prompts whose prediction is nearest in angle to each candidate's next state, for k = 1..K."""
    would = next_states(prompts)  # [B, K, N, n]
    said = predictions[:, prompts.query_row :, None].double()  # [B, K, 1, n]
    nearest = torch.cosine_similarity(would, said, dim=-1).argmax(-1)  # [B, K]
    return torch.nn.functional.one_hot(nearest, prompts.count).double().mean(0)


def histogram(predictions: Tensor, prompts: Prompts) -> pd.DataFrame:
    """Mixture or either/or: each conflict prompt's own share of the label's system, against the observed one, at k = 2.

    Least squares with n equations and 2 unknowns, the maps of both applied to the state just observed; share =
    label's weight / both.  Prompts whose two candidates are nearly parallel (PARALLEL) are left out, as are
    predictions that follow neither (FAINT).  Columns bin (middle of the share's bin, outer ones open), traces (share
    of the prompts used), mixture: what a model would show that gives every prompt the weights of the pooled
    regression, with the model's own residuals, each taken from another prompt."""
    would = next_states(prompts)[:, 1][:, [ROLES["label"], ROLES["observed"]]].transpose(1, 2)  # [B, n, 2]
    said = predictions[:, prompts.query_row + 1].double().unsqueeze(-1)  # [B, n, 1]
    apart = torch.cosine_similarity(would[..., 0], would[..., 1], dim=-1).abs() <= PARALLEL
    would, said = would[apart], said[apart]
    mixed = would @ torch.linalg.lstsq(would.reshape(-1, 2), said.reshape(-1, 1)).solution
    shuffled = mixed + (said - mixed).roll(prompts.shape[1] + 1, 0)  # of another haystack
    columns = dict(bin=(BINS[:-1] + BINS[1:]) / 2)
    for name, answer in (("traces", said), ("mixture", shuffled)):
        weight = torch.linalg.lstsq(would, answer).solution.squeeze(-1)  # [B, 2]
        total = weight.sum(-1)
        part = (weight[:, 0] / total)[total >= FAINT].clamp(BINS[0], BINS[-1]).numpy()
        columns[name] = np.histogram(part, BINS)[0] / max(len(part), 1)
    return pd.DataFrame(columns)


def starts(run: Run) -> pd.DataFrame:
    """Dates from a run's history, in examples (nan: never), by the usual rule with its running median of three
    evaluations.  One row:

    near   N = 2, lag 1: on misdirected prompts, whose label names the segment just before, its weight at k = 1
           reaches 1/2.  Of predictions w u the score is 1 - 2 (1 - w)^2, 1/2 as well at w = 1/2; errors off that
           line make `far` the stricter of the two, in every setting alike.
    far    N = 2, lag 2: emergence of 1-after-query, farthest needle
    fit    regression inside the first segment, which all four ways begin with: error at n + 2 after the initial
           label below 1/2
    end    of training
    """
    near = curve(run.history, 1, 2, "misdirected")
    fit = curve(run.history, run.config["task"]["dimension"] + 2, 2, event="initial")
    found = dict(
        near=emergence(near.assign(score=near.weight_label_state)).date,
        far=emergence(curve(run.history, 1, 2)).date,
        fit=emergence(fit, "mean").date,
        end=float(run.history.examples.max()),
    )
    return pd.DataFrame([found])


# --- asking all of them


def of_run(run: Run, prompts: dict[str, Prompts] | None = None) -> dict[str, pd.DataFrame]:
    """All five tables of a run, over the checkpoints that it has: the untrained model's and those from step
    EARLIEST on; the histogram of the last.

    Without checkpoints these are the rows of its published weights.  ValueError where there are no weights at all.
    """
    config, key = from_json(run.config), run_key(run)
    prompts = prompts or prompts_of(config.task)
    steps = [step for step in run.steps if step == 0 or step >= EARLIEST]
    if not steps:
        raise ValueError(f"run must have weights: {run.name} has none")
    found = []
    for step in steps:
        model = build_model(config, run.weights(step))
        cell = key | dict(examples=step * config.training.batch_size)
        found.append(_placed(of_model(model.predict, config.task, prompts), cell))
    last = histogram(model.predict(prompts["conflict"].inputs), prompts["conflict"])
    found.append(_placed(dict(ways_histogram=last, ways_starts=starts(run)), key))
    return _joined(found)


def exact(task: TaskConfig, haystacks: int = 16, traces: int = 32) -> dict[str, pd.DataFrame]:
    """The tables over training of the four ways' own predictors, and `ways_unseen` of Bayes: without label errors a
    conflict prompt has probability 0.
    """
    prompts, found = prompts_of(task, haystacks, traces), []
    for way, make in (WAYS | {"bayes": Bayes}).items():
        asked = of_model(make(task).predict, task, prompts)
        asked = {name: asked[name] for name in asked if way != "bayes" or name == "ways_unseen"}
        found.append(_placed(asked, dict(dimension=task.dimension, setting=way, seed=NO_SEED, examples=0)))
    return _joined(found)


def _placed(tables: dict[str, pd.DataFrame], cell: dict) -> dict[str, pd.DataFrame]:
    """Rounded, behind the columns of their cell."""
    return {name: table.round(3).assign(**cell)[[*cell, *table.columns]] for name, table in tables.items()}


def _joined(found: list[dict[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    names = [name for name in TABLES if any(name in each for each in found)]
    return {name: pd.concat([each[name] for each in found if name in each], ignore_index=True) for name in names}


def survey(chosen: list[Run]) -> dict[str, pd.DataFrame]:
    """`of_run` of every run and `exact` of every dimension among them, sorted."""
    found, prompts = [], {}
    for run in chosen:
        task = compact_task(run)
        if task not in prompts:
            prompts[task] = prompts_of(task)
        found.append(of_run(run, prompts[task] if run.config["task"]["family"] == task.family else None))
    tables = _joined(found + [exact(task) for task in prompts])
    order = ["setting", "dimension", "seed"]
    return {name: table.sort_values(order, kind="stable", ignore_index=True) for name, table in tables.items()}


# --- when


def read() -> dict[str, pd.DataFrame]:
    """The committed tables."""
    return {name: data.table(name) for name in TABLES}


def trained(table: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """Rows of the models of one setting, in order of training."""
    order = [name for name in CELL if name in table]
    return table[(table.seed != NO_SEED) & (table.setting == setting)].sort_values(order, kind="stable")


def finished(table: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """Of `ways` or `ways_unseen`: the last checkpoint's row of each run and k."""
    return trained(table, setting).groupby([*RUN, "k"]).last().reset_index()


def quantities(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What each way is dated by, a row per model (exact predictors too) and checkpoint: CELL, and a column per way."""
    at = lambda name, key, value: tables[name][tables[name][key] == value].set_index(CELL)
    first, second = at("ways", "k", 1), at("ways", "k", 2)
    near, far = at("ways_lags", "lag", 1), at("ways_lags", "lag", SYSTEMS)
    found = {
        "pool": second[list(ROLES)].min(axis=1),
        "carry on": near.named - far.named,
        "match": second.observed - second[["label", "recent", "other"]].max(axis=1),
        "look up": first.label,
    }
    return pd.DataFrame(found).dropna().reset_index()


def thresholds(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Of each way by dimension, from `quantities` with the exact predictors among its rows."""
    pools = table[(table.seed == NO_SEED) & (table.setting == "pool")].set_index("dimension")["pool"]
    return {n: dict.fromkeys(WAYS, THRESHOLD) | {"pool": level / 2} for n, level in pools.items()}


def first_showing(examples, values, threshold: float) -> Emergence:
    """The first checkpoint whose value is at least the threshold, whatever follows, dated as in
    `evaluation.emergence`.
    """
    rows = pd.DataFrame(dict(examples=np.asarray(examples, float), score=np.asarray(values, float)))
    shown = np.flatnonzero(rows.score >= threshold)
    until = rows[: shown[0] + 1] if len(shown) else rows
    return replace(emergence(until, threshold=threshold, window=1), examples=rows.examples.iloc[-1])


def _dated(found: Emergence) -> dict[str, float]:
    return dict(after=found.after, date=found.date, by=found.by)


def showings(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """A row per run and way: RUN, way, after, date, by (nan: never), end, kept (still shown at the end), most
    (largest value).
    """
    table, rows = quantities(tables), []
    levels = thresholds(table)
    for key, run in trained(table, setting).groupby(RUN):
        for way, level in levels[key[0]].items():
            found = first_showing(run.examples, run[way], level)
            seen = dict(end=found.examples, kept=bool(run[way].iloc[-1] >= level), most=run[way].max())
            rows.append(dict(zip(RUN, key), way=way, **_dated(found), **seen))
    return pd.DataFrame(rows)


def lag_dates(lags: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """Emergence of 1-after-query by lag, a row per run: RUN, end, and `lag 1` … `lag 4`, their dates (nan: never;
    window 1).
    """
    rows = []
    for key, run in trained(lags, setting).groupby(RUN):
        dates = {f"lag {lag}": emergence(one, window=1).date for lag, one in run.groupby("lag")}
        rows.append(dict(zip(RUN, key), end=run.examples.max(), **dates))
    return pd.DataFrame(rows)


def says(ways: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """When the label's weight on conflict prompts first reaches SAY, a row per run and k: RUN, k, after, date, by
    (nan: never).
    """
    rows = []
    for (*key, k), run in trained(ways, setting).groupby([*RUN, "k"]):
        rows.append(dict(zip(RUN, key), k=k, **_dated(first_showing(run.examples, run.label, SAY))))
    return pd.DataFrame(rows)


# --- at the end


def kinds(ways: pd.DataFrame, setting: str = "fast-1") -> pd.Series:
    """Whom each finished model follows at k = 2 on conflict prompts, by RUN: `no look-up` where the label does not
    rule k = 1, else by the label's share of label and observed together, with the bounds of `measures.kind`.
    """
    last = finished(ways, setting)
    first, second = (last[last.k == k].set_index(RUN) for k in (1, 2))
    index = second.label / (second.label + second.observed)
    return pd.Series(kind_of(first.label.reindex(index.index), index), index.index, name="kind")


def collapses(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """Matching under an unseen label at k = 2, a row per run: RUN, kind, peak (largest weight of the observed
    system), last, gap (last less that of Bayes), fell (date from which the weight stays below 1/2, of runs that had
    been above; nan else), looked up (date of look-up by `showings`), lag 1 (by `lag_dates`).
    """
    table = tables["ways_unseen"][tables["ways_unseen"].k == 2]
    bayes = table[(table.seed == NO_SEED) & (table.setting == "bayes")].set_index("dimension").observed
    kind = kinds(tables["ways"], setting)
    asked = showings(tables, setting).query("way == 'look up'").set_index(RUN).date
    near = lag_dates(tables["ways_lags"], setting).set_index(RUN)["lag 1"]
    rows = []
    for key, run in trained(table, setting).groupby(RUN):
        run = run.reset_index(drop=True)
        peak, last, fell = run.observed.max(), run.observed.iloc[-1], math.nan
        if peak >= THRESHOLD:
            fell = emergence(run[run.observed.idxmax() :], "observed", THRESHOLD, window=1).date
        weight = dict(peak=peak, last=last, gap=last - bayes[key[0]], fell=fell)
        rows.append(dict(zip(RUN, key), kind=kind[key], **weight, **{"looked up": asked[key], "lag 1": near[key]}))
    return pd.DataFrame(rows)


def middle(table: pd.DataFrame) -> pd.DataFrame:
    """By run: share of conflict prompts that the label's share puts between 1/4 and 3/4, of the model and of a
    constant mixture.  table: `ways_histogram`.
    """
    inside = table[(table.bin > 0.25) & (table.bin < 0.75)]
    return inside.groupby(RUN)[["traces", "mixture"]].sum().reset_index()


# --- what the figures of the page draw


def curves(tables: dict[str, pd.DataFrame], settings: list[str]) -> pd.DataFrame:
    """Weights on conflict prompts of the models of these settings, examples in thousands, without the untrained
    model.
    """
    return _over_training(tables["ways"], settings, ["k", *ROLES])


def lag_curves(tables: dict[str, pd.DataFrame], settings: list[str]) -> pd.DataFrame:
    """1-after-query by lag, likewise."""
    return _over_training(tables["ways_lags"], settings, ["lag", "score"])


def _over_training(table: pd.DataFrame, settings: list[str], columns: list[str]) -> pd.DataFrame:
    table = table[(table.seed != NO_SEED) & table.setting.isin(settings) & (table.examples > 0)]
    return table[[*CELL, *columns]].assign(examples=table.examples / 1000).round(3)


def shares(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """`ways_histogram` of one setting with each model's name and kind: model, bin, traces, mixture."""
    table, kind = trained(tables["ways_histogram"], setting), kinds(tables["ways"], setting)
    name = [f"n = {n}, seed {seed}: {kind[n, setting, seed]}" for n, seed in zip(table.dimension, table.seed)]
    return table.assign(model=name)[["model", "bin", "traces", "mixture"]]
