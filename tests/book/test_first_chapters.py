"""The essay's chapters and the task's, executed with other parameters, show what those parameters say."""

import re

import pytest
from notebooks import CHANGED, figures, outputs, printed, rows, starts, widgets

pytestmark = pytest.mark.standard


@pytest.mark.parametrize("name", [name for name in CHANGED if name < "05" or name == "index"])
def test_runs_with_changed_parameters(executed, name):
    cells = executed(name).cells
    injected = next(cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert all(f"{key} = {value}" in injected.source.replace('"', "") for key, value in CHANGED[name].items())


def test_task_chapter_draws_what_was_asked(executed):
    (state,) = widgets(executed("01_task"), "trace")
    assert (state["dimension"], state["labels"], state["seed"]) == (3, 2, 9)
    text = printed(executed("01_task"))
    assert set(re.findall(r"\((\d)", text)) <= {"0", "1"} and text.startswith("start")


def test_predictor_chapter_has_every_curve(executed):
    theory, recalling = figures(executed("02_predictors"))
    assert rows(theory) == [sum(min(n + 3, max(10, n + 2)) for n in (2, 3, 5, 10))]
    assert rows(recalling) == [6 * 2 * 5]  # predictors, N in (1, 2), k in 1..5


def test_transformer_chapter_trains_for_real(executed):
    spec, _ = figures(executed("03_transformer"))
    assert rows(spec) == [2, 2 * 3]  # reference levels; evaluations at steps 0 and 12, k in 1..3
    markdown = " ".join(outputs(executed("03_transformer"), "text/markdown"))
    assert "trained 12 steps" in markdown and "had not emerged by step 12" in markdown


def test_two_abilities_chapter_trains_what_is_missing(executed):
    notebook = executed("04_two_abilities")
    assert "no committed run at n = 4, 3 labels: training one now" in printed(notebook)
    shown = starts(figures(notebook)[0])
    assert (shown["dimension"], shown["labels"], shown["setting"]) == (4, 3, "custom")
