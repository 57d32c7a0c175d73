"""What `python -m recall measure when` makes."""

from recall.evaluation import HAAR
from recall.settings import from_json
from recall.studies import Measure, each, whole
from recall.studies.when import by_heart, degradation, factors

with_score = each(
    lambda run: (
        run.config["task"]["family"] in HAAR
        and 2 in run.config["evaluation"]["systems"]
        and run.manifest.get("ended") != "diverged"
    )
)
with_norms = each(lambda run: whole(run) and run.config["task"]["family"] in HAAR)
of_library = each(lambda run: whole(run) and from_json(run.config).task.library is not None)

MEASURES = (
    Measure(("ratios",), with_score, factors.ratios),
    Measure(degradation.TABLES, with_norms, degradation.find),
    Measure(("library",), of_library, by_heart.library),
)
