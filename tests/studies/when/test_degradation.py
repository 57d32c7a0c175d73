"""Why 2-after-query gets worse with N: made-up matchers are recovered, the norm's share by simulation, likeness by
hand, the committed tables by a second route.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import vl_convert
from made_when import degraded

from recall import interventions, measures, runs
from recall.needle import needle_prompts
from recall.predictors import blind_error
from recall.studies.when import charts, degradation
from recall.task import TaskConfig

TASK = TaskConfig.compact(5, 4)


def matcher(prompts, account, *beta):
    y, v, m, right = degradation.candidates(prompts)
    return degradation.mix(degradation.weights(degradation.ACCOUNTS[account](y, v, right), *beta), m)


def asked(N, task=TASK, **changes):
    return needle_prompts(task, N, **(dict(haystacks=64, traces=8, needle=0, seed=degradation.SEED) | changes))


def fits(answer, prompts):
    y, v, m, right = degradation.candidates(prompts)
    return {name: degradation.fit(answer, like(y, v, right), m) for name, like in degradation.ACCOUNTS.items()}


@pytest.mark.parametrize(
    "account, beta",
    [
        ("norm", (40.0,)),
        ("direction", (3.0,)),
        ("norm and direction", (40.0, 2.0)),
        ("distance", (2.0,)),
        ("label", (1.5,)),
    ],
)
def test_a_soft_matcher_is_recovered_and_predicts_other_counts(account, beta):
    two, four = asked(2), asked(4)
    noise = 0.01 * torch.randn(len(two.tokens), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fitted = fits(matcher(two, account, *beta) + noise, two)
    assert fitted[account] == pytest.approx(beta, rel=0.05)
    answer = matcher(four, account, *beta)
    rows = pd.DataFrame(degradation.account(answer, four, fitted)).set_index("account")
    assert rows.r2[account] > 0.99 and rows.explained[account] > 0.99
    assert rows.mixing[account] == pytest.approx(rows.error[account], rel=0.05)
    # the two together hold either
    tied = {account, "norm and direction"} if account in ("norm", "direction") else {account}
    assert rows.explained.drop(list(tied)).max() < 0.9


def test_who_goes_by_the_label_alone_is_told_apart():
    prompts = asked(2)
    fitted = fits(matcher(prompts, "label", 2.0), prompts)
    rows = pd.DataFrame(degradation.account(matcher(asked(4), "label", 2.0), asked(4), fitted)).set_index("account")
    assert rows.explained.idxmax() == "label" and rows.explained.drop("label").max() < 0.7
    share = math.exp(2) / (math.exp(2) + 3)  # of the needle among four; the others share the rest
    assert rows.mixing["label"] == pytest.approx((1 - share) ** 2 * (1 + 1 / 3), rel=0.1)


def test_baselines_and_candidates_by_hand():
    prompts = asked(3, haystacks=256)
    y, v, m, right = degradation.candidates(prompts)
    assert (right == torch.tensor([True, False, False])).all() and torch.equal(v[:, 0], y)
    assert (m[right] - prompts.targets[:, prompts.query_row + 1]).abs().max() < 1e-5
    betas = {name: (1.0, 1.0)[: 1 + (name == "norm and direction")] for name in degradation.ACCOUNTS}
    rows = pd.DataFrame(degradation.account(m[right], prompts, betas)).set_index("account")
    assert rows.error.max() == 0 and rows.mixing[degradation.RIGHT] == 0
    assert rows.mixing[degradation.BLIND] == pytest.approx(blind_error(3), abs=0.03)


def test_on_equal_norms_the_norm_tells_nothing():
    prompts = interventions.apply("equal-norm", asked(2), TASK)
    y, v, m, right = degradation.candidates(prompts)
    by_norm = degradation.ACCOUNTS["norm"](y, v, right)
    assert math.isnan(degradation.fit(m[right], by_norm, m)[0])
    both = fits(matcher(prompts, "direction", 3.0), prompts)["norm and direction"]
    assert math.isnan(both[0]) and both[1] == pytest.approx(3, rel=0.05)
    assert (degradation.weights(by_norm, 700.0) - 0.5).abs().max() < 1e-3


def test_a_norm_picks_the_needle_among_two_but_not_among_many():
    assert degradation.norm_matcher(5, 2)[0] == pytest.approx(0.93, abs=0.01)
    assert degradation.norm_matcher(5, 19)[0] == pytest.approx(0.43, abs=0.015)
    assert degradation.norm_matcher(5, 1) == (1.0, 0.0) and degradation.norm_matcher(5, 2, error=1e-6)[0] > 0.9999
    # blind to it: any of the four, but for which way the noise throws it
    share, error = degradation.norm_matcher(3, 4, error=100.0)
    assert share < 0.4 and error > 1


def test_tertiles_by_hand():
    """Error rises by 1 per third of the states and falls by 10 per third of the maps; the other system has a tenth
    everywhere.
    """
    states, maps = (grid.flatten() for grid in torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij"))
    states, maps = states.double(), maps.double()
    apart = 1 + states
    table = degradation.tertiles(states, maps, states // 3 - 10 * (maps // 3), 0.1 * apart, apart)
    assert (table.prompts == 9).all() and np.allclose(table.other, 0.1)
    assert table.error.tolist() == [i - 10 * j for i in range(3) for j in range(3)]


def test_likeness_sorts_by_what_it_says():
    """Who mixes in a tenth of the other system has a tenth of it everywhere; who does so by direction shows it by
    direction.
    """
    prompts = asked(2, haystacks=2048, traces=1)
    y, v, m, right = degradation.candidates(prompts)
    tenth = degradation.by_likeness(0.9 * m[:, 0] + 0.1 * m[:, 1], prompts, degradation.NORM)
    means = tenth.error.groupby(tenth.maps).mean()
    assert np.allclose(tenth.other, 0.1) and means["low"] > means["high"]  # alike maps: a cheap confusion
    for account, sharp in ((degradation.DIRECTION, 4.0), (degradation.NORM, 40.0)):
        change = {}
        for name in (degradation.NORM, degradation.DIRECTION):
            found = degradation.by_likeness(matcher(prompts, account, sharp), prompts, name)
            means = found.groupby("states").other.mean()
            change[name] = means["high"] - means["low"]
        assert change.pop(account) > 0.1 and all(abs(value) < 0.06 for value in change.values())


def test_likeness_needs_pairs():
    with pytest.raises(ValueError, match="systems must be 2"):
        degradation.by_likeness(torch.zeros(2, 5), asked(3, haystacks=1, traces=2), degradation.NORM)


def models(*values, settings=("fast-1",)) -> pd.Series:
    """A value per model, the settings in turn."""
    index = [("haar", 5, 4, settings[i % len(settings)], i, "label-led") for i in range(len(values))]
    return pd.Series(values, pd.MultiIndex.from_tuples(index, names=degradation.MODEL))


def test_changes_have_intervals_over_seeds_of_one_recipe():
    found = degradation.change(models(0.1, 0.2, 0.3, 0.4, 0.5))
    half = 2.776445 * math.sqrt(0.025 / 5)
    assert (found["estimate"], found["low"], found["high"]) == pytest.approx((0.3, 0.3 - half, 0.3 + half), rel=1e-5)
    assert (found["least"], found["most"], found["seeds"]) == (0.1, 0.5, 5)
    assert math.isnan(degradation.change(models(0.1, 0.2, 0.3, 0.4))["low"])  # too few
    mixed = degradation.change(models(0.1, 0.2, 0.3, 0.4, 0.5, settings=("fast-1", "long")))
    assert math.isnan(mixed["low"])  # other recipes are not other seeds


def test_growths_and_effects_by_hand():
    tables = degraded(growth=0.1, span=-0.02, states=0.1, maps=-0.3, norm=0.2)
    assert degradation.growths(tables["degradation"], degradation.DRAWN).mean() == pytest.approx(0.1, abs=1e-9)
    assert degradation.growths(tables["degradation"], degradation.DRAWN, k=1).mean() == pytest.approx(0, abs=1e-9)
    effect = degradation.effects(tables).mean()
    of = [effect[name] for name in (degradation.DIRECTION, degradation.MAPS, degradation.NORM)]
    assert of == pytest.approx([0.1, -0.3, 0.2])


def test_models_are_named_by_recipe_and_whom_they_follow():
    rows = pd.DataFrame(
        [("fast-1", 4), ("equal", 4), ("study-25", 25), ("long", 4)], columns=["setting", "labels"]
    ).assign(dimension=5, kind="label-led")
    assert degradation.named(rows).models.tolist() == [
        "n = 5, label-led",
        "trained on equal norms, n = 5, label-led",
        "study's generator, 25 labels, n = 5, label-led",
        "other recipes, n = 5, label-led",
    ]


def test_figures_begin_with_models_that_the_states_lead():
    errors, expected, thirds = degradation.shown(degraded())
    start = dict(models="n = 5, observation-led", norms=degradation.DRAWN)
    assert degradation.start(errors) == start | dict(needle="farthest")
    assert degradation.start(thirds, thirds=True) == start | dict(by=degradation.NORM)
    assert degradation.start(degradation.shown(degraded(kind="between"))[0])["models"] == "n = 5, between"
    charts.degradation(errors, expected, degradation.start(errors))
    charts.likeness(thirds, degradation.start(thirds, thirds=True))


def test_no_more_systems_are_asked_than_training_shows():
    assert degradation.counts(TaskConfig.compact(3, 2)) == [1, 2]
    assert degradation.counts(TaskConfig.compact(5, 8)) == [1, 2, 3, 4, 5, 8]


# --- the committed tables ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return degradation.read()


@pytest.mark.standard
def test_committed_accounts_follow_from_their_betas(committed):
    """What an account's answers are off by needs no model: beta, and the prompts again."""
    asked_ = "family == 'haar' and dimension == 5 and setting == 'fast-1' and seed == 300"
    table = committed["degradation_accounts"].query(asked_).set_index(["norms", "systems", "account"])
    for norms in degradation.NORMS:
        prompts = degradation.prompt_sets(TASK, norms, 4, 0)
        rows = table.loc[(norms, 4)]
        pair = lambda name, rows=rows: (rows.beta[name], rows.beta2[name])[: 1 + (name == "norm and direction")]
        betas = {name: pair(name) for name in degradation.ACCOUNTS}
        ones = torch.ones(len(prompts.tokens), 5, dtype=torch.float64)
        again = pd.DataFrame(degradation.account(ones, prompts, betas)).set_index("account")
        assert again.mixing.to_numpy() == pytest.approx(rows.mixing.loc[again.index].to_numpy(), rel=0.01, abs=2e-4)


