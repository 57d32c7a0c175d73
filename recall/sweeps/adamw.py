"""AdamW with as much effort as Muon had: what `search` left out, and a final of its own.

Written down before any of these runs; criterion and order are those of `search`.

screening   dimension 3, 4 labels, 3.2 million tokens: seed 1 for the 13 options that `search` ran with seed 0, and six
            more with both seeds, made of what scored best there (a smaller rate, fewer heads, no zero
            initialisation): 19 options and two seeds, as for Muon.
final       the two best by their mean score over both seeds, at dimensions 3 and 5 with seeds 0 to 2 and three times
            the tokens, 9.6 million.  The winner is frozen; if it is not `adamw-1`, as `adamw-2`.

Outcome.  `heads-2` ran as planned; the smaller rate, with which nothing had been learnt sooner, at dimension 3 with
seed 0 alone, so that the two are not compared and no setting is frozen anew: `adamw-1` stays."""

from __future__ import annotations

from recall.settings import RunConfig
from recall.sweeps.search import ADAMW, option

SLOW = {"learning_rate": 1e-3}
MORE = {
    "rate-5e-4": {"training": {"learning_rate": 5e-4}},
    "rate-1e-3+batch-8": {"training": SLOW | {"batch_size": 8}},
    "rate-1e-3+beta-0.95": {"training": SLOW | {"beta2": 0.95}},
    "rate-1e-3+heads-2": {"training": SLOW, "model": {"n_head": 2}},
    "rate-1e-3+no-zero-init": {"training": SLOW, "model": {"zero_init": False}},
    "rate-1e-3+layers-4+gelu+no-zero-init": {
        "training": SLOW,
        "model": {"n_layer": 4, "activation": "gelu_new", "zero_init": False},
    },
}
# mean scores -0.108 and -0.126; the third has -0.141
FINALISTS = {name: ADAMW[name] for name in ("heads-2", "rate-1e-3")}
TOKENS = 9.6e6
FINAL = {"heads-2": [(n, seed) for n in (3, 5) for seed in (0, 1, 2)], "rate-1e-3": [(3, 0)]}  # dimension, seed


def configs() -> list[RunConfig]:
    screening = [option("adamw-0", name, MORE[name], 3, seed) for name in MORE for seed in (0, 1)]
    screening += [option("adamw-0", name, changes, 3, 1) for name, changes in ADAMW.items()]
    return screening + [
        option("adamw-0", name, changes, dimension, seed, TOKENS)
        for name, changes in FINALISTS.items()
        for dimension, seed in FINAL[name]
    ]
