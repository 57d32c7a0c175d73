"""Many runs: nothing is run twice, nothing is lost, and what fails is named."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from recall import measures, runs, settings, sweep, sweeps, training
from recall.__main__ import main
from recall.evaluation import EvaluationConfig

RECIPE = """
from dataclasses import replace
from recall import settings
from recall.evaluation import EvaluationConfig

def configs():
    small = EvaluationConfig((2,), haystacks=4, traces=8)
    how = dict(steps={steps}, batch_size=2, evaluate_every=20)
    return [replace(settings.preset("fast-0", 2, 2, seed, **how), evaluation=small) for seed in range({count})]
"""


@pytest.fixture
def recipe(tmp_path):
    def write(count, steps=60):
        path = tmp_path / f"sweep{count}_{steps}.py"
        path.write_text(RECIPE.format(count=count, steps=steps), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def inline(monkeypatch):
    """Runs are trained in this process, on small final sets."""
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 4)

    class Inline:
        def submit(self, job, *arguments):
            future = Future()
            try:
                future.set_result(job(*arguments))
            except Exception as error:
                future.set_exception(error)
            return future

    @contextmanager
    def processes(workers):
        yield Inline()

    monkeypatch.setattr(sweep, "_processes", processes)


def test_cost_counts_what_is_missing(recipe, tmp_path, monkeypatch, inline):
    configs, out = sweeps.load(recipe(3, steps=5)), tmp_path / "out"
    longer = [replace(c, training=replace(c.training, steps=1000)) for c in configs]
    assert 0 < sweep.cost(configs[:1], out).seconds < 60
    assert str(sweep.Cost(3, 2, 1800.0)) == "3 runs, 2 to do: about 0.50 core-hours if none ends early"
    monkeypatch.setattr(sweep, "_price", lambda config: (0.5, 0.01))  # seconds of a step and of an evaluation
    last = (2 * 4) / (4 * 8)  # the final table, in evaluations
    assert sweep.cost(longer, out).seconds == pytest.approx(3 * (500 + 0.01 * (50 + last)))
    folder = out / longer[0].name
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text(json.dumps({"step": 999}), encoding="utf-8")
    nearly = 0.5 + 0.01 * (1 / 20 + last)
    assert sweep.cost(longer, out).seconds == pytest.approx(2 * (500 + 0.01 * (50 + last)) + nearly)
    sweep.run(configs, out)
    assert sweep.cost(configs, out) == sweep.Cost(3, 0, 0.0)


def test_progress_is_reported(recipe, tmp_path, inline):
    told = []
    sweep.run(sweeps.load(recipe(2, steps=5)), tmp_path / "out", report=told.append)
    assert told[-1] == dict(runs=2, finished=2, failed=0, step=10, steps=10)
    assert [t["finished"] for t in told] == sorted(t["finished"] for t in told)


def test_kept_runs_are_tables_that_are_not_run_again(recipe, tmp_path, inline):
    path, out, kept = recipe(2, steps=8), tmp_path / "out", tmp_path / "kept"
    configs = sweeps.load(path)
    first, _ = sweep.run(configs[:1], out)
    finished, failed = sweep.run(configs, out, keep=kept)
    assert not failed and [run.folder.parent for run in finished] == [kept, kept]
    there = sorted(p.name for p in finished[0].folder.iterdir())
    assert there == ["config.json", "final.csv", "history.csv.gz", "manifest.json"]
    files = lambda run: {name: sha for name, sha in run.manifest["files"].items() if name != "history.csv.gz"}
    assert files(finished[0]) == files(first[0]) and len(files(first[0])) == 3  # the weights' hash too
    pd.testing.assert_frame_equal(finished[0].history, first[0].history, rtol=6e-4)  # four digits
    packed = [(run.folder / "history.csv.gz").stat().st_size for run in (finished[0], first[0])]
    assert packed[0] < packed[1]
    gone = f"run must have its weights, but of {first[0].name} only the tables were kept; .* python -m recall train"
    with pytest.raises(ValueError, match=gone):
        training.trained_model(finished[0])
    with pytest.raises(ValueError, match="out must be another folder: in this one only a run's tables are kept"):
        training.train(configs[0], finished[0].folder)
    assert sweep.cost(configs, tmp_path / "elsewhere", kept).missing == 0
    again, _ = sweep.run(configs, tmp_path / "elsewhere", keep=kept)  # another machine, that has only what was kept
    assert not list((tmp_path / "elsewhere").iterdir())
    for a, b in zip(again, finished):
        pd.testing.assert_frame_equal(a.history, b.history)
    assert [run.name for run in again] == [config.name for config in configs] and sorted(runs.names(kept)) == sorted(
        config.name for config in configs
    )
    (kept / first[0].name / "final.csv").unlink()
    with pytest.raises(ValueError, match="run must match its manifest: .*final.csv is missing"):
        sweep.run(configs, tmp_path / "elsewhere", keep=kept)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_failing_run_is_named_and_stops_no_other(recipe, tmp_path, inline):
    configs = sweeps.load(recipe(3, steps=5))
    bad = tmp_path / "out" / configs[1].name
    bad.mkdir(parents=True)
    (bad / "resume.safetensors").write_bytes(b"nothing")
    finished, failed = sweep.run(configs, tmp_path / "out")
    assert [run.name for run in finished] == [configs[0].name, configs[2].name]
    assert list(failed) == [configs[1].name]
    assert failed[configs[1].name].startswith("checkpoint must be a readable safetensors file")


def test_a_busy_run_is_given_again(recipe, tmp_path, inline, monkeypatch):
    """What another process holds is tried again until it is free or finished."""
    configs, asked = sweeps.load(recipe(2, steps=5)), []
    honest = sweep.work

    def work(config, folder, device="cpu"):
        asked.append(folder)
        return "busy" if asked.count(folder) < 3 else honest(config, folder, device)

    monkeypatch.setattr(sweep, "work", work)
    monkeypatch.setattr(sweep, "BUSY_SECONDS", 0.0)
    finished, failed = sweep.run(configs, tmp_path / "out")
    assert len(finished) == 2 and not failed and len(asked) == 6


def test_workers_that_keep_dying_end_the_sweep(recipe, tmp_path, monkeypatch):
    @contextmanager
    def dying(workers):
        raise BrokenProcessPool
        yield

    monkeypatch.setattr(sweep, "_processes", dying)
    with pytest.raises(
        ValueError, match="workers died 3 times before any run was done; the sweep can be started again"
    ):
        sweep.run(sweeps.load(recipe(1)), tmp_path / "out")


@pytest.mark.standard
def test_the_command_says_what_failed_and_counts_what_is_missing(recipe, tmp_path, capfd):
    path, out = recipe(3, steps=5), tmp_path / "out"
    configs = sweeps.load(path)
    assert main(["sweep", path, "--out", str(out), "--cost"]) == 0
    said = capfd.readouterr().err
    assert re.fullmatch(r"3 runs, 3 to do: about 0\.0\d core-hours if none ends early\n", said) and not out.exists()
    bad = out / configs[1].name
    bad.mkdir(parents=True)
    (bad / "resume.safetensors").write_bytes(b"nothing")
    assert main(["sweep", path, "--out", str(out), "--workers", "1"]) == 2
    expected = f"1 of 3 runs failed, first {configs[1].name}: checkpoint must be a readable safetensors file"
    assert expected in capfd.readouterr().err
    assert len(runs.names(out)) == 2


def test_a_folder_that_cannot_be_written_to_is_one_line(recipe, tmp_path, capfd):
    """A file stands where the folder should be; a read-only one says the same."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = recipe(1, steps=5)
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        assert main(["sweep", path, "--out", str(out), "--workers", "1"]) == 2
        said = capfd.readouterr().err.splitlines()
        assert said[-1].startswith("recall sweep: ") and "file" in said[-1] and len(said) == 2, said


