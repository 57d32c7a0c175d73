"""What `python -m recall measure which_way` makes."""

from recall.evaluation import HAAR
from recall.studies import Measure, each, whole
from recall.studies.which_way import as_if, cues, edits, ways

of_haar = each(lambda run: whole(run) and run.config["task"]["family"] in HAAR)
of_four = each(
    lambda run: (
        bool(run.steps) and run.config["task"]["labels"] == ways.SYSTEMS and run.config["task"]["family"] in HAAR
    )
)

MEASURES = (
    Measure(("interventions",), each(whole), edits.probe),
    Measure(("norm_gaps",), each(whole), edits.norm_gaps),
    Measure(("equal_norms",), cues.of_norms, cues.equal_norms),
    Measure(("cue_weights",), cues.of_weights, cues.weights),
    Measure(("early_led",), each(lambda run: run.config["task"]["family"] in cues.NORMS), cues.early_led),
    Measure(("label_shares",), of_haar, as_if.shares),
    Measure(("beaten",), as_if.of_exact, as_if.beaten),
    Measure(("as_if",), of_haar, as_if.distances),
    Measure(ways.TABLES, of_four, ways.survey),
)
