"""Which cue a model goes by depends on what its training makes of the cues.  `fast-1` with 4 labels, at dimension 5
if nothing is said.

    equal              every state on the unit sphere, so that the norm tells nothing; dimensions 3 and 5, seeds 300
                       to 304
    no-repeats         no system is on twice in a row, so that `)j (j` never comes up; seeds 300 to 304
    balanced           every trace has all 4 systems, each as likely to be resumed as the others; seeds 300 to 304
    error-P-noise-S    label error P in {0, 0.05, 0.2, 0.5} by state noise S in {0, 0.1, 0.3}; seeds 300 and 301
    long               30,000 steps at dimension 3, seeds 300 and 301, more than twenty times those to look-up;
                       18,000 at dimension 5, six times, with seed 300, which ended observation-led in the atlas

Written before the runs, each with what would speak against it:

    equal              2-after-query of a model that goes by what it observes should then go by the maps alone: under
                       misdirection its error stays within 0.05 of the score of plain prompts only if the norm had
                       nothing to do with it.
    no-repeats         if recall of the segment just before is only the bigram `)j (j`, it is gone here, and recall
                       over a longer distance keeps its date.
    error-P            a model that goes by observations alone has a label index at 2-after-query that does not change
                       with P; Bayes gives 1-after-query the label a weight of about 1 - P + P/4.
    long               if there is one end state reached at different speeds, the four runs' label indices at
                       2-after-query end near each other.  (The seed at dimension 5 was chosen after the runs at
                       dimension 3 had been seen, its length cut from 30,000 while it ran, for time.)
"""

from __future__ import annotations

from recall.settings import RunConfig, vary
from recall.sweeps.atlas import PRIMARY, member

ERRORS, NOISES = (0.0, 0.05, 0.2, 0.5), (0.0, 0.1, 0.3)
LONG = {(3, 300): 30_000, (3, 301): 30_000, (5, 300): 18_000}  # (dimension, seed): steps


def run(setting: str, seed: int, dimension: int = 5, **task) -> RunConfig:
    return vary(member("fast-1", dimension, 4, seed), setting, task=task, training=dict(evaluate_every=100))


def long(dimension: int, seed: int) -> RunConfig:
    return vary(
        member("fast-1", dimension, 4, seed), "long", training=dict(steps=LONG[dimension, seed], evaluate_every=500)
    )


def configs() -> list[RunConfig]:
    seeds = PRIMARY[:5]
    runs = [long(n, seed) for n, seed in LONG]
    runs += [run("equal", seed, n, family="equal") for seed in seeds for n in (5, 3)]
    runs += [run("no-repeats", seed, repeats=False) for seed in seeds]
    runs += [run("balanced", seed, min_systems=4) for seed in seeds]
    return runs + [
        run(f"error-{p:g}-noise-{s:g}", seed, label_error=p, state_noise=s)
        for seed in seeds[:2]
        for p in ERRORS
        for s in NOISES
        if p or s
    ]
