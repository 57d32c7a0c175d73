"""Why 2-after-query gets worse with N: the accounts, the tables and what is said of them."""

import math

import pandas as pd
import pytest
import torch

from recall import degradation as d
from recall import runs
from recall.settings import TaskConfig

TASK = TaskConfig.compact(5, 4)
WHO = dict(family="haar", dimension=5, labels=4, setting="x", kind="observation-led")


@pytest.mark.parametrize("account, beta", [("direction", 4.0), ("norm", 30.0), ("distance", 2.0), ("label", 1.5)])
def test_a_soft_matcher_is_recovered(account, beta):
    prompts = d.prompts_of(TASK, 2, number=256)
    seen = d.candidates(prompts)
    answers = d.SoftMatcher(TASK, prompts, account, beta).predict(prompts.inputs)[:, prompts.query_row + 1]
    assert d.fit(account, answers, seen) == pytest.approx(beta, rel=0.05)
    more = d.candidates(d.prompts_of(TASK, 4, number=256))
    assert d.r2(d.mixture(account, d.fit(account, answers, seen), more), d.mixture(account, beta, more)) > 0.99


def test_what_candidates_say_by_hand():
    """The needle's system alone goes on to the truth, and its next state is the one shown."""
    prompts = d.prompts_of(TASK, 3, "nearest", number=8)
    seen = d.candidates(prompts)
    assert torch.allclose(seen["next"][:, 2], seen["shown"][:, 0]) and torch.allclose(seen["going_on"][:, 2], seen["truth"], atol=1e-5)
    assert seen["named"].tolist() == [[False, False, True]] * 8
    named = d.mixture("label", math.log(2), seen)  # weights 1/4, 1/4, 1/2
    assert torch.allclose(named, (seen["going_on"] * torch.tensor([0.25, 0.25, 0.5])[:, None]).sum(1), atol=1e-5)


def test_the_right_system_alone_is_told_apart():
    seen = d.candidates(d.prompts_of(TASK, 2, number=256))
    right, mixed = d.mixture("right system", math.nan, seen), d.mixture("direction", 1.0, seen)
    assert d.r2(d.mixture("direction", d.fit("direction", right, seen), seen), right) > 0.999
    assert d.fit("direction", right, seen) > 20 * d.fit("direction", mixed, seen)
    assert d.r2(right, mixed) < 0.95 and d.r2(d.mixture("label-blind", math.nan, seen), right) < 0.6


def test_tertiles_by_hand():
    table = d.tertiles({"a": torch.tensor([5.0, 1, 3, 0, 4, 2])}, torch.tensor([10.0, 1, 4, 3, 20, 6]))
    assert table.error.tolist() == [2.0, 5.0, 15.0] and table.level.tolist() == [0.5, 2.5, 4.5]


def test_a_norm_matcher_loses_the_needle_among_many():
    assert d.picked(5, 2) == pytest.approx(0.93, abs=0.015) and d.picked(5, 19) == pytest.approx(0.43, abs=0.02)
    assert d.picked(5, 19, 1e-6) > 0.99


def made(rise: float, far: float = 0.0, mixing: bool = True, kin: float = 0.0):
    """Tables of five made-up seeds whose error goes from 0.1 to 0.1 + rise."""
    errors, accounts, similarity = [], [], []
    for seed in range(5):
        shift = 0.001 * seed
        for N in (2, 4):
            mean = 0.1 + rise * (N - 2) / 2 + shift * N
            for needle in d.NEEDLES:
                for edit in d.EDITS:
                    errors.append(WHO | dict(seed=seed, intervention=edit, needle=needle, systems=N, k=2, mean=mean - far * (needle == "nearest"), score=0.0))
            accounts += [WHO | dict(seed=seed, account=name, beta=1.0, intervention="plain", systems=N, error=mean, predicted=said, r2=fits)
                         for name, said, fits in (("direction", mean - 0.05 if mixing else 0.0, 0.9 if mixing else 0.7), ("right system", 0.0, 0.8))]
        similarity += [WHO | dict(seed=seed, feature="maps", tertile=t, level=0.0, error=0.1 + kin * t + shift * t) for t in (1, 2, 3)]
    return pd.DataFrame(errors), pd.DataFrame(accounts), pd.DataFrame(similarity)


def test_a_verdict_turns_with_the_data():
    assert "it grows" in d.grows(made(0.2)[0]) and "it falls" in d.grows(made(-0.05)[0])
    assert "about the growth" in d.explained(made(0.2)[1]) and "no account answers more like them" in d.explained(made(0.2, mixing=False)[1])
    assert "does not grow" in d.explained(made(-0.05)[1])
    assert "worse when alike" in d.similar(made(0.2, kin=0.1)[2]) and "better when alike" in d.similar(made(0.2, kin=-0.1)[2])
    assert "no difference shown" in d.far(made(0.2)[0]) and "too few seeds" in d.far(made(0.2)[0].query("seed < 2"))


def test_the_answer_turns_with_the_data():
    assert d.answer(*made(0.2))[1] == "answered" and "shown: interference" in d.answer(*made(0.2))[0]
    words, status = d.answer(*made(0.2, mixing=False, kin=-0.1))
    assert status == "in part" and "none of the three" in words
    assert d.answer(*made(-0.05))[1] == "undecided"
    few = d.answer(*(table.query("seed < 2") for table in made(0.2)))
    assert few[1] == "undecided" and "exploratory, n = 5, 4 labels, 2 observation-led models" in few[0]
    assert "shown: similar systems" in d.answer(*made(0.2, mixing=False, kin=0.1))[0]


def test_committed_rows_agree_with_each_other():
    errors, accounts, similarity = (runs.table(name) for name in ("degradation", "degradation_accounts", "degradation_similarity"))
    two = errors.query("k == 2 and needle == 'farthest'").set_index([*d.MODELS, "intervention", "systems"])["mean"]
    joined = accounts.set_index([*d.MODELS, "intervention", "systems"]).error
    assert (joined - two.reindex(joined.index)).abs().max() < 1e-4
    thirds = similarity.groupby([*d.MODELS, "feature"]).error.mean()  # of three thirds as large: the error of all
    plain = two.xs("plain", level="intervention").xs(2, level="systems")
    assert (thirds.unstack("feature").sub(plain, axis=0).abs() < 0.01 * plain.max()).all().all()
    blind = accounts.query("account == 'label-blind' and intervention == 'plain'")
    assert (blind.predicted - (blind.systems - 1) / blind.systems).abs().max() < 0.06  # (N - 1)/N for Haar maps
