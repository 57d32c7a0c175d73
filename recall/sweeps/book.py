"""The models that the book is told on: `fast-2`, kept with their weights.

Dimensions 2 to 5 with 2, 4 and 8 labels, seed 0; seeds 0 to 4 at (3, 4) and (5, 4), where differences between seeds are
told.  None of these seeds had a part in choosing `fast-2`."""

from __future__ import annotations

from recall.settings import RunConfig, preset

SEEDS = {(3, 4): range(5), (5, 4): range(5)}


def configs() -> list[RunConfig]:
    cells = [(n, labels) for labels in (4, 2, 8) for n in (5, 3, 2, 4)]
    return [preset("fast-2", *cell, seed) for cell in cells for seed in SEEDS.get(cell, (0,))]
