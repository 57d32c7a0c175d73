"""Asking the playground of a page, and a run small enough to train in a test."""

import json
from dataclasses import replace

from recall import settings
from recall.evaluation import EvaluationConfig
from recall.explorer import SETTINGS

FULL = "document.querySelector('.recall-play:not(.recall-guess)')"
# Sets controls through their traits, once for each of `all`, and waits for the page's own answer to them.  A string
# comes back many times faster than what it says.
ASK = """async (root, [names, all, whole]) => {
    const model = root.recall;
    const found = [];
    for (const settings of all) {
        const before = root.answer();
        for (const [name, value] of Object.entries(settings)) model.set(name, value);
        model.save_changes();
        const until = performance.now() + 60000;
        const there = () =>
            root.answer() !== before && root.dataset.state !== 'first' && (!whole || root.dataset.state === 'ready');
        while (!there()) {
            if (root.dataset.state === 'failed' || performance.now() > until) throw new Error(root.innerText);
            await new Promise((resume) => setTimeout(resume, 3));
        }
        const { prompt, predictions, byLabel, byState } = root.answer();
        const now = Object.fromEntries(names.map((name) => [name, model.get(name)]));
        const said = { prompt, predictions, byLabel, byState, stats: root.stats(), took: { ...root.dataset } };
        found.push({ settings: now, base: root.base(), ...said });
    }
    return JSON.stringify(found);
}"""


def ask_all(tab, wanted, whole=False):
    """The page's settings, prompt and answer after each of these changes; whole: also its means, once all are there."""
    return json.loads(tab.evaluate_handle(FULL).evaluate(ASK, [SETTINGS, wanted, whole]))


def ask(tab, whole=False, **settings):
    """`ask_all` of one change."""
    return ask_all(tab, [settings], whole)[0]


def ready(tab):
    tab.wait_for_function(f"{FULL}.dataset.state === 'ready'")


def state(tab):
    """All settings, to see whether they changed."""
    return tab.evaluate(f"names => JSON.stringify(names.map((name) => {FULL}.recall.get(name)))", list(SETTINGS))


def tiny(steps):
    """A configuration that trains in a second."""
    small = dict(batch_size=4, evaluate_every=5)
    config = settings.preset("fast-0", 2, 2, seed=3, steps=steps, **small)
    return replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))
