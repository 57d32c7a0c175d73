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
from concurrent.futures import ThreadPoolExecutor
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
    return [replace(settings.preset("fast-0", 2, 2, seed, steps={steps}, batch_size=2, evaluate_every=20), evaluation=small)
            for seed in range({count})]
"""


@pytest.fixture
def recipe(tmp_path):
    def write(count, steps=60):
        path = tmp_path / f"sweep{count}_{steps}.py"
        path.write_text(RECIPE.format(count=count, steps=steps))
        return str(path)

    return write


def command(recipe, out, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "recall", "sweep", recipe, "--out", str(out), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


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


def group_is_gone(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def test_twelve_runs_killed_five_times_end_with_the_same_table(recipe, tmp_path):
    """SIGKILL the sweep while it trains, now and then with its workers, at random moments; what is left must say
    what an undisturbed sweep says.
    """
    path, out, draw = recipe(12, steps=120), tmp_path / "killed", random.Random()
    configs, stamps = sweeps.load(path), {}
    for kill in range(5):
        for stale in out.glob("*/progress.json"):
            stale.unlink()
        child = command(path, out)
        wait_for(lambda: list(out.glob("*/progress.json")) or child.poll() is not None, 120, "no run has begun")
        time.sleep(draw.uniform(0, 2))
        assert child.poll() is None, "the sweep ended before it could be killed"
        (os.kill if kill % 2 else os.killpg)(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        wait_for(lambda: group_is_gone(child.pid), 20, "workers outlive their sweep")
        stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/manifest.json")} | stamps
    assert len(stamps) < 12
    finished, failed = sweep.run(configs, out, workers=2)
    assert not failed and all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())  # never run again
    assert not list(out.glob("*/progress.json"))
    undisturbed, _ = sweep.run(configs, tmp_path / "whole", workers=2)
    pd.testing.assert_frame_equal(timeless(measures.lines(finished)), timeless(measures.lines(undisturbed)))
    for a, b in zip(finished, undisturbed):
        pd.testing.assert_frame_equal(a.history, b.history)
        assert (a.folder / "final.safetensors").read_bytes() == (b.folder / "final.safetensors").read_bytes()


def test_kept_runs_are_tables_that_are_not_run_again(recipe, tmp_path):
    path, out, kept = recipe(2), tmp_path / "out", tmp_path / "kept"
    configs = sweeps.load(path)
    first, _ = sweep.run(configs[:1], out)
    finished, failed = sweep.run(configs, out, keep=kept)
    assert not failed and [run.folder.parent for run in finished] == [kept, kept]
    assert sorted(p.name for p in finished[0].folder.iterdir()) == [
        "config.json",
        "final.csv",
        "history.csv.gz",
        "manifest.json",
    ]
    files = lambda run: {name: sha for name, sha in run.manifest["files"].items() if name != "history.csv.gz"}
    assert files(finished[0]) == files(first[0]) and len(files(first[0])) == 3  # the weights' hash too
    pd.testing.assert_frame_equal(finished[0].history, first[0].history, rtol=6e-4)  # four digits
    assert (finished[0].folder / "history.csv.gz").stat().st_size < (first[0].folder / "history.csv.gz").stat().st_size
    with pytest.raises(
        ValueError,
        match=f"run must have its weights, but of {first[0].name} only the tables were kept; .* python -m recall train",
    ):
        training.trained_model(finished[0])
    with pytest.raises(ValueError, match="out must be another folder: in this one only a run's tables are kept"):
        training.train(configs[0], finished[0].folder)
    assert sweep.cost(configs, tmp_path / "elsewhere", kept).missing == 0
    again, _ = sweep.run(configs, tmp_path / "elsewhere", keep=kept)  # another machine, that has only what was kept
    assert not list((tmp_path / "elsewhere").iterdir())
    pd.testing.assert_frame_equal(measures.lines(again), measures.lines(finished))
    assert measures.lines(again)["name"].tolist() == runs.names(kept)
    (kept / first[0].name / "final.csv").unlink()
    with pytest.raises(ValueError, match="run must match its manifest: .*final.csv is missing"):
        sweep.run(configs, tmp_path / "elsewhere", keep=kept)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_two_dask_workers_give_the_same_table(recipe, tmp_path):
    distributed = pytest.importorskip("distributed")
    path = recipe(3)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        assert (
            main(
                [
                    "sweep",
                    path,
                    "--out",
                    str(tmp_path / "dask"),
                    "--scheduler",
                    cluster.scheduler_address,
                    "--table",
                    str(tmp_path / "dask.csv"),
                ]
            )
            == 0
        )
    assert (
        main(
            ["sweep", path, "--out", str(tmp_path / "local"), "--workers", "2", "--table", str(tmp_path / "local.csv")]
        )
        == 0
    )
    dask, local = (timeless(pd.read_csv(tmp_path / f"{name}.csv")) for name in ("dask", "local"))
    assert len(dask) == 3
    pd.testing.assert_frame_equal(dask, local)


def is_worker(cmdline, parent):
    try:
        status = (cmdline.parent / "status").read_text()
        return f"PPid:\t{parent}\n" in status and b"spawn_main" in cmdline.read_bytes()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_a_killed_worker_does_not_end_the_sweep(recipe, tmp_path):
    out = tmp_path / "out"
    child = command(recipe(3, steps=400), out)
    wait_for(lambda: list(out.glob("*/progress.json")) or child.poll() is not None, 120, "no run has begun")
    workers = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if is_worker(p, child.pid)]
    os.kill(workers[0], signal.SIGKILL)
    assert child.wait(timeout=300) == 0, child.stderr.read()
    assert len(runs.names(out)) == 3


def test_a_folder_has_one_writer(tmp_path):
    """While one process trains there, another is told so at once and changes nothing."""
    config = settings.preset("fast-0", 2, 2, steps=5, batch_size=2)
    config = replace(config, evaluation=EvaluationConfig((2,), 2, 2))
    met = []

    def report(progress):
        if not met:
            before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
            code = (
                "import json, sys; from recall import sweep; "
                f"print(sweep.work(json.load(open({str(tmp_path / 'config.json')!r})), {str(tmp_path)!r}))"
            )
            met.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True))
            assert before == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.name != "config.json"} | {
                tmp_path / "config.json": before[tmp_path / "config.json"]
            }

    training.train(config, tmp_path, report=report)
    assert met[0].stdout.strip() == "busy", met[0].stderr


def test_a_failing_run_is_named_and_stops_no_other(recipe, tmp_path, capfd):
    path = recipe(3, steps=5)
    configs = sweeps.load(path)
    bad = tmp_path / "out" / configs[1].name
    bad.mkdir(parents=True)
    (bad / "resume.safetensors").write_bytes(b"nothing")
    assert main(["sweep", path, "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    assert (
        f"1 of 3 runs failed, first {configs[1].name}: checkpoint must be a readable safetensors file"
        in capfd.readouterr().err
    )
    assert len(runs.names(tmp_path / "out")) == 2


def test_cost_counts_what_is_missing(recipe, tmp_path, capsys, monkeypatch):
    path, out = recipe(3, steps=5), tmp_path / "out"
    configs = sweeps.load(path)
    longer = [replace(c, training=replace(c.training, steps=1000)) for c in configs]
    assert main(["sweep", path, "--out", str(out), "--cost"]) == 0
    assert (
        re.fullmatch(r"3 runs, 3 to do: about 0\.0\d core-hours if none ends early\n", capsys.readouterr().err)
        and not out.exists()
    )
    monkeypatch.setattr(sweep, "_price", lambda config: (0.5, 0.01))  # seconds of a step and of an evaluation
    last = 4000 / (4 * 8)  # the final table, in evaluations
    assert sweep.cost(longer, out).seconds == pytest.approx(3 * (500 + 0.01 * (50 + last)))
    folder = out / longer[0].name
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text(json.dumps({"step": 999}))
    assert sweep.cost(longer, out).seconds == pytest.approx(
        2 * (500 + 0.01 * (50 + last)) + 0.5 + 0.01 * (1 / 20 + last)
    )
    sweep.run(configs, out)
    assert sweep.cost(configs, out) == sweep.Cost(3, 0, 0.0)


def test_progress_is_reported(recipe, tmp_path):
    told = []
    sweep.run(sweeps.load(recipe(2, steps=5)), tmp_path / "out", report=told.append)
    assert told[-1] == dict(runs=2, finished=2, failed=0, step=10, steps=10)
    assert [t["finished"] for t in told] == sorted(t["finished"] for t in told)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("nothing", None, "sweep must be one of .*, or a Python file, not 'nothing'"),
        ("empty.py", "", r"sweep must be a module with configs\(\)"),
        (
            "wrong.py",
            "import nothing_of_that_name",
            "sweep must be a Python file that runs: wrong.py: ModuleNotFoundError",
        ),
        (
            "field.py",
            "from recall.settings import preset, vary\nconfigs = lambda: [vary(preset('fast-0'), 'x', "
            "model={'width': 3})]",
            "sweep must have configs.*: field.py: ValueError: model field must be one of n_in, .*, not 'width'",
        ),
        ("other.py", "configs = lambda: [{}]", "sweep must have configs"),
        (
            "twice.py",
            "from recall import settings\nconfigs = lambda: [settings.preset('fast-0')] * 2",
            "sweep must be a list of different runs",
        ),
    ],
)
def test_bad_sweeps(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        sweeps.load(name)


def test_bad_scheduler_and_workers(recipe, tmp_path):
    configs = sweeps.load(recipe(1))
    with pytest.raises(ValueError, match="workers must be at least 1"):
        sweep.run(configs, tmp_path, workers=0)
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


def test_table_must_have_a_place(recipe, tmp_path, capsys):
    code = main(["sweep", recipe(1), "--out", str(tmp_path / "out"), "--table", str(tmp_path / "nowhere" / "t.csv")])
    assert code == 2 and "table must be a file in a folder that exists" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_whole_numbers_name_the_run_that_a_worker_reads(tmp_path):
    (tmp_path / "whole.py").write_text(
        "from recall.settings import preset, vary\n"
        "configs = lambda: [vary(preset('fast-0'), 'x', training={'decay_from': zero}) for zero in (0, 0.0)]"
    )
    with pytest.raises(ValueError, match="a list of different runs"):
        sweeps.load(str(tmp_path / "whole.py"))


def test_every_named_sweep_can_be_listed():
    for name in sweeps.named():
        assert sweeps.load(name)
