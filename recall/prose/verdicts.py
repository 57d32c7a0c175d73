"""What the committed runs say, in sentences: every number in the prose of a chapter is made here, from the runs."""

from __future__ import annotations

import html
import math
from dataclasses import replace

import pandas as pd

from recall import stats
from recall.evaluation import THRESHOLD, curve, emergence
from recall.interventions import INTERVENTIONS
from recall.language import results, scoring
from recall.language.prompts import CONDITIONS, PromptConfig, draw
from recall.measures import cells, dates, final_value, kind, order_of
from recall.prose.claims import evidence, knocked_found, written
from recall.runs import Run
from recall.studies.abilities.tables import plateaus
from recall.studies.claims import TRAINED_HERE
from recall.studies.weights import methods, roles, shared
from recall.studies.when import knockouts

SEEDS = 3  # with fewer runs in a cell nothing is concluded from it


def interval(successes: int, trials: int) -> str:
    """`5 of 5 (95 % interval 0.48 to 1.00)`, Clopper-Pearson."""
    _, low, high = stats.proportion(successes, trials)
    return f"{successes} of {trials} (95 % interval {low:.2f} to {high:.2f})"


def one_run(run: Run, systems: int = 2) -> str:
    """Dates and order of a single run."""
    batch, steps = run.config["training"]["batch_size"], run.history.step.max()
    parts = [
        f"**{ability}-query** emerged between steps {date.after / batch:,.0f} and {date.by / batch:,.0f}"
        if date.reached
        else f"**{ability}-query** had not emerged by step {steps:,}"
        for ability, date in reversed(dates(run, systems).items())
    ]
    order = {
        "2-after first": "Going on came first.",
        "1-after first": "In this run beginning again came first.",
        "together": "The evaluations are too far apart to tell which came first.",
        "neither": "This run is too short for either.",
    }[order_of(run, systems)]
    return f"{'; '.join(parts)} (identification score at N = {systems}). {order}"


def order(runs: list[Run], systems: int = 2) -> str:
    """Which ability came first, by cell, with intervals; runs in another order by name."""
    lines = []
    for (n, labels, setting), group in cells(runs, SEEDS).items():
        orders = [order_of(run, systems) for run in group]
        both = [run for run in group if all(date.reached for date in dates(run, systems).values())]
        ratio = pd.Series([_ratio(run, systems) for run in group])
        middle = ratio.median()
        lines.append(
            f"* **n = {n}, {labels} labels, {setting}**: both abilities emerged in {len(both)} of {len(group)} "
            "seeds; 2-after came first in "
            f"{interval(orders.count('2-after first'), len(group))}. The median seed took "
            + (
                f"{middle:.1f} times as many examples to begin again as to go on (range {_times(ratio.min())} to "
                f"{_times(ratio.max())})."
                if math.isfinite(middle)
                else "longer than its run to begin again."
                if math.isinf(middle)
                else "longer than its run to go on."
            )
        )
    counted = [run for group in cells(runs, SEEDS).values() for run in group]
    few = pd.DataFrame(
        [
            dict(
                setting=run.config["setting"],
                order=order_of(run, systems),
                late=not dates(run, systems)["1-after"].reached,
            )
            for run in runs
            if not any(run is each for each in counted)
        ],
        columns=["setting", "order", "late"],
    )
    for setting, group in few.groupby("setting"):
        lines.append(
            f"* **{setting}, cells of one or two runs** (nothing is concluded from any one of them): 2-after came "
            f"first in {sum(group.order == '2-after first')} "
            f"of {len(group)} runs, neither emerged in {sum(group.order == 'neither')}; 1-after had not emerged by "
            f"the end of {sum(group.late)}."
        )
    others = [run for run in runs if order_of(run, systems) in ("1-after first", "together")]
    lines.append(
        f"* In another order at N = {systems}: "
        + (
            f"{_named(others, systems)}. *Together* means between the same two evaluations."
            if others
            else "no committed run."
        )
    )
    lines.append(f"* {_spikes(runs, systems)}")
    return "**Verdict on the order**, by the identification score at N = " + f"{systems}:\n\n" + "\n".join(lines)


def _spikes(runs: list[Run], systems: int) -> str:
    """How much dates and orders owe to the running median over three evaluations."""
    pairs = [
        (emergence(c).date, emergence(c, window=1).date)
        for run in runs
        for c in (curve(run.history, k, systems) for k in (1, 2))
    ]
    reached = [(smooth, strict) for smooth, strict in pairs if not math.isnan(smooth)]
    moved = sum(math.isnan(strict) or strict > 1.5 * smooth for smooth, strict in reached)
    turned = [run for run in runs if order_of(run, systems) != order_of(run, systems, window=1)]
    return (
        "Dates are read off the running median of three evaluations: at a constant learning rate the loss has "
        "spikes. If no single evaluation "
        f"were excepted, {moved} of {len(reached)} dates would come more than half again as late, and the order "
        "would change in "
        + (
            f"{len(turned)} of {len(runs)} runs: {_named(turned, systems, window=1)}."
            if turned
            else "none of the runs."
        )
    )


def _named(runs: list[Run], systems: int, window: int = 3) -> str:
    return "; ".join(
        f"n = {r.config['task']['dimension']}, {r.config['task']['labels']} labels, {r.config['setting']}, "
        f"seed {r.config['seed']} ({order_of(r, systems, window)})"
        for r in runs
    )


def _ratio(run: Run, systems: int) -> float:
    """Date of 1-after over date of 2-after; infinite where only 1-after is missing, nan where 2-after is."""
    when = dates(run, systems)
    if not when["2-after"].reached:
        return math.nan
    return when["1-after"].date / when["2-after"].date if when["1-after"].reached else math.inf


def _times(ratio: float) -> str:
    return "never reached" if math.isinf(ratio) else f"{ratio:.1f}"


def plateau(runs: list[Run]) -> str:
    """Where does 1-after wait, and how many runs have a plateau at all?"""
    table = plateaus(runs)
    lines = []
    for N, rows in table.groupby("systems"):
        there = rows.dropna()
        lines.append(
            f"* **N = {N}**: {len(there)} of {len(rows)} runs have a plateau"
            + (
                f", at {there.plateau.median():.2f} in the median run (range {there.plateau.min():.2f} to "
                f"{there.plateau.max():.2f}); "
                f"the zero predictor has 1, the label-blind average {rows.blind.iloc[0]:.2f}."
                if len(there)
                else "."
            )
        )
    none = table[table.systems == 2].groupby("labels").plateau.apply(lambda level: level.isna().all())
    sliding = [str(labels) for labels, empty in none.items() if empty]
    close = (
        f" With {' and '.join(sliding)} labels no run has one at N = 2: the error slides down from the start, "
        "through the level of averaging."
        if sliding
        else ""
    )
    found = table.dropna()
    low = int(((found.plateau - 1).abs() >= (found.plateau - found.blind).abs()).sum())
    where = (
        "1-after-query waits at the level of predicting nothing, not of averaging the candidates"
        if not low
        else f"1-after-query is nearer to averaging the candidates than to predicting nothing in {low} of {len(found)}"
    )
    return (
        f"So where there is a plateau, {where}. By this rule a plateau cannot "
        "lie far below where it began; what counts is where it begins and how many runs have one."
        + close
        + "\n\n"
        + "\n".join(lines)
    )


def distance(table: pd.DataFrame) -> str:
    """Is the nearest segment looked up before the farthest, and before going on at the farthest?  table:
    summary.distance.
    """
    lines = []
    for (n, labels, setting), cell in table.groupby(["dimension", "labels", "setting"]):
        if cell.seed.nunique() < SEEDS:
            continue
        when = (
            cell.groupby(["curve", "seed"])
            .apply(lambda c: emergence(c.sort_values("examples")).date, include_groups=False)
            .unstack("curve")
        )
        near, far, go_on = when["1-after, nearest"], when["1-after, farthest"], when["2-after, farthest"]
        infinite = lambda dates: dates.fillna(math.inf)
        lines.append(
            f"* **n = {n}, {labels} labels, {setting}**: 1-after at the nearest needle came before 1-after at the "
            "farthest in "
            f"{interval(int((infinite(near) < infinite(far)).sum()), len(when))}, and after 2-after at the farthest in "
            f"{interval(int((infinite(near) > infinite(go_on)).sum()), len(when))}. Median dates, thousands of "
            f"examples: going on {go_on.median():.0f}, "
            f"nearest {near.median():.0f}, farthest {far.median():.0f}."
        )
    return "**How far back?** By the identification score at N = 2, from the log-spaced checkpoints:\n\n" + (
        "\n".join(lines) or "No cell with enough seeds is shown here."
    )


