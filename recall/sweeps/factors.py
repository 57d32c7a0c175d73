"""What the order depends on: one factor at a time, from `fast-1` at dimension 5 with 4 labels (seeds 300 to 302 as
in the atlas).

    families      rotations, identity maps, and the study's noisy, partly observed systems
    size          1, 2, 4 and 6 layers instead of 3; 32 and 128 columns instead of 64
    library       100, 1,000 and 10,000 frozen systems instead of fresh ones: training goes over the same
                  trajectories again
    segments      short (2 to 6 states), long (6 to 10 in longer traces): fewer labels per state
    vocabulary    8 labels with at most 4 systems in a trace, at dimensions 3 and 5: more labels, or more systems?
    optimiser     Muon's rate and momentum, the batch, GPT-2's initialisation
    study         the study's own generator (250 rows, a library of 40,000) with 8 and with all 25 labels

Written before the runs: going on comes first wherever both come at all.  An inversion, a run whose 1-after-query
emerges first, is looked for in all of them and would refute that.  What came out is in `data/tables/factors.csv`,
and the dates at nine thresholds in `ratios.csv`.

    adamw-1       cells of the atlas with AdamW alone, seed 300, where no other sweep has it: does it learn to look
                  up where the task is smaller?
"""

from __future__ import annotations

from recall.settings import RunConfig, preset, vary
from recall.sweeps.atlas import PRIMARY, member

SEEDS = PRIMARY[:3]
EVERY = dict(evaluate_every=100)

FACTORS = {
    "rotations": dict(task=dict(family="rotations")),
    "identity": dict(task=dict(family="identity")),
    "gaussian": dict(task=dict(family="gaussian")),
    "library-100": dict(task=dict(library=100)),
    "library-1000": dict(task=dict(library=1000)),
    "library-10000": dict(task=dict(library=10_000)),
    "layers-1": dict(model=dict(n_layer=1)),
    "layers-2": dict(model=dict(n_layer=2)),
    "layers-4": dict(model=dict(n_layer=4)),
    "layers-6": dict(model=dict(n_layer=6)),
    "width-32": dict(model=dict(n_embd=32)),
    "width-128": dict(model=dict(n_embd=128)),
    "short-segments": dict(task=dict(min_payload=2, max_payload=6)),
    "long-segments": dict(task=dict(min_payload=6, max_payload=10, trace_length=128)),
    "momentum-0.95": dict(training=dict(momentum=0.95)),
    "muon-0.0025": dict(training=dict(muon_rate=0.0025)),
    "muon-0.04": dict(training=dict(muon_rate=0.04)),
    "batch-8": dict(training=dict(batch_size=8, steps=8000)),  # half as many traces as the others
    "batch-128": dict(training=dict(batch_size=128, steps=2000)),  # and here twice as many
    "gpt2-init": dict(model=dict(initialisation="gpt2", zero_init=False)),
    # What had brought the dates closest together (two seeds each), in pairs, added when that had been seen.  Said
    # before these runs: the order turns in most.
    "momentum-0.95+muon-0.0025": dict(training=dict(momentum=0.95, muon_rate=0.0025)),
    "momentum-0.95+gpt2-init": dict(model=dict(initialisation="gpt2", zero_init=False), training=dict(momentum=0.95)),
}


def factor(name: str, seed: int) -> RunConfig:
    changes = FACTORS[name]
    return vary(member("fast-1", 5, 4, seed), name, **changes | dict(training=EVERY | changes.get("training", {})))


def vocabulary(dimension: int, seed: int) -> RunConfig:
    return vary(
        member("fast-1", dimension, 8, seed),
        "vocabulary-8",
        task=dict(max_systems=4),
        evaluation=dict(systems=(1, 2, 4)),
    )


def study(labels: int, seed: int) -> RunConfig:
    """Three times as many steps as in the atlas, of traces two and a half times as long."""
    task = dict(generator="study", trace_length=250, library=40_000)
    return vary(
        preset("fast-1", 5, labels, seed),
        f"study-{labels}",
        task=task,
        training=dict(steps=12_000, evaluate_every=400),
        evaluation=dict(systems=tuple(N for N in (1, 2, 5, 8, 19) if N <= labels), traces=32),
    )


def configs() -> list[RunConfig]:
    runs = [factor(name, seed) for name in FACTORS for seed in SEEDS]
    runs += [vocabulary(n, seed) for n in (3, 5) for seed in SEEDS]
    runs += [member("adamw-1", n, labels, SEEDS[0]) for n, labels in ((2, 2), (3, 2), (2, 4), (4, 2), (5, 2), (4, 4))]
    return runs + [study(labels, seed) for labels in (8, 25) for seed in SEEDS[:2]]
