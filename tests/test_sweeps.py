"""Lists of runs: the named ones, and any Python file."""

import pytest

from recall import sweeps


def test_every_named_sweep_can_be_listed():
    for name in sweeps.named():
        assert sweeps.load(name)


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
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        sweeps.load(name)


def test_whole_numbers_name_the_run_that_a_worker_reads(tmp_path):
    (tmp_path / "whole.py").write_text(
        "from recall.settings import preset, vary\n"
        "configs = lambda: [vary(preset('fast-0'), 'x', training={'decay_from': zero}) for zero in (0, 0.0)]",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match="a list of different runs"):
        sweeps.load(str(tmp_path / "whole.py"))