def kinds(runs: list[Run]) -> str:
    """How many runs end label-led, observation-led, between, or without look-up."""
    names = ["observation-led", "between", "label-led", "no look-up"]
    lines = []
    for (n, labels, setting), group in cells(runs, SEEDS).items():
        counts = pd.Series([kind(run) for run in group]).value_counts()
        lines.append(
            f"* **n = {n}, {labels} labels, {setting}** ({len(group)} seeds): "
            + ", ".join(f"{counts[k]} {k}" for k in names if k in counts)
            + "."
        )
    whole = pd.Series([kind(run) for run in runs]).value_counts()
    lines.append(f"* **All {len(runs)} runs**: " + ", ".join(f"{whole[k]} {k}" for k in names if k in whole) + ".")
    deaf = whole.get("observation-led", 0)
    knows = len(runs) - whole.get("no look-up", 0)
    close = (
        f"Of the {knows} runs that look labels up, {deaf} follow{'s' if deaf == 1 else ''} the label little at k = 2 "
        '(index below 0.25). "2-after-query is '
        'deaf to the label" '
        + (
            "holds in all of them."
            if knows == deaf
            else "is therefore not a law of this task: in the others the label decides, in part "
            "or whole, what observations alone could tell; in some from about when 2-after is learnt, in some only "
            "later (figure above)."
        )
    )
    return (
        "**Which kind is each run?** By the label index of 2-after-query at N = 2: below 0.25 *observation-led*, "
        "above 0.75 *label-led*. *No look-up*: a final score of 1-after below ½; "
        "this asks the finished model, and a date asks for a curve that stays above ½, so a run at the edge can have "
        "the one without the other.\n\n"
        + "\n".join(lines)
        + "\n\n"
        + (close if knows else "No run shown here looks labels up yet.")
    )


def growth(runs: list[Run]) -> str:
    """How much each error grows with the number of systems, in cells of three seeds or more that look labels up and
    were trained on more than two systems.
    """
    lines = []
    for (n, labels, _), group in cells(runs, 3).items():
        known = [run for run in group if kind(run) != "no look-up"]
        most = max(group[0].config["evaluation"]["systems"])
        if most > 2 and len(known) >= 3:
            grown = {k: [final_value(r, k, "mean", most) - final_value(r, k, "mean") for r in known] for k in (2, 1)}
            each = {k: stats.interval(values, least=SEEDS) for k, values in grown.items()}
            lines.append(
                f"* **n = {n}, {labels} labels**, N = 2 to {most} ({len(known)} seeds): going on {{:+.3f}} "
                "({:+.3f} to {:+.3f}), beginning again {:+.3f} ({:+.3f} to {:+.3f}).".format(*each[2], *each[1])
            )
    return (
        (
            "How much the mean squared error grows, over seeds that look labels up (95 % t interval; exploratory but "
            "for n = 5 with 4 labels):\n\n" + "\n".join(lines)
        )
        if lines
        else "No cell of three seeds looks labels up yet."
    )


def price(table: pd.DataFrame, first: str = "fast-1") -> str:
    """What each setting takes, from `costs.price_table`: a line per dimension; factors are to the median of `first`."""
    lines = []
    for dimension, group in table.groupby("dimension"):
        rows = {row["setting"]: row for row in group.to_dict("records")}
        base, parts = rows[first]["both tokens"], []
        for name in sorted(rows, key=lambda name: name != first):
            row = rows[name]
            there = f"both abilities in {row['reached']} of {row['runs']} seeds"
            if not math.isnan(row["both seconds"]):
                text = (
                    f"{there}, after a median of {row['both seconds']:.0f} s and {row['both tokens'] / 1e6:.1f} "
                    "million tokens"
                )
                factor = row["both tokens"] / base
            else:
                text = (
                    f"{there} by {row['limit'] / 1e6:.1f} million tokens ({row['limit_seconds']:.0f} s), where "
                    "the runs ended"
                )
                factor = row["limit"] / base
            censored = math.isnan(row["both seconds"])
            if name != first and not math.isnan(base):
                text += (
                    ", too few for a comparison"
                    if censored and factor <= 1
                    else f": {'at least ' if censored else ''}{factor:.1f} times the tokens of `{first}`"
                )
            parts.append(f"`{name}` {text}")
        lines.append(f"* **n = {dimension}**: " + "; ".join(parts) + ".")
    return "\n".join(lines)


def gap(table: pd.DataFrame) -> str:
    """How far apart the two dates are over the atlas, from `timing.gaps`."""
    known = table[table.seeds >= SEEDS].dropna(subset="ratio")
    seeds, first, turned, together = (
        int(table[name].sum()) for name in ("seeds", "2-after first", "1-after first", "together")
    )
    late = int((table.seeds - table["reached 1-after"]).sum())
    text = (
        f"Going on came first in {first} of {seeds} runs, in {len(table)} cells, counting the {late} in which "
        "beginning again had not emerged when the run ended."
    )
    text += (
        f" In {turned} beginning again came first."
        * (turned > 0)
        + f" In {together} both came between the same two evaluations, which tells no order (the figure above "
        "interpolates)." * (together > 0)
    )
    if len(known):
        span = f"{known.ratio.min():.1f}" + (f" to {known.ratio.max():.1f}" if len(known) > 1 else "")
        even = int((known.low <= 1).sum())
        text += (
            f" Where three seeds or more all reached both ({len(known)} of {len(table)} cells), beginning again took "
            f"{span} times as many examples (geometric mean)"
            + f"; {even} of the {known.low.count()} intervals reach{'es' * (even == 1)} down to 1 or below" * (even > 0)
            + ". A cell with a seed that did not get there has no ratio."
        )
    return text


def gap_table(table: pd.DataFrame) -> pd.DataFrame:
    """`timing.gaps` as text for a page, a dash for never."""
    whole = lambda value: "–" if math.isnan(value) else f"{value:,.0f}"
    return pd.DataFrame(
        [
            {
                "n": row["n"],
                "labels": row["labels"],
                "seeds": row["seeds"],
                "went on": row["reached 2-after"],
                "began again": row["reached 1-after"],
                "2-after, thousands": whole(row["2-after, median"]),
                "1-after, thousands": whole(row["1-after, median"]),
                "going on first": row["2-after first"],
                "ratio": "–"
                if math.isnan(row["ratio"])
                else f"{row['ratio']:.2f}"
                if math.isnan(row["low"])
                else f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
            }
            for row in table.to_dict("records")
        ]
    )


def knocked(rows: list[dict], gaps: pd.DataFrame) -> str:
    """What the loss knock-outs say: rows, `knockouts.outcomes`; gaps, `knockouts.gaps`."""
    if len(rows) < 4 or any(row["outcome"] == "not all runs are there" for row in rows):
        decided = " ".join(
            f"Decided so far: {row['prediction']}: *{row['outcome']}*."
            for row in rows
            if row["outcome"] in ("held", "failed")
        )
        return (
            f"Not all runs are there: {sum(gaps.runs[gaps.setting != 'whole loss'])} have been made, and with fewer "
            "than five seeds a prediction stays open. "
            f"{decided} What there is stands in the table."
        ).replace("  ", " ")
    by = [row["outcome"] for row in rows]
    need = {
        ("held", "held"): "Neither ability waits for the other: without a loss on the one, the other keeps its date.",
        ("failed", "failed"): "Each ability's date moves when nothing is asked of the other.",
    }.get(
        (by[0], by[1]),
        f"That 2-after keeps its date without a loss on 1-after: *{by[0]}* ({knocked_found(rows[0])}). That 1-after "
        f"keeps its date without a loss on going on: *{by[1]}* ({knocked_found(rows[1])}).",
    )
    practice = {
        (
            "failed",
            "failed",
        ): "More practice is not why going on comes first: asked equally it still does, and even where 1-after "
        "counts sixteen times.",
        (
            "held",
            "held",
        ): "Practice explains the order: asked equally the dates come together, and where 1-after counts sixteen "
        "times it comes first.",
    }.get(
        (by[2], by[3]),
        f"That practice alone explains the order is *{by[2]}* where both are asked equally and *{by[3]}* where "
        "1-after counts sixteen times.",
    )
    return f"{need} {practice}"


