"""Four ways to predict: what they are recognised by, and what is said of the models."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recall import data, measures, runs, settings, training
from recall.evaluation import EvaluationConfig, next_states, pointed, pointing
from recall.predictors import CarryOn, Match, Named, Pool
from recall.prose import ways as prose_ways
from recall.studies import claims
from recall.studies.which_way import charts, ways
from recall.studies.which_way.bayes import Bayes
from recall.task import TaskConfig

TASK = TaskConfig.compact(3, 4)


@pytest.fixture(scope="module")
def prompts():
    torch.set_num_threads(1)
    return ways.prompts_of(TASK, haystacks=8, traces=12)


@pytest.fixture(scope="module")
def exact():
    torch.set_num_threads(1)
    found = [ways.exact(TaskConfig.compact(n, 4), haystacks=8, traces=12) for n in (3, 5)]
    return {name: pd.concat([each[name] for each in found], ignore_index=True) for name in found[0]}


@pytest.fixture(scope="module")
def committed():
    return ways.read()


def made(prompts, weights):
    """Predictions of given weights on what each system would do next."""
    answer = torch.zeros_like(prompts.targets, dtype=torch.double)
    answer[:, prompts.query_row :] = torch.einsum(
        "bkni,n->bki", next_states(prompts), torch.tensor(weights, dtype=torch.double)
    )
    return answer


# --- measures
# -----------------------------------------------------------------------------------------------------------


def test_roles_are_what_they_are_called(prompts):
    s = prompts["conflict"].segments
    assert (s.label[:, -1] == s.label[:, ways.ROLES["label"]]).all() and (
        s.system[:, -1] == s.system[:, ways.ROLES["observed"]]
    ).all()
    assert ways.ROLES["recent"] == prompts["conflict"].count - 1 and sorted(ways.ROLES.values()) == [0, 1, 2, 3]
    for lag in ways.LAGS:
        s = prompts[str(lag)].segments
        assert (s.system[:, -1] == s.system[:, -1 - lag]).all() and (s.label[:, -1] == s.label[:, -1 - lag]).all()
    s = prompts["unseen"].segments
    assert not (s.label[:, -1:] == s.label[:, :-1]).any()


def test_next_states_by_hand(prompts):
    """Of one prompt: the next state of a stored trajectory at k = 1, a matrix times the state just seen at k = 3."""
    one, b, segment = prompts["conflict"], 17, 2
    system = int(one.segments.system[b, segment])
    would = next_states(one)
    assert torch.allclose(would[b, 0, segment], one.observations[system, 10].double(), atol=1e-6)
    assert torch.allclose(
        would[b, 2, segment], one.systems.A[system].double() @ one.targets[b, one.query_row + 1].double(), atol=1e-6
    )
    assert torch.allclose(would[:, :, 0], one.targets[:, one.query_row :].double(), atol=1e-4)  # the needle goes on


def test_known_weights_come_back(prompts):
    one = prompts["conflict"]
    weights, explained = pointed(made(one, [0.1, 0.5, -0.2, 0.3]), one)
    assert (
        torch.allclose(weights[:3], torch.tensor([0.1, 0.5, -0.2, 0.3]).double().expand(3, 4), atol=1e-4)
        and explained.min() > 0.999
    )
    assert torch.equal(weights, pointing(made(one, [0.1, 0.5, -0.2, 0.3]), one))
    frame = ways.of_model(
        lambda tokens: made(
            next(
                each
                for each in prompts.values()
                if each.inputs.shape == tokens.shape and torch.equal(each.inputs, tokens)
            ),
            [0.1, 0.5, -0.2, 0.3][: 4 if tokens.shape[1] > 40 else 2],
        ),
        TASK,
        prompts,
    )
    row = frame["ways"].query("k == 2").iloc[0]
    assert (row.observed, row.label, row.other, row.recent) == pytest.approx((0.1, 0.5, -0.2, 0.3), abs=1e-3)
    assert row.nearest_label > 0.5 and row[[f"nearest_{role}" for role in ways.ROLES]].sum() == pytest.approx(1)
    lags = frame["ways_lags"].set_index("lag")
    assert lags.named.tolist() == pytest.approx(
        [0.3, -0.2, 0.5, 0.1], abs=1e-3
    ) and lags.nearest.tolist() == pytest.approx([0.3] * 4, abs=1e-3)
    assert frame["ways_unseen"].query("k == 2")[["observed", "other"]].iloc[0].tolist() == pytest.approx(
        [0.1, 0.5], abs=1e-3
    )


def test_who_knows_nothing_has_no_weights(prompts):
    noise = torch.randn(prompts["conflict"].targets.shape, generator=torch.Generator().manual_seed(0))
    weights, explained = pointed(noise, prompts["conflict"])
    assert weights[:3].abs().max() < 0.35 and explained[:3].max() < 0.1


def test_identified_by_hand(prompts):
    one = prompts["conflict"]
    assert ways.identified(made(one, [0, 0, 2.0, 0]), one)[:3, 2].tolist() == [1, 1, 1]


def test_histogram_tells_a_mixture_from_either_or(prompts):
    one = prompts["conflict"]
    near, far = made(one, [0.9, 0.1, 0, 0]), made(one, [0.1, 0.9, 0, 0])
    turns = torch.where((torch.arange(len(near)) % 2 == 0)[:, None, None], near, far)
    middle = lambda answer: ways.middle(
        ways._placed(ways.histogram(answer, one), dict(dimension=3, setting="x", seed=0))
    ).iloc[0]
    assert middle(made(one, [0.5, 0.5, 0, 0])).traces == pytest.approx(1, abs=2e-3)
    assert middle(turns).traces == 0 and middle(turns).mixture > 0.1
    pure = ways.histogram(made(one, [0, 1.0, 0, 0]), one)
    assert pure.traces.iloc[-1] == pytest.approx(1) and pure.bin.tolist() == pytest.approx(np.arange(11) / 10)


def test_other_label_counts_are_refused():
    with pytest.raises(ValueError, match="labels must be 4"):
        ways.prompts_of(TaskConfig.compact(3, 8))


def test_a_run_is_asked_at_its_checkpoints(tmp_path, monkeypatch):
    config = settings.preset("fast-0", 2, 4, seed=3, steps=20, batch_size=4, evaluate_every=10)
    config = replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))
    (
        monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2),
        monkeypatch.setattr(training, "FINAL_TRACES", 3),
        monkeypatch.setattr(ways, "EARLIEST", 17),
    )
    run, few = training.train(config, tmp_path / config.name), ways.prompts_of(config.task, haystacks=2, traces=3)
    found = ways.of_run(run.folder, few)
    # of 0, 16, 19, 20
    assert set(found) == set(ways.TABLES) and sorted(found["ways"].examples.unique()) == [0, 4 * 19, 4 * 20]
    again = ways.of_model(training.trained_model(run).predict, config.task, few)["ways"]
    assert found["ways"].query("examples == 80")[["label", "observed"]].to_numpy() == pytest.approx(
        again[["label", "observed"]].to_numpy(), abs=1e-3
    )
    bare = runs.keep(run, tmp_path / "bare")
    with pytest.raises(ValueError, match="run must have weights"):
        ways.of_run(bare.folder, few)


# --- the four ways
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", (3, 5))
def test_every_way_passes_its_own_criterion_alone(exact, n):
    table = ways.quantities(exact)
    levels = ways.thresholds(table)[n]
    for way in ways.WAYS:
        row = table[(table.dimension == n) & (table.setting == way)].iloc[0]
        assert [name for name in ways.WAYS if row[name] >= levels[name]] == [way]


def test_bayes_takes_a_new_label_for_a_new_system(exact, prompts):
    table = exact["ways_unseen"].query("setting == 'bayes' and k == 2")
    assert len(table) == 2 and (table.observed == 0).all()
    said = Bayes(TASK).predict(prompts["unseen"].inputs)[:, prompts["unseen"].query_row + 1]
    assert said.abs().max() < 1e-6
    assert (exact["ways_unseen"].query("setting == 'match' and k == 2").observed == 1).all()


def test_exact_predictors_by_hand(exact):
    first = exact["ways"].query("k == 1 and dimension == 3").set_index("setting")
    assert first.loc["match", list(ways.ROLES)].tolist() == pytest.approx([0.25] * 4, abs=1e-3)
    assert first.loc["look up", "label"] == 1 and first.loc["carry on", "recent"] == 1
    assert set(ways.WAYS.values()) == {Pool, CarryOn, Match, Named}


# --- dates
# --------------------------------------------------------------------------------------------------------------


def test_first_showing_by_hand():
    found = ways.first_showing([0, 100, 200, 400], [0.0, 0.2, 0.6, 0.1], 0.4)
    assert (found.after, found.by, found.examples) == (100, 200, 400) and found.date == pytest.approx(
        100 * math.sqrt(2)
    )
    assert not ways.first_showing([0, 100], [0.0, 0.3], 0.4).reached


def story(seeds=8, n=5, **changes):
    """Made-up tables of models in which the ways show in the order pool, match, carry on, look up; the label comes
    to rule k = 2.
    """
    at = dict(pool=1, match=2, carry=3, look=5, far=5, take=99, forget=6, end=8) | changes
    rows = {name: [] for name in ("ways", "ways_lags", "ways_unseen", "ways_histogram")}
    cells = [("fast-1", seed, 1000 * 2**t, t) for seed in range(300, 300 + seeds) for t in range(at["end"])] + [
        ("pool", -1, 0, 0),
        ("bayes", -1, 0, -1),
    ]
    for setting, seed, examples, t in cells:
        cell = dict(dimension=n, setting=setting, seed=seed, examples=examples)
        looks, follows = float(t >= at["look"]), float(t >= at["take"])
        to = {f"nearest_{role}": 0.25 for role in ways.ROLES}
        pooled = 0.2 * (at["pool"] <= t < at["match"]) if seed >= 0 else 0.2
        observed = (1 - follows) * (t >= at["match"]) if seed >= 0 else 0.0
        rows["ways"] += [
            dict(**cell, k=1, label=looks, observed=0.0, recent=0.1, other=0.0, explained=1.0, **to),
            dict(
                **cell,
                k=2,
                label=pooled + follows,
                observed=pooled + observed,
                recent=pooled,
                other=pooled,
                explained=1.0,
                **to,
            ),
        ]
        for lag in ways.LAGS:
            near = float(t >= at["carry"] if lag == 1 else t >= at["far"])
            rows["ways_lags"].append(
                dict(**cell, lag=lag, score=near, named=near, nearest=1.0, to_named=near, to_nearest=0.8 - 0.7 * near)
            )
        rows["ways_unseen"].append(
            dict(
                **cell,
                k=2,
                observed=float(at["match"] <= t < at["forget"]) + 0.001 * (seed % 3) * (seed >= 0),
                other=0.0,
                explained=1.0,
            )
        )
        if t == at["end"] - 1:
            rows["ways_histogram"] += [
                dict(dimension=n, setting=setting, seed=seed, bin=b / 10, traces=1 / 11, mixture=float(b == 5))
                for b in range(11)
            ]
    return {name: pd.DataFrame(each) for name, each in rows.items()}


def test_dates_of_a_story():
    found = ways.showings(story())
    dates = found[found.seed == 300].set_index("way").by
    assert dates.to_dict() == {"pool": 2000, "match": 4000, "carry on": 8000, "look up": 32000}
    # reaching back ends carrying on alone
    assert found[found.way == "carry on"].kept.sum() == 0 and found[found.way == "look up"].kept.all()
    text = prose_ways.order(found)
    assert (
        "*pool* → *match* → *carry on* → *look up*" in text
        and "*match* before *look up* in 8 of 8 seeds (one-sided sign test p = 0.004)" in text
        and "All four ways show in 8 of 8 runs" in text
    )


def test_order_turns_with_the_data():
    text = prose_ways.order(ways.showings(story(match=6, look=3, far=3, carry=2)))
    assert (
        "*match* before *look up* in 0 of 8 seeds (one-sided sign test p = 1.000)" in text
        and "*look up* → *match*" in text
    )
    never = prose_ways.order(ways.showings(story(carry=5)))
    assert (
        "All four ways show in 0 of 8 runs" in never
        and "Never seen in any of 8 seeds: *carry on* (largest value 0.00)" in never
    )
    ends = prose_ways.ends(story()["ways"]).set_index("k")
    assert (
        ends.loc[1, "label, weight"] == "1.00 (1.00 to 1.00)"
        and ends.loc[2, "observed, weight"] == "1.00 (1.00 to 1.00)"
    )
    page = prose_ways.dated(ways.showings(story(carry=5))).set_index("way")
    assert (
        page.loc["carry on", "shows in"] == "0 of 8"
        and page.loc["carry on", "thousand examples, median"] == "never"
        and page.loc["carry on", "kept to the end"] == "–"
    )
    assert page.loc["match", "thousand examples, median"] == "3"  # between 2,000 and 4,000


def test_ways_of_one_checkpoint_are_a_tie():
    found = ways.showings(story(match=5))
    assert "*match* before *look up* in 0 of 8 seeds" in prose_ways.order(
        found
    ) and "between the same two checkpoints in 8" in prose_ways.order(found)


def test_lag_turns_with_the_data():
    dates = ways.lag_dates(story()["ways_lags"])
    assert dates["lag 4"].tolist() == pytest.approx([16000 * math.sqrt(2)] * 8) and dates[
        "lag 1"
    ].tolist() == pytest.approx([4000 * math.sqrt(2)] * 8)
    text = prose_ways.by_lag(story()["ways_lags"])
    assert (
        "comes earlier" in text
        and "2.00 (2.00 to 2.00) doublings" in text
        and "0.80 (0.80 to 0.80) of the answers to a label that names lag 2 point at lag 1" in text
    )
    assert "comes *later*" in prose_ways.by_lag(story(carry=6, far=3)["ways_lags"])
    late = prose_ways.by_lag(story(far=99)["ways_lags"])
    assert "at least" in late and "lag 4 in 0" in late and "8 had not reached lag 4" in late


def test_carrying_on_turns_with_the_data():
    tables = story()
    assert "no model carries on" in prose_ways.carried(tables["ways"])
    tables["ways"].loc[tables["ways"].k == 1, "recent"] = 0.7
    assert "carry on whatever the label says" in prose_ways.carried(tables["ways"])


def test_say_turns_with_the_data():
    early = prose_ways.say(ways.says(story(take=3)["ways"]))
    assert (
        "the label has a say at k = 2 *before* k = 1" in early
        and "in 8 of 8 seeds, after it in 0 (two-sided sign test p = 0.008)" in early
    )
    later = prose_ways.say(ways.says(story(take=7)["ways"]))
    assert "the label has a say at k = 2 *after* k = 1" in later and "+2.00 (+2.00 to +2.00) doublings" in later
    # all of them ties
    assert "neither ever in 8" in prose_ways.say(
        ways.says(story(look=99)["ways"])
    ) and "too few seeds" in prose_ways.say(ways.says(story(take=5)["ways"]))
    assert "too few seeds" in prose_ways.say(ways.says(story(seeds=3)["ways"]))
    seven = ways.says(story(take=3)["ways"])
    seven.loc[(seven.seed == 300) & (seven.k == 2), ["after", "date", "by"]] = math.nan
    assert "no clear order" in prose_ways.say(seven) and "p = 0.070" in prose_ways.say(seven)


def test_unseen_turns_with_the_data():
    bayesian = ways.collapses(story())
    assert (
        bayesian.fell.notna().all()
        and (bayesian.kind == "observation-led").all()
        and (bayesian.fell > bayesian["looked up"]).all()
    )
    text = prose_ways.unseen(bayesian)
    assert (
        "*as Bayes*" in text
        and "the fall comes *after* look-up (fall before look-up in 0 of 8 seeds, after it in 8, two-sided sign test "
        "p = 0.008)"
        in text
        and "+3.00 (+3.00 to +3.00) doublings" in text
    )
    stubborn = prose_ways.unseen(ways.collapses(story(forget=99)))
    assert (
        "*not as Bayes*" in stubborn
        and "(8 had not by the end)" in stubborn
        and "fell below ½ for good in 0 of the 8" in stubborn
        and "the fall comes *after* look-up" in stubborn
    )
    early = prose_ways.unseen(ways.collapses(story(forget=4)))
    assert "the fall comes *before* look-up (fall before look-up in 8 of 8 seeds, after it in 0" in early


def test_kinds_by_hand():
    assert set(ways.kinds(story()["ways"])) == {"observation-led"} and set(ways.kinds(story(take=6)["ways"])) == {
        "label-led"
    }
    assert set(ways.kinds(story(look=99, far=99)["ways"])) == {"no look-up"}


def test_mixture_turns_with_the_data():
    tables = story()
    tables["ways"].loc[tables["ways"].k == 2, ["label", "observed"]] = 0.5
    assert "either/or" in prose_ways.mixture(tables)  # flat, against a peak in the middle
    assert "no purer than that" in prose_ways.mixture(
        tables | {"ways_histogram": tables["ways_histogram"].assign(traces=lambda f: f.mixture)}
    )
    assert "observation-led" in prose_ways.mixture(story()) and "either/or" not in prose_ways.mixture(story())


class FakeRun:
    def __init__(self, run, seed):
        self.config, self.history, self.manifest = run.config | dict(seed=seed), run.history, run.manifest


def test_bigram_turns_with_the_data():
    lags = pd.DataFrame(
        [
            dict(dimension=5, setting="no-repeats", seed=seed, examples=100, lag=lag, score=0.9)
            for seed in range(300, 305)
            for lag in ways.LAGS
        ]
    )
    when = lambda setting, near, far: pd.DataFrame(
        [
            dict(
                dimension=5,
                setting=setting,
                seed=seed,
                near=near,
                far=far * (1 + 0.01 * (seed - 302)),
                fit=1.0,
                end=99.0,
            )
            for seed in range(300, 305)
        ]
    )
    tables = dict(ways_lags=lags, ways_starts=pd.concat([when("fast-1", 10, 40), when("no-repeats", 20, 20)]))
    run = next(
        run
        for run in runs.load_all("atlas")
        if (run.config["task"]["dimension"], run.config["task"]["labels"], run.config["setting"]) == (5, 4, "fast-1")
    )
    finished, date = [FakeRun(run, seed) for seed in range(300, 305)], measures.dates(run, 4)["1-after"].date
    assert date > 0
    cues = pd.DataFrame(
        [
            dict(setting="no-repeats", dimension=5, seed=seed, **{"1-after N=4": 2 * date + seed})
            for seed in range(300, 305)
        ]
    )
    text = prose_ways.bigram(tables, cues, finished)
    assert "*refuted* of finished models" in text and "*later*" in text and "+1.0" in text
    assert (
        "without repeats the head start is smaller, and none is clearly left" in text
        and "lag 1 ahead of lag 2 by +2.00 (+2.00 to +2.00) doublings more" in text
    )
    gone = tables | dict(ways_lags=lags.assign(score=lags.score.where(lags.lag > 1, 0.1 + 0.01 * (lags.seed - 300))))
    assert "*survives*: without repeats in training there is no recall at lag 1" in prose_ways.bigram(
        gone, cues, finished
    ) and "which is below 0" in prose_ways.bigram(gone, cues, finished)
    swapped = tables | dict(ways_starts=pd.concat([when("fast-1", 20, 20), when("no-repeats", 10, 40)]))
    assert "*refuted*: without repeats the head start is larger" in prose_ways.bigram(swapped, cues, finished)
    less = tables | dict(ways_starts=pd.concat([when("fast-1", 10, 80), when("no-repeats", 10, 40)]))
    assert "though some is left" in prose_ways.bigram(less, cues, finished)
    assert "*undecided*: 0 models" in prose_ways.bigram(tables | dict(ways_lags=lags.assign(score=0.0)), cues, finished)
    never = tables | dict(ways_starts=pd.concat([when("fast-1", 10, math.nan), when("no-repeats", 20, 20)]))
    assert "ahead of lag 2 by +3.3" in prose_ways.bigram(never, cues, finished)  # its end, 99, as a bound


def test_starts_by_hand():
    run = next(
        run
        for run in runs.load_all("atlas")
        if run.config["task"]["dimension"] == 3 and run.config["task"]["labels"] == 4
    )
    row = ways.starts(run).iloc[0]
    assert (
        row.far == pytest.approx(measures.dates(run, 2)["1-after"].date, nan_ok=True)
        and row.end == run.history.examples.max()
    )
    weight = (
        run.history.query("systems == 2 and condition == 'misdirected' and event == 'query' and k == 1")
        .set_index("examples")
        .weight_label_state
    )
    assert weight[weight.index < row.near].median() < 0.5 < weight[weight.index > row.near].median()


# --- committed
# ----------------------------------------------------------------------------------------------------------


def test_committed_exact_rows_are_computed_again(committed):
    again = ways.exact(TASK)
    for name in ("ways", "ways_lags", "ways_unseen"):
        rows = committed[name].query("seed == -1 and dimension == 3").drop(columns=["setting"])
        mine = again[name].sort_values("setting", kind="stable").drop(columns=["setting"])
        assert np.nan_to_num(rows.to_numpy(float)) == pytest.approx(np.nan_to_num(mine.to_numpy(float)), abs=0.02)


def test_committed_models_end_where_the_atlas_says(committed):
    """By another route: the final tables of the runs, on prompts of their own, have 1-after-query at N = 4 with the
    farthest needle.
    """
    lags = ways.trained(committed["ways_lags"]).query("lag == 4").groupby(ways.RUN).score.last()
    found = {
        (r.config["task"]["dimension"], r.config["setting"], r.config["seed"]): claims.last(r, 1, "score", systems=4)
        for r in runs.load_all("atlas")
        if r.config["task"]["labels"] == 4 and r.config["setting"] == "fast-1"
    }
    assert len(lags) == 16
    assert lags.tolist() == pytest.approx([found[key] for key in lags.index], abs=0.12)


def test_committed_tables_are_whole(committed):
    for name in ("ways", "ways_lags", "ways_unseen"):
        table = ways.trained(committed[name])
        assert (
            table.groupby(["dimension", "seed"]).ngroups == 16
            and (table.groupby(ways.CELL).size() == (4 if name == "ways_lags" else 3)).all()
        )
    assert committed["ways_histogram"].groupby(["dimension", "setting", "seed"]).traces.sum().between(0.99, 1.01).all()


def test_committed_starts_are_those_of_the_atlas(committed):
    table = committed["ways_starts"].query("setting == 'fast-1'").set_index(["dimension", "seed"])
    own = [
        r
        for r in runs.load_all("atlas")
        if r.config["setting"] == "fast-1"
        and r.config["task"]["labels"] == 4
        and (r.config["task"]["dimension"], r.config["seed"]) in table.index
    ]
    assert len(own) == len(table) == 16
    for run in own:
        again = ways.starts(run).iloc[0]
        assert again.to_numpy(float) == pytest.approx(
            table.loc[(run.config["task"]["dimension"], run.config["seed"]), again.index].to_numpy(float),
            rel=1e-2,
            nan_ok=True,
        )
    cues = data.table("cues").query("setting == 'no-repeats'").set_index("seed")["1-after N=2"]
    far = committed["ways_starts"].query("setting == 'no-repeats'").set_index("seed").far
    assert far.tolist() == pytest.approx(cues[far.index].tolist(), rel=1e-3)


def test_page_has_no_holes(committed):
    texts = [
        prose_ways.order(ways.showings(committed), committed["ways_starts"]),
        prose_ways.carried(committed["ways"]),
        prose_ways.say(ways.says(committed["ways"])),
        prose_ways.by_lag(committed["ways_lags"]),
        prose_ways.unseen(ways.collapses(committed)),
        prose_ways.mixture(committed),
        prose_ways.bigram(committed, data.table("cues"), runs.load_all("atlas")),
        prose_ways.dated(ways.showings(committed)).to_string(),
        prose_ways.ends(committed["ways"]).to_string(),
        prose_ways.order(ways.showings(committed, "adamw.heads-2"), committed["ways_starts"]),
    ]
    assert not any("nan" in text for text in texts)


def test_figures_draw_what_can_be_picked(committed):
    settings = ["fast-1", "adamw.heads-2"]
    table = ways.curves(committed, settings)
    assert table.groupby(["dimension", "setting", "k"]).ngroups == 12
    for chart in (
        charts.ways_curves(table, dict(dimension=5, setting="fast-1")),
        charts.lag_curves(ways.lag_curves(committed, settings), dict(dimension=3, setting="fast-1")),
    ):
        assert "pick_ways_dimension" in chart.to_json() and "no committed run" not in chart.to_json()
    shares = ways.shares(committed)
    assert "pick_model" in charts.label_shares(shares, shares.model.iloc[0]).to_json()
