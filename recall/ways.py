"""Four ways to predict, and which of them a model uses when.

    pool       one regression over everything in the context, whoever made it        `predictors.Pool`
    carry on   the system of the segment before, whatever the label says             `predictors.CarryOn`
    match      the system that the states tell                                       `predictors.Match`
    look up    the system that the label names                                       `predictors.Named`

On an ordinary prompt several of them agree.  On a *conflict prompt* they do not: N = 4 systems, of which the farthest (segment 0) goes on
under the label of segment 1.  Every candidate then has a role of its own:

    label      segment 1, which the label names            recent     segment 3, on just before the query
    observed   segment 0, whose states are shown           other      segment 2, which nothing speaks for

Weight of a role: `evaluation.pointing`, least squares over all prompts of the predictions on what each candidate would do next, with no constraint:
weights of 0 say "I do not know".  Nearest: share of prompts whose prediction makes the smallest angle with that candidate's next state.

Definitions, written down before any of it was computed from a trained model.  A way *shows* at the first checkpoint at which its quantity is at
least its threshold; its date is interpolated as in `evaluation.emergence`, and it is *kept* if the last checkpoint passes as well:

    pool       2-after on conflict prompts: the smallest of the four weights is at least half of the exact Pool's own.
               Whoever knows which system is on gives the other three nothing.
    carry on   1-after on plain prompts, N = 4: the weight of the system that the label names is larger by 1/2 with the nearest needle (lag 1)
               than with the farthest (lag 4).  Then going on with the segment just before is there and reaching further back is not.
    match      2-after on conflict prompts: the observed system's weight is larger by 1/2 than any other.
               (At least 1/2, as for looking up, would be near what the exact Pool gives it, 0.45: the query's own states are large where its pairs are.)
    look up    1-after on conflict prompts: the label's system has a weight of at least 1/2.

The exact predictor of each way passes its own criterion and fails the three others (a test).  A model that averages maps which it knows apart from each
other would pass as pooling: the two differ in how they know, not in what they answer at k = 2.

The first showing, since a way can be given up: a model whose label comes to rule k = 2 no longer shows matching.  No running median here: checkpoints are
log-spaced, a factor 2^(1/4) apart, so that three of them span too much (`emergence` with window 1).  A way that never shows in a run counts as later than one
that does; two that show between the same two checkpoints are a tie.

Three more tables.  *Lag*: plain prompts of 4 systems, needle at every distance; lag 1 is the nearest.  *Unseen label*: N = 2, the farthest needle goes on under a label
that the prompt does not hold.  With the generator's labels a new label means a new system, so that Bayes gives the observed system a weight of 0 at k = 2.
*Starts*: dates from a run's own history, which every run has, with or without checkpoints.

Added after the first look at the numbers: *starts*, and at which k the label has its say first (SAY, `says`).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from recall import runs
from recall.bayes import Bayes
from recall.claims import LEAST, MARGIN, equivalent, share
from recall.dissect import interval
from recall.evaluation import THRESHOLD, Emergence, Predict, curve, emergence, event_errors, identification_score, next_states, pointed, pointing
from recall.interventions import apply
from recall.needle import Prompts, needle_prompts
from recall.predictors import CarryOn, Match, Named, Pool
from recall.runs import Run
from recall.settings import from_json
from recall.summary import LABEL_LED, OBSERVATION_LED, dates
from recall.task import TaskConfig, check
from recall.training import build_model

ROLES = {"label": 1, "observed": 0, "recent": 3, "other": 2}  # segment of a conflict prompt
SYSTEMS, LAGS, KS = 4, (1, 2, 3, 4), (1, 2, 3)
SEED = 6  # of the prompts; those of training, of the final tables and of the probes have others
EARLIEST = 64  # steps: earlier checkpoints are not asked, but for the untrained model
WAYS = {"pool": Pool, "carry on": CarryOn, "match": Match, "look up": Named}
CELL = ["dimension", "setting", "seed", "examples"]
EXACT = -1  # seed of the rows of exact predictors, whose `setting` is their name
TABLES = ("ways", "ways_lags", "ways_unseen", "ways_histogram", "ways_starts")
BINS = np.linspace(-0.05, 1.05, 12)  # of the label's share: eleven, the outer ones open
PARALLEL = 0.8  # cosine beyond which two candidates are too alike to share out one prediction between them
SAY = 0.25  # weight from which the label has a say: well above the 0.15 that it has at k = 2 while nothing tells the systems apart
FAINT = 0.1  # sum of weights below which a prediction follows neither


# --- what one model shows ---------------------------------------------------------------------------------------------


def prompts_of(task: TaskConfig, haystacks: int = 16, traces: int = 32) -> dict[str, Prompts]:
    """The prompts of all tables: `conflict`, lags 1 to 4 as `1` … `4`, and `unseen`.  ValueError for other than 4 labels or hidden states."""
    check("labels", task.labels == SYSTEMS, f"{SYSTEMS}, so that every label is used", task.labels)
    drawn = lambda systems, needle, many: needle_prompts(task, systems, haystacks=haystacks, traces=many, needle=needle, seed=SEED)
    few = max(traces // 2, 1)
    sets = {"conflict": apply("misdirected", drawn(SYSTEMS, 0, traces), task), "unseen": apply("unseen-label", drawn(2, 0, few), task)}
    return sets | {str(lag): drawn(SYSTEMS, SYSTEMS - lag, few) for lag in LAGS}


def of_model(predict: Predict, task: TaskConfig, prompts: dict[str, Prompts]) -> dict[str, pd.DataFrame]:
    """The three tables over training of one model:

    ways         k; label, observed, recent, other: weights; explained: R^2 of that regression; nearest_label, …: shares of prompts
    ways_lags    lag; score of 1-after-query; named, nearest: weights at k = 1 of the system that the label names and of the one just before;
                 to_named, to_nearest: shares of prompts whose prediction is nearest to them in angle
    ways_unseen  k; observed, other: weights; explained
    """
    conflict, unseen = prompts["conflict"], prompts["unseen"]
    said = predict(conflict.inputs)
    weights, explained = pointed(said, conflict)
    chosen = identified(said, conflict)
    ways = pd.DataFrame([dict(k=k, **{role: weights[k - 1, s].item() for role, s in ROLES.items()}, explained=explained[k - 1].item(),
                              **{f"nearest_{role}": chosen[k - 1, s].item() for role, s in ROLES.items()}) for k in KS])
    rows = []
    for lag in LAGS:
        each = prompts[str(lag)]
        said = predict(each.inputs)
        weight, to = pointing(said, each)[0], identified(said, each)[0]
        error = event_errors(said, each, task)["query"][0].double().mean().item()
        rows.append(dict(lag=lag, score=identification_score(error, task.family, SYSTEMS), named=weight[-lag].item(), nearest=weight[-1].item(),
                         to_named=to[-lag].item(), to_nearest=to[-1].item()))
    weights, explained = pointed(predict(unseen.inputs), unseen)
    new = pd.DataFrame([dict(k=k, observed=weights[k - 1, 0].item(), other=weights[k - 1, 1].item(), explained=explained[k - 1].item()) for k in KS])
    return {"ways": ways, "ways_lags": pd.DataFrame(rows), "ways_unseen": new}


def identified(predictions: Tensor, prompts: Prompts) -> Tensor:
    """[K, N] share of prompts whose prediction is nearest in angle to each candidate's next state, for k = 1..K."""
    would = next_states(prompts)  # [B, K, N, n]
    said = predictions[:, prompts.query_row :, None].double()  # [B, K, 1, n]
    nearest = torch.cosine_similarity(would, said, dim=-1).argmax(-1)  # [B, K]
    return torch.nn.functional.one_hot(nearest, prompts.count).double().mean(0)


