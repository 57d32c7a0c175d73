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
        folder / "made.json", runs.canonical(dict(command="", prompts=dict(tasks=tasks), training=None)).encode()
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


def test_committed_tables_are_those_of_a_run_from_nothing(tmp_path):
    """The first 181 steps of a committed seed again: the second token's half-way, for which another processor may
    differ by rounding.
    """
    pytest.importorskip("transformers")
    ((path, made),) = [(path, json.loads(path.read_text())) for path in (runs.data_folder() / "language").glob("invented-0/made.json")]
    words, config = pretrain.recipe("invented", 0)
    assert (
        made["training"]["config"] == asdict(config)
        and made["command"] == "python -m recall language --train invented --seed 0 --out invented-0"
    )
    assert made["prompts"]["lexicon"] == hashlib.sha256(words.to_csv().encode()).hexdigest()
    pretrain.train(words, replace(config, steps=181), tmp_path / "model", seed=0)
    asked = PromptConfig(**{f.name: made["prompts"][f.name] for f in fields(PromptConfig)})
    found, _ = revisions.run(str(tmp_path / "model"), ["step128", "step181"], words, asked, tmp_path / "out")
    keys = ["step", "labels", "k", "quantity"]
    both = pd.read_csv(path.parent / "summary.csv").merge(found[found.pairs == "all"], on=keys, suffixes=("", "_again"))
    assert (
        len(both) == 2 * 3 * 2 * 6 + 2
        and both.query("quantity == 'gained' and k == 2 and step == 181")["mean"].min() > 0.5
    )
    outside = both[(both.mean_again < both.low - 0.005) | (both.mean_again > both.high + 0.005)]
    assert outside.empty, outside[[*keys, "low", "high", "mean_again"]]


def test_committed_conditions_are_the_recipes():
    found = {path.parent.name: json.loads(path.read_text()) for path in (runs.data_folder() / "language").glob("*/made.json")}
    assert {name for name in found if name.startswith("invented")} == {f"invented-{seed}" for seed in range(5)}
    for name, made in found.items():
        words, config = pretrain.recipe(*(int(part) if part.isdigit() else part for part in name.split("-")))
        assert made["training"]["config"] == asdict(config) and made["prompts"]["tasks"] == config.tasks
        assert made["prompts"]["lexicon"] == hashlib.sha256(words.to_csv().encode()).hexdigest()


def test_one_clock_is_each_models_own_going_on(tmp_path):
    from test_claims import EARLY, LATE
    from test_claims import made as toy

    kept(tmp_path, 1)
    found = results.on_one_clock(results.load(tmp_path)[0], [toy(tmp_path, 300, LATE, EARLY)])
    rows = found[found["where"] == "toy"].groupby("what")
    assert {what: list(part.score) for what, part in rows} == {"beginning again": LATE[1:], "going on": EARLY[1:]}
    # 2-after is at 0.4 and 0.8 after 2 and 3 evaluations: 1/2 at a quarter of the way, in logs
    assert rows.get_group("going on").octaves.iloc[0] == pytest.approx(-math.log2(2 * 1.5**0.25))
    second = found[(found["where"] == "invented, names") & (found.what == "going on")].set_index("octaves").score
    assert second.index[1] == pytest.approx(1 - 1.5 / 1.8) and second.iloc[1] == pytest.approx(0.8)
