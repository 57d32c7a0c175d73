"""Prices and differences of methods, on made-up tables."""

import pytest
from made_circuits import compared

from recall.studies.weights import methods


@pytest.mark.parametrize("joint, verdict", [(60, "it can"), (100, "it cannot"), (80, "in part")])
def test_price_of_one_circuit_for_both(joint, verdict):
    prices = methods.prices(compared(40, 60, joint))
    assert prices.price.iloc[0] == (joint - 60) / 40
    assert prices.together.iloc[0] == pytest.approx((100 / 1.2 - 60) / 40)
    assert methods.verdict(prices) == verdict
    assert methods.verdict(prices[:4]) == "undecided"


def test_differences_by_model():
    table = compared(40, 60, 60)
    both = methods.differences(table, "overlap", "noising", "again")
    assert len(both) == 6 and both.tolist() == pytest.approx([0.02] * 6)
    only = methods.differences(table, "with_first", "rewarded", "reference", "2-after")
    assert only.tolist() == pytest.approx([0.3] * 6)
    assert methods.differences(table, "overlap", "noising", "attribution").empty
