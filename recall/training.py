"""Training a model on a task: settings, loop, evaluation, checkpoints, resume.

One run is one RunConfig and one folder.  Batch k is a function of (seed, k), so a run that was killed and resumed ends
with the same weights as one that was not.
"""

from __future__ import annotations

import io
import json
import math
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Callable, get_type_hints

import numpy
import pandas as pd
import torch
from torch import Tensor

import recall
from recall import runs
from recall.evaluation import EvaluationConfig, Evaluator
from recall.model import GPT, GPTConfig
from recall.needle import prompt_rows
from recall.task import Batch, Task, TaskConfig, check, stream

SAVE_SECONDS = 30.0  # most training time that a kill can lose
FINAL_HAYSTACKS, FINAL_TRACES = 40, 100  # final tables; the study: 50 x 1000 (facts 4.1)


@dataclass(frozen=True)
class TrainingConfig:
    """optimiser: `muon` (Muon on the hidden matrices, AdamW on the rest) or `adamw` (on everything).

    learning_rate: AdamW's.  muon_rate: Muon's.  warmup: steps of linear warm-up.  decay_from: share of the run after
    which both rates fall linearly to 0 (1 keeps them constant).  weight_decay: of AdamW.  clip: global gradient norm.
    evaluate_every: steps between evaluations.
    """

    optimiser: str = "muon"
    learning_rate: float = 3e-3
    muon_rate: float = 0.01
    warmup: int = 50
    decay_from: float = 1.0
    weight_decay: float = 0.0
    clip: float = 1.0
    batch_size: int = 32
    steps: int = 3000
    evaluate_every: int = 100

    def __post_init__(self):
        check("optimiser", self.optimiser in ("muon", "adamw"), "muon or adamw", self.optimiser)
        for field in ("learning_rate", "muon_rate", "clip"):
            check(field, getattr(self, field) > 0, "positive", getattr(self, field))
        for field in ("steps", "batch_size", "evaluate_every"):
            check(field, getattr(self, field) >= 1, "at least 1", getattr(self, field))
        check("warmup", self.warmup >= 0, "at least 0", self.warmup)
        check("decay_from", 0 <= self.decay_from <= 1, "0 to 1", self.decay_from)
        check("weight_decay", self.weight_decay >= 0, "at least 0", self.weight_decay)

    def rate(self, step: int) -> float:
        """Factor on the learning rates at a step: warm-up, then constant, then linear to 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = (self.steps - step) / max(self.steps * (1 - self.decay_from), 1e-9)
        return warm * min(1.0, left)


@dataclass(frozen=True)
class RunConfig:
    """Everything that makes a run.  setting: the name of the frozen recipe, or `custom`."""

    task: TaskConfig
    model: GPTConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    setting: str = "custom"
    seed: int = 0

    def __post_init__(self):
        task, model = self.task, self.model
        check("seed", 0 <= self.seed < 2**31, "0 to 2147483647", self.seed)
        check("model.n_in", model.n_in == task.columns, f"the task's columns ({task.columns})", model.n_in)
        check("model.n_out", model.n_out == task.dimension, f"the task's dimension ({task.dimension})", model.n_out)
        most = max(self.evaluation.systems)
        check("evaluation.systems", most <= task.labels, f"at most labels ({task.labels})", most)
        rows = positions(task, most)
        check("model.n_positions", model.n_positions >= rows, f"at least {rows}, the longest prompt", model.n_positions)

    @property
    def name(self) -> str:
        return runs.run_name(to_json(self))


def positions(task: TaskConfig, systems: int | None = None) -> int:
    """Rows of the position table: the trace, or the needle prompt of `systems` (all labels) where that is longer."""
    return max(task.trace_length, prompt_rows(task, systems or task.labels))


def to_json(config: RunConfig) -> dict:
    """Nested dictionary of plain JSON values."""
    return json.loads(json.dumps(asdict(config)))


def from_json(values: dict, cls=RunConfig, where: str = ""):
    """The configuration back from `to_json`; ValueError names an unknown, missing or mistyped field."""
    hints = get_type_hints(cls)
    check(where or "config", isinstance(values, dict), "an object", values)
    for name in values:
        check(f"{where}{name}", name in hints, f"left out (fields: {', '.join(hints)})", values[name])
    built = {}
    for name, value in values.items():
        hint = hints[name]
        if is_dataclass(hint):
            value = from_json(value, hint, f"{where}{name}.")
        elif name == "systems":
            check(f"{where}{name}", isinstance(value, list) and all(type(v) is int for v in value), "a list of whole numbers", value)
            value = tuple(value)
        elif hint is float and type(value) is int:
            value = float(value)
        else:
            check(f"{where}{name}", isinstance(value, hint) and not (hint is int and type(value) is bool),
                  f"of type {getattr(hint, '__name__', hint)}", value)
        built[name] = value
    missing = [f.name for f in fields(cls) if f.name not in built and f.default is f.default_factory]
    check(f"{where}{missing[0]}" if missing else "config", not missing, "given", None)
    return cls(**built)


# ---------------------------------------------------------------------------------------------------------- presets

def _compact_run(setting, training, dimension, labels, seed):
    task = TaskConfig.compact(dimension, labels)
    model = GPTConfig.size("cpu", task.columns, dimension, positions(task), activation="silu",
                           initialisation="fan_in", zero_init=True)
    systems = tuple(N for N in (1, 2, 4, 8) if N <= labels)
    return RunConfig(task, model, training, EvaluationConfig(systems), setting, seed)


def _study_run(size, batch_size, learning_rate, steps):
    """The study's recipe (facts 2.2): AdamW, weight decay 0.01, constant rate, clip 1, its own generator."""

    def build(dimension, labels, seed):
        task = TaskConfig.study(dimension=dimension, labels=labels, max_systems=labels)
        model = GPTConfig.size(size, task.columns, dimension, max(positions(task), 251))
        training = TrainingConfig("adamw", learning_rate, batch_size=batch_size, steps=steps, warmup=0,
                                  weight_decay=0.01, evaluate_every=1000)
        systems = tuple(N for N in (1, 2, 5, 19) if N <= labels)
        return RunConfig(task, model, training, EvaluationConfig(systems), f"study-{size}", seed)

    return build


