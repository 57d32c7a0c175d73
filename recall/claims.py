"""Claims of the study, the rules that decide them, and what the committed runs say.

Written down before the runs that decide it (`recall/sweeps/atlas.py`, seeds 300 to 307, which nothing before has seen;
what was known came from other seeds): at most eight primary tests, corrected together by Holm's method at LEVEL.
Everything else in the book is exploratory.

A test is looked at once all of its seeds are there.  It passes by its p value, corrected; it is *refuted* if its interval, not
corrected, lies on the refuter's side; else it is *undecided*.  A claim is `reproduced` if all of its tests pass, `in part` if
some do, `not reproduced` if none does and one is refuted, `undecided` if none does and none is, `not tested` without one.

Amended on 2026-11-25, after the first run at n = 3 and before any at n = 5 had been looked at: refuters say the rule that is
computed, and only one side refutes; `abrupt-5` counts examples, not doublings, which favour whatever comes later; `flat-5`
compares errors, because an error that is flat has a score that is not; seeds that know labels are those of `summary.kind`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Callable

import numpy as np
import pandas as pd
from scipy import stats

from recall import dissect, methods, runs
from recall.evaluation import THRESHOLD, curve, emergence
from recall.runs import Run
from recall.summary import cells, kind, order_of
from recall.task import check

LEVEL = 0.05
MARGIN = 0.05  # of a score or an index: a difference smaller than that is no difference
LEAST = 5  # runs without which a test stays undecided
SETTING, LABELS, SEEDS = "fast-1", 4, range(300, 308)
ATLAS = runs.DATA / "atlas"


@dataclass(frozen=True)
class Result:
    """What a test found.  estimate with its interval: a share of runs or a mean over runs, as the test's `statistic` says.

    p: one-sided, of the claim's contrary; nan where fewer than LEAST runs can tell.  refuted: the interval lies on the
    refuter's side.
    """

    estimate: float
    low: float
    high: float
    p: float
    runs: int
    refuted: bool


NOTHING = (math.nan, math.nan, math.nan, math.nan)


def share(outcomes: list[bool]) -> Result:
    """Sign test: more than half of the runs.  Interval: Clopper-Pearson, 95 %."""
    if len(outcomes) < LEAST:
        return Result(*NOTHING, len(outcomes), False)
    test = stats.binomtest(sum(outcomes), len(outcomes), alternative="greater")
    interval = stats.binomtest(sum(outcomes), len(outcomes)).proportion_ci(0.95)
    return Result(sum(outcomes) / len(outcomes), interval.low, interval.high, test.pvalue, len(outcomes), interval.high < 0.5)


def above(values: list[float]) -> Result:
    """t test: the mean over runs is above 0.  Interval: 95 %."""
    if len(values) < LEAST:
        return Result(*NOTHING, len(values), False)
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    return Result(float(np.mean(values)), low, high, stats.ttest_1samp(values, 0.0, alternative="greater").pvalue, len(values), high < 0)


def equivalent(values: list[float], margin: float = MARGIN, worse: int = 0) -> Result:
    """Two one-sided t tests: the mean over runs lies within ±margin.  Interval: 90 %, the one that must lie inside.

    worse: 1 if only a mean above the margin refutes, -1 if only one below its negative, 0 for both.
    """
    if len(values) < LEAST:
        return Result(*NOTHING, len(values), False)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.90)
    p = max(stats.ttest_1samp(values, -margin, alternative="greater").pvalue, stats.ttest_1samp(values, margin, alternative="less").pvalue)
    return Result(float(np.mean(values)), low, high, p, len(values),
                  (low > margin and worse >= 0) or (high < -margin and worse <= 0))


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values; nan (undecided) counts as 1 and stays nan."""
    adjusted, running = [math.nan] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))):
        running = max(running, min(1.0, (len(p) - rank) * p[i])) if not math.isnan(p[i]) else 1.0
        adjusted[i] = math.nan if math.isnan(p[i]) else running
    return adjusted


