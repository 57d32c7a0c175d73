"""Why 2-after-query gets worse with N: made-up matchers are recovered, the norm's share by simulation, verdicts
follow their table.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import vl_convert

from recall import interventions, runs
from recall.needle import needle_prompts
from recall.predictors import blind_error
from recall.prose import degradation as prose_degradation
from recall.studies.when import charts, degradation
from recall.task import TaskConfig

TASK = TaskConfig.compact(5, 4)


def matcher(prompts, account, *beta):
    y, v, m, right = degradation.candidates(prompts)
    return degradation.mix(degradation.weights(degradation.ACCOUNTS[account](y, v, right), *beta), m)


def asked(N, task=TASK, **changes):
    return needle_prompts(task, N, **(dict(haystacks=64, traces=8, needle=0, seed=degradation.SEED) | changes))


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
    fitted = {
        name: degradation.fit(matcher(two, account, *beta) + noise, like, m)
        for name, like, m in degradation._likenesses(two)
    }
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
    fitted = {
        name: degradation.fit(matcher(prompts, "label", 2.0), like, m)
        for name, like, m in degradation._likenesses(prompts)
    }
    rows = pd.DataFrame(degradation.account(matcher(asked(4), "label", 2.0), asked(4), fitted)).set_index("account")
    assert rows.explained.idxmax() == "label" and rows.explained.drop("label").max() < 0.7
    share = math.exp(2) / (math.exp(2) + 3)  # of the needle among four; the others share the rest
    assert rows.mixing["label"] == pytest.approx((1 - share) ** 2 * (1 + 1 / 3), rel=0.1)


def test_baselines_and_candidates_by_hand():
    prompts = asked(3, haystacks=256)
    y, v, m, right = degradation.candidates(prompts)
    assert (right == torch.tensor([True, False, False])).all() and torch.equal(v[:, 0], y)
    assert (m[right] - prompts.targets[:, prompts.query_row + 1]).abs().max() < 1e-5
    rows = pd.DataFrame(
        degradation.account(
            m[right], prompts, {name: (1.0, 1.0)[: 1 + (name == "norm and direction")] for name in degradation.ACCOUNTS}
        )
    ).set_index("account")
    assert (
        rows.error.max() == 0
        and rows.mixing[degradation.RIGHT] == 0
        and rows.mixing[degradation.BLIND] == pytest.approx(blind_error(3), abs=0.03)
    )


def test_on_equal_norms_the_norm_tells_nothing():
    prompts = interventions.apply("equal-norm", asked(2), TASK)
    y, v, m, right = degradation.candidates(prompts)
    assert math.isnan(degradation.fit(m[right], degradation.ACCOUNTS["norm"](y, v, right), m)[0])
    both = degradation.fit(
        matcher(prompts, "direction", 3.0), degradation.ACCOUNTS["norm and direction"](y, v, right), m
    )
    assert math.isnan(both[0]) and both[1] == pytest.approx(3, rel=0.05)
    assert torch.allclose(
        degradation.weights(degradation.ACCOUNTS["norm"](y, v, right), 700.0),
        torch.full((1, 2), 0.5, dtype=torch.float64),
        atol=1e-3,
    )


def test_a_norm_picks_the_needle_among_two_but_not_among_many():
    assert degradation.norm_matcher(5, 2)[0] == pytest.approx(0.93, abs=0.01) and degradation.norm_matcher(5, 19)[
        0
    ] == pytest.approx(0.43, abs=0.015)
    assert degradation.norm_matcher(5, 1) == (1.0, 0.0) and degradation.norm_matcher(5, 2, error=1e-6)[0] > 0.9999
    # blind to it: any of the four, but for which way the noise throws it
    share, error = degradation.norm_matcher(3, 4, error=100.0)
    assert share < 0.4 and error > 1


def test_the_models_stand_beside_the_norm_matcher():
    words = prose_degradation.norm_alone(made(), counted=(2, 19))
    assert (
        "93 % at N = 2 (error 0.14; 5 models led by the states: 0.06 to 0.06), 44 % at N = 19 (error 1.12)." in words
        and "All these models do better" in words
    )
    assert "Not all" in prose_degradation.norm_alone(
        made(growth=0.9), counted=(4,)
    ) and "models" not in prose_degradation.norm_alone(made(kind="label-led"), counted=(2,))


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
    # alike maps: a cheap confusion
    assert (
        np.allclose(tenth.other, 0.1)
        and tenth.error.groupby(tenth.maps).mean()["low"] > tenth.error.groupby(tenth.maps).mean()["high"]
    )
    for account, sharp in ((degradation.DIRECTION, 4.0), (degradation.NORM, 40.0)):
        by = {
            name: degradation.by_likeness(matcher(prompts, account, sharp), prompts, name)
            .groupby("states")
            .other.mean()
            for name in (degradation.NORM, degradation.DIRECTION)
        }
        change = {name: means["high"] - means["low"] for name, means in by.items()}
        assert change[account] > 0.1 and max(abs(value) for name, value in change.items() if name != account) < 0.06


def test_likeness_needs_pairs():
    with pytest.raises(ValueError, match="systems must be 2"):
        degradation.by_likeness(torch.zeros(2, 5), asked(3, haystacks=1, traces=2), degradation.NORM)


# --- verdicts: made-up tables with opposite results give opposite sentences
# ----------------------------------------------


def made(
    growth=0.1,
    expected=0.09,
    span=-0.02,
    states=0.1,
    maps=0.0,
    norm=0.3,
    kind="observation-led",
    seeds=5,
    best="norm and direction",
    equal=0.3,
):
    cell = lambda seed: dict(family="haar", dimension=5, labels=4, setting="fast-1", seed=seed, kind=kind)
    wobble = lambda seed: 0.001 * (seed - 2)
    errors, accounts, similar = [], [], []
    for seed in range(seeds):
        for norms, base in ((degradation.DRAWN, 0.06), (degradation.EQUAL, 0.3)):
            for N in (2, 4):
                for needle in ("farthest", "nearest"):
                    for k in (1, 2):
                        mean = (
                            base
                            + wobble(seed) * N
                            + (growth if k == 2 and N == 4 else 0)
                            - (span + wobble(seed) if needle == "nearest" else 0)
                        )
                        errors.append(
                            cell(seed) | dict(norms=norms, needle=needle, systems=N, k=k, mean=mean, score=1 - mean)
                        )
                for account in (*degradation.ACCOUNTS, *degradation.BASELINES):
                    said = (base if norms == degradation.DRAWN else equal) + (expected + wobble(seed) if N == 4 else 0)
                    accounts.append(
                        cell(seed)
                        | dict(
                            norms=norms,
                            systems=N,
                            account=account,
                            beta=1.0,
                            beta2=1.0,
                            error=base + (growth if N == 4 else 0),
                            mixing=0.0,
                            r2=0.9,
                            explained=0.5 if account == best else 0.05,
                            expected=said,
                        )
                    )
            for by, effect in ((degradation.NORM, norm), (degradation.DIRECTION, states)):
                for i, state in enumerate(degradation.TERTILES):
                    for j, map_ in enumerate(degradation.TERTILES):
                        other = 0.1 + (effect + wobble(seed)) * i / 2 + (maps + wobble(seed)) * j / 2
                        similar.append(
                            cell(seed)
                            | dict(norms=norms, by=by, states=state, maps=map_, prompts=9, error=other, other=other)
                        )
    return dict(zip(degradation.TABLES, map(pd.DataFrame, (errors, accounts, similar))))


def test_the_answer_follows_its_tables():
    words, status = prose_degradation.answer(made())
    assert (
        status == "answered"
        and "most of the growth" in words
        and "distance is not what costs" in words
        and "first of all what is alike in norm" in words
    )
    words, status = prose_degradation.answer(made(expected=0.01, span=0.05, states=0.0, maps=0.1, norm=-0.1))
    assert (
        status == "in part"
        and "less than half of the growth" in words
        and "distance costs something" in words
        and "first of all what is alike in maps" in words
    )
    assert (
        "does not clearly degrade" in prose_degradation.answer(made(growth=-0.01))[0]
        and prose_degradation.answer(made(growth=-0.01))[1] == "in part"
    )
    assert prose_degradation.answer(made(kind="label-led")) == ("no model whose states lead was asked", "not tested")
    assert "no likeness is clearly confused" in prose_degradation.answer(made(states=0.0, norm=-0.1))[0]
    assert prose_degradation.answer(made(seeds=2))[1] == "in part"  # two seeds have no interval


def test_changes_have_intervals_over_seeds():
    of = lambda *values, settings=("fast-1",): pd.Series(
        values,
        pd.MultiIndex.from_tuples(
            [("haar", 5, 4, settings[i % len(settings)], i, "label-led") for i in range(len(values))],
            names=degradation.MODEL,
        ),
    )
    found = degradation.change(of(0.1, 0.2, 0.3))  # mean 0.2, standard error 0.1 / sqrt(3), t(2) = 4.303
    assert (found["low"], found["high"]) == (
        pytest.approx(0.2 - 4.3027 * 0.1 / 3**0.5, abs=1e-4),
        pytest.approx(0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-4),
    )
    assert (
        prose_degradation.words_of(degradation.change(of(0.1, 0.2))) == "+0.15 (2 models: +0.10 to +0.20)"
        and prose_degradation.words_of(degradation.change(of(0.1))) == "+0.10 (one model)"
    )
    mixed = degradation.change(of(0.1, 0.2, 0.3, settings=("fast-1", "long")))  # other recipes are not other seeds
    assert (
        math.isnan(mixed["low"])
        and prose_degradation._sign(mixed) == 1
        and prose_degradation.words_of(mixed) == "+0.20 (3 models: +0.10 to +0.30)"
    )
    assert degradation.growths(made()["degradation"], degradation.DRAWN).mean() == pytest.approx(0.1, abs=1e-9)
    effect = degradation.effects(made(states=0.1, maps=-0.3, norm=0.2))
    assert (
        effect[degradation.DIRECTION].mean(),
        effect[degradation.MAPS].mean(),
        effect[degradation.NORM].mean(),
    ) == pytest.approx((0.1, -0.3, 0.2))


def test_accounts_sentences_follow_their_tables():
    assert "more than any one" in prose_degradation.best(made()) and "best is label in 5" in prose_degradation.best(
        made(best="label")
    )
    assert "no account explains as much" in prose_degradation.best(made(best="distance"))
    assert "The expected error carries over." in prose_degradation.transfer(
        made()
    ) and "does not carry over" in prose_degradation.transfer(made(equal=0.6))


# --- the committed tables
# ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return degradation.read()


def test_committed_accounts_follow_from_their_betas(committed):
    """What an account's answers are off by needs no model: beta, and the prompts again."""
    table = (
        committed["degradation_accounts"]
        .query("family == 'haar' and dimension == 5 and setting == 'fast-1' and seed == 300")
        .set_index(["norms", "systems", "account"])
    )
    for norms in degradation.NORMS:
        prompts = degradation.prompt_sets(TASK, norms, 4, 0)
        rows = table.loc[(norms, 4)]
        betas = {
            name: (rows.beta[name], rows.beta2[name])[: 1 + (name == "norm and direction")]
            for name in degradation.ACCOUNTS
        }
        again = pd.DataFrame(
            degradation.account(torch.zeros(len(prompts.tokens), 5, dtype=torch.float64) + 1, prompts, betas)
        ).set_index("account")
        assert again.mixing.to_numpy() == pytest.approx(rows.mixing.loc[again.index].to_numpy(), rel=0.01, abs=2e-4)


