"""The four ways in sentences."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from recall.evaluation import THRESHOLD
from recall.measures import dates
from recall.runs import Run
from recall.stats import LEAST, MARGIN, equivalent, interval, share, sign_test
from recall.studies.which_way.ways import LAGS, ROLES, RUN, SYSTEMS, WAYS, kinds, lag_dates, middle, trained


def _mean(values, digits: int = 2, sign: str = "") -> str:
    """Mean with its 95 % t interval over seeds; points where there are fewer than LEAST."""
    values = [value for value in values if not math.isnan(value)]
    if len(values) < LEAST:
        return (
            " / ".join(f"{value:{sign}.{digits}f}" for value in sorted(values))
            if len(values) <= 3
            else f"{min(values):{sign}.{digits}f} to {max(values):{sign}.{digits}f}"
        )
    mean, low, high = interval(values)
    return f"{mean:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def _thousand(value: float) -> str:
    return f"{value / 1000:,.0f}" if math.isfinite(value) else "never"


def _before(a: pd.DataFrame, b: pd.DataFrame) -> pd.Series:
    """By run: `before` where a showed first, `after`, `tie` between the same two checkpoints, `neither`.  a, b: rows
    of `showings`, indexed alike.
    """
    early, late = a.by.fillna(math.inf) <= b.after.fillna(math.inf), b.by.fillna(math.inf) <= a.after.fillna(math.inf)
    return pd.Series(
        np.select([a.date.isna() & b.date.isna(), early, late], ["neither", "before", "after"], "tie"), a.index
    )


PAIRS = (("pool", "match"), ("carry on", "look up"), ("match", "carry on"), ("match", "look up"))


def dated(found: pd.DataFrame) -> pd.DataFrame:
    """For the page: a line per dimension and way.  found: `showings`.  A run in which a way never shows counts as
    later than any.
    """
    rows = []
    for (n, way), group in found.groupby(["dimension", "way"], sort=False):
        date = group.date.fillna(math.inf)
        shown = group.date.notna()
        rows.append(
            {
                "way": way,
                "n": n,
                "shows in": f"{shown.sum()} of {len(group)}",
                "thousand examples, median": _thousand(date.median()),
                "earliest": _thousand(date.min()),
                "latest": _thousand(date.max()),
                "kept to the end": f"{(group.kept & shown).sum()} of {shown.sum()}" if shown.any() else "–",
                "largest value": f"{group.most.min():.2f} to {group.most.max():.2f}",
            }
        )
    return pd.DataFrame(rows)


def order(found: pd.DataFrame, starts: pd.DataFrame | None = None) -> str:
    """In what order the ways show, with a sign test over seeds for each pair and dimension.  found: `showings`;
    starts: `ways_starts`.
    """
    lines = []
    for n, group in found.groupby("dimension"):
        way = {name: each.set_index("seed") for name, each in group.groupby("way")}
        middle = {name: each.date.fillna(math.inf).median() for name, each in way.items()}
        never = [name for name in WAYS if way[name].date.isna().all()]
        there = sorted((name for name in WAYS if math.isfinite(middle[name])), key=lambda name: middle[name])
        few = [
            f"*{name}* in {way[name].date.notna().sum()}" for name in WAYS if name not in never and name not in there
        ]
        parts = []
        for a, b in PAIRS:
            if a in never or b in never:
                continue
            said = _before(way[a], way[b])
            count, result = (said == "before").sum(), share((said == "before").tolist())
            tail = "" if math.isnan(result.p) else f" (one-sided sign test p = {result.p:.3f})"
            ties = f", between the same two checkpoints in {(said == 'tie').sum()}" if (said == "tie").any() else ""
            parts.append(f"*{a}* before *{b}* in {count} of {len(said)} seeds{tail}{ties}")
        lines.append(
            f"* **n = {n}**: "
            + ("by their median dates " + " → ".join(f"*{name}*" for name in there) + ". " if there else "")
            + (
                f"Shown by half of the {len(group.seed.unique())} seeds or fewer: " + ", ".join(few) + ". "
                if few
                else ""
            )
            + ("; ".join(parts) + ". " if parts else "")
            + _fitted(n, group, way["match"], starts)
            + (
                f"Never seen in any of {len(group.seed.unique())} seeds: "
                + ", ".join(f"*{name}* (largest value {way[name].most.max():.2f})" for name in never)
                + "."
                if never
                else ""
            )
        )
    whole = found.groupby(["dimension", "seed"]).date.apply(lambda date: date.notna().all())
    return (f"All four ways show in {whole.sum()} of {len(whole)} runs.\n\n") + "\n".join(lines)


def _fitted(n, group, match, starts):
    """Regression inside a segment, before or after matching."""
    if starts is None:
        return ""
    fit = starts[(starts.dimension == n) & (starts.setting == group.setting.iloc[0])].set_index("seed").fit
    first = (fit.reindex(match.index).fillna(math.inf) < match.date.fillna(math.inf)).sum()
    return (
        "Regression inside the first segment, which all of them begin with, is there from "
        f"{_thousand(fit.fillna(math.inf).median())} thousand examples on (median), before *match* shows in "
        f"{first} of {len(match)} seeds. "
    )


def ends(ways: pd.DataFrame, setting: str = "fast-1") -> pd.DataFrame:
    """For the page: the finished models on conflict prompts, a line per dimension and k: weights, what they explain,
    and to whom single answers are nearest.
    """
    last = trained(ways, setting).groupby([*RUN, "k"]).last().reset_index()
    return pd.DataFrame(
        [
            {
                "n": n,
                "k": k,
                **{f"{role}, weight": _mean(group[role]) for role in ROLES},
                "explained": _mean(group.explained),
                "nearest to label / observed / recent / other": " / ".join(
                    f"{group[f'nearest_{role}'].mean():.2f}" for role in ROLES
                ),
            }
            for (n, k), group in last.groupby(["dimension", "k"])
        ]
    )


def carried(ways: pd.DataFrame, setting: str = "fast-1") -> str:
    """Does a model ever carry on whatever the label says?  Weight of the most recent system at k = 1 under a label
    that names another.
    """
    lines = []
    for n, group in trained(ways[ways.k == 1], setting).groupby("dimension"):
        most, last = group.groupby("seed").recent.max(), group.groupby("seed").recent.last()
        above_half = int((most >= THRESHOLD).sum())
        said = (
            "at some time the models carry on whatever the label says"
            if above_half == len(most)
            else "no model carries on against a label that names another system"
            if not above_half
            else f"{above_half} of {len(most)} models carry on at some time against a label that names another system"
        )
        lines.append(
            f"* **n = {n}**: {said}: the most recent system's weight is {_mean(most)} at its largest and "
            f"{_mean(last)} at the end."
        )
    return "\n".join(lines)


def say(found: pd.DataFrame) -> str:
    """Is the label heard first at k = 1, where only it can tell, or at k = 2, where the states tell as well?  found:
    `says`.
    """
    lines = []
    for n, group in found.groupby("dimension"):
        first, second = (group[group.k == k].set_index("seed") for k in (1, 2))
        said = _before(second, first)
        counts = {name: int((said == name).sum()) for name in ("before", "after", "tie", "neither")}
        p = sign_test(counts["before"], counts["after"])
        more = "at k = 2 *before* k = 1" if counts["before"] > counts["after"] else "at k = 2 *after* k = 1"
        verdict = (
            "too few seeds for a verdict"
            if math.isnan(p)
            else f"the label has a say {more}"
            if p <= 0.05
            else "no clear order"
        )
        test = "" if math.isnan(p) else f" (two-sided sign test p = {p:.3f})"
        octaves = [value for value in np.log2(second.date / first.date) if not math.isnan(value)]
        rest = "".join(
            f", {words} in {counts[name]}"
            for name, words in (("tie", "between the same two checkpoints"), ("neither", "neither ever"))
            if counts[name]
        )
        lines.append(
            f"* **n = {n}**: {verdict}: k = 2 before k = 1 in {counts['before']} of {len(said)} seeds, after it in "
            f"{counts['after']}{rest}{test}"
            + (
                f"; from k = 1 to k = 2 it takes {_mean(octaves, sign='+')} doublings of training in the "
                f"{len(octaves)} with both."
                if octaves
                else "."
            )
        )
    return "\n".join(lines)


def by_lag(lags: pd.DataFrame, setting: str = "fast-1") -> str:
    """Is the segment just before recalled earlier than the farthest?  And where do answers point, meanwhile, that
    should go one further back?
    """
    table, lines = lag_dates(lags, setting), []
    for n, group in table.groupby("dimension"):
        near, far = group["lag 1"], group["lag 4"].fillna(group.end)
        octaves = (far / near).map(lambda ratio: math.log2(ratio) if ratio > 0 else math.nan).dropna()
        late = int((group["lag 4"].isna() & near.notna()).sum())
        mean, low, high = interval(octaves)
        verdict = (
            "too few seeds for a verdict"
            if len(octaves) < LEAST
            else "recall of the segment just before comes earlier"
            if low > 0
            else "recall of the segment just before comes *later*"
            if high < 0
            else "no clear difference"
        )
        reached = ", ".join(f"lag {lag} in {group[f'lag {lag}'].notna().sum()}" for lag in LAGS)
        octave_words = f"{mean:.2f} ({low:.2f} to {high:.2f})" if len(octaves) >= LEAST else _mean(octaves)
        line = (
            f"* **n = {n}**: {verdict}. Of {len(group)} seeds 1-after-query emerged at {reached}; from lag 1 to lag "
            "4 it took "
            f"{'at least ' * bool(late)}{octave_words} doublings of "
            f"training{f' ({late} had not reached lag 4 by the end, which counts here as the date)' if late else ''}."
        )
        line += _pointed(lags[(lags.dimension == n)], group, setting)
        lines.append(line)
    return "\n".join(lines)


def _pointed(lags, dates, setting):
    """What answers to a label of lag 2 point to at the first checkpoint at which lag 1 has emerged, and at the end."""
    second = trained(lags[lags.lag == 2], setting)
    there = dates.dropna(subset=["lag 1"]).set_index("seed")["lag 1"]
    then = [second[(second.seed == seed) & (second.examples >= date)].iloc[0] for seed, date in there.items()]
    if not then:
        return ""
    last = second.groupby("seed").last()
    return (
        f" When lag 1 has just emerged, {_mean([row.to_nearest for row in then])} of the answers to a label that "
        f"names lag 2 point at lag 1, {_mean([row.to_named for row in then])} where they should "
        f"(chance ¼); at the end {_mean(last.to_nearest)} and {_mean(last.to_named)}."
    )


def bigram(tables: dict[str, pd.DataFrame], cues: pd.DataFrame, finished: list[Run], dimension: int = 5) -> str:
    """Is recall at lag 1 only the bigram `)j (j`?  By what was declared in `recall.sweeps.cues`: then it is gone in
    models that were trained without repeats, and recall over a longer distance keeps its date.  cues: the table of
    that sweep; finished: the atlas's runs, for the dates of `fast-1`.

    Asked twice: of the finished models, and of the head start that lag 1 has over lag 2 while they train (`starts`)."""
    lines, last = [], {}
    for setting in ("fast-1", "balanced", "no-repeats"):
        table = trained(tables["ways_lags"][tables["ways_lags"].dimension == dimension], setting)
        if table.empty:
            continue
        last[setting] = table.groupby(["seed", "lag"]).score.last().unstack()
        know = last[setting][[2, 3, 4]].mean(axis=1) >= THRESHOLD
        lines.append(
            f"* **{setting}**, {len(know)} seeds, {know.sum()} of which recall at lags 2 to 4: final score at lag "
            + ", ".join(f"{lag}: {_mean(last[setting][lag][know])}" for lag in LAGS)
            + "."
            if know.any()
            else f"* **{setting}**, {len(know)} seeds, none of which recalls at lags 2 to 4."
        )
        last[setting] = last[setting][know]
    head = {
        setting: _head(tables["ways_starts"], dimension, setting) for setting in ("fast-1", "no-repeats", "balanced")
    }
    words = [_at_the_end(last["no-repeats"])] if "no-repeats" in last else []
    words += [_ahead(head)] if len(head["no-repeats"]) else []
    lines += [
        f"* **{setting}**: lag 1 is ahead of lag 2 (N = 2) by {_mean(each, sign='+')} doublings of training, "
        f"{len(each)} seeds."
        for setting, each in head.items()
        if len(each)
    ]
    start = {
        run.config["seed"]: dates(run, SYSTEMS)["1-after"].date
        for run in finished
        if (run.config["setting"], run.config["task"]["dimension"], run.config["task"]["labels"])
        == ("fast-1", dimension, SYSTEMS)
    }
    for setting in ("no-repeats", "balanced"):
        own = cues[(cues.setting == setting) & (cues.dimension == dimension)].set_index("seed")[f"1-after N={SYSTEMS}"]
        both = [seed for seed in own.index if seed in start]
        octaves = [
            math.log2(own[seed] / start[seed])
            for seed in both
            if not (math.isnan(own[seed]) or math.isnan(start[seed]))
        ]
        if both:
            _, low, high = interval(octaves)
            said = (
                ""
                if len(octaves) < LEAST
                else ": *later*"
                if low > 0
                else ": *earlier*"
                if high < 0
                else ": no clear change"
            )
            lines.append(
                f"* Farthest needle (N = {SYSTEMS}), **{setting}** against fast-1 by seed: 1-after-query emerged in "
                f"{own.notna().sum()} of {len(own)} seeds (fast-1: {sum(not math.isnan(start[s]) for s in both)} of "
                f"{len(both)}); "
                + (
                    f"in the {len(octaves)} pairs with both dates it took {_mean(octaves, sign='+')} doublings "
                    f"more{said}."
                    if octaves
                    else "no pair has both dates."
                )
            )
    return "\n\n".join(words) + "\n\n" + "\n".join(lines)


def _head(starts: pd.DataFrame, dimension: int, setting: str) -> pd.Series:
    """Doublings of training from recall at lag 1 to recall at lag 2, by seed; a run without lag 2 has its end as a
    bound, one without lag 1 is left out.
    """
    own = (
        starts[(starts.dimension == dimension) & (starts.setting == setting)].dropna(subset=["near"]).set_index("seed")
    )
    return np.log2(own.far.fillna(own.end) / own.near)


def _at_the_end(alone: pd.DataFrame) -> str:
    """Of finished models trained without repeats that recall at all.  alone: score by seed and lag."""
    if len(alone) < LEAST:
        return (
            f"**That recall at lag 1 is only the bigram** `)j (j`: *undecided*: {len(alone)} models trained "
            f"without repeats recall at all, {LEAST} are needed."
        )
    _, low, high = interval(alone[1])
    _, less, more = interval(alone[1] - alone[2])
    verdict = (
        "it *survives*: without repeats in training there is no recall at lag 1"
        if high < THRESHOLD
        else "*undecided*: the interval holds ½"
        if low < THRESHOLD
        else "it is *refuted* of finished models: those that never saw a system twice in a row recall at lag 1 all "
        "the same"
    )
    compared = "below 0" if more < 0 else "above 0" if less > 0 else "not clearly different from 0"
    return (
        f"**That recall at lag 1 is only the bigram** `)j (j`: {verdict} (score {_mean(alone[1])}; less that at "
        f"lag 2 {_mean(alone[1] - alone[2], sign='+')}, which is {compared})."
    )


def _ahead(head: dict[str, pd.Series]) -> str:
    """Of the head start: does it go with repeats in training?  Paired by seed."""
    less = (head["fast-1"] - head["no-repeats"]).dropna()
    if len(less) < LEAST:
        return f"**That its head start is**: *undecided*, {len(less)} pairs of seeds, {LEAST} are needed."
    _, low, high = interval(less)
    _, left, most = interval(head["no-repeats"])
    verdict = (
        "it *survives*: without repeats the head start is smaller"
        + (
            ", and none is clearly left"
            if left <= 0 <= most
            else ", though some is left"
            if left > 0
            else ", even reversed"
        )
        if low > 0
        else "it is *refuted*: without repeats the head start is larger"
        if high < 0
        else "*undecided*: no clear difference without repeats"
    )
    return (
        f"**That its head start is**: {verdict} (lag 1 ahead of lag 2 by {_mean(less, sign='+')} doublings more "
        "with repeats than without, paired by seed)."
    )


def unseen(found: pd.DataFrame) -> str:
    """Does matching under an unseen label give way to what Bayes does?  found: `collapses`."""
    lines = []
    for n, group in found.groupby("dimension"):
        fell = group.dropna(subset=["fell"])
        above = int((group.peak >= THRESHOLD).sum())
        never = int(((group.peak >= THRESHOLD) & group.fell.isna()).sum())
        lines.append(
            f"* **n = {n}**: the observed system's weight at k = 2 rises to {_mean(group.peak)} and ends at "
            f"{_mean(group['last'])}; {_verdict(equivalent(group.gap.tolist()))} "
            f"It fell below ½ for good in {len(fell)} of the {above} seeds that had been above"
            + (f" ({never} had not by the end)." if never else ".")
            + _fall(group[group.peak >= THRESHOLD])
        )
        for kind, members in group.groupby("kind"):
            test = equivalent(members.gap.tolist())
            lines.append(
                f"    * {kind}, {len(members)} seed{'s' * (len(members) > 1)}: model less Bayes "
                f"{_mean(members.gap, sign='+')}" + ("." if math.isnan(test.p) else f"; {_verdict(test)}")
            )
    return "\n".join(lines)


def _fall(group: pd.DataFrame) -> str:
    """When the weight fell, against the dates of look-up and of recall at lag 1; what never came is later than what
    did.  group: rows of `collapses` that had been above 1/2.
    """
    fell, asked = group.fell.fillna(math.inf), group["looked up"].fillna(math.inf)
    before, after = int((fell < asked).sum()), int((fell > asked).sum())
    if not before + after:
        return ""
    p = sign_test(before, after)
    when = (
        "too few seeds to tell whether the fall or look-up comes first"
        if math.isnan(p)
        else "no clear order of the fall and look-up"
        if p > 0.05
        else f"the fall comes *{'before' if before > after else 'after'}* look-up"
    )
    test = "" if math.isnan(p) else f", two-sided sign test p = {p:.3f}"
    octaves = [
        math.log2(row.fell / row.lag)
        for row in group.rename(columns={"lag 1": "lag"}).itertuples()
        if row.fell > 0 and row.lag > 0
    ]
    return (
        f" Of the two dates: {when} (fall before look-up in {before} of {len(group)} seeds, after it in {after}{test})"
        + (
            f"; from the date of recall at lag 1 to the fall it takes {_mean(octaves, sign='+')} doublings of training."
            if octaves
            else "."
        )
    )


def _verdict(result) -> str:
    if math.isnan(result.p):
        return f"{LEAST} seeds are needed for a test against Bayes."
    said = "*as Bayes*" if result.p <= 0.05 else "*not as Bayes*" if result.refuted else "*undecided*"
    return (
        f"{said}: model less Bayes {result.estimate:+.2f}, 90 % interval {result.low:+.2f} to {result.high:+.2f}, "
        f"margin ±{MARGIN}, p {'< 0.001' if result.p < 0.001 else f'= {result.p:.3f}'}."
    )


def mixture(tables: dict[str, pd.DataFrame], setting: str = "fast-1") -> str:
    """A mixture within each answer, or either the one or the other by turns?  Asked where neither rules alone: a
    pooled share of the label from 1/4 to 3/4.
    """
    table = middle(trained(tables["ways_histogram"], setting)).set_index(RUN)
    kind = kinds(tables["ways"], setting).reindex(table.index)
    lines = []
    for name, group in table.groupby(kind):
        less = group.traces - group.mixture
        line = (
            f"* **{name}**, {len(group)} model{'s' * (len(group) > 1)}: {_mean(group.traces)} of the prompts have "
            f"a label's share between ¼ and ¾; {_mean(group.mixture)} if every prompt had the same mixture."
        )
        if name == "between":
            _, low, high = interval(less)
            line += f" Difference {_mean(less, sign='+')}: " + (
                "too few models for a verdict."
                if len(group) < LEAST
                else "*either/or*: answers are purer than a mixture's."
                if high < 0
                else "*a mixture*: no purer than that."
                if low > -MARGIN
                else "*undecided*."
            )
        lines.append(line)
    return "\n".join(lines)
