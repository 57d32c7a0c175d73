"""Circuits: which connections inside a model carry a prediction, on any run.

pair = corrupted_pair(prompts, config, "2-after", "binding-swap")   clean prompts and their corrupted copies
patcher = Patcher(model, pair)                                      the model under any mask of its graph's edges
effects = exact(patcher)                                            what each edge does alone
circuit = eliminate(patcher, effects.noising)                       few edges that make the same prediction
circuit, gates = prune(model, pair, PruningConfig(edges=60))        the same by learning
measure(Patcher(model, fresh_pair), circuit)                        what it explains, on other prompts
"""

from recall.circuits.corruptions import corrupted_pair
from recall.circuits.faithfulness import eliminate, measure
from recall.circuits.graph import Graph, Patcher, exact
from recall.circuits.pruning import PruningConfig, prune

__all__ = ["Graph", "Patcher", "PruningConfig", "corrupted_pair", "eliminate", "exact", "measure", "prune"]
