"""Four ways to predict: what they are recognised by, when they show, and the committed tables."""

import math
from dataclasses import replace

import made_which_way as made
import numpy as np
import pytest
import torch

from recall import data, measures, runs, settings, training
from recall.evaluation import EvaluationConfig, next_states, pointed, pointing
from recall.predictors import CarryOn, Match, Named, Pool
from recall.studies.which_way import charts, ways
from recall.studies.which_way.bayes import Bayes
from recall.task import TaskConfig

TASK = TaskConfig.compact(3, 4)
WEIGHTS = [0.1, 0.5, -0.2, 0.3]  # of the four segments: observed, label, other, recent


@pytest.fixture(scope="module")
def prompts():
    return ways.prompts_of(TASK, haystacks=8, traces=12)


@pytest.fixture(scope="module")
def exact():
    return ways.exact(TASK, haystacks=4, traces=6)


@pytest.fixture(scope="module")
def committed():
    return ways.read()


def answers(prompts, weights):
    """Predictions of given weights on what each system would do next."""
    answer = torch.zeros_like(prompts.targets, dtype=torch.double)
    weights = torch.tensor(weights, dtype=torch.double)
    answer[:, prompts.query_row :] = torch.einsum("bkni,n->bki", next_states(prompts), weights)
    return answer


# --- asking one model


def test_roles_are_what_they_are_called(prompts):
    s = prompts["conflict"].segments
    assert (s.label[:, -1] == s.label[:, ways.ROLES["label"]]).all()
    assert (s.system[:, -1] == s.system[:, ways.ROLES["observed"]]).all()
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
    third = one.systems.A[system].double() @ one.targets[b, one.query_row + 1].double()
    assert torch.allclose(would[b, 2, segment], third, atol=1e-6)
    assert torch.allclose(would[:, :, 0], one.targets[:, one.query_row :].double(), atol=1e-4)  # the needle goes on


def test_known_weights_come_back(prompts):
    one = prompts["conflict"]
    weights, explained = pointed(answers(one, WEIGHTS), one)
    assert torch.allclose(weights[:3], torch.tensor(WEIGHTS).double().expand(3, 4), atol=1e-4)
    assert explained.min() > 0.999 and torch.equal(weights, pointing(answers(one, WEIGHTS), one))


def test_tables_of_known_weights(prompts):
    def predict(tokens):
        asked = next(each for each in prompts.values() if torch.equal(each.inputs, tokens))
        return answers(asked, WEIGHTS[: asked.count])

    found = ways.of_model(predict, TASK, prompts)
    row = found["ways"].query("k == 2").iloc[0]
    assert (row.observed, row.label, row.other, row.recent) == pytest.approx(WEIGHTS, abs=1e-3)
    assert row.nearest_label > 0.5 and row[[f"nearest_{role}" for role in ways.ROLES]].sum() == pytest.approx(1)
    lags = found["ways_lags"].set_index("lag")
    assert lags.named.tolist() == pytest.approx(WEIGHTS[::-1], abs=1e-3)
    assert lags.nearest.tolist() == pytest.approx(WEIGHTS[-1:] * 4, abs=1e-3)
    new = found["ways_unseen"].query("k == 2")[["observed", "other"]].iloc[0]
    assert new.tolist() == pytest.approx(WEIGHTS[:2], abs=1e-3)


def test_who_knows_nothing_has_no_weights(prompts):
    noise = torch.randn(prompts["conflict"].targets.shape, generator=torch.Generator().manual_seed(0))
    weights, explained = pointed(noise, prompts["conflict"])
    assert weights[:3].abs().max() < 0.35 and explained[:3].max() < 0.1


def test_identified_by_hand(prompts):
    one = prompts["conflict"]
    assert ways.identified(answers(one, [0, 0, 2.0, 0]), one)[:3, 2].tolist() == [1, 1, 1]


def test_histogram_tells_a_mixture_from_either_or(prompts):
    one = prompts["conflict"]
    near, far = answers(one, [0.9, 0.1, 0, 0]), answers(one, [0.1, 0.9, 0, 0])
    turns = torch.where((torch.arange(len(near)) % 2 == 0)[:, None, None], near, far)
    run = dict(dimension=3, setting="x", seed=0)
    middle = lambda answer: ways.middle(ways.histogram(answer, one).assign(**run)).iloc[0]
    assert middle(answers(one, [0.5, 0.5, 0, 0])).traces == pytest.approx(1, abs=2e-3)
    assert middle(turns).traces == 0 and middle(turns).mixture > 0.1
    pure = ways.histogram(answers(one, [0, 1.0, 0, 0]), one)
    assert pure.traces.iloc[-1] == pytest.approx(1) and pure.bin.tolist() == pytest.approx(np.arange(11) / 10)


