"""What a model goes by where cues are less certain: Bayes by hand, prompts of equal norms, committed tables."""

import math
from dataclasses import replace

import made_which_way as made
import numpy as np
import pandas as pd
import pytest
import torch

from recall import data, measures, runs
from recall.config import to_json
from recall.interventions import apply
from recall.needle import needle_prompts
from recall.prose import cues as prose
from recall.settings import vary
from recall.studies.which_way import bayes, cues
from recall.sweeps.atlas import member
from recall.task import TaskConfig

CELL = list(measures.CELL)

# --- Bayes


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_bayes_at_the_open_label_by_hand(p):
    """Two labels, two systems: right labels are (0, 1) or (1, 0); a label shown is right with a = 1 - p/2, else
    wrong with b = p/2.
    """
    task, a, b = TaskConfig.compact(2, 2), 1 - p / 2, p / 2
    named, other, new = cues.believed(task, 2, p)
    assert named == pytest.approx((a**3 + b**3) / (a**3 + a * a * b + b * b * a + b**3))
    assert named + other == pytest.approx(1) and new == 0
    prompts = apply("misdirected", needle_prompts(task, 2, haystacks=4, traces=2), task)
    assert cues.posterior(prompts, task, p, 0.1)[0] == pytest.approx((named, other), abs=1e-6)
    # who takes the haystack's labels to be right
    assert cues.posterior(prompts, task, p, 0.1, trusting=True)[0] == pytest.approx((a, b), abs=1e-6)


def test_bayes_at_the_open_label_by_drawing_traces():
    """Another route: draw segments of a trace as the task does, keep those that look like the prompt.  About 30,000
    are kept: a standard error of 0.003 at most.
    """
    task, p, draws = TaskConfig.compact(5, 4), 0.3, 400_000
    rng = np.random.default_rng(0)
    m = rng.integers(1, 5, draws)
    on = (rng.random((draws, 3)) * m[:, None]).astype(int)
    right = rng.permuted(np.tile(np.arange(4), (draws, 1)), axis=1)[np.arange(draws)[:, None], on]
    shown = np.where(rng.random((draws, 3)) < p, rng.integers(0, 4, (draws, 3)), right)
    like = (on[:, 0] != on[:, 1]) & (shown[:, 0] != shown[:, 1]) & (shown[:, 2] == shown[:, 1])
    who = on[like]
    found = (who[:, 2] == who[:, 1]).mean(), (who[:, 2] == who[:, 0]).mean()
    assert len(who) > 25_000 and found == pytest.approx(cues.believed(task, 2, p)[:2], abs=0.012)


def test_after_a_state_bayes_turns_to_it_unless_labels_never_err():
    task = TaskConfig.compact(3, 4)
    prompts = apply("misdirected", needle_prompts(task, 2, haystacks=32, traces=1), task)
    shaky = cues.per_coordinate(0.3, 3)
    assert cues.posterior(prompts, task, 0.0, shaky)[1] == pytest.approx((1, 0), abs=1e-9)
    (_, before), (label, observed) = cues.posterior(prompts, task, 0.05, shaky)
    assert before < 0.1 and label < 0.2 and observed > 0.8
    assert cues.posterior(prompts, task, 0.05, 4 * shaky)[1][0] > label  # the less a state says, the more a label does
    assert cues.per_coordinate(0, 3) == bayes.EXACT and shaky == pytest.approx(0.3 / math.sqrt(3))


def test_observers_by_another_route():
    task = replace(TaskConfig.compact(3, 4), label_error=0.2, state_noise=0.1)
    prompts = apply("misdirected", needle_prompts(task, 2, haystacks=4, traces=2), task)
    first, second = cues.observers(prompts, task)
    assert first["bayes_label"] == pytest.approx(cues.believed(task, 2, 0.2)[0], abs=1e-6)
    assert second["bayes_observed"] > 0.9 and second["bayes_shaken"] >= second["bayes_label"]
    sure = replace(task, label_error=0.0, state_noise=0.0)
    first, second = cues.observers(prompts, sure)
    assert first["bayes_trusting"] == pytest.approx(1) and all(math.isnan(value) for value in second.values())


# --- equal norms