def _fast(dimension, labels, seed):
    """Chosen for speed alone, on seeds 200 to 203 of (5, 4), which no committed run uses."""
    training = TrainingConfig(steps=3000 + 250 * max(0, labels - 4), evaluate_every=100 if labels <= 4 else 200)
    return _compact_run("fast-0", training, dimension, labels, seed)


def _adamw(dimension, labels, seed):
    """AdamW alone on the same task and model.  Rate: of 1e-3, 3e-3 and 6e-3, the one with the lowest error of 2-after-query
    at step 1,000 of seed 200 at (3, 4); 3e-3 and 6e-3, followed to step 3,000 there, had not learnt 1-after-query."""
    training = TrainingConfig("adamw", steps=6000, evaluate_every=200)
    return _compact_run("adamw-0", training, dimension, labels, seed)


@dataclass(frozen=True)
class Preset:
    """build(dimension, labels, seed) -> RunConfig.  defaults: dimension and labels where none are asked for.

    minutes, memory_mb: measured on one core at the defaults, or None where nobody has run it here.
    """

    build: Callable[[int, int, int], RunConfig]
    defaults: tuple[int, int]
    about: str
    minutes: float | None = None
    memory_mb: int | None = None


PRESETS = {
    "fast-0": Preset(_fast, (5, 4), "both abilities within minutes on one core"),
    "adamw-0": Preset(_adamw, (5, 4), "the same task and model with AdamW alone"),
    # batch, rate and length of facts section 2.2; nobody has run these here
    "study-tiny": Preset(_study_run("tiny", 2048, 1.268e-4, 50_000), (5, 25), "the study's recipe, tiny model"),
    "study-small": Preset(_study_run("small", 1024, 4.483e-5, 100_000), (5, 25), "the study's recipe, small model"),
    "study-medium": Preset(_study_run("medium", 512, 1.585e-5, 182_000), (5, 25), "the study's main model"),
    "study-big": Preset(_study_run("big", 640, 1.477e-5, 127_000), (5, 25), "the study's recipe, big model"),
    "study-huge": Preset(_study_run("huge", 96, 4.77e-6, 1_008_000), (5, 25), "the study's recipe, largest model"),
}


def preset(name: str, dimension: int | None = None, labels: int | None = None, seed: int = 0, **training) -> RunConfig:
    """A preset's RunConfig; keyword arguments replace fields of its TrainingConfig (the setting is then `custom`)."""
    check("preset", name in PRESETS, f"one of {', '.join(PRESETS)}", name)
    dimension, labels = (given if given is not None else default
                         for given, default in zip((dimension, labels), PRESETS[name].defaults))
    config = PRESETS[name].build(dimension, labels, seed)
    if training:
        config = replace(config, training=replace(config.training, **training), setting="custom")
    return config