def knocked_first(table: pd.DataFrame, found: pd.DataFrame) -> str:
    """In which knock-outs that ask for both abilities did 1-after-query come first?  table: `knockouts.pairs`;
    found: `knockouts.turned`.
    """
    runs = table[table.setting.isin(knockouts.BOTH_ASKED) & (table.ability == "1-after")]
    if not len(runs):
        return "No run that asks for both abilities is there yet."
    when = lambda date: "never" if math.isnan(date) else f"{date / 1000:,.1f}"
    named = "; ".join(
        f"*{knockouts.WORDS[setting]}*, seed {seed} ({when(one)} against {when(two)} thousand examples)"
        for setting, seed, one, two in found[["setting", "seed", "1-after", "2-after"]].itertuples(index=False)
    )
    return (
        f"Of the {len(runs)} knock-outs that ask for both abilities, 1-after-query came first in {len(found) or 'none'}"
        + (f": {named}." if len(found) else ".")
    )


def knocked_shifts(shifts: pd.DataFrame) -> pd.DataFrame:
    """`knockouts.shifts` for a page: of each knock-out and ability how many seeds reached it, how far its date
    moves, and the sign test.
    """
    span = lambda row: (
        "–"
        if math.isnan(row["mean"]) or row["bound"] == "mixed"
        else ("" if row["bound"] == "exact" else f"{row['bound']} ")
        + f"{row['mean']:+.2f}"
        + ("" if math.isnan(row["low"]) else f" ({row['low']:+.2f} to {row['high']:+.2f})")
    )
    return pd.DataFrame(
        [
            {
                "loss": knockouts.WORDS[row["setting"]],
                "ability": row["ability"],
                "reached": f"{row['reached']} of {row['pairs']}",
                "octaves (95 % interval)": span(row),
                "later": f"{row['above']} of {row['above'] + row['below']}",
                "p": "–" if math.isnan(row["p"]) else f"{row['p']:.3f}",
            }
            for row in shifts.to_dict("records")
        ]
    )


def knocked_table(rows: list[dict]) -> pd.DataFrame:
    """`knockouts.outcomes` for a page."""
    return pd.DataFrame(
        [
            {
                "prediction": f"{row['prediction'][0].upper()}{row['prediction'][1:]}",
                "found": knocked_found(row),
                "outcome": row["outcome"],
            }
            for row in rows
        ]
    )


def inverted(lines: pd.DataFrame, found: pd.DataFrame) -> str:
    """The search for a run whose 1-after-query came first: `factors.every` and `factors.inversions`."""
    either = lines[lines["1-after N=2"].notna() | lines["2-after N=2"].notna()]
    both = lines[lines["1-after N=2"].notna() & lines["2-after N=2"].notna()]
    thousands = lambda date: "never" if math.isnan(date) else f"at {date / 1000:,.0f} thousand examples"
    named = "; ".join(
        f"`{row['setting']}` at n = {row['dimension']} with {row['labels']} labels, seed {row['seed']} (beginning "
        f"again {thousands(row['1-after N=2'])}, going on {thousands(row['2-after N=2'])})"
        for row in found.to_dict("records")
    )
    text = (
        f"An inversion was sought among all {len(lines)} committed runs on the whole loss, of which {len(either)} "
        f"reached an ability by the score at ½ and {len(both)} both: "
    )
    if not len(found):
        return text + "there is none."
    apart = (found["2-after N=2"] / found["1-after N=2"]).max()
    return (
        text
        + f"beginning again came first in {len(found)}. So the prediction written before the runs of this section, "
        "that going on comes first wherever both come, is *refuted* as a law; "
        f"it comes first in {len(both) - len(found.dropna(subset='2-after N=2'))} of {len(both)}."
        + f" In the inverted runs the dates lie within a factor of {apart:.2f}." * (not math.isnan(apart))
        + f"\n\n{named}."
    )


def changed(table: pd.DataFrame) -> str:
    """What one changed factor does to the abilities: `factors.dated`, by the score."""
    own = table[(table.rule == "score") & (table.setting != "unchanged")]
    there = (
        own.assign(there=own.state == "there")
        .groupby(["setting", "ability"], sort=False)
        .there.agg(["sum", "size"])
        .unstack("ability")
    )
    names = lambda mask: ", ".join(f"`{setting}`" for setting in there.index[mask])
    begun, gone, seeds = there["sum", "1-after-query"], there["sum", "2-after-query"], there["size", "1-after-query"]
    parts = [
        (
            f"Neither ability came in any seed with {names((begun == 0) & (gone == 0))}.",
            ((begun == 0) & (gone == 0)).any(),
        ),
        (f"Going on alone came with {names((begun == 0) & (gone > 0))}.", ((begun == 0) & (gone > 0)).any()),
        (f"Beginning again alone came with {names((begun > 0) & (gone == 0))}.", ((begun > 0) & (gone == 0)).any()),
        (
            f"Both came in every seed with {names((begun == seeds) & (gone == seeds))}.",
            ((begun == seeds) & (gone == seeds)).any(),
        ),
    ]
    some = (begun > 0) & (gone > 0) & ((begun < seeds) | (gone < seeds))
    counts = "; ".join(
        f"`{setting}` (2-after in {gone[setting]} of {seeds[setting]}, 1-after in {begun[setting]})"
        for setting in there.index[some]
    )
    parts.append((f"In some seeds only with {counts}.", some.any()))
    unscored = table[table.rule == "median"].setting.drop_duplicates()
    parts.append(
        (
            "Without an identification score, so that nothing is concluded from their dates: "
            f"{', '.join(f'`{name}`' for name in unscored)}.",
            len(unscored) > 0,
        )
    )
    return " ".join(words for words, said in parts if said)


def ratio_map(table: pd.DataFrame) -> str:
    """What the map of ratios holds: `factors.ratio_map`."""
    cells = table[table.runs > 0]
    all_first = cells[cells["first"] == cells.runs]
    exact = cells[(cells.bound == "exact") & (cells.setting != "unchanged")]
    turned = cells[cells["first"] < cells.runs]
    others = "; ".join(
        f"`{setting}` ("
        + ", ".join(f"{row.threshold:.1f}: {row.runs - row.first} of {row.runs}" for row in group.itertuples())
        + ")"
        for setting, group in turned.groupby("setting", sort=False)
    )
    most, least = exact.loc[exact["mean"].idxmax()], exact.loc[exact["mean"].idxmin()]
    crossed = cells[cells.setting.str.contains("+", regex=False) & (cells.threshold == THRESHOLD)]
    turned_there, there = int((crossed.runs - crossed["first"]).sum()), int(crossed.runs.sum())
    said = (
        (
            " Of the crossed changes it was said that the order would turn in most: at ½ it turned in "
            f"{turned_there} of the {there} runs that reached either, so that prediction "
            + ("*held*." if turned_there > there / 2 else "*failed*.")
        )
        if there
        else ""
    )
    return (
        f"Of {len(cells)} cells with a run that reached either ability, going on came first in every such run in "
        f"{len(all_first)}"
        + (
            f"; in the others beginning again came first in some, by threshold: {others}."
            if others
            else ": no inversion at any of these thresholds."
        )
        + " *How long* before depends on the recipe and on the threshold: where every run that reached either "
        f"reached both, 1-after takes from {2 ** least['mean']:.1f} times as many examples "
        f"(`{least.setting}`, threshold {least.threshold:.1f}) to {2 ** most['mean']:.1f} times (`{most.setting}`, "
        f"{most.threshold:.1f}).{said} Cells hold {_few(cells.runs)}: points, not tests."
    )


