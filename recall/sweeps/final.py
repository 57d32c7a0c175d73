"""The second stage of `search`: the options that beat the base with both seeds, together and one step further.

Written down after the screening of Muon and before any of these runs.  Of 19 options only two beat `fast-0` with both seeds,
a smaller Muon rate and a smaller momentum (the third best, `rest-fast`, lost with one seed and is left out for time).
Candidates: each alone, both together, and momentum further down.  Dimensions 3 and 5, 4 labels, seeds 0 to 4; criterion
and order as in `search`; 3.2 million tokens at dimension 3, 6.4 million at dimension 5, where everything takes longer.
The winner, by the geometric mean of its medians at 3 and 5, becomes `fast-1`.
"""

from recall.settings import RunConfig
from recall.sweeps.search import MUON, option

CANDIDATES = {
    "momentum": MUON["momentum"],
    "muon-slow": MUON["muon-slow"],
    "momentum+muon-slow": {"training": {"momentum": 0.9, "muon_rate": 0.005}},
    "momentum-0.8": {"training": {"momentum": 0.8}},
}
BUDGETS = {5: 6.4e6, 3: 3.2e6}


def configs() -> list[RunConfig]:
    return [option("fast-0", name, changes, dimension, seed, budget) for dimension, budget in BUDGETS.items()
            for seed in range(5) for name, changes in CANDIDATES.items()]
