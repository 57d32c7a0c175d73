import pandas as pd
import torch

from recall import data, measures, runs
from recall.interventions import apply
from recall.measures import kind
from recall.needle import needle_prompts
from recall.prose import as_if as prose_as_if
from recall.studies.which_way import as_if
from recall.studies.which_way.bayes import EXACT, gather, weigh
from recall.task import TaskConfig

CONFIG = TaskConfig.compact(dimension=3, labels=4)


def test_share_of_by_hand():
    observed, label = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    assert as_if.share_of(observed, observed, label).tolist() == [0, 0] and as_if.share_of(
        label, observed, label
    ).tolist() == [1, 1]
    assert as_if.share_of(torch.tensor([[0.5, 9.0], [7.0, 2.0]]), observed, label).tolist() == [0.25, 0.5]


def test_bayes_on_a_misdirected_open_label_by_hand():
    """Two systems in two segments; m of 2, 3, 4 has then weights 1/2, 2/3, 3/4 (over m)."""
    p, prompts = 0.2, apply("misdirected", needle_prompts(CONFIG, 2, haystacks=2, traces=2), CONFIG)
    weights = weigh(gather(prompts.inputs, CONFIG), p)[:, prompts.query_row]
    share = torch.tensor([1 / 2, 2 / 3, 3 / 4]).double()
    share = share / share.sum()
    seen = (share / torch.tensor([2.0, 3.0, 4.0])).sum()
    named, other, new = seen * (1 - p + p / 4), seen * p / 4, (1 - 2 * seen) * p / 4
    b = torch.arange(4)
    assert torch.allclose(weights[b, prompts.segments.label[b, -1]], (named / (named + other + new)).expand(4))


def test_bayes_after_a_state_that_contradicts_the_label():
    """Two hypotheses left of which one is excluded by an exact state: with any label error the observed system has
    it all.
    """
    prompts = apply("misdirected", needle_prompts(CONFIG, 2, haystacks=2, traces=2), CONFIG)
    weights = weigh(gather(prompts.inputs, CONFIG, EXACT), 0.05)[:, prompts.query_row + 1]
    b = torch.arange(4)
    assert (weights[b, prompts.segments.label[b, 0]] > 0.999).all()


def test_bayes_stays_bounded_under_any_label_error():
    """A weighted mean of candidates' next states, all of the states' norms: never far from them."""
    for condition, prompts, _, rules, bayes in as_if._answers(CONFIG, 2, 4, 4, as_if.SHOWN):
        limit = prompts.observations.norm(dim=-1).max() * 1.01
        assert all((each.norm(dim=-1) < limit).all() for each in (*bayes.values(), rules[as_if.DEAF])), condition


def test_equal_prompts_have_equal_norms():
    config = TaskConfig.compact(dimension=3, labels=4, family="equal")
    norms = needle_prompts(config, 3, haystacks=2, traces=2).observations.norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-4)


def made_up(label: float, state: float) -> pd.DataFrame:
    cell = dict(
        dimension=5,
        labels=4,
        setting="fast-1",
        kind="label-led",
        label_error=0.01,
        noise=0.1,
        condition="misdirected",
        k=2,
    )
    return pd.DataFrame(
        [
            cell | dict(seed=seed, rule=rule, distance=value)
            for seed in range(3)
            for rule, value in (("by label", label), ("by state", state))
        ]
    )