# ------------------------------------------------------------------------------------------------------------- loop

def loss_of(model: GPT, batch: Batch) -> Tensor:
    """Sum of squared errors over the rows whose next row is an observation, divided by their number."""
    squared = (model(batch.inputs) - batch.targets).square().sum(-1)
    return (squared * batch.mask).sum() / batch.mask.sum()


def optimisers(model: GPT, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices (every 2-d weight inside the blocks) and AdamW for the rest, or AdamW alone."""
    hidden = [p for p in model.h.parameters() if p.ndim == 2] if config.optimiser == "muon" else []
    rest = [p for p in model.parameters() if not any(p is q for q in hidden)]
    chosen = [torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)]
    if hidden:
        chosen.append(torch.optim.Muon(hidden, lr=config.muon_rate, weight_decay=0.0))
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["base_rate"] = group["lr"]
    return chosen


def checkpoint_steps(steps: int) -> list[int]:
    """Log-spaced: 0, 16, and four per doubling from there, the last step always."""
    spaced = {round(16 * 2 ** (i / 4)) for i in range(4 * max(0, math.ceil(math.log2(max(steps, 16) / 16))) + 1)}
    return sorted(s for s in {0, *spaced, steps} if s <= steps)


def build_model(config: RunConfig, weights: dict[str, Tensor] | None = None, device="cpu") -> GPT:
    """The run's model, at its initialisation or with given weights (ValueError if they are another config's)."""
    model = GPT(config.model, stream("init", config.seed)).to(device)
    if weights is not None:
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"checkpoint must fit the run's model: {str(error).splitlines()[1].strip()}") from error
    return model


def parameter_count(config: RunConfig) -> int:
    """Parameters of the run's model, without building it."""
    with torch.device("meta"):
        return GPT(config.model).parameter_count


def trained_model(run: runs.Run, device="cpu") -> GPT:
    """The published model of a finished run."""
    return build_model(from_json(run.config), run.weights(), device)




def train(
    config: RunConfig,
    out: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    bf16: bool = False,
    compile: bool = False,
    report: Callable[[dict], None] | None = None,
    stop_after: int | None = None,
    fresh: bool = False,
) -> runs.Run | None:
    """Train `config` in folder `out`, resuming what is there; a finished run is returned as it is.

    threads: torch threads (1 is what committed runs use).  report: called after every step with step, steps, loss,
    seconds, left and the latest evaluation's errors.  stop_after: leave after that many steps in all, resumable
    (None is returned).  fresh: forget what is in `out`, if it is this configuration's.  Raises ValueError if `out` holds another configuration or cannot be written to.
    """
    out, plain = Path(out), to_json(config)
    if (out / "config.json").exists():
        there = json.loads((out / "config.json").read_text())
        check("out", there == plain, f"a folder of this configuration ({runs.hash8(plain)})", f"{out} ({runs.hash8(there)})")
    if fresh:
        runs.discard(out)
    if (out / "manifest.json").exists():
        return runs.open_run(out)
    runs.write_atomically(out / "config.json", runs.canonical(plain).encode())
    before, spent = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(threads)
    try:
        state = _State(config, out, device)
        forward = torch.compile(state.model) if compile else state.model
        precision = torch.autocast(device, torch.bfloat16) if bf16 else nullcontext()
        last = config.training.steps if stop_after is None else min(stop_after, config.training.steps)
        while state.step < last:
            state.advance(forward, precision)
            if report:
                report(state.progress())
        state.save()
        if state.step < config.training.steps:
            return None
        return state.publish(dict(device=device, threads=threads, bf16=bf16, compile=compile,
                                  session_seconds=round(time.perf_counter() - spent, 1)))
    finally:
        torch.set_num_threads(before)


