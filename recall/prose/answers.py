"""What `claims.questions` takes beside the runs of the atlas, read from the committed tables."""

from __future__ import annotations

from recall import data, measures, runs
from recall.language import results
from recall.prose import degradation
from recall.runs import Run
from recall.studies.when import degradation as when_degradation
from recall.studies.when import factors, knockouts
from recall.studies.which_way import edits


def committed(atlas: list[Run]) -> dict:
    """Keyword arguments of `claims.questions`: circuits, compared, language, practice, segments, edits, degraded."""
    probed, kinds = data.table("interventions"), measures.kinds(runs.load_all())
    return dict(
        circuits=data.table("circuits"),
        compared=data.table("circuit_methods"),
        language=results.both_gaps(),
        practice=knockouts.outcomes(knockouts.pairs(atlas, runs.load_all("knockouts"))),
        segments=factors.dated(data.table("factors"), atlas),
        edits=(edits.effects(probed, kinds), edits.effects(probed, kinds, needle="nearest")),
        degraded=degradation.answer(when_degradation.read()),
    )
