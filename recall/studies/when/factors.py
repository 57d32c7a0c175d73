"""What the order of the two abilities depends on: one line per run of every committed table (`measures.lines`), and
the runs whose order is the other one.

An ability that had not come by the end of a run is shown at its end, and said to be missing.  Families without an
identification score are dated by the study's cutoff, median error below 1/2, which a model that averages may pass.
"""

from __future__ import annotations

import pandas as pd

from recall import data, measures, stats
from recall.evaluation import curve, emergence
from recall.measures import ABILITIES, cell_of, cells
from recall.runs import Run
from recall.studies.when import knockouts

BASE, UNCHANGED = "fast-1", "unchanged"  # the setting that the others differ from, and what a page calls it
DIMENSION, LABELS = 5, 4  # where one thing is changed
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
UNSCORED = ("rotations", "identity", "gaussian")  # families without an identification score


def kind(setting: str) -> str | None:
    """The kind of factor of a setting, None for one that is none."""
    return next((kind for prefix, kind in KINDS.items() if setting.startswith(prefix)), None)


def unchanged(atlas: list[Run], seeds) -> list[Run]:
    """The runs that others differ from in one thing, of these seeds."""
    base = cells(atlas).get((DIMENSION, LABELS, BASE), [])
    return [run for run in base if run.config["seed"] in set(seeds)]


def dated(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """Dates of the runs of `factors` and `cues` that change one thing at dimension 5 with 4 labels (the labels
    apart), a row per run and ability.

    Columns kind, setting, seed, ability, examples (thousands), state (`there`, `not there when the run ended`), rule
    (`score`, `median`), index (label index of 2-after).  Every kind holds the base runs too, with the seeds of its
    other runs."""
    changed = table[table.dimension == DIMENSION]
    changed = changed.assign(kind=changed.setting.map(kind)).dropna(subset="kind")
    parts = []
    for name, group in changed.groupby("kind"):
        base = measures.lines(unchanged(atlas, group.seed)).assign(setting=UNCHANGED)
        both = pd.concat([base, group], ignore_index=True)
        scored = ~both.setting.str.startswith(UNSCORED)
        abilities = []
        for ability in ABILITIES:
            date = both[f"{ability} N=2"].where(scored, both[f"cutoff {ability} N=2"])
            found = dict(
                ability=f"{ability}-query",
                examples=date.fillna(both.examples) / 1000,
                state=date.notna().map({True: "there", False: "not there when the run ended"}),
                rule=scored.map({True: "score", False: "median"}),
                index=both["label index 2 N=2"],
            )
            abilities.append(both[["setting", "seed"]].assign(**found))
        parts.append(pd.concat(abilities).sort_index(kind="stable").assign(kind=name))
    columns = "kind setting seed ability examples state rule index".split()
    return pd.concat(parts, ignore_index=True)[columns].round({"examples": 1, "index": 2})


def ratios(chosen: list[Run], systems: int = 2) -> pd.DataFrame:
    """Both dates of runs at every one of THRESHOLDS: columns name, dimension, labels, setting, seed, threshold,
    ability, date (examples; nan: not by the end), end.  Only runs with an identification score, and not one whose
    loss diverged.
    """
    rows = []
    for run in chosen:
        curves = {name: curve(run.history, k, systems) for name, k in ABILITIES.items()}
        if run.manifest.get("ended") == "diverged" or any(each.score.isna().all() for each in curves.values()):
            continue
        for threshold in THRESHOLDS:
            for name, each in curves.items():
                found = emergence(each, threshold=threshold)
                dates = dict(threshold=threshold, ability=name, date=found.date, end=found.examples)
                rows.append(dict(name=run.name) | cell_of(run) | dates)
    return pd.DataFrame(rows)


def ratio_map(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """How many octaves 1-after-query comes after 2-after-query, by setting and threshold, at dimension 5 with 4
    labels; above 0, going on came first.

    table: `ratios` of the settings' runs; those of BASE with the same seeds are put first.  A row per threshold and
    setting: threshold, and `knockouts.gaps`: setting, runs with either ability, in how many going on came first,
    mean, low, high, bound."""
    own = table[(table.dimension == DIMENSION) & (table.labels == LABELS)]
    both = pd.concat([ratios(unchanged(atlas, own.seed)).assign(setting=UNCHANGED), own])
    rows = [knockouts.gaps(group).assign(threshold=threshold) for threshold, group in both.groupby("threshold")]
    return pd.concat(rows, ignore_index=True)


def every(atlas: list[Run], committed: list[Run]) -> pd.DataFrame:
    """One line per run that any committed table or folder has, by name: name, setting, dimension, labels, seed,
    examples (at the end of the run) and both dates (N = 2, score 1/2).
    """
    lines = pd.concat([measures.lines(atlas + committed), *map(data.table, TABLES)], ignore_index=True)
    columns = ["name", "setting", "dimension", "labels", "seed", "examples", "1-after N=2", "2-after N=2"]
    return lines.drop_duplicates("name")[columns].reset_index(drop=True)


def inversions(lines: pd.DataFrame) -> pd.DataFrame:
    """The runs of `every` whose 1-after-query came first, or alone."""
    begin, go_on = lines["1-after N=2"], lines["2-after N=2"]
    return lines[begin.notna() & ~(go_on <= begin)]


VOCABULARIES = {  # (labels, setting): what is trained
    (4, BASE): "4 labels, N ≤ 4",
    (8, "vocabulary-8"): "8 labels, N ≤ 4",
    (8, BASE): "8 labels, N ≤ 8",
}


def vocabulary(table: pd.DataFrame, atlas: list[Run]) -> pd.DataFrame:
    """More labels, or more systems?  A row per dimension and one of the VOCABULARIES, at the dimensions and seeds of
    `vocabulary-8`: dimension, training (of VOCABULARIES), runs, `reached` and indices (label index of 2-after of the
    runs that look up).

    table: lines of `measures.lines`.
    """
    crossed = table[table.setting == "vocabulary-8"]
    base = measures.lines([run for run in atlas if run.config["setting"] == BASE])
    base = base[base.dimension.isin(crossed.dimension) & base.seed.isin(crossed.seed)]
    lines = pd.concat([base, crossed], ignore_index=True)
    lines["training"] = [VOCABULARIES.get(key) for key in zip(lines.labels, lines.setting)]
    rows = []
    for (n, training), group in lines.groupby(["dimension", "training"]):
        indices = sorted(group["label index 2 N=2"][group["1-after N=2"].notna()])
        rows.append(dict(dimension=n, training=training, runs=len(group)) | reached(group) | dict(indices=indices))
    return pd.DataFrame(rows)


def alone(lines: pd.DataFrame) -> pd.DataFrame:
    """AdamW alone, of `every`: a row per dimension and label count, with runs, longest (examples) and `reached`."""
    rows = []
    for (n, labels), group in lines[lines.setting.str.startswith("adamw")].groupby(["dimension", "labels"]):
        counts = dict(dimension=n, labels=labels, runs=len(group), longest=int(group.examples.max()))
        rows.append(counts | reached(group))
    return pd.DataFrame(rows)


def reached(lines: pd.DataFrame) -> dict:
    """For either ability in how many runs it came, and when (examples; median, nan where half of them or more ended
    without).
    """
    found = {}
    for ability in reversed(ABILITIES):
        dates = lines[f"{ability} N=2"]
        found |= {f"reached {ability}": int(dates.notna().sum()), f"{ability}, median": stats.median(dates)}
    return found
