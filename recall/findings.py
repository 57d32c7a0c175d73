"""Everything that chapter 7 shows, as tables: those of data/tables, or those of a reader's own run, taken apart now.

    part       module      tables
    circuits   dissect     circuits, circuit_edges
    methods    methods     circuit_methods
    roles      roles       circuit_heads, circuit_rows, circuit_removals, circuit_pairs
    training   dissect     circuits_over_training, circuit_edges_over_training

`python -m recall dissect RUN ... --parts circuits methods` makes the tables of some parts for some runs; the rows of other runs stay.
"""

from __future__ import annotations

import pandas as pd

from recall import dissect, methods, roles, runs
from recall.runs import Run
from recall.task import check

PARTS = {
    "circuits": ("circuits", "circuit_edges"),
    "methods": ("circuit_methods",),
    "roles": ("circuit_heads", "circuit_rows", "circuit_removals", "circuit_pairs"),
    "training": ("circuits_over_training", "circuit_edges_over_training"),
}
TABLES = tuple(name for names in PARTS.values() for name in names)


def find(run: Run, parts=tuple(PARTS), scale: dissect.Scale = dissect.Scale(), known: dict[str, pd.DataFrame] | None = None) -> dict[str, pd.DataFrame]:
    """The tables of some parts of one finished run.  known: tables that hold its circuits already, else these are found first."""
    for part in parts:
        check("parts", part in PARTS, f"among {', '.join(PARTS)}", part)
    there = known is not None and run.name in set(known["circuits"].run) and "circuits" not in parts
    circuits, edges = ((known["circuits"], known["circuit_edges"]) if there else dissect.dissect(run, scale=scale) if set(parts) != {"training"}
                       else (None, None))
    made = {
        "circuits": lambda: (circuits, edges),
        "methods": lambda: (methods.compare(run, circuits, edges, scale),),
        "roles": lambda: roles.roles(run, circuits, edges, scale),
        "training": lambda: dissect.over_training(run, scale),
    }
    return {name: frame for part in parts for name, frame in zip(PARTS[part], made[part]())}


def committed(names=TABLES) -> dict[str, pd.DataFrame]:
    """Tables of data/tables."""
    return {name: runs.table(name) for name in names}


def write(found: dict[str, pd.DataFrame]) -> None:
    """Into data/tables, in place of what they hold of the same runs."""
    for name, frame in found.items():
        there = (runs.DATA / "tables" / f"{name}.csv").is_file()
        old = runs.table(name) if there else frame[:0]
        runs.write_table(name, pd.concat([old[~old.run.isin(frame.run)], frame]).sort_values("run", kind="stable"))

