"""Many runs: the missing ones only, on this machine's cores or on a Dask cluster.

A sweep is a module that has `configs() -> list[RunConfig]`: one of `recall/sweeps/`, or any file.  Every run is
`training.train` in a folder of its own, so what holds there holds here: a finished run is not run again, a
half-finished one goes on, and a lock keeps two processes from one folder.  Two sweeps over one `out` therefore share
the work.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from recall import runs, training
from recall.config import check, to_json
from recall.evaluation import Evaluator
from recall.settings import RunConfig, from_json
from recall.task import Task

TIMED_STEPS, TIMED_TRACES = 3, 32  # after one step that is not timed; of a larger batch a part is timed and scaled
REPORT_SECONDS = 1.0  # between two lines of a run's progress.json
BUSY_SECONDS = 2.0  # before a run that another process holds is tried again
SCHEDULER_SECONDS = 10  # until a Dask scheduler that does not answer is given up
INTERRUPTED = 130  # exit status of a worker that was asked to end
BROKEN_POOLS = 3  # workers killed from outside before the sweep gives up


@dataclass(frozen=True)
class Cost:
    """runs: in the sweep.  missing: not finished in `out`.  seconds: of one core for those, if none ends early."""

    runs: int
    missing: int
    seconds: float

    def __str__(self):
        return f"{self.runs} runs, {self.missing} to do: about {self.seconds / 3600:.2f} core-hours if none ends early"


def place(config: RunConfig, out: Path, keep: Path | None = None) -> Path | None:
    """The folder in which a run is finished, in `keep` before `out`; None if it is not."""
    folders = (Path(root) / config.name for root in (keep, out) if root)
    return next((folder for folder in folders if (folder / "manifest.json").exists()), None)


def cost(configs: list[RunConfig], out: Path, keep: Path | None = None) -> Cost:
    """What is left to do, from timing a few steps and one evaluation of every kind of run on one thread here."""
    missing = [config for config in configs if not place(config, out, keep)]
    seconds, prices = 0.0, {}
    with training.torch_threads(1):
        for config in missing:
            kind = (config.task, config.model, replace(config.training, steps=1), config.evaluation)
            if kind not in prices:
                prices[kind] = _price(config)
            step, evaluation = prices[kind]
            left = config.training.steps - done_steps(Path(out) / config.name)
            prompts = config.evaluation.haystacks * config.evaluation.traces
            last = training.FINAL_HAYSTACKS * training.FINAL_TRACES / prompts
            seconds += left * step + (left / config.training.evaluate_every + last) * evaluation
    return Cost(len(configs), len(missing), seconds)


def _price(config: RunConfig) -> tuple[float, float]:
    """Seconds of one training step and of one evaluation."""
    count = min(config.training.batch_size, TIMED_TRACES)
    task, model = Task(config.task, config.seed), training.build_model(config)
    optimisers = training.optimisers(model, config.training)
    train = lambda i: training.step(model, optimisers, task.sample_batch(i, count), config.training, i)
    train(0)
    begun = time.perf_counter()
    for i in range(TIMED_STEPS):
        train(1 + i)
    between = time.perf_counter()
    Evaluator(config.task, config.evaluation)(model.predict)
    scale = config.training.batch_size / count
    return scale * (between - begun) / TIMED_STEPS, time.perf_counter() - between


def done_steps(folder: Path) -> int:
    """Steps that a run has behind it, by its own word; 0 where it has not begun."""
    try:
        return int(runs.read_json(Path(folder) / "progress.json")["step"])
    except (ValueError, KeyError, TypeError):
        return 0


def usable_cores() -> int:
    """Of this process: a container or `taskset` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(config: dict, folder: str, device: str = "cpu") -> str:
    """Train one run in a worker: `done`, or `busy` where another process holds its folder.  A process of its own ends,
    its state saved, when it is asked to."""
    folder, told = Path(folder), 0.0

    def report(progress):
        nonlocal told
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            runs.write_atomically(folder / "progress.json", json.dumps({"step": progress["step"]}).encode())

    try:
        training.train(from_json(config), folder, device=device, report=report)
    except training.Busy:
        return "busy"
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    return "done"


