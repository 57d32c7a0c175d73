"""Loss knock-outs (`recall/sweeps/knockouts.py`) beside the atlas's runs of the same seed, which saw the same
batches: does one ability need the other?

Two measures, in octaves (doublings of training examples), per seed:

    shift   of an ability: log2 of its date in the knock-out over its date in the run on the whole loss
    gap     between the abilities of one run: log2 of the date of 1-after-query over that of 2-after-query; above 0, going on came first

An ability that had not come by the end of its run counts as coming at the end: its shift is then a lower bound (`at
least`) or, where the whole loss had not brought it, an upper one (`at most`).  A mean over seeds with lower bounds
among them is a lower bound, and has no interval: runs that end at one length hide how much seeds differ.  Its
direction is left to the sign test over seeds.

The sweep's predictions left open what is "where it was": LEFT either way, set when 9 of the 25 runs had been seen.
Dates "come together" within the same margin, set when 15 had been seen: that an interval holds 0 is not enough,
since a wide one always does."""

from __future__ import annotations

import math

import pandas as pd

from recall import stats
from recall.measures import dates
from recall.runs import Run
from recall.stats import LEAST, LEVEL
from recall.sweeps.knockouts import WEIGHTS

WHOLE = "whole loss"
WORDS = {
    WHOLE: "the whole loss",
    "no-first": "nothing asked of 1-after",
    "no-going-on": "of resumptions, 1-after alone asked",
    "two-alone": "only 1- and 2-after asked, equally",
    "first-x4": "1-after counts 4 times",
    "first-x16": "1-after counts 16 times",
}
assert list(WORDS)[1:] == list(WEIGHTS)
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


def interval(values, bound: str = "exact") -> tuple[float, float, float]:
    """`stats.interval` of values that are all exact: bounds have a mean, but no interval."""
    mean, low, high = stats.interval(values)
    return (mean, low, high) if bound == "exact" else (mean, math.nan, math.nan)


def signs(values) -> dict:
    """above, below: values on either side of 0; p of the two-sided sign test.  A bound that can tell its side counts like
    a value.
    """
    above, below = int((values > 0).sum()), int((values < 0).sum())
    return dict(above=above, below=below, p=stats.sign_test(above, below))


def _bound(kinds: set) -> str:
    """Of a mean, from those of its values."""
    kinds = kinds - {"exact"}
    return "exact" if not kinds else kinds.pop() if kinds in ({"at least"}, {"at most"}) else "mixed"


def all_on(row, side: str) -> bool:
    """All seeds on one side of 0, `above` or `below`, by the one-sided sign test at LEVEL: five of five is the least
    that passes.
    """
    other = row.above + row.below - row[side]
    return other == 0 and stats.sign_test(row[side], 0, "greater") <= LEVEL


def shifts(table: pd.DataFrame) -> pd.DataFrame:
    """Of each knock-out and ability: pairs, reached, mean shift with 95 % t interval over seeds (where all are
    exact), and `signs` of the shifts.

    table: `pairs`.  bound: `exact`, or `at least`, `at most` where some are such bounds; `mixed` with both or with a
    pair of two unknown dates, and then the mean says nothing."""
    rows = []
    for (setting, ability), group in table[table.setting != WHOLE].groupby(["setting", "ability"], sort=False):
        bound = _bound(set(group.bound))
        mean, low, high = interval(group["shift"], bound)
        rows.append(
            dict(
                setting=setting,
                ability=ability,
                pairs=len(group),
                reached=int(group.date.notna().sum()),
                mean=mean,
                low=low,
                high=high,
                bound=bound,
            )
            | signs(group["shift"])
        )
    return pd.DataFrame(rows)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Of each setting: runs, in how many going on came first, mean gap with 95 % t interval (where all are exact),
    bound, `signs`.  Runs without either ability do not count.

    table: `pairs`.
    """
    rows = []
    for setting, group in table.groupby("setting", sort=False):
        wide = group.pivot(index="seed", columns="ability")
        begin, go_on = (wide["date"][name] for name in PAIR)
        filled = [wide["date"][name].fillna(wide["end"][name]) for name in PAIR]
        either = begin.notna() | go_on.notna()
        gap = (filled[0] / filled[1])[either].map(math.log2)
        kinds = {
            words for words, missing in (("at least", begin), ("at most", go_on)) if (missing.isna() & either).any()
        }
        bound = _bound(kinds)
        mean, low, high = interval(gap, bound)
        rows.append(
            dict(
                setting=setting,
                runs=int(either.sum()),
                first=int((gap > 0).sum()),
                mean=mean,
                low=low,
                high=high,
                bound=bound,
            )
            | signs(gap)
        )
    return pd.DataFrame(rows)


def outcomes(table: pd.DataFrame) -> list[dict]:
    """The sweep's four predictions: prediction, found (in words), outcome: `held`, `failed`, `undecided`, or `not
    all runs are there`; complete: whether all of the sweep's runs are.

    No change (a date kept, dates together) holds if the 95 % interval holds 0 and lies within LEFT either way.  A
    prediction fails if the interval lies on the wrong side of 0, or, where some dates are bounds, if all seeds do
    (`all_on`)."""
    if not len(table):
        return []
    count = table[table.ability == PAIR[0]].setting.value_counts()
    complete = all(count.get(setting, 0) >= LEAST for setting in WEIGHTS)
    moved, apart = shifts(table).set_index(["setting", "ability"]), gaps(table).set_index("setting")
    rows = []
    for setting, ability, says in (
        ("no-first", "2-after", "without a loss on 1-after, 2-after keeps its date"),
        ("no-going-on", "1-after", "without a loss on going on, 1-after keeps its date"),
    ):
        if (setting, ability) in moved.index:
            row = moved.loc[setting, ability]
            failed = (
                row.low > 0
                or row.high < 0
                or row.bound == "at least"
                and all_on(row, "above")
                or row.bound == "at most"
                and all_on(row, "below")
            )
            rows.append(
                dict(
                    prediction=says,
                    found=f"its date moves by {_octaves(row)}, later in {int(row.above)} of {int(row.pairs)} seeds, "
                    f"reached in {int(row.reached)}",
                    outcome=_decided(row.pairs, _nothing(row), failed),
                    complete=complete,
                )
            )
    for setting, says, wants in (
        ("two-alone", "if going on came first only by practice: asked equally, the dates come together", 0),
        ("first-x16", "if going on came first only by practice: counted 16 times, 1-after comes first", -1),
    ):
        if setting in apart.index:
            row = apart.loc[setting]
            came = _nothing(row) if wants == 0 else row.high < 0 or row.bound == "at most" and all_on(row, "below")
            rows.append(
                dict(
                    prediction=says,
                    found=f"2-after first in {int(row['first'])} of {int(row.runs)}; 1-after comes {_octaves(row)} "
                    f"after it (whole loss: {_octaves(apart.loc[WHOLE])})",
                    outcome=_decided(row.runs, came, row.low > 0 or row.bound == "at least" and all_on(row, "above")),
                    complete=complete,
                )
            )
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


def _nothing(row) -> bool:
    """No change: the interval holds 0 and lies within LEFT either way."""
    return -LEFT < row.low <= 0 <= row.high < LEFT


def _decided(count, held, failed) -> str:
    return "not all runs are there" if count < LEAST else "held" if held else "failed" if failed else "undecided"


def _octaves(row) -> str:
    bound = "" if row.bound == "exact" else f"{row.bound} "
    span = f" ({row.low:.2f} to {row.high:.2f})" if not math.isnan(row.low) else ""
    return f"{bound}{row['mean']:.2f} octaves{span}"
