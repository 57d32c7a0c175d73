"""What a model goes by once its training has made the cues more or less certain: norms that tell nothing, labels
that err, states that shake.

Three tables of finished runs:

    equal_norms   error, score and label index of models trained on one law of first states, on prompts of that law
                  and of another
    cue_weights   what the label's system gets on misdirected prompts, by the model and by Bayes, for each label
                  error and state noise
    early_led     whom 2-after-query follows once it is there and 1-after-query is not

`led` joins the last one to the tables of runs that are there (cues.csv, factors.csv, the atlas), so that a new run
appears by itself."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats as scipy_stats
from torch import Tensor

from recall import stats
from recall.config import check
from recall.evaluation import HAAR, THRESHOLD, curve, identification_score, label_index
from recall.interventions import apply
from recall.measures import CELL, cell_of, kind_of
from recall.needle import Prompts, needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way import bayes
from recall.studies.which_way.asked import first_score, query_errors, run_key
from recall.sweeps.factors import FACTORS
from recall.task import TaskConfig
from recall.training import trained_model

SEED = 5  # of the prompts; those of training, of the final tables and of `edits` have others
LAST_K = 3
NORMS = {"haar": "of all lengths", "equal": "equal"}  # family of the prompts -> their norms
CONDITIONS = ("plain", "misdirected")
BASE = "fast-1"


# --- norms of all lengths, or equal ones


def of_norms(runs: list[Run]) -> list[Run]:
    """The runs that `equal_norms` is about: with weights, certain cues, of setting equal or of its twin with norms
    of all lengths.
    """
    of = lambda run: (run.config["task"]["dimension"], run.config["task"]["labels"])
    equal = {of(run) for run in runs if run.config["setting"] == "equal"}
    return [run for run in runs if run.whole and run.config["setting"] in ("equal", BASE) and of(run) in equal]


def equal_norms(
    runs: list[Run], counts: tuple[int, ...] = (2, 3, 4), haystacks: int = 64, traces: int = 16
) -> pd.DataFrame:
    """Every run on prompts whose norms are those of `haar` and on prompts whose norms are equal: the same maps,
    labels and directions of their law.

    Columns dimension, setting, seed, kind (family it was trained on), norms (family of the prompts), condition,
    systems, k <= LAST_K, mean, score, label_index (misdirected prompts only).  ValueError for a run of another
    family."""
    rows = []
    for run in runs:
        trained_on = from_json(run.config).task
        check("run", trained_on.family in NORMS, f"of family {' or '.join(NORMS)}", run.name)
        predict = trained_model(run).predict
        for norms, N in itertools.product(NORMS, counts):
            task = replace(trained_on, family=norms)
            plain = needle_prompts(task, N, haystacks=haystacks, traces=traces, seed=SEED)
            for condition in CONDITIONS:
                prompts = apply(condition, plain, task)
                said = predict(prompts.inputs)
                cell = dict(kind=trained_on.family, norms=norms, condition=condition, systems=N)
                index = [math.nan] * LAST_K
                if condition == "misdirected":
                    index = [row["label_index"] for row in label_index(said, prompts)]
                for k, (mean, of_k) in enumerate(zip(query_errors(said, prompts, task)[:LAST_K], index), start=1):
                    found = dict(k=k, mean=mean, score=identification_score(mean, norms, N), label_index=of_k)
                    rows.append(run_key(run) | cell | found)
    return pd.DataFrame(rows)


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """`equal_norms` with `pair`, norms of training → norms of the prompts."""
    words = {"haar": "all lengths", "equal": "equal"}
    pair = table.kind.map(words) + " → " + table.norms.map(words)
    return table.assign(pair=pair).sort_values("pair", kind="stable")


def misdirected_norms(table: pd.DataFrame, systems: int = 2) -> pd.DataFrame:
    """Does a misdirected label leave 2-after-query alone?  One test per dimension, training and prompts, over the
    models that look labels up on prompts of their own law (score of 1-after at least 1/2): `stats.equivalent` on the
    score with the wrong label less that with the right one, corrected together by Holm's method.

    Columns dimension, kind, norms, seeds, plain, wrong (mean scores), least, most (differences of single models),
    estimate, low, high (90 %), p, runs (that look up), holm, outcome.
    """
    rows, keys = table[(table.systems == systems) & (table.k <= 2)], ["dimension", "kind", "norms"]
    wide = rows.pivot_table(index=[*keys, "seed"], columns=["condition", "k"], values="score").reset_index()
    own = wide[(wide.kind == wide.norms) & (wide["plain", 1] >= THRESHOLD)]
    knows = pd.MultiIndex.from_frame(wide[["dimension", "kind", "seed"]]).isin(
        pd.MultiIndex.from_frame(own[["dimension", "kind", "seed"]])
    )
    lines = []
    for key, group in wide.groupby(keys):
        used = group[knows[group.index]]
        plain, wrong = used["plain", 2], used["misdirected", 2]
        change = wrong - plain
        means = dict(plain=plain.mean(), wrong=wrong.mean(), least=change.min(), most=change.max())
        lines.append(dict(zip(keys, key), seeds=len(group), **means, **vars(stats.equivalent(change, worse=-1))))
    tests = pd.DataFrame(lines)
    tests["holm"] = stats.holm(tests.p.tolist())
    outcomes = ["equivalent", "not equivalent"]
    tests["outcome"] = np.select([tests.holm <= stats.LEVEL, tests.refuted], outcomes, "undecided")
    return tests.drop(columns="refuted")


# --- labels that err, states that shake


def of_weights(runs: list[Run]) -> list[Run]:
    """The runs that `weights` is about: with weights, less certain labels or states; and of BASE those that differ
    from one in nothing else.
    """
    sure = lambda run: replace(from_json(run.config).task, label_error=0.0, state_noise=0.0)
    whole = [run for run in runs if run.whole]
    less = [run for run in whole if from_json(run.config).task != sure(run)]
    twins = [(sure(run), run.config["seed"]) for run in less]
    return less + [run for run in whole if run.config["setting"] == BASE and (sure(run), run.config["seed"]) in twins]


def weights(runs: list[Run], counts: tuple[int, ...] = (2, 4), haystacks: int = 64, traces: int = 16) -> pd.DataFrame:
    """What the label's and the observed system get on misdirected prompts at k = 1 and 2, in the model's answers and
    by Bayes.

    Columns dimension, setting, seed, label_error, state_noise, systems, k; score (of 1-after on plain prompts:
    whether labels are looked up at all); label, observed, label_index (`evaluation.label_index`; label: its two
    readings together); the columns of `observers`."""
    rows, known = [], {}
    for run in runs:
        task, predict = from_json(run.config).task, trained_model(run).predict
        for N in counts:
            plain = needle_prompts(task, N, haystacks=haystacks, traces=traces, seed=SEED)
            prompts = apply("misdirected", plain, task)
            if (task, N) not in known:
                known[task, N] = observers(prompts, task)
            cell = dict(label_error=task.label_error, state_noise=task.state_noise, systems=N)
            score, found = (
                first_score(predict(plain.inputs), plain, task),
                label_index(predict(prompts.inputs), prompts),
            )
            for k, (own, ideal) in enumerate(zip(found, known[task, N]), start=1):
                label = own["weight_label_state"] + own.get("weight_label_map", 0.0)
                seen = dict(label=label, observed=own["weight_observed"], label_index=own["label_index"])
                rows.append(run_key(run) | cell | dict(k=k, score=score) | seen | ideal)
    return pd.DataFrame(rows)


def observers(prompts: Prompts, task: TaskConfig) -> list[dict[str, float]]:
    """What Bayes gives the label's and the observed system on misdirected prompts at k = 1 and 2: bayes_label,
    bayes_observed (mean posterior weights for the label error and state noise of the training), bayes_shaken
    (bayes_label with twice that noise: how much hangs on it) and bayes_trusting (bayes_label of an observer that
    takes all labels but the query's to be right).

    Bayes knows the training's law but takes what the haystack shows of a map as exact, and a new state as off by
    s/sqrt(n) in every coordinate.  Without error and noise a misdirected prompt has probability zero once a state has
    been seen: nan at k = 2."""
    p, s = task.label_error, task.state_noise
    noise, twice = (per_coordinate(each, task.dimension) for each in (s, 2 * s))
    own, shaken = posterior(prompts, task, p, noise), posterior(prompts, task, p, twice)
    trusting = posterior(prompts, task, p, noise, trusting=True)
    rows = [
        dict(bayes_label=label, bayes_observed=observed, bayes_shaken=loose[0], bayes_trusting=naive[0])
        for (label, observed), loose, naive in zip(own, shaken, trusting)
    ]
    return rows if p or s else [rows[0], dict.fromkeys(rows[1], math.nan)]


def per_coordinate(state_noise: float, dimension: int) -> float:
    """Standard deviation of one coordinate of s w, w ~ N(0, I/n); `bayes.EXACT` for none."""
    return state_noise / math.sqrt(dimension) if state_noise else bayes.EXACT


def believed(task: TaskConfig, systems: int, label_error: float) -> tuple[float, float, float]:
    """Bayes's chances on the query's open label: of the label's system, of each other seen system, of a new one.

    Exact for haystacks whose states leave no doubt that their segments are of N different systems under N different
    labels.  Every label may be wrong, those of the haystack too: the label's system is the one whose segment showed
    that label, which may itself have been named wrongly.  Sums over the systems of a trace m, who is on, and the
    right labels (all orders of at most 8)."""
    L, N = task.labels, systems
    check("labels", L <= 8, "at most 8", L)
    says = lambda shown, right: (1 - label_error) * (shown == right) + label_error / L
    chances = [0.0] * (N + 1)  # of the N seen systems, the label's first, and of a new one
    for m in range(max(N, task.min_systems), task.max_systems + 1):
        # N segments of different systems, and one certain system on now
        met = math.prod((m - i) / m for i in range(N)) / m
        for right in itertools.permutations(range(L)):
            haystack = met * math.prod(says(i, right[i]) for i in range(N))
            for on in range(m):
                chances[min(on, N)] += haystack * says(0, right[on])
    total = sum(chances)
    return chances[0] / total, sum(chances[1:N]) / max(N - 1, 1) / total, chances[N] / total


def posterior(
    prompts: Prompts, task: TaskConfig, label_error: float, noise: float, trusting: bool = False
) -> list[tuple[float, float]]:
    """Mean posterior weights (the label's system, the observed one) on the query's open label (k = 1) and after its
    first state (k = 2).

    Chances by labels as in `believed`, by states as in `bayes.gather`.  trusting: chances by `bayes.weigh`, which
    takes the haystack's labels to be right."""
    label, needle = prompts.segments.label[:, -1], prompts.segments.label[:, prompts.needle]  # [B]
    chances = believed(task, prompts.count, label_error)
    named, other, new = (math.log(chance) if chance else -math.inf for chance in chances)
    total: Tensor = torch.zeros(2, 2, dtype=torch.float64)
    pieces = (values.split(256) for values in (prompts.tokens[:, : prompts.query_row + 2], label, needle))
    for tokens, *places in zip(*pieces):
        evidence = bayes.gather(tokens, task, noise)
        if trusting:
            weight = bayes.weigh(evidence, label_error)[:, -2:]  # [b, 2, H]
        else:
            # a label that nobody showed has no system: `seen` says so
            chance = torch.full((len(tokens), 1, task.labels + 1), other, dtype=torch.float64)
            chance[:, :, -1] = new
            weight = (chance.scatter(2, places[0][:, None, None], named) + evidence.seen[:, -2:]).softmax(-1)
        at = [weight.gather(2, place[:, None, None].expand(-1, 2, 1)) for place in places]
        total += torch.stack([each.sum((0, 2)) for each in at], 1)
    return [tuple(row) for row in (total / len(label)).tolist()]


def doses(table: pd.DataFrame) -> pd.DataFrame:
    """Dose and response at k = 1: slope of the model's label weight on that of Bayes over the cells of label error
    and state noise, by N and seed, with Pearson's correlation; nan where a seed has fewer than three cells.  Columns
    systems, seed, cells, slope, correlation.
    """
    rows = []
    known = table[table.k == 1].dropna(subset=["bayes_label", "label"])
    for (systems, seed), cell in known.groupby(["systems", "seed"]):
        slope = correlation = math.nan
        if len(cell) > 2 and cell.bayes_label.nunique() > 1 and cell.label.nunique() > 1:
            fit = scipy_stats.linregress(cell.bayes_label, cell.label)
            slope, correlation = fit.slope, fit.rvalue
        rows.append(dict(systems=systems, seed=seed, cells=len(cell), slope=slope, correlation=correlation))
    return pd.DataFrame(rows)


# --- what decides whether the name takes over

WITHOUT = 0.25  # identification score of 1-after-query below which it is not there
GROUPS = ("the cues", "label error and state noise", "the data", "model and optimiser", "dimension and labels")
CUES = ("equal", "no-repeats", "balanced", "long")


def early_led(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Whom 2-after-query follows between the two abilities, from the histories: evaluations at which its score is at
    least 1/2 and that of 1-after below WITHOUT (0 is averaging).

    Columns dimension, labels, setting, seed, evaluations (how many), first (thousands of examples at the first),
    early_index (median label index over them; nan where there is none), early_map (median share of the label's map
    on the state just shown in all weights of `evaluation.label_index`)."""
    rows, weights = [], ["weight_observed", "weight_label_state", "weight_label_map"]
    for run in runs:
        begin, go_on, wrong = (
            curve(run.history, k, systems, condition).set_index("examples")
            for k, condition in ((1, "plain"), (2, "plain"), (2, "misdirected"))
        )
        between = (go_on.score >= THRESHOLD) & (begin.score < WITHOUT)
        # a family whose state is hidden has no label index, and no such columns
        wrong = wrong.reindex(columns=["label_index", *weights])[between].dropna(subset="label_index")
        by_map = wrong.weight_label_map / wrong[weights].sum(axis=1)
        found = dict(evaluations=len(wrong), first=math.nan, early_index=math.nan, early_map=math.nan)
        if len(wrong):
            found |= dict(first=wrong.index.min() / 1000)
            found |= dict(early_index=wrong.label_index.median(), early_map=by_map.median())
        rows.append(cell_of(run) | found)
    return pd.DataFrame(rows)


def group_of(setting: str) -> str:
    """Which of GROUPS a training belongs to; what is not known changes model or optimiser."""
    cues, errors, data, model, cell = GROUPS
    if setting == BASE:
        return cell
    if setting in CUES:
        return cues
    if setting.startswith("error-"):
        return errors
    of_data = setting.startswith(("study-", "vocabulary-", "library-")) or "task" in FACTORS.get(setting, ())
    return data if of_data else model


def led(tables: list[pd.DataFrame], early: pd.DataFrame, systems: int = 2) -> pd.DataFrame:
    """Whom 2-after-query follows at the end, and before 1-after-query is there, of every run in tables of
    `measures.lines`.

    Columns group (of GROUPS), training (in words), order, setting, dimension, labels, seed, knows, kind,
    label_index, early_index (nan: no such evaluation, or not in `early`), octaves (doublings of examples from
    2-after's date to 1-after's).  BASE with 4 labels stands in every group, as what the others are compared with.
    knows: labels are looked up, by what such a table tells: 1-after-query emerged, or both abilities' mean score at
    the end is 3/4, so that that of 1-after is 1/2; for families without a score by the study's cutoff.  kind: as
    `measures.kind`.  Runs without a label index (identity maps, states not observed) are left out."""
    lines = pd.concat(tables, ignore_index=True).drop_duplicates("name")
    index, begin, go_on = (lines[f"{name} N={systems}"] for name in ("label index 2", "1-after", "2-after"))
    scored = lines.name.str.split("-").str[0].isin(HAAR)
    by_score = begin.notna() | (lines.score >= (1 + THRESHOLD) / 2)
    knows = by_score.where(scored, lines[f"cutoff 1-after N={systems}"].notna())
    found = lines[list(CELL)].assign(
        knows=knows, kind=kind_of(knows, index), label_index=index, octaves=np.log2(begin / go_on)
    )
    found = found[index.notna()].merge(early[[*CELL, "early_index"]], how="left", on=list(CELL))
    columns = "group training order setting dimension labels seed knows kind label_index early_index octaves".split()
    return _in_order(_with_base(found.assign(group=found.setting.map(group_of))))[columns]


def _with_base(table: pd.DataFrame) -> pd.DataFrame:
    """BASE with 4 labels once more in every group, in the dimensions that the group has."""
    base = table[(table.setting == BASE) & (table.labels == 4)]
    again = [
        base[base.dimension.isin(rows.dimension)].assign(group=group)
        for group, rows in table.groupby("group")
        if group != GROUPS[4]
    ]
    return pd.concat([*again, table], ignore_index=True)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """With training, and order: trainings by group and dimension, BASE first."""
    own = table.group == GROUPS[4]
    what = (table.labels.astype(str) + " labels").where(own, table.setting)
    table = table.assign(training="n = " + table.dimension.astype(str) + ", " + what)
    rank = dict(rank=table.group.map(GROUPS.index), changed=table.setting != BASE)
    table = table.assign(**rank).sort_values(["rank", "dimension", "changed", "labels"], kind="stable")
    table = table.reset_index(drop=True).reset_index(names="order")
    return table.assign(order=table.groupby(["group", "training"]).order.transform("min"))


def once(table: pd.DataFrame) -> pd.DataFrame:
    """Of `led`, every run once: BASE in its own group only."""
    return table[(table.setting != BASE) | (table.group == GROUPS[4])]
