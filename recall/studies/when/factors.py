"""What the order of the two abilities depends on: one line per run of every committed table (`measures.lines`), and
the runs whose order is the other one.

An ability that had not come by the end of a run is shown at its end, and said to be missing.  Families without an
identification score are dated by the study's cutoff, median error below 1/2, which a model that averages may pass.
"""

from __future__ import annotations

import math

import pandas as pd

from recall import data, measures, stats
from recall.evaluation import curve, emergence
from recall.runs import Run
from recall.studies.when import knockouts

BASE = "fast-1"
THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 10))  # of the identification score
KINDS = {  # prefix of a setting: kind of factor
    "layers": "size",
    "width": "size",
    "library": "library",
    "short": "segments",
    "long-segments": "segments",
    "vocabulary": "labels",
    "study": "generator",
    "rotations": "family",
    "identity": "family",
    "gaussian": "family",
    "muon": "optimiser",
    "adamw.": "optimiser",
    "momentum": "optimiser",
    "batch": "optimiser",
    "gpt2": "optimiser",
    "equal": "family",
    "no-repeats": "generator",
    "balanced": "generator",
}
TABLES = ("search", "final", "fresh", "adamw", "factors", "cues")  # of one line per run
ABILITIES = {"1-after": "1-after-query", "2-after": "2-after-query"}


def kind(setting: str) -> str | None:
    """The kind of factor of a setting, None for one that is none."""
    return next((kind for prefix, kind in KINDS.items() if setting.startswith(prefix)), None)


