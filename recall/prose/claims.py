"""Claims and reviewers' questions in sentences."""

from __future__ import annotations

import math

import pandas as pd

from recall import stats
from recall.measures import cells
from recall.runs import Run
from recall.stats import LEAST, LEVEL
from recall.studies import claims as studies
from recall.studies.claims import CLAIMS, LABELS, SEEDS, SETTING, goes_on_first, outcomes, status
from recall.studies.weights import methods, shared


def evidence(row: dict) -> str:
    """One test's outcome in words."""
    if row["seeds"] < len(SEEDS):
        return f"{row['id']}: {row['seeds']} of {len(SEEDS)} seeds have been run"
    if math.isnan(row["p"]):
        return f"{row['id']}: undecided, {row['runs']} of {row['seeds']} seeds can tell ({LEAST} are needed)"
    level = 90 if "90 %" in row["refuter"] else 95
    estimate, low, high = written(row)
    return (
        f"{row['id']}: {row['outcome']}, {estimate} ({level} % interval {low} to {high}, {row['runs']} of "
        f"{row['seeds']} seeds; "
        f"p {_p(row['p'])}, by Holm {_p(row['holm'])})"
    )


def written(row: dict) -> tuple[str, str, str]:
    """Estimate and ends of the interval of a test: with two decimals, or as many as it takes to tell either end from
    0, up to four.
    """
    values = [row[key] for key in ("estimate", "low", "high")]
    digits = next((d for d in (2, 3) if all(round(value, d) for value in values[1:])), 4)
    return tuple(f"{value:.{digits}f}" for value in values)


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def separate_circuits(circuits: pd.DataFrame) -> dict:
    """Rule, refuter, evidence and status of the claim about edges."""
    found = studies.overlaps(circuits)
    words = [
        f"{row.corruption}: {row.verdict}, overlap {row.overlap:.2f} (95 % interval {row.low:.2f} to {row.high:.2f}, "
        f"{row.models} models; chance {row.chance:.2f}, same task twice {row.twice:.2f})"
        for row in found.itertuples()
    ]
    return studies.CIRCUITS | dict(evidence="; ".join(words), status=studies.circuits_status(found))


def in_language(gaps: dict[str, pd.DataFrame]) -> dict:
    """Rule, refuter, evidence and status of the claim about language models, of a small one trained here.  gaps: `half`
    and `toy`, of `recall.language.results.gaps`.
    """
    found, words = studies.octaves(gaps), []
    for row in found.itertuples():
        span = (
            f"in {row.late} the first token never got there, so the interval {row.low:.2f} to {row.high:.2f} is of "
            "lower bounds"
            if row.late
            else f"95 % interval {row.low:.2f} to {row.high:.2f}"
        )
        words.append(
            f"dates at {'half of the bits' if row.by == 'half' else 'an identification score of 1/2'}: "
            f"{'at least ' * (row.late > 0)}{row.octaves:.2f} octaves ({row.seeds} seeds; {span})"
        )
    there = [f"{one.words}, dates at {one.by}: {one.octaves:.2f} octaves" for one in studies.others(gaps).itertuples()]
    words += there or ["OLMo's own checkpoints were not run"]
    return studies.LANGUAGE | dict(evidence="; ".join(words), status=studies.language_status(found))


def table(
    finished: list[Run],
    level: float = LEVEL,
    circuits: pd.DataFrame | None = None,
    language: dict[str, pd.DataFrame] | None = None,
) -> list[dict]:
    """Every claim: id, claim, refuter, rule, evidence, status.  circuits: as `recall.studies.weights.dissect` makes
    them.  language: as in `in_language`.
    """
    tests = outcomes(finished, level)
    rows = []
    for name, claim in CLAIMS.items():
        own = [row for row in tests if row["claim"] == name]
        join = lambda key, own=own: "; ".join(dict.fromkeys(row[key] for row in own))
        rows.append(
            dict(
                id=name,
                claim=claim,
                refuter=join("refuter"),
                rule=join("rule"),
                evidence="; ".join(map(evidence, own)),
                status=status(own),
            )
        )
        if name == "separate-circuits" and circuits is not None:
            rows[-1] |= separate_circuits(circuits)
        if name == "language" and language is not None:
            rows[-1] |= in_language(language)
    return rows


