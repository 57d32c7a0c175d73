"""The study's curves on the identification score."""

import math

import numpy as np
import pytest

from recall.prose import verdicts
from recall.studies.when import charts, published


def test_blind_median_of_next_states_by_simulation():
    """The closed form for k = 1 against draws, and k = 2 at N = 2 by its own law: ||y||^2 (1 - cos)/2."""
    draws = np.random.default_rng(0).normal(size=(200_000, 3, 5)) / math.sqrt(5)
    apart = np.square(draws.mean(1) - draws[:, 0]).sum(-1)
    assert published.blind_median(3, 1) == pytest.approx(np.median(apart), abs=0.005)
    way = np.random.default_rng(1).normal(size=(200_000, 5))
    cosine, norm = way[:, 0] / np.linalg.norm(way, axis=1), np.square(draws[:, 0]).sum(-1)
    assert published.blind_median(2, 2) == pytest.approx(np.median(norm * (1 - cosine) / 2), abs=0.005)


@pytest.mark.standard
def test_the_study_rescored():
    """Points that the study gives in its text, and the two rules' dates."""
    curves = published.curves()
    assert len(curves) == 5 * 2 * 36
    at = curves.query("systems == 2 and k == 2").set_index("examples")["median"]
    assert at.iloc[np.abs(at.index.to_numpy() - 10_200_000).argmin()] == pytest.approx(0.216, abs=0.01)
    dates = published.dates(curves).set_index("N")
    assert dates["2-after (median < ½)"].loc[2] < 1.6
    assert dates["1-after (median < ½)"].loc[19] == pytest.approx(26, abs=1)
    assert dates["2-after (score ½)"].between(10, 14).all() and dates["ratio (score ½)"].between(1.8, 2.5).all()
    assert dates["2-after (score 0.9)"].loc[19] > 2 * dates["2-after (score 0.9)"].loc[2]
    assert dates["ratio (score 0.9)"].loc[19] < 1
    assert "from 2 to 19" in verdicts.rescored(dates.reset_index())
    charts.study_curves(curves)
