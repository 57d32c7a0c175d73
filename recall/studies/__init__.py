"""The studies of the book, one a chapter or two:

    abilities    one row per run, needle far and near over training            chapters 3 and 4
    when         dates, the order at other thresholds, more systems, library   chapter 5
    which_way    name or state: interventions, exact rules, uncertain cues     chapter 6
    weights      circuits and what they share                                  chapter 7

Each says in its `measures.py` which tables `python -m recall measure` makes of which runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from recall.config import check

if TYPE_CHECKING:  # charts are imported without torch
    from recall.runs import Run


@dataclass(frozen=True)
class Measure:
    """Tables that are made together.

    tables: their names.  about: which of the runs given they are about.  make: those runs -> a table, or several by
    name.  uses: tables of the same study that `make` takes by name: as made just now, else None.
    """

    tables: tuple[str, ...]
    about: Callable[[list[Run]], list[Run]]
    make: Callable[..., pd.DataFrame | dict[str, pd.DataFrame]]
    uses: tuple[str, ...] = ()

    def of(self, chosen: list[Run], made: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Its tables of these runs, by name.  made: what this call made before."""
        found = self.make(chosen, **{name: made.get(name) for name in self.uses})
        return found if isinstance(found, dict) else dict(zip(self.tables, [found]))


def each(holds: Callable[[Run], bool]) -> Callable[[list[Run]], list[Run]]:
    """`about` the runs for which something holds."""
    return lambda chosen: [run for run in chosen if holds(run)]


def whole(run: Run) -> bool:
    """Whether a run's weights are there."""
    return run.whole


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def measure(
    study: str, chosen: list[Run], tables: list[str] | None = None
) -> Iterator[tuple[str, list[Run], pd.DataFrame]]:
    """Name, runs that it is about and rows of every table of a study that some of these runs are for, as they are made.

    tables: only these.  ValueError for a table that the study does not have, and where no run is for any of them.
    """
    there, made = measures(study), {}
    named = [name for each in there for name in each.tables]
    for name in tables or ():
        check("tables", name in named, f"of {', '.join(named)}", name)
    best = {run.name: run for run in sorted(chosen, key=lambda run: run.whole)}  # of two copies the one with weights
    for each in there:
        if tables and not set(tables) & set(each.tables):
            continue
        about = each.about(list(best.values()))
        if tables:
            check("RUN", about, f"at least one run that {each.tables[0]} is about", _some(best))
        if about:
            found = each.of(about, made)
            made |= found
            yield from ((name, about, rows) for name, rows in found.items() if not tables or name in tables)
    check("RUN", made, f"at least one run that a table of {study} is about", _some(best))


def _some(named: dict[str, Run]) -> str:
    return " ".join(named)[:80]


def measures(study: str) -> tuple[Measure, ...]:
    """The MEASURES of a study, which is imported now; ValueError lists the studies there are."""
    check("study", study in names(), f"one of {', '.join(names())}", study)
    return importlib.import_module(f"recall.studies.{study}.measures").MEASURES
