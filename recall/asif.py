"""Answers as if by which rule?  How far finished models' answers are from those of exact predictors, and whether any model beats Bayes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from recall import dissect
from recall.bayes import EXACT, Bayes, gather, weigh
from recall.interventions import apply, named_segment
from recall.needle import needle_prompts
from recall.predictors import CarryOn, Match, Named, Pool
from recall.runs import Run
from recall.settings import from_json
from recall.summary import CELL, _cell, kind
from recall.task import Task, TaskConfig, check
from recall.training import trained_model

ERRORS, NOISES = (1e-30, 1e-12, 1e-6, 0.01, 0.1), (EXACT, 0.03, 0.1, 0.2, 0.3)  # among which Bayes's label error and noise per coordinate are fitted
RULES = {"by label": Named, "by state": Match, "pool": Pool, "carry on": CarryOn}
COURSE, HALFWAY = "label's own course", "halfway"  # the label's system going on unseen, whatever is observed; the mean of `by label` and `by state`
FITTED, DEAF = "Bayes, fitted", "Bayes, deaf to labels"
SIMPLEST = (*RULES, COURSE, HALFWAY, DEAF, FITTED)  # of rules that answer alike the first is named
CONDITIONS = ("plain", "misdirected", "unseen-label")
FIT, SHOWN = 11, 12  # seeds of the prompts that Bayes is fitted on and of those that distances are taken on
FRESH = 9_000  # seed of the fresh traces; no run has it


def _answers(task: TaskConfig, systems: int, haystacks: int, traces: int, seed: int):
    """Per condition: prompts, the rules' answers and Bayes's by (label error, noise), all [B, 3, n] for k = 1, 2, 3.

    Bayes here keeps the maps as they were when the segment opened, which a haystack determines: states that contradict a hypothesis weigh
    it down, but would wreck a map fitted to them, where its directions are ill determined.
    """
    for condition in CONDITIONS:
        prompts = apply(condition, needle_prompts(task, systems, haystacks=haystacks, traces=traces, seed=seed), task)
        rows = slice(prompts.query_row, prompts.query_row + 3)
        rules = {name: make(task).predict(prompts.inputs)[:, rows] for name, make in RULES.items()}
        named = prompts.segments.system[:, named_segment(prompts)] if condition == "misdirected" else prompts.segments.system[:, -1]
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

    Columns of a cell (`summary.CELL`), kind (`summary.kind`), label_error and noise (of the fitted Bayes: the pair of ERRORS x NOISES nearest to
    the model over all conditions and k, on prompts of another seed), condition, k, rule, distance.  Prompts have norms of all lengths.
    """
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
                    rows.append(_cell(run) | dict(kind=kind(run), label_error=best[0], noise=best[1], condition=condition, k=k, rule=rule, distance=value))
    return pd.DataFrame(rows)


def beaten(runs: list[Run], traces: int = 128) -> pd.DataFrame:
    """Mean squared error on fresh traces of each run's own training generator, less that of Bayes who knows it: a row per run.

    Columns of a cell, model, bayes, gap, low, high (95 % t interval over traces: the sampling of the traces, not of training).
    Only for generators with exact labels, exact states and Haar maps, of which `Bayes` is the posterior mean.
    """
    rows, known = [], {}
    for run in runs:
        task = from_json(run.config).task
        check("run", not (task.label_error or task.state_noise or task.library), "one with exact labels, exact states and fresh systems", run.name)
        if task not in known:
            batch = Task(task, seed=FRESH).sample_batch(0, traces)
            error = lambda predict, batch=batch: ((predict(batch.inputs) - batch.targets).square().sum(-1) * batch.mask).sum(1) / batch.mask.sum(1)
            known[task] = batch, error, error(Bayes(task).predict)
        batch, error, least = known[task]
        own = error(trained_model(run).predict)
        gap, low, high = dissect.interval((own - least).tolist())
        rows.append(_cell(run) | dict(model=own.mean().item(), bayes=least.mean().item(), gap=gap, low=low, high=high))
    return pd.DataFrame(rows)


def shares(runs: list[Run], haystacks: int = 64, traces: int = 8) -> pd.DataFrame:
    """Of each prompt (misdirected, N = 2, k = 2) by itself, how far the answer is on the way from the observed system's next state to the label's.

    t = (answer - observed) . (label - observed) / |label - observed|^2, with label the label's map applied to the state observed.
    Columns of a cell, low, middle, high: share of prompts with t < 1/4, between, t > 3/4.  A mixture has few in the middle; an average many.
    """
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
        rows.append(_cell(run) | dict(kind=kind(run), low=low, middle=1 - low - high, high=high))
    return pd.DataFrame(rows)


