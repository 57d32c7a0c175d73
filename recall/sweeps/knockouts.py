"""Does one ability need the other?  Training at dimension 5 with 4 labels on part of the loss.

Every run of `fast-1` in the atlas with one of seeds 300 to 304 is trained again, on the same batches, with other
weights:

    no-first     nothing is asked of 1-after-query
    no-going-on  nothing is asked of a resumed segment but 1-after-query
    two-alone    nothing but 1- and 2-after-query, with equal weight: both are shown equally often
    first-x4, first-x16   1-after-query counts 4 and 16 times

Written before the runs: if the abilities are learnt independently, `no-first` leaves the date of 2-after-query where
it was, and `no-going-on` that of 1-after-query; if going on comes early only because there is more of it in the
loss, `two-alone` brings the dates together and `first-x16` reverses their order."""

from __future__ import annotations

from recall.settings import RunConfig, vary
from recall.sweeps.atlas import PRIMARY, member

WEIGHTS = {
    "no-first": dict(weight_first=0.0),
    "no-going-on": dict(weight_second=0.0, weight_later=0.0),
    "two-alone": dict(weight_later=0.0, weight_initial=0.0),
    "first-x4": dict(weight_first=4.0),
    "first-x16": dict(weight_first=16.0),
}


def configs() -> list[RunConfig]:
    return [
        vary(run, name, training=weights)
        for seed in PRIMARY[:5]
        for name, weights in WEIGHTS.items()
        for run in [member("fast-1", 5, 4, seed)]
    ]
