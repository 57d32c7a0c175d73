"""What kept tables of language models say: answers by hand."""

import hashlib
import json
import math
from dataclasses import asdict, fields, replace

import pandas as pd
import pytest

from recall import runs
from recall.language import pretrain, results, revisions
from recall.language.prompts import PromptConfig
from recall.runs import Run

COMMITTED = runs.data_folder() / "language"
# bits and shares: AVX-512, AVX2 and plain code of an Intel processor come within 0.005 of the committed tables of an
# AMD up to step 23, and within 0.07 up to step 64; a learning rate 3 % off is 0.02 away
ROUNDING = 0.01
QUESTIONS = 37  # quantities by kind of labels and token, at each step

STEPS = (0, 100, 200, 400, 800)
# bits still missing
MISSING = {
    "arbitrary": {1: (6, 2, 2, 2, 0.2), 2: (6, 2, 0.2, 0, 0)},
    "names": {1: (6, 2, 1, 0.2, 0), 2: (6, 2, 0.2, 0, 0)},
}
WHOLE = 3.0  # bits without the source


def kept(root, seed, missing=MISSING, tasks=2):
    rows = [
        dict(step=s, revision=f"step{s}", labels=labels, k=k, quantity=q, mean=value, low=value, high=value, prompts=9)
        for labels, both in missing.items()
        for k, curve in both.items()
        for s, bits in zip(STEPS, curve)
        for q, value in (("surprisal", WHOLE), ("gained", WHOLE - bits))
    ]
    folder = root / f"invented-{seed}"
    runs.write_csv(folder / "summary.csv", pd.DataFrame(rows))
    dates = [
        dict(labels=labels, quantity="gained", pairs="all", whole_first=1.0 * seed, whole_second=1.0, last_step=800)
        for labels in missing
    ]
    runs.write_csv(folder / "emergence.csv", pd.DataFrame(dates))
    runs.write_atomically(
        folder / "made.json",
        runs.canonical(dict(command="", prompts=dict(tasks=tasks), training={"seed": seed})).encode(),
    )


def test_score_is_the_share_of_the_identification_left(tmp_path):
    kept(tmp_path, 0, tasks=4)
    found = results.scores(results.load(tmp_path)[0]).set_index(["labels", "k", "step"]).score
    # of log2 4 = 2 bits
    assert found["arbitrary", 1, 100] == pytest.approx(0) and found["names", 1, 200] == pytest.approx(0.5)
    assert found["names", 2, 400] == 1 and found["arbitrary", 1, 0] == pytest.approx(-2)


def test_dates_by_the_toys_score(tmp_path):
    for seed in (1, 2):
        kept(tmp_path, seed)
    found = results.gaps(*results.load(tmp_path), by="toy").set_index(["labels", "seed"])
    # N = 2: 1/2 is half a bit missing.  Second token: scores -1, 0.8 at 100, 200, so 1/2 at 1.5 / 1.8 of a doubling
    assert found.second["names", 1] == pytest.approx(100 * 2 ** (1.5 / 1.8))
    assert found["first"]["names", 1] == pytest.approx(200 * 2 ** (0.5 / 0.8))
    assert found.octaves["names", 1] == pytest.approx(1 + 0.5 / 0.8 - 1.5 / 1.8)
    label = results.label_part(found.reset_index())
    assert list(label.seed) == [1, 2] and label.octaves[0] == pytest.approx(
        found.octaves["arbitrary", 1] - found.octaves["names", 1]
    )


def test_a_token_never_learnt_is_dated_at_the_end(tmp_path):
    kept(tmp_path, 1, {"arbitrary": {1: (6, 2, 2, 2, 2), 2: MISSING["names"][2]}})
    found = results.gaps(*results.load(tmp_path), by="toy").iloc[0]
    assert math.isnan(found["first"]) and found.octaves == pytest.approx(3 - 1.5 / 1.8)


def test_half_of_the_bits_is_read_off_the_runs_own_table(tmp_path):
    kept(tmp_path, 4)
    found = results.gaps(*results.load(tmp_path), by="half")
    assert list(found.octaves) == [2, 2] and set(found["first"]) == {4}


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match="root must be a folder of kept runs"):
        results.load(tmp_path)
    with pytest.raises(ValueError, match="out must be a folder with finished tables"):
        results.keep(tmp_path, tmp_path / "kept", "")
    with pytest.raises(ValueError, match="by must be half or toy"):
        results.gaps(pd.DataFrame(), pd.DataFrame(), "accuracy")