def _few(runs_: pd.Series) -> str:
    low, high = int(runs_.min()), int(runs_.max())
    return f"{low} to {high} runs" if low < high else f"{low} run{'s' * (low > 1)}"


def vocabulary(table: pd.DataFrame) -> str:
    """More labels, or more systems?  Medians of `factors.vocabulary`, in words; points, not tests."""
    lines = []
    for n, group in table.groupby("dimension") if len(table) else []:
        if len(group) < 3:
            continue
        few, more, most = (group.iloc[i] for i in range(3))

        def step(before, after, ability):
            old, new = before[f"{ability}, median"], after[f"{ability}, median"]
            return (
                f"{new / old:.1f} times as many examples"
                if not math.isnan(new / old)
                else "an unknown multiple, since half of the runs or more ended without it"
            )

        lines.append(
            f"* **n = {n}.** Twice the labels, with as many systems as before: going on takes "
            f"{step(few, more, '2-after')}, beginning again {step(few, more, '1-after')}. "
            f"Twice the systems on top: going on takes {step(more, most, '2-after')}, beginning again "
            f"{step(more, most, '1-after')}."
        )
    return (
        "By the medians of the table, which are points, not tests:\n\n" + "\n".join(lines)
        if lines
        else "No run with eight labels and up to four systems is there yet."
    )


def alone(table: pd.DataFrame) -> str:
    """What AdamW alone learns: `factors.alone`."""
    begun = table[table["reached 1-after"] > 0]
    where = "; ".join(
        f"n = {row['dimension']} with {row['labels']} labels ({row['reached 1-after']} of {row['runs']})"
        for row in begun.to_dict("records")
    )
    return (
        f"With AdamW alone going on came in {table['reached 2-after'].sum()} of {table.runs.sum()} runs, and "
        f"beginning again in {table['reached 1-after'].sum()}"
        + (
            f": {where}."
            if where
            else f". No run contradicts the order. None looked labels up, not even at n = {table.dimension.iloc[0]} "
            f"with {table.labels.iloc[0]} labels: within these steps that says how late look-up is at the "
            "least, not when it comes."
        )
    )


def cells_table(table: pd.DataFrame) -> pd.DataFrame:
    """`factors.vocabulary` or `factors.alone` as a table for a page."""
    whole = lambda value: "–" if math.isnan(value) else f"{value / 1000:,.0f}"
    rows = []
    for row in table.to_dict("records"):
        line = (
            {"n": row["dimension"]}
            | {key: row[key] for key in ("labels", "training") if key in row}
            | {"runs": row["runs"]}
        )
        line |= {"longest, thousands": whole(row["longest"])} if "longest" in row else {}
        for ability, words in (("2-after", "went on"), ("1-after", "began again")):
            line |= {words: row[f"reached {ability}"], f"{ability}, thousands": whole(row[f"{ability}, median"])}
        rows.append(
            line
            | (
                {"label index": ", ".join(f"{value:.2f}" for value in row["indices"]) or "–"}
                if "indices" in row
                else {}
            )
        )
    return pd.DataFrame(rows)


def rescored(table: pd.DataFrame) -> str:
    """The study's dates by each rule, from `published.dates`."""
    span = lambda what, rule: f"{table[f'{what} ({rule})'].min():.1f} to {table[f'{what} ({rule})'].max():.1f}"
    least, most = table.N.min(), table.N.max()
    return (
        f"By the study's cutoff, going on is dated at {span('2-after', 'median < ½')} million examples, depending on "
        "N, and beginning again takes "
        f"{span('ratio', 'median < ½')} times as many. By the identification score at ½, going on is dated at "
        f"{span('2-after', 'score ½')} million and the ratio is "
        f"{span('ratio', 'score ½')} for N from {least} to {most}. At 0.9 the dependence on N is back, "
        f"{span('2-after', 'score 0.9')} million: "
        f"the more systems, the longer going on takes to become *good*, until at N = {most} it is later than "
        f"beginning again (ratio {table[table.N == most]['ratio (score 0.9)'].iloc[0]:.1f})."
    )


def declared(rows: list[dict]) -> pd.DataFrame:
    """Outcomes of declared tests (`claims.outcomes`) as a table for a page."""
    p = lambda value: "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
    return pd.DataFrame(
        [
            {
                "test": _titled(
                    row["id"],
                    f"{row['statistic'][0].upper()}{row['statistic'][1:]}.<br><em>Passes:</em> "
                    f"{row['rule']}.<br><em>Refuted:</em> {row['refuter']}.",
                ),
                "seeds": f"{row['runs']} of {row['seeds']}",
                "estimate (interval)": "–" if math.isnan(row["estimate"]) else "{} ({} to {})".format(*written(row)),
                "p": p(row["p"]),
                "p (Holm)": p(row["holm"]),
                "outcome": row["outcome"],
            }
            for row in rows
        ]
    )


def outcome(rows: list[dict]) -> str:
    """The outcomes of some declared tests in a sentence."""
    return "**Verdict.** " + "; ".join(evidence(row) for row in rows) + "."


def _titled(title: str, words: str) -> str:
    return f"<strong>{title}</strong><br>{words}"


STATUS = {
    "reproduced": "✓",
    "answered": "✓",
    "only at this scale": "◐",
    "in part": "◐",
    "undecided": "◐",
    "not reproduced": "✗",
    "not tested": "–",
}


def claimed(rows: list[dict]) -> pd.DataFrame:
    """`claims.table` for a page."""
    return pd.DataFrame(
        [
            {
                "claim": _titled(row["id"], row["claim"]),
                "status": _marked(row["status"]),
                "evidence": row["evidence"].replace("); ", ")<br>") or "–",
            }
            for row in rows
        ]
    )


def _marked(status: str) -> str:
    return f"{STATUS[status]} {status}"


def asked(rows: list[dict]) -> pd.DataFrame:
    """`claims.questions` for a page."""
    return pd.DataFrame(
        [
            {
                "question": row["question"],
                "status": _marked(row["status"]),
                "answer": row["answer"].replace("); ", ")<br>") or "–",
            }
            for row in rows
        ]
    )


def edits(effects: pd.DataFrame) -> pd.DataFrame:
    """`edits.effects` of one dimension as text for a page: plain error, edited error, interval of the difference."""
    cell = lambda row, k: (
        f"{row[f'plain{k}']:.2f} → {row[f'edited{k}']:.2f}"
        + ("" if math.isnan(row[f"low{k}"]) else f" ({row[f'low{k}']:+.2f} to {row[f'high{k}']:+.2f})")
    )
    return pd.DataFrame(
        [
            {
                "intervention": _titled(row["intervention"], INTERVENTIONS[row["intervention"]].question),
                "1-after": cell(row, 1),
                "2-after": cell(row, 2),
            }
            for row in effects.to_dict("records")
        ]
    )


def norms(effects: dict[int, pd.DataFrame]) -> str:
    """How much of 2-after-query is matching by norm?  effects: N -> `edits.effects`; kinds with a single model are
    left out.
    """
    lines = []
    change = lambda row, k: (
        f"{row[f'plain{k}']:.2f} to {row[f'edited{k}']:.2f}"
        + ("" if math.isnan(row[f"low{k}"]) else f" (difference {row[f'low{k}']:+.2f} to {row[f'high{k}']:+.2f})")
    )
    for N, table in effects.items():
        for (dimension, led), group in table[table.seeds > 1].groupby(["dimension", "kind"], sort=True):
            row = {each["intervention"]: each for each in group.to_dict("records")}
            equal, swap, level = row["equal-norm"], row["norm-swap"], (N - 1) / N
            lines.append(
                f"* **n = {dimension}, N = {N}, {equal['seeds']} {led} models.** Equal norms take 2-after-query from "
                f"{change(equal, 2)}, its identification score from "
                f"{1 - equal['plain2'] / level:.2f} to {1 - equal['edited2'] / level:.2f}; 1-after-query from "
                f"{change(equal, 1)}. The norm of another system takes 2-after-query from {change(swap, 2)}."
            )
    return "\n".join(lines)


