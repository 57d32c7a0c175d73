"""Rules that models may answer by, by hand; what the committed tables must hold."""

from pathlib import Path

import pytest
import torch

from recall import data, measures, runs
from recall.config import to_json
from recall.interventions import apply
from recall.needle import needle_prompts
from recall.settings import preset, vary
from recall.studies.which_way import as_if
from recall.studies.which_way.bayes import EXACT, gather, weigh
from recall.task import TaskConfig

CONFIG = TaskConfig.compact(dimension=3, labels=4)


def test_share_of_by_hand():
    observed, label = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    assert as_if.share_of(observed, observed, label).tolist() == [0, 0]
    assert as_if.share_of(label, observed, label).tolist() == [1, 1]
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
    for each in as_if.answers(CONFIG, 2, 4, 4, as_if.SHOWN):
        limit = each.prompts.observations.norm(dim=-1).max() * 1.01
        bounded = (*each.bayes.values(), each.rules[as_if.DEAF])
        assert len(each.bayes) == 25 and all((one.norm(dim=-1) < limit).all() for one in bounded), each.condition


def test_a_rule_is_nearest_to_itself(monkeypatch):
    """A "model" that is a rule has distance 0 to it under every condition, and is recognised by it."""
    run = runs.Run(None, to_json(preset("fast-1", 3, 4, 0)), None, None, {})
    monkeypatch.setattr(as_if, "kind", lambda run: "label-led")
    for rule, make in (("by label", as_if.RULES["by label"]), ("pool", as_if.RULES["pool"])):
        monkeypatch.setattr(as_if, "trained_model", lambda run, make=make: make(CONFIG))
        table = as_if.distances([run], haystacks=2, traces=2)
        assert set(table.rule) == set(as_if.SIMPLEST)
        own = table[table.rule == rule]
        assert len(own) == 9 and own.distance.max() == 0
        assert as_if.nearest(table).nearest.str.contains(rule).all()
    with_label = as_if.shares([run], haystacks=2, traces=2).iloc[0]  # of the pool: whatever it is, the shares sum to 1
    assert with_label[["low", "middle", "high"]].sum() == pytest.approx(1)


def test_beaten_asks_only_generators_that_bayes_knows(monkeypatch):
    of = lambda **task: runs.Run(
        Path("made-up"), to_json(vary(preset("fast-1", 2, 4, 0), "x", task=task)), None, None, {}
    )
    sure, errs, frozen = of(), of(label_error=0.1), of(library=20)
    assert as_if.of_exact([sure, errs, frozen, of(family="equal")]) == [sure]
    monkeypatch.setattr(as_if, "trained_model", lambda run: as_if.Bayes(as_if.from_json(run.config).task))
    row = as_if.beaten([sure], traces=6).iloc[0]
    assert row.gap == row.low == row.high == 0 and row.model == row.bayes
    with pytest.raises(ValueError, match="run must be one with exact labels"):
        as_if.beaten([errs])


@pytest.mark.standard
def test_committed_tables_hold_together():
    table, gaps, shares = (data.table(name) for name in ("as_if", "beaten", "label_shares"))
    assert (table.distance >= 0).all() and set(table.rule) == set(as_if.SIMPLEST)
    assert ((shares[["low", "middle", "high"]].sum(axis=1) - 1).abs() < 1e-3).all()
    assert ((gaps.model - gaps.bayes - gaps.gap).abs() < 1e-3).all()
    cell = list(measures.CELL)
    kinds = measures.kinds(runs.load_all("atlas"))
    own = table.drop_duplicates(cell).set_index(cell).kind
    own = own[own.index.isin(kinds.index)]
    assert len(own) == 16 and (own == kinds.loc[own.index]).all()
    wide = table.pivot_table(index=["condition", *cell, "k"], columns="rule", values="distance")
    # with one system named by the segment before, carrying on and believing the label are one answer
    wrong = wide.loc["misdirected"]
    assert ((wrong["carry on"] - wrong["by label"]).abs() < 1e-3).all()
    # the right label's course is what is observed
    plain = wide.loc["plain"].query("k > 1")
    assert ((plain[as_if.COURSE] - plain["by label"]).abs() < 1e-3).all()
