"""Loss knock-outs (`recall/sweeps/knockouts.py`) beside the atlas's runs of the same seed, which saw the same
batches: does one ability need the other?

Two measures, in octaves (doublings of training examples), per seed:

    shift   of an ability: log2 of its date in the knock-out over its date in the run on the whole loss
    gap     between the abilities of one run: log2 of the date of 1-after-query over that of 2-after-query; above 0,
            going on came first

An ability that had not come by the end of its run counts as coming at the end: its shift is then a lower bound (`at
least`) or, where the whole loss had not brought it, an upper one (`at most`).  A mean over seeds with lower bounds
among them is a lower bound, and has no interval: runs that end at one length hide how much seeds differ.  Its
direction is left to the sign test over seeds.

The sweep's predictions left open what is "where it was": LEFT either way, set when 9 of the 25 runs had been seen.
Dates "come together" within the same margin, set when 15 had been seen: that an interval holds 0 is not enough,
since a wide one always does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from recall import stats
from recall.measures import dates
from recall.runs import Run
from recall.stats import LEAST, LEVEL

WHOLE = "whole loss"
WORDS = {
    WHOLE: "the whole loss",
    "no-first": "nothing asked of 1-after",
    "no-going-on": "of resumptions, 1-after alone asked",
    "two-alone": "only 1- and 2-after asked, equally",
    "first-x4": "1-after counts 4 times",
    "first-x16": "1-after counts 16 times",
}
KNOCKOUTS = tuple(WORDS)[1:]  # settings of `recall.sweeps.knockouts`, in its order
LEFT = 1.0  # octaves
PAIR = ("1-after", "2-after")
BOTH_ASKED = ("two-alone", "first-x4", "first-x16")  # knock-outs whose loss asks for either ability
# by (reached, reached in the pair)
BOUNDS = {(True, True): "exact", (False, True): "at least", (True, False): "at most", (False, False): "neither"}


def pairs(atlas: list[Run], knocked: list[Run], systems: int = 2) -> pd.DataFrame:
    """One row per run and ability, the whole loss's first.  Only seeds of which there is a knock-out.

    Columns setting, seed, ability, date and end (examples; date nan: not by the end), shift, bound (of BOUNDS; nan
    for the whole loss itself)."""
    seeds = {run.config["seed"] for run in knocked}
    base = {
        run.config["seed"]: run
        for run in atlas
        if run.config["seed"] in seeds and (run.config["task"]["dimension"], run.config["task"]["labels"]) == (5, 4)
    }
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
    return table.sort_values(
        ["setting", "seed"],
        key=lambda column: column.map(list(WORDS).index) if column.name == "setting" else column,
        kind="stable",
        ignore_index=True,
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`pairs` for a figure: asked (of WORDS), seed, ability, examples (thousands; the end of the run where it had
    not come), state.
    """
    return pd.DataFrame(
        dict(
            asked=table.setting.map(WORDS),
            seed=table.seed,
            ability=table.ability + "-query",
            examples=(table.date.fillna(table.end) / 1000).round(1),
            state=table.date.notna().map({True: "there", False: "not there when the run ended"}),
        )
    )


def octaves(new, old) -> float:
    """log2 of one date over another; the end of the run stands for a date that has not come, nan where neither has."""
    when = lambda each: each.date if each.reached else each.examples
    return math.log2(when(new) / when(old)) if new.reached or old.reached else math.nan


def over_seeds(values: pd.Series, bounds: set) -> dict:
    """mean, low, high (95 % t interval), above, below (how many values lie on either side of 0), p (two-sided sign
    test) and bound.

    bounds: of the values, of BOUNDS.  bound: `exact`, or `at least`, `at most` where some are such bounds; then the
    mean is one too and has no interval.  `mixed` with both, or where nothing is known of a value: then the mean says
    nothing.  A bound that can tell its side counts in the sign test like a value."""
    bounds = bounds - {"exact"}
    bound = "exact" if not bounds else bounds.pop() if bounds in ({"at least"}, {"at most"}) else "mixed"
    mean, low, high = stats.interval(values)
    if bound != "exact":
        low, high = math.nan, math.nan
    above, below = int((values > 0).sum()), int((values < 0).sum())
    p = stats.sign_test(above, below)
    return dict(mean=mean, low=low, high=high, bound=bound, above=above, below=below, p=p)


def shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Of each knock-out and ability, from `pairs`: pairs, reached, and `over_seeds` of the shifts."""
    rows = []
    for (setting, ability), group in table[table.setting != WHOLE].groupby(["setting", "ability"], sort=False):
        counts = dict(pairs=len(group), reached=int(group.date.notna().sum()))
        rows.append(dict(setting=setting, ability=ability) | counts | over_seeds(group["shift"], set(group.bound)))
    return pd.DataFrame(rows)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Of each setting, from `pairs`: runs, in how many going on came first, and `over_seeds` of the gaps.  Runs without
    either ability do not count.
    """
    rows = []
    for setting, group in table.groupby("setting", sort=False):
        wide = group.pivot(index="seed", columns="ability")
        wide = wide[wide["date"].notna().any(axis=1)]
        begin, go_on = (wide["date"][name].fillna(wide["end"][name]) for name in PAIR)
        gap = (begin / go_on).map(math.log2)
        missing = wide["date"].isna().any()
        bounds = {bound for bound, name in zip(("at least", "at most"), PAIR) if missing[name]}
        rows.append(dict(setting=setting, runs=len(gap), first=int((gap > 0).sum())) | over_seeds(gap, bounds))
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Prediction:
    """Where a shift of `ability` lies, or (None) the gap between both, and where not.  ABOVE and BELOW 0: the 95 %
    interval does, or, where some dates are bounds, all seeds do.  UNMOVED: it holds 0 and lies within LEFT either way.
    """

    setting: str
    ability: str | None
    says: str
    expected: str
    refuted: tuple[str, ...]


ABOVE, BELOW, UNMOVED = "above", "below", "unmoved"
PREDICTIONS = (
    Prediction("no-first", "2-after", "without a loss on 1-after, 2-after keeps its date", UNMOVED, (ABOVE, BELOW)),
    Prediction("no-going-on", "1-after", "without a loss on going on, 1-after keeps its date", UNMOVED, (ABOVE, BELOW)),
    Prediction(
        "two-alone",
        None,
        "if going on came first only by practice: asked equally, the dates come together",
        UNMOVED,
        (ABOVE,),
    ),
    Prediction(
        "first-x16",
        None,
        "if going on came first only by practice: counted 16 times, 1-after comes first",
        BELOW,
        (ABOVE,),
    ),
)


def lies(row, where: str) -> bool:
    """A row of `shifts` or `gaps`."""
    if where == UNMOVED:
        return bool(-LEFT < row.low <= 0 <= row.high < LEFT)
    by_interval = row.low > 0 if where == ABOVE else row.high < 0
    of_bounds = row.bound == ("at least" if where == ABOVE else "at most")
    return bool(by_interval or (of_bounds and all_on(row, where)))


def all_on(row, side: str) -> bool:
    """All seeds on one side of 0, by the one-sided sign test at LEVEL: five of five is the least that passes."""
    other = row.above + row.below - row[side]
    return other == 0 and stats.sign_test(row[side], 0, "greater") <= LEVEL


def outcomes(table: pd.DataFrame) -> list[dict]:
    """The sweep's four predictions, from `pairs`: a row of `shifts` or `gaps` each, with prediction (in words), outcome
    (`held`, `failed`, `undecided`, or `not all runs are there`), complete (whether all of the sweep's runs are) and, of
    gaps, whole: the row of the whole loss.
    """
    if not len(table):
        return []
    count = table[table.ability == PAIR[0]].setting.value_counts()
    complete = all(count.get(setting, 0) >= LEAST for setting in KNOCKOUTS)
    moved, apart = shifts(table).set_index(["setting", "ability"]), gaps(table).set_index("setting")
    rows = []
    for each in PREDICTIONS:
        found, key = (moved, (each.setting, each.ability)) if each.ability else (apart, each.setting)
        if key not in found.index:
            continue
        row = found.loc[key]
        if row.get("pairs", row.get("runs")) < LEAST:
            outcome = "not all runs are there"
        elif lies(row, each.expected):
            outcome = "held"
        else:
            outcome = "failed" if any(lies(row, side) for side in each.refuted) else "undecided"
        rows.append(dict(prediction=each.says, outcome=outcome, complete=complete) | row.to_dict())
        if each.ability is None:
            rows[-1]["whole"] = apart.loc[WHOLE].to_dict()
    return rows


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """Runs asked for both abilities whose 1-after-query came first, or alone: setting, seed, 1-after, 2-after
    (examples).  table: `pairs`.
    """
    wide = (
        table[table.setting.isin(BOTH_ASKED)]
        .pivot(index=["setting", "seed"], columns="ability", values="date")
        .reindex(columns=list(PAIR))
        .reset_index()
    )
    return wide[wide["1-after"].notna() & ~(wide["2-after"] <= wide["1-after"])].reset_index(drop=True)
