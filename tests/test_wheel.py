"""Installed from a wheel, without a checkout: what works on runs of one's own, what is said where data is needed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.standard


def run(*command, **how) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8", **how)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the sources, so that nothing is left among them."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "recall", source / "recall", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = run(sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", out)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


class Installed:
    """A fresh environment with the wheel, and with the packages of this one; commands run in another folder."""

    def __init__(self, wheel: Path, root: Path):
        self.home, self.python = root / "elsewhere", root / "venv" / "bin" / "python"
        self.home.mkdir()
        assert run(sys.executable, "-m", "venv", "--without-pip", root / "venv").returncode == 0
        (self.packages,) = (root / "venv").glob("lib/python*/site-packages")
        # a path in a .pth file is searched, but the .pth files there are not: this checkout stays out
        (self.packages / "these.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        done = run(sys.executable, "-m", "pip", "--python", self.python, "install", "--no-deps", wheel)
        assert done.returncode == 0, done.stderr

    def __call__(self, *command, **variables) -> subprocess.CompletedProcess:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RECALL_DATA")}
        own = kept | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"} | variables
        return run(self.python, *command, cwd=self.home, env=own)

    def recall(self, line: str, **variables) -> subprocess.CompletedProcess:
        return self("-m", "recall", *line.split(), **variables)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.packages)) for path in self.packages.rglob("*")}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """After a tiny training into elsewhere/mine; at the end nothing new lies beside the package."""
    there = Installed(wheel, tmp_path_factory.mktemp("installed"))
    before = there.files()
    done = there.recall("train --preset fast-0 --dimension 2 --labels 2 --steps 2 --out mine --json")
    assert done.returncode == 0 and json.loads(done.stdout)["steps"] == 2, done.stderr
    (there.home / "revisions" / "step0").mkdir(parents=True)
    (there.home / "revisions" / "step0" / "config.json").write_text("{}", encoding="utf-8")
    yield there
    assert there.files() == before


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recall").rglob("*.*") if path.is_file()}
    assert {name for name in sources if "__pycache__" not in name} == {n for n in names if n.startswith("recall/")}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"recall", "in_context_recall"}


def test_it_is_not_the_checkout_that_is_imported(installed):
    done = installed("-c", "import recall; print(recall.__file__)")
    assert done.stdout.strip() == str(installed.packages / "recall" / "__init__.py")


@pytest.mark.parametrize(
    "line",
    [
        "show presets",
        "show interventions",
        "evaluate mine --haystacks 2 --traces 2 --intervention misdirected",
        "measure when mine --tables ratios",
        "measure which_way mine --tables norm_gaps early_led --out tables",
    ],
)
def test_what_works_on_a_run_of_ones_own(installed, line):
    done = installed.recall(line)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_an_explorer_on_a_run_of_ones_own(installed):
    done = installed(
        "-c", "from recall.explorer import Explorer; print(Explorer('mine')._repr_mimebundle_() is not None)"
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "show runs",
        "show claims",
        "evaluate haar-n5-l4-fast-0-s0-998c8e1d",
        "measure when mine --tables ratios --commit",
        "language --model revisions --out words",
    ],
)
def test_what_needs_committed_data_says_where_to_point_it(installed, line):
    done = installed.recall(line)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "RECALL_DATA must name" in done.stderr, done.stderr


def test_committed_data_elsewhere(installed):
    done = installed.recall("show runs --json", RECALL_DATA=str(ROOT / "data"))
    assert done.returncode == 0 and len(json.loads(done.stdout)) > 10, done.stderr


def test_chapters_need_a_checkout(installed):
    done = installed("-m", "recall.book")
    assert done.returncode == 2 and done.stderr.startswith("recall.book: recall must be installed from a checkout")