def test_workers_must_be_one_at_least(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        sweep.run([], tmp_path, workers=0)


def command(recipe, out):
    return subprocess.Popen(
        [sys.executable, "-m", "recall", "sweep", recipe, "--out", str(out), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
    )


def hears_ctrl_c():
    """A process started in a shell's background has it ignored, and so would those that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def timeless(table):
    """Without the columns that a clock made."""
    clocked = [column for column in table if "seconds" in column]
    assert "seconds" in clocked
    return table.drop(columns=clocked)


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def begun(child, out):
    """Wait until a run of a sweep has, or the sweep has ended."""
    wait_for(lambda: list(out.glob("*/progress.json")) or child.poll() is not None, 120, "no run has begun")


def gone(leader):
    """Wait until nothing of a process group is left."""

    def none_left():
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(none_left, 60, "workers outlive their sweep")


@pytest.mark.parametrize(
    "count, kills", [pytest.param(4, 2, marks=pytest.mark.standard), pytest.param(12, 5, marks=pytest.mark.nightly)]
)
def test_runs_killed_again_and_again_end_with_the_same_table(recipe, tmp_path, count, kills):
    """SIGKILL the sweep while it trains, now and then with its workers, at random moments.

    What is left must say what an undisturbed sweep says.
    """
    path, out, draw = recipe(count, steps=120), tmp_path / "killed", random.Random()
    configs, stamps = sweeps.load(path), {}
    for kill in range(kills):
        for stale in out.glob("*/progress.json"):
            stale.unlink()
        child = command(path, out)
        begun(child, out)
        time.sleep(draw.uniform(0, 2))
        assert child.poll() is None, "the sweep ended before it could be killed"
        (os.kill if kill % 2 else os.killpg)(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        gone(child.pid)
        stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/manifest.json")} | stamps
    assert len(stamps) < count
    finished, failed = sweep.run(configs, out, workers=2)
    assert not failed and all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())  # never run again
    assert not list(out.glob("*/progress.json"))
    undisturbed, _ = sweep.run(configs, tmp_path / "whole", workers=2)
    pd.testing.assert_frame_equal(timeless(measures.lines(finished)), timeless(measures.lines(undisturbed)))
    for a, b in zip(finished, undisturbed):
        pd.testing.assert_frame_equal(a.history, b.history)
        assert (a.folder / "final.safetensors").read_bytes() == (b.folder / "final.safetensors").read_bytes()


@pytest.mark.standard
def test_two_dask_workers_give_the_same_table(recipe, tmp_path):
    distributed = pytest.importorskip("distributed")
    where = dict(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
    configs = sweeps.load(recipe(3))
    with distributed.LocalCluster(**where) as cluster:
        dask, failed = sweep.run(configs, tmp_path / "dask", scheduler=cluster.scheduler_address)
    local, also = sweep.run(configs, tmp_path / "local", workers=2)
    assert not failed and not also and len(dask) == 3
    pd.testing.assert_frame_equal(timeless(measures.lines(dask)), timeless(measures.lines(local)))


def is_worker(cmdline, parent):
    try:
        status = (cmdline.parent / "status").read_text(encoding="utf-8")
        return f"PPid:\t{parent}\n" in status and b"spawn_main" in cmdline.read_bytes()
    except OSError:
        return False


@pytest.mark.standard
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_a_killed_worker_does_not_end_the_sweep(recipe, tmp_path):
    out = tmp_path / "out"
    child = command(recipe(3, steps=200), out)
    begun(child, out)
    workers = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if is_worker(p, child.pid)]
    os.kill(workers[0], signal.SIGKILL)
    assert child.wait(timeout=300) == 0, child.stderr.read()
    assert len(runs.names(out)) == 3


@pytest.mark.standard
def test_a_folder_has_one_writer(tmp_path):
    """While one process trains there, another is told so at once and changes nothing."""
    config = settings.preset("fast-0", 2, 2, steps=5, batch_size=2)
    config = replace(config, evaluation=EvaluationConfig((2,), 2, 2))
    met = []

    def report(progress):
        if not met:
            times = lambda: {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
            before = times()
            code = (
                "import json, sys; from recall import sweep; "
                f"print(sweep.work(json.load(open({str(tmp_path / 'config.json')!r})), {str(tmp_path)!r}))"
            )
            met.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8"))
            config_again = {tmp_path / "config.json": before[tmp_path / "config.json"]}
            assert before == times() | config_again

    training.train(config, tmp_path, report=report)
    assert met[0].stdout.strip() == "busy", met[0].stderr


@pytest.mark.standard
def test_bad_schedulers(recipe, tmp_path):
    configs = sweeps.load(recipe(1))
    for address in ("tcp://127.0.0.1:9", "abc"):
        with pytest.raises(ValueError, match="scheduler must be the address of a Dask scheduler that answers"):
            sweep.run(configs, tmp_path / "x", scheduler=address)

        async def in_a_notebook():
            sweep.run(configs, tmp_path / "x", scheduler="abc")

        with pytest.raises(ValueError, match="scheduler must be the address"):
            with ThreadPoolExecutor(1) as thread:  # the browser tests leave a loop in this one
                thread.submit(lambda: asyncio.run(in_a_notebook())).result()
        # a client left open can hold up the next for ever
        assert "IO loop" not in [thread.name for thread in threading.enumerate()]
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        with pytest.raises(ValueError, match="scheduler must be a cluster of workers with one thread each .*, not .2."):
            sweep.run(configs, tmp_path / "x", scheduler=cluster.scheduler_address)


@pytest.mark.standard
def test_ctrl_c_keeps_what_the_workers_have_and_takes_one_line(recipe, tmp_path):
    """To the whole group, as a terminal sends it: every run begun can go on from where it was, and no process stays."""
    path, out = recipe(4, steps=4000), tmp_path / "out"
    child = command(path, out)
    begun(child, out)
    time.sleep(1)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%" not in line]
    assert child.returncode == 130 and lines[-1].startswith("recall sweep: interrupted"), err
    assert "Traceback" not in err and len(lines) == 2, err  # what it costs, and that it was interrupted
    gone(child.pid)
    assert not list(out.rglob(f"*{runs.PART}"))
    kept = list(out.glob("*/resume.safetensors"))
    assert len(kept) == len(list(out.glob("*/progress.json"))) > 0


def test_default_workers_are_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert sweep.usable_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert sweep.usable_cores() == os.cpu_count()
