"""Models, prompts and tables that tests of circuits make up."""

import math

import pandas as pd
import torch

from recall.circuits.graph import Graph, Pair
from recall.model import GPT, GPTConfig
from recall.studies.weights.shared import KEYS, as_text
from recall.task import stream

# --- models


def random_model(n_layer=2, n_head=2, n_embd=8, seed=0, dtype=torch.float64, **changes):
    size = dict(n_layer=n_layer, n_head=n_head, n_embd=n_embd, initialisation="fan_in")
    model = GPT(GPTConfig(n_in=5, n_out=3, n_positions=9, **size, **changes))
    generator = stream("init", seed)
    for name, p in model.named_parameters():  # away from the initialisation's zeros and ones
        torch.nn.init.normal_(p, 1.0 if "ln_" in name and "weight" in name else 0.0, std=0.6, generator=generator)
    return model.to(dtype)


def random_pair(model, B=4, T=6, seed=0):
    generator = stream("evaluation", seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(model.read_out.weight)
    return Pair(draw(B, T, model.config.n_in), draw(B, T, model.config.n_in), draw(B, model.config.n_out))


def last_row_clean(pair):
    """The same with the clean last row in the corrupted prompts: what reads nothing else carries nothing."""
    return Pair(pair.clean, torch.cat([pair.corrupted[:, :-1], pair.clean[:, -1:]], 1), pair.target)


DIRECT = ("read_in", "read_out")
PLANTED = {("read_in", f"h.0.attn.1.{part}") for part in "qkv"}
PLANTED |= {(writer, "h.1.mlp") for writer in ("read_in", "h.0.attn.1")}
PLANTED |= {DIRECT, ("h.0.attn.1", "read_out"), ("h.1.mlp", "read_out")}


def planted_model():
    """Two layers of two heads of which only head 1 of the first and the MLP of the second write anything."""
    model = random_model(seed=4)
    with torch.no_grad():
        model.h[0].attn.c_proj.weight[:, :4] = 0
        model.h[1].attn.c_proj.weight.zero_()
        model.h[0].mlp.c_proj.weight.zero_()
        model.h[0].attn.c_proj.weight.mul_(3)
        model.h[1].mlp.c_proj.weight.mul_(3)
    return model


def names(graph, circuit):
    return {graph.edges[i] for i in circuit.nonzero().flatten()}


# --- tables

GRAPH = Graph(3, 4)
CARRYING = GRAPH.carrying.nonzero().flatten().tolist()


def circuit(kept, graph=GRAPH) -> str:
    return as_text(torch.tensor([float(i in kept) for i in range(len(graph.edges))]))


def circuits(first, second, run="a", corruption="whole-context"):
    """Circuits of both tasks, draw by draw."""
    model = dict(zip(KEYS, (run, 5, 4, 0, 3, 4, 1)))
    both = [("1-after", i, kept) for i, kept in enumerate(first, start=1)]
    both += [("2-after", i, kept) for i, kept in enumerate(second, start=1)]
    rows = [dict(corruption=corruption, task=task, draw=i, circuit=circuit(kept)) for task, i, kept in both]
    return pd.DataFrame([model | row for row in rows])


def compared(first, second, joint, with_first=0.2, rewarded=0.5, models=6):
    """Methods of several models that differ a little.  first, second, joint: edges."""
    rows = []
    columns = ["method", "edges", "overlap", "with_first"]
    for i in range(models):
        model = dict(zip(KEYS, (f"m{i}", 5, 4, i, 3, 4, 1)))
        for task, size in (("1-after", first), ("2-after", second)):
            found = [
                ("reference", size, 1, with_first),
                ("again", size, 0.7, with_first),
                ("noising", size, 0.72, with_first),
                ("larger", size, 0.5, 0.2),
                ("pruned", size, 0.6, with_first),
                ("joint", joint, 0.5, math.nan),
                ("rewarded", size, 0.5, rewarded),
                ("pruned rewarded", size, 0.5, rewarded),
            ]
            rows += [model | dict(task=task) | dict(zip(columns, values)) for values in found]
    table = pd.DataFrame(rows)
    odd = table.seed % 2
    table = table.assign(null=0.1, faithfulness=0.9, distance=0.1, edges=table.edges + odd)
    return table.assign(overlap=table.overlap + 0.01 * odd, with_first=table.with_first + 0.01 * odd)