def test_other_label_counts_are_refused():
    with pytest.raises(ValueError, match="labels must be 4"):
        ways.prompts_of(TaskConfig.compact(3, 8))


@pytest.mark.standard
def test_a_run_is_asked_at_its_checkpoints(tmp_path, monkeypatch):
    config = settings.preset("fast-0", 2, 4, seed=3, steps=20, batch_size=4, evaluate_every=10)
    config = replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)
    monkeypatch.setattr(ways, "EARLIEST", 17)
    run, few = training.train(config, tmp_path / config.name), ways.prompts_of(config.task, haystacks=2, traces=3)
    found = ways.of_run(run, few)
    # of the checkpoints 0, 16, 19, 20
    assert set(found) == set(ways.TABLES) and sorted(found["ways"].examples.unique()) == [0, 4 * 19, 4 * 20]
    again = ways.of_model(training.trained_model(run).predict, config.task, few)["ways"]
    last = found["ways"].query("examples == 80")[["label", "observed"]].to_numpy()
    assert last == pytest.approx(again[["label", "observed"]].to_numpy(), abs=1e-3)
    bare = runs.keep(run, tmp_path / "bare")
    with pytest.raises(ValueError, match="run must have weights"):
        ways.of_run(bare, few)


def test_starts_by_hand():
    """The label's weight at k = 1 passes 1/2 half way (by ratio) from 1,000 to 2,000 examples; 1-after-query from
    2,000 to 4,000, and the regression with 2-after-query, from 1,000 to 2,000.
    """
    row = ways.starts(made.dated_run(0, begins=2, goes_on=1, weight_label_state=[0.0, 1.0, 1.0, 1.0])).iloc[0]
    assert row.near == pytest.approx(1000 * math.sqrt(2)) and row.far == pytest.approx(2000 * math.sqrt(2))
    assert row.fit == pytest.approx(1000 * math.sqrt(2)) and row.end == 8000


# --- the four ways


def passed(tables, n):
    """By exact predictor, the ways whose criteria it passes."""
    table = ways.quantities(tables)
    rows, levels = table[(table.dimension == n) & (table.seed == ways.NO_SEED)], ways.thresholds(table)[n]
    return {row.setting: [name for name in ways.WAYS if row[name] >= levels[name]] for _, row in rows.iterrows()}


def test_every_way_passes_its_own_criterion_alone(exact):
    assert passed(exact, 3) == {way: [way] for way in ways.WAYS}


def test_bayes_takes_a_new_label_for_a_new_system(exact, prompts):
    table = exact["ways_unseen"].query("setting == 'bayes' and k == 2")
    assert (table.observed == 0).all() and len(table)
    said = Bayes(TASK).predict(prompts["unseen"].inputs)[:, prompts["unseen"].query_row + 1]
    assert said.abs().max() < 1e-6
    assert (exact["ways_unseen"].query("setting == 'match' and k == 2").observed == 1).all()


def test_exact_predictors_by_hand(exact):
    first = exact["ways"].query("k == 1").set_index("setting")
    assert first.loc["match", list(ways.ROLES)].tolist() == pytest.approx([0.25] * 4, abs=1e-3)
    assert first.loc["look up", "label"] == 1 and first.loc["carry on", "recent"] == 1
    assert set(ways.WAYS.values()) == {Pool, CarryOn, Match, Named}


# --- dates


def test_first_showing_by_hand():
    found = ways.first_showing([0, 100, 200, 400], [0.0, 0.2, 0.6, 0.1], 0.4)
    assert (found.after, found.by, found.examples) == (100, 200, 400)
    assert found.date == pytest.approx(100 * math.sqrt(2))
    assert not ways.first_showing([0, 100], [0.0, 0.3], 0.4).reached


def test_dates_of_a_story():
    found = ways.showings(made.story())
    dates = found[found.seed == 300].set_index("way").by
    assert dates.to_dict() == {"pool": 2000, "match": 4000, "carry on": 8000, "look up": 32000}
    # reaching back ends carrying on alone
    assert found[found.way == "carry on"].kept.sum() == 0 and found[found.way == "look up"].kept.all()


def test_dates_by_lag():
    dates = ways.lag_dates(made.story()["ways_lags"])
    assert dates["lag 4"].tolist() == pytest.approx([16000 * math.sqrt(2)] * 8)
    assert dates["lag 1"].tolist() == pytest.approx([4000 * math.sqrt(2)] * 8)


