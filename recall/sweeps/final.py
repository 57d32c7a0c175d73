"""The second stage of `search`: what helped, alone, together and taken further.

Written down after the screening of Muon, of which `no-zero-init`, `relu`, `gpt2-init`, `width-96` and `no-positions` were still to
run (none of them got there).  Two options beat `fast-0` with both seeds: a smaller Muon rate and a smaller momentum (the
third best, `rest-fast`, lost with one seed and is left out).  Criterion and order as in `search`, with 3.2 million tokens
at dimension 3 and 6.4 million at dimension 5, where everything takes longer.

A race, so that no hours go to what has lost: dimension 5 is the slower one, so every candidate runs there first with seeds
0 and 1; the two best go on to seeds 2 to 4 and to dimension 3.  The winner, by the geometric mean of its two medians,
becomes `fast-1`.  (Two rounds of one race: `momentum-0.7` and `momentum-0.8+muon-slow` were added, before they ran, when
momentum 0.8 was seen to do better than 0.9 at dimension 5.)
"""

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
BEST = ("momentum-0.8", "momentum-0.7")  # of the race
TOKENS = {5: 6.4e6, 3: 3.2e6}


def configs() -> list[RunConfig]:
    cells = [(name, 5, seed) for name in CANDIDATES for seed in (0, 1)]
    cells += [(name, 5, seed) for name in BEST for seed in (2, 3, 4)] + [(name, 3, seed) for name in BEST for seed in range(5)]
    return [option("fast-0", name, CANDIDATES[name], dimension, seed, TOKENS[dimension]) for name, dimension, seed in cells]
