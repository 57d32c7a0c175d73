"""Tables of chapter 5 that tests make up."""

import math
from itertools import product

import pandas as pd

from recall.evaluation import NEVER, Emergence
from recall.studies.when import degradation, knockouts

NAN = math.nan

# --- loss knock-outs: dates of 1- and 2-after, of five seeds; runs end at 128

WHOLE = [(64.0, 16.0), (32.0, 16.0), (64.0, 15.0), (60.0, 16.0), (64.0, 17.0)]
KEPT = {
    knockouts.WHOLE: WHOLE,
    "no-first": [(NAN, 16.1), (NAN, 15.9), (NAN, 15.0), (NAN, 16.2), (NAN, 16.8)],
    "no-going-on": [(64.0, NAN), (32.1, NAN), (63.0, NAN), (61.0, NAN), (64.0, NAN)],
    "two-alone": [(64.0, 16.0), (64.0, 15.0), (60.0, 16.0), (64.0, 14.0), (62.0, 16.0)],
    "first-x4": [(40.0, 16.0), (33.0, 16.0), (42.0, 15.0), (44.0, 16.0), (42.0, 17.0)],
    "first-x16": [(32.0, 16.0), (33.0, 16.0), (32.0, 15.0), (34.0, 16.0), (32.0, 17.0)],
}
TURNED = KEPT | {
    "no-first": [(NAN, 4 * b) for _, b in WHOLE],
    "no-going-on": [(4 * a if 4 * a < 128 else NAN, NAN) for a, _ in WHOLE],
    "two-alone": [(16.0, 16.1), (16.2, 16.0), (15.0, 15.1), (16.1, 16.0), (16.0, 16.0)],
    "first-x16": [(b, a) for a, b in KEPT["first-x16"]],
}


def dated(date: float) -> Emergence:
    return Emergence(*NEVER, 128.0) if math.isnan(date) else Emergence(date, date, date, 128.0)


def pairs(dates: dict) -> pd.DataFrame:
    """`knockouts.pairs` of {setting: [(1-after, 2-after), …]}, nan for never; the first setting is the whole loss."""
    rows = []
    for setting, seeds in dates.items():
        for seed, pair in enumerate(seeds):
            for ability, date, whole in zip(knockouts.PAIR, pair, dates[knockouts.WHOLE][seed]):
                row = dict(setting=setting, seed=seed, ability=ability, date=date, end=128.0)
                if setting != knockouts.WHOLE:
                    new, old = dated(date), dated(whole)
                    row |= dict(shift=knockouts.octaves(new, old), bound=knockouts.BOUNDS[new.reached, old.reached])
                rows.append(row)
    return pd.DataFrame(rows)


# --- why it gets worse with more systems


def degraded(
    growth=0.1,
    expected=0.09,
    span=-0.02,
    states=0.1,
    maps=0.0,
    norm=0.3,
    kind="observation-led",
    seeds=5,
    best="norm and direction",
    equal=0.3,
) -> dict[str, pd.DataFrame]:
    """`degradation.TABLES` of n = 5 with 4 labels, at N = 2 and 4.

    growth: of the error of 2-after; expected: by every account.  span: what the farthest needle costs against the
    nearest.  states, norm, maps: what the likeness of next states in direction or in norm, and of maps, adds to the
    other system's share.  best: the account that explains.  equal: what accounts expect on equal norms at N = 2."""
    errors, accounts, similar = [], [], []
    for seed, (norms, base) in product(range(seeds), ((degradation.DRAWN, 0.06), (degradation.EQUAL, 0.3))):
        cell = dict(family="haar", dimension=5, labels=4, setting="fast-1", seed=seed, kind=kind, norms=norms)
        wobble = 0.001 * (seed - 2)
        for N, needle, k in product((2, 4), ("farthest", "nearest"), (1, 2)):
            mean = base + wobble * N
            mean += growth if k == 2 and N == 4 else 0
            mean -= span + wobble if needle == "nearest" else 0
            errors.append(cell | dict(needle=needle, systems=N, k=k, mean=mean, score=1 - mean))
        for N, account in product((2, 4), (*degradation.ACCOUNTS, *degradation.BASELINES)):
            said = base if norms == degradation.DRAWN else equal
            row = dict(systems=N, account=account, beta=1.0, beta2=1.0, mixing=0.0, r2=0.9)
            row |= dict(error=base + (growth if N == 4 else 0), explained=0.5 if account == best else 0.05)
            accounts.append(cell | row | dict(expected=said + (expected + wobble if N == 4 else 0)))
        for by, (i, state), (j, map_) in product(
            (degradation.NORM, degradation.DIRECTION), *[list(enumerate(degradation.TERTILES))] * 2
        ):
            effect = norm if by == degradation.NORM else states
            other = 0.1 + (effect + wobble) * i / 2 + (maps + wobble) * j / 2
            similar.append(cell | dict(by=by, states=state, maps=map_, prompts=9, error=other, other=other))
    return dict(zip(degradation.TABLES, map(pd.DataFrame, (errors, accounts, similar))))
