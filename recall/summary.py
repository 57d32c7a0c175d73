"""One row per run: cost, when each ability emerged, how the finished model treats a misdirected label."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from recall.evaluation import NEVER, Emergence, curve, emergence, first_below, smooth
from recall.predictors import blind_error
from recall.runs import WEIGHTS, Run

ABILITIES = {"1-after": 1, "2-after": 2}  # k after the query: look-up, continuing


def describe(run: Run) -> dict:
    """The run in the JSON shape of `python -m recall runs --json`.

    emergence: ability -> N -> examples from which the identification score stays at or above 1/2, single evaluations
    excepted (`evaluation.emergence`); emergence_strict: without exception.  nan: not by the end, or no score (it is
    defined for the family `haar`).
    study_cutoff: the same by the study's rule, median squared error below 0.5.
    seconds: of one core; nan for a run on another device.
    checkpoint: None where only the tables were kept.
    ended: why the run ended (`training.train`), after `steps` steps.
    misdirected: N -> k -> error and label index of the published model.
    """
    config, history, final = run.config, run.history, run.final
    counts = [N for N in config["evaluation"]["systems"] if N > 1]

    def found(rule):
        rule = _never if run.manifest.get("ended") == "diverged" else rule
        return {name: {N: float(rule(curve(history, k, N)).date) for N in counts} for name, k in ABILITIES.items()}

    def finals(N, condition):
        rows = [curve(final.assign(examples=0), k, N, condition).iloc[0] for k in (1, 2, 3)]
        return {int(row.k): dict(error=float(row["mean"]), label_index=float(row.get("label_index", math.nan))) for row in rows}

    return dict(
        name=run.name,
        family=config["task"]["family"],
        dimension=config["task"]["dimension"],
        labels=config["task"]["labels"],
        setting=config["setting"],
        seed=config["seed"],
        steps=int(history.step.max()),
        ended=run.manifest.get("ended", "steps"),
        examples=int(history.examples.max()),
        seconds=run.manifest["training_seconds"] if on_cpu(run) else math.nan,
        evaluation_seconds=run.manifest["evaluation_seconds"],
        checkpoint=str(run.folder / WEIGHTS) if run.whole else None,
        emergence=found(emergence),
        emergence_strict=found(lambda c: emergence(c, window=1)),
        study_cutoff=found(first_below),
        unedited={N: finals(N, "plain") for N in counts},
        misdirected={N: finals(N, "misdirected") for N in counts},
    )


def _never(curve: pd.DataFrame) -> Emergence:
    """A run that diverged ends without its abilities, whatever it had before."""
    return Emergence(*NEVER, float(curve.examples.max()))


def flat(row: dict) -> dict:
    """The same as one line of a table: columns such as `1-after N=2` and `misdirected 2-after N=4`."""
    keys = ("name", "dimension", "labels", "setting", "seed", "steps", "ended", "examples", "seconds")
    line = {key: row[key] for key in keys}
    for key, prefix in (("emergence", ""), ("study_cutoff", "cutoff ")):
        for ability, dates in row[key].items():
            line |= {f"{prefix}{ability} N={N}": date for N, date in dates.items()}
    for N, finals in row["misdirected"].items():
        for k, value in finals.items():
            line[f"misdirected {k}-after N={N}"] = value["error"]
            line[f"label index {k} N={N}"] = value["label_index"]
    return line


def on_cpu(run: Run) -> bool:
    """Whether the run's seconds are one core's: only those are compared."""
    return run.manifest.get("device", "cpu") == "cpu"


def seconds_until(run: Run, date: float) -> float:
    """One-thread training seconds at `date` examples, from the run's mean rate; nan for a run on another device than the CPU."""
    return math.nan if not on_cpu(run) else run.manifest["training_seconds"] * date / int(run.history.examples.max())


CELL = ("dimension", "labels", "setting", "seed")
FOLLOWS = 0.25  # sum of the weights from which a prediction is said to follow a system at all
FALL = 0.1  # in mean squared error: what ends a plateau
OBSERVATION_LED, LABEL_LED = 0.25, 0.75  # of the label index at k = 2: below and above, a run has a kind


def _cell(run: Run) -> dict:
    task = run.config["task"]
    return dict(zip(CELL, (task["dimension"], task["labels"], run.config["setting"], run.config["seed"])))