def test_who_has_the_say():
    by = ways.says(made.story(take=3)["ways"]).query("seed == 300").set_index("k").by
    assert by.to_dict() == {1: 32000, 2: 8000}


def test_when_matching_gives_way():
    found = ways.collapses(made.story())
    assert found.fell.notna().all() and (found.kind == "observation-led").all()
    assert (found.fell > found["looked up"]).all() and (found.peak > 0.9).all()
    assert ways.collapses(made.story(forget=99)).fell.isna().all()


def test_kinds_by_hand():
    of = lambda **changes: set(ways.kinds(made.story(**changes)["ways"]))
    assert of() == {"observation-led"} and of(take=6) == {"label-led"} and of(look=99, far=99) == {"no look-up"}


# --- committed


@pytest.mark.standard
def test_committed_rows_of_every_way_pass_its_own_criterion_alone(committed):
    for n in (3, 5):
        assert passed(committed, n) == {way: [way] for way in ways.WAYS}


@pytest.mark.standard
def test_committed_exact_rows_are_computed_again(committed):
    """Two digits: a model nearest to two candidates at once may be told from either on another machine."""
    again = ways.exact(TASK)
    for name in ways.OVER_TRAINING:
        rows = committed[name].query("seed == -1 and dimension == 3").drop(columns=["setting"])
        mine = again[name].sort_values("setting", kind="stable").drop(columns=["setting"])
        assert rows.to_numpy(float) == pytest.approx(mine.to_numpy(float), abs=0.02, nan_ok=True)


@pytest.mark.standard
def test_committed_models_end_where_the_atlas_says(committed):
    """By another route: the final tables of the runs, on prompts of their own, have 1-after-query at N = 4 with the
    farthest needle.
    """
    lags = ways.trained(committed["ways_lags"]).query("lag == 4").groupby(ways.RUN).score.last()
    found = {tuple(ways.run_key(run).values()): measures.final_value(run, 1, "score", 4) for run in atlas()}
    assert len(lags) == 16
    assert lags.tolist() == pytest.approx([found[key] for key in lags.index], abs=0.12)


@pytest.mark.standard
def test_committed_tables_are_whole(committed):
    for name in ways.OVER_TRAINING:
        table = ways.trained(committed[name])
        assert table.groupby(["dimension", "seed"]).ngroups == 16
        assert (table.groupby(ways.CELL).size() == (4 if name == "ways_lags" else 3)).all()
    assert committed["ways_histogram"].groupby(ways.RUN).traces.sum().between(0.99, 1.01).all()


@pytest.mark.standard
def test_committed_starts_are_those_of_the_atlas(committed):
    """The histories that are kept have four digits."""
    table = committed["ways_starts"].set_index(ways.RUN)
    assert (table.reset_index().setting == "fast-1").sum() == 16
    for run in atlas():
        key = tuple(ways.run_key(run).values())
        if key in table.index:
            again = ways.starts(run).iloc[0]
            there = table.loc[key, again.index].to_numpy(float)
            assert again.to_numpy(float) == pytest.approx(there, rel=1e-2, nan_ok=True)
            assert again.far == pytest.approx(measures.dates(run, 2)["1-after"].date, nan_ok=True)
    cues = data.table("cues").query("setting == 'no-repeats'").set_index("seed")["1-after N=2"]
    far = committed["ways_starts"].query("setting == 'no-repeats'").set_index("seed").far
    assert far.tolist() == pytest.approx(cues[far.index].tolist(), rel=1e-3)


def atlas():
    """Runs of fast-1 with 4 labels."""
    return [run for run in runs.load_all("atlas") if run.config["task"]["labels"] == ways.SYSTEMS]


@pytest.mark.standard
def test_figures_draw_what_can_be_picked(committed):
    shown = ["fast-1", "adamw.heads-2"]
    table = ways.curves(committed, shown)
    assert table.groupby(["dimension", "setting", "k"]).ngroups == 12
    for chart in (
        charts.ways_curves(table, dict(dimension=5, setting="fast-1")),
        charts.lag_curves(ways.lag_curves(committed, shown), dict(dimension=3, setting="fast-1")),
    ):
        assert "pick_ways_dimension" in chart.to_json() and "no committed run" not in chart.to_json()
    shares = ways.shares(committed)
    assert "pick_model" in charts.label_shares(shares, shares.model.iloc[0]).to_json()
