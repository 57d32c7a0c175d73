"""Sentences of chapters 3 and 5 follow their tables."""

import math

import pandas as pd
import pytest
from made_runs import DOUBLINGS, EARLY, LATE, NEVER, made_run, nan
from made_when import KEPT, NAN, TURNED, pairs

from recall import data, runs
from recall.prose import verdicts
from recall.studies.when import factors, knockouts, timing


def test_costs_in_words():
    row = lambda setting, reached, seconds, tokens: dict(
        dimension=3,
        labels=4,
        setting=setting,
        runs=8,
        reached=reached,
        limit=4.8e6,
        limit_seconds=100.4,
        **{"both seconds": seconds, "both tokens": tokens},
    )
    table = pd.DataFrame([row("adamw-1", 1, nan, nan), row("fast-1", 8, 50.2, 2e6), row("slow-1", 8, 90.0, 3e6)])
    assert verdicts.price(table) == (
        "* **n = 3**: `fast-1` both abilities in 8 of 8 seeds, after a median of 50 s and 2.0 million tokens; "
        "`adamw-1` both abilities in 1 of 8 seeds by 4.8 million tokens (100 s), where the runs ended: at least 2.4 "
        "times the tokens of `fast-1`; "
        "`slow-1` both abilities in 8 of 8 seeds, after a median of 90 s and 3.0 million tokens: 1.5 times the "
        "tokens of `fast-1`."
    )
    short = table.assign(limit=1e6)
    assert "by 1.0 million tokens (100 s), where the runs ended, too few for a comparison;" in verdicts.price(short)


def test_orders_are_counted_apart():
    made = [(LATE, EARLY), (NEVER, EARLY), (EARLY, LATE), (EARLY, EARLY), (NEVER, NEVER)]
    words = verdicts.gap(timing.gaps([made_run(one, two, seed) for seed, (one, two) in enumerate(made)]))
    assert words.startswith("Going on came first in 2 of 5 runs, in 1 cells, counting the 2 in which")
    assert "In 1 beginning again came first. In 1 both came between the same two evaluations" in words
    five = timing.gaps([made_run(LATE, EARLY, seed) for seed in range(5)])
    assert "(1 of 1 cells), beginning again took 2.5 times" in verdicts.gap(five)
    assert verdicts.gap_table(five)["ratio"].tolist() == ["2.50 (2.50 to 2.50)"]
    assert verdicts.gap_table(timing.gaps([made_run(LATE, EARLY, seed) for seed in range(4)]))["ratio"][0] == "2.50"


def test_knock_outs_in_words():
    words = lambda dates: verdicts.knocked(knockouts.outcomes(pairs(dates)), knockouts.gaps(pairs(dates)))
    assert words(KEPT).startswith("Neither ability waits for the other") and "More practice is not why" in words(KEPT)
    assert "Practice explains the order" in words(TURNED)
    few = words({name: seeds[:4] for name, seeds in KEPT.items()})
    assert few.startswith("Not all runs are there") and words({name: KEPT[name] for name in list(KEPT)[:2]}).startswith(
        "Not all runs are there"
    )
    shown = verdicts.knocked_shifts(knockouts.shifts(pairs(KEPT)))
    first = ["nothing asked of 1-after", "1-after", "0 of 5", "at least +1.22", "5 of 5", "0.062"]
    assert shown.iloc[0].tolist() == first
    found = verdicts.knocked_table(knockouts.outcomes(pairs(KEPT))).found
    assert found[0] == "its date moves by 0.00 octaves (-0.02 to 0.02), later in 2 of 5 seeds, reached in 5"
    assert found[3].startswith("2-after first in 5 of 5; 1-after comes 1.03 octaves (0.94 to 1.12) after it")
    assert found[3].endswith("(whole loss: 1.78 octaves (1.23 to 2.33))")


def test_a_knock_out_in_the_other_order_is_named():
    words = lambda dates: verdicts.knocked_first(pairs(dates), knockouts.turned(pairs(dates)))
    assert words(KEPT) == "Of the 15 knock-outs that ask for both abilities, 1-after-query came first in none."
    assert words(KEPT | {"first-x4": [(46_000.0, 47_500.0), (33_000.0, NAN), *KEPT["first-x4"][2:]]}).endswith(
        "first in 2: *1-after counts 4 times*, seed 0 (46.0 against 47.5 thousand examples); *1-after counts 4 "
        "times*, seed 1 (33.0 against never thousand examples)."
    )


def test_inversions_are_named():
    begin, go_on = [10_000.0, 5_000.0, nan, 7_000.0], [5_000.0, 6_000.0, 3_000.0, nan]
    cell = dict(setting="x", dimension=3, labels=4, seed=range(4))
    lines = pd.DataFrame({"name": list("abcd"), **cell, "1-after N=2": begin, "2-after N=2": go_on})
    words = verdicts.inverted(lines, factors.inversions(lines))
    assert "came first in 2. " in words and "within a factor of 1.20" in words
    assert "*refuted* as a law; it comes first in 1 of 2." in words
    assert "(beginning again at 5 thousand examples, going on at 6 thousand examples)" in words
    assert "(beginning again at 7 thousand examples, going on never)" in words
    assert "there is none" in verdicts.inverted(lines, lines[:0])


