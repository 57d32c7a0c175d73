"""Many runs: the missing ones only, on this machine's cores or on a Dask cluster.

A sweep is a module that has `configs() -> list[RunConfig]`: one of `recall/sweeps/`, or any file.  Every run is
`training.train` in a folder of its own, so what holds there holds here: a finished run is not run again, a half-finished
one goes on, and a lock keeps two processes from one folder.  Two sweeps over one `out` therefore share the work.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import pkgutil
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Iterator

import pandas as pd
import torch

from recall import costs, runs, summary, sweeps, training
from recall.evaluation import Evaluator
from recall.settings import RunConfig, from_json, to_json
from recall.task import Task, check

TIMED_STEPS, TIMED_TRACES = 3, 32  # after one step that is not timed; of a larger batch a part is timed and scaled
REPORT_SECONDS = 1.0  # between two lines of a run's progress.json
BUSY_SECONDS = 2.0  # before a run that another process holds is tried again
BROKEN_POOLS = 3  # workers killed from outside before the sweep gives up


def named() -> list[str]:
    """Names of the sweeps that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(sweeps.__path__))


def load(name: str) -> list[RunConfig]:
    """The runs of a named sweep, or of a Python file; ValueError if it is neither or holds a run twice."""
    path = Path(name)
    if name in named():
        module = importlib.import_module(f"recall.sweeps.{name}")
    else:
        check("sweep", path.suffix == ".py" and path.is_file(), f"one of {', '.join(named())}, or a Python file", name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    check("sweep", hasattr(module, "configs"), "a module with configs() -> list[RunConfig]", name)
    configs = list(module.configs())
    check("sweep", len({config.name for config in configs}) == len(configs) > 0, "a list of different runs", name)
    return configs


@dataclass(frozen=True)
class Cost:
    """runs: in the sweep.  missing: not finished in `out`.  seconds: of one core, at most, for those (an end before the
    last step is not foreseen)."""

    runs: int
    missing: int
    seconds: float

    def __str__(self):
        return f"{self.runs} runs, {self.missing} to do: at most {self.seconds / 3600:.2f} core-hours"


def cost(configs: list[RunConfig], out: Path) -> Cost:
    """What is left to do, from timing a few steps and one evaluation of every kind of run on one thread here."""
    before, seconds, prices, missing = torch.get_num_threads(), 0.0, {}, 0
    torch.set_num_threads(1)
    try:
        for config in configs:
            folder = Path(out) / config.name
            if (folder / "manifest.json").exists():
                continue
            missing += 1
            kind = (config.task, config.model, replace(config.training, steps=1), config.evaluation)
            if kind not in prices:
                prices[kind] = _price(config)
            step, evaluation = prices[kind]
            left = config.training.steps - done_steps(folder)
            seconds += left * step + (left / config.training.evaluate_every + 1) * evaluation
    finally:
        torch.set_num_threads(before)
    return Cost(len(configs), missing, seconds)


def _price(config: RunConfig) -> tuple[float, float]:
    """Seconds of one training step and of one evaluation."""
    count = min(config.training.batch_size, TIMED_TRACES)
    task, model = Task(config.task, config.seed), training.build_model(config)
    optimisers = training.optimisers(model, config.training)
    for i in range(1 + TIMED_STEPS):
        if i == 1:
            begun = time.perf_counter()
        training.step(model, optimisers, task.sample_batch(i, count), config.training, i)
    between = time.perf_counter()
    Evaluator(config.task, config.evaluation)(model.predict)
    scale = config.training.batch_size / count
    return scale * (between - begun) / TIMED_STEPS, time.perf_counter() - between


def done_steps(folder: Path) -> int:
    """Steps that a run has behind it, by its own word; 0 where it has not begun."""
    try:
        return int(json.loads((Path(folder) / "progress.json").read_text())["step"])
    except (OSError, ValueError, KeyError):
        return 0


def work(config: dict, folder: str, parent: int | None = None) -> str:
    """Train one run in a worker: `done`, or `busy` where another process holds its folder.

    parent: process that must be alive; a worker whose sweep was killed leaves at its next step, so that the run is free.
    """
    folder, told = Path(folder), 0.0

    def report(progress):
        nonlocal told
        if parent is not None and os.getppid() != parent:
            os._exit(1)
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            runs.write_atomically(folder / "progress.json", json.dumps({"step": progress["step"]}).encode())

    try:
        training.train(from_json(config), folder, report=report)
    except training.Busy:
        return "busy"
    return "done"


@contextmanager
def _executor(workers: int, scheduler: str | None) -> Iterator:
    """A concurrent.futures executor: local one-thread processes, or those of a Dask cluster."""
    if scheduler is None:
        before = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
        try:
            yield pool
        except BaseException:  # Ctrl-C: do not wait for runs that take minutes
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("scheduler must be left out without Dask: pip install 'recall[cluster]'") from error
    try:
        client = Client(scheduler, timeout="10s")
    except OSError as error:
        raise ValueError(f"scheduler must be the address of a Dask scheduler that answers, not {scheduler!r}") from error
    with client:
        yield client.get_executor(pure=False)


def run(
    configs: list[RunConfig],
    out: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    report: Callable[[dict], None] | None = None,
) -> list[runs.Run]:
    """Run what is missing in `out`/{name} and return every run, in the order given.

    workers: processes of one thread each.  scheduler: address of a Dask cluster instead, whose workers see `out` under
    the same path.  report: called about every second with runs, finished, running, step, steps (of all runs).
    A run that fails does not stop the others; ValueError names it at the end.
    """
    check("workers", workers >= 1, "at least 1", workers)
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    left = {c.name: c for c in configs if not (out / c.name / "manifest.json").exists()}
    failed: dict[str, str] = {}
    for attempt in range(BROKEN_POOLS):
        try:
            with _executor(workers, scheduler) as executor:
                _drain(executor, left, failed, configs, out, None if scheduler else os.getpid(), report)
            break
        except BrokenProcessPool as error:  # a worker was killed; what it held can go on
            if attempt == BROKEN_POOLS - 1:
                raise ValueError(f"workers were killed {BROKEN_POOLS} times; start the sweep again to go on") from error
    for config in configs:
        (out / config.name / "progress.json").unlink(missing_ok=True)
    if failed:
        name, why = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(configs)} runs failed, first {name}: {why}")
    return [runs.open_run(out / config.name) for config in configs]


def _drain(executor, left, failed, configs, out, parent, report):
    submit = lambda config: executor.submit(work, to_json(config), str(out / config.name), parent)
    pending = {submit(config): name for name, config in left.items()}
    while pending:
        finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        busy = []
        for future in finished:
            name = pending.pop(future)
            try:
                if future.result() == "busy":
                    busy.append(name)
                    continue
            except BrokenProcessPool:
                raise
            except Exception as error:
                failed[name] = str(error)
            left.pop(name)
        if busy:
            time.sleep(BUSY_SECONDS)
            pending |= {submit(left[name]): name for name in busy}
        if report:
            report(_progress(configs, left, out))


def _progress(configs, left, out):
    steps = sum(config.training.steps for config in configs)
    unfinished = {name: done_steps(out / name) for name in left}
    step = steps - sum(config.training.steps - unfinished[name] for name, config in left.items())
    return dict(runs=len(configs), finished=len(configs) - len(left), step=step, steps=steps)


def table(finished: list[runs.Run]) -> pd.DataFrame:
    """One line per run: what `python -m recall runs` prints, and the prices of `recall.costs`."""
    return pd.DataFrame([summary.flat(summary.describe(each)) | costs.price(each) for each in finished])
