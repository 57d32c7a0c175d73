"""Equal norms, label error and state noise in sentences."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats as scipy_stats

from recall import stats
from recall.evaluation import THRESHOLD
from recall.measures import LABEL_LED, OBSERVATION_LED
from recall.studies.which_way.cues import BASE, GROUPS, NORMS, doses, once

KINDS = ("label-led", "between", "observation-led")
TRAINED = {"haar": "trained on norms of all lengths", "equal": "trained on equal norms"}
PROMPTED = {"haar": "prompts of all lengths", "equal": "prompts of equal norms"}


def tests_shown(tests: pd.DataFrame) -> pd.DataFrame:
    """`misdirected_norms` for a page."""
    digits = lambda value, sign="": "–" if math.isnan(value) else f"{value:{sign}.2f}"
    return pd.DataFrame(
        [
            {
                "models and prompts": f"n = {row['dimension']}, {TRAINED[row['kind']]}; {PROMPTED[row['norms']]}",
                "seeds": f"{row['runs']} of {row['seeds']}",
                "right label": digits(row["plain"]),
                "wrong label": digits(row["wrong"]),
                "difference (90 %)": f"{row['least']:+.2f} to {row['most']:+.2f} (all models)"
                if math.isnan(row["low"])
                else f"{row['estimate']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})",
                "outcome": row["outcome"],
            }
            for row in tests.to_dict("records")
        ]
    )


def maps_or_label(table: pd.DataFrame, early: pd.DataFrame, systems: int = 2) -> str:
    """A model that was trained on equal norms: does it go on by the maps or by the label?  table: `equal_norms`.
    early: `early_led`.
    """
    of_kind = lambda rows, kind: rows[
        (rows.setting == "equal")
        if kind == "equal"
        else (rows.setting == BASE)
        & rows.dimension.isin(table.dimension)
        & rows.seed.isin(table.seed)
        & (rows.labels == 4)
    ]
    own = table[(table.norms == table.kind) & (table.systems == systems)]
    lines = []
    for kind, words in TRAINED.items():
        ends = own[(own.kind == kind) & (own.condition == "misdirected") & (own.k == 2)].label_index
        begins = of_kind(early, kind).early_index.dropna()
        lines.append(
            f"* **Of {len(ends)} models {words}**, {_counted(ends)} at the end (label index of 2-after-query "
            f"{_span(ends)}); before beginning again was learnt, {_counted(begins)} "
            f"({_span(begins)}, {len(begins)} models with such evaluations)."
        )
    chosen = of_kind(early, "equal").dropna(subset="early_index")
    equal, begins = (
        own[(own.kind == "equal") & (own.condition == "misdirected") & (own.k == 2)].label_index,
        chosen.early_index,
    )
    if not len(equal) or not len(begins):
        return "No model was trained on equal norms."
    by_label, by_maps, from_start = (
        (equal > LABEL_LED).mean(),
        (equal < OBSERVATION_LED).mean(),
        (begins > LABEL_LED).mean(),
    )
    verdict = (
        f"By the label in {_part(by_label)}"
        if by_label > 0.5
        else f"By the maps in {_part(by_maps)}"
        if by_maps > 0.5
        else "There is no one answer"
    )
    when = (
        ""
        if by_label <= 0.5
        else (
            f"; and not at last but from the first, in {_part(from_start)}: they went on by name before they could "
            "begin again by it"
            if from_start > 0.5
            else "; but not from the first: the label took over later"
        )
    )
    if by_label > 0.5 and from_start > 0.5 and chosen.early_map.median() > 0.5:
        when += (
            ". What came early there is the map that the label names, applied to the state just shown "
            f"({_span(chosen.early_map)} of all weights), not a map that the state singled out"
        )
    return f"**Where the norm tells nothing, by the maps or by the label?** {verdict}{when}.\n\n" + "\n".join(lines)


def _part(share: float) -> str:
    return "all of them" if share == 1 else f"{share:.0%} of them"


def _counted(index: pd.Series) -> str:
    counts = dict(
        zip(
            ("label-led", "between", "observation-led"),
            (
                int((index > LABEL_LED).sum()),
                int(index.between(OBSERVATION_LED, LABEL_LED).sum()),
                int((index < OBSERVATION_LED).sum()),
            ),
        )
    )
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _span(values: pd.Series) -> str:
    low, high = (f"{value:.2f}" for value in (values.min(), values.max())) if len(values) else ("–", "–")
    return low if low == high else f"{low} to {high}"


def growth(table: pd.DataFrame) -> str:
    """How the error grows with the number of systems, by training and prompts: mean over seeds of the growth from
    the fewest to the most systems with its 95 % t interval; seeds that look labels up or not.
    """
    plain = table[(table.condition == "plain") & (table.k <= 2)]
    few, many = plain.systems.min(), plain.systems.max()
    wide = plain.pivot_table(index=["dimension", "kind", "norms", "seed", "k"], columns="systems", values="mean")
    lines, grows = [], {}
    for (dimension, kind, norms), group in wide.groupby(level=["dimension", "kind", "norms"], sort=True):
        parts = []
        for k, rows in group.groupby(level="k"):
            mean, low, high = stats.interval(rows[many] - rows[few], least=2)
            grows[dimension, kind, norms, k] = low > 0
            parts.append(
                f"{k}-after-query {rows[few].mean():.3f} to {rows[many].mean():.3f} ({mean:+.3f}, {low:+.3f} to "
                f"{high:+.3f})"
            )
        lines.append(
            f"* **n = {dimension}, {TRAINED[kind]}, {PROMPTED[norms]}** ({len(group) // 2} seeds): {'; '.join(parts)}."
        )
    on_own = {
        kind: [grows[n, k_, norms, 2] for n, k_, norms, k in grows if k == 2 and k_ == kind == norms] for kind in NORMS
    }
    words = "; ".join(
        f"{TRAINED[kind]} it grows in {sum(found)} of {len(found)} dimensions"
        for kind, found in on_own.items()
        if found
    )
    return (
        f"**With more systems.** Error of 2-after-query from N = {few} to {many}, on prompts like those of training: "
        f"{words} (95 % interval above 0).\n\n" + "\n".join(lines)
    )


# --- labels and states as cues, in words
# --------------------------------------------------------------------------------

SURE = 0.1  # weight of the label's system below which an answer goes by the state, above 1 - SURE by the label


def heeded(table: pd.DataFrame) -> str:
    """Does the label's weight at k = 1 follow its reliability as Bayes's does?  table: `weights`."""
    lines = []
    for systems, group in doses(table).groupby("systems"):
        own = table[(table.systems == systems) & (table.k == 1)]
        parts = []
        for p, cell in own.groupby("label_error"):
            parts.append(f"p = {p:g}: {cell.label.mean():.2f} (Bayes {cell.bayes_label.mean():.2f})")
        slopes = group.slope.dropna()
        more = (
            "falls faster than"
            if (slopes > 1).all()
            else "falls more slowly than"
            if (slopes < 1).all()
            else "falls about as fast as"
        )
        words = (
            f"the model's weight {more} Bayes's" if (slopes > 0).all() else "the model's weight does not follow Bayes's"
        )
        each = [
            f"{row.slope:.2f} (seed {row.seed}, correlation {row.correlation:.2f}, {row.cells} cells)"
            for row in group.itertuples()
        ]
        lines.append(
            f"* **N = {systems}**: {words}: slope over cells "
            f"{' and '.join(each)}. "
            f"Mean weight over state noises and seeds, {'; '.join(parts)}."
        )
    lost = table[(table.k == 1) & (table.systems == table.systems.min()) & (table.score < THRESHOLD)]
    named = ", ".join(f"p = {p:g}, s = {s:g}" for p, s in sorted(set(zip(lost.label_error, lost.state_noise))))
    close = (
        f" Of {len(table[(table.k == 1) & (table.systems == table.systems.min())])} models {len(lost)} do not look "
        f"labels up well even on plain prompts (score of 1-after-query below ½; {named}): there a small weight may "
        "be late learning."
        if len(lost)
        else ""
    )
    return f"**At the open label (k = 1)**, exploratory, two seeds a cell.{close}\n\n" + "\n".join(lines)


def overheard(table: pd.DataFrame, systems: int = 2) -> str:
    """After the first state (k = 2): where do models depart from Bayes, and from going by what was observed alone?
    table: `weights`.
    """
    own = table[(table.k == 2) & (table.systems == systems)].dropna(subset="label_index")
    cells = (
        own.groupby(["label_error", "state_noise"])
        .agg(
            index=("label_index", "mean"),
            least=("label_index", "min"),
            most=("label_index", "max"),
            bayes=("bayes_label", "mean"),
            shaken=("bayes_shaken", "mean"),
        )
        .reset_index()
    )
    if cells.empty:
        return "No model is shown here."
    seen = cells.dropna(subset="bayes")
    name = lambda rows: "; ".join(
        f"p = {row.label_error:g}, s = {row.state_noise:g}: {row.least:.2f} to {row.most:.2f} against {row.bayes:.2f}"
        for row in rows.itertuples()
    )
    uncertain, sure = seen[seen.label_error > 0], seen[seen.label_error == 0]
    flat = cells.groupby("state_noise")["index"].agg(lambda values: values.max() - values.min())
    deaf = bool((own.label_index.abs() < OBSERVATION_LED).all())
    lines = [
        "* **By what was observed alone**, the label index would be near 0 whatever p. It is not: over p it spans "
        f"{'; '.join(f'{span:.2f} at s = {s:g}' for s, span in flat.items())}."
        if not deaf
        else "* **By what was observed alone**, the label index would be near 0 whatever p. It is below "
        f"{OBSERVATION_LED} in all {len(own)} models."
    ]
    if len(uncertain):
        over, near = (
            uncertain[uncertain["index"] > uncertain.bayes + SURE],
            uncertain[(uncertain["index"] - uncertain.bayes).abs() <= SURE],
        )
        lines.append(
            f"* **Bayes**, once labels may err, gives the label at most {uncertain.bayes.max():.2f} (with twice the "
            f"noise {uncertain.shaken.max():.2f}): one state says nearly all. Models are within {SURE} of that in "
            f"{len(near)} of {len(uncertain)} cells"
            + (
                f" and believe the label by more than that in {len(over)}: {name(over)} (lowest and highest model "
                "against Bayes)."
                if len(over)
                else "."
            )
        )
    if len(sure):
        under = sure[sure["index"] < sure.bayes - SURE]
        lines.append(
            f"* **Where labels never err but states shake** Bayes believes the label (weight {_span(sure.bayes)}); "
            "models do"
            + (
                f" in {len(sure) - len(under)} of {len(sure)} cells, not in: {name(under)}."
                if len(under)
                else f" too (label index {sure.least.min():.2f} to {sure.most.max():.2f})."
            )
        )
    up = [
        scipy_stats.spearmanr(group.state_noise, group["index"]).statistic > 0
        for _, group in cells.groupby("label_error")
        if len(group) > 1 and group["index"].nunique() > 1
    ]
    down = [
        scipy_stats.spearmanr(group.label_error, group["index"]).statistic < 0
        for _, group in cells.groupby("state_noise")
        if len(group) > 1 and group["index"].nunique() > 1
    ]
    lines.append(
        f"* **Both cues count**: the index rises with state noise at {sum(up)} of {len(up)} label errors and falls "
        f"with label error at {sum(down)} of {len(down)} state noises."
    )
    return f"**After the first state (k = 2)**, N = {systems}, exploratory, two seeds a cell.\n\n" + "\n".join(lines)


def led_shown(table: pd.DataFrame) -> pd.DataFrame:
    """`led` for a page, a row per training; BASE once."""
    rows = []
    for _, group in once(table).sort_values("order").groupby(["training"], sort=False):
        sure = group[group.knows]
        rows.append(
            {
                "training": group.training.iloc[0],
                "seeds": len(group),
                "look labels up": len(sure),
                **{kind: int((sure.kind == kind).sum()) for kind in KINDS},
                "label index at the end": _span(sure.label_index),
                "before 1-after": _span(group.early_index.dropna()),
            }
        )
    return pd.DataFrame(rows)


def decided(table: pd.DataFrame, least: int = 2) -> str:
    """What goes with a name that takes over, in words; exploratory.  table: `led`.  least: models of a training that
    look labels up, to speak of it.
    """
    runs_ = once(table)
    sure = runs_[runs_.knows]
    if sure.empty:
        return "No run shown here looks labels up."
    cells = {name: group for name, group in sure.groupby("training", sort=False) if len(group) >= least}
    all_of = {kind: [name for name, group in cells.items() if (group.kind == kind).all()] for kind in KINDS}
    mixed = [name for name in cells if not any(name in names for names in all_of.values())]
    listed = lambda names: "; ".join(names) or "none"
    lines = [
        f"* **By training.** Of {len(cells)} trainings with {least} or more models that look labels up, all end "
        f"label-led in {len(all_of['label-led'])}, all observation-led in {len(all_of['observation-led'])} "
        f"({listed(all_of['observation-led'])}), all between in {len(all_of['between'])} "
        f"({listed(all_of['between'])}); in {len(mixed)} the seeds end differently."
    ]
    known = sure.dropna(subset="early_index")
    starts = {
        "by the label": known[known.early_index > LABEL_LED],
        "by what was observed": known[known.early_index < OBSERVATION_LED],
    }
    lines.append(
        "* **From the start or later?** "
        + " ".join(
            f"Of {len(group)} models that went on {words} before beginning again was learnt, "
            f"{_counted(group.label_index)} at the end."
            for words, group in starts.items()
        )
        + (
            " Some were taken over by the name; none was won back from it."
            if (starts["by what was observed"].label_index > LABEL_LED).any()
            and (starts["by the label"].label_index > OBSERVATION_LED).all()
            and len(starts["by the label"])
            else ""
        )
    )
    sentences = []
    for words, column in (
        ("the index before 1-after-query was learnt", "early_index"),
        ("the doublings of training from going on to beginning again", "octaves"),
    ):
        rho, low, high = stats.spearman(sure[column], sure.label_index)
        if not math.isnan(rho):
            sentences.append(
                f"with {words} {rho:+.2f} ({low:+.2f} to {high:+.2f}){'' if low > 0 or high < 0 else ', undecided'}"
            )
    if sentences:
        lines.append(
            f"* **What it goes with.** Rank correlation of the index at the end {'; '.join(sentences)} (bootstrap "
            f"over {len(sure)} runs, of which those with one seed began from the same weights)."
        )
    same = sure[(sure.dimension == 5) & (sure.labels == 4) & (sure.group != GROUPS[1])]
    seeds = [(seed, group) for seed, group in same.groupby("seed") if group.training.nunique() > 3]
    if len(seeds) > 1:
        lines.append(
            "* **The seed has a say.** At n = 5 with 4 labels and no label error, over trainings: "
            + "; ".join(
                f"seed {seed} ends label-led in {int((group.kind == 'label-led').sum())} of {len(group)}"
                for seed, group in seeds
            )
            + "."
        )
    lines.append(f"* **Label error and state noise.** {_by_error(runs_)}")
    return (
        "**What decides whether the name takes over?** Exploratory: nothing here was declared before the runs were "
        "seen, and a training has two to eight seeds.\n\n" + "\n".join(lines)
    )


def _by_error(runs_: pd.DataFrame) -> str:
    own = runs_[(runs_.group == GROUPS[1]) & runs_.knows]
    if own.empty:
        return "No run."
    parts = own.setting.str.extract(r"error-([\d.]+)-noise-([\d.]+)").astype(float)
    own = own.assign(p=parts[0], s=parts[1])
    exact = own[(own.s == 0) & (own.p > 0)]
    shaken = own[(own.s == own.s.max()) & (own.p <= 0.05)]
    said = lambda group, words: (
        f"{words}, {_counted(group.label_index)} ({_span(group.label_index)})"
        if len(group)
        else f"{words}, none looks labels up"
    )
    return (
        f"{said(exact, 'Where labels err and states do not')}; "
        f"{said(shaken, f'where states shake most (s = {own.s.max():g}) and labels seldom err (p up to 0.05)')}."
    )
