"""Training a model on a task: loop, evaluation, checkpoints, resume.

One run is one RunConfig and one folder.  Batch k is a function of (seed, k), so a run that was killed and resumed ends
with the same weights as one that was not.
"""

from __future__ import annotations

import io
import json
import math
import platform
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy
import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import recall
from recall import runs
from recall.ambient import plain_torch
from recall.config import check, to_json
from recall.evaluation import THRESHOLD, Evaluator, table
from recall.model import GPT
from recall.muon import Muon
from recall.needle import needle_prompts
from recall.settings import RunConfig, TrainingConfig, from_json
from recall.task import VERSION, Batch, Task, TaskConfig, after_query, stream

SAVE_SECONDS = 30.0  # most training time that a kill can lose
FINAL_HAYSTACKS, FINAL_TRACES = 40, 100  # final tables; the study: 50 x 1000
DIVERGED = 1e3  # a loss above this ends a run; the zero predictor's is 1


class Busy(ValueError):
    """Another process is training in that folder."""


def loss_of(model: GPT, batch: Batch, weights: tuple[float, ...] = (1, 1, 1, 1)) -> Tensor:
    """Mean squared error over the rows whose next row is an observation, weighted as TrainingConfig.weights says; 0
    where no row of the batch has weight."""
    squared = (model(batch.inputs) - batch.targets).square().sum(-1)
    weight = batch.mask
    if set(weights) != {1}:
        weight = weight * torch.tensor(weights, device=weight.device)[after_query(batch).clamp(max=3)]
    total = weight.sum()
    return (squared * weight).sum() / torch.where(total > 0, total, 1)


