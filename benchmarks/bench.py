"""Speed, side by side in one run on one thread: `make bench`.

A training step of ours against one of `transformers`' GPT2Model between the same read-in and read-out, with the same
activation, optimiser, batch and data: the two take turns, so that a slow minute of the machine meets both.
"""

from __future__ import annotations

import statistics
import sys
import time

import pandas as pd
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from recall import data, measures, settings, training
from recall.model import GPTConfig
from recall.settings import TrainingConfig
from recall.studies.abilities import costs
from recall.task import Task, TaskConfig


class Reference(nn.Module):
    """transformers' GPT-2 where our blocks are; `h` is what `training.optimisers` looks for."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.read_in, self.read_out = nn.Linear(config.n_in, config.n_embd), nn.Linear(config.n_embd, config.n_out)
        self.gpt2 = GPT2Model(
            GPT2Config(
                vocab_size=1,
                n_positions=config.n_positions,
                n_embd=config.n_embd,
                n_layer=config.n_layer,
                n_head=config.n_head,
                activation_function=config.activation,
                resid_pdrop=0,
                embd_pdrop=0,
                attn_pdrop=0,
                use_cache=False,
            )
        )
        self.h = self.gpt2.h

    def forward(self, tokens):
        return self.read_out(self.gpt2(inputs_embeds=self.read_in(tokens)).last_hidden_state)


def alternate(jobs: dict, times: int, warm: int = 2) -> dict[str, list[float]]:
    """Seconds of each job, the jobs taking turns; the first `warm` rounds are not counted."""
    seconds = {name: [] for name in jobs}
    for turn in range(times + warm):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            if turn >= warm:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def matmul_peak() -> float:
    """FLOP/s of a 1024 x 1024 product in single precision, the best of 20."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(alternate({"product": lambda: a @ a}, 20)["product"])


def steps(name: str, config: settings.RunConfig, times: int, peak: float) -> dict:
    """Medians of a training step, ours and the reference's, and where ours goes."""
    batch = Task(config.task, config.seed).sample_batch(0, config.training.batch_size)
    models = {"ours": training.build_model(config), "transformers": Reference(config.model)}

    def job(model):
        optimisers = training.optimisers(model, config.training)
        return lambda: training.step(model, optimisers, batch, config.training, 0)

    seconds = alternate({name: job(model) for name, model in models.items()}, times)
    ours, theirs = (statistics.median(seconds[name]) for name in models)
    ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["transformers"]))
    flops = measures.trace_flops(config.model, config.task.trace_length) * config.training.batch_size
    return {
        "step": name,
        "ours, ms": 1e3 * ours,
        "transformers, ms": 1e3 * theirs,
        "times faster": ratio,
        "GFLOP": flops / 1e9,
        "share of peak": flops / ours / peak,
    }