# --- what one run says ------------------------------------------------------------------------------------------------

NEEDED = 2  # N at which everything but the two tests over N is asked; 4 is the largest that is trained


def goes_on_first(run: Run) -> bool:
    """2-after-query emerged, and before 1-after-query had: not within the same two evaluations."""
    return order_of(run, NEEDED) == "2-after first"


def rise(run: Run, k: int) -> float:
    """Examples while the score of k-after-query goes from 1/10 to 1/2, each for good; nan: not by the end.

    1/2 is where an ability has emerged; in earlier runs at n = 5, 1-after-query ended near 0.7, so that more asks too much.
    """
    rows = curve(run.history, k, NEEDED)
    low, high = (emergence(rows, threshold=threshold) for threshold in (0.1, THRESHOLD))
    return high.date - low.date


def begins_abruptly(run: Run) -> bool:
    """1-after-query rises within fewer examples than 2-after-query; a run where either does not get there counts against."""
    return rise(run, 1) < rise(run, 2)


def knows_labels(run: Run) -> bool:
    """The finished model looks labels up: only then can it be asked what a label does at k = 2."""
    return run.manifest.get("ended") != "diverged" and kind(run, NEEDED) != "no look-up"


def last(run: Run, k: int, column: str, systems: int = NEEDED, condition: str = "plain") -> float:
    """A statistic of k-after-query in the final table."""
    return float(curve(run.final.assign(examples=0), k, systems, condition)[column].iloc[0])


def label_index_2(run: Run) -> float:
    return last(run, 2, "label_index", condition="misdirected")


def misdirection_changes_2(run: Run) -> float:
    return last(run, 2, "score", condition="misdirected") - last(run, 2, "score")


def grows_with_systems(run: Run) -> float:
    """Growth of the mean squared error from N = 2 to 4, of 2-after less that of 1-after."""
    growth = {k: last(run, k, "mean", systems=4) - last(run, k, "mean", systems=2) for k in (1, 2)}
    return growth[2] - growth[1]


def begins_alike(run: Run) -> float:
    return last(run, 1, "mean", systems=4) - last(run, 1, "mean", systems=2)


# --- the eight tests --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Test:
    """test(values of `measure` over the runs at `dimension`); knowing: only runs whose finished model looks labels up."""

    id: str
    claim: str  # id of the study's claim that it decides
    dimension: int
    statistic: str
    rule: str
    refuter: str
    measure: Callable[[Run], float]
    test: Callable[[list], Result]
    knowing: bool = False


HALF = "with eight seeds that takes all of them, or seven if all other tests pass"
ORDER = dict(
    claim="two-abilities", measure=goes_on_first, test=share,
    statistic="share of seeds in which 2-after-query emerged before 1-after-query (identification score 1/2, N = 2, farthest needle)",
    rule=f"more than half of the seeds, one-sided sign test; an ability never reached counts as later than one that was, a tie against the claim; {HALF}",
    refuter="95 % interval below 1/2, that is 0 of 8",
)
DEAF = dict(
    claim="two-mechanisms", measure=label_index_2, test=partial(equivalent, worse=1), knowing=True,
    statistic="label index of 2-after-query under a misdirected label (0: the observation decides, 1: the label), mean over seeds that look labels up",
    rule=f"within ±{MARGIN} of 0, two one-sided t tests",
    refuter=f"90 % interval above {MARGIN}: the label has a say in what observations alone can tell",
)
TESTS = (
    Test("order-3", dimension=3, **ORDER),
    Test("order-5", dimension=5, **ORDER),
    Test("abrupt-5", claim="two-abilities", dimension=5, measure=begins_abruptly, test=share,
         statistic="share of seeds in which the score of 1-after-query goes from 1/10 to 1/2 within fewer examples than that of 2-after-query (N = 2)",
         rule=f"more than half of the seeds, one-sided sign test; a seed that does not get there counts against the claim; {HALF}",
         refuter="95 % interval below 1/2, that is 0 of 8"),
    Test("deaf-3", dimension=3, **DEAF),
    Test("deaf-5", dimension=5, **DEAF),
    Test("unchanged-5", claim="two-mechanisms", dimension=5, measure=misdirection_changes_2, test=partial(equivalent, worse=-1), knowing=True,
         statistic="identification score of 2-after-query with a misdirected label less that with the right one (N = 2), mean over seeds that look labels up",
         rule=f"within ±{MARGIN} of 0, two one-sided t tests", refuter=f"90 % interval below -{MARGIN}: the wrong label costs more than that"),
    Test("degrades-5", claim="degradation", dimension=5, measure=grows_with_systems, test=above, knowing=True,
         statistic="growth of the mean squared error from N = 2 to N = 4, of 2-after-query less that of 1-after-query, mean over seeds that look labels up",
         rule="above 0, one-sided t test", refuter="95 % interval below 0: the error of 1-after-query grows more"),
    Test("flat-5", claim="degradation", dimension=5, measure=begins_alike, test=equivalent, knowing=True,
         statistic="mean squared error of 1-after-query at N = 4 less that at N = 2, mean over seeds that look labels up",
         rule=f"within ±{MARGIN} of 0, two one-sided t tests", refuter=f"90 % interval beyond ±{MARGIN}"),
)

