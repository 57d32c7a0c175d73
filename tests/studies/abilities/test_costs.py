"""What each setting takes, over made-up prices."""

import math
from dataclasses import replace

import pandas as pd

from recall import measures, settings
from recall.studies.abilities import charts, costs

nan = math.nan
CELL = dict(labels=4, limit=9, limit_seconds=7)


def prices(settings_: dict, dimension: int = 3) -> pd.DataFrame:
    """settings_: name -> score at the end, and seconds until both of every seed."""
    rows = [
        CELL | {"dimension": dimension, "setting": name, "score": score, "both seconds": s, "both tokens": s}
        for name, (score, *seconds) in settings_.items()
        for s in seconds
    ]
    return pd.DataFrame(rows)


def test_price_table_counts_and_censors():
    rows = pd.concat([prices({"x": (0.8, 5, 1, 3)}), prices({"x": (0.2, 5, nan, nan)}, dimension=5)])
    small, large = costs.price_table(rows).to_dict("records")
    assert (small["runs"], small["reached"], small["both seconds"], small["slowest"]) == (3, 3, 3, 5)
    assert (round(small["score"], 9), small["limit"]) == (0.8, 9) and (large["runs"], large["reached"]) == (3, 1)
    assert math.isnan(large["both seconds"]) and math.isnan(large["slowest"])


def test_price_table_puts_the_best_setting_first():
    """More runs there, then sooner, then the better score."""
    cases = {
        "sure": (0.5, 4, 4),
        "quick": (0.5, 1, nan),
        "close": (0.4, nan, nan),
        "far": (0.1, nan, nan),
        "slow": (0.9, 6, 6),
    }
    assert costs.price_table(prices(cases)).setting.tolist() == ["sure", "slow", "quick", "close", "far"]


def test_points_put_a_missing_ability_at_the_end_of_its_run():
    row = {"dimension": 3, "setting": "x", "seed": 1, "1-after seconds": nan, "2-after seconds": 4, "limit_seconds": 9}
    rows = costs.points(pd.DataFrame([row]))
    of = rows.set_index("ability")
    assert of.seconds.to_dict() == {"1-after-query": 9.0, "2-after-query": 4.0}
    assert of.state.to_dict() == {"1-after-query": "not there when the run ended", "2-after-query": "there"}
    assert charts.prices(rows, 3).to_dict()["params"][0]["value"] == 3


def test_smaller_is_model_and_task_alone():
    ours, study = settings.preset("fast-0"), settings.preset("study-medium")
    assert costs.smaller(ours, study) == measures.trace_flops(study.model, 250) / measures.trace_flops(ours.model, 96)
    assert costs.smaller(ours, replace(ours, seed=5)) == 1