def roofline(config: settings.RunConfig, times: int) -> pd.DataFrame:
    """Where a step goes: its parts, timed one by one, and what the matrix products alone would take."""
    task, model = Task(config.task, config.seed), training.build_model(config)
    optimisers = training.optimisers(model, config.training)
    batch = task.sample_batch(0, config.training.batch_size)
    loss = training.loss_of(model, batch)
    loss.backward()
    x = torch.randn(config.training.batch_size, config.task.trace_length, config.model.n_embd, requires_grad=True)
    block = model.h[0]
    q, k, v = (
        torch.randn(len(x), config.model.n_head, x.shape[1], x.shape[2] // config.model.n_head, requires_grad=True)
        for _ in range(3)
    )
    wide = torch.randn(*x.shape[:2], 4 * x.shape[2], requires_grad=True)
    flat = x.detach().flatten(0, 1)

    def both(forward, *inputs):
        def job():
            out = forward(*inputs)
            torch.autograd.grad(out, [i for i in inputs if i.requires_grad], torch.ones_like(out))

        return job

    def whole():
        fresh = task.sample_batch(1, config.training.batch_size)
        training.step(model, optimisers, fresh, config.training, 0)

    def products():
        """Forward, input gradient and weight gradient of the block's four matrices."""
        for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            given, wanted = (wide.detach().flatten(0, 1) if layer.in_features > x.shape[2] else flat), layer.weight
            y = given @ wanted.mT
            y @ wanted
            y.mT @ given

    L = config.model.n_layer
    jobs = {
        f"matrix products of {L} blocks": (products, L),
        f"attention, {L} times": (
            both(lambda q, k, v: nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v),
            L,
        ),
        f"activation, {L} times": (both(block.mlp.activation, wide), L),
        f"layer norm, {2 * L + 1} times": (both(block.ln_1, x), 2 * L + 1),
        "optimisers": (lambda: [o.step() for o in optimisers], 1),
        "clipping": (lambda: nn.utils.clip_grad_norm_(model.parameters(), 1e9), 1),
        "batch": (lambda: task.sample_batch(1, config.training.batch_size), 1),
        "whole step": (whole, 1),
    }
    seconds = alternate({name: job for name, (job, _) in jobs.items()}, times)
    rows = pd.DataFrame(
        [{"part": name, "ms": 1e3 * count * statistics.median(seconds[name])} for name, (_, count) in jobs.items()]
    )
    whole = rows.ms.iloc[-1]
    rest = {"part": "rest (bias and residual sums, reshapes, loss, dispatch)", "ms": 2 * whole - rows.ms.sum()}
    rows = pd.concat([rows.iloc[:-1], pd.DataFrame([rest]), rows.iloc[-1:]])
    return rows.assign(share=rows.ms / whole)


def generation(times: int) -> pd.DataFrame:
    """Milliseconds a trace, and the share of the training step for the CPU settings."""
    kinds = {
        "study, frozen library": settings.preset("study-medium"),
        "compact, n = 5": settings.preset("fast-1"),
        "compact, n = 3": settings.preset("fast-1", 3),
    }
    return pd.DataFrame([{"batches": name} | _generation(config, times) for name, config in kinds.items()])


def _generation(config: settings.RunConfig, times: int) -> dict:
    task, count = Task(config.task, 0), config.training.batch_size
    jobs = {"batch": lambda: task.sample_batch(1, count)}
    if config.setting.startswith("fast"):
        model = training.build_model(config)
        optimisers = training.optimisers(model, config.training)
        jobs["step"] = lambda: training.step(model, optimisers, task.sample_batch(1, count), config.training, 0)
    seconds = {job: statistics.median(each) for job, each in alternate(jobs, times).items()}
    share = seconds["batch"] / seconds["step"] if "step" in seconds else float("nan")
    return {"traces": count, "ms a trace": 1e3 * seconds["batch"] / count, "share of a step": share}


def main() -> None:
    torch.set_num_threads(1)
    peak = matmul_peak()
    small = settings.preset("fast-1")
    task = TaskConfig.study(library=None)
    large = settings.RunConfig(
        task,
        GPTConfig.size("medium", task.columns, task.dimension, 320, activation="silu"),
        TrainingConfig("adamw", 1e-4),
        small.evaluation,
    )
    show = lambda table: print(table.to_string(index=False, float_format="{:.3g}".format), end="\n\n")
    print(f"one thread; product of two 1024 x 1024 matrices: {peak / 1e9:.0f} GFLOP/s\n")
    show(
        pd.DataFrame(
            [steps("12 layers x 128 x 250 rows", large, 7, peak), steps("3 layers x 64 x 96 rows", small, 60, peak)]
        )
    )
    for config, times in ((large, 3), (small, 30)):
        show(roofline(config, times))
    show(generation(10))
    show(costs.price_table(data.table("fresh"))[["dimension", "labels", "setting", "runs", "reached", "both seconds"]])


if __name__ == "__main__":
    sys.exit(main())
