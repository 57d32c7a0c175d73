"""Every intervention on finished models, beside the two ways to know the query's system (`predictors.HYPOTHESES`)."""

from __future__ import annotations

import pandas as pd

from recall import stats
from recall.evaluation import event_errors, table
from recall.interventions import INTERVENTIONS
from recall.measures import CELL, cell_of
from recall.needle import needle_prompts
from recall.predictors import HYPOTHESES
from recall.runs import Run
from recall.settings import from_json
from recall.studies.which_way.asked import NO_SEED
from recall.task import TaskConfig
from recall.training import trained_model

MODEL = "model"
# what stands right before the query is their point
NEAR = ("plain", "repeated-label", "broken-adjacency", "no-close", "no-labels")
LAST_K = 5
MODELS = list(CELL)
GROUPS = 5
FEW = (8, 16)  # haystacks and traces for the hypotheses, which are slow and nearly without noise
SEED = 3  # of the prompts; those of training and of the final tables have others


def probe(runs: list[Run], counts: tuple[int, ...] = (2, 4), haystacks: int = 16, traces: int = 64) -> pd.DataFrame:
    """Errors after the query by run, intervention, needle, N and k <= LAST_K; hypotheses once per task, with
    seed NO_SEED and no setting.

    Columns dimension, labels, setting, seed, predictor, intervention, needle (farthest, nearest), systems, k, mean,
    median.  An edit that cannot be made (no label left over, say) has no rows."""
    frames, known = [], set()
    for run in runs:
        config, cell = from_json(run.config), cell_of(run)
        task, room = config.task, config.model.n_positions
        rows = _errors(trained_model(run).predict, task, counts, haystacks, traces, room)
        frames.append(rows.assign(**cell, predictor=MODEL))
        if task not in known:
            known.add(task)
            for name, make in HYPOTHESES.items():
                rows = _errors(make(task).predict, task, counts, *FEW, room)
                frames.append(rows.assign(**cell | dict(setting="", seed=NO_SEED), predictor=name))
    columns = [*MODELS, *"predictor intervention needle systems k mean median".split()]
    return pd.concat(frames, ignore_index=True)[columns]


def _errors(predict, task: TaskConfig, counts, haystacks, traces, room) -> pd.DataFrame:
    """room: rows that the predictor can read."""
    frames = []
    for N in (N for N in counts if N <= task.labels):
        for needle, place, names in (("farthest", 0, INTERVENTIONS), ("nearest", N - 1, NEAR)):
            prompts = needle_prompts(task, N, haystacks=haystacks, traces=traces, needle=place, seed=SEED)
            for name in names:
                try:
                    edited = INTERVENTIONS[name].apply(prompts, task)
                except ValueError:
                    continue
                if edited.inputs.shape[1] > room:  # two rows more than the model has positions for
                    continue
                rows = table(predict, edited, task)
                rows = rows[(rows.event == "query") & (rows.k <= LAST_K)]
                frames.append(rows[["systems", "k", "mean", "median"]].assign(intervention=name, needle=needle))
    return pd.concat(frames, ignore_index=True)


def effects(probed: pd.DataFrame, kinds: pd.Series, systems: int = 2, needle: str = "farthest") -> pd.DataFrame:
    """What each intervention does to 1- and 2-after-query, per task and kind of model: an average over kinds is none
    of them.  kinds: `measures.kinds` of these models.

    One row per dimension, labels, kind and intervention.  Columns seeds and, for k = 1 and 2: plain{k}, edited{k}
    (means over seeds of the mean squared error), low{k}, high{k} (95 % t interval of the difference over seeds; nan
    for fewer than `stats.LEAST`)."""
    chosen = probed.query("predictor == @MODEL and systems == @systems and needle == @needle and k <= 2")
    wide = chosen.pivot_table(index=MODELS, columns=["intervention", "k"], values="mean")
    kinds = kinds.reindex(wide.index).rename("kind")
    rows = []
    for (dimension, labels, kind), group in wide.groupby(["dimension", "labels", kinds]):
        for name in INTERVENTIONS:
            if name == "plain" or (name, 1) not in group or group[name, 1].isna().any():
                continue
            line = dict(dimension=dimension, labels=labels, kind=kind, intervention=name, seeds=len(group))
            for k in (1, 2):
                plain, edited = group["plain", k], group[name, k]
                _, low, high = stats.interval(edited - plain)
                line |= {f"plain{k}": plain.mean(), f"edited{k}": edited.mean(), f"low{k}": low, f"high{k}": high}
            rows.append(line)
    return pd.DataFrame(rows)


def norm_gaps(runs: list[Run], haystacks: int = 32, traces: int = 64) -> pd.DataFrame:
    """Error of 2-after-query on *plain* prompts of 2 systems, by how far the norms of the two are apart.

    Prompts of a run are sorted by |log(norm of one / norm of the other)| and cut into GROUPS equal groups, 1 the
    closest.  Columns dimension, labels, setting, seed, group, gap (mean ratio of the larger norm to the smaller),
    error (mean)."""
    rows = []
    for run in runs:
        task = from_json(run.config).task
        prompts = needle_prompts(task, 2, haystacks=haystacks, traces=traces, seed=SEED)
        error = event_errors(trained_model(run).predict(prompts.inputs), prompts, task)["query"][1].flatten()
        norm = prompts.systems.x0.norm(dim=-1)[prompts.segments.system[:, :2]]
        gap = (norm[:, 0] / norm[:, 1]).log().abs()
        for group, index in enumerate(gap.argsort().chunk(GROUPS), start=1):
            of_group = dict(group=group, gap=gap[index].exp().mean().item(), error=error[index].mean().item())
            rows.append(cell_of(run) | of_group)
    return pd.DataFrame(rows)
