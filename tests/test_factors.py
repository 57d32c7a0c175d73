"""Dates at every threshold, the vocabulary crossing and AdamW's cells, against hand-computed answers; how large
tables are kept.
"""

import math

import pandas as pd
import pytest
from scipy import stats

from recall import data, measures, runs
from recall.prose import verdicts
from recall.studies.when import charts, factors, timing


@pytest.fixture(scope="module")
def atlas():
    return runs.load_all("atlas")


def run_of(
    scores: dict[int, list], setting: str, seed: int = 300, dimension: int = 5, labels: int = 4, ended: str = "steps"
) -> runs.Run:
    """A run evaluated at 1, 2, 4, … thousand examples; scores: by k."""
    rows = [
        dict(examples=1000.0 * 2**i, k=k, systems=2, condition="plain", event="query", score=score)
        for k, each in scores.items()
        for i, score in enumerate(each)
    ]
    config = dict(task=dict(dimension=dimension, labels=labels), setting=setting, seed=seed)
    return runs.Run(runs.Path(f"{setting}-{seed}"), config, pd.DataFrame(rows), pd.DataFrame(), dict(ended=ended))


LATE, EARLY, NONE = [0, 0.25, 0.5, 0.75, 1, 1], [0.25, 0.5, 0.75, 1, 1, 1], [0.0] * 6


def test_dates_at_every_threshold_by_hand():
    """A score that rises by a quarter with every doubling passes threshold t at 1000 · 2^(4t) examples, one that is
    a doubling ahead at 500 · 2^(4t).
    """
    found = factors.ratios(
        [
            run_of({1: LATE, 2: EARLY}, "a"),
            run_of({1: NONE, 2: LATE}, "b"),
            run_of({1: LATE, 2: EARLY}, "c", ended="diverged"),
            run_of({1: [math.nan] * 6, 2: [math.nan] * 6}, "rotations"),
        ]
    )
    assert set(found.setting) == {"a", "b"} and len(found) == 2 * 2 * 9 and set(found.end) == {32_000.0}
    when = found.set_index(["setting", "ability", "threshold"]).date
    for threshold in factors.THRESHOLDS:
        assert (
            when["a", "1-after", threshold]
            == pytest.approx(1000 * 2 ** (4 * threshold))
            == when["b", "2-after", threshold]
        )
        assert when["a", "2-after", threshold] == pytest.approx(max(1000, 500 * 2 ** (4 * threshold)))
        assert math.isnan(when["b", "1-after", threshold])


def test_map_of_ratios_keeps_bounds_apart(atlas):
    made = factors.ratio_map(
        factors.ratios(
            [
                run_of({1: LATE, 2: EARLY}, "width-32"),
                run_of({1: NONE, 2: LATE}, "muon-0.04"),
                run_of({1: EARLY, 2: LATE}, "batch-8"),
                run_of({1: NONE, 2: NONE}, "layers-1"),
                run_of({1: EARLY, 2: LATE}, "vocabulary-8", labels=8),
            ]
        ),
        atlas,
    )
    # other labels stay out
    assert list(made.setting.unique()) == ["unchanged", "width-32", "muon-0.04", "batch-8", "layers-1"]
    at = made[made.threshold == 0.5].set_index("setting")
    assert at.loc["width-32", ["mean", "bound", "first", "runs"]].tolist() == [pytest.approx(1), "exact", 1, 1]
    assert at.loc["muon-0.04", ["mean", "bound"]].tolist() == [pytest.approx(3), "at least"]  # 32 against 4 thousand
    assert (
        at.loc["batch-8", "mean"] == pytest.approx(-1)
        and at.loc["batch-8", "first"] == 0
        and at.loc["layers-1", "runs"] == 0
    )
    assert at.loc["unchanged", "runs"] == 1
    words = verdicts.ratio_map(made)
    assert (
        "`batch-8` (0.1: 1 of 1, " in words
        and "`width-32`" in words
        and "in the others beginning again came first" in words
    )
    assert "no inversion at any of these thresholds" in verdicts.ratio_map(made[made.setting != "batch-8"])
    assert "crossed" not in words
    turned = factors.ratio_map(
        factors.ratios(
            [run_of({1: EARLY, 2: LATE}, "a+b", seed) for seed in (1, 2)] + [run_of({1: LATE, 2: EARLY}, "a+c", 1)]
        ),
        atlas,
    )
    assert "it turned in 2 of the 3 runs that reached either, so that prediction *held*." in verdicts.ratio_map(turned)
    assert "it turned in 0 of the 1 runs that reached either, so that prediction *failed*." in verdicts.ratio_map(
        turned[turned.setting != "a+b"]
    )
    drawn = charts.ratio_map(made).to_dict()
    cells = {(row["setting"], row["threshold"]): row for rows in drawn["datasets"].values() for row in rows}
    assert [cells[name, 0.5]["words"] for name in ("width-32", "muon-0.04", "batch-8", "layers-1")] == [
        "2.0",
        "≥8.0",
        "0.5",
        "–",
    ]
    mixed = factors.ratio_map(
        factors.ratios([run_of({1: NONE, 2: LATE}, "a", 1), run_of({1: LATE, 2: NONE}, "a", 2)]), atlas
    )
    assert {
        row["words"]
        for rows in charts.ratio_map(mixed).to_dict()["datasets"].values()
        for row in rows
        if row["setting"] == "a"
    } == {"?"}
    assert cells["batch-8", 0.5]["came"] == "beginning again first" and cells["width-32", 0.5][
        "depth"
    ] == pytest.approx(0.33)