def curves(runs: list[Run], points: int = 40) -> pd.DataFrame:
    """Training curves for charts: one row per run, N >= 2 and evaluation.

    Columns: dimension, labels, setting, seed, systems, examples (thousands), error1..3 (mean squared error of k-after-query)
    and index1..3 (label index on misdirected prompts; nan where the weights sum to less than FOLLOWS, since a share of
    nearly nothing is noise).  At most about `points` evaluations a run, evenly spaced in log.
    """
    tables = []
    for run in runs:
        query = run.history[(run.history.event == "query") & (run.history.k <= 3) & (run.history.systems > 1) & (run.history.examples > 0)]
        steps = sorted(query.step.unique())
        targets = [steps[0] * (steps[-1] / steps[0]) ** (i / (points - 1)) for i in range(points)]
        kept = {min(steps, key=lambda s: abs(math.log(s / target))) for target in targets}
        query = query[query.step.isin(kept)]
        key = ["systems", "examples"]
        error = query[query.condition == "plain"].pivot(index=key, columns="k", values="mean").add_prefix("error")
        wrong = query[query.condition == "misdirected"]
        weight = wrong.filter(like="weight_").sum(axis=1)
        index = wrong.assign(label_index=wrong.label_index.where(weight >= FOLLOWS)).pivot(index=key, columns="k", values="label_index").add_prefix("index")
        tables.append(error.join(index).reset_index().assign(**_cell(run)))
    table = pd.concat(tables, ignore_index=True).round(4)
    return table.assign(examples=table.examples / 1000)[[*CELL, "systems", "examples", *(f"{c}{k}" for c in ("error", "index") for k in (1, 2, 3))]]


def finals(runs: list[Run]) -> pd.DataFrame:
    """Errors and label index of the published models: one row per run, N >= 2, k and condition."""
    tables = []
    for run in runs:
        rows = run.final[(run.final.event == "query") & (run.final.systems > 1)]
        tables.append(rows.assign(error=rows["mean"], **_cell(run)))
    table = pd.concat(tables, ignore_index=True).round(4)
    return table.reindex(columns=[*CELL, "systems", "k", "condition", "error", "score", "label_index"])


def levels(counts=(2, 4, 8), wrong: bool = False) -> pd.DataFrame:
    """Reference lines per N: zero predictor, label-blind average and, if asked, the wrong system's next state."""
    rows = []
    for N in counts:
        rows += [dict(systems=N, level=1.0, words="zero predictor"),
                 dict(systems=N, level=blind_error(N), words="label-blind average")]
        if wrong:
            rows.append(dict(systems=N, level=2.0, words="the wrong system's next state"))
    return pd.DataFrame(rows)


def kind(run: Run, systems: int = 2) -> str:
    """`label-led`, `observation-led` or `between`, by the label index of the published model at k = 2;
    `no look-up` where the label does not yet rule k = 1."""
    rows = curve(run.final.assign(examples=0), 1, systems), curve(run.final.assign(examples=0), 2, systems, "misdirected")
    if not rows[0].score.iloc[0] >= 0.5:
        return "no look-up"
    index = rows[1].label_index.iloc[0]
    return "label-led" if index > LABEL_LED else "observation-led" if index < OBSERVATION_LED else "between"


def dates(run: Run, systems: int, window: int = 3) -> dict[str, Emergence]:
    """Emergence of each ability by the identification score at N = `systems`; window as in `evaluation.emergence`."""
    curves = {name: curve(run.history, k, systems) for name, k in ABILITIES.items()}
    if run.manifest.get("ended") == "diverged":
        return {name: _never(each) for name, each in curves.items()}
    return {name: emergence(each, window=window) for name, each in curves.items()}


def plateaus(runs: list[Run]) -> pd.DataFrame:
    """Where 1-after-query waits: one row per run and N >= 2.

    plateau: median of its mean error over the evaluations from the emergence of 2-after on, for as long as it has not
    fallen by more than FALL below its value there; nan where that is fewer than three evaluations.  The rule knows no
    level, so it would find a plateau at the label-blind average just as well.  blind: (N - 1)/N.
    """
    rows = []
    for run in runs:
        for N in (N for N in run.config["evaluation"]["systems"] if N > 1):
            go_on, waiting = dates(run, N)["2-after"], curve(run.history, 1, N)
            waiting = waiting[waiting.examples >= go_on.by]["mean"]
            fallen = (waiting < waiting.iloc[:1].sum() - FALL).cummax()
            level = waiting[~fallen]
            rows.append(_cell(run) | dict(systems=N, plateau=level.median() if len(level) >= 3 else math.nan,
                                          blind=blind_error(N), evaluations=len(level)))
    return pd.DataFrame(rows)


