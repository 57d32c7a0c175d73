"""What the order depends on: dates at every threshold, kinds of factors, the vocabulary crossing, AdamW's cells."""

import math

import pandas as pd
import pytest
import vl_convert
from made_runs import DOUBLINGS, made_run, nan

from recall import data, measures, runs
from recall.studies import claims
from recall.studies.when import charts, factors
from recall.sweeps import cues, load
from recall.sweeps import factors as sweeps_factors
from recall.task import Task

LATE, EARLY, NONE = [0, 0.25, 0.5, 0.75, 1, 1], [0.25, 0.5, 0.75, 1, 1, 1], [0.0] * 6


def run_of(one, two, setting: str, seed: int = 300, **changes):
    return made_run(one, two, seed, setting=setting, examples=DOUBLINGS, **changes)


def test_dates_at_every_threshold_by_hand():
    """A score that rises by a quarter with every doubling passes threshold t at 1000 · 2^(4t) examples, one that is
    a doubling ahead at 500 · 2^(4t).
    """
    runs_ = [run_of(LATE, EARLY, "a"), run_of(NONE, LATE, "b"), run_of(LATE, EARLY, "c", ended="diverged")]
    found = factors.ratios([*runs_, run_of([nan] * 6, [nan] * 6, "rotations")])
    assert set(found.setting) == {"a", "b"} and len(found) == 2 * 2 * 9 and set(found.end) == {32_000.0}
    when = found.set_index(["setting", "ability", "threshold"]).date
    for threshold in factors.THRESHOLDS:
        late = pytest.approx(1000 * 2 ** (4 * threshold))
        assert when["a", "1-after", threshold] == late and when["b", "2-after", threshold] == late
        assert when["a", "2-after", threshold] == pytest.approx(max(1000, 500 * 2 ** (4 * threshold)))
        assert math.isnan(when["b", "1-after", threshold])


def test_the_map_of_ratios_keeps_bounds_apart():
    changed = [
        run_of(LATE, EARLY, "width-32"),
        run_of(NONE, LATE, "muon-0.04"),
        run_of(EARLY, LATE, "batch-8"),
        run_of(NONE, NONE, "layers-1"),
        run_of(NONE, LATE, "a"),
        run_of(LATE, NONE, "a", 301),
        run_of(EARLY, LATE, "vocabulary-8", labels=8),  # other labels stay out
    ]
    atlas = [run_of(LATE, EARLY, "fast-1", seed) for seed in (300, 301, 302)]
    made = factors.ratio_map(factors.ratios(changed), atlas)
    assert list(made.setting.unique()) == ["unchanged", "width-32", "muon-0.04", "batch-8", "layers-1", "a"]
    at = made[made.threshold == 0.5].set_index("setting")
    assert at.loc["width-32", ["mean", "bound", "first", "runs"]].tolist() == [pytest.approx(1), "exact", 1, 1]
    assert at.loc["muon-0.04", ["mean", "bound"]].tolist() == [pytest.approx(3), "at least"]  # 32 against 4 thousand
    assert at["mean"]["batch-8"] == pytest.approx(-1) and at["first"]["batch-8"] == at.runs["layers-1"] == 0
    assert at.runs["unchanged"] == 2  # of the seeds of the others
    drawn = charts.ratio_map(made).to_dict()
    cells = {row["setting"]: row for rows in drawn["datasets"].values() for row in rows if row["threshold"] == 0.5}
    assert [cells[name]["words"] for name in at.index] == ["2.0", "2.0", "≥8.0", "0.5", "–", "?"]
    assert cells["batch-8"]["came"] == "beginning again first"
    assert cells["width-32"]["depth"] == pytest.approx(0.33)


def test_dates_stand_beside_those_of_unchanged_runs_of_the_same_seeds():
    changed = [run_of(NONE, LATE, "layers-1"), run_of(LATE, EARLY, "layers-4", 301)]
    family = run_of([nan] * 6, [nan] * 6, "rotations-x", 302)
    lines = measures.lines([*changed, family, run_of(LATE, EARLY, "fast-1", 303)])
    lines.loc[lines.setting == "rotations-x", ["cutoff 2-after N=2", "1-after N=2"]] = [9_000.0, 1.0]
    atlas = [run_of(LATE, EARLY, "fast-1", seed, index=0.123) for seed in (300, 301, 302, 303)]
    shown = factors.dated(lines, atlas)
    assert shown.groupby("kind").setting.unique().map(list).to_dict() == {
        "family": ["unchanged", "rotations-x"],
        "size": ["unchanged", "layers-1", "layers-4"],
    }
    assert shown[shown.setting == "unchanged"].groupby("kind").seed.unique().map(list).to_dict() == {
        "family": [302],
        "size": [300, 301],
    }
    of = shown.set_index(["setting", "seed", "ability"])
    assert of.loc["layers-1", 300, "1-after-query"].examples == 32
    assert of.loc["layers-1", 300, "1-after-query"].state == "not there when the run ended"
    assert of.loc["unchanged", 300, "1-after-query"].tolist() == ["size", 4.0, "there", "score", 0.12]
    assert of.loc["rotations-x", 302, "2-after-query"].tolist()[1:4] == [9.0, "there", "median"]
    charts.factors(shown)
    charts.factor_index(shown)
    with pytest.raises(ValueError, match="kind must be one of"):
        charts.factors(shown, "weather")


