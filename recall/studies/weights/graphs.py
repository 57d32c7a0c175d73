"""What chapter 7 draws: places of writers and readers, and the edges of circuits between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

from recall.circuits.graph import Graph
from recall.studies.weights.dissect import circuits_of, last_steps, read

PARTS = ("neither", "the first task only", "the second task only", "both")
PAIRS = {  # of tasks that a graph can show, as the page calls them
    "1- and 2-after-query": ("1-after", "2-after"),
    "2- and 3-after-query": ("2-after", "3-after"),
    "1-after and synchronised 2-after": ("1-after", "sync 2-after"),
    "2-after and synchronised 2-after": ("2-after", "sync 2-after"),
}
REFERENCE = "elimination"


def graph_table(
    circuits: pd.DataFrame, edges: pd.DataFrame, methods: pd.DataFrame, models: dict[str, str], first: str
) -> pd.DataFrame:
    """One row per edge for `charts.circuit_graph`, by model, corruption, tasks and method: places of writer and
    reader, what its corruption alone costs 1- and 2-after-query, and which of the two tasks' circuits (draw 1) holds
    it.

    models: run -> what the page calls it; of their last steps.  All have reference circuits of 1- and 2-after-query
    under every corruption; under whole-context also those of the other methods, and `first` those of the other
    PAIRS."""
    scenes, last = [], last_steps(circuits)
    for (run, corruption), group in last[last.run.isin(models)].groupby(["run", "corruption"], sort=False):
        of = {task: found[0] for task, found in circuits_of(group).items()}
        scene = dict(model=models[run], corruption=corruption)
        if not {"1-after", "2-after"} <= set(of):
            continue
        effects = edges[(edges.run == run) & (edges.corruption == corruption) & (edges.step == group.step.iloc[0])]
        drawn = lambda a, b, **more: scenes.append(
            _drawn(Graph(int(group.layers.iloc[0]), int(group.heads.iloc[0])), effects, a, b).assign(**scene, **more)
        )
        for words, (a, b) in PAIRS.items():
            if (a, b) == ("1-after", "2-after") or run == first and corruption == "whole-context" and {a, b} <= set(of):
                drawn(of[a], of[b], tasks=words, method=REFERENCE)
        if corruption == "whole-context":
            of = methods[methods.run == run].set_index(["method", "task"]).circuit
            for method, words in (
                ("larger", "exact effects"),
                ("attribution", "attribution"),
                ("pruned", "learned pruning"),
            ):
                if method in of.index:
                    drawn(*(read(of[method, f"{k}-after"]) for k in (1, 2)), tasks=next(iter(PAIRS)), method=words)
    return (
        pd.concat(scenes, ignore_index=True)
        if scenes
        else pd.DataFrame(columns=[*GRAPH, "model", "corruption", "tasks", "method"])
    )


def graph_over_training(training: pd.DataFrame, edges: pd.DataFrame, models: dict[str, str]) -> pd.DataFrame:
    """The same, of both tasks' circuits at every step, by model and step."""
    scenes = []
    for row in training[
        training.circuit_1.astype(bool) & training.circuit_2.astype(bool) & training.overlap.notna()
    ].itertuples():
        effects = edges[(edges.run == row.run) & (edges.step == row.step)]
        scenes.append(
            _drawn(Graph(row.layers, row.heads), effects, read(row.circuit_1), read(row.circuit_2)).assign(
                model=models[row.run], step=row.step
            )
        )
    return pd.concat(scenes, ignore_index=True) if scenes else pd.DataFrame(columns=[*GRAPH, "model", "step"])


GRAPH = ["writer", "reader", "circuit", "first", "second", "x", "y", "x2", "y2"]


def _drawn(graph: Graph, effects: pd.DataFrame, a: Tensor, b: Tensor) -> pd.DataFrame:
    """GRAPH, the edges that carry something."""
    rows = pd.DataFrame(graph.edges, columns=["writer", "reader"]).assign(
        circuit=np.array(PARTS)[(a + 2 * b).int().numpy()]
    )[graph.carrying.numpy()]
    rows = rows.merge(
        effects.rename(columns={"noising_1": "first", "noising_2": "second"})[["writer", "reader", "first", "second"]],
        on=["writer", "reader"],
        validate="one_to_one",
    )
    rows[["x", "y"]] = [_place(name, graph) for name in rows.writer]
    rows[["x2", "y2"]] = [_place(name, graph, reads=True) for name in rows.reader]
    return rows


def _place(name: str, graph: Graph, reads: bool = False) -> tuple[float, float]:
    """Depth to the right, heads one under the other; a reader stands to the left of what it belongs to."""
    if name in ("read_in", "read_out"):
        return (2.0, -0.8) if name == "read_in" else (4.0 + 2.0 * graph.n_layer, -0.8)
    _, layer, *rest = name.split(".")
    # lifted a little from layer to layer, so that no edge hides behind others
    x, lift = 4.0 + 2.0 * int(layer), 0.13 * int(layer)
    if rest[0] == "mlp":
        return x + 1.0 - 0.3 * reads, -graph.n_head / 2 - 0.5 - 3 * lift
    part = {"q": 0.25, "k": 0.0, "v": -0.25}[rest[2]] if reads else 0.0
    return x - 0.3 * reads, graph.n_head / 2 - int(rest[1]) + part + lift
