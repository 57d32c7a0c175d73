"""What `python -m recall measure abilities` makes."""

import pandas as pd

from recall.studies import Measure, each
from recall.studies.abilities import tables

# most checkpoints are not committed: training a run again makes them
with_checkpoints = each(lambda run: len(run.steps) > 1)


def distance(chosen) -> pd.DataFrame:
    return pd.concat([tables.needle_distance(run.folder) for run in chosen], ignore_index=True)


MEASURES = (Measure(("distance",), with_checkpoints, distance),)
