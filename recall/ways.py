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

Two more tables.  *Lag*: plain prompts of 4 systems, needle at every distance; lag 1 is the nearest.  *Unseen label*: N = 2, the farthest needle goes on under a label
that the prompt does not hold.  With the generator's labels a new label means a new system, so that Bayes gives the observed system a weight of 0 at k = 2.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recall import runs
from recall.bayes import Bayes
from recall.claims import LEAST, MARGIN, above, equivalent, share
from recall.dissect import interval
from recall.evaluation import THRESHOLD, Emergence, Predict, emergence, event_errors, identification_score, next_states, pointed, pointing
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
TABLES = ("ways", "ways_lags", "ways_unseen", "ways_histogram")
BINS = np.linspace(-0.05, 1.05, 12)  # of the label's share: eleven, the outer ones open
PARALLEL = 0.8  # cosine beyond which two candidates are too alike to share out one prediction between them
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
    """All four tables of a run folder, over the checkpoints that it has: the untrained model's and those from step EARLIEST on; the histogram of the last.

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
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


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
