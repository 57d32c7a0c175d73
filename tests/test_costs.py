import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recall import measures, runs, settings, training
from recall.model import GPT, GPTConfig
from recall.prose import verdicts
from recall.studies.abilities import costs
from recall.task import Task


@pytest.mark.parametrize("rows, layers, width", [(7, 1, 8), (33, 3, 16)])
def test_flops_of_a_trace_by_torch_s_own_counter(rows, layers, width):
    """The counter sees every product of a real forward and backward pass."""
    config = GPTConfig(n_in=11, n_out=3, n_positions=40, n_layer=layers, n_head=2, n_embd=width)
    model = GPT(config)
    for block in model.h:
        block.attn.explicit = True  # as products, which the counter knows
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(1, rows, 11)).square().sum().backward()
    assert measures.trace_flops(config, rows) == counter.get_total_flops()


@pytest.mark.parametrize("name", ["fast-0", "adamw-0"])
def test_flops_of_a_step_by_torch_s_own_counter(name):
    """A real training step, Muon's products included."""
    config = settings.preset(name, 3, 2, batch_size=2)
    model, task = training.build_model(config), Task(config.task, 0)
    for block in model.h:
        block.attn.explicit = True
    optimisers, batch = training.optimisers(model, config.training), task.sample_batch(0, 2)
    with FlopCounterMode(display=False) as counter:
        training.step(model, optimisers, batch, config.training, 0)
    assert measures.step_flops(config) == counter.get_total_flops()


def test_flops_of_a_trace_by_hand():
    # one row, D = 1: weights 2 + 12 + 1 = 15, attention 4; forward 34, backward 68 less 2 * 2 for the tokens
    assert measures.trace_flops(GPTConfig(2, 1, 1, n_layer=1, n_head=1, n_embd=1), 1) == 3 * 34 - 4


def test_price_of_a_committed_run():
    """Tokens, FLOPs and seconds are one date in three units."""
    run = runs.load(next(name for name in runs.names() if "n3-l4-fast-0-s0" in name))
    config, line = settings.from_json(run.config), measures.price(run)
    date = measures.dates(run, 2)["1-after"].date
    assert line["1-after tokens"] == pytest.approx(date * config.task.trace_length)
    assert line["1-after flops"] == pytest.approx(date / config.training.batch_size * measures.step_flops(config))
    whole = config.training.steps * config.training.batch_size
    assert line["1-after seconds"] == pytest.approx(run.manifest["training_seconds"] * date / whole)
    assert line["both seconds"] == max(line["1-after seconds"], line["2-after seconds"])
    assert line["limit"] == whole * config.task.trace_length


def test_patience_must_have_been_met_and_an_n_must_have_been_asked():
    run = runs.load(next(name for name in runs.names() if "n3-l4-fast-0-s0" in name))
    patient = replace(run, config=run.config | {"training": run.config["training"] | {"patience": 4}})
    for ended, there in (("steps", False), ("emerged", True)):
        line = measures.price(replace(patient, manifest=run.manifest | {"ended": ended}))
        assert math.isnan(line["both seconds"]) is not there and not math.isnan(line["1-after seconds"])
    assert all(math.isnan(measures.price(run, 3)[key]) for key in ("1-after flops", "both seconds", "score"))


def test_price_table_counts_and_censors():
    rows = pd.DataFrame(
        [
            {
                "dimension": 3,
                "labels": 4,
                "setting": "x",
                "both seconds": s,
                "both tokens": s,
                "score": 0.8,
                "limit": 9,
                "limit_seconds": 7,
            }
            for s in (5, 1, 3)
        ]
        + [
            {
                "dimension": 5,
                "labels": 4,
                "setting": "x",
                "both seconds": s,
                "both tokens": s,
                "score": 0.2,
                "limit": 9,
                "limit_seconds": 7,
            }
            for s in (5, math.nan, math.nan)
        ]
    )
    small, large = costs.price_table(rows).to_dict("records")
    assert (small["runs"], small["reached"], small["both seconds"], small["slowest"]) == (3, 3, 3, 5)
    assert (
        (large["runs"], large["reached"]) == (3, 1)
        and math.isnan(large["both seconds"])
        and math.isnan(large["slowest"])
    )


def test_price_table_puts_the_best_setting_first():
    """More runs there, then sooner, then the better score."""
    nan = math.nan
    cases = {
        "sure": (0.5, 4, 4),
        "quick": (0.5, 1, nan),
        "close": (0.4, nan, nan),
        "far": (0.1, nan, nan),
        "slow": (0.9, 6, 6),
    }
    rows = [
        {
            "dimension": 3,
            "labels": 4,
            "setting": name,
            "score": score,
            "both seconds": s,
            "limit": 9,
            "limit_seconds": 7,
        }
        for name, (score, *seconds) in cases.items()
        for s in seconds
    ]
    assert costs.price_table(pd.DataFrame(rows)).setting.tolist() == ["sure", "slow", "quick", "close", "far"]


def test_sentences_say_what_the_table_says():
    nan = math.nan
    row = lambda setting, reached, seconds, tokens: dict(
        dimension=3,
        labels=4,
        setting=setting,
        runs=8,
        reached=reached,
        limit=4.8e6,
        limit_seconds=100.4,
        **{"both seconds": seconds, "both tokens": tokens},
    )
    table = pd.DataFrame([row("adamw-1", 1, nan, nan), row("fast-1", 8, 50.2, 2e6), row("slow-1", 8, 90.0, 3e6)])
    assert verdicts.price(table) == (
        "* **n = 3**: `fast-1` both abilities in 8 of 8 seeds, after a median of 50 s and 2.0 million tokens; "
        "`adamw-1` both abilities in 1 of 8 seeds by 4.8 million tokens (100 s), where the runs ended: at least 2.4 "
        "times the tokens of `fast-1`; "
        "`slow-1` both abilities in 8 of 8 seeds, after a median of 90 s and 3.0 million tokens: 1.5 times the "
        "tokens of `fast-1`."
    )
    short = table.assign(limit=1e6)
    assert "by 1.0 million tokens (100 s), where the runs ended, too few for a comparison;" in verdicts.price(short)


def test_points_put_a_missing_ability_at_the_end_of_its_run():
    prices = pd.DataFrame(
        [
            {
                "dimension": 3,
                "setting": "x",
                "seed": 1,
                "1-after seconds": math.nan,
                "2-after seconds": 4.0,
                "limit_seconds": 9.0,
            }
        ]
    )
    rows = costs.points(prices).set_index("ability")
    assert rows.seconds.to_dict() == {"1-after-query": 9.0, "2-after-query": 4.0}
    assert rows.state.to_dict() == {"1-after-query": "not there when the run ended", "2-after-query": "there"}


def test_smaller_is_model_and_task_alone():
    ours, study = settings.preset("fast-0"), settings.preset("study-medium")
    assert costs.smaller(ours, study) == measures.trace_flops(study.model, 250) / measures.trace_flops(ours.model, 96)
    assert costs.smaller(ours, replace(ours, seed=5)) == 1
