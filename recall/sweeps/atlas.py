"""When each way of predicting appears: every dimension and label count.

First the sixteen runs that decide the primary tests of `recall.studies.claims` (`fast-1` at dimensions 3 and 5 with
4 labels, seeds 300 to 307), then the grid: dimensions 2 to 5 with 2, 4 and 8 labels in `fast-1`, three seeds a cell.

Runs go to their last step, so that what happens after emergence is seen too: about twice as long as the median seed
took until both abilities in earlier runs, none of which had these seeds."""

from __future__ import annotations

from recall.settings import RunConfig, preset, vary

PRIMARY = range(300, 308)
STEPS = {2: 3000, 3: 3000, 4: 4000, 5: 4000}  # by dimension, for up to 4 labels; half as many again for 8


def member(setting: str, dimension: int, labels: int, seed: int) -> RunConfig:
    """One run: evaluated every 50 steps (100 for 8 labels) on 16 x 32 prompts of every N."""
    run = preset(setting, dimension, labels, seed)
    more = labels > 4
    return vary(
        run,
        run.setting,
        training=dict(
            steps=STEPS[dimension] * 3 // 2 if more else STEPS[dimension], evaluate_every=100 if more else 50
        ),
        evaluation=dict(traces=32),
    )


def configs() -> list[RunConfig]:
    primary = [member("fast-1", n, 4, seed) for seed in PRIMARY for n in (3, 5)]
    grid = [member("fast-1", n, labels, seed) for seed in PRIMARY[:3] for labels in (4, 2, 8) for n in (2, 3, 4, 5)]
    return list({run.name: run for run in primary + grid}.values())
