"""What the models answer like, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall import stats
from recall.measures import CELL
from recall.studies.which_way.as_if import ERRORS, NOISES, SIMPLEST


def explained(table: pd.DataFrame) -> str:
    """Which rule answers most like the models under misdirection at k = 2, by training and kind; from `distances`."""
    lines = []
    for (setting, kind_), group in table[(table.condition == "misdirected") & (table.k == 2)].groupby(
        ["setting", "kind"]
    ):
        wide = group.pivot_table(index=CELL, columns="rule", values="distance")
        wide = wide[[rule for rule in SIMPLEST if rule in wide]]
        count = wide.apply(lambda row: row.index[row <= row.min() + 1e-3][0], axis=1).value_counts()
        words = "; ".join(f"{rule} in {n} of {len(wide)}" for rule, n in count.items())
        far = wide.min(axis=1).mean()
        lines.append(
            f"* **{setting}, {kind_}**: nearest is {words}. The nearest rule is still {far:.2f} away in squared "
            "distance"
            + (
                ", so that it describes which way they go, not what they compute."
                if far > 0.1
                else ", close enough to say that they answer as if by it."
            )
        )
    fits = table.drop_duplicates(CELL)[["label_error", "noise"]]
    edge = int(
        ((fits.label_error.isin((min(ERRORS), max(ERRORS)))) | fits.noise.isin((min(NOISES), max(NOISES)))).sum()
    )
    chosen = "; ".join(f"{e:.3g} and {s:.3g} in {n}" for (e, s), n in fits.value_counts().items())
    at = f" {edge} of {len(fits)} fits lie at the edge of the grid and are bounds." if edge else ""
    return "\n".join(
        [
            *lines,
            f"\nBayes was given the label error and the noise that fit each model best: {chosen} of {len(fits)} "
            f"models.{at}",
        ]
    )


def bound(table: pd.DataFrame) -> str:
    """Whether a model has a lower error than Bayes on fresh traces of its own generator; from `beaten`."""
    below, surely = int((table.gap < 0).sum()), int((table.high < 0).sum())
    words = (
        "No model beats Bayes"
        if not below
        else f"{below} of {len(table)} models have a lower mean error than Bayes, {surely} of them beyond the "
        "sampling of traces"
    )
    return (
        f"{words} on fresh traces of its own generator: the least excess of a model's mean squared error is "
        f"{table.gap.min():.3f} "
        f"(95 % interval over traces {table.low[table.gap.idxmin()]:.3f} to {table.high[table.gap.idxmin()]:.3f}), "
        f"the largest {table.gap.max():.3f} ({len(table)} models)."
    )


def mixture(table: pd.DataFrame) -> str:
    """Whether single prompts are decided one way or the other, by kind; from `shares`."""
    lines = []
    for (setting, kind_), group in table.groupby(["setting", "kind"]):
        words = (
            "most prompts are near one of the two ways"
            if group.middle.mean() < 1 / 3
            else "many answers lie between the two ways"
            if group.middle.mean() < 0.5
            else "most answers lie between the two ways"
        )
        lines.append(
            f"* **{setting}, {kind_}** ({len(group)} models): {group.low.mean():.0%} near the observed system's next "
            f"state, {group.high.mean():.0%} near the label's, "
            f"{group.middle.mean():.0%} between: {words}."
        )
    return "\n".join(lines)


def losses(finals: pd.DataFrame, dimension: int = 5, systems: int = 2) -> str:
    """Plain errors at k = 1, 2, 3 of label-led and observation-led runs of one dimension.  finals: columns kind,
    dimension, systems, k, error, seed (plain only).
    """
    rows = finals[(finals.dimension == dimension) & (finals.systems == systems)]
    groups = dict(iter(rows.groupby("kind")))
    if not {"label-led", "observation-led"} <= set(groups):
        return f"At n = {dimension} the runs do not hold both kinds: their losses cannot be compared."
    each = {name: groups[name].groupby("k").error.mean() for name in ("label-led", "observation-led")}
    count = {name: groups[name].seed.nunique() for name in each}
    gain = each["observation-led"] - each["label-led"]
    lower = "label-led" if gain.sum() > 0 else "observation-led"
    words = ", ".join(
        f"{each['label-led'][k]:.3f} against {each['observation-led'][k]:.3f} at k = {k}" for k in gain.index
    )
    few = (
        " With fewer than three runs of one kind this is one picture, not a comparison."
        if min(count.values()) < 3
        else ""
    )
    return (
        f"At n = {dimension}, N = {systems}, plain prompts, label-led runs ({count['label-led']}) have {words} of "
        f"observation-led ones ({count['observation-led']}): "
        f"over the three together the lower error is {lower}, and the largest difference lies at k = "
        f"{gain.abs().idxmax()}.{few}"
    )


def longer(table: pd.DataFrame, atlas: pd.DataFrame, systems: int = 2) -> str:
    """What training ten times longer did to the label index of 2-after-query.  table, atlas: of `measures.lines`,
    with setting `long` and `fast-1`.
    """
    column, lines = f"label index 2 N={systems}", []
    for n, group in table[table.setting == "long"].groupby("dimension"):
        joined = group.merge(
            atlas[(atlas.setting == "fast-1") & (atlas.labels == 4)],
            on=["dimension", "labels", "seed"],
            suffixes=(" long", ""),
        )
        words = "; ".join(
            f"seed {row.seed}: {row[column]:.2f} → {row[f'{column} long']:.2f}" for _, row in joined.iterrows()
        )
        span = joined[f"{column} long"].max() - joined[f"{column} long"].min()
        told = (
            "only one run, so one end state cannot be told from two"
            if len(joined) < 2
            else (
                f"the ends differ by {span:.2f}: "
                + ("compatible with one end state" if span < 0.25 else "not one end state at this length")
            )
        )
        lines.append(f"* **n = {n}**: {words}; {told}.")
    if not (table[table.setting == "long"].dimension == 5).any():
        lines.append(
            "* **n = 5**: no long run is there yet, and n = 5 is where models of both kinds end: the objection "
            "stands open."
        )
    return "\n".join(lines)


def no_bigram(table: pd.DataFrame, atlas: pd.DataFrame, systems: int = 2) -> str:
    """Dates of 1-after of runs without repeats, beside those of `fast-1` with the same seeds; from
    `measures.lines`.  A date never reached counts as later.
    """
    date, keys = f"1-after N={systems}", ["dimension", "labels", "seed"]
    joined = table[table.setting == "no-repeats"].merge(
        atlas[atlas.setting == "fast-1"], on=keys, suffixes=("", " usual")
    )
    if joined.empty:
        return "No runs without repeats are there."
    own, usual = joined[date].fillna(float("inf")), joined[f"{date} usual"].fillna(float("inf"))
    reached, later = int((own < float("inf")).sum()), int((own > usual).sum())
    verdict = (
        "so the bigram is not what recall over a distance takes"
        if reached > len(joined) / 2
        else "so without the bigram recall over a distance is not learnt in most"
    )
    pairs = "; ".join(
        f"seed {seed}: {_date(b)} with repeats, {_date(a)} without" for seed, a, b in zip(joined.seed, own, usual)
    )
    both = (own < float("inf")) & (usual < float("inf"))
    _, low, high = stats.interval(np.log(own[both] / usual[both]), least=2)
    told = "later" if low > 0 else "earlier" if high < 0 else "neither later nor earlier as far as these seeds can tell"
    ratio = (
        f" Ratio of the dates, without to with: 95 % interval {np.exp(low):.2f} to {np.exp(high):.2f}, {told}."
        if both.all() and len(joined) >= 3
        else ""
    )
    return (
        f"1-after-query (farthest needle) emerged in {reached} of {len(joined)} runs without repeats, {verdict}; "
        f"later than with repeats in {later} ({pairs}).{ratio}"
    )


def _date(examples: float) -> str:
    return f"{examples / 1000:,.0f} thousand examples" if examples < float("inf") else "not by the end"


def lies(table: pd.DataFrame, systems: int = 2) -> str:
    """Label index of 2-after-query of runs with label error, and with the study's generator, a point a seed;
    exploratory.
    """
    column, lines = f"label index 2 N={systems}", []
    for setting, group in table[table.setting.str.startswith(("error-", "study-"))].groupby("setting", sort=False):
        values = group[column].dropna()
        if len(values):
            led = (
                "label-led"
                if values.min() > 0.75
                else "observation-led"
                if values.max() < 0.25
                else "neither, or not alike"
            )
            lines.append(f"* **{setting}**: {', '.join(f'{value:.2f}' for value in values)}: {led}")
    count = sum("observation-led" in line for line in lines)
    words = (
        "The label's hold on 2-after-query depends on training"
        if 0 < count < len(lines)
        else "All trainings are led by observations"
        if lines and count == len(lines)
        else "No training is led by observations"
    )
    return (
        f"{words}: in {count} of {len(lines)} trainings the states lead in every seed (exploratory, one or two seeds "
        "each).\n\n" + "\n".join(lines)
    )
