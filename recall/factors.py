"""What the order of the two abilities depends on: one line per run of every committed table (`sweep.table`), and the runs whose order is the other one.

An ability that had not come by the end of a run is shown at its end, and said to be missing.  Families without an identification score are dated by the
study's cutoff, median error below 1/2, which a model that averages may pass.
"""

from __future__ import annotations

import math

import pandas as pd

from recall import runs, summary
from recall.runs import Run

BASE = "fast-1"
KINDS = {  # prefix of a setting: kind of factor
    "layers": "size", "width": "size", "library": "library", "short": "segments", "long-segments": "segments", "vocabulary": "labels", "study": "generator",
    "rotations": "family", "identity": "family", "gaussian": "family", "muon": "optimiser", "momentum": "optimiser", "batch": "optimiser", "gpt2": "optimiser",
    "equal": "family", "no-repeats": "generator", "balanced": "generator",
}
TABLES = ("search", "final", "fresh", "adamw", "factors", "cues")  # of one line per run
ABILITIES = {"1-after": "1-after-query", "2-after": "2-after-query"}


def kind(setting: str) -> str | None:
    """The kind of factor of a setting, None for one that is none."""
    return next((kind for prefix, kind in KINDS.items() if setting.startswith(prefix)), None)


def dated(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """Dates of the runs of `factors` and `cues` that change one thing at dimension 5 with 4 labels (the labels apart), a row per run and ability.

    Columns kind, setting, seed, ability, examples (thousands), state (`there`, `not there when the run ended`), rule (`score`, `median`), index (label index of
    2-after).  Every kind holds the base runs too, `fast-1` with the seeds of its other runs.
    """
    changed = table.assign(kind=table.setting.map(kind)).dropna(subset="kind")
    changed = changed[(changed.dimension == 5)]
    base = pd.DataFrame([summary.flat(summary.describe(run)) for run in atlas])
    base = base[(base.dimension == 5) & (base.labels == 4) & (base.setting == BASE)]
    rows = []
    for name, group in changed.groupby("kind"):
        for row in pd.concat([base[base.seed.isin(group.seed)], group]).to_dict("records"):
            scored = not any(map(row["setting"].startswith, ("rotations", "identity", "gaussian")))
            for ability, words in ABILITIES.items():
                date = row[f"{ability} N=2" if scored else f"cutoff {ability} N=2"]
                rows.append(dict(kind=name, setting=row["setting"] if row["setting"] != BASE else "unchanged", seed=row["seed"], ability=words,
                                 examples=(row["examples"] if math.isnan(date) else date) / 1000,
                                 state="not there when the run ended" if math.isnan(date) else "there", rule="score" if scored else "median", index=row["label index 2 N=2"]))
    return pd.DataFrame(rows).round({"examples": 1, "index": 2})


def every(atlas: list[Run], committed: list[Run]) -> pd.DataFrame:
    """One line per run that any committed table or folder has, by name: name, setting, dimension, labels, seed and both dates (N = 2, score 1/2)."""
    folders = pd.DataFrame([summary.flat(summary.describe(run)) for run in atlas + committed])
    lines = pd.concat([folders, *map(runs.table, TABLES)], ignore_index=True)
    return lines.drop_duplicates("name")[["name", "setting", "dimension", "labels", "seed", "1-after N=2", "2-after N=2"]].reset_index(drop=True)


def inversions(lines: pd.DataFrame) -> pd.DataFrame:
    """The runs of `every` whose 1-after-query came first, or alone."""
    begin, go_on = lines["1-after N=2"], lines["2-after N=2"]
    return lines[begin.notna() & ~(go_on <= begin)]