# --- what the reviewers asked, paraphrased ----------------------------------------------------------------------------

ELSEWHERE = "Does it happen in other hybrid tasks and other language models?"
CONTROLS = (
    "Does the absence of shared edges survive controls: the same task pruned twice, seeds, an objective that "
    "rewards sharing?"
)
PRACTICE = "Is going on early only because observations outnumber labels (label rate, segment length)?"
HEAVIER = "Would a heavier label (several tokens, a larger amplitude) rule 2-after-query?"
DEGRADES = "Why does 2-after-query degrade with N: interference, attention span, or similar systems?"
CLOSES = "Are close labels needed?"
OPEN = (PRACTICE, HEAVIER, DEGRADES, CLOSES, CONTROLS, ELSEWHERE)


def knocked_found(row: dict) -> str:
    """What a row of `knockouts.outcomes` found, in words."""
    if "whole" in row:
        return (
            f"2-after first in {row['first']} of {row['runs']}; 1-after comes {_octaves(row)} after it (whole loss: "
            f"{_octaves(row['whole'])})"
        )
    seeds = f"later in {row['above']} of {row['pairs']} seeds, reached in {row['reached']}"
    return f"its date moves by {_octaves(row)}, {seeds}"


def _octaves(row: dict) -> str:
    bound = "" if row["bound"] == "exact" else f"{row['bound']} "
    span = f" ({row['low']:.2f} to {row['high']:.2f})" if not math.isnan(row["low"]) else ""
    return f"{bound}{row['mean']:.2f} octaves{span}"


def _practised(rows: list[dict], segments: pd.DataFrame | None = None) -> tuple[str, str]:
    """Answer and status: of `knockouts.outcomes`, the two predictions that practice alone would make come true,
    answered once all knock-outs are there.

    segments: `factors.dated`, of which the runs on other lengths of segments are told too: points, which decide
    nothing."""
    rival = [row for row in rows if row["prediction"].startswith("if going on came first only by practice")]
    decided = bool(rival) and all(row["outcome"] in ("held", "failed") and row["complete"] for row in rival)
    words = [f"{row['prediction']}: {row['outcome']} ({knocked_found(row)})" for row in rival]
    return "; ".join(words + _lengths(segments)), "answered" if decided else "undecided" if rival else "not tested"


def _lengths(dated: pd.DataFrame | None) -> list[str]:
    """Both dates with short, usual and long segments: in how many runs going on came first, and the thousands of
    examples of each seed.
    """
    if dated is None:
        return []
    words = []
    for setting, group in dated[dated.kind == "segments"].groupby("setting", sort=False):
        wide = group.assign(date=group.examples.where(group.state == "there")).pivot(
            index="seed", columns="ability", values="date"
        )
        begin, go_on = (
            wide.reindex(columns=["1-after-query", "2-after-query"])[name]
            for name in ("1-after-query", "2-after-query")
        )
        first = int((go_on < begin.fillna(math.inf)).sum())
        each = lambda dates: ", ".join("never" if math.isnan(date) else f"{date:.0f}" for date in dates)
        words.append(
            f"{'the usual lengths' if setting == 'unchanged' else setting.replace('-', ' ')}: going on first in "
            f"{first} of {len(wide)} (thousands of examples, going on {each(go_on)}, beginning again {each(begin)})"
        )
    return [f"lengths of segments, as points: {'; '.join(words)}"] if words else []


def _edited(effects: pd.DataFrame, name: str) -> str:
    """What one edit does to the models that the states lead, by dimension."""
    rows = effects[(effects.intervention == name) & (effects.kind == "observation-led")]
    words = lambda row, k: (
        f"{k}-after {row[f'plain{k}']:.2f} → {row[f'edited{k}']:.2f}"
        + ("" if math.isnan(row[f"low{k}"]) else f" (difference {row[f'low{k}']:+.2f} to {row[f'high{k}']:+.2f})")
    )
    return "; ".join(
        f"n = {row['dimension']}, {words(row, 1)}, {words(row, 2)}, {row['seeds']} model{'s' * (row['seeds'] > 1)}"
        for row in rows.to_dict("records")
    )


