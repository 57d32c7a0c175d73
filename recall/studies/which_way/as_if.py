"""Answers as if by which rule?  How far finished models' answers are from those of exact predictors, and whether any
model beats Bayes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from recall import stats
from recall.config import check
from recall.interventions import apply, named_segment
from recall.measures import CELL, cell_of, kind
from recall.needle import Prompts, needle_prompts
from recall.predictors import CarryOn, Match, Named, Pool
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way.asked import compact_task
from recall.studies.which_way.bayes import EXACT, Bayes, gather, weigh
from recall.task import Task, TaskConfig
from recall.training import trained_model

# among which Bayes's label error and noise per coordinate are fitted
ERRORS, NOISES = (1e-30, 1e-12, 1e-6, 0.01, 0.1), (EXACT, 0.03, 0.1, 0.2, 0.3)
RULES = {"by label": Named, "by state": Match, "pool": Pool, "carry on": CarryOn}
# the label's system going on unseen, whatever is observed; the mean of `by label` and `by state`
COURSE, HALFWAY = "label's own course", "halfway"
FITTED, DEAF = "Bayes, fitted", "Bayes, deaf to labels"
SIMPLEST = (*RULES, COURSE, HALFWAY, DEAF, FITTED)  # of rules that answer alike the first is named
CONDITIONS = ("plain", "misdirected", "unseen-label")
LAST_K = 3
FIT, SHOWN = 11, 12  # seeds of the prompts that Bayes is fitted on and of those that distances are taken on
FRESH = 9_000  # seed of the fresh traces; no run has it


@dataclass(frozen=True)
class Answers:
    """On the prompts of one condition: the answers [B, LAST_K, n] of every rule, and of Bayes by (label error,
    noise).
    """

    condition: str
    prompts: Prompts
    rules: dict[str, Tensor]
    bayes: dict[tuple[float, float], Tensor]


def of_query(predictions: Tensor, prompts: Prompts) -> Tensor:
    """[B, LAST_K, n] the predictions for k = 1..LAST_K after the query."""
    return predictions[:, prompts.query_row : prompts.query_row + LAST_K]


def answers(task: TaskConfig, systems: int, haystacks: int, traces: int, seed: int) -> Iterator[Answers]:
    """By condition.  Bayes here keeps the maps as they were when the segment opened, which a haystack determines:
    states that contradict a hypothesis weigh it down, but would wreck a map fitted to them, where its directions are
    ill determined.
    """
    for condition in CONDITIONS:
        prompts = apply(condition, needle_prompts(task, systems, haystacks=haystacks, traces=traces, seed=seed), task)
        rules = {name: of_query(make(task).predict(prompts.inputs), prompts) for name, make in RULES.items()}
        if condition != "unseen-label":  # a label that nothing in the prompt has names no system
            named = prompts.segments.system[:, named_segment(prompts) if condition == "misdirected" else -1]
            resumed = int(prompts.segments.first[0, -1])
            rules[COURSE] = prompts.observations[named, resumed : resumed + LAST_K]
        rules[HALFWAY] = (rules["by label"] + rules["by state"]) / 2
        bayes = {}
        for noise in NOISES:
            evidence = gather(prompts.inputs, task, noise)
            weights = {error: weigh(evidence, error) for error in ERRORS}
            weights[DEAF] = weigh(evidence, labels=False)
            for error, weight in weights.items():
                bayes[error, noise] = of_query((weight.unsqueeze(-1) * evidence.unmoved).sum(-2), prompts).float()
        rules[DEAF] = bayes[DEAF, EXACT]
        yield Answers(condition, prompts, rules, {key: each for key, each in bayes.items() if key[0] != DEAF})


def distances(runs: list[Run], systems: int = 2, haystacks: int = 16, traces: int = 8) -> pd.DataFrame:
    """Mean squared distance of a model's answers to every rule's, by run, condition and k = 1, 2, 3.

    Columns of a cell (`measures.CELL`), kind (`measures.kind`), label_error and noise (of the fitted Bayes: the pair
    of ERRORS x NOISES nearest to the model over all conditions and k, on prompts of another seed), condition, k,
    rule, distance.  Prompts have norms of all lengths."""
    rows, known = [], {}
    for run in runs:
        task = compact_task(run)
        if task not in known:
            known[task] = [list(answers(task, systems, haystacks, traces, seed)) for seed in (FIT, SHOWN)]
        fit, shown = known[task]
        predict = trained_model(run).predict
        error, noise = best = _fitted(predict, fit)
        of_run = cell_of(run) | dict(kind=kind(run), label_error=error, noise=noise)
        for each in shown:
            answer = of_query(predict(each.prompts.inputs), each.prompts)
            for rule, other in {FITTED: each.bayes[best], **each.rules}.items():
                for k, distance in enumerate((answer - other).square().sum(-1).mean(0).tolist(), start=1):
                    rows.append(of_run | dict(condition=each.condition, k=k, rule=rule, distance=distance))
    return pd.DataFrame(rows)


def _fitted(predict, fit: list[Answers]) -> tuple[float, float]:
    """Label error and noise of the Bayes that is nearest over all conditions and k."""
    total = dict.fromkeys(fit[0].bayes, 0.0)
    for each in fit:
        answer = of_query(predict(each.prompts.inputs), each.prompts)
        for key, other in each.bayes.items():
            total[key] += (answer - other).square().sum(-1).mean().item()
    return min(total, key=total.get)


def of_exact(runs: list[Run]) -> list[Run]:
    """The runs that `beaten` is about: with weights, on generators of which `Bayes` is the posterior mean, those with
    exact labels, exact states, fresh systems and Haar maps of all norms.
    """
    return [run for run in runs if run.whole and _exact(from_json(run.config).task)]


def _exact(task: TaskConfig) -> bool:
    return task.family == "haar" and not (task.label_error or task.state_noise or task.library)


def beaten(runs: list[Run], traces: int = 128) -> pd.DataFrame:
    """Mean squared error on fresh traces of each run's own training generator, less that of Bayes who knows it: a
    row per run.

    Columns of a cell, model, bayes, gap, low, high (95 % t interval over traces: the sampling of the traces, not of
    training).  ValueError for a run that is not one of `of_exact`."""
    rows, known = [], {}
    for run in runs:
        task = from_json(run.config).task
        check("run", _exact(task), "one with exact labels, exact states and fresh systems of family haar", run.name)
        if task not in known:
            batch = Task(task, seed=FRESH).sample_batch(0, traces)
            known[task] = batch, _trace_errors(Bayes(task).predict, batch)
        batch, least = known[task]
        own = _trace_errors(trained_model(run).predict, batch)
        gap, low, high = stats.interval((own - least).tolist())
        found = dict(model=own.mean().item(), bayes=least.mean().item(), gap=gap, low=low, high=high)
        rows.append(cell_of(run) | found)
    return pd.DataFrame(rows)


def _trace_errors(predict, batch) -> Tensor:
    """[B] mean squared error of each trace over the rows that are scored."""
    return ((predict(batch.inputs) - batch.targets).square().sum(-1) * batch.mask).sum(1) / batch.mask.sum(1)


def shares(runs: list[Run], haystacks: int = 64, traces: int = 8) -> pd.DataFrame:
    """Of each prompt (misdirected, N = 2, k = 2) by itself, how far the answer is on the way from the observed
    system's next state to the label's.

    t = (answer - observed) . (label - observed) / |label - observed|^2, with label the label's map applied to the
    state observed.  Columns of a cell, kind, low, middle, high: share of prompts with t < 1/4, between, t > 3/4.  A
    mixture has few in the middle; an average many."""
    rows = []
    for run in runs:
        task = compact_task(run)
        prompts = apply("misdirected", needle_prompts(task, 2, haystacks=haystacks, traces=traces, seed=SHOWN), task)
        row = prompts.query_row + 1
        answer, observed = trained_model(run).predict(prompts.inputs)[:, row], prompts.targets[:, row]
        A = prompts.systems.A[prompts.segments.system[:, named_segment(prompts)]]
        t = share_of(answer, observed, (A @ prompts.targets[:, row - 1].unsqueeze(-1)).squeeze(-1))
        low, high = (t < 0.25).double().mean().item(), (t > 0.75).double().mean().item()
        rows.append(cell_of(run) | dict(kind=kind(run), low=low, middle=1 - low - high, high=high))
    return pd.DataFrame(rows)


def share_of(answer: Tensor, observed: Tensor, label: Tensor) -> Tensor:
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
    """Errors of the final tables on plain prompts of several systems, k <= 3 after the query: those tables' columns
    with the mean as `error`, kind, and the columns of a cell.
    """
    asked = "event == 'query' and condition == 'plain' and k <= 3 and systems > 1"
    tables = [run.final.query(asked).assign(kind=kind(run), **cell_of(run)) for run in runs]
    return pd.concat(tables, ignore_index=True).rename(columns={"mean": "error"})