def distance(table: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    """`training.needle_distance` of the given runs with their cells: 1-after for either needle, 2-after for the farthest.

    Columns dimension, labels, setting, seed, systems (2), examples (thousands), curve, mean, score.
    """
    cells = pd.DataFrame([{"run": run.name, **_cell(run)} for run in runs], columns=["run", *CELL])
    joined = table.merge(cells, on="run")
    joined = joined[(joined.examples > 0) & ((joined.needle == "farthest") | (joined.k == 1))]
    curve = joined.k.astype(str) + "-after, " + joined.needle
    return joined.assign(curve=curve, systems=2, examples=joined.examples / 1000)[
        [*CELL, "systems", "examples", "curve", "mean", "score"]].round(4).reset_index(drop=True)


def overview(runs: list[Run]) -> pd.DataFrame:
    """The table of all runs, a line each: cost, dates in thousands of examples, order, misdirected errors, kind.

    A date is nan where the ability had not emerged by the end of the run (right-censored there), or where the prompt
    would hold more systems than there are labels.
    """
    lines = []
    for run in runs:
        row = describe(run)
        line = _cell(run) | {"kind": kind(run), "steps": row["steps"], "examples (thousands)": row["examples"] / 1000, "seconds": row["seconds"]}
        line["to both"] = seconds_until(run, max((date.date for date in dates(run, 2).values()), key=lambda d: (math.isnan(d), d)))
        for title, key in (("score", "emergence"), ("median < ½", "study_cutoff")):
            for ability in ABILITIES:
                for N in (2, 4):
                    line[f"{ability}, N={N} ({title})"] = row[key][ability].get(N, math.nan) / 1000
        for k in (1, 2, 3):
            line[f"misdirected {k}-after"] = row["misdirected"][2][k]["error"]
        for k in (1, 2, 3):
            line[f"label index {k}"] = row["misdirected"][2][k]["label_index"]
        lines.append(line)
    return pd.DataFrame(lines).sort_values(list(CELL)).reset_index(drop=True)


def plateau_table(runs: list[Run]) -> pd.DataFrame:
    """`plateaus` by dimension, labels, setting and N: median and range over runs, as text."""
    rows = []
    for key, group in plateaus(runs).groupby(["dimension", "labels", "setting", "systems"]):
        there = group.plateau.dropna()
        spread = f"{there.min():.2f} to {there.max():.2f}" if len(there) > 1 else "–"
        rows.append(dict(zip(("n", "labels", "setting", "N"), key)) | {
            "runs": len(group), "with a plateau": len(there), "1-after waits at": f"{there.median():.2f}" if len(there) else "–",
            "range": spread, "zero predictor": "1.00", "label-blind average": f"{group.blind.iloc[0]:.2f}"})
    return pd.DataFrame(rows)


def _digits(places: int):
    return lambda value: "–" if math.isnan(value) else f"{value:,.{places}f}"


def formats(table: pd.DataFrame) -> dict:
    """How `overview` prints: dates and counts whole, errors and indices with two digits."""
    whole = {c: _digits(0) for c in table if c in ("examples (thousands)", "seconds", "to both") or "N=" in c}
    return whole | {c: _digits(2) for c in table if c.startswith(("misdirected", "label index"))}


def atlas(runs: list[Run]) -> pd.DataFrame:
    """Every evaluation of every run for the page's explorer: one row per run, N >= 2 and evaluation.

    Columns: dimension, labels, setting, seed, systems, examples, mean1, median1, mean2, median2: running medians over three
    evaluations of the mean and the median squared error of 1- and 2-after-query, as `evaluation.emergence` takes them.
    """
    tables = []
    for run in runs:
        for N in (N for N in run.config["evaluation"]["systems"] if N > 1):
            parts = {}
            for k in ABILITIES.values():
                rows = curve(run.history, k, N).set_index("examples")
                parts |= {f"{column}{k}": smooth(rows[column]) for column in ("mean", "median")}
            tables.append(pd.DataFrame(parts).reset_index().assign(systems=N, **_cell(run)))
    table = pd.concat(tables, ignore_index=True).round(3)
    return table[[*CELL, "systems", "examples", "mean1", "median1", "mean2", "median2"]]


def gaps(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Both dates by dimension, labels and setting: one row per cell.

    Columns n, labels, setting, seeds; reached 2-after, reached 1-after; their median dates in thousands of examples (a run
    that never got there counts as later than all); both, seconds (training, one thread, median likewise); 2-after first, 1-after first, together (seeds, by `order_of`); and, where every seed reached both, the geometric mean of the ratio of the dates with
    the 95 % t interval of its logarithm.
    """
    rows = []
    for key, group in cells(runs).items():
        when = pd.DataFrame([{name: each.date for name, each in dates(run, systems).items()} for run in group])
        ratio = np.log((when["1-after"] / when["2-after"]).to_numpy())
        line = dict(zip(("n", "labels", "setting"), key)) | {"seeds": len(group)}
        for name in reversed(ABILITIES):
            line |= {f"reached {name}": int(when[name].notna().sum()), f"{name}, median": median(when[name]) / 1000}
        line["both, seconds"] = median(pd.Series([seconds_until(run, max(each, key=lambda d: (math.isnan(d), d))) for run, each in zip(group, when.to_numpy()) if on_cpu(run)]))
        orders = [order_of(run, systems) for run in group]
        line |= {order: orders.count(order) for order in ("2-after first", "1-after first", "together")}
        known = len(group) >= 3 and not np.isnan(ratio).any()
        low, high = stats.ttest_1samp(ratio, 0.0).confidence_interval(0.95) if known else (math.nan, math.nan)
        rows.append(line | dict(ratio=math.exp(ratio.mean()) if known else math.nan, low=math.exp(low), high=math.exp(high)))
    return pd.DataFrame(rows)


def survival(runs: list[Run], systems: int = 2) -> pd.DataFrame:
    """Share of seeds that have each ability, over training: one minus the Kaplan-Meier estimate, runs that ended without it censored there.

    Columns dimension, labels, setting, ability, examples (thousands; from 0 to the end of the shortest run), share, seeds.  Cells of three seeds or more.
    """
    rows = []
    for key, group in cells(runs, 3).items():
        found = [dates(run, systems) for run in group]
        for name in ABILITIES:
            each = [when[name] for when in found]
            curve = stats.ecdf(stats.CensoredData.right_censored([e.date if e.reached else e.examples for e in each], [not e.reached for e in each])).cdf
            end = min(e.examples for e in each)
            steps = [(0.0, 0.0), *((float(q), float(p)) for q, p in zip(curve.quantiles, curve.probabilities) if q <= end)]
            for examples, share in [*steps, (end, steps[-1][1])]:
                rows.append(dict(zip(("dimension", "labels", "setting"), key)) | dict(ability=f"{name}-query", examples=round(examples / 1000, 1), share=round(share, 3), seeds=len(group)))
    return pd.DataFrame(rows)


def order_of(run: Run, systems: int = 2, window: int = 3) -> str:
    """`2-after first`, `1-after first`, `together` (in the same interval between evaluations) or `neither`.

    An ability that the run did not reach counts as later than one that it did.
    """
    when = dates(run, systems, window)
    begin, go_on = when["1-after"], when["2-after"]
    if not begin.reached and not go_on.reached:
        return "neither"
    if not begin.reached or (go_on.reached and go_on.by <= begin.after):
        return "2-after first"
    if not go_on.reached or begin.by <= go_on.after:
        return "1-after first"
    return "together"


def median(values: pd.Series) -> float:
    """Median with nan counted as later than everything: nan where half of the runs or more never got there.

    Between a reached and a missing value (even counts) the answer is nan too, and without values.
    """
    if not len(values):
        return math.nan
    ordered = sorted(values, key=lambda value: (math.isnan(value), value))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return sum(middle) / 2


def cells(runs: list[Run], least: int = 1) -> dict[tuple, list[Run]]:
    """Runs by (dimension, labels, setting), for the cells with at least `least` seeds."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(_cell(run).values())[:3], []).append(run)
    return {key: group for key, group in sorted(groups.items()) if len(group) >= least}
