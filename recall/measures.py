"""One row per run: cost, when each ability emerged, how the finished model treats a misdirected label."""

from __future__ import annotations

import math

import pandas as pd

from recall import runs
from recall.evaluation import NEVER, Emergence, curve, emergence, first_below
from recall.runs import WEIGHTS, Run
from recall.studies.abilities import costs


def lines(finished: list[runs.Run]) -> pd.DataFrame:
    """One line per run: what `python -m recall runs` prints, and the prices of `recall.studies.abilities.costs`."""
    return pd.DataFrame([flat(describe(each)) | costs.price(each) for each in finished])


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
        return {
            int(row.k): dict(error=float(row["mean"]), label_index=float(row.get("label_index", math.nan)))
            for row in rows
        }

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
    """One-thread training seconds at `date` examples, from the run's mean rate; nan for a run on another device than
    the CPU.
    """
    return math.nan if not on_cpu(run) else run.manifest["training_seconds"] * date / int(run.history.examples.max())


CELL = ("dimension", "labels", "setting", "seed")
OBSERVATION_LED, LABEL_LED = 0.25, 0.75  # of the label index at k = 2: below and above, a run has a kind


def cell_of(run: Run) -> dict:
    task = run.config["task"]
    return dict(zip(CELL, (task["dimension"], task["labels"], run.config["setting"], run.config["seed"])))


def kind(run: Run, systems: int = 2) -> str:
    """`label-led`, `observation-led` or `between`, by the label index of the published model at k = 2;
    `no look-up` where the label does not yet rule k = 1."""
    rows = (
        curve(run.final.assign(examples=0), 1, systems),
        curve(run.final.assign(examples=0), 2, systems, "misdirected"),
    )
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


def cells(runs: list[Run], least: int = 1) -> dict[tuple, list[Run]]:
    """Runs by (dimension, labels, setting), for the cells with at least `least` seeds."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(cell_of(run).values())[:3], []).append(run)
    return {key: group for key, group in sorted(groups.items()) if len(group) >= least}


def label_index(run: Run) -> float:
    """Of 2-after-query under a misdirected label, of the finished model (N = 2)."""
    return float(curve(run.final.assign(examples=0), 2, 2, "misdirected").label_index.iloc[0])