def histogram(predictions: Tensor, prompts: Prompts) -> pd.DataFrame:
    """Mixture or either/or: each conflict prompt's own share of the label's system, against the observed one, at k = 2.

    Least squares with n equations and 2 unknowns, the maps of both applied to the state just observed; share = label's weight / both.
    Prompts whose two candidates are nearly parallel (PARALLEL) are left out, as are predictions that follow neither (FAINT).
    Columns bin (middle of the share's bin, outer ones open), traces (share of the prompts used), mixture: what a model would show that gives every prompt
    the weights of the pooled regression, with the model's own residuals, each taken from another prompt.
    """
    would = next_states(prompts)[:, 1][:, [ROLES["label"], ROLES["observed"]]].transpose(1, 2)  # [B, n, 2]
    said = predictions[:, prompts.query_row + 1].double().unsqueeze(-1)  # [B, n, 1]
    apart = torch.cosine_similarity(would[..., 0], would[..., 1], dim=-1).abs() <= PARALLEL
    would, said = would[apart], said[apart]
    pooled = torch.linalg.lstsq(would.reshape(-1, 2), said.reshape(-1, 1)).solution
    mixed = would @ pooled
    shuffled = mixed + (said - mixed).roll(prompts.shape[1] + 1, 0)  # of another haystack
    columns = {}
    for name, answer in (("traces", said), ("mixture", shuffled)):
        weight = torch.linalg.lstsq(would, answer).solution.squeeze(-1)  # [B, 2]
        total = weight.sum(-1)
        part = (weight[:, 0] / total)[total >= FAINT].clamp(BINS[0], BINS[-1]).numpy()
        columns[name] = np.histogram(part, BINS)[0] / max(len(part), 1)
    return pd.DataFrame(dict(bin=(BINS[:-1] + BINS[1:]) / 2, **columns))


# --- what the runs show -----------------------------------------------------------------------------------------------