# id: what the study says (facts section 0)
CLAIMS = {
    "two-abilities": "Going on (2-after-query and later) is learnt much earlier than beginning again (1-after-query), which comes late and abruptly.",
    "two-mechanisms": "Two mechanisms are at work: the label decides 1-after-query, observations alone decide 2-after-query.",
    "degradation": "2-after-query gets worse with more systems in the haystack, while 1-after-query hardly depends on their number.",
    "separate-circuits": "The edges that pruning leaves for 1-after-query and for 2-after-query do not overlap.",
    "language": "In OLMo's checkpoints the second token of a task is predicted well earlier than the first.",
}


def outcomes(finished: list[Run], level: float = LEVEL) -> list[dict]:
    """The eight tests on the runs of the atlas: a row each, with Holm's p and `outcome` passed, refuted or undecided.

    level: of all together, in (0, 1).
    """
    check("level", 0 < level < 1, "between 0 and 1", level)
    rows = []
    for test in TESTS:
        cell = [run for run in cells(finished).get((test.dimension, LABELS, SETTING), []) if run.config["seed"] in SEEDS]
        used = [run for run in cell if knows_labels(run)] if test.knowing else cell
        values = [value for value in map(test.measure, used) if not math.isnan(value)]  # a label index of nearly no weight is nan
        whole = len(cell) == len(SEEDS)
        rows.append((test, len(cell), test.test(values) if whole else Result(*NOTHING, len(values), False)))
    adjusted = holm([result.p for _, _, result in rows])
    return [dict(id=test.id, claim=test.claim, dimension=test.dimension, statistic=test.statistic, rule=test.rule, refuter=test.refuter,
                 estimate=result.estimate, low=result.low, high=result.high, p=result.p, holm=p, runs=result.runs, seeds=seeds,
                 outcome="passed" if p <= level else "refuted" if result.refuted else "undecided")
            for (test, seeds, result), p in zip(rows, adjusted)]


def status(tests: list[dict]) -> str:
    """Of a claim, from the outcomes of its tests."""
    passed = [row["outcome"] == "passed" for row in tests]
    if not any(row["seeds"] for row in tests):
        return "not tested"
    if any(passed):
        return "reproduced" if all(passed) else "in part"
    return "not reproduced" if any(row["outcome"] == "refuted" for row in tests) else "undecided"