def made(name):
    return json.loads((COMMITTED / name / "made.json").read_text(encoding="utf-8"))


def again(tmp_path, steps, asked_at):
    """The first steps of the committed seed 0 once more: its table beside the committed one."""
    there = made("invented-0")
    words, config = pretrain.recipe("invented", 0)
    assert there["training"]["config"] == asdict(config)
    assert there["command"] == "python -m recall language --train invented --seed 0 --out invented-0"
    assert there["prompts"]["lexicon"] == hashlib.sha256(words.to_csv().encode()).hexdigest()
    pretrain.train(words, replace(config, steps=steps), tmp_path / "model", seed=0)
    asked = PromptConfig(**{each.name: there["prompts"][each.name] for each in fields(PromptConfig)})
    names = [f"step{step}" for step in asked_at]
    found, _ = revisions.run(str(tmp_path / "model"), names, words, asked, tmp_path / "out")
    keys = ["step", "labels", "k", "quantity"]
    summary = pd.read_csv(COMMITTED / "invented-0" / "summary.csv")
    both = summary.merge(found[found.pairs == "all"], on=keys, suffixes=("", "_again"))
    assert len(both) == len(asked_at) * QUESTIONS
    return both


@pytest.mark.standard
def test_committed_tables_begin_as_a_run_from_nothing(tmp_path):
    """Before rounding, which differs from processor to processor, has grown."""
    pytest.importorskip("transformers")
    both = again(tmp_path, 23, (16, 23))
    far = both[(both["mean"] - both.mean_again).abs() > ROUNDING]
    assert far.empty, far[["step", "labels", "k", "quantity", "mean", "mean_again"]]


@pytest.mark.nightly
def test_a_run_from_nothing_is_half_way_to_its_second_token_where_the_committed_one_is(tmp_path):
    pytest.importorskip("transformers")
    both = again(tmp_path, 181, (128, 181)).set_index(["quantity", "k", "step"]).sort_index()
    for column in ("mean", "mean_again"):
        assert both.loc[("gained", 2, 181), column].min() > 0.5  # of 3 bits: going on has begun,
        assert (
            both.loc[("gained", 1, 181), column].max() < 1.4
        )  # looking up has not: so much is had by knowing the answers


@pytest.mark.standard
def test_committed_conditions_are_the_recipes():
    names = {path.parent.name for path in COMMITTED.glob("*/made.json")}
    assert {name for name in names if name.startswith("invented")} == {f"invented-{seed}" for seed in range(5)}
    for name in names:
        recipe, _, seed = name.rpartition("-")
        words, config = pretrain.recipe(recipe, int(seed))
        there = made(name)
        assert there["training"]["config"] == asdict(config) and there["prompts"]["tasks"] == config.tasks
        assert there["prompts"]["lexicon"] == hashlib.sha256(words.to_csv().encode()).hexdigest()


def test_one_clock_is_each_models_own_going_on(tmp_path):
    kept(tmp_path, 1)
    late, early = (0, 0, 0.1, 0.2, 0.8, 0.9), (0, 0, 0.4, 0.8, 0.9, 0.9)  # 1- and 2-after-query at 0, 100, 200, ...
    rows = [
        dict(examples=100 * i, systems=2, condition="plain", event="query", k=k, score=score)
        for k, scores in ((1, late), (2, early))
        for i, score in enumerate(scores)
    ]
    toy = Run(tmp_path, dict(seed=300), pd.DataFrame(rows), pd.DataFrame(), {})
    found = results.on_one_clock(results.load(tmp_path)[0], [toy])
    rows = found[found["where"] == "toy"].groupby("what")
    assert {what: tuple(part.score) for what, part in rows} == {"beginning again": late[1:], "going on": early[1:]}
    # 2-after is at 0.4 and 0.8 after 2 and 3 evaluations: 1/2 at a quarter of the way, in logs
    assert rows.get_group("going on").octaves.iloc[0] == pytest.approx(-math.log2(2 * 1.5**0.25))
    second = found[(found["where"] == "invented, names") & (found.what == "going on")].set_index("octaves").score
    assert second.index[1] == pytest.approx(1 - 1.5 / 1.8) and second.iloc[1] == pytest.approx(0.8)


def test_other_folders_are_no_runs(tmp_path):
    kept(tmp_path, 3)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "made.json").write_text("{}", encoding="utf-8")
    assert set(results.load(tmp_path)[0].seed) == {3}