def of_run(folder: Path, prompts: dict[str, Prompts] | None = None) -> dict[str, pd.DataFrame]:
    """All five tables of a run folder, over the checkpoints that it has: the untrained model's and those from step EARLIEST on; the histogram of the last.

    A folder without checkpoints gives the rows of its published weights.  ValueError where there are no weights at all.
    """
    run = runs.open_run(folder)
    config = from_json(run.config)
    prompts = prompts or prompts_of(config.task)
    steps = [step for step in run.steps if step == 0 or step >= EARLIEST]
    if not steps:
        raise ValueError(f"run must have weights: {run.name} has none")
    cell = dict(dimension=config.task.dimension, setting=config.setting, seed=config.seed)
    found = {name: [] for name in TABLES}
    for step in steps:
        model = build_model(config, run.weights(step))
        for name, table in of_model(model.predict, config.task, prompts).items():
            found[name].append(_placed(table, cell | dict(examples=step * config.training.batch_size)))
    found["ways_histogram"].append(_placed(histogram(model.predict(prompts["conflict"].inputs), prompts["conflict"]), cell))
    found["ways_starts"].append(_placed(starts(run), cell))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def starts(run: Run) -> pd.DataFrame:
    """Dates from a run's history, in examples (nan: never), by the usual rule with its running median of three evaluations.  One row:

    near   N = 2, lag 1: on misdirected prompts, whose label names the segment just before, its weight at k = 1 reaches 1/2.  Of predictions w u the score is
           1 - 2 (1 - w)^2, 1/2 as well at w = 1/2; errors off that line make `far` the stricter of the two, in every setting alike.
    far    N = 2, lag 2: emergence of 1-after-query, farthest needle
    fit    regression inside the first segment, which all four ways begin with: error at n + 2 after the initial label below 1/2
    end    of training
    """
    near = curve(run.history, 1, 2, "misdirected")
    fit = curve(run.history, run.config["task"]["dimension"] + 2, 2, event="initial")
    return pd.DataFrame([dict(near=emergence(near.assign(score=near.weight_label_state)).date, far=emergence(curve(run.history, 1, 2)).date,
                              fit=emergence(fit, "mean").date, end=float(run.history.examples.max()))])


def exact(task: TaskConfig, haystacks: int = 16, traces: int = 32) -> dict[str, pd.DataFrame]:
    """The same rows of the four ways' own predictors and of Bayes, with seed -1 and their name as the setting."""
    prompts, found = prompts_of(task, haystacks, traces), {name: [] for name in TABLES[:3]}
    for way, make in (WAYS | {"bayes": Bayes}).items():
        for name, table in of_model(make(task).predict, task, prompts).items():
            if way != "bayes" or name == "ways_unseen":  # without label errors a conflict prompt has probability 0
                found[name].append(_placed(table, dict(dimension=task.dimension, setting=way, seed=EXACT, examples=0)))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def _placed(table: pd.DataFrame, cell: dict) -> pd.DataFrame:
    return table.round(3).assign(**cell)[[*cell, *table.columns]]


def survey(folders: list[Path]) -> dict[str, pd.DataFrame]:
    """`of_run` of every folder and `exact` of every dimension among them, sorted."""
    found, tasks = [], {}
    for folder in folders:
        config = from_json(runs.open_run(folder).config)
        task = TaskConfig.compact(config.task.dimension, config.task.labels)
        tasks.setdefault(task.dimension, (task, prompts_of(task)))
        found.append(of_run(folder, tasks[task.dimension][1] if config.task.family == task.family else None))
    found += [exact(task) for task, _ in tasks.values()]
    return {name: pd.concat([each[name] for each in found if name in each], ignore_index=True).sort_values(
        ["setting", "dimension", "seed"], kind="stable").reset_index(drop=True) for name in TABLES}


# --- when ---------------------------------------------------------------------------------------------------------------

RUN = CELL[:3]


def read() -> dict[str, pd.DataFrame]:
    """The committed tables."""
    return {name: runs.table(name) for name in TABLES}


