"""What a model goes by once its training has made the cues more or less certain: norms that tell nothing, labels
that err, states that shake.

Tables of finished runs, made by `python -m recall cues RUN ...`, each from those of the runs that it is about
(`TABLES`):

    equal_norms   error, score and label index of models trained on one law of first states, on prompts of that law and of another
    cue_weights   what the label's system gets on misdirected prompts, by the model and by Bayes, for each label error and state noise
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
from recall.evaluation import HAAR, THRESHOLD, curve, event_errors, identification_score, label_index
from recall.interventions import apply
from recall.measures import LABEL_LED, OBSERVATION_LED
from recall.needle import Prompts, needle_prompts
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way import bayes
from recall.sweeps.factors import FACTORS
from recall.task import TaskConfig, check
from recall.training import trained_model

SEED = 5  # of the prompts; those of training, of the final tables and of `probes` have others
LAST_K = 3
NORMS = {"haar": "of all lengths", "equal": "equal"}  # family of the prompts -> their norms
CONDITIONS = ("plain", "misdirected")


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
        config = from_json(run.config)
        check("run", config.task.family in NORMS, f"of family {' or '.join(NORMS)}", run.name)
        predict = trained_model(run).predict
        for norms in NORMS:
            task = replace(config.task, family=norms)
            for N in counts:
                plain = needle_prompts(task, N, haystacks=haystacks, traces=traces, seed=SEED)
                for condition in CONDITIONS:
                    prompts = apply(condition, plain, task)
                    predictions = predict(prompts.inputs)
                    errors = (
                        event_errors(predictions, prompts, task)["query"][:LAST_K].flatten(1).double().mean(1).tolist()
                    )
                    index = (
                        [row["label_index"] for row in label_index(predictions, prompts)]
                        if condition == "misdirected"
                        else [math.nan] * LAST_K
                    )
                    rows += [
                        dict(
                            dimension=task.dimension,
                            setting=config.setting,
                            seed=config.seed,
                            kind=config.task.family,
                            norms=norms,
                            condition=condition,
                            systems=N,
                            k=k,
                            mean=mean,
                            score=identification_score(mean, norms, N),
                            label_index=index[k - 1],
                        )
                        for k, mean in enumerate(errors, start=1)
                    ]
    return pd.DataFrame(rows)


def weights(runs: list[Run], counts: tuple[int, ...] = (2, 4), haystacks: int = 64, traces: int = 16) -> pd.DataFrame:
    """What the label's and the observed system get on misdirected prompts at k = 1 and 2, in the model's answers and
    by Bayes.

    Columns dimension, setting, seed, label_error, state_noise, systems, k; score (of 1-after on plain prompts:
    whether labels are looked up at all); label, observed, label_index (`evaluation.label_index`; label: its two
    readings together); bayes_label, bayes_observed (mean posterior weights for the label error and state noise of
    the training), bayes_shaken (bayes_label with twice that noise: how much hangs on it) and bayes_trusting
    (bayes_label of an observer that takes all labels but the query's to be right).

    Bayes knows the training's law but takes what the haystack shows of a map as exact, and a new state as off by
    s/sqrt(n) in every coordinate. Without error and noise a misdirected prompt has probability zero once a state has
    been seen: nan at k = 2."""
    rows, known = [], {}
    for run in runs:
        config = from_json(run.config)
        task = config.task
        predict, p, s = trained_model(run).predict, task.label_error, task.state_noise
        for N in counts:
            plain = needle_prompts(task, N, haystacks=haystacks, traces=traces, seed=SEED)
            prompts = apply("misdirected", plain, task)
            first = event_errors(predict(plain.inputs), plain, task)["query"][0].double().mean().item()
            found = label_index(predict(prompts.inputs), prompts)[:2]
            if (task, N) not in known:
                known[task, N] = [
                    posterior(prompts, task, p, per_coordinate(times * s, task.dimension), trusting)
                    for times, trusting in ((1, False), (2, False), (1, True))
                ]
            for k, each in enumerate(found, start=1):
                own, shaken, trusting = (
                    table[k - 1] if p or s or k == 1 else (math.nan, math.nan) for table in known[task, N]
                )
                rows.append(
                    dict(
                        dimension=task.dimension,
                        setting=config.setting,
                        seed=config.seed,
                        label_error=p,
                        state_noise=s,
                        systems=N,
                        k=k,
                        score=identification_score(first, task.family, N),
                        label=each["weight_label_state"] + each.get("weight_label_map", 0.0),
                        observed=each["weight_observed"],
                        label_index=each["label_index"],
                        bayes_label=own[0],
                        bayes_observed=own[1],
                        bayes_shaken=shaken[0],
                        bayes_trusting=trusting[0],
                    )
                )
    return pd.DataFrame(rows)


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
    named, other, new = (
        math.log(chance) if chance else -math.inf for chance in believed(task, prompts.count, label_error)
    )
    total: Tensor = torch.zeros(2, 2, dtype=torch.float64)
    for tokens, *places in zip(
        prompts.tokens[:, : prompts.query_row + 2].split(256), label.split(256), needle.split(256)
    ):
        evidence = bayes.gather(tokens, task, noise)
        if trusting:
            weight = bayes.weigh(evidence, label_error)[:, -2:]  # [b, 2, H]
        else:
            # a label that nobody showed has no system: `seen` says so
            chance = torch.full((len(tokens), 1, task.labels + 1), other, dtype=torch.float64)
            chance[:, :, -1] = new
            weight = (chance.scatter(2, places[0][:, None, None], named) + evidence.seen[:, -2:]).softmax(-1)
        total += torch.stack(
            [weight.gather(2, place[:, None, None].expand(-1, 2, 1)).sum((0, 2)) for place in places], 1
        )
    return [tuple(row) for row in (total / len(label)).tolist()]


WITHOUT = 0.25  # identification score of 1-after-query below which it is not there


def early_led(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Whom 2-after-query follows between the two abilities, from the histories: evaluations at which its score is at
    least 1/2 and that of 1-after below WITHOUT (0 is averaging).

    Columns dimension, labels, setting, seed, evaluations (how many), first (thousands of examples at the first),
    early_index (median label index over them; nan where there is none), early_map (median share of the label's map
    on the state just shown in all weights of `evaluation.label_index`)."""
    rows = []
    for run in runs:
        parts = {
            name: curve(run.history, k, systems, condition).set_index("examples")
            for name, k, condition in (("begin", 1, "plain"), ("go_on", 2, "plain"), ("wrong", 2, "misdirected"))
        }
        between = (parts["go_on"].score >= THRESHOLD) & (parts["begin"].score < WITHOUT)
        wrong = (
            parts["wrong"]
            .reindex(columns=["label_index", "weight_observed", "weight_label_state", "weight_label_map"])[between]
            .dropna(subset="label_index")
        )
        index, by_map = wrong.label_index, wrong.weight_label_map / wrong.filter(like="weight_").sum(axis=1)
        task = run.config["task"]
        rows.append(
            dict(
                dimension=task["dimension"],
                labels=task["labels"],
                setting=run.config["setting"],
                seed=run.config["seed"],
                evaluations=len(index),
                first=index.index.min() / 1000 if len(index) else math.nan,
                early_index=index.median() if len(index) else math.nan,
                early_map=by_map.median() if len(index) else math.nan,
            )
        )
    return pd.DataFrame(rows)


def _certain(run: Run) -> bool:
    """Whether its training made labels and states no less certain."""
    task = from_json(run.config).task
    return not task.label_error and not task.state_noise


def of_norms(runs: list[Run]) -> list[Run]:
    """The runs that `equal_norms` is about: with weights, certain cues, of setting equal or of its twin with norms
    of all lengths.
    """
    equal = {
        (run.config["task"]["dimension"], run.config["task"]["labels"])
        for run in runs
        if run.config["setting"] == "equal"
    }
    return [
        run
        for run in runs
        if run.whole
        and run.config["setting"] in ("equal", BASE)
        and (run.config["task"]["dimension"], run.config["task"]["labels"]) in equal
    ]


def of_weights(runs: list[Run]) -> list[Run]:
    """The runs that `weights` is about: with weights, less certain labels or states; and of BASE those that differ
    from one in nothing else.
    """
    less = [run for run in runs if run.whole and not _certain(run)]
    same = lambda run: (replace(from_json(run.config).task, label_error=0.0, state_noise=0.0), run.config["seed"])
    twins = {same(run) for run in less}
    return less + [run for run in runs if run.whole and run.config["setting"] == BASE and same(run) in twins]


BASE = "fast-1"
TABLES = {  # name: which of the runs, what is made of them
    "equal_norms": (of_norms, equal_norms),
    "cue_weights": (of_weights, weights),
    "early_led": (lambda runs: [run for run in runs if run.config["task"]["family"] in NORMS], early_led),
}


# --- equal norms, in words
# ----------------------------------------------------------------------------------------------

MODEL = ["dimension", "kind", "seed"]  # of one model in `equal_norms`


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """`equal_norms` with `pair`, norms of training → norms of the prompts."""
    words = {"haar": "all lengths", "equal": "equal"}
    return table.assign(pair=table.kind.map(words) + " → " + table.norms.map(words)).sort_values("pair", kind="stable")


def misdirected_norms(table: pd.DataFrame, systems: int = 2) -> list[dict]:
    """Does a misdirected label leave 2-after-query alone?  One test per dimension, training and prompts, over the
    models that look labels up on prompts of their own law (score of 1-after at least 1/2): `stats.equivalent` on the
    score with the wrong label less that with the right one, corrected together by Holm's method.  Rows dimension,
    kind, norms, seeds, runs (that look up), plain, wrong (mean scores), least, most (differences of single models),
    estimate, low, high (90 %), p, holm, outcome.
    """
    wide = (
        table[(table.systems == systems) & (table.k <= 2)]
        .pivot_table(index=["dimension", "kind", "norms", "seed"], columns=["condition", "k"], values="score")
        .sort_index()
    )
    own = wide["plain", 1][[kind == norms for _, kind, norms, _ in wide.index]].droplevel("norms")
    knows = own[own >= THRESHOLD].index
    rows = []
    for (dimension, kind, norms), group in wide.groupby(level=["dimension", "kind", "norms"], sort=True):
        used = group[[(dimension, kind, seed) in knows for seed in group.index.get_level_values("seed")]]
        plain, wrong = used["plain", 2], used["misdirected", 2]
        change = wrong - plain
        rows.append(
            (
                dict(
                    dimension=dimension,
                    kind=kind,
                    norms=norms,
                    seeds=len(group),
                    plain=plain.mean(),
                    wrong=wrong.mean(),
                    least=change.min(),
                    most=change.max(),
                ),
                stats.equivalent(change.tolist(), worse=-1),
            )
        )
    return [
        line
        | dict(
            runs=found.runs,
            estimate=found.estimate,
            low=found.low,
            high=found.high,
            p=found.p,
            holm=p,
            outcome="equivalent" if p <= stats.LEVEL else "not equivalent" if found.refuted else "undecided",
        )
        for (line, found), p in zip(rows, stats.holm([found.p for _, found in rows]))
    ]


def doses(table: pd.DataFrame) -> pd.DataFrame:
    """Dose and response at k = 1: slope of the model's label weight on that of Bayes over the cells of label error
    and state noise, by N and seed, with Pearson's correlation; nan where a seed has fewer than three cells.  Columns
    systems, seed, cells, slope, correlation.
    """
    rows = []
    for (systems, seed), cell in (
        table[table.k == 1].dropna(subset=["bayes_label", "label"]).groupby(["systems", "seed"])
    ):
        enough = len(cell) > 2 and cell.bayes_label.nunique() > 1 and cell.label.nunique() > 1
        fit = scipy_stats.linregress(cell.bayes_label, cell.label) if enough else None
        rows.append(
            dict(
                systems=systems,
                seed=seed,
                cells=len(cell),
                slope=fit.slope if fit else math.nan,
                correlation=fit.rvalue if fit else math.nan,
            )
        )
    return pd.DataFrame(rows)


# --- what decides whether the name takes over
# ---------------------------------------------------------------------------

GROUPS = ("the cues", "label error and state noise", "the data", "model and optimiser", "dimension and labels")
CUES = ("equal", "no-repeats", "balanced", "long")


def group_of(setting: str) -> str:
    """Which of GROUPS a training belongs to; what is not known changes model or optimiser."""
    if setting == BASE:
        return GROUPS[4]
    if setting in CUES:
        return GROUPS[0]
    if setting.startswith("error-"):
        return GROUPS[1]
    return (
        GROUPS[2]
        if "task" in FACTORS.get(setting, ()) or setting.startswith(("study-", "vocabulary-", "library-"))
        else GROUPS[3]
    )


def led(tables: list[pd.DataFrame], early: pd.DataFrame, systems: int = 2) -> pd.DataFrame:
    """Whom 2-after-query follows at the end, and before 1-after-query is there, of every run in tables of
    `measures.lines`.

    Columns group (of GROUPS), training (in words), order, setting, dimension, labels, seed, knows, kind,
    label_index, early_index (nan: no such evaluation, or not in `early`), octaves (doublings of examples from
    2-after's date to 1-after's).  BASE with 4 labels stands in every group, as what the others are compared with.
    knows: labels are looked up, by what such a table tells: 1-after-query emerged, or both abilities' mean score at
    the end is 3/4, so that of 1-after is 1/2; for families without a score by the study's cutoff.  kind: as
    `measures.kind`.  Runs without a label index (identity maps, states not observed) are left out."""
    runs_ = pd.concat(tables, ignore_index=True).drop_duplicates("name")
    index, begin, go_on = (runs_[f"{name} N={systems}"] for name in ("label index 2", "1-after", "2-after"))
    scored = runs_.name.str.split("-").str[0].isin(HAAR)
    knows = (scored & (begin.notna() | (runs_.score >= (1 + THRESHOLD) / 2))) | (
        ~scored & runs_[f"cutoff 1-after N={systems}"].notna()
    )
    kinds = np.select(
        [~knows, index > LABEL_LED, index < OBSERVATION_LED], ["no look-up", "label-led", "observation-led"], "between"
    )
    table = runs_[["setting", "dimension", "labels", "seed"]].assign(
        knows=knows, kind=kinds, label_index=index, octaves=np.log2(begin / go_on)
    )[index.notna()]
    table = table.merge(
        early[["dimension", "labels", "setting", "seed", "early_index"]],
        how="left",
        on=["dimension", "labels", "setting", "seed"],
    )
    table = table.assign(group=table.setting.map(group_of))
    base = table[(table.setting == BASE) & (table.labels == 4)]
    again = [
        base[base.dimension.isin(rows.dimension)].assign(group=group)
        for group, rows in table.groupby("group")
        if group != GROUPS[4]
    ]
    table = pd.concat([*again, table], ignore_index=True)
    words = lambda row: f"n = {row.dimension}, " + (f"{row.labels} labels" if row.group == GROUPS[4] else row.setting)
    table["training"] = [words(row) for row in table.itertuples()]
    rank = table.group.map(GROUPS.index)
    table = table.assign(rank=rank, first=table.setting != BASE).sort_values(
        ["rank", "dimension", "first", "labels"], kind="stable"
    )
    table["order"] = range(len(table))
    table["order"] = table.groupby(["group", "training"]).order.transform("min")
    return table[
        [
            "group",
            "training",
            "order",
            "setting",
            "dimension",
            "labels",
            "seed",
            "knows",
            "kind",
            "label_index",
            "early_index",
            "octaves",
        ]
    ].reset_index(drop=True)


KINDS = ("label-led", "between", "observation-led")


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Every run once: BASE in its own group only."""
    return table[(table.setting != BASE) | (table.group == GROUPS[4])]
