"""Claims of the study, the rules that decide them, and what the committed runs say.

Written down before the runs that decide it (`recall/sweeps/atlas.py`, seeds 300 to 307, which nothing before has seen;
what was known came from other seeds): at most eight primary tests, corrected together by Holm's method at LEVEL.
Everything else in the book is exploratory.

A test is looked at once all of its seeds are there.  It passes by its p value, corrected; it is *refuted* if its
interval, not corrected, lies on the refuter's side; else it is *undecided*.  A claim is `reproduced` if all of its
tests pass, `in part` if some do, `not reproduced` if none does and one is refuted, `undecided` if none does and none
is, `not tested` without one.

Amended on 2026-11-25, after the first run at n = 3 and before any at n = 5 had been looked at: refuters say the rule
that is computed, and only one side refutes; `abrupt-5` counts examples, not doublings, which favour whatever comes
later; `flat-5` compares errors, because an error that is flat has a score that is not; seeds that know labels are
those of `measures.kind`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Callable


from recall.evaluation import THRESHOLD, curve, emergence
from recall.measures import cells, kind, order_of
from recall.runs import Run
from recall.stats import LEVEL, MARGIN, Result, above, equivalent, holm, share, undecided
from recall.task import check

SETTING, LABELS, SEEDS = "fast-1", 4, range(300, 308)
# --- what one run says ------------------------------------------------------------------------------------------------

NEEDED = 2  # N at which everything but the two tests over N is asked; 4 is the largest that is trained


def goes_on_first(run: Run) -> bool:
    """2-after-query emerged, and before 1-after-query had: not within the same two evaluations."""
    return order_of(run, NEEDED) == "2-after first"


def rise(run: Run, k: int) -> float:
    """Examples while the score of k-after-query goes from 1/10 to 1/2, each for good; nan: not by the end.

    1/2 is where an ability has emerged; in earlier runs at n = 5, 1-after-query ended near 0.7, so that more asks
    too much."""
    rows = curve(run.history, k, NEEDED)
    low, high = (emergence(rows, threshold=threshold) for threshold in (0.1, THRESHOLD))
    return high.date - low.date


def begins_abruptly(run: Run) -> bool:
    """1-after-query rises within fewer examples than 2-after-query; a run where either does not get there counts
    against.
    """
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


@dataclass(frozen=True)
class Test:
    """test(values of `measure` over the runs at `dimension`); knowing: only runs whose finished model looks labels
    up.
    """

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
    claim="two-abilities",
    measure=goes_on_first,
    test=share,
    statistic="share of seeds in which 2-after-query emerged before 1-after-query (identification score 1/2, N = 2, "
    "farthest needle)",
    rule="more than half of the seeds, one-sided sign test; an ability never reached counts as later than one that "
    f"was, a tie against the claim; {HALF}",
    refuter="95 % interval below 1/2, that is 0 of 8",
)
DEAF = dict(
    claim="two-mechanisms",
    measure=label_index_2,
    test=partial(equivalent, worse=1),
    knowing=True,
    statistic="label index of 2-after-query under a misdirected label (0: the observation decides, 1: the label), "
    "mean over seeds that look labels up",
    rule=f"within ±{MARGIN} of 0, two one-sided t tests",
    refuter=f"90 % interval above {MARGIN}: the label has a say in what observations alone can tell",
)
TESTS = (
    Test("order-3", dimension=3, **ORDER),
    Test("order-5", dimension=5, **ORDER),
    Test(
        "abrupt-5",
        claim="two-abilities",
        dimension=5,
        measure=begins_abruptly,
        test=share,
        statistic="share of seeds in which the score of 1-after-query goes from 1/10 to 1/2 within fewer examples "
        "than that of 2-after-query (N = 2)",
        rule="more than half of the seeds, one-sided sign test; a seed that does not get there counts against the "
        f"claim; {HALF}",
        refuter="95 % interval below 1/2, that is 0 of 8",
    ),
    Test("deaf-3", dimension=3, **DEAF),
    Test("deaf-5", dimension=5, **DEAF),
    Test(
        "unchanged-5",
        claim="two-mechanisms",
        dimension=5,
        measure=misdirection_changes_2,
        test=partial(equivalent, worse=-1),
        knowing=True,
        statistic="identification score of 2-after-query with a misdirected label less that with the right one (N = "
        "2), mean over seeds that look labels up",
        rule=f"within ±{MARGIN} of 0, two one-sided t tests",
        refuter=f"90 % interval below -{MARGIN}: the wrong label costs more than that",
    ),
    Test(
        "degrades-5",
        claim="degradation",
        dimension=5,
        measure=grows_with_systems,
        test=above,
        knowing=True,
        statistic="growth of the mean squared error from N = 2 to N = 4, of 2-after-query less that of "
        "1-after-query, mean over seeds that look labels up",
        rule="above 0, one-sided t test",
        refuter="95 % interval below 0: the error of 1-after-query grows more",
    ),
    Test(
        "flat-5",
        claim="degradation",
        dimension=5,
        measure=begins_alike,
        test=equivalent,
        knowing=True,
        statistic="mean squared error of 1-after-query at N = 4 less that at N = 2, mean over seeds that look labels "
        "up",
        rule=f"within ±{MARGIN} of 0, two one-sided t tests",
        refuter=f"90 % interval beyond ±{MARGIN}",
    ),
)

# id: what the study says (facts section 0)
CLAIMS = {
    "two-abilities": "Going on (2-after-query and later) is learnt much earlier than beginning again "
    "(1-after-query), which comes late and abruptly.",
    "two-mechanisms": "Two mechanisms are at work: the label decides 1-after-query, observations alone decide "
    "2-after-query.",
    "degradation": "2-after-query gets worse with more systems in the haystack, while 1-after-query hardly depends "
    "on their number.",
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
        cell = [
            run for run in cells(finished).get((test.dimension, LABELS, SETTING), []) if run.config["seed"] in SEEDS
        ]
        used = [run for run in cell if knows_labels(run)] if test.knowing else cell
        # a label index of nearly no weight is nan
        values = [value for value in map(test.measure, used) if not math.isnan(value)]
        whole = len(cell) == len(SEEDS)
        rows.append((test, len(cell), test.test(values) if whole else undecided(len(values))))
    adjusted = holm([result.p for _, _, result in rows])
    return [
        dict(
            id=test.id,
            claim=test.claim,
            dimension=test.dimension,
            statistic=test.statistic,
            rule=test.rule,
            refuter=test.refuter,
            estimate=result.estimate,
            low=result.low,
            high=result.high,
            p=result.p,
            holm=p,
            runs=result.runs,
            seeds=seeds,
            outcome="passed" if p <= level else "refuted" if result.refuted else "undecided",
        )
        for (test, seeds, result), p in zip(rows, adjusted)
    ]


def status(tests: list[dict]) -> str:
    """Of a claim, from the outcomes of its tests."""
    passed = [row["outcome"] == "passed" for row in tests]
    if not any(row["seeds"] for row in tests):
        return "not tested"
    if any(passed):
        return "reproduced" if all(passed) else "in part"
    return "not reproduced" if any(row["outcome"] == "refuted" for row in tests) else "undecided"