def optimisers(model: GPT, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices (every 2-d weight inside the blocks) and AdamW for the rest, or AdamW alone."""
    hidden = [p for p in model.h.parameters() if p.ndim == 2] if config.optimiser != "adamw" else []
    rest = [p for p in model.parameters() if not any(p is q for q in hidden)]
    own = dict(betas=(0.9, config.beta2), weight_decay=config.weight_decay, fused=True)
    chosen = [torch.optim.AdamW(rest, lr=config.learning_rate, **own)]
    if config.optimiser == "muon-batched":
        chosen.append(Muon(hidden, lr=config.muon_rate, momentum=config.momentum))
    elif hidden:
        chosen.append(torch.optim.Muon(hidden, lr=config.muon_rate, momentum=config.momentum, weight_decay=0.0))
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["base_rate"] = group["lr"]
    return chosen


def step(model, optimisers, batch: Batch, config: TrainingConfig, index: int, precision=None) -> float:
    """One training step, the `index`-th; returns the loss.  `model` may be a compiled one."""
    with precision or nullcontext():
        loss = loss_of(model, batch, config.weights)
    for optimiser in optimisers:
        optimiser.zero_grad()
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * config.rate(index)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for optimiser in optimisers:
        optimiser.step()
    return loss.item()


def checkpoint_steps(steps: int) -> list[int]:
    """Log-spaced: 0, 16, and four per doubling from there, the last step always."""
    spaced = {round(16 * 2 ** (i / 4)) for i in range(4 * max(0, math.ceil(math.log2(max(steps, 16) / 16))) + 1)}
    return sorted(s for s in {0, *spaced, steps} if s <= steps)


@plain_torch()
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


@plain_torch()
def evaluate(
    what,
    task: TaskConfig | None = None,
    *,
    systems: int = 2,
    intervention: str = "plain",
    needle: int = 0,
    haystacks: int = FINAL_HAYSTACKS,
    traces: int = FINAL_TRACES,
    seed: int = 1,
) -> pd.DataFrame:
    """The needle test of a run, or of anything that has `predict`, as `evaluation.table` gives it.

        recall.evaluate(recall.load("_runs/mine"), systems=4)
        recall.evaluate(model, recall.TaskConfig(dimension=3), intervention="misdirected")

    task: of what is not a run.  systems: N.  needle: haystack segment queried, 0 the farthest.  haystacks x traces
    prompts are drawn from `seed`.  Raises ValueError for a bad value, or where the run's weights were not kept.
    """
    if isinstance(what, runs.Run):
        check("task", task is None, "left out with a run, which has its own", task)
        task, what = from_json(what.config).task, trained_model(what)
    check("task", isinstance(task, TaskConfig), "given for what is not a run", task)
    prompts = needle_prompts(task, systems, haystacks=haystacks, traces=traces, needle=needle, seed=seed)
    return table(what.predict, prompts, task, intervention)


@plain_torch()
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

        run = recall.train(recall.preset("fast-2", dimension=3), "_runs/mine")
        run.final.query("systems == 2 and k <= 2")

    A run ends when its steps are done, when its loss has diverged, or when its abilities have stayed for `patience`
    evaluations: the manifest says which (`ended`: steps, diverged or emerged).  threads: torch threads (1 is what
    committed runs use).  report: called after every step with step, steps, ended, loss, seconds, left and the latest
    evaluation's errors.  stop_after: leave after that many steps in all, resumable (None is returned).  fresh: forget
    what is in `out`, if it is this configuration's.  Raises ValueError if `out` holds another configuration or cannot
    be written to, and Busy, which is one, while another process trains there.
    """
    out, plain = Path(out), to_json(config)
    if (out / "config.json").exists():
        there = runs.read_config(out)
        ours, theirs = runs.hash8(plain), runs.hash8(there)
        check("out", there == plain, f"a folder of this configuration ({ours})", f"{out} ({theirs})")
    if not fresh and (out / "manifest.json").exists():
        run = runs.open_run(out)
        check("out", run.whole, "another folder: in this one only a run's tables are kept", str(out))
        return run
    check("threads", threads >= 1, "at least 1", threads)
    check("device", _usable(device), "a device that torch can use here, such as cpu", device)
    how = dict(device=device, threads=threads, bf16=bf16, compile=compile)
    with _fitting(out), _alone_in(out), torch_threads(threads):
        runs.write_atomically(out / "config.json", runs.canonical(plain).encode())
        runs.clear_parts(out)
        if fresh:
            runs.discard(out)
        if (out / "manifest.json").exists():  # finished by the process that held the lock
            return runs.open_run(out)
        state = _State(config, out, how)
        forward = torch.compile(state.model) if compile else state.model
        precision = torch.autocast(torch.device(device).type, torch.bfloat16) if bf16 else None
        with _interruptible() as asked:
            while not state.ended and not asked and (stop_after is None or state.step < stop_after):
                state.advance(forward, precision)
                if report:
                    report(state.progress())
            state.save()
        if asked:
            raise KeyboardInterrupt(f"interrupted at step {state.step}; what is there goes on when it is called again")
        return state.publish() if state.ended else None


@contextmanager
def _interruptible():
    """While open, Ctrl-C and a request to end only fill the list that is yielded: the middle of a step is no state to
    go on from.  A second Ctrl-C is not waited for; a second request to end changes nothing, since a pool of workers
    asks all of them again when the first has ended."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # of a Dask worker: signals are not its own
        yield asked
        return

    def ask(signum, frame):
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(signum)

    heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, ask) for each in heard}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _fitting(out: Path):
    """One line where memory does not suffice; then a folder that was made for the run is taken away again."""
    made = not out.exists()
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        if made:
            shutil.rmtree(out, ignore_errors=True)
        raise ValueError("model and batch_size must fit into memory, of which there is not enough") from error


@contextmanager
def _alone_in(out: Path):
    """Hold a folder; the system frees it when its process dies.  Busy while another process holds it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out must be a folder that can be written to: {out}: {error.strerror}") from error
    lock = FileLock(out / ".lock", blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"out must be a folder that no other process is training in: {out}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def torch_threads(count: int):
    """So many while open."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _usable(device: str) -> bool:
    try:
        torch.empty(0, device=device)
        return torch.device(device).type != "meta"
    except (RuntimeError, AssertionError):
        return False


class _State:
    """Everything that a resumed run needs, and nothing else."""

    CLOCKS = ("step", "seconds", "evaluation_seconds", "start_seconds", "loss")

    def __init__(self, config: RunConfig, out: Path, how: dict):
        begun = time.perf_counter()
        self.config, self.out, self.how, self.device = config, out, how, how["device"]
        self.task = Task(config.task, config.seed)  # drawn on the CPU: every device sees the same traces
        self.evaluator = Evaluator(config.task, config.evaluation)
        self.model = build_model(config, device=self.device)
        self.optimisers = optimisers(self.model, config.training)
        decay = config.training.average
        self.mean = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        self.step, self.seconds, self.evaluation_seconds, self.start_seconds, self.loss = 0, 0.0, 0.0, 0.0, math.nan
        self.history: list[pd.DataFrame] = []
        self.keep = set(checkpoint_steps(config.training.steps))
        if (out / "resume.safetensors").exists():
            self._restore()
        else:
            self._evaluate()
            self._checkpoint()
            self.start_seconds -= self.evaluation_seconds
        self.ended = self._end()
        self.saved = time.perf_counter()
        self.start_seconds += self.saved - begun

    def advance(self, forward, precision) -> None:
        config, begun = self.config.training, time.perf_counter()
        batch = self.task.sample_batch(self.step, config.batch_size).to(self.device)
        self.loss = step(forward, self.optimisers, batch, config, self.step, precision)
        if self.mean:
            self.mean.update_parameters(self.model)
        self.step += 1
        self.seconds += time.perf_counter() - begun
        if self.step % config.evaluate_every == 0 or self.step == config.steps or self._diverged():
            self._evaluate()
            self.ended = self._end()
        self._checkpoint()
        if time.perf_counter() - self.saved > SAVE_SECONDS:
            self.save()

    @property
    def shown(self) -> GPT:
        """What is evaluated, kept and published."""
        return self.mean.module if self.mean else self.model

    def _diverged(self) -> bool:
        return self.step > 0 and not self.loss < DIVERGED

    def _end(self) -> str | None:
        """`diverged`, `emerged` or `steps` once the run is over."""
        config = self.config.training
        if self._diverged():
            return "diverged"
        lately = self.history[-config.patience :] if config.patience else []
        if lately and len(lately) == config.patience and all(map(_able, lately)):
            return "emerged"
        return "steps" if self.step >= config.steps else None

    def _origin(self) -> dict[str, str]:
        """What weights are of: kept in every file of them, and compared when it is read."""
        return {"configuration": runs.hash8(to_json(self.config)), "task version": str(VERSION)}

    def progress(self) -> dict:
        latest = self.history[-1]
        after = latest[(latest.event == "query") & (latest.condition == "plain") & (latest.k <= 2)]
        rate = (self.seconds + self.evaluation_seconds) / self.step
        return dict(
            step=self.step,
            steps=self.config.training.steps,
            ended=self.ended,
            loss=self.loss,
            seconds=self.seconds,
            left=rate * (self.config.training.steps - self.step),
            evaluated=int(latest.step.iloc[0]),
            errors={(int(r.systems), int(r.k)): float(r["mean"]) for _, r in after.iterrows()},
        )

    def _evaluate(self):
        begun = time.perf_counter()
        frame = self.evaluator(self._predicts(self.shown))
        frame.insert(0, "step", self.step)
        frame.insert(1, "examples", self.step * self.config.training.batch_size)
        frame.insert(2, "loss", self.loss)
        self.history.append(frame)
        self.evaluation_seconds += time.perf_counter() - begun

    def _predicts(self, model):
        return lambda tokens: model.predict(tokens.to(self.device)).cpu()

    def _checkpoint(self):
        if self.step in self.keep:
            path = runs.checkpoint_path(self.out, self.step)
            runs.save_tensors(path, self.shown.state_dict(), {"step": str(self.step), **self._origin()})

    def save(self):
        """Weights and their running mean, optimiser states, history and clocks in one file, and whose they are."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.mean:
            tensors |= {f"mean.{name}": tensor for name, tensor in self.mean.state_dict().items()}
        for i, optimiser in enumerate(self.optimisers):
            for j, slot in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{i}.{j}.{name}": torch.as_tensor(value) for name, value in slot.items()}
        clocks = {name: getattr(self, name) for name in ("how", *self.CLOCKS)}
        # as bytes: the notes of a safetensors file have a limit that a long history comes to
        history = pd.concat(self.history).to_csv(index=False).encode()
        tensors["history"] = torch.frombuffer(bytearray(history), dtype=torch.uint8)
        runs.save_tensors(self.out / "resume.safetensors", tensors, {"clocks": json.dumps(clocks), **self._origin()})
        self.saved = time.perf_counter()

    def _restore(self):
        tensors, notes = runs.load_tensors(self.out / "resume.safetensors")
        for name, value in self._origin().items():
            allowed = f"of this run's {name} ({value})"
            check("resume.safetensors", notes.get(name) == value, allowed, notes.get(name, "none"))
        clocks = json.loads(notes["clocks"])
        for name, value in clocks.pop("how").items():
            check(name, self.how[name] == value, f"{value!r} as when the run began", self.how[name])
        of = lambda part: {name.removeprefix(part): t for name, t in tensors.items() if name.startswith(part)}
        self.model.load_state_dict(of("model."))
        if self.mean:
            self.mean.load_state_dict(of("mean."))
        for i, optimiser in enumerate(self.optimisers):
            slots: dict[int, dict] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimiser.{i}."):
                    _, _, j, field = name.split(".")
                    slots.setdefault(int(j), {})[field] = tensor
            optimiser.load_state_dict(optimiser.state_dict() | {"state": slots})
        vars(self).update(clocks)
        history = pd.read_csv(io.BytesIO(tensors["history"].numpy().tobytes()), float_precision="round_trip")
        self.history = [frame for _, frame in history.groupby("step")]

    def publish(self) -> runs.Run:
        """Round the weights to half precision, evaluate those on a larger set, write the run folder."""
        published = {name: t.half().float() for name, t in self.shown.state_dict().items()}
        model = build_model(self.config, published, self.device)
        larger = dict(haystacks=FINAL_HAYSTACKS, traces=FINAL_TRACES, seed=self.config.evaluation.seed + 1)
        evaluator = Evaluator(self.config.task, replace(self.config.evaluation, **larger))
        facts = dict(
            command=f"python -m recall train --config config.json --out {self.config.name}",
            ended=self.ended,
            steps=self.step,
            training_seconds=round(self.seconds, 1),
            evaluation_seconds=round(self.evaluation_seconds, 1),
            start_seconds=round(self.start_seconds, 1),
            **self.how,
            processor=_processor(self.device),
            versions=_versions(),
        )
        final, history = evaluator(self._predicts(model)), pd.concat(self.history)
        return runs.write(self.out, to_json(self.config), history, final, published, facts)


def _able(evaluation: pd.DataFrame) -> bool:
    """Whether 1- and 2-after-query both have a score of at least 1/2, for every N > 1."""
    rows = evaluation.query("event == 'query' and condition == 'plain' and systems > 1 and k <= 2")
    return len(rows) > 0 and bool((rows.score >= THRESHOLD).all())


def _versions() -> dict[str, str]:
    ours = dict(recall=recall.__version__, python=platform.python_version())
    return ours | dict(torch=torch.__version__, numpy=numpy.__version__)


def _processor(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load_or_train(config: RunConfig, cache: Path, **how) -> runs.Run:
    """The committed run of this configuration; else the cached one; else train it now into `cache`/{name}."""
    if config.name in runs.names():
        return runs.load(config.name, runs.data_folder() / "runs")
    return train(config, Path(cache) / config.name, **how)
