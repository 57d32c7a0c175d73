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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from recall.config import check
from recall.evaluation import THRESHOLD, curve, emergence
from recall.measures import cells, final_value, kind, label_index, order_of
from recall.runs import Run
from recall.stats import LEAST, LEVEL, MARGIN, Result, above, equivalent, holm, interval, share, undecided
from recall.studies.weights import shared

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


def misdirection_changes_2(run: Run) -> float:
    return final_value(run, 2, "score", NEEDED, "misdirected") - final_value(run, 2, "score", NEEDED)


def growth(run: Run, k: int) -> float:
    """Of the mean squared error of k-after-query, from N = 2 to 4."""
    return final_value(run, k, "mean", 4) - final_value(run, k, "mean", 2)


def grows_with_systems(run: Run) -> float:
    """`growth` of 2-after less that of 1-after."""
    return growth(run, 2) - growth(run, 1)


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
    measure=partial(label_index, systems=NEEDED),
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
        measure=partial(growth, k=1),
        test=equivalent,
        knowing=True,
        statistic="mean squared error of 1-after-query at N = 4 less that at N = 2, mean over seeds that look labels "
        "up",
        rule=f"within ±{MARGIN} of 0, two one-sided t tests",
        refuter=f"90 % interval beyond ±{MARGIN}",
    ),
)

# id: what the study says
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
    rows, there = [], cells([run for run in finished if run.config["seed"] in SEEDS])
    for test in TESTS:
        cell = there.get((test.dimension, LABELS, SETTING), [])
        used = [run for run in cell if knows_labels(run)] if test.knowing else cell
        # a label index of nearly no weight is nan
        values = [value for value in map(test.measure, used) if not math.isnan(value)]
        whole = len(cell) == len(SEEDS)
        rows.append((test, len(cell), test.test(values) if whole else undecided(len(values))))
    adjusted = holm([result.p for _, _, result in rows])
    declared, found = "id claim dimension statistic rule refuter".split(), "estimate low high p".split()
    return [
        {name: getattr(test, name) for name in declared}
        | {name: getattr(result, name) for name in found}
        | dict(
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


# --- the claim about edges --------------------------------------------------------------------------------------------

CIRCUITS = dict(
    rule="shared part of the overlap, between chance and the same task twice: its 95 % interval over models below "
    f"{shared.LOW}, in every corruption",
    refuter="95 % interval of the overlap beyond chance above 0",
)


def overlaps(circuits: pd.DataFrame) -> pd.DataFrame:
    """What the circuits of 1- and 2-after-query share, a row per corruption of which there are LEAST models.

    circuits: as `recall.studies.weights.dissect` makes them.  Columns corruption, models, verdict (by the rule of
    `recall.studies.weights.shared`), overlap, low, high (mean and 95 % interval), beyond (low end of the interval of
    the overlap less that of chance), chance, twice (the same task twice; both means)."""
    rows = []
    found = shared.overlaps(shared.decisive(shared.last_steps(circuits)))
    for corruption, group in found.groupby("corruption", sort=False):
        if len(group) < LEAST:
            continue
        overlap, low, high = interval(group.overlap)
        rows.append(
            dict(
                corruption=corruption,
                models=len(group),
                verdict=shared.verdict(group.shared),
                overlap=overlap,
                low=low,
                high=high,
                beyond=interval(group.overlap - group.null)[1],
                chance=group.null.mean(),
                twice=group.ceiling.mean(),
            )
        )
    return pd.DataFrame(rows, columns="corruption models verdict overlap low high beyond chance twice".split())


def circuits_status(found: pd.DataFrame) -> str:
    """`reproduced` if all of `overlaps` are separate, `not reproduced` if none is and all overlap beyond chance, else
    `in part`; `not tested` without any.
    """
    separate = found.verdict == "separate"
    if found.empty:
        return "not tested"
    if separate.all():
        return "reproduced"
    return "not reproduced" if not separate.any() and (found.beyond > 0).all() else "in part"


# --- the claim about language models ----------------------------------------------------------------------------------

LANGUAGE = dict(
    rule="octaves between the dates of the first and the second token, in a small OLMo-2 trained here on words whose "
    "two tokens bear the same bits and are met equally often: 95 % interval over seeds above 0, by both dates",
    refuter="95 % interval below 0, by either date",
)


TRAINED_HERE = ("invented", "words")  # `recall.language.pretrain.RECIPES`, named here so that claims import no model


def octaves(gaps: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Octaves between the dates of the first and the second token, a row per date.

    gaps: `half` and `toy`, of `recall.language.results.gaps`.  Columns by, seeds, late (seeds whose first token never
    got there, so that the octaves are a lower bound), octaves, low, high (mean and 95 % interval)."""
    rows = []
    for by, table in gaps.items():
        own = table[(table.words == "invented") & (table.labels == "arbitrary")].dropna(subset=["octaves"])
        mean, low, high = interval(own.octaves)
        late = int(own["first"].isna().sum())
        rows.append(dict(by=by, seeds=len(own), late=late, octaves=mean, low=low, high=high))
    return pd.DataFrame(rows)


def others(gaps: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The same octaves of models that were not trained here, such as OLMo's: words (the model), by, first (step, nan if
    never, so that the octaves are a lower bound), octaves; they decide no status, being one model each."""
    both = pd.concat([table.assign(by=by) for by, table in gaps.items()])
    own = both[~both.words.isin(TRAINED_HERE) & (both.labels == "arbitrary")]
    return own.sort_values("words", kind="stable")[["words", "by", "first", "octaves"]].reset_index(drop=True)


def language_status(found: pd.DataFrame) -> str:
    """Of `octaves`; `only at this scale` at best, since no checkpoint of OLMo's was run."""
    if (found.low > 0).all():
        return "only at this scale"
    return "not reproduced" if (found.high < 0).any() else "undecided"
