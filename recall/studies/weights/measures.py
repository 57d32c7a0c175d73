"""What `python -m recall measure weights` makes: up to ten minutes a model and part."""

from __future__ import annotations

import pandas as pd

from recall import data
from recall.runs import Run
from recall.studies import Measure, each, whole
from recall.studies.weights import findings
from recall.studies.weights.cuts import cuts
from recall.studies.weights.findings import PARTS

CIRCUITS = PARTS["circuits"]
with_checkpoints = each(lambda run: whole(run) and len(run.steps) > 2)


def committed() -> dict[str, pd.DataFrame] | None:
    return findings.committed(CIRCUITS) if all(map(data.table_path, CIRCUITS)) else None


def of_part(part: str):
    """Makes the tables of one of `findings.PARTS`; circuits that were found already are not looked for again."""

    def make(chosen: list[Run], **made: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
        known = made if made and all(table is not None for table in made.values()) else committed()
        found = [findings.find(run, (part,), known=known) for run in chosen]
        return {name: pd.concat([tables[name] for tables in found], ignore_index=True) for name in PARTS[part]}

    return make


MEASURES = (
    Measure(CIRCUITS, each(whole), of_part("circuits")),
    Measure(PARTS["methods"], each(whole), of_part("methods"), uses=CIRCUITS),
    Measure(PARTS["roles"], each(whole), of_part("roles"), uses=CIRCUITS),
    Measure(PARTS["training"], with_checkpoints, of_part("training")),
    Measure(("head_cuts",), each(whole), cuts),
)