def evidence(row: dict) -> str:
    """One test's outcome in words."""
    if row["seeds"] < len(SEEDS):
        return f"{row['id']}: {row['seeds']} of {len(SEEDS)} seeds have been run"
    if math.isnan(row["p"]):
        return f"{row['id']}: undecided, {row['runs']} of {row['seeds']} seeds can tell ({LEAST} are needed)"
    level = 90 if "90 %" in row["refuter"] else 95
    estimate, low, high = written(row)
    return (f"{row['id']}: {row['outcome']}, {estimate} ({level} % interval {low} to {high}, {row['runs']} of {row['seeds']} seeds; "
            f"p {_p(row['p'])}, by Holm {_p(row['holm'])})")


def written(row: dict) -> tuple[str, str, str]:
    """Estimate and ends of the interval of a test: with two decimals, or as many as it takes to tell either end from 0, up to four."""
    values = [row[key] for key in ("estimate", "low", "high")]
    digits = next((d for d in (2, 3) if all(round(value, d) for value in values[1:])), 4)
    return tuple(f"{value:.{digits}f}" for value in values)


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def separate_circuits(circuits: pd.DataFrame) -> dict:
    """Rule, refuter, evidence and status of the claim about edges, by the rule of `recall.dissect` in every corruption of which there
    are enough models: `reproduced` if all are separate, `not reproduced` if none is and all overlap beyond chance, else `in part`."""
    found = {name: group for name, group in dissect.overlaps(dissect.declared(dissect.last_steps(circuits))).groupby("corruption", sort=False) if len(group) >= dissect.LEAST}
    separate = [dissect.verdict(group.shared) == "separate" for group in found.values()]
    beyond = [dissect.interval(group.overlap - group.null)[1] > 0 for group in found.values()]
    words = []
    for name, group in found.items():
        mean, low, high = dissect.interval(group.overlap)
        words.append(f"{name}: {dissect.verdict(group.shared)}, overlap {mean:.2f} (95 % interval {low:.2f} to {high:.2f}, {len(group)} models; "
                     f"chance {group.null.mean():.2f}, same task twice {group.ceiling.mean():.2f})")
    return dict(rule=f"shared part of the overlap, between chance and the same task twice: its 95 % interval over models below {dissect.LOW}, in every corruption",
                refuter="95 % interval of the overlap beyond chance above 0", evidence="; ".join(words),
                status="not tested" if not found else "reproduced" if all(separate) else "not reproduced" if not any(separate) and all(beyond) else "in part")


def in_language(gaps: dict[str, pd.DataFrame]) -> dict:
    """Rule, refuter, evidence and status of the claim about language models, of a small one trained here: `only at this scale` at best,
    since no checkpoint of OLMo's was run.  gaps: `half` and `toy`, of `recall.language.results.gaps`."""
    words, above, below = [], [], []
    for by, table in gaps.items():
        own = table[(table.words == "invented") & (table.labels == "arbitrary")].dropna(subset=["octaves"])
        octaves, late = own.octaves, int(own["first"].isna().sum())
        mean, low, high = dissect.interval(octaves)
        above.append(low > 0 and len(octaves) >= LEAST), below.append(high < 0 and len(octaves) >= LEAST)
        span = f"in {late} the first token never got there, so the interval {low:.2f} to {high:.2f} is of lower bounds" if late else f"95 % interval {low:.2f} to {high:.2f}"
        words.append(f"dates at {'half of the bits' if by == 'half' else 'an identification score of 1/2'}: {'at least ' * (late > 0)}{mean:.2f} octaves ({len(octaves)} seeds; {span})")
    return dict(rule="octaves between the dates of the first and the second token, in a small OLMo-2 trained here on words whose two tokens bear the same bits and are met equally often: "
                     "95 % interval over seeds above 0, by both dates", refuter="95 % interval below 0, by either date",
                evidence="; ".join(words) + "; OLMo's own checkpoints were not run",
                status="only at this scale" if all(above) else "not reproduced" if any(below) else "undecided")


