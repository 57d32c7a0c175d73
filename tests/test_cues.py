"""What a model goes by where cues are less certain: Bayes by hand, prompts of equal norms, verdicts that turn,
committed tables.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recall import data, measures, runs
from recall.config import to_json
from recall.interventions import apply
from recall.needle import needle_prompts
from recall.prose import cues as prose_cues
from recall.settings import vary
from recall.studies.which_way import bayes, cues
from recall.sweeps.atlas import member
from recall.task import TaskConfig


@pytest.fixture(scope="module")
def norms():
    return data.table("equal_norms")


@pytest.fixture(scope="module")
def heard():
    return data.table("cue_weights")


@pytest.fixture(scope="module")
def early():
    return data.table("early_led")


@pytest.fixture(scope="module")
def leaders(early):
    return cues.led([data.table("cues"), data.table("factors"), measures.lines(runs.load_all("atlas"))], early)


# --- Bayes
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_bayes_at_the_open_label_by_hand(p):
    """Two labels, two systems: right labels are (0, 1) or (1, 0); a label shown is right with a = 1 - p/2, else
    wrong with b = p/2.
    """
    task, a, b = TaskConfig.compact(2, 2), 1 - p / 2, p / 2
    named, other, new = cues.believed(task, 2, p)
    assert (
        named == pytest.approx((a**3 + b**3) / (a**3 + a * a * b + b * b * a + b**3))
        and named + other == pytest.approx(1)
        and new == 0
    )
    prompts = apply("misdirected", needle_prompts(task, 2, haystacks=4, traces=2), task)
    assert cues.posterior(prompts, task, p, 0.1)[0] == pytest.approx((named, other), abs=1e-6)
    # who takes the haystack's labels to be right
    assert cues.posterior(prompts, task, p, 0.1, trusting=True)[0] == pytest.approx((a, b), abs=1e-6)


def test_bayes_at_the_open_label_by_drawing_traces():
    """Another route: draw segments of a trace as the task does, keep those that look like the prompt."""
    task, p, draws = TaskConfig.compact(5, 4), 0.3, 2_000_000
    rng = np.random.default_rng(0)
    m = rng.integers(1, 5, draws)
    on = (rng.random((draws, 3)) * m[:, None]).astype(int)
    right = rng.permuted(np.tile(np.arange(4), (draws, 1)), axis=1)[np.arange(draws)[:, None], on]
    shown = np.where(rng.random((draws, 3)) < p, rng.integers(0, 4, (draws, 3)), right)
    like = (on[:, 0] != on[:, 1]) & (shown[:, 0] != shown[:, 1]) & (shown[:, 2] == shown[:, 1])
    who = on[like]
    found = (who[:, 2] == who[:, 1]).mean(), (who[:, 2] == who[:, 0]).mean()
    assert found == pytest.approx(cues.believed(task, 2, p)[:2], abs=0.005)


def test_after_a_state_bayes_turns_to_it_unless_labels_never_err():
    task = TaskConfig.compact(3, 4)
    prompts = apply("misdirected", needle_prompts(task, 2, haystacks=32, traces=1), task)
    shaky = cues.per_coordinate(0.3, 3)
    assert cues.posterior(prompts, task, 0.0, shaky)[1] == pytest.approx((1, 0), abs=1e-9)
    (_, before), (label, observed) = cues.posterior(prompts, task, 0.05, shaky)
    assert before < 0.1 and label < 0.2 and observed > 0.8
    assert cues.posterior(prompts, task, 0.05, 4 * shaky)[1][0] > label  # the less a state says, the more a label does
    assert cues.per_coordinate(0, 3) == bayes.EXACT and shaky == pytest.approx(0.3 / math.sqrt(3))


# --- equal norms
# --------------------------------------------------------------------------------------------------------


def test_prompts_of_equal_norms_have_them():
    task = TaskConfig.compact(3, 4)
    equal, haar = (
        needle_prompts(replace(task, family=family), 3, haystacks=4, traces=4, seed=cues.SEED).observations.norm(dim=-1)
        for family in cues.NORMS.__reversed__()
    )
    assert torch.allclose(equal, torch.ones_like(equal), atol=1e-4) and haar.std() > 0.2


def made_norms(change, index, seeds=8):
    """16 made-up models: score of 2-after under a misdirected label is 0.9 + change, a little different for every
    seed.
    """
    rows = []
    for kind in cues.NORMS:
        for prompts in cues.NORMS:
            for seed in range(seeds):
                for N in (2, 4):
                    for k in (1, 2):
                        for condition in cues.CONDITIONS:
                            wrong = condition == "misdirected"
                            score = (
                                (-2.0 if wrong else 0.9) if k == 1 else 0.9 + (change + 0.001 * seed if wrong else 0)
                            )
                            rows.append(
                                dict(
                                    dimension=5,
                                    setting="equal" if kind == "equal" else cues.BASE,
                                    seed=seed,
                                    kind=kind,
                                    norms=prompts,
                                    condition=condition,
                                    systems=N,
                                    k=k,
                                    mean=0.1 + 0.01 * (N - 2) * k + 0.001 * seed * (N == 2),
                                    score=score,
                                    label_index=index if wrong else math.nan,
                                )
                            )
    return pd.DataFrame(rows)


def test_the_test_on_misdirection_turns():
    outcomes = lambda change, **given: {
        row["outcome"] for row in cues.misdirected_norms(made_norms(change, 0.0, **given))
    }
    assert outcomes(-0.003) == {"equivalent"} and outcomes(-0.2) == {"not equivalent"}
    assert outcomes(-0.2, seeds=4) == {"undecided"}
    (row,) = [
        row for row in cues.misdirected_norms(made_norms(-0.2, 0.0)) if (row["kind"], row["norms"]) == ("equal", "haar")
    ]
    assert (
        row["estimate"] == pytest.approx(-0.2 + 0.0035)
        and row["runs"] == row["seeds"] == 8
        and row["low"] < row["estimate"] < row["high"]
    )


def test_who_does_not_look_labels_up_is_not_asked():
    table = made_norms(-0.2, 0.0)
    table.loc[
        (table.seed == 0) & (table.k == 1) & (table.condition == "plain") & (table.norms == table.kind), "score"
    ] = 0.2
    assert {row["runs"] for row in cues.misdirected_norms(table)} == {7}


def made_early(index, share=0.9):
    return pd.DataFrame(
        [
            dict(
                dimension=5,
                labels=4,
                setting=setting,
                seed=seed,
                evaluations=3,
                first=10.0,
                early_index=index,
                early_map=share,
            )
            for setting in ("equal", cues.BASE)
            for seed in range(8)
        ]
    )


def test_maps_or_label_turns():
    assert "By the label in all of them; and not at last but from the first" in prose_cues.maps_or_label(
        made_norms(-3, 1.0), made_early(0.95)
    )
    assert "By the label in all of them; but not from the first" in prose_cues.maps_or_label(
        made_norms(-3, 1.0), made_early(0.05)
    )
    assert "By the maps in all of them" in prose_cues.maps_or_label(made_norms(0, 0.02), made_early(0.05))
    assert "There is no one answer" in prose_cues.maps_or_label(made_norms(-1, 0.5), made_early(0.5))
    assert "the map that the label names" not in prose_cues.maps_or_label(
        made_norms(-3, 1.0), made_early(0.95, share=0.2)
    )


def test_growth_by_hand():
    words = prose_cues.growth(made_norms(0, 0))
    assert "from N = 2 to 4" in words and "trained on equal norms it grows in 1 of 1 dimensions" in words
    flat = made_norms(0, 0).assign(
        mean=lambda rows: 0.1 + 0.001 * rows.seed * (rows.systems == 2) * (rows.seed % 2 * 2 - 1)
    )
    assert "trained on equal norms it grows in 0 of 1 dimensions" in prose_cues.growth(flat)


# --- labels and states
# --------------------------------------------------------------------------------------------------


def made_weights(index=lambda p, s: 0.0, label=lambda p: 1 - 0.75 * p):
    rows = []
    for p in (0.0, 0.05, 0.2, 0.5):
        for s in (0.0, 0.1, 0.3):
            for seed in (300, 301):
                for k in (1, 2):
                    ideal = 1 - 0.75 * p if k == 1 else math.nan if not (p or s) else float(p == 0)
                    rows.append(
                        dict(
                            dimension=5,
                            setting="x",
                            seed=seed,
                            label_error=p,
                            state_noise=s,
                            systems=2,
                            k=k,
                            score=0.9 if p < 0.5 else 0.1,
                            label=label(p) if k == 1 else index(p, s),
                            observed=0.1,
                            label_index=1.0 if k == 1 else index(p, s),
                            bayes_label=ideal,
                            bayes_observed=0.1,
                            bayes_shaken=ideal,
                            bayes_trusting=ideal,
                        )
                    )
    return pd.DataFrame(rows)


def test_dose_and_response_by_hand():
    assert cues.doses(made_weights()).slope.tolist() == pytest.approx([1, 1])
    assert cues.doses(made_weights(label=lambda p: 1 - 1.5 * p)).slope.tolist() == pytest.approx([2, 2])
    assert "falls faster than" in prose_cues.heeded(
        made_weights(label=lambda p: 1 - 1.5 * p)
    ) and "falls more slowly than" in prose_cues.heeded(made_weights(label=lambda p: 1 - 0.3 * p))
    assert "does not follow" in prose_cues.heeded(made_weights(label=lambda p: 0.5 + p))
    assert "6 do not look labels up well" in prose_cues.heeded(
        made_weights()
    ) and "p = 0.5, s = 0.3" in prose_cues.heeded(made_weights())


def test_what_is_overheard_turns():
    deaf = prose_cues.overheard(made_weights())
    assert (
        "It is below 0.25 in all 24 models" in deaf
        and "within 0.1 of that in 9 of 9 cells" in deaf
        and "not in:" in deaf
    )
    bayes_ = prose_cues.overheard(made_weights(index=lambda p, s: float(p == 0)))
    assert (
        "It is not: over p it spans 1.00" in bayes_
        and "within 0.1 of that in 9 of 9 cells" in bayes_
        and "models do too" in bayes_
    )
    led = prose_cues.overheard(made_weights(index=lambda p, s: 0.9 if s else 0.0))
    assert "believe the label by more than that in 6" in led and "rises with state noise at 4 of 4" in led


# --- who leads
# ----------------------------------------------------------------------------------------------------------


def test_a_new_run_appears_by_itself(leaders, early):
    table = data.table("cues")
    new = table[table.setting == "equal"].head(1).assign(name="haar-n5-l4-brand-new-s0-00000000", setting="brand-new")
    longer = cues.led([table, data.table("factors"), measures.lines(runs.load_all("atlas")), new], early)
    assert len(longer) >= len(leaders) + 1 and "n = 5, brand-new" in prose_cues.led_shown(longer).training.tolist()
    assert "brand-new" not in prose_cues.led_shown(leaders).to_string()


def test_groups():
    assert [
        cues.group_of(name) for name in ("equal", "error-0.05-noise-0", "library-100", "study-25", "layers-2", "fast-1")
    ] == [
        "the cues",
        "label error and state noise",
        "the data",
        "the data",
        "model and optimiser",
        "dimension and labels",
    ]


def test_kinds_agree_with_those_of_the_atlas(leaders):
    """Two routes to whether a run looks labels up: dates and scores of one line, or its final table; they may differ
    only near the threshold.
    """
    own = {
        (run.config["task"]["dimension"], run.config["task"]["labels"], run.config["seed"]): measures.kind(run)
        for run in runs.load_all("atlas")
    }
    found = leaders[leaders.group == "dimension and labels"].set_index(["dimension", "labels", "seed"]).kind
    differ = [key for key, kind in own.items() if found[key] != kind]
    assert len(own) == len(found) and len(differ) <= 3 and all("no look-up" in (own[key], found[key]) for key in differ)


def test_what_decides_turns():
    def made(early, end):
        return pd.DataFrame(
            [
                dict(
                    group=cues.GROUPS[4],
                    training=f"n = {n}, 4 labels",
                    order=n,
                    setting=cues.BASE,
                    dimension=n,
                    labels=4,
                    seed=seed,
                    knows=True,
                    kind="label-led" if end(seed) > 0.75 else "observation-led",
                    label_index=end(seed),
                    early_index=early(seed),
                    octaves=1.0 + seed,
                )
                for n in (3, 5)
                for seed in range(8)
            ]
        )

    stays = prose_cues.decided(made(lambda seed: 0.05 * (seed + 1), lambda seed: 0.01 * seed))
    assert "all observation-led in 2" in stays and "taken over" not in stays
    taken = prose_cues.decided(made(lambda seed: 0.1 if seed < 4 else 0.9, lambda seed: 0.95 + 0.005 * seed))
    assert (
        "all end label-led in 2" in taken
        and "none was won back" in taken
        and "Of 8 models that went on by what was observed before beginning again was learnt, 8 label-led" in taken
    )
    back = prose_cues.decided(made(lambda seed: 0.9 if seed < 4 else 0.1, lambda seed: 0.02 if seed < 4 else 0.9))
    assert "none was won back" not in back and "-1.00" in back.split("What it goes with")[1]


# --- committed tables
# ---------------------------------------------------------------------------------------------------


def test_committed_label_indices_are_those_of_the_runs(norms, heard):
    """Other prompts, the same models: cues.csv and the atlas hold the index of the final tables."""
    lines = (
        pd.concat([data.table("cues"), measures.lines(runs.load_all("atlas"))])
        .query("labels == 4")
        .set_index(["dimension", "setting", "seed"])
    )
    own = norms[
        (norms.norms == norms.kind) & (norms.condition == "misdirected") & (norms.k == 2) & norms.systems.isin([2, 4])
    ]
    for row in [*own.itertuples(), *heard[heard.k == 2].itertuples()]:
        assert row.label_index == pytest.approx(
            lines.loc[(row.dimension, row.setting, row.seed), f"label index 2 N={row.systems}"], abs=0.1
        ), row


def test_committed_tables_are_whole(norms, heard, early):
    assert norms.groupby(["dimension", "kind"]).seed.nunique().to_dict() == {
        (3, "equal"): 5,
        (3, "haar"): 8,
        (5, "equal"): 5,
        (5, "haar"): 8,
    }
    assert (norms.groupby(["dimension", "kind", "seed", "norms", "condition"]).size() == 9).all() and norms[
        norms.condition == "misdirected"
    ].label_index.notna().all()
    assert heard.groupby(["label_error", "state_noise"]).seed.nunique().eq(2).all() and len(heard) == 12 * 2 * 2 * 2
    assert heard[heard.bayes_label.isna()].eval("label_error == 0 and state_noise == 0 and k == 2").all()
    task = TaskConfig.compact(5, 4)
    for (p, N), group in heard[heard.k == 1].groupby(["label_error", "systems"]):
        assert group.bayes_label.to_numpy() == pytest.approx(cues.believed(task, N, p)[0], abs=1e-3)
    assert early.groupby(["dimension", "labels", "setting", "seed"]).size().max() == 1


def test_early_rows_are_those_of_the_atlas(early):
    again = cues.early_led(runs.load_all("atlas")[:4]).set_index(
        cues_key := ["dimension", "labels", "setting", "seed"]
    )
    there = early.set_index(cues_key).loc[again.index]
    assert (
        there.early_index.to_numpy() == pytest.approx(again.early_index.to_numpy(), rel=0.01, nan_ok=True)
        and (there.evaluations == again.evaluations).all()
    )


def test_each_table_takes_the_runs_that_it_is_about():
    made = lambda config: runs.Run(None, to_json(config), None, None, {})
    base, other = made(member("fast-1", 5, 4, 300)), made(member("fast-1", 5, 4, 307))
    equal = made(vary(member("fast-1", 5, 4, 300), "equal", task=dict(family="equal")))
    errs = made(vary(member("fast-1", 5, 4, 300), "error-0.2-noise-0", task=dict(label_error=0.2)))
    eight = made(member("fast-1", 5, 8, 300))
    assert cues.of_norms([base, other, equal, errs, eight]) == [base, other, equal]
    assert cues.of_weights([base, other, equal, errs, eight]) == [errs, base]