def share_of(answer: torch.Tensor, observed: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """[B] 0 where the answer is at `observed`, 1 where it is at `label` (all [B, n]); linear in between."""
    way = label - observed
    return ((answer - observed) * way).sum(-1) / way.square().sum(-1).clamp(min=1e-12)


# --- what the tables say ----------------------------------------------------------------------------------------------


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """Mean distance over models by training, kind, condition, k and rule, a column per rule, and `nearest`: the rule with the least
    (more than one where they are within 1e-3).  models: how many."""
    keys = ["setting", "kind", "condition", "k"]
    wide = table.groupby([*keys, "rule"], sort=False).distance.mean().unstack("rule")
    best = wide.apply(lambda row: ", ".join(row.index[row <= row.min() + 1e-3]), axis=1)
    models = table.drop_duplicates([*CELL, "condition", "k"]).groupby(keys).size()
    return wide.assign(nearest=best, models=models).reset_index()


def explained(table: pd.DataFrame) -> str:
    """Which rule answers most like the models under misdirection at k = 2, by training and kind; from `distances`."""
    lines = []
    for (setting, kind_), group in table[(table.condition == "misdirected") & (table.k == 2)].groupby(["setting", "kind"]):
        wide = group.pivot_table(index=CELL, columns="rule", values="distance")
        wide = wide[[rule for rule in SIMPLEST if rule in wide]]
        count = wide.apply(lambda row: row.index[row <= row.min() + 1e-3][0], axis=1).value_counts()
        words = "; ".join(f"{rule} in {n} of {len(wide)}" for rule, n in count.items())
        far = wide.min(axis=1).mean()
        lines.append(f"* **{setting}, {kind_}**: nearest is {words}. The nearest rule is still {far:.2f} away in squared distance" +
                     (", so that it describes which way they go, not what they compute." if far > 0.1 else ", close enough to say that they answer as if by it."))
    fits = table.drop_duplicates(CELL)[["label_error", "noise"]]
    edge = int(((fits.label_error.isin((min(ERRORS), max(ERRORS)))) | fits.noise.isin((min(NOISES), max(NOISES)))).sum())
    chosen = "; ".join(f"{e:.3g} and {s:.3g} in {n}" for (e, s), n in fits.value_counts().items())
    at = f" {edge} of {len(fits)} fits lie at the edge of the grid and are bounds." if edge else ""
    return "\n".join([*lines, f"\nBayes was given the label error and the noise that fit each model best: {chosen} of {len(fits)} models.{at}"])


def bound(table: pd.DataFrame) -> str:
    """Whether a model has a lower error than Bayes on fresh traces of its own generator; from `beaten`."""
    below, surely = int((table.gap < 0).sum()), int((table.high < 0).sum())
    words = "No model beats Bayes" if not below else f"{below} of {len(table)} models have a lower mean error than Bayes, {surely} of them beyond the sampling of traces"
    return (f"{words} on fresh traces of its own generator: the least excess of a model's mean squared error is {table.gap.min():.3f} "
            f"(95 % interval over traces {table.low[table.gap.idxmin()]:.3f} to {table.high[table.gap.idxmin()]:.3f}), the largest {table.gap.max():.3f} ({len(table)} models).")


def mixture(table: pd.DataFrame) -> str:
    """Whether single prompts are decided one way or the other, by kind; from `shares`."""
    lines = []
    for (setting, kind_), group in table.groupby(["setting", "kind"]):
        words = "most prompts are near one of the two ways" if group.middle.mean() < 1 / 3 else "many answers lie between the two ways" if group.middle.mean() < 0.5 else "most answers lie between the two ways"
        lines.append(f"* **{setting}, {kind_}** ({len(group)} models): {group.low.mean():.0%} near the observed system's next state, {group.high.mean():.0%} near the label's, "
                     f"{group.middle.mean():.0%} between: {words}.")
    return "\n".join(lines)


def losses(finals: pd.DataFrame, dimension: int = 5, systems: int = 2) -> str:
    """Plain errors at k = 1, 2, 3 of label-led and observation-led runs of one dimension.  finals: columns kind, dimension, systems, k, error, seed (plain only)."""
    rows = finals[(finals.dimension == dimension) & (finals.systems == systems)]
    groups = {name: group for name, group in rows.groupby("kind")}
    if not {"label-led", "observation-led"} <= set(groups):
        return f"At n = {dimension} the runs do not hold both kinds: their losses cannot be compared."
    each = {name: groups[name].groupby("k").error.mean() for name in ("label-led", "observation-led")}
    count = {name: groups[name].seed.nunique() for name in each}
    gain = each["observation-led"] - each["label-led"]
    lower = "label-led" if gain.sum() > 0 else "observation-led"
    words = ", ".join(f"{each['label-led'][k]:.3f} against {each['observation-led'][k]:.3f} at k = {k}" for k in gain.index)
    few = " With fewer than three runs of one kind this is one picture, not a comparison." if min(count.values()) < 3 else ""
    return (f"At n = {dimension}, N = {systems}, plain prompts, label-led runs ({count['label-led']}) have {words} of observation-led ones ({count['observation-led']}): "
            f"over the three together the lower error is {lower}, and the largest difference lies at k = {gain.abs().idxmax()}.{few}")


def plain_finals(runs: list[Run]) -> pd.DataFrame:
    """Plain errors at the end with each run's kind, for `losses`."""
    return pd.concat([run.final.query("event == 'query' and condition == 'plain' and k <= 3 and systems > 1").rename(columns={"mean": "error"})
                      .assign(kind=kind(run), **_cell(run)) for run in runs], ignore_index=True)


def longer(table: pd.DataFrame, atlas: pd.DataFrame, systems: int = 2) -> str:
    """What training ten times longer did to the label index of 2-after-query.  table, atlas: of `sweep.table`, with setting `long` and `fast-1`."""
    column, lines = f"label index 2 N={systems}", []
    for n, group in table[table.setting == "long"].groupby("dimension"):
        joined = group.merge(atlas[(atlas.setting == "fast-1") & (atlas.labels == 4)], on=["dimension", "labels", "seed"], suffixes=(" long", ""))
        words = "; ".join(f"seed {row.seed}: {row[column]:.2f} → {row[f'{column} long']:.2f}" for _, row in joined.iterrows())
        span = joined[f"{column} long"].max() - joined[f"{column} long"].min()
        told = "only one run, so one end state cannot be told from two" if len(joined) < 2 else (
            f"the ends differ by {span:.2f}: " + ("compatible with one end state" if span < 0.25 else "not one end state at this length"))
        lines.append(f"* **n = {n}**: {words}; {told}.")
    if not (table[table.setting == "long"].dimension == 5).any():
        lines.append("* **n = 5**: no long run is there yet, and n = 5 is where models of both kinds end: the objection stands open.")
    return "\n".join(lines)


def no_bigram(table: pd.DataFrame, atlas: pd.DataFrame, systems: int = 2) -> str:
    """Dates of 1-after of runs without repeats, beside those of `fast-1` with the same seeds; from `sweep.table`.  A date never reached counts as later."""
    date, keys = f"1-after N={systems}", ["dimension", "labels", "seed"]
    joined = table[table.setting == "no-repeats"].merge(atlas[atlas.setting == "fast-1"], on=keys, suffixes=("", " usual"))
    if joined.empty:
        return "No runs without repeats are there."
    own, usual = joined[date].fillna(float("inf")), joined[f"{date} usual"].fillna(float("inf"))
    reached, later = int((own < float("inf")).sum()), int((own > usual).sum())
    verdict = "so the bigram is not what recall over a distance takes" if reached > len(joined) / 2 else "so without the bigram recall over a distance is not learnt in most"
    pairs = "; ".join(f"seed {seed}: {_date(b)} with repeats, {_date(a)} without" for seed, a, b in zip(joined.seed, own, usual))
    both = (own < float("inf")) & (usual < float("inf"))
    _, low, high = dissect.interval(np.log(own[both] / usual[both]).tolist())
    told = "later" if low > 0 else "earlier" if high < 0 else "neither later nor earlier as far as these seeds can tell"
    ratio = f" Ratio of the dates, without to with: 95 % interval {np.exp(low):.2f} to {np.exp(high):.2f}, {told}." if both.all() and len(joined) >= 3 else ""
    return f"1-after-query (farthest needle) emerged in {reached} of {len(joined)} runs without repeats, {verdict}; later than with repeats in {later} ({pairs}).{ratio}"


def _date(examples: float) -> str:
    return f"{examples / 1000:,.0f} thousand examples" if examples < float("inf") else "not by the end"


def lies(table: pd.DataFrame, systems: int = 2) -> str:
    """Label index of 2-after-query of runs with label error, and with the study's generator, a point a seed; exploratory."""
    column, lines = f"label index 2 N={systems}", []
    for setting, group in table[table.setting.str.startswith(("error-", "study-"))].groupby("setting", sort=False):
        values = group[column].dropna()
        if len(values):
            led = "label-led" if values.min() > 0.75 else "observation-led" if values.max() < 0.25 else "neither, or not alike"
            lines.append(f"* **{setting}**: {', '.join(f'{value:.2f}' for value in values)}: {led}")
    count = sum("observation-led" in line for line in lines)
    words = "The label's hold on 2-after-query depends on training" if 0 < count < len(lines) else "All trainings are led by observations" if lines and count == len(lines) else "No training is led by observations"
    return f"{words}: in {count} of {len(lines)} trainings the states lead in every seed (exploratory, one or two seeds each).\n\n" + "\n".join(lines)