def questions(
    finished: list[Run],
    level: float = LEVEL,
    circuits: pd.DataFrame | None = None,
    compared: pd.DataFrame | None = None,
    language: dict[str, pd.DataFrame] | None = None,
    practice: list[dict] | None = None,
    edits: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    degraded: tuple[str, str] | None = None,
    segments: pd.DataFrame | None = None,
) -> list[dict]:
    """Reviewers' questions: question, answer (from the runs, circuits, `methods.compare` and language models),
    status (`answered`, `in part`, `undecided` or `not tested`).  practice: `knockouts.outcomes`.  edits:
    `edits.effects` with the farthest and the nearest needle.  degraded: answer and status. segments:
    `factors.dated`, told beside `practice`.
    """
    tests = {row["id"]: row for row in outcomes(finished, level)}
    words = lambda *ids: "; ".join(evidence(tests[name]) for name in ids)
    settled = lambda *ids: (
        "not tested"
        if not any(tests[name]["seeds"] for name in ids)
        else "answered"
        if all(tests[name]["outcome"] != "undecided" for name in ids)
        else "undecided"
    )
    found = [
        (n, group)
        for (n, labels, setting), group in cells(finished, 3).items()
        if (labels, setting) == (LABELS, SETTING)
    ]
    by_dimension = "; ".join(
        f"n = {n}: going on first in {sum(map(goes_on_first, group))} of {len(group)} seeds" for n, group in found
    )
    rows = [
        ("Would another training seed say the same?", words("order-3", "order-5"), settled("order-3", "order-5")),
        (
            "Why dimension 5?",
            "what holds elsewhere, with 4 labels (declared tests at n = 3 and n = 5, exploratory elsewhere): "
            f"{by_dimension}"
            if found
            else "",
            "in part" if len(found) > 2 else "undecided" if found else "not tested",
        ),
        (
            "What is left at the end of training?",
            words("deaf-3", "deaf-5", "unchanged-5", "degrades-5", "flat-5"),
            settled("deaf-3", "deaf-5", "unchanged-5", "degrades-5", "flat-5"),
        ),
        *((question, "", "not tested") for question in OPEN),
    ]
    found = {} if circuits is None else separate_circuits(circuits)
    if found.get("evidence"):
        change = (
            []
            if compared is None
            else [
                methods.differences(shared.decisive(compared), "with_first", *pair, "2-after")
                for pair in (("rewarded", "reference"), ("pruned rewarded", "pruned"))
            ]
        )
        rewarded = "; ".join(
            f"{words}, {'{:+.2f} (95 % interval {:+.2f} to {:+.2f})'.format(*stats.interval(each))}"
            for words, each in zip(("elimination", "learned pruning"), change)
        )
        enough = bool(change) and min(map(len, change)) >= stats.LEAST
        rows = [
            (
                question,
                f"the same task twice and seeds: {found['evidence']}"
                + f"; when sharing is rewarded the overlap changes: {rewarded}" * enough,
                "answered" if enough else "in part",
            )
            if question == CONTROLS
            else (question, answer, status)
            for question, answer, status in rows
        ]
    answers = {}
    if practice:
        answers[PRACTICE] = _practised(practice, segments)
    if edits is not None:
        answers[HEAVIER] = (
            "mean squared errors, unedited → edited, in models that the states lead. Twice the amplitude at the "
            f"query: {_edited(edits[0], 'louder-label')}; the label twice: {_edited(edits[0], 'repeated-label')}; no "
            "model was trained with heavier labels",
            "in part",
        )
        answers[CLOSES] = (
            "mean squared errors, unedited → edited, in models that the states lead. Left out before the query: "
            f"{_edited(edits[1], 'no-close')}; no model was trained without",
            "in part",
        )
    if degraded is not None:
        answers[DEGRADES] = degraded
    rows = [(question, *answers.get(question, (answer, status))) for question, answer, status in rows]
    if language is not None:  # another task, but a model of our own
        rows = [
            (question, in_language(language)["evidence"], "in part")
            if question == ELSEWHERE
            else (question, answer, status)
            for question, answer, status in rows
        ]
    return [dict(zip(("question", "answer", "status"), row)) for row in rows]
