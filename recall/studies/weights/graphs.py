"""What chapter 7 draws: places of writers and readers, and the edges of circuits between them.

A circuit is a text with a letter for every edge, x or a point, in the order in which a model's table of effects lists
its edges: that of `recall.circuits.graph.Graph.edges`."""

from __future__ import annotations

import pandas as pd

PARTS = ["neither", "the first task only", "the second task only", "both"]
BOTH_TASKS = "1- and 2-after-query"
PAIRS = {  # of tasks that a graph can show, as the page calls them
    BOTH_TASKS: ("1-after", "2-after"),
    "2- and 3-after-query": ("2-after", "3-after"),
    "1-after and synchronised 2-after": ("1-after", "sync 2-after"),
    "2-after and synchronised 2-after": ("2-after", "sync 2-after"),
}
REFERENCE = "elimination"
METHODS = {"larger": "exact effects", "attribution": "attribution", "pruned": "learned pruning"}
EVERYWHERE = "whole-context"  # the corruption with circuits of every method and pair
EDGE = ["writer", "reader", "circuit", "first", "second", "x", "y", "x2", "y2"]


def graph_table(
    circuits: pd.DataFrame, edges: pd.DataFrame, methods: pd.DataFrame, models: dict[str, str], first: str
) -> pd.DataFrame:
    """EDGE, model, corruption, tasks, method: one row per edge and scene for `charts.circuit_graph`, at last steps.

    circuit: one of PARTS, which of the two tasks' circuits (draw 1) holds the edge.  first, second: what its
    corruption alone costs 1- and 2-after-query.  models: run -> what the page calls it.  All have reference circuits
    of 1- and 2-after-query under every corruption; under whole-context also those of the other methods, and `first`
    those of the other PAIRS."""
    scenes = []
    for (run, corruption), group in circuits[circuits.run.isin(models)].groupby(["run", "corruption"], sort=False):
        step = group.step.max()
        of = _by(group[(group.step == step) & (group.draw == 1)], "task")
        effects = edges[(edges.run == run) & (edges.corruption == corruption) & (edges.step == step)]
        if not set(PAIRS[BOTH_TASKS]) <= set(of):
            continue
        pairs = PAIRS if run == first and corruption == EVERYWHERE else {BOTH_TASKS: PAIRS[BOTH_TASKS]}
        drawn = [(words, REFERENCE, of[a], of[b]) for words, (a, b) in pairs.items() if {a, b} <= set(of)]
        if corruption == EVERYWHERE:
            found = _by(methods[methods.run == run], ["method", "task"])
            two = {method: [found.get((method, task)) for task in PAIRS[BOTH_TASKS]] for method in METHODS}
            drawn += [(BOTH_TASKS, METHODS[method], *both) for method, both in two.items() if None not in both]
        for tasks, method, a, b in drawn:
            scene = {"model": models[run], "corruption": corruption, "tasks": tasks, "method": method}
            scenes.append(_drawn(group.layers.iloc[0], group.heads.iloc[0], effects, a, b).assign(**scene))
    return _all(scenes, ["model", "corruption", "tasks", "method"])


def graph_over_training(training: pd.DataFrame, edges: pd.DataFrame, models: dict[str, str]) -> pd.DataFrame:
    """EDGE, model, step: the same, of both tasks' circuits at every step."""
    scenes = []
    there = training.circuit_1.astype(bool) & training.circuit_2.astype(bool) & training.overlap.notna()
    for row in training[there].itertuples():
        effects = edges[(edges.run == row.run) & (edges.step == row.step)]
        scene = _drawn(row.layers, row.heads, effects, row.circuit_1, row.circuit_2)
        scenes.append(scene.assign(model=models[row.run], step=row.step))
    return _all(scenes, ["model", "step"])


def _by(rows: pd.DataFrame, key) -> dict:
    """Circuits by a column or two, those that there are."""
    return rows[rows.circuit.notna() & (rows.circuit != "")].set_index(key).circuit.to_dict()


def _all(scenes: list[pd.DataFrame], what: list[str]) -> pd.DataFrame:
    return pd.concat(scenes, ignore_index=True) if scenes else pd.DataFrame(columns=[*EDGE, *what])


def _drawn(layers: int, heads: int, effects: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """EDGE of the edges that carry something."""
    rows = effects.rename(columns={"noising_1": "first", "noising_2": "second"})
    rows["circuit"] = [PARTS[(in_a == "x") + 2 * (in_b == "x")] for in_a, in_b in zip(a, b, strict=True)]
    rows = rows[rows.writer != "position"]
    places = [
        (*_place(w, layers, heads), *_place(r, layers, heads, reads=True)) for w, r in zip(rows.writer, rows.reader)
    ]
    rows[["x", "y", "x2", "y2"]] = places
    return rows[EDGE]


def _place(name: str, layers: int, heads: int, reads: bool = False) -> tuple[float, float]:
    """Depth to the right, heads one under the other; a reader stands to the left of what it belongs to."""
    if name in ("read_in", "read_out"):
        return (2.0, -0.8) if name == "read_in" else (4.0 + 2.0 * layers, -0.8)
    _, layer, *rest = name.split(".")
    # lifted a little from layer to layer, so that no edge hides behind others
    x, lift = 4.0 + 2.0 * int(layer), 0.13 * int(layer)
    if rest[0] == "mlp":
        return x + 1.0 - 0.3 * reads, -heads / 2 - 0.5 - 3 * lift
    part = {"q": 0.25, "k": 0.0, "v": -0.25}[rest[2]] if reads else 0.0
    return x - 0.3 * reads, heads / 2 - int(rest[1]) + part + lift