def table(finished: list[Run], level: float = LEVEL, circuits: pd.DataFrame | None = None, language: dict[str, pd.DataFrame] | None = None) -> list[dict]:
    """Every claim: id, claim, refuter, rule, evidence, status.  circuits: as `recall.dissect` makes them.  language: as in `in_language`."""
    tests = outcomes(finished, level)
    rows = []
    for name, claim in CLAIMS.items():
        own = [row for row in tests if row["claim"] == name]
        join = lambda key: "; ".join(dict.fromkeys(row[key] for row in own))
        rows.append(dict(id=name, claim=claim, refuter=join("refuter"), rule=join("rule"),
                         evidence="; ".join(map(evidence, own)), status=status(own)))
        if name == "separate-circuits" and circuits is not None:
            rows[-1] |= separate_circuits(circuits)
        if name == "language" and language is not None:
            rows[-1] |= in_language(language)
    return rows


# --- what the reviewers asked (facts section 9, paraphrased) ----------------------------------------------------------

ELSEWHERE = "Does it happen in other hybrid tasks and other language models?"
CONTROLS = "Does the absence of shared edges survive controls: the same task pruned twice, seeds, an objective that rewards sharing?"
PRACTICE = "Is going on early only because observations outnumber labels (label rate, segment length)?"
HEAVIER = "Would a heavier label (several tokens, a larger amplitude) rule 2-after-query?"
DEGRADES = "Why does 2-after-query degrade with N: interference, attention span, or similar systems?"
CLOSES = "Are close labels needed?"
OPEN = (
    PRACTICE,
    HEAVIER,
    DEGRADES,
    CLOSES,
    CONTROLS,
    ELSEWHERE,
)


def _practised(rows: list[dict], segments: pd.DataFrame | None = None) -> tuple[str, str]:
    """Answer and status: of `knockouts.outcomes`, the two predictions that practice alone would make come true, answered once all knock-outs are there.

    segments: `factors.dated`, of which the runs on other lengths of segments are told too: points, which decide nothing.
    """
    rival = [row for row in rows if row["prediction"].startswith("if going on came first only by practice")]
    decided = bool(rival) and all(row["outcome"] in ("held", "failed") and row["complete"] for row in rival)
    words = [f"{row['prediction']}: {row['outcome']} ({row['found']})" for row in rival]
    return "; ".join(words + _lengths(segments)), "answered" if decided else "undecided" if rival else "not tested"


def _lengths(dated: pd.DataFrame | None) -> list[str]:
    """Both dates with short, usual and long segments: in how many runs going on came first, and the thousands of examples of each seed."""
    if dated is None:
        return []
    words = []
    for setting, group in dated[dated.kind == "segments"].groupby("setting", sort=False):
        wide = group.assign(date=group.examples.where(group.state == "there")).pivot(index="seed", columns="ability", values="date")
        begin, go_on = (wide.reindex(columns=["1-after-query", "2-after-query"])[name] for name in ("1-after-query", "2-after-query"))
        first = int((go_on < begin.fillna(math.inf)).sum())
        each = lambda dates: ", ".join("never" if math.isnan(date) else f"{date:.0f}" for date in dates)
        words.append(f"{'the usual lengths' if setting == 'unchanged' else setting.replace('-', ' ')}: going on first in {first} of {len(wide)} (thousands of examples, going on {each(go_on)}, beginning again {each(begin)})")
    return [f"lengths of segments, as points: {'; '.join(words)}"] if words else []


def _edited(effects: pd.DataFrame, name: str) -> str:
    """What one edit does to the models that the states lead, by dimension."""
    rows = effects[(effects.intervention == name) & (effects.kind == "observation-led")]
    words = lambda row, k: f"{k}-after {row[f'plain{k}']:.2f} → {row[f'edited{k}']:.2f}" + ("" if math.isnan(row[f"low{k}"]) else f" (difference {row[f'low{k}']:+.2f} to {row[f'high{k}']:+.2f})")
    return "; ".join(f"n = {row['dimension']}, {words(row, 1)}, {words(row, 2)}, {row['seeds']} model{'s' * (row['seeds'] > 1)}" for row in rows.to_dict("records"))