def test_verdicts_turn_with_the_data():
    assert "by label in 3 of 3" in prose_as_if.explained(
        made_up(0.01, 1.0)
    ) and "by state in 3 of 3" in prose_as_if.explained(made_up(1.0, 0.5))
    assert "close enough" in prose_as_if.explained(made_up(0.01, 1.0)) and "still 0.50" in prose_as_if.explained(
        made_up(1.0, 0.5)
    )
    gaps = pd.DataFrame(dict(gap=[0.1, 0.2], low=[0.05, 0.1], high=[0.15, 0.3]))
    assert prose_as_if.bound(gaps).startswith("No model beats") and prose_as_if.bound(
        -gaps.rename(columns=dict(low="high", high="low"))
    ).startswith("2 of 2")
    shares = pd.DataFrame([dict(setting="a", kind="label-led", low=0.0, middle=0.1, high=0.9)])
    assert "most prompts are near" in prose_as_if.mixture(shares) and "most answers lie between" in prose_as_if.mixture(
        shares.assign(middle=0.9, high=0.1)
    )
    finals = pd.DataFrame(
        [
            dict(kind=each, dimension=5, systems=2, k=k, error=error, seed=seed)
            for seed in range(3)
            for k in (1, 2, 3)
            for each, error in (("label-led", 0.1), ("observation-led", 0.2))
        ]
    )
    assert "lower error is label-led" in prose_as_if.losses(finals) and "one picture" not in prose_as_if.losses(finals)
    assert "lower error is observation-led" in prose_as_if.losses(
        finals.assign(error=-finals.error)
    ) and "one picture" in prose_as_if.losses(finals[finals.seed == 0])
    column = "label index 2 N=2"
    atlas = pd.DataFrame(
        [
            dict(setting="fast-1", dimension=5, labels=4, seed=seed) | {column: value}
            for seed, value in ((300, 0.1), (304, 0.5))
        ]
    )
    ends = lambda a, b: atlas.assign(setting="long").assign(**{column: [a, b]})
    assert "compatible with one" in prose_as_if.longer(
        ends(0.9, 1.0), atlas
    ) and "not one end state" in prose_as_if.longer(ends(0.1, 1.0), atlas)
    assert "stands open" in prose_as_if.longer(ends(0.9, 1.0).assign(dimension=3), atlas.assign(dimension=3))


def test_committed_tables_hold_together():
    table, gaps, shares = (data.table(name) for name in ("as_if", "beaten", "label_shares"))
    assert (table.distance >= 0).all() and set(table.rule) == {
        as_if.FITTED,
        as_if.DEAF,
        as_if.COURSE,
        as_if.HALFWAY,
        *as_if.RULES,
    }
    assert ((shares[["low", "middle", "high"]].sum(axis=1) - 1).abs() < 1e-3).all() and (
        (gaps.model - gaps.bayes - gaps.gap).abs() < 1e-3
    ).all()
    for run in runs.load_all("atlas"):
        own = table[
            (table[measures.CELL[0]] == run.config["task"]["dimension"])
            & (table.labels == run.config["task"]["labels"])
            & (table.setting == run.config["setting"])
            & (table.seed == run.config["seed"])
        ]
        assert set(own.kind) <= {kind(run)}
    # with one system named by the segment before, carrying on and believing the label are one answer
    wrong = table[(table.condition == "misdirected")].pivot_table(
        index=[*measures.CELL, "k"], columns="rule", values="distance"
    )
    plain = table[(table.condition == "plain") & (table.k > 1)].pivot_table(
        index=[*measures.CELL, "k"], columns="rule", values="distance"
    )
    # the right label's course is what is observed
    assert ((plain[as_if.COURSE] - plain["by label"]).abs() < 1e-3).all()
    assert ((wrong["carry on"] - wrong["by label"]).abs() < 1e-3).all()


def test_verdicts_on_dates_and_lies_turn_with_the_data():
    runs_ = lambda setting, *dates: pd.DataFrame(
        [
            {"setting": setting, "dimension": 5, "labels": 4, "seed": i, "1-after N=2": date}
            for i, date in enumerate(dates)
        ]
    )
    usual, never = runs_("fast-1", 1e4, 2e4, 3e4), float("nan")
    assert "3 of 3" in prose_as_if.no_bigram(
        runs_("no-repeats", 2e4, 3e4, 4e4), usual
    ) and "not what recall over a distance takes" in prose_as_if.no_bigram(runs_("no-repeats", 2e4, 3e4, 4e4), usual)
    without = prose_as_if.no_bigram(runs_("no-repeats", never, never, 4e4), usual)
    assert "not learnt in most" in without and "not by the end" in without and "Ratio" not in without
    index = lambda a, b: pd.DataFrame(
        [{"setting": "error-0.2-noise-0", "label index 2 N=2": a}, {"setting": "study-8", "label index 2 N=2": b}]
    )
    assert (
        "depends on training" in prose_as_if.lies(index(0.0, 1.0))
        and "All trainings" in prose_as_if.lies(index(0.0, 0.1))
        and "No training" in prose_as_if.lies(index(1.0, 0.9))
    )