def test_prompts_of_equal_norms_have_them():
    task = TaskConfig.compact(3, 4)
    drawn = lambda family: needle_prompts(replace(task, family=family), 3, haystacks=4, traces=4, seed=cues.SEED)
    equal, haar = (drawn(family).observations.norm(dim=-1) for family in ("equal", "haar"))
    assert torch.allclose(equal, torch.ones_like(equal), atol=1e-4) and haar.std() > 0.2


def test_the_test_on_misdirection_turns():
    outcomes = lambda change, **given: set(cues.misdirected_norms(made.norms(change, 0.0, **given)).outcome)
    assert outcomes(-0.003) == {"equivalent"} and outcomes(-0.2) == {"not equivalent"}
    assert outcomes(-0.2, seeds=4) == {"undecided"}
    tests = cues.misdirected_norms(made.norms(-0.2, 0.0))
    row = tests[(tests.kind == "equal") & (tests.norms == "haar")].iloc[0]
    assert row.estimate == pytest.approx(-0.2 + 0.0035) and row.low < row.estimate < row.high
    assert row.runs == row.seeds == 8 and row.holm >= row.p


def test_who_does_not_look_labels_up_is_not_asked():
    table = made.norms(-0.2, 0.0)
    own = (table.k == 1) & (table.condition == "plain") & (table.norms == table.kind)
    table.loc[(table.seed == 0) & own, "score"] = 0.2
    assert set(cues.misdirected_norms(table).runs) == {7}


def test_dose_and_response_by_hand():
    assert cues.doses(made.weights()).slope.tolist() == pytest.approx([1, 1])
    assert cues.doses(made.weights(label=lambda p: 1 - 1.5 * p)).slope.tolist() == pytest.approx([2, 2])


# --- who leads


def test_early_led_by_hand():
    """2-after-query is there from the second evaluation on, 1-after-query at the fourth: two evaluations between."""
    follows = dict(label_index=[0.9, 0.4, 0.2, 0.8], weight_observed=[0.1, 0.6, 0.8, 0.2])
    shown = dict(weight_label_map=[0.0, 0.4, 0.1, 0.8], weight_label_state=[0.0, 0.0, 0.1, 0.0])
    run = made.dated_run(0, begins=3, goes_on=1, **follows, **shown)
    (row,) = cues.early_led([run]).to_dict("records")
    assert row["evaluations"] == 2 and row["first"] == 2
    assert row["early_index"] == pytest.approx(0.3) and row["early_map"] == pytest.approx(0.25)
    (never,) = cues.early_led([made.dated_run(0, begins=1, goes_on=1)]).to_dict("records")
    assert never["evaluations"] == 0 and math.isnan(never["early_index"])


def test_groups():
    changed = ("equal", "error-0.05-noise-0", "library-100", "study-25", "layers-2", "fast-1")
    groups = ["the cues", "label error and state noise", "the data", "the data"]
    assert [cues.group_of(name) for name in changed] == [*groups, "model and optimiser", "dimension and labels"]


def lines(setting, *seeds, dimension=5, labels=4, begins=1e4, index=0.9):
    """Rows as of `measures.lines`."""
    row = dict(dimension=dimension, labels=labels, setting=setting, score=0.9) | {
        "label index 2 N=2": index,
        "1-after N=2": begins,
        "2-after N=2": 5e3,
        "cutoff 1-after N=2": begins,
    }
    return pd.DataFrame([dict(name=f"haar-{setting}-{dimension}-{labels}-s{seed}", seed=seed) | row for seed in seeds])


def test_a_new_run_appears_by_itself():
    none = pd.DataFrame(columns=[*CELL, "early_index"])
    base = [lines(cues.BASE, 0, 1), lines(cues.BASE, 0, dimension=3), lines(cues.BASE, 0, labels=8)]
    table = cues.led([*base, lines("equal", 0), lines("brand-new", 0, index=0.1)], none)
    assert "n = 5, brand-new" in prose.led_shown(table).training.tolist()
    new = table[table.setting == "brand-new"].iloc[0]
    assert new.group == "model and optimiser" and new.kind == "observation-led" and new.octaves == 1
    # in its group after what it is compared with, of its dimension and 4 labels
    assert table[table.group == new.group].training.tolist() == ["n = 5, fast-1"] * 2 + ["n = 5, brand-new"]
    assert cues.once(table).drop_duplicates(CELL).shape == cues.once(table).shape == (6, 12)