def test_committed_errors_are_those_of_the_runs_own_tables(committed):
    """Other prompts, the same errors: the atlas's final tables."""
    finals = {run.name: run for run in runs.load_all("atlas")}
    table = committed["degradation"].query(
        "norms == 'as drawn' and needle == 'farthest' and setting == 'fast-1' and systems == 4"
    )
    own = {
        (run.config["task"]["dimension"], run.config["seed"], row.k): row.mean_
        for run in finals.values()
        if run.config["task"]["labels"] == 4
        for row in run.final.rename(columns={"mean": "mean_"})
        .query("condition == 'plain' and event == 'query' and systems == 4")
        .itertuples()
    }
    pairs = [
        (row.mean_, own[row.dimension, row.seed, row.k]) for row in table.rename(columns={"mean": "mean_"}).itertuples()
    ]
    assert len(pairs) == 32 and np.abs(np.diff(pairs)).max() < 0.06
    anchors = committed["degradation_accounts"].query("systems == 2 and (norms == 'as drawn' or family == 'equal')")
    assert np.allclose(anchors.expected, anchors.error, atol=1e-4)


def test_every_option_of_the_figures_draws_something_else(committed):
    tables = degradation.shown(committed)
    for chart, start in (
        (charts.degradation(*tables[:2], degradation.start(tables[0])), degradation.start(tables[0])),
        (
            charts.likeness(tables[2], degradation.start(tables[2], thirds=True)),
            degradation.start(tables[2], thirds=True),
        ),
    ):
        spec = chart.to_dict()
        pictures = set()
        picks = [p for p in spec["params"] if p["name"].startswith("pick_")]
        options = 0
        for parameter in picks:
            for option in parameter["bind"]["options"]:
                options += option != parameter["value"]
                changed = chart.to_dict()
                next(p for p in changed["params"] if p["name"] == parameter["name"])["value"] = option
                pictures.add(vl_convert.vegalite_to_svg(changed))
        assert len(pictures) == options + 1  # all differ, from one another and from the first picture