@pytest.mark.standard
def test_committed_errors_are_those_of_the_runs_own_tables(committed):
    """Other prompts, the same errors: the atlas's final tables."""
    asked_ = "norms == 'as drawn' and needle == 'farthest' and setting == 'fast-1' and systems == 4 and labels == 4"
    finals = [run.final.assign(**measures.cell_of(run)) for run in runs.load_all("atlas")]
    finals = pd.concat(finals).query("condition == 'plain' and event == 'query' and systems == 4")
    both = committed["degradation"].query(asked_).merge(finals, on=[*measures.CELL, "k"], suffixes=("", "_own"))
    assert len(both) == 32 and (both["mean"] - both.mean_own).abs().max() < 0.06
    anchors = committed["degradation_accounts"].query("systems == 2 and (norms == 'as drawn' or family == 'equal')")
    assert np.allclose(anchors.expected, anchors.error, atol=1e-4)


@pytest.mark.standard
def test_every_option_of_the_figures_draws_something_else(committed):
    errors, expected, thirds = degradation.shown(committed)
    for chart in (
        charts.degradation(errors, expected, degradation.start(errors)),
        charts.likeness(thirds, degradation.start(thirds, thirds=True)),
    ):
        picks = [p for p in chart.to_dict()["params"] if p["name"].startswith("pick_")]
        pictures = [vl_convert.vegalite_to_svg(chart.to_dict())]
        for name, option in ((each["name"], option) for each in picks for option in each["bind"]["options"]):
            changed = chart.to_dict()
            parameter = next(p for p in changed["params"] if p["name"] == name)
            if option == parameter["value"]:
                continue
            parameter["value"] = option
            picture = vl_convert.vegalite_to_svg(changed)
            if charts.EQUAL_ONLY not in picture and charts.ALL_ALIKE not in picture:  # else it says that none is there
                pictures.append(picture)
        assert len(pictures) >= 8 and len(set(pictures)) == len(pictures)