def closeness(gaps: pd.DataFrame) -> str:
    """2-after-query where norms are closest and farthest, from `edits.norm_gaps` with `led`."""
    lines = []
    for (dimension, led), group in gaps.groupby(["dimension", "led"]):
        if group.seed.nunique() > 1:
            first, last = (group[group.group == g] for g in (group.group.min(), group.group.max()))
            worse = int((first.error.to_numpy() > last.error.to_numpy()).sum())
            lines.append(
                f"* **n = {dimension}, {led} models**: {first.error.mean():.2f} in the fifth of prompts whose norms "
                f"are closest, {last.error.mean():.2f} in the fifth where they are "
                f"farthest apart; worse when close in {worse} of {len(first)} models."
            )
    return "\n".join(lines)


def predicted(listed) -> pd.DataFrame:
    """The registry of interventions as a table for a page."""
    return pd.DataFrame(
        [
            {
                "intervention": _titled(each.name, each.question),
                "by label": each.label,
                "by observation": each.observation,
                "needs": each.applies_to,
            }
            for each in listed
        ]
    )


def by_heart(table: pd.DataFrame) -> str:
    """table: `by_heart.library`.  What is known by heart: 2 after the first label nothing in the context tells
    anything, so an error below 1 is knowledge of the system shown.
    """
    sentences = []
    for size, group in table.query("systems == 2 and k == 2").groupby("library"):
        error = group.pivot_table(index=["event", "seed"], columns="shown", values="mean")
        first, query = error.loc["initial"], error.loc["query"]
        trained, moved, fresh = (
            first[name] for name in ("trained trajectories", "trained maps, new states", "fresh systems")
        )
        span = lambda values: f"{values.min():.2f} to {values.max():.2f}"
        how = "" if (trained < 0.1).all() else "partly "
        knows = (
            "in all of its models"
            if (trained < 0.9).all()
            else "in none of its models"
            if (trained >= 0.9).all()
            else f"in {(trained < 0.9).sum()} of its {len(trained)} models"
        )
        maps = (
            "the maps as such are not: under new first states"
            if (moved >= 0.9).all()
            else "and so are the maps in some: under new first states"
        )
        sentence = (
            f"**{size:,} systems.** Trajectories are {how if (trained < 0.9).any() else ''}known by heart "
            f"{knows} (error at k = 2 after the first label {span(trained)})"
        )
        sentence += (
            f"; {maps} the error is {span(moved)}, no better than for fresh systems ({span(fresh)})."
            if (trained < 0.9).any()
            else "."
        )
        sentences.append(
            f"{sentence} 2-after-query: {span(query['trained trajectories'])} on trained trajectories, "
            f"{span(query['fresh systems'])} on fresh systems."
        )
    return " ".join(sentences)


def _mean(values, digits: int = 2) -> str:
    """Mean, and from LEAST models on its 95 % t interval."""
    values = [value for value in values if not math.isnan(value)]
    mean, low, high = stats.interval(values)
    if math.isnan(mean):
        return "–"
    return (
        f"{mean:.{digits}f}"
        if len(values) < stats.LEAST
        else f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    )


def _cell(values, digits: int = 2) -> str:
    """The same for a narrow column of a table."""
    return _mean(values, digits).replace(" (", "<br>(")


def overlapped(circuits: pd.DataFrame) -> pd.DataFrame:
    """What the circuits of 1- and 2-after-query share, a row per corruption: means over models with 95 % t
    intervals, by the side of chance and of one task's circuits found twice; and the row across two corruptions.
    """
    rows = []
    all_models = circuits.run.nunique()
    for corruption, group in shared.overlaps(circuits).groupby("corruption", sort=False):
        rows.append(
            {
                "corruption": corruption,
                "verdict": shared.verdict(group.shared),
                "models": f"{len(group)} of {all_models}",
                "r": _cell(group.shared, 3),
                "overlap": _cell(group.overlap),
                "chance": f"{group.null.mean():.2f}",
                "twice": f"{group.ceiling.mean():.2f}",
                "of the smaller": _cell(group.inside),
                "chance ": f"{group.inside_null.mean():.2f}",
            }
        )
    group = shared.across(circuits)
    rows.append(
        {
            "corruption": "label and state",
            "verdict": "–",
            "models": f"{len(group)} of {all_models}",
            "r": "–",
            "overlap": _cell(group.overlap),
            "chance": f"{group.null.mean():.2f}",
            "twice": "–",
            "of the smaller": _cell(group.inside),
            "chance ": f"{group.inside_null.mean():.2f}",
        }
    )
    return pd.DataFrame(rows)


def swapped(circuits: pd.DataFrame) -> pd.DataFrame:
    """One row per corruption and task: what there is to explain, size of its circuits, faithfulness on its own and
    on the other task, what the rest still does.
    """
    rows = []
    both = circuits[circuits.task.isin(["1-after", "2-after"]) & (circuits.draw == 1)]
    for (corruption, task), group in both.groupby(["corruption", "task"], sort=False):
        found = group[group.circuit.notna() & (group.circuit != "")]
        rows.append(
            {
                "corruption": corruption,
                "circuit of": task,
                "models": f"{len(found)} of {len(group)}",
                "moved": f"{group.difference.median():.2f}",
                "edges": _cell(found.edges, 0),
                "own": _cell(found.faithfulness),
                "other": _cell(found.other),
                "rest": _cell(found.complement),
                "needed": _cell(found.essential),
            }
        )
    return pd.DataFrame(rows)


def weights(circuits: pd.DataFrame, index: pd.Series) -> str:
    """Overlap against chance, the rule's verdict and the natural experiment, in words.  index: label index by run."""
    lines, all_models = [], circuits.run.nunique()
    for corruption, group in shared.overlaps(circuits).groupby("corruption", sort=False):
        if len(group) < stats.LEAST:
            lines.append(
                f"* **{corruption}**: in {len(group)} of {all_models} models it moves both predictions: too few for "
                "a verdict."
                + (" That it leaves one of them alone in the others is the finding." if len(group) < all_models else "")
            )
            continue
        mean, low, high = stats.interval(group.overlap - group.null)
        line = (
            f"* **{corruption}**: the circuits share "
            f"{'more than' if low > 0 else 'less than' if high < 0 else 'no more than'} chance does (by {mean:.2f}, "
            f"95 % interval {low:.2f} to {high:.2f}, "
            f"{len(group)} models). By the rule: *{shared.verdict(group.shared)}*, r = {_mean(group.shared, 4)}; by "
            f"dimension: {'; '.join(f'n = {n}, {_mean(part.shared)}' for n, part in group.groupby('dimension'))}."
        )
        rho, under, over = stats.spearman(group.run.map(index), group.shared)
        lines.append(line + f" Rank correlation of r with the label index: {rho:.2f} ({under:.2f} to {over:.2f}).")
    return "\n".join(lines)


def by_size(table: pd.DataFrame) -> pd.DataFrame:
    """`shared.by_size` for a page."""
    return pd.DataFrame(
        {
            "strongest edges": table["size"],
            "of 1-after's among 2-after's": [
                f"{row.inside:.2f}" + ("" if math.isnan(row.low) else f" ({row.low:.2f} to {row.high:.2f})")
                for row in table.itertuples()
            ],
            "chance": table.chance.map("{:.2f}".format),
            "models": table.models,
        }
    )


def between_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """`shared.between_tasks` for a page."""
    return (
        table.map(lambda value: "–" if math.isnan(value) else f"{value:.2f}")
        .rename_axis("edges in both / in either")
        .reset_index()
    )


