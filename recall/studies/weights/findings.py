"""Everything that chapter 7 shows, as tables: those of data/tables, or those of a reader's own run, taken apart now.

    part       module      tables
    circuits   dissect     circuits, circuit_edges
    methods    methods     circuit_methods
    roles      roles       circuit_heads, circuit_rows, circuit_removals, circuit_pairs
    training   dissect     circuits_over_training, circuit_edges_over_training

The committed ones: `circuits methods roles` of the `fast-0` runs of data/runs with 4 labels, and `training` of runs of
data/atlas that convert when both abilities are there, trained again for their checkpoints (python -m recall train
--config data/atlas/NAME/config.json --out FOLDER); that of n = 4 by dissect.over_training(run, Scale(find=16,
test=64), most=7), to save time."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from recall import data, measures, runs
from recall.config import check
from recall.runs import Run
from recall.studies.weights import shared
from recall.studies.weights.dissect import FULL, Scale, Subject, dissect, over_training
from recall.studies.weights.methods import compare
from recall.studies.weights.roles import roles
from recall.studies.weights.shared import CORRUPTION, TASKS

PARTS = {
    "circuits": ("circuits", "circuit_edges"),
    "methods": ("circuit_methods",),
    "roles": ("circuit_heads", "circuit_rows", "circuit_removals", "circuit_pairs"),
    "training": ("circuits_over_training", "circuit_edges_over_training"),
}
TABLES = tuple(name for names in PARTS.values() for name in names)


def find(
    run: Run, parts=tuple(PARTS), scale: Scale = FULL, known: dict[str, pd.DataFrame] | None = None
) -> dict[str, pd.DataFrame]:
    """The tables of some parts of one finished run.  known: tables that hold its circuits already, else these are
    found first."""
    for part in parts:
        check("parts", part in PARTS, f"among {', '.join(PARTS)}", part)
    subject, circuits, found = Subject(run, scale=scale), (), {}
    if known is not None and "circuits" not in parts and run.name in set(known["circuits"].run):
        circuits = tuple(known[name] for name in PARTS["circuits"])
    elif set(parts) != {"training"}:
        circuits = dissect(subject)
    make = {
        "circuits": lambda: circuits,
        "methods": lambda: (compare(subject, *circuits),),
        "roles": lambda: roles(subject, *circuits),
        "training": lambda: over_training(run, scale),
    }
    for part in parts:
        found |= zip(PARTS[part], make[part]())
    return found


def committed(names=TABLES) -> dict[str, pd.DataFrame]:
    """Tables of data/tables."""
    return {name: data.table(name) for name in names}


@dataclass(frozen=True)
class Findings:
    """What a page shows.

    tables: by name.  finished: the models, by name.  dimension: whose models are drawn.  committed: whether these are
    the tables of data/tables, of which not all models count for the verdict."""

    tables: dict[str, pd.DataFrame]
    finished: dict[str, Run]
    dimension: int
    committed: bool

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def decisive(self, name: str) -> pd.DataFrame:
        """A table's rows of the models that the verdict is about: `shared.decisive` of ours, all of a reader's run."""
        return shared.decisive(self[name]) if self.committed else self[name]

    @property
    def circuits(self) -> pd.DataFrame:
        return shared.last_steps(self.decisive("circuits"))

    @property
    def edges(self) -> pd.DataFrame:
        """Single-edge effects of these models."""
        return self["circuit_edges"][self["circuit_edges"].run.isin(self.circuits.run)]

    @property
    def models(self) -> dict[str, str]:
        """Name -> what a page calls it, of the models that are drawn."""
        drawn = {name: run for name, run in self.finished.items() if _dimension(run) == self.dimension}
        called = "{}, n = {}, seed {}".format
        return {name: called(measures.kind(run), self.dimension, run.config["seed"]) for name, run in drawn.items()}

    @property
    def index(self) -> dict[str, float]:
        """Name -> label index of 2-after-query."""
        return {name: measures.label_index(run) for name, run in self.finished.items()}

    def first(self, words: str) -> str:
        """Name of the drawn model whose description begins so, else of the first."""
        return next((name for name, called in self.models.items() if called.startswith(words)), next(iter(self.models)))


def _dimension(run: Run) -> int:
    return run.config["task"]["dimension"]


def shown(run: str = "", dimension: int = 5, scale: Scale = FULL) -> Findings:
    """The committed findings; or those of a finished run, by name or folder, taken apart now.

    ValueError for a dimension without models, and for a run that answers every prompt alike."""
    if run:
        chosen = runs.load(run)
        tables = find(chosen, scale=scale)
        circuits = tables["circuits"]
        moved = set(TASKS) <= set(shared.circuits_of(circuits[circuits.corruption == CORRUPTION]))
        wanted = f"one whose 1- and 2-after-query {CORRUPTION} moves by {scale.telling} or more"
        check("run", moved, wanted, run)
        return Findings(tables, {chosen.name: chosen}, _dimension(chosen), False)
    tables = committed()
    own = runs.data_folder() / "runs"
    finished = {name: runs.load(name, own) for name in tables["circuits"].run.unique()}
    there = sorted({*map(_dimension, finished.values())})
    wanted = f"one of {', '.join(map(str, there))}, or that of a run of your own (run)"
    check("dimension", dimension in there, wanted, dimension)
    return Findings(tables, finished, dimension, True)
