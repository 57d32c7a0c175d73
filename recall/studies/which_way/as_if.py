"""Answers as if by which rule?  How far finished models' answers are from those of exact predictors, and whether any
model beats Bayes.
"""

from __future__ import annotations

import pandas as pd
import torch

from recall import stats
from recall.interventions import apply, named_segment
from recall.measures import CELL, cell_of, kind
from recall.needle import needle_prompts
from recall.predictors import CarryOn, Match, Named, Pool
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way.bayes import EXACT, Bayes, gather, weigh
from recall.task import Task, TaskConfig, check
from recall.training import trained_model

# among which Bayes's label error and noise per coordinate are fitted
ERRORS, NOISES = (1e-30, 1e-12, 1e-6, 0.01, 0.1), (EXACT, 0.03, 0.1, 0.2, 0.3)
RULES = {"by label": Named, "by state": Match, "pool": Pool, "carry on": CarryOn}
# the label's system going on unseen, whatever is observed; the mean of `by label` and `by state`
COURSE, HALFWAY = "label's own course", "halfway"
FITTED, DEAF = "Bayes, fitted", "Bayes, deaf to labels"
SIMPLEST = (*RULES, COURSE, HALFWAY, DEAF, FITTED)  # of rules that answer alike the first is named
CONDITIONS = ("plain", "misdirected", "unseen-label")
FIT, SHOWN = 11, 12  # seeds of the prompts that Bayes is fitted on and of those that distances are taken on
FRESH = 9_000  # seed of the fresh traces; no run has it


def _answers(task: TaskConfig, systems: int, haystacks: int, traces: int, seed: int):
    """Per condition: prompts, the rules' answers and Bayes's by (label error, noise), all [B, 3, n] for k = 1, 2, 3.

    Bayes here keeps the maps as they were when the segment opened, which a haystack determines: states that
    contradict a hypothesis weigh it down, but would wreck a map fitted to them, where its directions are ill
    determined."""
    for condition in CONDITIONS:
        prompts = apply(condition, needle_prompts(task, systems, haystacks=haystacks, traces=traces, seed=seed), task)
        rows = slice(prompts.query_row, prompts.query_row + 3)
        rules = {name: make(task).predict(prompts.inputs)[:, rows] for name, make in RULES.items()}
        named = (
            prompts.segments.system[:, named_segment(prompts)]
            if condition == "misdirected"
            else prompts.segments.system[:, -1]
        )
        resumed = int(prompts.segments.first[0, -1])
        if condition != "unseen-label":  # a label that nothing in the prompt has names no system
            rules[COURSE] = prompts.observations[named, resumed : resumed + 3]
        rules[HALFWAY] = (rules["by label"] + rules["by state"]) / 2
        bayes = {}
        for noise in NOISES:
            evidence = gather(prompts.inputs, task, noise)
            take = lambda weights: (weights.unsqueeze(-1) * evidence.unmoved).sum(-2)[:, rows].float()
            bayes |= {(error, noise): take(weigh(evidence, error)) for error in ERRORS}
            if noise == EXACT:
                rules[DEAF] = take(weigh(evidence, labels=False))
        yield condition, prompts, rows, rules, bayes


def distances(runs: list[Run], systems: int = 2, haystacks: int = 16, traces: int = 8) -> pd.DataFrame:
    """Mean squared distance of a model's answers to every rule's, by run, condition and k = 1, 2, 3.

    Columns of a cell (`measures.CELL`), kind (`measures.kind`), label_error and noise (of the fitted Bayes: the pair
    of ERRORS x NOISES nearest to the model over all conditions and k, on prompts of another seed), condition, k,
    rule, distance.  Prompts have norms of all lengths."""
    rows, cache = [], {}
    for run in runs:
        task = TaskConfig.compact(run.config["task"]["dimension"], run.config["task"]["labels"])
        if task not in cache:
            cache[task] = [list(_answers(task, systems, haystacks, traces, seed)) for seed in (FIT, SHOWN)]
        fit, shown = cache[task]
        predict = trained_model(run).predict
        total = dict.fromkeys(((e, s) for e in ERRORS for s in NOISES), 0.0)
        for _, prompts, at, _, bayes in fit:
            answer = predict(prompts.inputs)[:, at]
            for key, each in bayes.items():
                total[key] += (answer - each).square().sum(-1).mean().item()
        best = min(total, key=total.get)
        for condition, prompts, at, rules, bayes in shown:
            answer = predict(prompts.inputs)[:, at]
            for rule, each in {FITTED: bayes[best], **rules}.items():
                for k, value in enumerate((answer - each).square().sum(-1).mean(0).tolist(), start=1):
                    rows.append(
                        cell_of(run)
                        | dict(
                            kind=kind(run),
                            label_error=best[0],
                            noise=best[1],
                            condition=condition,
                            k=k,
                            rule=rule,
                            distance=value,
                        )
                    )
    return pd.DataFrame(rows)


