"""The second stage of `search`: what helped, alone, together and taken further.

Written down after the screening of Muon, of which `no-zero-init`, `relu`, `gpt2-init`, `width-96` and `no-positions`
were still to run.  Two options beat `fast-0` with both seeds: a smaller Muon rate and a smaller momentum (the third
best, `rest-fast`, lost with one seed and is left out).  Criterion and order as in `search`, with 3.2 million tokens
at dimension 3 and 6.4 million at dimension 5, where everything takes longer.

A race, so that no hours go to what has lost: dimension 5 is the slower one, so every candidate runs there first with
seeds 0 and 1; the two best go on to seeds 2 to 4 and to dimension 3.  The winner, by the geometric mean of its two
medians, becomes `fast-1`.  Two additions, each made before its runs and for what had been seen by then:
`momentum-0.7` and `momentum-0.8+muon-slow`, when momentum 0.8 did better than 0.9 at dimension 5; and `muon-slow`,
the third of the race, went on as well when momentum 0.8 turned out to be slow at dimension 3.

Outcome.  At dimension 3 the budget was too short for the letter of the criterion: most runs got there in its last
quarter, too late for four evaluations, so that no candidate but `muon-slow` has a median.  Decided by emergence as
it is dated everywhere else, without the four evaluations: medians of 69, 69 and 67 s at dimension 3 and 85, 100 and
134 s at dimension 5 for momentum 0.7, momentum 0.8 and the smaller Muon rate.  `momentum-0.7` wins (geometric means
77, 83, 95 s)."""

from __future__ import annotations

from recall.settings import RunConfig
from recall.sweeps.search import MUON, option

CANDIDATES = {
    "momentum": MUON["momentum"],
    "muon-slow": MUON["muon-slow"],
    "momentum+muon-slow": {"training": {"momentum": 0.9, "muon_rate": 0.005}},
    "momentum-0.8": {"training": {"momentum": 0.8}},
    "momentum-0.7": {"training": {"momentum": 0.7}},
    "momentum-0.8+muon-slow": {"training": {"momentum": 0.8, "muon_rate": 0.005}},
}
BEST = ("momentum-0.8", "momentum-0.7", "muon-slow")  # of the race
TOKENS = {5: 6.4e6, 3: 3.2e6}


def configs() -> list[RunConfig]:
    cells = [(name, 5, seed) for name in CANDIDATES for seed in (0, 1)]
    cells += [(name, 5, seed) for name in BEST for seed in (2, 3, 4)] + [
        (name, 3, seed) for name in BEST for seed in range(5)
    ]
    return [
        option("fast-0", name, CANDIDATES[name], dimension, seed, TOKENS[dimension]) for name, dimension, seed in cells
    ]