def dated(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """Dates of the runs of `factors` and `cues` that change one thing at dimension 5 with 4 labels (the labels
    apart), a row per run and ability.

    Columns kind, setting, seed, ability, examples (thousands), state (`there`, `not there when the run ended`), rule
    (`score`, `median`), index (label index of 2-after).  Every kind holds the base runs too, `fast-1` with the seeds
    of its other runs."""
    changed = table.assign(kind=table.setting.map(kind)).dropna(subset="kind")
    changed = changed[(changed.dimension == 5)]
    base = pd.DataFrame([measures.flat(measures.describe(run)) for run in atlas])
    base = base[(base.dimension == 5) & (base.labels == 4) & (base.setting == BASE)]
    rows = []
    for name, group in changed.groupby("kind"):
        for row in pd.concat([base[base.seed.isin(group.seed)], group]).to_dict("records"):
            scored = not any(map(row["setting"].startswith, ("rotations", "identity", "gaussian")))
            for ability, words in ABILITIES.items():
                date = row[f"{ability} N=2" if scored else f"cutoff {ability} N=2"]
                rows.append(
                    dict(
                        kind=name,
                        setting=row["setting"] if row["setting"] != BASE else "unchanged",
                        seed=row["seed"],
                        ability=words,
                        examples=(row["examples"] if math.isnan(date) else date) / 1000,
                        state="not there when the run ended" if math.isnan(date) else "there",
                        rule="score" if scored else "median",
                        index=row["label index 2 N=2"],
                    )
                )
    return pd.DataFrame(rows).round({"examples": 1, "index": 2})


def ratios(chosen: list[Run], systems: int = 2) -> pd.DataFrame:
    """Both dates of runs at every one of THRESHOLDS: columns name, dimension, labels, setting, seed, threshold,
    ability, date (examples; nan: not by the end), end.  Only runs with an identification score, and not one whose
    loss diverged.
    """
    rows = []
    for run in chosen:
        config = run.config
        curves = {name: curve(run.history, k, systems) for name, k in measures.ABILITIES.items()}
        if run.manifest.get("ended") == "diverged" or any(each.score.isna().all() for each in curves.values()):
            continue
        for threshold in THRESHOLDS:
            for name, each in curves.items():
                found = emergence(each, threshold=threshold)
                rows.append(
                    dict(
                        name=run.name,
                        dimension=config["task"]["dimension"],
                        labels=config["task"]["labels"],
                        setting=config["setting"],
                        seed=config["seed"],
                        threshold=threshold,
                        ability=name,
                        date=found.date,
                        end=found.examples,
                    )
                )
    return pd.DataFrame(rows)


def ratio_map(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """How many octaves 1-after-query comes after 2-after-query, by setting and threshold, at dimension 5 with 4
    labels; above 0, going on came first.

    table: `ratios` of the settings' runs; those of BASE with the same seeds are put first.  A row per threshold and
    setting: threshold, and `knockouts.gaps`: setting, runs with either ability, in how many going on came first,
    mean, low, high, bound."""
    own = table[(table.dimension == 5) & (table.labels == 4)]
    base = [
        run
        for run in atlas
        if run.config["setting"] == BASE
        and (run.config["task"]["dimension"], run.config["task"]["labels"]) == (5, 4)
        and run.config["seed"] in set(own.seed)
    ]
    both = pd.concat([ratios(base).assign(setting="unchanged"), own])
    rows = [knockouts.gaps(group).assign(threshold=threshold) for threshold, group in both.groupby("threshold")]
    return pd.concat(rows, ignore_index=True)


def every(atlas: list[Run], committed: list[Run]) -> pd.DataFrame:
    """One line per run that any committed table or folder has, by name: name, setting, dimension, labels, seed,
    examples (at the end of the run) and both dates (N = 2, score 1/2).
    """
    folders = pd.DataFrame([measures.flat(measures.describe(run)) for run in atlas + committed])
    lines = pd.concat([folders, *map(data.table, TABLES)], ignore_index=True)
    return lines.drop_duplicates("name")[
        ["name", "setting", "dimension", "labels", "seed", "examples", "1-after N=2", "2-after N=2"]
    ].reset_index(drop=True)


def inversions(lines: pd.DataFrame) -> pd.DataFrame:
    """The runs of `every` whose 1-after-query came first, or alone."""
    begin, go_on = lines["1-after N=2"], lines["2-after N=2"]
    return lines[begin.notna() & ~(go_on <= begin)]


VOCABULARIES = {(4, BASE): "4 labels, N ≤ 4", (8, "vocabulary-8"): "8 labels, N ≤ 4", (8, BASE): "8 labels, N ≤ 8"}


def vocabulary(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """More labels, or more systems?  A row per dimension and one of the VOCABULARIES, at the dimensions and seeds of
    `vocabulary-8`: dimension, training (in words), runs, `_both` and indices (label index of 2-after of the runs
    that look up).

    table: lines of `measures.lines`.
    """
    crossed = table[table.setting == "vocabulary-8"]
    base = pd.DataFrame([measures.flat(measures.describe(run)) for run in atlas if run.config["setting"] == BASE])
    lines = pd.concat(
        [base[base.dimension.isin(crossed.dimension) & base.seed.isin(crossed.seed)], crossed], ignore_index=True
    )
    lines["training"] = [VOCABULARIES.get(key) for key in zip(lines.labels, lines.setting)]
    return pd.DataFrame(
        [
            dict(dimension=n, training=words, runs=len(group))
            | _both(group)
            | dict(indices=sorted(group["label index 2 N=2"][group["1-after N=2"].notna()]))
            for (n, words), group in lines.groupby(["dimension", "training"])
        ]
    )


def alone(lines: pd.DataFrame) -> pd.DataFrame:
    """AdamW alone, of `every`: a row per dimension and label count, with runs, longest (examples) and `_both`."""
    own = lines[lines.setting.str.startswith("adamw")]
    return pd.DataFrame(
        [
            dict(dimension=n, labels=labels, runs=len(group), longest=int(group.examples.max())) | _both(group)
            for (n, labels), group in own.groupby(["dimension", "labels"])
        ]
    )


def _both(lines: pd.DataFrame) -> dict:
    """For either ability in how many runs it came, and when (examples; median, nan where half of them or more ended
    without).
    """
    return {
        key: value
        for ability in reversed(ABILITIES)
        for dates in [lines[f"{ability} N=2"]]
        for key, value in (
            (f"reached {ability}", int(dates.notna().sum())),
            (f"{ability}, median", stats.median(dates)),
        )
    }
