"""What the frozen settings take on seeds that no choice has seen, at dimensions 3 and 5 with 4 labels.

`fast-1` and `adamw-1`, seeds 100 to 107; and the study's recipe (facts 2.2) on the same model and task, seeds 100 to 102:
AdamW at 1.585e-5 * sqrt(batch / 512), constant, no warm-up, weight decay 0.01, GPT-2's initialisation and activation.
An AdamW run ends once both abilities have stayed for four evaluations, or at its budget.
"""

from recall.settings import RunConfig, preset, vary

SEEDS = range(100, 108)
STUDY_TOKENS = 4e6


def study(dimension: int, seed: int) -> RunConfig:
    run = preset("adamw-0", dimension, 4, seed)
    batch = run.training.batch_size
    return vary(run, "study-here",
                model=dict(activation="gelu_new", initialisation="gpt2", zero_init=False),
                training=dict(learning_rate=1.585e-5 * (batch / 512) ** 0.5, weight_decay=0.01, warmup=0,
                              steps=int(STUDY_TOKENS / (batch * run.task.trace_length))))


def configs() -> list[RunConfig]:
    settings = [preset(name, dimension, 4, seed) for name in ("fast-1", "adamw-1") for dimension in (3, 5) for seed in SEEDS]
    return settings + [study(dimension, seed) for dimension in (3, 5) for seed in SEEDS[:3]]
