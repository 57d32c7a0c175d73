"""What every study of this chapter asks of a finished run: who it is, and its errors after the query."""

from __future__ import annotations

from torch import Tensor

from recall.evaluation import event_errors, identification_score
from recall.measures import cell_of
from recall.needle import Prompts
from recall.runs import Run
from recall.task import TaskConfig

NO_SEED = -1  # of the rows of exact predictors, which nobody trained
RUN = ["dimension", "setting", "seed"]  # tells the runs of one label count apart


def run_key(run: Run) -> dict:
    """`RUN` of a run, as the first columns of its rows."""
    cell = cell_of(run)
    return {name: cell[name] for name in RUN}


def compact_task(run: Run) -> TaskConfig:
    """Of a run's dimension and labels: Haar maps, norms of all lengths, certain cues, whatever it was trained on."""
    return TaskConfig.compact(run.config["task"]["dimension"], run.config["task"]["labels"])


def query_errors(predictions: Tensor, prompts: Prompts, task: TaskConfig) -> list[float]:
    """Mean squared error over prompts after the query, for k = 1..K.  predictions: [B, T, n]."""
    return event_errors(predictions, prompts, task)["query"].flatten(1).double().mean(1).tolist()


def first_score(predictions: Tensor, prompts: Prompts, task: TaskConfig) -> float:
    """Identification score of 1-after-query: whether the label is looked up."""
    return identification_score(query_errors(predictions, prompts, task)[0], task.family, prompts.count)