class _State:
    """Everything that a resumed run needs, and nothing else."""

    def __init__(self, config: RunConfig, out: Path, device: str):
        self.config, self.out, self.device = config, out, device
        self.task = Task(config.task, config.seed, device)
        self.evaluator = Evaluator(config.task, config.evaluation, device)
        self.model = build_model(config, device=device)
        self.optimisers = optimisers(self.model, config.training)
        self.step, self.seconds, self.evaluation_seconds, self.loss = 0, 0.0, 0.0, math.nan
        self.history: list[pd.DataFrame] = []
        self.keep = set(checkpoint_steps(config.training.steps))
        if (out / "resume.safetensors").exists():
            self._restore()
        else:
            self._evaluate()
            self._checkpoint()
        self.saved = time.perf_counter()

    def advance(self, forward, precision) -> None:
        config, begun = self.config.training, time.perf_counter()
        batch = self.task.sample_batch(self.step, config.batch_size)
        with precision:
            loss = loss_of(forward, batch)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = group["base_rate"] * config.rate(self.step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step, self.loss = self.step + 1, loss.item()
        self.seconds += time.perf_counter() - begun
        if self.step % config.evaluate_every == 0 or self.step == config.steps:
            self._evaluate()
        self._checkpoint()
        if time.perf_counter() - self.saved > SAVE_SECONDS:
            self.save()

    def progress(self) -> dict:
        latest = self.history[-1]
        after = latest[(latest.event == "query") & (latest.condition == "plain") & (latest.k <= 2)]
        rate = (self.seconds + self.evaluation_seconds) / self.step
        return dict(step=self.step, steps=self.config.training.steps, loss=self.loss, seconds=self.seconds,
                    left=rate * (self.config.training.steps - self.step), evaluated=int(latest.step.iloc[0]),
                    errors={(int(r.systems), int(r.k)): float(r["mean"]) for _, r in after.iterrows()})

    def _evaluate(self):
        begun = time.perf_counter()
        frame = self.evaluator(self.model.predict)
        frame.insert(0, "step", self.step)
        frame.insert(1, "examples", self.step * self.config.training.batch_size)
        frame.insert(2, "loss", self.loss)
        self.history.append(frame)
        self.evaluation_seconds += time.perf_counter() - begun

    def _checkpoint(self):
        if self.step in self.keep:
            path = self.out / "checkpoints" / f"step-{self.step:06d}.safetensors"
            runs.save_tensors(path, self.model.state_dict(), {"step": str(self.step)})

    def save(self):
        """Weights, optimiser states, history and clocks in one file."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, optimiser in enumerate(self.optimisers):
            for j, slot in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{i}.{j}.{name}": torch.as_tensor(value) for name, value in slot.items()}
        clocks = dict(step=self.step, seconds=self.seconds, evaluation_seconds=self.evaluation_seconds, loss=self.loss)
        history = pd.concat(self.history).to_csv(index=False)
        runs.save_tensors(self.out / "resume.safetensors", tensors, {"clocks": json.dumps(clocks), "history": history})
        self.saved = time.perf_counter()

    def _restore(self):
        tensors, notes = runs.load_tensors(self.out / "resume.safetensors")
        self.model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
        for i, optimiser in enumerate(self.optimisers):
            slots: dict[int, dict] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimiser.{i}."):
                    _, _, j, field = name.split(".")
                    slots.setdefault(int(j), {})[field] = tensor
            optimiser.load_state_dict(optimiser.state_dict() | {"state": slots})
        vars(self).update(json.loads(notes["clocks"]))
        self.history = [frame for _, frame in pd.read_csv(io.StringIO(notes["history"])).groupby("step")]

    def publish(self, how: dict) -> runs.Run:
        """Round the weights to half precision, evaluate those on a larger set, write the run folder."""
        published = {name: t.half().float() for name, t in self.model.state_dict().items()}
        model = build_model(self.config, published, self.device)
        larger = replace(self.config.evaluation, haystacks=FINAL_HAYSTACKS, traces=FINAL_TRACES,
                         seed=self.config.evaluation.seed + 1)
        final = Evaluator(self.config.task, larger, self.device)(model.predict)
        facts = dict(
            command=f"python -m recall train --config config.json --out {self.config.name}",
            training_seconds=round(self.seconds, 1),
            evaluation_seconds=round(self.evaluation_seconds, 1),
            **how,
            processor=_processor(),
            versions=dict(recall=recall.__version__, python=platform.python_version(), torch=torch.__version__,
                          numpy=numpy.__version__),
        )
        return runs.write(self.out, to_json(self.config), pd.concat(self.history), final, published, facts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load_or_train(config: RunConfig, cache: Path, **how) -> runs.Run:
    """The committed run of this configuration; else the cached one; else train it now into `cache`/{name}."""
    if config.name in runs.names():
        return runs.load(config.name)
    return train(config, Path(cache) / config.name, **how)
