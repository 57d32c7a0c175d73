"""What the book's recipe takes on seeds that no choice has seen, beside `fast-1` on the same machine.

`fast-2` at n = 2, 3 and 5 with four labels, seeds 500 to 507; `fast-1` on four of them; (5, 8) with four seeds.  By the
rule of `recipe`: one-thread training seconds until both abilities have emerged at N = 2 and at N = all labels and
stayed for three evaluations; a run ends there, or at its budget of tokens.  The two settings take turns, so that a slow
minute meets both."""

from __future__ import annotations

from recall.settings import RunConfig, preset
from recall.sweeps.recipe import TOKENS, until_all

SEEDS = range(500, 508)
MANY = 24e6  # tokens at eight labels


def configs() -> list[RunConfig]:
    runs = []
    for seed in SEEDS:
        for dimension, tokens in TOKENS.items():
            settings = ("fast-2", "fast-1") if seed < 504 else ("fast-2",)
            runs += [until_all(preset(name, dimension, 4, seed), tokens) for name in settings]
    return runs + [until_all(preset("fast-2", 5, 8, seed), MANY) for seed in SEEDS[:4]]
