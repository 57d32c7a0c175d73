"""Which setting brings both abilities soonest?  Screening: every option alone, on top of `fast-0` or `adamw-0`.

Written down before any of these runs:

criterion   one-thread training seconds (evaluation and start-up not counted) until 1-after-query and 2-after-query have
            both emerged at N = 2, farthest needle, by the identification score (at least 1/2 at four evaluations in a
            row, 50 steps apart; the date is interpolated as everywhere).  A run that has not by its budget of tokens
            counts as never, and so does one that diverges.  How the two dates compare plays no part.
screening   dimension 3, 4 labels, seeds 0 and 1, an option at a time.  Order: runs that got there, then the median
            number of seconds, then (where none got there) the mean score of both abilities at the end.
next        `final`: the three best options of each optimiser, and all options together that beat the base with both
            seeds, at dimensions 3 and 5, seeds 0 to 4.  The winner has the smallest geometric mean of its two medians.
            It is then frozen and measured on seeds 100 to 107, which nothing before has seen.

Budget: 3.2 million tokens, which take about 75 s: with Muon what does not get there by then is too slow, and AdamW,
which gets nowhere near look-up by then, is ordered by its scores.  AdamW had less effort in the end, 13 options with
seed 0: what is called `adamw-1` is the best of those, not the best that AdamW can do."""

from __future__ import annotations

from recall.settings import RunConfig, preset, vary

SHORT = {"min_payload": 2, "max_payload": 6, "trace_length": 64}
LONG = {"max_payload": 10, "trace_length": 96}

MUON = {
    "base": {},
    "muon-slow": {"training": {"muon_rate": 0.005}},
    "rest-fast": {"training": {"learning_rate": 6e-3}},
    "decay": {"training": {"decay_from": 0.0}},
    "decay-fast": {"training": {"decay_from": 0.0, "muon_rate": 0.02}},
    "momentum": {"training": {"momentum": 0.9}},
    "batch-16": {"training": {"batch_size": 16, "muon_rate": 0.007, "learning_rate": 2e-3}},
    "batch-64": {"training": {"batch_size": 64, "muon_rate": 0.014, "learning_rate": 4e-3}},
    "gpt2-init": {"model": {"initialisation": "gpt2"}},
    "no-zero-init": {"model": {"zero_init": False}},
    "gelu": {"model": {"activation": "gelu_new"}},
    "relu": {"model": {"activation": "relu"}},
    "layers-4": {"model": {"n_layer": 4}},
    "width-96": {"model": {"n_embd": 96}},
    "heads-2": {"model": {"n_head": 2}},
    "heads-8": {"model": {"n_head": 8}},
    "no-positions": {"model": {"positions": "none"}},
    "short-segments": {"task": SHORT},
    "long-segments": {"task": LONG},
}

ADAMW = {
    "base": {},
    "rate-1e-3": {"training": {"learning_rate": 1e-3}},
    "rate-6e-3": {"training": {"learning_rate": 6e-3}},
    "decay": {"training": {"decay_from": 0.0}},
    "decay-6e-3": {"training": {"decay_from": 0.0, "learning_rate": 6e-3}},
    "beta-0.95": {"training": {"beta2": 0.95}},
    "batch-16": {"training": {"batch_size": 16, "learning_rate": 2e-3}},
    "batch-64": {"training": {"batch_size": 64, "learning_rate": 4e-3}},
} | {name: MUON[name] for name in ("no-zero-init", "gelu", "layers-4", "heads-2", "short-segments")}
SEEDS = {"fast-0": (0, 1), "adamw-0": (0,)}

TOKENS = 3.2e6
NAMES = {"fast-0": "muon", "adamw-0": "adamw"}


def until_both(run: RunConfig, tokens: float) -> RunConfig:
    """The run as a measurement of time: it ends once both abilities have stayed at N = 2, or at its budget."""
    steps = int(tokens / (run.training.batch_size * run.task.trace_length))
    return vary(
        run,
        run.setting,
        training=dict(steps=steps, evaluate_every=50, patience=4),
        evaluation=dict(systems=(2,), traces=32),
    )


def option(base: str, name: str, changes: dict, dimension: int, seed: int, tokens: float = TOKENS) -> RunConfig:
    """One run of the search."""
    return until_both(vary(preset(base, dimension, 4, seed), f"{NAMES[base]}.{name}", **changes), tokens)


def configs() -> list[RunConfig]:
    return [
        option(base, name, changes, 3, seed)
        for base, options in (("fast-0", MUON), ("adamw-0", ADAMW))
        for name, changes in options.items()
        for seed in SEEDS[base]
    ]