def trained(table: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """Rows of the models of one setting, in order of training."""
    return table[(table.seed != EXACT) & (table.setting == setting)].sort_values(CELL, kind="stable")


def quantities(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What each way is dated by, a row per model (exact predictors too) and checkpoint: CELL, and a column per way."""
    at = lambda name, key, value: tables[name][tables[name][key] == value].set_index(CELL)
    first, second = at("ways", "k", 1), at("ways", "k", 2)
    near, far = at("ways_lags", "lag", 1), at("ways_lags", "lag", SYSTEMS)
    rest = second[["label", "recent", "other"]].max(axis=1)
    found = pd.DataFrame({"pool": second[list(ROLES)].min(axis=1), "carry on": near.named - far.named, "match": second.observed - rest, "look up": first.label})
    return found.dropna().reset_index()


def thresholds(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Of each way by dimension, from `quantities` with the exact predictors among its rows."""
    pools = table[(table.seed == EXACT) & (table.setting == "pool")].set_index("dimension")["pool"]
    return {n: {"pool": level / 2, "carry on": THRESHOLD, "match": THRESHOLD, "look up": THRESHOLD} for n, level in pools.items()}


def first_showing(examples, values, threshold: float) -> Emergence:
    """The first checkpoint whose value is at least the threshold, whatever follows, dated as in `evaluation.emergence`."""
    examples, values = np.asarray(examples, float), np.asarray(values, float)
    good = np.flatnonzero(values >= threshold)
    if not len(good):
        return Emergence(math.nan, math.nan, math.nan, examples[-1])
    rows = pd.DataFrame(dict(examples=examples, score=values))[: good[0] + 1]
    found = emergence(rows, threshold=threshold, window=1)
    return Emergence(found.after, found.date, found.by, examples[-1])


def showings(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """A row per run and way: RUN, way, after, date, by (nan: never), end, kept (still shown at the end), most (largest value)."""
    table, rows = quantities(tables), []
    levels = thresholds(table)
    for key, run in trained(table, setting).groupby(RUN):
        for way in WAYS:
            level = levels[key[0]][way]
            found = first_showing(run.examples, run[way], level)
            rows.append(dict(zip(RUN, key), way=way, after=found.after, date=found.date, by=found.by, end=found.examples,
                             kept=bool(run[way].iloc[-1] >= level), most=run[way].max()))
    return pd.DataFrame(rows)


def lag_dates(lags: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """Emergence of 1-after-query by lag, a row per run: RUN, end, and `lag 1` … `lag 4`, their dates (nan: never; window 1)."""
    rows = []
    for key, run in trained(lags, setting).groupby(RUN):
        dates = {f"lag {lag}": emergence(one, window=1).date for lag, one in run.groupby("lag")}
        rows.append(dict(zip(RUN, key), end=run.examples.max(), **dates))
    return pd.DataFrame(rows)


def says(ways: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """When the label's weight on conflict prompts first reaches SAY, a row per run and k: RUN, k, after, date, by (nan: never)."""
    rows = []
    for (*key, k), run in trained(ways, setting).groupby([*RUN, "k"]):
        found = first_showing(run.examples, run.label, SAY)
        rows.append(dict(zip(RUN, key), k=k, after=found.after, date=found.date, by=found.by))
    return pd.DataFrame(rows)


def kinds(ways: pd.DataFrame, setting: str = "fast-1") -> pd.Series:
    """Whom each finished model follows at k = 2 on conflict prompts, by RUN: `no look-up` where the label does not rule k = 1, else by the label's share
    of label and observed together, with the bounds of `summary.kind`."""
    last = trained(ways, setting).groupby([*RUN, "k"]).last().reset_index()
    first, second = (last[last.k == k].set_index(RUN) for k in (1, 2))
    index = second.label / (second.label + second.observed)
    kind = np.select([first.label.reindex(index.index) < THRESHOLD, index > LABEL_LED, index < OBSERVATION_LED], ["no look-up", "label-led", "observation-led"], "between")
    return pd.Series(kind, index.index, name="kind")


def collapses(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """Matching under an unseen label at k = 2, a row per run: RUN, kind, peak (largest weight of the observed system), last, gap (last less that of Bayes),
    fell (date from which the weight stays below 1/2, of runs that had been above; nan else), looked up (date of look-up by `showings`), lag 1 (by `lag_dates`)."""
    table = tables["ways_unseen"][tables["ways_unseen"].k == 2]
    bayes = table[(table.seed == EXACT) & (table.setting == "bayes")].set_index("dimension").observed
    asked = showings(tables, setting).query("way == 'look up'").set_index(RUN).date
    kind, rows, near = kinds(tables["ways"], setting), [], lag_dates(tables["ways_lags"], setting).set_index(RUN)["lag 1"]
    for key, run in trained(table, setting).groupby(RUN):
        run = run.reset_index(drop=True)
        peak, last = run.observed.max(), run.observed.iloc[-1]
        fell = emergence(run[run.observed.idxmax() :], "observed", THRESHOLD, window=1).date if peak >= THRESHOLD else math.nan
        rows.append(dict(zip(RUN, key), kind=kind[key], peak=peak, last=last, gap=last - bayes[key[0]], fell=fell, **{"looked up": asked[key], "lag 1": near[key]}))
    return pd.DataFrame(rows)


def curves(tables: dict[str, pd.DataFrame], settings: list[str]) -> pd.DataFrame:
    """For the page's figure: weights on conflict prompts of the models of these settings, examples in thousands, without the untrained model."""
    table = tables["ways"]
    table = table[(table.seed != EXACT) & table.setting.isin(settings) & (table.examples > 0)]
    return table[[*CELL, "k", *ROLES]].assign(examples=table.examples / 1000).round(3)


def lag_curves(tables: dict[str, pd.DataFrame], settings: list[str]) -> pd.DataFrame:
    """For the page's figure: 1-after-query by lag, likewise."""
    table = tables["ways_lags"]
    table = table[(table.seed != EXACT) & table.setting.isin(settings) & (table.examples > 0)]
    return table[[*CELL, "lag", "score"]].assign(examples=table.examples / 1000).round(3)


def shares(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> pd.DataFrame:
    """For the page's figure: `ways_histogram` of one setting with each model's name and kind."""
    table, kind = trained_runs(tables["ways_histogram"], setting), kinds(tables["ways"], setting)
    name = [f"n = {n}, seed {seed}: {kind[n, setting, seed]}" for n, seed in zip(table.dimension, table.seed)]
    return table.assign(model=name)[["model", "bin", "traces", "mixture"]]


# --- in words -----------------------------------------------------------------------------------------------------------


def _mean(values, digits: int = 2, sign: str = "") -> str:
    """Mean with its 95 % t interval over seeds; points where there are fewer than LEAST."""
    values = [value for value in values if not math.isnan(value)]
    if len(values) < LEAST:
        return " / ".join(f"{value:{sign}.{digits}f}" for value in sorted(values)) if len(values) <= 3 else f"{min(values):{sign}.{digits}f} to {max(values):{sign}.{digits}f}"
    mean, low, high = interval(values)
    return f"{mean:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def _thousand(value: float) -> str:
    return f"{value / 1000:,.0f}" if math.isfinite(value) else "never"


def _before(a: pd.DataFrame, b: pd.DataFrame) -> pd.Series:
    """By run: `before` where a showed first, `after`, `tie` between the same two checkpoints, `neither`.  a, b: rows of `showings`, indexed alike."""
    early, late = a.by.fillna(math.inf) <= b.after.fillna(math.inf), b.by.fillna(math.inf) <= a.after.fillna(math.inf)
    return pd.Series(np.select([a.date.isna() & b.date.isna(), early, late], ["neither", "before", "after"], "tie"), a.index)


PAIRS = (("pool", "match"), ("carry on", "look up"), ("match", "carry on"), ("match", "look up"))


def dated(found: pd.DataFrame) -> pd.DataFrame:
    """For the page: a line per dimension and way.  found: `showings`.  A run in which a way never shows counts as later than any."""
    rows = []
    for (n, way), group in found.groupby(["dimension", "way"], sort=False):
        date = group.date.fillna(math.inf)
        shown = group.date.notna()
        rows.append({"way": way, "n": n, "shows in": f"{shown.sum()} of {len(group)}", "thousand examples, median": _thousand(date.median()),
                     "earliest": _thousand(date.min()), "latest": _thousand(date.max()), "kept to the end": f"{(group.kept & shown).sum()} of {shown.sum()}" if shown.any() else "–",
                     "largest value": f"{group.most.min():.2f} to {group.most.max():.2f}"})
    return pd.DataFrame(rows)


def order(found: pd.DataFrame, starts: pd.DataFrame | None = None) -> str:
    """In what order the ways show, with a sign test over seeds for each pair and dimension.  found: `showings`; starts: `ways_starts`."""
    lines = []
    for n, group in found.groupby("dimension"):
        way = {name: each.set_index("seed") for name, each in group.groupby("way")}
        middle = {name: each.date.fillna(math.inf).median() for name, each in way.items()}
        never = [name for name in WAYS if way[name].date.isna().all()]
        there = sorted((name for name in WAYS if math.isfinite(middle[name])), key=lambda name: middle[name])
        few = [f"*{name}* in {way[name].date.notna().sum()}" for name in WAYS if name not in never and name not in there]
        parts = []
        for a, b in PAIRS:
            if a in never or b in never:
                continue
            said = _before(way[a], way[b])
            count, result = (said == "before").sum(), share((said == "before").tolist())
            tail = "" if math.isnan(result.p) else f" (one-sided sign test p = {result.p:.3f})"
            ties = f", between the same two checkpoints in {(said == 'tie').sum()}" if (said == "tie").any() else ""
            parts.append(f"*{a}* before *{b}* in {count} of {len(said)} seeds{tail}{ties}")
        lines.append(f"* **n = {n}**: " + ("by their median dates " + " → ".join(f"*{name}*" for name in there) + ". " if there else "")
                     + (f"Shown by half of the {len(group.seed.unique())} seeds or fewer: " + ", ".join(few) + ". " if few else "")
                     + ("; ".join(parts) + ". " if parts else "") + _fitted(n, group, way["match"], starts)
                     + (f"Never seen in any of {len(group.seed.unique())} seeds: " + ", ".join(f"*{name}* (largest value {way[name].most.max():.2f})" for name in never) + "." if never else ""))
    whole = found.groupby(["dimension", "seed"]).date.apply(lambda date: date.notna().all())
    return (f"All four ways show in {whole.sum()} of {len(whole)} runs.\n\n") + "\n".join(lines)


def _fitted(n, group, match, starts):
    """Regression inside a segment, before or after matching."""
    if starts is None:
        return ""
    fit = starts[(starts.dimension == n) & (starts.setting == group.setting.iloc[0])].set_index("seed").fit
    first = (fit.reindex(match.index).fillna(math.inf) < match.date.fillna(math.inf)).sum()
    return f"Regression inside the first segment, which all of them begin with, is there from {_thousand(fit.fillna(math.inf).median())} thousand examples on (median), before *match* shows in {first} of {len(match)} seeds. "


def ends(ways: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """For the page: the finished models on conflict prompts, a line per dimension and k: weights, what they explain, and to whom single answers are nearest."""
    last = trained(ways, setting).groupby([*RUN, "k"]).last().reset_index()
    return pd.DataFrame([{"n": n, "k": k, **{f"{role}, weight": _mean(group[role]) for role in ROLES}, "explained": _mean(group.explained),
                          "nearest to label / observed / recent / other": " / ".join(f"{group[f'nearest_{role}'].mean():.2f}" for role in ROLES)}
                         for (n, k), group in last.groupby(["dimension", "k"])])


def carried(ways: pd.DataFrame, setting: str = "fast-1") -> str:
    """Does a model ever carry on whatever the label says?  Weight of the most recent system at k = 1 under a label that names another."""
    lines = []
    for n, group in trained(ways[ways.k == 1], setting).groupby("dimension"):
        most, last = group.groupby("seed").recent.max(), group.groupby("seed").recent.last()
        above_half = int((most >= THRESHOLD).sum())
        said = ("at some time the models carry on whatever the label says" if above_half == len(most) else "no model carries on against a label that names another system"
                if not above_half else f"{above_half} of {len(most)} models carry on at some time against a label that names another system")
        lines.append(f"* **n = {n}**: {said}: the most recent system's weight is {_mean(most)} at its largest and {_mean(last)} at the end.")
    return "\n".join(lines)


def say(found: pd.DataFrame) -> str:
    """Is the label heard first at k = 1, where only it can tell, or at k = 2, where the states tell as well?  found: `says`."""
    lines = []
    for n, group in found.groupby("dimension"):
        first, second = (group[group.k == k].set_index("seed") for k in (1, 2))
        said = _before(second, first)
        counts = {name: int((said == name).sum()) for name in ("before", "after", "tie", "neither")}
        p = two_sided(counts["before"], counts["after"])
        more = "at k = 2 *before* k = 1" if counts["before"] > counts["after"] else "at k = 2 *after* k = 1"
        verdict = ("too few seeds for a verdict" if math.isnan(p) else f"the label has a say {more}" if p <= 0.05 else "no clear order")
        test = "" if math.isnan(p) else f" (two-sided sign test p = {p:.3f})"
        octaves = [value for value in np.log2(second.date / first.date) if not math.isnan(value)]
        rest = "".join(f", {words} in {counts[name]}" for name, words in (("tie", "between the same two checkpoints"), ("neither", "neither ever")) if counts[name])
        lines.append(f"* **n = {n}**: {verdict}: k = 2 before k = 1 in {counts['before']} of {len(said)} seeds, after it in {counts['after']}{rest}{test}"
                     + (f"; from k = 1 to k = 2 it takes {_mean(octaves, sign='+')} doublings of training in the {len(octaves)} with both." if octaves else "."))
    return "\n".join(lines)


def by_lag(lags: pd.DataFrame, setting: str = "fast-1") -> str:
    """Is the segment just before recalled earlier than the farthest?  And where do answers point, meanwhile, that should go one further back?"""
    table, lines = lag_dates(lags, setting), []
    for n, group in table.groupby("dimension"):
        near, far = group["lag 1"], group["lag 4"].fillna(group.end)
        octaves = (far / near).map(lambda ratio: math.log2(ratio) if ratio > 0 else math.nan).dropna()
        late = int((group["lag 4"].isna() & near.notna()).sum())
        mean, low, high = interval(octaves)
        verdict = ("too few seeds for a verdict" if len(octaves) < LEAST else "recall of the segment just before comes earlier" if low > 0
                   else "recall of the segment just before comes *later*" if high < 0 else "no clear difference")
        reached = ", ".join(f"lag {lag} in {group[f'lag {lag}'].notna().sum()}" for lag in LAGS)
        octave_words = f"{mean:.2f} ({low:.2f} to {high:.2f})" if len(octaves) >= LEAST else _mean(octaves)
        line = (f"* **n = {n}**: {verdict}. Of {len(group)} seeds 1-after-query emerged at {reached}; from lag 1 to lag 4 it took "
                f"{'at least ' * bool(late)}{octave_words} doublings of training{f' ({late} had not reached lag 4 by the end, which counts here as the date)' if late else ''}.")
        line += _pointed(lags[(lags.dimension == n)], group, setting)
        lines.append(line)
    return "\n".join(lines)


def _pointed(lags, dates, setting):
    """What answers to a label of lag 2 point to at the first checkpoint at which lag 1 has emerged, and at the end."""
    second = trained(lags[lags.lag == 2], setting)
    there = dates.dropna(subset=["lag 1"]).set_index("seed")["lag 1"]
    then = [second[(second.seed == seed) & (second.examples >= date)].iloc[0] for seed, date in there.items()]
    if not then:
        return ""
    last = second.groupby("seed").last()
    return (f" When lag 1 has just emerged, {_mean([row.to_nearest for row in then])} of the answers to a label that names lag 2 point at lag 1, {_mean([row.to_named for row in then])} where they should "
            f"(chance ¼); at the end {_mean(last.to_nearest)} and {_mean(last.to_named)}.")


def bigram(tables: dict[str, pd.DataFrame], cues: pd.DataFrame, finished: list[Run], dimension: int = 5) -> str:
    """Is recall at lag 1 only the bigram `)j (j`?  By what was declared in `recall.sweeps.cues`: then it is gone in models that were trained without repeats, and recall
    over a longer distance keeps its date.  cues: the table of that sweep; finished: the atlas's runs, for the dates of `fast-1`.

    Asked twice: of the finished models, and of the head start that lag 1 has over lag 2 while they train (`starts`)."""
    lines, last = [], {}
    for setting in ("fast-1", "balanced", "no-repeats"):
        table = trained(tables["ways_lags"][tables["ways_lags"].dimension == dimension], setting)
        if table.empty:
            continue
        last[setting] = table.groupby(["seed", "lag"]).score.last().unstack()
        know = last[setting][[2, 3, 4]].mean(axis=1) >= THRESHOLD
        lines.append(f"* **{setting}**, {len(know)} seeds, {know.sum()} of which recall at lags 2 to 4: final score at lag " + ", ".join(f"{lag}: {_mean(last[setting][lag][know])}" for lag in LAGS) + "."
                     if know.any() else f"* **{setting}**, {len(know)} seeds, none of which recalls at lags 2 to 4.")
        last[setting] = last[setting][know]
    head = {setting: _head(tables["ways_starts"], dimension, setting) for setting in ("fast-1", "no-repeats", "balanced")}
    words = [_at_the_end(last["no-repeats"])] if "no-repeats" in last else []
    words += [_ahead(head)] if len(head["no-repeats"]) else []
    lines += [f"* **{setting}**: lag 1 is ahead of lag 2 (N = 2) by {_mean(each, sign='+')} doublings of training, {len(each)} seeds." for setting, each in head.items() if len(each)]
    start = {run.config["seed"]: dates(run, SYSTEMS)["1-after"].date for run in finished
             if (run.config["setting"], run.config["task"]["dimension"], run.config["task"]["labels"]) == ("fast-1", dimension, SYSTEMS)}
    for setting in ("no-repeats", "balanced"):
        own = cues[(cues.setting == setting) & (cues.dimension == dimension)].set_index("seed")[f"1-after N={SYSTEMS}"]
        both = [seed for seed in own.index if seed in start]
        octaves = [math.log2(own[seed] / start[seed]) for seed in both if not (math.isnan(own[seed]) or math.isnan(start[seed]))]
        if both:
            _, low, high = interval(octaves)
            said = "" if len(octaves) < LEAST else ": *later*" if low > 0 else ": *earlier*" if high < 0 else ": no clear change"
            lines.append(f"* Farthest needle (N = {SYSTEMS}), **{setting}** against fast-1 by seed: 1-after-query emerged in {own.notna().sum()} of {len(own)} seeds (fast-1: {sum(not math.isnan(start[s]) for s in both)} of {len(both)}); "
                         + (f"in the {len(octaves)} pairs with both dates it took {_mean(octaves, sign='+')} doublings more{said}." if octaves else "no pair has both dates."))
    return "\n\n".join(words) + "\n\n" + "\n".join(lines)


def _head(starts: pd.DataFrame, dimension: int, setting: str) -> pd.Series:
    """Doublings of training from recall at lag 1 to recall at lag 2, by seed; a run without lag 2 has its end as a bound, one without lag 1 is left out."""
    own = starts[(starts.dimension == dimension) & (starts.setting == setting)].dropna(subset=["near"]).set_index("seed")
    return np.log2(own.far.fillna(own.end) / own.near)


def _at_the_end(alone: pd.DataFrame) -> str:
    """Of finished models trained without repeats that recall at all.  alone: score by seed and lag."""
    if len(alone) < LEAST:
        return f"**That recall at lag 1 is only the bigram** `)j (j`: *undecided*: {len(alone)} models trained without repeats recall at all, {LEAST} are needed."
    _, low, high = interval(alone[1])
    _, less, more = interval(alone[1] - alone[2])
    verdict = ("it *survives*: without repeats in training there is no recall at lag 1" if high < THRESHOLD else "*undecided*: the interval holds ½" if low < THRESHOLD
               else "it is *refuted* of finished models: those that never saw a system twice in a row recall at lag 1 all the same")
    compared = "below 0" if more < 0 else "above 0" if less > 0 else "not clearly different from 0"
    return f"**That recall at lag 1 is only the bigram** `)j (j`: {verdict} (score {_mean(alone[1])}; less that at lag 2 {_mean(alone[1] - alone[2], sign='+')}, which is {compared})."


def _ahead(head: dict[str, pd.Series]) -> str:
    """Of the head start: does it go with repeats in training?  Paired by seed."""
    less = (head["fast-1"] - head["no-repeats"]).dropna()
    if len(less) < LEAST:
        return f"**That its head start is**: *undecided*, {len(less)} pairs of seeds, {LEAST} are needed."
    _, low, high = interval(less)
    _, left, most = interval(head["no-repeats"])
    verdict = ("it *survives*: without repeats the head start is smaller" + (", and none is clearly left" if left <= 0 <= most else ", though some is left" if left > 0 else ", even reversed") if low > 0
               else "it is *refuted*: without repeats the head start is larger" if high < 0 else "*undecided*: no clear difference without repeats")
    return f"**That its head start is**: {verdict} (lag 1 ahead of lag 2 by {_mean(less, sign='+')} doublings more with repeats than without, paired by seed)."


def unseen(found: pd.DataFrame) -> str:
    """Does matching under an unseen label give way to what Bayes does?  found: `collapses`."""
    lines = []
    for n, group in found.groupby("dimension"):
        fell = group.dropna(subset=["fell"])
        above = int((group.peak >= THRESHOLD).sum())
        never = int(((group.peak >= THRESHOLD) & group.fell.isna()).sum())
        lines.append(f"* **n = {n}**: the observed system's weight at k = 2 rises to {_mean(group.peak)} and ends at {_mean(group['last'])}; {_verdict(equivalent(group.gap.tolist()))} "
                     f"It fell below ½ for good in {len(fell)} of the {above} seeds that had been above" + (f" ({never} had not by the end)." if never else ".") + _fall(group[group.peak >= THRESHOLD]))
        for kind, members in group.groupby("kind"):
            test = equivalent(members.gap.tolist())
            lines.append(f"    * {kind}, {len(members)} seed{'s' * (len(members) > 1)}: model less Bayes {_mean(members.gap, sign='+')}" + ("." if math.isnan(test.p) else f"; {_verdict(test)}"))
    return "\n".join(lines)


def two_sided(before: int, after: int) -> float:
    """p of a sign test without a direction declared beforehand, ties left out; nan for fewer than LEAST that can tell."""
    return stats.binomtest(before, before + after).pvalue if before + after >= LEAST else math.nan


def _fall(group: pd.DataFrame) -> str:
    """When the weight fell, against the dates of look-up and of recall at lag 1; what never came is later than what did.  group: rows of `collapses` that had been above 1/2."""
    fell, asked = group.fell.fillna(math.inf), group["looked up"].fillna(math.inf)
    before, after = int((fell < asked).sum()), int((fell > asked).sum())
    if not before + after:
        return ""
    p = two_sided(before, after)
    when = "too few seeds to tell whether the fall or look-up comes first" if math.isnan(p) else "no clear order of the fall and look-up" if p > 0.05 else f"the fall comes *{'before' if before > after else 'after'}* look-up"
    test = "" if math.isnan(p) else f", two-sided sign test p = {p:.3f}"
    octaves = [math.log2(row.fell / row.lag) for row in group.rename(columns={"lag 1": "lag"}).itertuples() if row.fell > 0 and row.lag > 0]
    return (f" Of the two dates: {when} (fall before look-up in {before} of {len(group)} seeds, after it in {after}{test})"
            + (f"; from the date of recall at lag 1 to the fall it takes {_mean(octaves, sign='+')} doublings of training." if octaves else "."))


def _verdict(result) -> str:
    if math.isnan(result.p):
        return f"{LEAST} seeds are needed for a test against Bayes."
    said = "*as Bayes*" if result.p <= 0.05 else "*not as Bayes*" if result.refuted else "*undecided*"
    return f"{said}: model less Bayes {result.estimate:+.2f}, 90 % interval {result.low:+.2f} to {result.high:+.2f}, margin ±{MARGIN}, p {'< 0.001' if result.p < 0.001 else f'= {result.p:.3f}'}."


def middle(table: pd.DataFrame) -> pd.DataFrame:
    """By run: share of conflict prompts that the label's share puts between 1/4 and 3/4, of the model and of a constant mixture.  table: `ways_histogram`."""
    inside = table[(table.bin > 0.25) & (table.bin < 0.75)]
    return inside.groupby(RUN)[["traces", "mixture"]].sum().reset_index()


def mixture(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> str:
    """A mixture within each answer, or either the one or the other by turns?  Asked where neither rules alone: a pooled share of the label from 1/4 to 3/4."""
    table = middle(trained_runs(tables["ways_histogram"], setting)).set_index(RUN)
    kind = kinds(tables["ways"], setting).reindex(table.index)
    lines = []
    for name, group in table.groupby(kind):
        less = group.traces - group.mixture
        line = f"* **{name}**, {len(group)} model{'s' * (len(group) > 1)}: {_mean(group.traces)} of the prompts have a label's share between ¼ and ¾; {_mean(group.mixture)} if every prompt had the same mixture."
        if name == "between":
            _, low, high = interval(less)
            line += (f" Difference {_mean(less, sign='+')}: " + ("too few models for a verdict." if len(group) < LEAST else "*either/or*: answers are purer than a mixture's." if high < 0
                                                                 else "*a mixture*: no purer than that." if low > -MARGIN else "*undecided*."))
        lines.append(line)
    return "\n".join(lines)


def trained_runs(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """As `trained`, of a table that has no checkpoints."""
    return table[(table.seed != EXACT) & (table.setting == setting)]
