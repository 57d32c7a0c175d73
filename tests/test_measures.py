"""One row per run: orders, kinds and prices of made-up runs by hand, FLOPs by torch's own counter."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from made_runs import EARLY, LATE, LINEAR, NEVER, made_run, nan
from torch.utils.flop_counter import FlopCounterMode

from recall import measures, runs, settings, training
from recall.model import GPT, GPTConfig
from recall.task import Task


@pytest.mark.parametrize(
    "one, two, order",
    [
        (LATE, EARLY, "2-after first"),
        (NEVER, EARLY, "2-after first"),  # never is later than some time
        (EARLY, LATE, "1-after first"),
        (EARLY, NEVER, "1-after first"),
        (EARLY, EARLY, "together"),
        (NEVER, NEVER, "neither"),
    ],
)
def test_the_order_of_both_abilities(one, two, order):
    assert measures.order_of(made_run(one, two)) == order
    assert measures.order_of(made_run(one, two, ended="diverged")) == "neither"


def test_dates_by_hand():
    """EARLY passes 1/2 a quarter of the way, in log, from the second step to the third."""
    when = measures.dates(made_run(NEVER, EARLY), 2)
    assert when["2-after"].date == pytest.approx(3200 * 2 * 1.5**0.25)
    assert (when["2-after"].after, when["2-after"].by) == (6400, 9600)
    assert not when["1-after"].reached and when["1-after"].examples == LINEAR[-1]
    assert measures.later([3.0, 5.0]) == 5 and math.isnan(measures.later([3.0, nan]))


def test_a_kind_by_its_bounds():
    assert measures.kind_of(0.9, 0.1) == "observation-led" and measures.kind_of(0.9, 0.9) == "label-led"
    assert {str(measures.kind_of(0.9, index)) for index in (0.25, 0.5, 0.75, nan)} == {"between"}
    assert {str(measures.kind_of(first, 0.9)) for first in (0.49, nan, False)} == {"no look-up"}
    assert measures.kind_of(0.5, 0.76) == measures.kind_of(True, 0.76) == "label-led"
    found = measures.kind_of(pd.Series([0.9, 0.9, 0.1]), np.array([0.0, 1.0, 1.0]))
    assert found.tolist() == ["observation-led", "label-led", "no look-up"]
    assert set(found) < set(measures.KINDS)


def test_kinds_of_runs():
    made = [made_run(LATE, EARLY, seed, index=index) for seed, index in enumerate((0.1, 0.5, 0.9))]
    kinds = measures.kinds([*made, made_run(LATE, EARLY, 3, end=0.1)])
    assert kinds.tolist() == ["observation-led", "between", "label-led", "no look-up"]
    assert kinds[5, 4, "fast-1", 1] == "between" and list(kinds.index.names) == list(measures.CELL)


def test_cells_hold_enough_seeds():
    made = [made_run(LATE, EARLY, seed, labels=labels) for labels, seeds in ((8, 2), (4, 3)) for seed in range(seeds)]
    assert [(key, len(group)) for key, group in measures.cells(made).items()] == [
        ((5, 4, "fast-1"), 3),
        ((5, 8, "fast-1"), 2),
    ]
    assert list(measures.cells(made, 3)) == [(5, 4, "fast-1")]


def test_a_row_says_what_the_run_s_tables_say():
    run = made_run(LATE, EARLY, seed=3, index=0.3, error4=0.4)
    row, line = measures.describe(run), measures.lines([run]).iloc[0]
    assert (row["examples"], row["seconds"], row["ended"]) == (25_600, 100.0, "steps")
    assert row["misdirected"][4][2] == dict(error=0.4, label_index=0.3)
    assert math.isnan(row["unedited"][2][1]["label_index"])
    when = measures.dates(run, 2)
    for ability in measures.ABILITIES:
        assert row["emergence"][ability][2] == line[f"{ability} N=2"] == when[ability].date
    assert line["label index 2 N=4"] == 0.3 and line["seed"] == 3


def test_tokens_flops_and_seconds_are_one_date_in_three_units():
    run = made_run(LATE, EARLY)
    config, line = settings.from_json(run.config), measures.price(run)
    date = measures.dates(run, 2)["1-after"].date
    assert line["1-after tokens"] == pytest.approx(date * config.task.trace_length)
    assert line["1-after flops"] == pytest.approx(date / config.training.batch_size * measures.step_flops(config))
    assert line["1-after seconds"] == pytest.approx(100 * date / 25_600)
    assert line["both seconds"] == max(line["1-after seconds"], line["2-after seconds"])
    assert (line["limit"], line["score"]) == (25_600 * config.task.trace_length, pytest.approx(0.9))
    elsewhere = measures.price(made_run(LATE, EARLY, device="cuda"))
    assert math.isnan(elsewhere["both seconds"]) and elsewhere["both flops"] == line["both flops"]
    assert all(math.isnan(measures.price(run, 3)[key]) for key in ("1-after flops", "both seconds", "score"))


def test_patience_must_have_been_met():
    for ended, there in (("steps", False), ("emerged", True)):
        run = made_run(LATE, EARLY, ended=ended)
        run.config["training"]["patience"] = 4
        line = measures.price(run)
        assert math.isnan(line["both seconds"]) is not there and not math.isnan(line["1-after seconds"])


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


@pytest.mark.standard
def test_committed_runs_have_one_line_each():
    finished = runs.load_all()
    lines = measures.lines(finished)
    assert lines.name.tolist() == [run.name for run in finished] and set(measures.kinds(finished)) <= {*measures.KINDS}
    reached = lines.dropna(subset=["1-after N=2", "2-after N=2"])
    later = reached[["1-after N=2", "2-after N=2"]].max(axis=1) / reached.examples
    assert reached["both seconds"].to_numpy() == pytest.approx((reached.seconds * later).to_numpy())