def test_committed_ratios_agree_with_the_lines(atlas):
    """At threshold one half the table of ratios and the lines of `factors` are two routes to one date."""
    found, lines = data.table("ratios").query("threshold == 0.5"), data.table("factors").set_index("name")
    both = 0
    for name, ability, date in found[["name", "ability", "date"]].itertuples(index=False):
        if name in lines.index:
            line = lines.loc[name, f"{ability} N=2"]
            both += 1
            assert math.isnan(line) == math.isnan(date) and (
                math.isnan(date) or date == pytest.approx(line, rel=1e-3)
            ), name
    assert both >= 60


def test_vocabulary_and_adamw_by_hand(atlas):
    crossed = pd.DataFrame(
        {
            "dimension": 5,
            "labels": 8,
            "setting": "vocabulary-8",
            "seed": [300, 301, 302],
            "1-after N=2": [40_000.0, math.nan, 20_000.0],
            "2-after N=2": [10_000.0, 12_000.0, 14_000.0],
            "label index 2 N=2": [0.9, 0.5, 0.1],
        }
    )
    found = factors.vocabulary(crossed, atlas)
    assert found[["dimension", "training", "runs"]].values.tolist() == [
        [5, "4 labels, N ≤ 4", 3],
        [5, "8 labels, N ≤ 4", 3],
        [5, "8 labels, N ≤ 8", 3],
    ]
    assert found.loc[1, ["reached 1-after", "1-after, median", "2-after, median"]].tolist() == [
        2,
        40_000.0,
        12_000.0,
    ] and found.loc[1, "indices"] == [0.1, 0.9]
    words = verdicts.vocabulary(
        found.assign(
            **{"1-after, median": [20_000.0, 40_000.0, math.nan], "2-after, median": [12_000.0, 12_000.0, 18_000.0]}
        )
    )
    assert words.endswith(
        "going on takes 1.0 times as many examples, beginning again 2.0 times as many examples. Twice the systems on "
        "top: going on takes 1.5 times as many examples, "
        "beginning again an unknown multiple, since half of the runs or more ended without it."
    )
    shown = verdicts.cells_table(found)
    assert shown.loc[1].tolist() == [5, "8 labels, N ≤ 4", 3, 3, "12", 2, "40", "0.10, 0.90"]
    lines = pd.DataFrame(
        {
            "setting": ["adamw-1", "adamw.heads-2", "fast-1"],
            "dimension": 3,
            "labels": 4,
            "examples": [64_000, 96_000, 1],
            "1-after N=2": math.nan,
            "2-after N=2": [10_000.0, math.nan, 1.0],
        }
    )
    assert verdicts.cells_table(factors.alone(lines)).values.tolist() == [[3, 4, 2, "96", 1, "–", 0, "–"]]
    assert (
        "going on came in 1 of 2 runs, and beginning again in 0. No run contradicts the order. None looked labels "
        "up, not even at n = 3 with 4 labels" in verdicts.alone(factors.alone(lines))
    )
    lines.loc[0, "1-after N=2"] = 50_000.0
    assert verdicts.alone(factors.alone(lines)).endswith("beginning again in 1: n = 3 with 4 labels (1 of 2).")


def test_growth_by_a_second_route(atlas):
    """Mean and t interval of what the errors of (5, 4) grow by, from a pivot of all final tables."""
    own = [run for run in atlas if (run.config["task"]["dimension"], run.config["task"]["labels"]) == (5, 4)]
    rows = pd.concat([run.final.assign(seed=run.config["seed"]) for run in own]).query(
        "condition == 'plain' and event == 'query'"
    )
    wide = rows.pivot(index=["k", "seed"], columns="systems", values="mean")
    grown = wide[4] - wide[2]
    words = []
    for k in (2, 1):
        values = grown.loc[k]
        half = stats.t.ppf(0.975, len(values) - 1) * values.std() / math.sqrt(len(values))
        words.append(f"{values.mean():+.3f} ({values.mean() - half:+.3f} to {values.mean() + half:+.3f})")
    assert (
        len(own) == 8
        and f"* **n = 5, 4 labels**, N = 2 to 4 (8 seeds): going on {words[0]}, beginning again {words[1]}."
        in verdicts.growth(atlas)
    )
    assert "2 labels" not in verdicts.growth(atlas)  # one count has nothing to grow from
    assert verdicts.growth(own[:2]) == "No cell of three seeds looks labels up yet."


def test_orders_are_counted_apart(atlas):
    """Every run went on first, began again first, did both between two evaluations, or neither; and the words say
    so.
    """
    gaps = timing.gaps(atlas)
    orders = [measures.order_of(run) for run in atlas]
    assert {name: int(gaps[name].sum()) for name in ("2-after first", "1-after first", "together")} == {
        name: orders.count(name) for name in ("2-after first", "1-after first", "together")
    }
    words = verdicts.gap(gaps)
    assert (
        f"Going on came first in {orders.count('2-after first')} of {len(orders)} runs" in words
        and f"In {orders.count('1-after first')} beginning again came first." in words
    )