def questions(finished: list[Run], level: float = LEVEL, circuits: pd.DataFrame | None = None, compared: pd.DataFrame | None = None,
              language: dict[str, pd.DataFrame] | None = None, practice: list[dict] | None = None, edits: tuple[pd.DataFrame, pd.DataFrame] | None = None,
              degraded: tuple[str, str] | None = None, segments: pd.DataFrame | None = None) -> list[dict]:
    """Reviewers' questions: question, answer (from the runs, circuits, `methods.compare` and language models), status (`answered`, `in part`,
    `undecided` or `not tested`).  practice: `knockouts.outcomes`.  edits: `probes.effects` with the farthest and the nearest needle.  degraded: answer and status.
    segments: `factors.dated`, told beside `practice`.
    """
    tests = {row["id"]: row for row in outcomes(finished, level)}
    words = lambda *ids: "; ".join(evidence(tests[name]) for name in ids)
    settled = lambda *ids: ("not tested" if not any(tests[name]["seeds"] for name in ids)
                            else "answered" if all(tests[name]["outcome"] != "undecided" for name in ids) else "undecided")
    found = [(n, group) for (n, labels, setting), group in cells(finished, 3).items() if (labels, setting) == (LABELS, SETTING)]
    by_dimension = "; ".join(f"n = {n}: going on first in {sum(map(goes_on_first, group))} of {len(group)} seeds" for n, group in found)
    rows = [
        ("Would another training seed say the same?", words("order-3", "order-5"), settled("order-3", "order-5")),
        ("Why dimension 5?", f"what holds elsewhere, with 4 labels (declared tests at n = 3 and n = 5, exploratory elsewhere): {by_dimension}" if found else "", "in part" if len(found) > 2 else "undecided" if found else "not tested"),
        ("What is left at the end of training?", words("deaf-3", "deaf-5", "unchanged-5", "degrades-5", "flat-5"),
         settled("deaf-3", "deaf-5", "unchanged-5", "degrades-5", "flat-5")),
        *((question, "", "not tested") for question in OPEN),
    ]
    found = {} if circuits is None else separate_circuits(circuits)
    if found.get("evidence"):
        change = [] if compared is None else [methods.differences(dissect.declared(compared), "with_first", *pair, "2-after") for pair in (("rewarded", "reference"), ("pruned rewarded", "pruned"))]
        rewarded = "; ".join(f"{words}, {'{:+.2f} (95 % interval {:+.2f} to {:+.2f})'.format(*dissect.interval(each))}" for words, each in zip(("elimination", "learned pruning"), change))
        enough = bool(change) and min(map(len, change)) >= dissect.LEAST
        rows = [(question, f"the same task twice and seeds: {found['evidence']}" + f"; when sharing is rewarded the overlap changes: {rewarded}" * enough, "answered" if enough else "in part")
                if question == CONTROLS else (question, answer, status) for question, answer, status in rows]
    answers = {}
    if practice:
        answers[PRACTICE] = _practised(practice, segments)
    if edits is not None:
        answers[HEAVIER] = (f"mean squared errors, unedited → edited, in models that the states lead. Twice the amplitude at the query: {_edited(edits[0], 'louder-label')}; the label twice: {_edited(edits[0], 'repeated-label')}; no model was trained with heavier labels", "in part")
        answers[CLOSES] = (f"mean squared errors, unedited → edited, in models that the states lead. Left out before the query: {_edited(edits[1], 'no-close')}; no model was trained without", "in part")
    if degraded is not None:
        answers[DEGRADES] = degraded
    rows = [(question, *answers.get(question, (answer, status))) for question, answer, status in rows]
    if language is not None:  # another task, but a model of our own
        rows = [(question, in_language(language)["evidence"], "in part") if question == ELSEWHERE else (question, answer, status) for question, answer, status in rows]
    return [dict(zip(("question", "answer", "status"), row)) for row in rows]
