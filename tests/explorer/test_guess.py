"""You first: the reader guesses before the transformer says."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.standard]


def test_the_reader_goes_first(visit):
    tab = visit("09_playground")
    tab.wait_for_selector(".recall-guess[data-state=ready]")
    root, round = tab.locator(".recall-guess"), "document.querySelector('.recall-guess').round()"
    assert root.get_by_role("button", name="next").is_disabled()
    plane = root.locator("svg")
    truth = tab.evaluate(f"{round}.first.truth[0]")
    box = plane.bounding_box()
    at = lambda state: dict(x=box["width"] / 2 * (1 + state[0] / 1.9), y=box["height"] / 2 * (1 - state[1] / 1.9))
    plane.click(position=at(truth))
    cells = lambda: root.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    errors = tab.evaluate(f"{round}.errors")
    assert (
        errors["you"] < 0.01
        and errors["ideal"] < 1e-6
        and cells()[0][1:] == ["0.00", f"{errors['model']:.2f}", "0.00", "1"]
    )
    root.get_by_role("button", name="next").click()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    assert tab.evaluate(f"{round}.guess") == [0, 0.05] and cells()[2][4] == "1"
    root.locator("input[name=labelled]").uncheck()
    before = tab.evaluate(f"{round}.first.truth")
    root.get_by_role("button", name="new systems").click()
    tab.wait_for_function(f"{round}?.k === 1")
    assert (
        tab.evaluate(f"{round}.first.truth") != before
        and "you are not told which" in root.locator(".recall-play-words").inner_text()
    )
    assert plane.evaluate("plane => plane === document.activeElement")
    plane.click(position=dict(x=10, y=10))
    assert cells()[1][4] == "1"
    needles = set()
    for seed in range(3, 10):
        tab.evaluate("seed => document.querySelector('.recall-guess').recall.set('seed', seed)", seed)
        tab.wait_for_function(f"{round}?.k === 1 && !{round}.guess")
        needles.add(tab.evaluate(f"{round}.first.prompt.segments[2].system"))
        assert tab.evaluate(f"Math.max(...{round}.first.prompt.observations.flat(2).map(Math.abs))") < 1.9
    assert needles == {0, 1}