def test_who_looks_up_by_dates_or_scores():
    none = pd.DataFrame(columns=[*CELL, "early_index"])
    late, poor = lines("late", 0, begins=math.nan), lines("poor", 0, begins=math.nan).assign(score=0.5)
    table = cues.led([lines(cues.BASE, 0), late, poor], none).set_index("setting")
    assert table.kind["late"] == "label-led" and table.kind["poor"] == "no look-up"


def test_each_table_takes_the_runs_that_it_is_about():
    of = lambda config: runs.Run(None, to_json(config), None, None, {})
    base, other, eight = (of(member("fast-1", 5, labels, seed)) for labels, seed in ((4, 300), (4, 307), (8, 300)))
    equal = of(vary(member("fast-1", 5, 4, 300), "equal", task=dict(family="equal")))
    errs = of(vary(member("fast-1", 5, 4, 300), "error-0.2-noise-0", task=dict(label_error=0.2)))
    assert cues.of_norms([base, other, equal, errs, eight]) == [base, other, equal]
    assert cues.of_weights([base, other, equal, errs, eight]) == [errs, base]


# --- committed tables


@pytest.fixture(scope="module")
def atlas():
    return runs.load_all("atlas")


@pytest.fixture(scope="module")
def norms():
    return data.table("equal_norms")


@pytest.fixture(scope="module")
def heard():
    return data.table("cue_weights")


@pytest.fixture(scope="module")
def early():
    return data.table("early_led")


@pytest.mark.standard
def test_kinds_agree_with_those_of_the_atlas(atlas, early):
    """Two routes to whether a run looks labels up: dates and scores of one line, or its final table; they may differ
    only near the threshold.
    """
    leaders = cues.led([data.table("cues"), data.table("factors"), measures.lines(atlas)], early)
    found = leaders[leaders.group == "dimension and labels"].set_index(CELL).kind
    own = measures.kinds(atlas)
    differ = own.index[own != found.reindex(own.index)]
    assert len(own) == len(found) and len(differ) <= 3
    assert all("no look-up" in (own[key], found[key]) for key in differ)


@pytest.mark.standard
def test_committed_label_indices_are_those_of_the_runs(norms, heard, atlas):
    """Other prompts, the same models: cues.csv and the atlas hold the index of the final tables."""
    ends = pd.concat([data.table("cues"), measures.lines(atlas)]).query("labels == 4")
    ends = ends.set_index(["dimension", "setting", "seed"])
    wrong = norms.query("norms == kind and condition == 'misdirected' and k == 2 and systems in (2, 4)")
    for row in [*wrong.itertuples(), *heard[heard.k == 2].itertuples()]:
        index = ends.loc[(row.dimension, row.setting, row.seed), f"label index 2 N={row.systems}"]
        assert row.label_index == pytest.approx(index, abs=0.1), row


@pytest.mark.standard
def test_committed_tables_are_whole(norms, heard, early):
    seeds = norms.groupby(["dimension", "kind"]).seed.nunique().to_dict()
    assert seeds == {(3, "equal"): 5, (3, "haar"): 8, (5, "equal"): 5, (5, "haar"): 8}
    assert (norms.groupby(["dimension", "kind", "seed", "norms", "condition"]).size() == 9).all()
    assert norms[norms.condition == "misdirected"].label_index.notna().all()
    assert heard.groupby(["label_error", "state_noise"]).seed.nunique().eq(2).all() and len(heard) == 12 * 2 * 2 * 2
    assert heard[heard.bayes_label.isna()].eval("label_error == 0 and state_noise == 0 and k == 2").all()
    task = TaskConfig.compact(5, 4)
    for (p, N), group in heard[heard.k == 1].groupby(["label_error", "systems"]):
        assert group.bayes_label.to_numpy() == pytest.approx(cues.believed(task, N, p)[0], abs=1e-3)
    assert early.groupby(CELL).size().max() == 1


@pytest.mark.standard
def test_early_rows_are_those_of_the_atlas(early, atlas):
    """The histories that are kept have four digits."""
    again = cues.early_led(atlas).set_index(CELL)
    there = early.set_index(CELL).loc[again.index]
    assert there.early_index.to_numpy() == pytest.approx(again.early_index.to_numpy(), rel=0.01, nan_ok=True)
    assert (there.evaluations == again.evaluations).all()