def synchronised(circuits: pd.DataFrame) -> str:
    """Who solves synchronised prompts at all, and what its circuits then share, in words."""
    chosen = circuits[(circuits.corruption == "whole-context") & (circuits.task == "sync 2-after")].dropna(
        subset=["error_full"]
    )
    if chosen.empty:
        return "No circuit was found for synchronised prompts."
    solves = chosen.set_index("run").error_full < SOLVES
    lines = []
    for words, runs_ in (("solve them", solves.index[solves]), ("do not", solves.index[~solves])):
        own = circuits[circuits.run.isin(runs_)]
        with_ = {
            task: shared.overlaps(own[own.corruption == "whole-context"], task, "sync 2-after").overlap
            for task in ("1-after", "2-after")
        }
        if len(runs_):
            lines.append(
                f"{len(runs_)} {words} (error {chosen[chosen.run.isin(runs_)].error_full.min():.2f} to "
                f"{chosen[chosen.run.isin(runs_)].error_full.max():.2f}): overlap of their synchronised "
                "2-after-query "
                f"{_mean(with_['1-after'])} with 1-after-query, {_mean(with_['2-after'])} with 2-after-query"
            )
    return f"Of {len(solves)} models, {'; '.join(lines)}."


SOLVES = 0.25  # error on synchronised prompts, half of what averaging the two systems would give
NAMES = {
    "reference": "elimination",
    "again": "elimination, other prompts",
    "noising": "exact, noising",
    "denoising": "exact, denoising",
    "larger": "exact, the larger",
    "attribution": "attribution",
    "pruned": "learned pruning",
    "rewarded": "elimination, rewarded",
    "pruned rewarded": "learned pruning, rewarded",
    "joint": "one for both tasks",
}


def agreed(compared: pd.DataFrame) -> pd.DataFrame:
    """A row per method: overlap with the reference at its size, by dimension and over all models, faithfulness and
    distance on fresh prompts; means over both tasks.
    """
    rows, chance = [], compared[compared.method == "larger"]
    for method in ("reference", "again", "noising", "denoising", "larger", "attribution", "pruned"):
        group = (
            compared[compared.method == method]
            .groupby(["dimension", "run"])[["overlap", "faithfulness", "distance"]]
            .mean()
            .reset_index()
        )
        rows.append(
            {
                "method": NAMES[method],
                **{f"n = {n}": f"{part.overlap.mean():.2f}" for n, part in group.groupby("dimension")},
                "all": _cell(group.overlap) if method != "reference" else "1.00",
                "faithfulness": _cell(group.faithfulness),
                "distance": _cell(group.distance),
            }
        )
    rows.append(
        {
            "method": "as many random edges",
            **{f"n = {n}": f"{part.null.mean():.2f}" for n, part in chance.groupby("dimension")},
            "all": f"{chance.null.mean():.2f}",
            "faithfulness": "–",
            "distance": "–",
        }
    )
    return pd.DataFrame(rows)


def agreement(compared: pd.DataFrame) -> str:
    """Which methods stand in for the reference, by the rule of `recall.studies.weights.methods`."""
    lines = []
    for method in ("noising", "denoising", "larger", "attribution", "pruned"):
        values = methods.differences(compared, "overlap", method, "again")
        mean, low, high = stats.interval(values)
        if len(values) < stats.LEAST:
            lines.append(
                f"* **{NAMES[method]}**: {mean:+.2f} from the ceiling, {_models(values)}: too few for a verdict."
            )
            continue
        lines.append(
            f"* **{NAMES[method]}**: {mean:+.2f} ({low:+.2f} to {high:+.2f}) from the ceiling, {_models(values)}: "
            f"{'stands in for the reference' if high >= 0 else 'does not stand in for it'}."
        )
    return "\n".join(lines)


def _models(values) -> str:
    return f"{len(values)} model{'s' * (len(values) != 1)}"


def rewarded(compared: pd.DataFrame) -> pd.DataFrame:
    """2-after-query's circuits with and without a reward for sharing: edges, overlap with 1-after's circuit, chance,
    faithfulness, distance.
    """
    rows, second = [], compared[compared.task == "2-after"]
    for method in ("reference", "rewarded", "pruned", "pruned rewarded", "joint"):
        group = second[second.method == method]
        rows.append(
            {
                "circuit of 2-after-query": NAMES[method].replace(", ", ",<br>"),
                "edges": _cell(group.edges, 0),
                "overlap": _cell(group.with_first),
                "chance": "–" if group.with_first_null.isna().all() else f"{group.with_first_null.mean():.2f}",
                "faithfulness": _cell(group.faithfulness),
                "distance": _cell(group.distance),
            }
        )
    return pd.DataFrame(rows)


def sharing(compared: pd.DataFrame, index: dict[str, float]) -> str:
    """Whether one set of edges can serve both tasks, and what a reward for sharing changes, in words.  index: label
    index by run.
    """
    lines, prices = [], methods.prices(compared)
    lines.append(
        f"* **One circuit for both tasks** has {prices.joint.mean():.0f} edges where 1-after-query alone has "
        f"{prices['first'].mean():.0f} and 2-after-query {prices.second.mean():.0f} "
        f"(means of {_models(prices)}): the price c is {_mean(prices.price)}. Can one set of edges serve both? By "
        f"the rule: *{methods.verdict(prices)}*. But the two circuits "
        f"simply put together would cost {_mean(prices.together)}: asking for one changes c by "
        f"{_signed(prices.price - prices.together)}."
    )
    rho, low, high = stats.spearman(prices.run.map(index), prices.price)
    if not math.isnan(rho):
        last = prices.loc[prices.run.map(index).idxmax()]
        lines.append(
            f"* **The price and the label**: rank correlation of c with the label index {rho:.2f} ({low:.2f} to "
            f"{high:.2f}), looked at when six of the models had been seen. In the model whose label index is highest "
            f"({index[last.run]:.2f}, n = {last.dimension}, seed {last.seed}) c is {last.price:.2f}, in the others "
            f"{prices.price.drop(last.name).min():.2f} to {prices.price.drop(last.name).max():.2f}."
        )
    for method, other, words in (
        ("rewarded", "reference", "Elimination that spares 1-after's edges"),
        ("pruned rewarded", "pruned", "Pruning that is paid for 1-after's edges, at equal size,"),
    ):
        change = {
            column: _signed(methods.differences(compared, column, method, other, "2-after"))
            for column in ("with_first", "edges", "distance")
        }
        lines.append(
            f"* **{words}** changes the overlap of 2-after's circuit with 1-after's by {change['with_first']}, its "
            f"edges by {change['edges']}, its distance on fresh prompts by {change['distance']}."
        )
    return "\n".join(lines)


def _signed(values) -> str:
    mean, low, high = stats.interval(values)
    return (
        "–"
        if math.isnan(mean)
        else f"{mean:+.2f}"
        if len(values) < stats.LEAST
        else f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
    )


def converted(training: pd.DataFrame) -> str:
    """The natural experiment in each model that was followed: from the first step at which both abilities are there
    to the last.
    """
    lines, rising, falling = [], [], []
    for _, group in training.groupby("run", sort=False):
        able = group[group.step >= max(group.date_1.iloc[0], group.date_2.iloc[0])].dropna(
            subset=["label_index", "shared"]
        )
        name = f"n = {group.dimension.iloc[0]}, seed {group.seed.iloc[0]}"
        if len(able) < 3:
            lines.append(f"* **{name}**: fewer than three steps with both abilities: nothing to follow.")
            continue
        first, last = able.iloc[0], able.iloc[-1]
        rho, chance = stats.trend(able.label_index.to_numpy(), able.shared.to_numpy())
        rising.append(chance <= 0.05)
        rho = (
            "not defined, one of them stands still"
            if math.isnan(rho)
            else f"{rho:+.2f} over {len(able)} steps, reached by {chance:.0%} of all orders"
        )
        lines.append(
            f"* **{name}**: from step {first.step:,} to {last.step:,} the label index of 2-after-query goes from "
            f"{first.label_index:.2f} to {last.label_index:.2f}, the shared part r "
            f"from {first.shared:.2f} to {last.shared:.2f} (between {able.shared.min():.2f} and "
            f"{able.shared.max():.2f}); rank correlation {rho}. The price of one circuit for both goes from "
            f"{first.price:.2f} to {last.price:.2f}."
        )
        falling.append(last.price < first.price)
    if rising:
        ends = (
            "*undecided*, with fewer than five models"
            if len(rising) < stats.LEAST
            else "overlap tells which mechanism is used"
            if all(rising)
            else "overlap does not tell which mechanism is used"
        )
        lines.append(
            f"* **By the rule**: r clearly rises with the label index in {sum(rising)} of the {len(rising)} that "
            f"could be followed: {ends}. "
            f"The prediction that it stays holds in {len(rising) - sum(rising)} of them, the one that the price "
            f"falls in {sum(falling)}."
        )
    return "\n".join(lines)


