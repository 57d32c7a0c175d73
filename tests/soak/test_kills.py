"""Runs and sweeps killed at any moment end with what undisturbed ones end with."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from recall import runs, settings, sweep, sweeps, training
from recall.evaluation import EvaluationConfig

pytestmark = pytest.mark.soak

KILLS = 50
FORK = multiprocessing.get_context("fork")  # a child begins with torch imported, so that it is killed in its work


def small(seed):
    how = dict(steps=50, batch_size=4, evaluate_every=10)
    run = settings.preset("fast-2", 2, 2, seed, **how)
    return replace(run, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))


@pytest.fixture
def quick_to_save(monkeypatch):
    """Saves every few steps, so that a kill meets one."""
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.02)
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)


def train(config, out):
    torch.set_num_threads(1)
    training.train(config, out)


def test_a_run_killed_at_a_random_moment_ends_with_the_weights_of_one_that_was_not(tmp_path, quick_to_save, case):
    config, draw = small(0), random.Random(5)
    begun = time.monotonic()
    child = FORK.Process(target=train, args=(config, tmp_path / "whole"))
    child.start()
    child.join()
    whole, seconds = runs.open_run(tmp_path / "whole"), time.monotonic() - begun
    for kill in range(KILLS):
        out = tmp_path / str(kill)
        with case(f"kill {kill}"):
            child = FORK.Process(target=train, args=(config, out))
            child.start()
            time.sleep(draw.uniform(0, seconds))
            child.kill()
            child.join()
            again = FORK.Process(target=train, args=(config, out))
            again.start()
            again.join()
            run = runs.open_run(out)
            assert run.manifest["files"] == whole.manifest["files"]  # weights, history and last table, by SHA-256
            assert not list(out.rglob(f"*{runs.PART}"))


SWEEP = """
from dataclasses import replace
from recall import settings
from recall.evaluation import EvaluationConfig

def configs():
    small = EvaluationConfig((2,), haystacks=2, traces=4)
    how = dict(steps=200, batch_size=2, evaluate_every=50)
    return [replace(settings.preset("fast-2", 2, 2, seed, **how), evaluation=small) for seed in range(12)]
"""


def test_a_sweep_of_twelve_runs_killed_ten_times(tmp_path, case):
    """Ten times the whole group, the sweep alone, or one of its workers; then what is left is run."""
    (tmp_path / "twelve.py").write_text(SWEEP, encoding="utf-8")
    configs, out, draw = sweeps.load(str(tmp_path / "twelve.py")), tmp_path / "killed", random.Random(6)
    command = [sys.executable, "-m", "recall", "sweep", str(tmp_path / "twelve.py"), "--out", str(out)]
    for kill in range(10):
        with case(f"kill {kill}"):
            how = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            child = subprocess.Popen([*command, "--workers", "2"], **how)
            until = time.monotonic() + 120
            while not list(out.glob("*/progress.json")) and child.poll() is None:
                assert time.monotonic() < until, "no run has begun"
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 1))
            os.killpg(child.pid, signal.SIGKILL) if kill % 2 else os.kill(child.pid, signal.SIGKILL)
            assert child.wait(timeout=60) in (0, -signal.SIGKILL)
            until = time.monotonic() + 60
            while alive(child.pid):
                assert time.monotonic() < until, "workers outlive their sweep"
                time.sleep(0.05)
            for stale in out.glob("*/progress.json"):
                stale.unlink()
    finished, failed = sweep.run(configs, out, workers=2)
    undisturbed, _ = sweep.run(configs, tmp_path / "whole", workers=2)
    assert not failed and len(finished) == len(undisturbed) == 12
    for ours, theirs in zip(finished, undisturbed):
        with case(ours.name):
            assert ours.manifest["files"] == theirs.manifest["files"]
    assert not list(out.rglob(f"*{runs.PART}"))


def alive(leader):
    """Whether anything of a process group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