def beaten(runs: list[Run], traces: int = 128) -> pd.DataFrame:
    """Mean squared error on fresh traces of each run's own training generator, less that of Bayes who knows it: a
    row per run.

    Columns of a cell, model, bayes, gap, low, high (95 % t interval over traces: the sampling of the traces, not of
    training). Only for generators with exact labels, exact states and Haar maps, of which `Bayes` is the posterior
    mean."""
    rows, known = [], {}
    for run in runs:
        task = from_json(run.config).task
        check(
            "run",
            not (task.label_error or task.state_noise or task.library),
            "one with exact labels, exact states and fresh systems",
            run.name,
        )
        if task not in known:
            batch = Task(task, seed=FRESH).sample_batch(0, traces)
            error = lambda predict, batch=batch: (
                ((predict(batch.inputs) - batch.targets).square().sum(-1) * batch.mask).sum(1) / batch.mask.sum(1)
            )
            known[task] = batch, error, error(Bayes(task).predict)
        batch, error, least = known[task]
        own = error(trained_model(run).predict)
        gap, low, high = stats.interval((own - least).tolist())
        rows.append(
            cell_of(run) | dict(model=own.mean().item(), bayes=least.mean().item(), gap=gap, low=low, high=high)
        )
    return pd.DataFrame(rows)


def shares(runs: list[Run], haystacks: int = 64, traces: int = 8) -> pd.DataFrame:
    """Of each prompt (misdirected, N = 2, k = 2) by itself, how far the answer is on the way from the observed
    system's next state to the label's.

    t = (answer - observed) . (label - observed) / |label - observed|^2, with label the label's map applied to the
    state observed. Columns of a cell, low, middle, high: share of prompts with t < 1/4, between, t > 3/4.  A mixture
    has few in the middle; an average many."""
    rows = []
    for run in runs:
        task = TaskConfig.compact(run.config["task"]["dimension"], run.config["task"]["labels"])
        prompts = apply("misdirected", needle_prompts(task, 2, haystacks=haystacks, traces=traces, seed=SHOWN), task)
        row = prompts.query_row + 1
        answer, observed = trained_model(run).predict(prompts.inputs)[:, row], prompts.targets[:, row]
        named = prompts.segments.system[:, named_segment(prompts)]
        label = (prompts.systems.A[named] @ prompts.targets[:, row - 1].unsqueeze(-1)).squeeze(-1)
        t = share_of(answer, observed, label)
        low, high = (t < 0.25).double().mean().item(), (t > 0.75).double().mean().item()
        rows.append(cell_of(run) | dict(kind=kind(run), low=low, middle=1 - low - high, high=high))
    return pd.DataFrame(rows)


def share_of(answer: torch.Tensor, observed: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """[B] 0 where the answer is at `observed`, 1 where it is at `label` (all [B, n]); linear in between."""
    way = label - observed
    return ((answer - observed) * way).sum(-1) / way.square().sum(-1).clamp(min=1e-12)


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """Mean distance over models by training, kind, condition, k and rule, a column per rule, and `nearest`: the rule
    with the least (more than one where they are within 1e-3).  models: how many.
    """
    keys = ["setting", "kind", "condition", "k"]
    wide = table.groupby([*keys, "rule"], sort=False).distance.mean().unstack("rule")
    best = wide.apply(lambda row: ", ".join(row.index[row <= row.min() + 1e-3]), axis=1)
    models = table.drop_duplicates([*CELL, "condition", "k"]).groupby(keys).size()
    return wide.assign(nearest=best, models=models).reset_index()


def plain_finals(runs: list[Run]) -> pd.DataFrame:
    """Plain errors at the end with each run's kind, for `losses`."""
    return pd.concat(
        [
            run.final.query("event == 'query' and condition == 'plain' and k <= 3 and systems > 1")
            .rename(columns={"mean": "error"})
            .assign(kind=kind(run), **cell_of(run))
            for run in runs
        ],
        ignore_index=True,
    )
