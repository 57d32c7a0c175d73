"""Loss knock-outs (`recall/sweeps/knockouts.py`) beside the atlas's runs of the same seed, which saw the same batches: does one ability need the other?

Two measures, in octaves (doublings of training examples), per seed:

    shift   of an ability: log2 of its date in the knock-out over its date in the run on the whole loss
    gap     between the abilities of one run: log2 of the date of 1-after-query over that of 2-after-query; above 0, going on came first

An ability that had not come by the end of its run counts as coming at the end: its shift is then a lower bound (`at least`) or, where the whole loss had not
brought it, an upper one (`at most`).  A mean over seeds with lower bounds among them is a lower bound.

The sweep's predictions left open what is "where it was": LEFT either way, set when 9 of the 25 runs had been seen.
"""

from __future__ import annotations

import math

import pandas as pd

from recall import dissect
from recall.claims import LEAST
from recall.runs import DATA, Run
from recall.summary import dates
from recall.sweeps.knockouts import WEIGHTS

FOLDER = DATA / "knockouts"
WHOLE = "whole loss"
WORDS = {
    WHOLE: "the whole loss",
    "no-first": "nothing asked of 1-after",
    "no-going-on": "of a resumed segment only 1-after asked",
    "two-alone": "only 1- and 2-after asked, equally",
    "first-x4": "1-after counts 4 times",
    "first-x16": "1-after counts 16 times",
}
assert list(WORDS)[1:] == list(WEIGHTS)
LEFT = 1.0  # octaves
PAIR = ("1-after", "2-after")
BOUNDS = {(True, True): "exact", (False, True): "at least", (True, False): "at most", (False, False): "neither"}  # by (reached, reached in the pair)


def pairs(atlas: list[Run], knocked: list[Run], systems: int = 2) -> pd.DataFrame:
    """One row per run and ability, the whole loss's first.  Only seeds of which there is a knock-out.

    Columns setting, seed, ability, date and end (examples; date nan: not by the end), shift, bound (of BOUNDS; nan for the whole loss itself).
    """
    seeds = {run.config["seed"] for run in knocked}
    base = {run.config["seed"]: run for run in atlas if run.config["seed"] in seeds and (run.config["task"]["dimension"], run.config["task"]["labels"]) == (5, 4)}
    rows = []
    for setting, run in [(WHOLE, run) for run in base.values()] + [(run.config["setting"], run) for run in knocked]:
        found, whole = dates(run, systems), dates(base[run.config["seed"]], systems)
        for ability in PAIR:
            new, old = found[ability], whole[ability]
            row = dict(setting=setting, seed=run.config["seed"], ability=ability, date=new.date, end=new.examples)
            if setting != WHOLE:
                row |= dict(shift=octaves(new, old), bound=BOUNDS[new.reached, old.reached])
            rows.append(row)
    table = pd.DataFrame(rows)
    return table.sort_values(["setting", "seed"], key=lambda column: column.map(list(WORDS).index) if column.name == "setting" else column, kind="stable", ignore_index=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`pairs` for a figure: asked (of WORDS), seed, ability, examples (thousands; the end of the run where it had not come), state."""
    return pd.DataFrame(dict(asked=table.setting.map(WORDS), seed=table.seed, ability=table.ability + "-query", examples=(table.date.fillna(table.end) / 1000).round(1),
                             state=table.date.notna().map({True: "there", False: "not there when the run ended"})))


def octaves(new, old) -> float:
    """log2 of one date over another; the end of the run stands for a date that has not come, nan where neither has."""
    when = lambda each: each.date if each.reached else each.examples
    return math.log2(when(new) / when(old)) if new.reached or old.reached else math.nan


def interval(values) -> tuple[float, float, float]:
    """`dissect.interval`, for three seeds or more: with two it says nothing."""
    mean, *ends = dissect.interval(values)
    return (mean, *ends) if len(values.dropna()) > 2 else (mean, math.nan, math.nan)


def shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Of each knock-out and ability: pairs, reached, mean shift with 95 % t interval over seeds, and whether all of it is exact.

    table: `pairs`.  bound: `exact`, or `at least`, `at most` where some are such bounds; `mixed` with both, and then the mean says nothing.
    """
    rows = []
    for (setting, ability), group in table[table.setting != WHOLE].groupby(["setting", "ability"], sort=False):
        mean, low, high = interval(group["shift"])
        kinds = set(group.bound) - {"exact", "neither"}
        rows.append(dict(setting=setting, ability=ability, pairs=len(group), reached=int(group.date.notna().sum()), mean=mean, low=low, high=high,
                         bound="exact" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"))
    return pd.DataFrame(rows)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Of each setting: runs, in how many going on came first, mean gap with 95 % t interval, bound.  Runs without either ability do not count.

    table: `pairs`.
    """
    rows = []
    for setting, group in table.groupby("setting", sort=False):
        wide = group.pivot(index="seed", columns="ability")
        begin, go_on = (wide["date"][name] for name in PAIR)
        filled = [wide["date"][name].fillna(wide["end"][name]) for name in PAIR]
        either = begin.notna() | go_on.notna()
        gap = (filled[0] / filled[1])[either].map(math.log2)
        kinds = {words for words, missing in (("at least", begin), ("at most", go_on)) if (missing.isna() & either).any()}
        mean, low, high = interval(gap)
        rows.append(dict(setting=setting, runs=int(either.sum()), first=int((gap > 0).sum()), mean=mean, low=low, high=high,
                         bound="exact" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"))
    return pd.DataFrame(rows)


def outcomes(table: pd.DataFrame) -> list[dict]:
    """The sweep's four predictions: prediction, found (in words), outcome: `held`, `failed`, `undecided`, or `not all runs are there`."""
    if not len(table):
        return []
    moved, apart = shifts(table).set_index(["setting", "ability"]), gaps(table).set_index("setting")
    rows = []
    for setting, ability, says in (("no-first", "2-after", "without a loss on 1-after, 2-after keeps its date"),
                                   ("no-going-on", "1-after", "without a loss on going on, 1-after keeps its date")):
        if (setting, ability) in moved.index:
            row = moved.loc[setting, ability]
            held = -LEFT < row.low and row.high < LEFT and row.low <= 0 <= row.high
            failed = row.bound in ("exact", "at least") and row.low > 0 or row.bound in ("exact", "at most") and row.high < 0
            rows.append(dict(prediction=says, found=f"its date moves by {_octaves(row)}, {int(row.pairs)} seeds",
                             outcome=_decided(row.pairs, held and row.bound == "exact", failed)))
    for setting, says, wants in (("two-alone", "if going on came first only by practice: asked equally, the dates come together", 0),
                                 ("first-x16", "if going on came first only by practice: counted 16 times, 1-after comes first", -1)):
        if setting in apart.index:
            row = apart.loc[setting]
            together = row.low <= 0 <= row.high if wants == 0 else row.high < 0
            rows.append(dict(prediction=says, found=f"2-after first in {int(row['first'])} of {int(row.runs)}; 1-after comes {_octaves(row)} after it (whole loss: {_octaves(apart.loc[WHOLE])})",
                             outcome=_decided(row.runs, together and row.bound == "exact", row.low > 0 and row.bound in ("exact", "at least"))))
    return rows


def _decided(count, held, failed) -> str:
    return "not all runs are there" if count < LEAST else "held" if held else "failed" if failed else "undecided"


def _octaves(row) -> str:
    bound = "" if row.bound == "exact" else f"{row.bound} "
    span = f" ({row.low:.2f} to {row.high:.2f})" if not math.isnan(row.low) else ""
    return f"{bound}{row['mean']:.2f} octaves{span}"