def test_inversions_are_found():
    begin, go_on = [10_000.0, 5_000.0, nan, 7_000.0, nan], [5_000.0, 6_000.0, 3_000.0, nan, nan]
    lines = pd.DataFrame({"name": list("abcde"), "1-after N=2": begin, "2-after N=2": go_on})
    assert factors.inversions(lines).name.tolist() == ["b", "d"]


def test_vocabulary_and_adamw_by_hand():
    seeds = (300, 301, 302)
    atlas = [run_of(LATE, EARLY, "fast-1", seed, labels=labels) for seed in (*seeds, 303) for labels in (4, 8)]
    crossed = measures.lines([run_of(LATE, EARLY, "vocabulary-8", seed, labels=8) for seed in seeds])
    crossed["1-after N=2"], crossed["label index 2 N=2"] = [40_000.0, nan, 20_000.0], [0.9, 0.5, 0.1]
    crossed["2-after N=2"] = [10_000.0, 12_000.0, 14_000.0]
    found = factors.vocabulary(crossed, atlas)
    assert found[["dimension", "training", "runs"]].values.tolist() == [
        [5, "4 labels, N ≤ 4", 3],
        [5, "8 labels, N ≤ 4", 3],
        [5, "8 labels, N ≤ 8", 3],
    ]
    assert found.loc[1, ["reached 1-after", "1-after, median", "2-after, median"]].tolist() == [2, 40_000.0, 12_000.0]
    assert found.indices[1] == [0.1, 0.9]
    lines = pd.DataFrame(
        {
            "setting": ["adamw-1", "adamw.heads-2", "fast-1"],
            "dimension": 3,
            "labels": 4,
            "examples": [64_000, 96_000, 1],
            "1-after N=2": nan,
            "2-after N=2": [10_000.0, nan, 1.0],
        }
    )
    (row,) = factors.alone(lines).to_dict("records")
    assert (row["runs"], row["longest"], row["reached 2-after"], row["reached 1-after"]) == (2, 96_000, 1, 0)
    assert math.isnan(row["2-after, median"])  # half of the runs ended without


@pytest.mark.standard
def test_the_studys_traces_ask_for_both_in_94_percent_of_resumptions():
    task = Task(sweeps_factors.study(25, 300).task, 7)
    lengths = [
        segments.length[(segments.first > 0) & (segments.length > 0)]
        for segments in (task.sample_batch(step, 250).segments for step in range(1, 5))
    ]
    share = sum(int((each >= 2).sum()) for each in lengths) / sum(map(len, lengths))
    assert share == pytest.approx(0.94, abs=0.01)


# --- the committed tables ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def atlas():
    return runs.load_all("atlas")


@pytest.mark.standard
def test_committed_tables_hold_declared_runs(atlas):
    for name, sweep in (("factors", sweeps_factors), ("cues", cues)):
        assert set(data.table(name).name) <= {config.name for config in sweep.configs()}
    there, wanted = data.table("factors"), load("factors")
    # chapter 5 names what has not been run
    assert {config.setting for config in wanted} - set(there.setting) == {"layers-6", "batch-128"}
    assert set(there[there.setting == "vocabulary-8"].dimension) == {3}
    lines = factors.every(atlas, runs.load_all())
    assert len(lines) >= 300 and lines.name.is_unique
    assert {"haar-n5-l25-study-25-s300-c0d1180e"} <= set(factors.inversions(lines).name)


@pytest.mark.standard
def test_committed_ratios_agree_with_the_lines():
    """At threshold one half the table of ratios and the lines of `factors` are two routes to one date."""
    found, lines = data.table("ratios").query("threshold == 0.5"), data.table("factors").set_index("name")
    dates = lines[["1-after N=2", "2-after N=2"]].set_axis(["1-after", "2-after"], axis=1)
    dates = dates.stack(future_stack=True).rename("line").rename_axis(["name", "ability"])
    both = found.join(dates, on=["name", "ability"], how="inner")
    assert len(both) >= 60 and both.date.to_numpy() == pytest.approx(both.line.to_numpy(), rel=1e-3, nan_ok=True)


@pytest.mark.standard
def test_every_kind_is_drawn_beside_the_base_runs_of_its_own_seeds(atlas):
    shown = factors.dated(pd.concat([data.table("factors"), data.table("cues")]), atlas)
    for kind, group in shown.groupby("kind"):
        base, others = (set(group[(group.setting == "unchanged") == same].seed) for same in (True, False))
        assert base == others & set(claims.SEEDS), kind
    layers = shown[shown.setting == "layers-1"]
    assert set(layers.state) == {"not there when the run ended"} and set(layers.examples) == {128.0}
    assert set(shown[shown.setting == "gaussian"].rule) == {"median"}
    for chart in (charts.factors, charts.factor_index):
        pictures = {vl_convert.vegalite_to_svg(chart(shown, kind).to_dict()) for kind in shown.kind.unique()}
        assert len(pictures) == shown.kind.nunique()
