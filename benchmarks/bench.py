"""Speed, side by side in one run on one thread: `make bench`.

A training step of ours against one of `transformers`' GPT2Model between the same read-in and read-out, with the same
activation, batch and data, and the optimisers that torch has of ours (its Muon, its AdamW): the two take turns, so that
a slow minute of the machine meets both.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace

import pandas as pd
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
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


SHOWN = 16  # operators


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
    torchs = replace(config.training, optimiser=config.training.optimiser.removesuffix("-batched"))
    jobs = {"ours": (training.build_model(config), config.training), "transformers": (Reference(config.model), torchs)}

    def job(model, recipe):
        optimisers = training.optimisers(model, recipe)
        return lambda: training.step(model, optimisers, batch, recipe, 0)

    seconds = alternate({name: job(*parts) for name, parts in jobs.items()}, times)
    ours, theirs = (statistics.median(seconds[name]) for name in jobs)
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


def operators(config: settings.RunConfig, times: int) -> pd.DataFrame:
    """Where a whole step goes, batch included: milliseconds of each of torch's operators by themselves, the dearest
    first."""
    task, model = Task(config.task, config.seed), training.build_model(config)
    optimisers = training.optimisers(model, config.training)

    def step(index):
        batch = task.sample_batch(index, config.training.batch_size)
        training.step(model, optimisers, batch, config.training, index)

    step(0)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for index in range(times):
            step(1 + index)
    rows = pd.DataFrame(
        [(each.key, each.count / times, each.self_cpu_time_total / 1e3 / times) for each in profiled.key_averages()],
        columns=["operator", "calls", "ms"],
    )
    return rows.assign(share=rows.ms / rows.ms.sum()).sort_values("ms", ascending=False).head(SHOWN)


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
        show(operators(config, times))
    show(generation(10))
    show(costs.price_table(data.table("fresh"))[["dimension", "labels", "setting", "runs", "reached", "both seconds"]])


if __name__ == "__main__":
    sys.exit(main())