def _leave_with(parent: int) -> None:
    """In a worker: end when the sweep's process is gone, so that what this worker held is free for the next sweep.
    Ctrl-C is left to that process, which asks its workers to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Local processes of one thread each."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_with, (os.getpid(),))
    try:
        yield pool
    except BaseException:  # Ctrl-C: runs that take minutes save their state and end
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _cluster(scheduler: str) -> Iterator[Executor]:
    """The one-thread workers of a Dask cluster."""
    try:
        from distributed import Client, Security
        from distributed.comm import connect
    except ImportError as error:
        raise ValueError("scheduler must be left out without Dask (pip install distributed)") from error

    async def knock() -> None:
        await (await connect(scheduler, timeout=SCHEDULER_SECONDS, **Security().get_connection_args("client"))).close()

    # before a client: one that fails stays half-made, and closed by a later collection it can hold a lock for ever
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own in this one
            thread.submit(lambda: asyncio.run(knock())).result()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"scheduler must be the address of a Dask scheduler that answers, not {scheduler!r}"
        ) from error
    with Client(scheduler) as client:
        threads = set(client.nthreads().values())
        allowed = "a cluster of workers with one thread each (dask worker --nthreads 1)"
        check("scheduler", threads == {1}, allowed, threads)
        yield client.get_executor(pure=False)


def run(
    configs: list[RunConfig],
    out: Path,
    *,
    keep: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    device: str = "cpu",
    report: Callable[[dict], None] | None = None,
) -> tuple[list[runs.Run], dict[str, str]]:
    """Run what is missing in `out`/{name}; the finished runs, in the order given, and why others failed, by name.

    keep: folder to which finished runs are copied without their weights (`runs.keep`); what is there is not run again.
    workers: processes of one thread each, started afresh: a script that calls this needs `if __name__ == "__main__":`.
    scheduler: address of a Dask cluster instead, whose one-thread workers see `out` under the same path.
    device: of every worker's training.  Several small models share a GPU well: its time goes into launching.
    report: called about every second with runs, finished, failed, step, steps (of all runs; those of a run that ended
    early count as many as it took).
    """
    check("workers", workers >= 1, "at least 1", workers)
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    keep = Path(keep).resolve() if keep else None
    todo = _Todo(configs, out, keep, device, report)
    broken = 0
    while todo.left:
        before = len(todo.left)
        try:
            with _processes(workers) if scheduler is None else _cluster(scheduler) as executor:
                todo.drain(executor)
        except BrokenProcessPool as error:  # a worker was killed; what it held can go on
            broken = broken + 1 if len(todo.left) == before else 1
            if broken == BROKEN_POOLS:
                died = f"workers died {BROKEN_POOLS} times before any run was done"
                hint = 'the sweep can be started again to go on (a script needs `if __name__ == "__main__":`)'
                raise ValueError(f"{died}; {hint}") from error
    for config in configs:
        (out / config.name / "progress.json").unlink(missing_ok=True)
    return [runs.open_run(place(c, out, keep)) for c in configs if c.name not in todo.failed], todo.failed


class _Todo:
    """The runs that are left, and what became of the others."""

    def __init__(self, configs: list[RunConfig], out: Path, keep: Path | None, device: str, report):
        self.configs, self.out, self.keep, self.device, self.report = configs, out, keep, device, report
        self.steps: dict[str, int] = {}  # that a finished run took
        self.failed: dict[str, str] = {}
        self.left = {config.name: config for config in configs if not self._finished(config)}

    def _finished(self, config: RunConfig) -> bool:
        folder = place(config, self.out, self.keep)
        if folder is None:
            return False
        run = runs.open_run(folder)  # a damaged one is named before anything is trained
        if self.keep and folder.parent != self.keep:
            runs.keep(run, self.keep)
        self.steps[config.name] = run.manifest.get("steps", config.training.steps)
        return True

    def drain(self, executor) -> None:
        """Give every run to the executor and wait for all; a busy one is given again."""
        submit = lambda name: executor.submit(work, to_json(self.left[name]), str(self.out / name), self.device)
        pending = {submit(name): name for name in self.left}
        while pending:
            finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            done = {pending.pop(future): future for future in finished}
            busy = [name for name, future in done.items() if not self._settled(name, future)]
            if busy:
                time.sleep(BUSY_SECONDS)
                pending |= {submit(name): name for name in busy}
            if self.report:
                self.report(self._progress())

    def _settled(self, name: str, future: Future) -> bool:
        """Take down how a run ended; False where it was busy."""
        try:
            if future.result() == "busy":
                return False
            self._finished(self.left[name])
        except BrokenProcessPool:
            raise
        except Exception as error:
            self.failed[name] = str(error) or type(error).__name__
        del self.left[name]
        return True

    def _progress(self) -> dict:
        took = sum(self.steps.values())
        return dict(
            runs=len(self.configs),
            finished=len(self.steps),
            failed=len(self.failed),
            step=took + sum(done_steps(self.out / name) for name in self.left),
            steps=took + sum(config.training.steps for config in self.left.values()),
        )
