"""What the frozen settings take on seeds that no choice has seen, at dimensions 3 and 5 with 4 labels.

`fast-1` and `adamw-1`, seeds 100 to 107; and the study's recipe on the same model and task, seeds 100 to
102: AdamW at 1.585e-5 * sqrt(batch / 512), constant, no warm-up, weight decay 0.01, GPT-2's initialisation and
activation. A run ends once both abilities have stayed for four evaluations, or at its budget of tokens."""

from __future__ import annotations

from recall.settings import RunConfig, preset, vary
from recall.sweeps.search import until_both

SEEDS = range(100, 108)
TOKENS = {"fast-1": 9.6e6, "adamw-1": 4.8e6, "study-here": 3.2e6}


def study(dimension: int, seed: int) -> RunConfig:
    run = preset("adamw-0", dimension, 4, seed)
    return vary(
        run,
        "study-here",
        model=dict(activation="gelu_new", initialisation="gpt2", zero_init=False),
        training=dict(learning_rate=1.585e-5 * (run.training.batch_size / 512) ** 0.5, weight_decay=0.01, warmup=0),
    )


def configs() -> list[RunConfig]:
    cells = [preset(name, n, 4, seed) for name in ("fast-1", "adamw-1") for n in (3, 5) for seed in SEEDS]
    cells += [study(n, seed) for n in (3, 5) for seed in SEEDS[:3]]
    return [until_both(run, TOKENS[run.setting]) for run in cells]