def test_the_map_of_ratios_in_words():
    rising, ahead = [0, 0.25, 0.5, 0.75, 1, 1], [0.25, 0.5, 0.75, 1, 1, 1]
    of = lambda one, two, setting, seed=300: made_run(one, two, seed, setting=setting, examples=DOUBLINGS)
    atlas = [of(rising, ahead, "fast-1", seed) for seed in (1, 2, 300)]
    mapped = lambda *runs_: factors.ratio_map(factors.ratios(list(runs_)), atlas)
    made = mapped(of(rising, ahead, "width-32"), of(ahead, rising, "batch-8"))
    words = verdicts.ratio_map(made)
    assert "`batch-8` (0.1: 1 of 1, " in words and "`width-32`" in words and "crossed" not in words
    assert "in the others beginning again came first" in words
    assert "no inversion at any of these thresholds" in verdicts.ratio_map(made[made.setting != "batch-8"])
    both = [of(ahead, rising, "a+b", seed) for seed in (1, 2)]
    turned = mapped(*both, of(rising, ahead, "a+c", 1))
    assert "it turned in 2 of the 3 runs that reached either, so that prediction *held*." in verdicts.ratio_map(turned)
    kept = verdicts.ratio_map(turned[turned.setting != "a+b"])
    assert "it turned in 0 of the 1 runs that reached either, so that prediction *failed*." in kept


def test_vocabulary_and_adamw_in_words():
    columns = ["dimension", "training", "runs", "reached 2-after", "2-after, median", "reached 1-after"]
    rows = [
        [5, "4 labels, N ≤ 4", 3, 3, 12_000.0, 3],
        [5, "8 labels, N ≤ 4", 3, 3, 12_000.0, 2],
        [5, "8 labels, N ≤ 8", 3, 3, 18_000.0, 1],
    ]
    found = pd.DataFrame(rows, columns=columns).assign(indices=[[0.5], [0.1, 0.9], []])
    found["1-after, median"] = [20_000.0, 40_000.0, nan]
    assert verdicts.vocabulary(found).endswith(
        "going on takes 1.0 times as many examples, beginning again 2.0 times as many examples. Twice the systems on "
        "top: going on takes 1.5 times as many examples, "
        "beginning again an unknown multiple, since half of the runs or more ended without it."
    )
    assert verdicts.cells_table(found[[*columns, "1-after, median", "indices"]]).loc[1].tolist() == [
        *[5, "8 labels, N ≤ 4", 3, 3, "12", 2, "40", "0.10, 0.90"]
    ]
    setting, dates = ["adamw-1", "adamw.heads-2", "fast-1"], [10_000.0, nan, 1.0]
    lines = pd.DataFrame({"setting": setting, "dimension": 3, "labels": 4, "examples": [64_000, 96_000, 1]})
    lines = lines.assign(**{"1-after N=2": nan, "2-after N=2": dates})
    assert verdicts.cells_table(factors.alone(lines)).values.tolist() == [[3, 4, 2, "96", 1, "–", 0, "–"]]
    assert (
        "going on came in 1 of 2 runs, and beginning again in 0. No run contradicts the order. None looked labels "
        "up, not even at n = 3 with 4 labels" in verdicts.alone(factors.alone(lines))
    )
    lines.loc[0, "1-after N=2"] = 50_000.0
    assert verdicts.alone(factors.alone(lines)).endswith("beginning again in 1: n = 3 with 4 labels (1 of 2).")


def test_factors_say_what_is_missing():
    row = lambda setting, seed, ability, there, rule="score": (
        dict(kind="size", setting=setting, seed=seed, ability=ability, examples=9.0, rule=rule, index=0.5)
        | dict(state="there" if there else "not there when the run ended")
    )
    abilities = ("1-after-query", "2-after-query")
    made = lambda cases: pd.DataFrame(
        [row(name, seed, ability, there) for name, seed, each in cases for ability, there in zip(abilities, each)]
    )
    all_there = [("layers-3", seed, (True, True)) for seed in range(3)]
    both = verdicts.changed(made(all_there))
    assert both.startswith("Both came in every seed") and "Neither" not in both and "In some seeds" not in both
    neither = [("layers-1", seed, (False, False)) for seed in range(3)]
    alone = [("layers-2", seed, (False, True)) for seed in range(3)]
    words = verdicts.changed(made([*all_there, *neither, *alone]))
    before, after = words.split("Going on alone")
    assert "`layers-1`" in before and "`layers-2`" in after.split(". ")[0]
    some = [("layers-4", 0, (False, False)), *[("layers-4", seed, (True, True)) for seed in (1, 2)]]
    words = verdicts.changed(made([*all_there, *some]))
    assert "In some seeds only with `layers-4` (2-after in 2 of 3, 1-after in 2)." in words
    shown = made(all_there).assign(rule="median", setting="gaussian")
    assert "Without an identification score" in verdicts.changed(pd.concat([made(all_there), shown]))


def test_growth_by_hand():
    """Of 1-after 0.01, of 2-after 0.05 to 0.09 over five seeds."""
    made = [made_run(LATE, EARLY, seed, error4=0.10 + 0.01 * seed) for seed in range(5)]
    half = 2.776445 * 0.01 * math.sqrt(2.5 / 5)
    going_on = f"going on +0.070 (+{0.07 - half:.3f} to +{0.07 + half:.3f})"
    words = verdicts.growth(made)
    assert f"(5 seeds): {going_on}, beginning again +0.010 (+0.010 to +0.010)." in words
    assert verdicts.growth(made[:2]) == "No cell of three seeds looks labels up yet."
    assert "2 labels" not in verdicts.growth([made_run(LATE, EARLY, seed, labels=2) for seed in range(5)])


@pytest.mark.standard
def test_committed_factors_say_what_is_missing():
    shown = factors.dated(pd.concat([data.table("factors"), data.table("cues")]), runs.load_all("atlas"))
    words = verdicts.changed(shown).split("In some seeds")[-1]
    assert all(f"`{name}`" in words for name in ("gaussian", "identity", "rotations"))
