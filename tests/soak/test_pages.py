"""Every page and widget driven at random, from a folder with the network cut: no error, nothing from outside, and
what the playground answers is what the library answers."""

import json
import random
from pathlib import Path

import pytest
import torch
from made_explorer import as_asked, rebuilt
from notebooks import SOURCES

from recall.explorer import SETTINGS
from recall.settings import from_json
from recall.training import build_model

pytestmark = [pytest.mark.browser, pytest.mark.soak]

MOVES = 500
CONTROLS = """.recall-controls select, .recall-controls input, .recall-explorer input, .recall-explorer select,
    .recall-explorer button, .recall-tries a"""
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Space", "Enter", "Tab", "Escape", "a")
# one of a page's controls, by number, moved as by hand: to a value between its ends, to another choice, or pressed
MOVE = """([list, i, share]) => {
    const all = [...document.querySelectorAll(list)].filter((each) => !each.disabled);
    if (!all.length) return 'nothing to move';
    const control = all[i % all.length], kind = control.type;
    const say = () => ['input', 'change'].forEach((e) => control.dispatchEvent(new Event(e, { bubbles: true })));
    control.focus();
    if (control.tagName === 'SELECT') {
        control.selectedIndex = Math.floor(share * control.options.length);
        say();
    } else if (kind === 'range') {
        control.value = +control.min + share * (control.max - control.min);
        say();
    } else if (kind === 'number' || kind === 'text') {
        control.value = String(Math.floor(share * 12) - 2);
        say();
    } else control.click();
    return control.outerHTML.slice(0, 120);
}"""
FRAGMENTS = (
    "#play:systems=3&shown=2",
    "#play:run=nothing",
    "#play:%",
    "#play:step=1300",
    "#no-such-place",
    "#",
    "#play:",
)
# what the first playground of the page shows once it has come to rest; null where there is none
SHOWN = """(names) => {
    const root = document.querySelector('.recall-play:not(.recall-guess)');
    if (!root || !root.answer || !root.answer()) return null;
    const { prompt, predictions } = root.answer();
    const settings = Object.fromEntries(names.map((name) => [name, root.recall.get(name)]));
    return JSON.stringify({ settings, base: root.base(), prompt, predictions });
}"""
AT_REST = """[...document.querySelectorAll('.recall-play:not(.recall-guess)')]
    .every((root) => ['first', 'ready'].includes(root.dataset.state))
    && !document.documentElement.hasAttribute('data-following')"""


@pytest.mark.parametrize("name", SOURCES)
def test_random_moves(visit, book, models, case, name):
    draw, by_name = random.Random(name), {run.name: run for run in models}
    tab = visit(name, base=Path(book).as_uri() + "/")
    tab.context.set_offline(True)
    for i in range(MOVES // len(SOURCES) + 1):
        with case(f"move {i} of {name}"):
            match draw.randrange(8):
                case 0:
                    done = draw.choice(KEYS)
                    tab.keyboard.press(done)
                case 1:
                    done = draw.choice(FRAGMENTS)
                    tab.evaluate("hash => { location.hash = hash }", done)
                case _:
                    done = tab.evaluate(MOVE, [CONTROLS, draw.randrange(10**6), draw.random()])
            stop = tab.get_by_role("button", name="stop")
            if stop.count() and stop.first.is_visible():  # training plays on: here it is held
                tab.wait_for_timeout(200)
                stop.first.click()
            tab.wait_for_function(AT_REST)
            answers_as_the_library(tab, by_name, done)


def answers_as_the_library(tab, by_name, done):
    shown = tab.evaluate(SHOWN, list(SETTINGS))
    if shown is None:
        return
    found = json.loads(shown)
    run = by_name[found["settings"]["run"]]
    if found["settings"]["cut"]:
        return  # by hooks: `explorer/test_parity.py`
    task = from_json(run.config).task
    model = build_model(from_json(run.config), run.weights(found["settings"]["step"]))
    edited = as_asked(rebuilt(found, task), found, task)
    ours = model.predict(edited.inputs.float())[0]
    theirs = torch.tensor(found["predictions"])
    assert torch.allclose(ours, theirs, atol=1e-3), f"after {done}: {(ours - theirs).abs().max():.2g} apart"