def begun(onsets: pd.DataFrame) -> str:
    """When the edges of the last circuits start to matter, against the dates of the abilities.  onsets:
    `shared.onsets`.
    """
    lines = []
    for task, group in onsets.groupby("task", sort=False):
        there = group.dropna()
        if there.empty:
            lines.append(
                f"* **{task}-query**: no edge alone carries {shared.ONSET:.0%} of it, or its ability has no date."
            )
            continue
        before = (there.onset < there.date).mean()
        lines.append(
            f"* **{task}-query** ({'date' if there.date.nunique() == 1 else 'dates'} "
            f"{' and '.join(f'{date:,.0f}' for date in there.date.unique())}): {len(there)} of the {len(group)} "
            f"edges of its last circuits carry {shared.ONSET:.0%} "
            f"alone at some step; {before:.0%} of these do so before the ability's date. Onsets: median step "
            f"{there.onset.median():,.0f}, middle half {there.onset.quantile(0.25):,.0f} to "
            f"{there.onset.quantile(0.75):,.0f}."
        )
    return "\n".join(lines)


def looked(heads: pd.DataFrame) -> pd.DataFrame:
    """Where the heads look that have a role at the row of the prediction: by task and landmark, how many heads a
    model has, what the dearest one costs there and everywhere.
    """
    rows, models = [], heads.run.nunique()
    for (task, landmark), group in heads[(heads.attention >= roles.LOOKS) & (heads.cost_here >= roles.COSTS)].groupby(
        ["task", "landmark"], sort=False
    ):
        best = group.loc[group.groupby("run").cost_here.idxmax()]
        rows.append(
            {
                "task": task,
                "looks at": landmark.replace(" ", "<br>", 1),
                "models": f"{best.run.nunique()} of {models}",
                "heads": f"{len(group) / best.run.nunique():.1f}",
                "layers": ", ".join(map(str, sorted(group.layer.unique()))),
                "attention": _cell(best.attention),
                "cost there": _cell(best.cost_here),
                "anywhere": _cell(best.cost),
            }
        )
    return pd.DataFrame(rows or [{"task": "–"}]).sort_values("task", kind="stable")


def removed(table: pd.DataFrame) -> pd.DataFrame:
    """What is kept of each task without a circuit or a part of it, and without as many random edges."""
    rows, words = (
        [],
        {
            "": "circuit of<br>{}",
            " only": "… what the<br>other has not",
            " first draw only": "… what its second<br>draw has not",
        },
    )
    for task in ("1-after", "2-after"):
        for part, called in words.items():
            row = {
                "without": called.format(f"{task}-query"),
                "edges": _cell(table[(table.removed == task + part) & (table.task == task)].edges, 0),
            }
            for k in (1, 2):
                own, random = (
                    table[(table.removed == each + task + part) & (table.task == f"{k}-after")].kept
                    for each in ("", "random, as ")
                )
                row |= {
                    f"kept of {k}-after": _cell(own),
                    "random" + " " * (k - 1): "–" if random.empty else f"{random.mean():.2f}",
                }
            rows.append(row)
    return pd.DataFrame(rows)


def dissociated(table: pd.DataFrame) -> str:
    """Whether a task needs the edges that the other's circuit has not, by the rule of
    `recall.studies.weights.roles`, in words.
    """
    lines = []
    for task, other in (("1-after", "2-after"), ("2-after", "1-after")):
        kept = table[table.task == task].pivot_table(index="run", columns="removed", values="kept", sort=False)
        spared = table[(table.task == other) & (table.removed == f"{task} only")].kept
        if not {
            f"{random}{task} {part}" for random in ("", "random, as ") for part in ("only", "first draw only")
        } <= set(kept):
            lines.append(f"* **{task}-query**: no circuit.")
            continue
        beyond = {
            part: kept[f"{task} {part}"] - kept[f"random, as {task} {part}"] for part in ("only", "first draw only")
        }
        gap = (beyond["only"] - beyond["first draw only"]).dropna()
        line = (
            f"* **{task}-query** keeps {_mean(kept[f'{task} only'])} of itself without the edges that only its "
            f"circuit has, {other}-query {_mean(spared)}; without those that only the first of its own two draws "
            f"has, it keeps {_mean(kept[f'{task} first draw only'])}. Beyond as many random edges, the difference is "
            f"{_signed(gap)}, {_models(gap)}"
        )
        line += (
            ": too few for a verdict."
            if len(gap) < stats.LEAST
            else ": *it needs edges of its own*."
            if stats.interval(gap)[2] < 0
            else ": no sign that it needs edges of its own."
        )
        unhurt = int((beyond["only"] >= 0).sum())
        lines.append(
            line
            + (
                f" Not in all: {unhurt} of them lose{'s' * (unhurt == 1)} no more than with random edges."
                if unhurt
                else ""
            )
        )
    return "\n".join(lines)


def paired(pairs: pd.DataFrame) -> str:
    """Backups and partners among the strongest edges, in words."""
    lines = []
    for task, group in pairs.groupby("task", sort=False):
        count = {
            name: group[group[column] >= roles.PAIR].groupby("run").size().reindex(group.run.unique(), fill_value=0)
            for name, column in (("backups", "or_"), ("partners", "and_"))
        }
        best = {name: group.loc[group[column].idxmax()] for name, column in (("backups", "or_"), ("partners", "and_"))}
        edge = lambda row, side: f"{row[f'writer_{side}']} → {row[f'reader_{side}']}"
        lines.append(
            f"* **{task}-query**: of 66 pairs a model has {count['backups'].mean():.1f} backups and "
            f"{count['partners'].mean():.1f} partners (means of {_models(count['backups'])}). Strongest backups: "
            f"{edge(best['backups'], 'a')} and {edge(best['backups'], 'b')}, {best['backups'].or_:+.2f}; strongest "
            f"partners: {edge(best['partners'], 'a')} and {edge(best['partners'], 'b')}, "
            f"{best['partners'].and_:+.2f}."
        )
    return "\n".join(lines)


def traced(table: pd.DataFrame) -> str:
    """Which single row moves each prediction most, before the last layer, over models.  table: `roles.trace` of
    several models.
    """
    lines = []
    # tables of several models repeat their numbers
    late = table[table.layer == table.layer.max()].reset_index(drop=True)
    for (task, corruption), group in late.groupby(["task", "corruption"], sort=False):
        best = group.loc[group.groupby("model").lost.idxmax()]
        first = best.landmark.mode().iloc[0]
        own, last = (group[group.landmark == name].lost for name in (first, "needle last state"))
        others = "; ".join(
            f"{row.model}: {row.landmark}, {row.lost:.2f}" for row in best[best.landmark != first].itertuples()
        )
        lines.append(
            f"* **{task}-query, {corruption}**: before the last layer it moves most with the *{first}* in "
            f"{sum(best.landmark == first)} of {len(best)} models "
            f"(over all of them by {own.min():.2f} to {own.max():.2f}){f' ({others})' if others else ''}, and by "
            f"{last.abs().max():.2f} at most with the needle's last state."
        )
    return "\n".join(lines)


