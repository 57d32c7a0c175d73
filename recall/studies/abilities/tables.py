"""The two abilities over training, as tables: errors, label index, plateaus, nearest and farthest needle."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from recall import runs
from recall.evaluation import curve, table
from recall.measures import ABILITIES, CELL, cell_of, dates, describe, kind, later, seconds_until
from recall.needle import needle_prompts
from recall.predictors import blind_error
from recall.runs import Run
from recall.settings import from_json
from recall.training import build_model

FOLLOWS = 0.25  # sum of the weights from which a prediction is said to follow a system at all
FALL = 0.1  # in mean squared error: what ends a plateau


def needle_distance(folder: Path, haystacks: int = 16, traces: int = 32) -> pd.DataFrame:
    """A run's checkpoints on prompts of 2 systems, the needle farthest and nearest: one row per checkpoint, needle
    and k <= 2.

    Columns run, examples, needle, k, mean, score.  folder: a run folder that still has its checkpoints (they are not
    committed; training the run again makes them).
    """
    config = from_json(runs.read_config(folder))
    drawn = lambda needle: needle_prompts(config.task, 2, haystacks=haystacks, traces=traces, needle=needle, seed=2)
    prompts = {"farthest": drawn(0), "nearest": drawn(1)}
    tables = []
    for path in sorted((Path(folder) / "checkpoints").glob("step-*.safetensors")):
        model = build_model(config, runs.load_tensors(path)[0])
        examples = int(path.stem.removeprefix("step-")) * config.training.batch_size
        for needle, each in prompts.items():
            rows = table(model.predict, each, config.task).query("event == 'query' and k <= 2")
            tables.append(rows.assign(run=config.name, needle=needle, examples=examples))
    if not tables:
        raise ValueError(f"checkpoints must be in the run folder: {folder} has none left")
    return pd.concat(tables)[["run", "examples", "needle", "k", "mean", "score"]]


def curves(runs: list[Run], points: int = 40) -> pd.DataFrame:
    """Training curves for charts: one row per run, N >= 2 and evaluation.

    Columns: dimension, labels, setting, seed, systems, examples (thousands), error1..3 (mean squared error of
    k-after-query) and index1..3 (label index on misdirected prompts; nan where the weights sum to less than FOLLOWS,
    since a share of nearly nothing is noise).  At most about `points` evaluations a run, evenly spaced in log."""
    tables = []
    for run in runs:
        query = run.history.query("event == 'query' and k <= 3 and systems > 1 and examples > 0")
        steps = sorted(query.step.unique())
        targets = [steps[0] * (steps[-1] / steps[0]) ** (i / (points - 1)) for i in range(points)]
        kept = {min(steps, key=lambda s: abs(math.log(s / target))) for target in targets}
        query = query[query.step.isin(kept)]
        key = ["systems", "examples"]
        error = query[query.condition == "plain"].pivot(index=key, columns="k", values="mean").add_prefix("error")
        wrong = query[query.condition == "misdirected"]
        follows = wrong.filter(like="weight_").sum(axis=1) >= FOLLOWS
        wrong = wrong.assign(label_index=wrong.label_index.where(follows))
        index = wrong.pivot(index=key, columns="k", values="label_index").add_prefix("index")
        tables.append(error.join(index).reset_index().assign(**cell_of(run)))
    table = pd.concat(tables, ignore_index=True).round(4)
    columns = [*CELL, *"systems examples error1 error2 error3 index1 index2 index3".split()]
    return table.assign(examples=table.examples / 1000)[columns]


def finals(runs: list[Run]) -> pd.DataFrame:
    """Errors and label index of the published models: one row per run, N >= 2, k and condition."""
    tables = []
    for run in runs:
        rows = run.final[(run.final.event == "query") & (run.final.systems > 1)]
        tables.append(rows.assign(error=rows["mean"], **cell_of(run)))
    table = pd.concat(tables, ignore_index=True).round(4)
    return table.reindex(columns=[*CELL, "systems", "k", "condition", "error", "score", "label_index"])


def levels(counts=(2, 4, 8), wrong: bool = False) -> pd.DataFrame:
    """Reference lines per N: zero predictor, label-blind average and, if asked, the wrong system's next state."""
    rows = []
    for N in counts:
        lines = {"zero predictor": 1.0, "label-blind average": blind_error(N)}
        if wrong:
            lines["the wrong system's next state"] = 2.0
        rows += [dict(systems=N, level=level, words=words) for words, level in lines.items()]
    return pd.DataFrame(rows)


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
            plateau = level.median() if len(level) >= 3 else math.nan
            found = dict(systems=N, plateau=plateau, blind=blind_error(N), evaluations=len(level))
            rows.append(cell_of(run) | found)
    return pd.DataFrame(rows)


def distance(table: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    """`needle_distance` of the given runs with their cells: 1-after for either needle, 2-after for the farthest.

    Columns dimension, labels, setting, seed, systems (2), examples (thousands), curve, mean, score.
    """
    cells = pd.DataFrame([{"run": run.name, **cell_of(run)} for run in runs], columns=["run", *CELL])
    joined = table.merge(cells, on="run")
    joined = joined[(joined.examples > 0) & ((joined.needle == "farthest") | (joined.k == 1))]
    curve = joined.k.astype(str) + "-after, " + joined.needle
    joined = joined.assign(curve=curve, systems=2, examples=joined.examples / 1000)
    return joined[[*CELL, "systems", "examples", "curve", "mean", "score"]].round(4).reset_index(drop=True)


def overview(runs: list[Run]) -> pd.DataFrame:
    """The table of all runs, a line each: cost, dates in thousands of examples, order, misdirected errors, kind.

    A date is nan where the ability had not emerged by the end of the run (right-censored there), or where the prompt
    would hold more systems than there are labels.
    """
    lines = []
    for run in runs:
        row = describe(run)
        line = cell_of(run) | {
            "kind": kind(run),
            "steps": row["steps"],
            "examples (thousands)": row["examples"] / 1000,
            "seconds": row["seconds"],
            "to both": seconds_until(run, later(each.date for each in dates(run, 2).values())),
        }
        for title, key in (("score", "emergence"), ("median < ½", "study_cutoff")):
            for ability in ABILITIES:
                for N in (2, 4):
                    line[f"{ability}, N={N} ({title})"] = row[key][ability].get(N, math.nan) / 1000
        misdirected = row["misdirected"][2]
        line |= {f"misdirected {k}-after": misdirected[k]["error"] for k in (1, 2, 3)}
        line |= {f"label index {k}": misdirected[k]["label_index"] for k in (1, 2, 3)}
        lines.append(line)
    return pd.DataFrame(lines).sort_values(list(CELL)).reset_index(drop=True)


def _digits(places: int):
    return lambda value: "–" if math.isnan(value) else f"{value:,.{places}f}"


def formats(table: pd.DataFrame) -> dict:
    """How `overview` prints: dates and counts whole, errors and indices with two digits."""
    whole = {c: _digits(0) for c in table if c in ("examples (thousands)", "seconds", "to both") or "N=" in c}
    return whole | {c: _digits(2) for c in table if c.startswith(("misdirected", "label index"))}