# --- chapter 8
# ----------------------------------------------------------------------------------------------------------

FEW = 3  # seeds, for an interval over them
LABELS = {
    "arbitrary": "arbitrary labels, farthest task",
    "arbitrary, last task": "arbitrary labels, last task",
    "names": "the tasks' own names",
    "arbitrary, pairs of the context": "arbitrary labels, pairs of the context alone",
}
REAL = {"words": "real"}  # what the page calls a condition


def _words(words: str) -> str:
    """A condition, or a model that was not trained here, which is asked real words."""
    return f"{REAL.get(words, words)} words" if words in TRAINED_HERE else f"{words}, real words"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


BY = {"half": "half the bits", "toy": "score ½"}


def prompts_in_full(lexicon, tokenizer, tasks: int) -> pd.DataFrame:
    """One prompt of every condition, in full, with the two tokens that are scored and their rivals."""
    tokens, rows = scoring.target_tokens(tokenizer, lexicon)[0], []
    pieces = lambda word: " · ".join(piece.removeprefix("##") for piece in tokenizer.tokenize(word))
    config = PromptConfig(tasks=tasks, count=1)
    plain, names = draw(lexicon, tokens, config), draw(lexicon, tokens, config, names=True)
    sets = [(name, CONDITIONS[name][0], name, plain) for name in CONDITIONS if name != "synchronised"]
    sets += [
        (
            "last task",
            "plain, with the task queried that was on last: going on with it needs no label",
            "plain",
            draw(lexicon, tokens, replace(config, needle=tasks - 1)),
        ),
        ("names", "plain, under the tasks' own names: nothing has to be looked up", "plain", names),
        ("synchronised", CONDITIONS["synchronised"][0], "synchronised", draw(lexicon, tokens, config, twins=True)),
    ]
    if "context" in lexicon.kinds:
        sets.append(
            (
                "pair of the context",
                "plain, with a pair that no training text teaches: this prompt alone tells it",
                "plain",
                draw(lexicon, tokens, replace(config, kind="context", shown=True)),
            )
        )
    for name, question, edit, drawn in sets:
        prompt = CONDITIONS[edit][1](drawn[0])
        rows.append(
            dict(
                condition=name,
                question=question,
                prompt=prompt.text,
                target=pieces(prompt.target),
                rival=pieces(prompt.rival) if prompt.rival else "",
            )
        )
    return pd.DataFrame(
        [
            {
                "what is asked": _titled(row["condition"], row["question"]),
                "prompt, in full, and <strong>the two tokens scored</strong>": f"<code>{html.escape(row['prompt'])} "
                f"<strong>{row['target']}</strong></code>".replace("\n", "<br>")
                + (f"<br>rival: {row['rival']}" if row["rival"] else ""),
            }
            for row in rows
        ]
    )


def _over_seeds(values, digits: int = 2) -> str:
    """Mean over seeds, with a 95 % t interval from FEW on."""
    values = [value for value in values if not math.isnan(value)]
    mean, low, high = stats.interval(values, least=FEW)
    return (
        "–"
        if not values
        else f"{mean:.{digits}f}" + (f" ({low:.{digits}f} to {high:.{digits}f})" if len(values) >= FEW else "")
    )


def language_dates(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """When each token was learnt, a row per words, labels and date.  found: `recall.language.results.both_gaps`."""

    def step(values):  # a seed that never gets there is later than any that does
        middle = values.fillna(math.inf).median()
        reached = "" if values.notna().all() else f" ({values.notna().sum()} of {len(values)} seeds)"
        return f"{middle:,.0f}{reached}" if math.isfinite(middle) else f"not by the end{reached}"

    both = pd.concat([table.assign(by=by) for by, table in found.items()]).sort_index(kind="stable")
    return pd.DataFrame(
        [
            {
                "": _titled(
                    f"{_words(words)}, {LABELS.get(labels, labels)}",
                    f"{BY[by]}, {len(group)} seed{'s' * (len(group) > 1)}",
                ),
                "first token, step": step(group["first"]),
                "second": step(group.second),
                "octaves between": "≥ " * bool((group["first"].isna() & group.octaves.notna()).any())
                + _over_seeds(group.octaves),
            }
            for (words, labels, by), group in both.groupby(["words", "labels", "by"], sort=False)
        ]
    )


def language_order(found: dict[str, pd.DataFrame], words: str = "invented") -> str:
    """Which token was learnt first in words whose tokens are alike, and how much of the gap goes with looking up."""
    lines = []
    bound = lambda table: "at least " * bool(table["first"].isna().any())
    for by, table in found.items():
        own, named = (table[(table.words == words) & (table.labels == labels)] for labels in ("arbitrary", "names"))
        part = results.label_part(table[table.words == words])
        late = int(own["first"].isna().sum())
        lines.append(
            f"* **Dated by {'half of the bits' if by == 'half' else 'the identification score at ½'}.** The second "
            f"token came first in {interval(int((own.octaves > 0).sum()), len(own))} seeds, by "
            f"{bound(own)}{_over_seeds(own.octaves)} octaves (doublings of "
            f"training){f'; in {late} of them the first had not come by the last step' if late else ''}. With the "
            "tasks' own names, which need no looking up, it is "
            f"{bound(named)}{_over_seeds(named.octaves)}; the difference, which goes with looking up, is "
            f"{bound(own)}{_over_seeds(part.octaves)}."
        )
    return "\n".join(lines)


def language_bits(last: pd.DataFrame) -> pd.DataFrame:
    """What the tokens bear and what is got of it by the last step.  last: `recall.language.results.final`."""
    cell = lambda group, k: (
        f"{_over_seeds(group['surprisal', k])} bits<br>{_over_seeds(group['gained', k])} "
        f"gained<br>{_over_seeds(group['accuracy', k])} right"
    )
    return pd.DataFrame(
        [
            {
                "": _titled(_words(words), LABELS.get(labels, labels)),
                "first token": cell(group, 1),
                "second token": cell(group, 2),
            }
            for (words, labels), group in last.groupby(["words", "labels"], sort=False)
        ]
    )


def language_controls(last: pd.DataFrame) -> str:
    """What a misdirected label and twins do at the last step, in words.  Of real words the second token of a rival
    is left out: behind the first letter of another word it is no word.
    """
    lines = []
    for words, group in last.xs("arbitrary", level="labels").groupby("words", sort=False):
        second = (
            f", and {_over_seeds(group['label_led', 2])} of the second's, once the true first one stands there"
            if words == "invented"
            else ""
        )
        lines.append(
            f"* **{_capital(_words(words))}.** Under a misdirected label, the label's own answer "
            f"gets {_over_seeds(group['label_led', 1])} of the first token's chance against the true one "
            f"(1: the label rules){second}. Where two tasks share the first token, the right second one gets "
            f"{_over_seeds(group.get(('synchronised', 2), []))} against its twin's."
        )
    return "\n".join(lines)


def language_context(last: pd.DataFrame) -> str:
    """Pairs known from training beside pairs of the context alone, at the last step, in words."""
    lines = []
    for words, group in last.groupby("words", sort=False):
        of = lambda labels, quantity, k, group=group: _over_seeds(group.xs(labels, level="labels")[quantity, k])
        if "arbitrary, pairs of the context" in group.index.get_level_values("labels"):
            lines.append(
                f"**{_capital(_words(words))}**, first token: of "
                f"{of('arbitrary, pairs of the context', 'surprisal', 1)} bits that are missing without the source, "
                f"{of('arbitrary, pairs of the context', 'gained', 1)} are gained by it "
                f"(known pairs: {of('arbitrary', 'gained', 1)} of {of('arbitrary', 'surprisal', 1)}); second token: "
                f"{of('arbitrary, pairs of the context', 'gained', 2)} of "
                f"{of('arbitrary, pairs of the context', 'surprisal', 2)} "
                f"(known pairs: {of('arbitrary', 'gained', 2)} of {of('arbitrary', 'surprisal', 2)})."
            )
    return "\n\n".join(lines)
