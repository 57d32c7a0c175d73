"""Asking the playground of a page, and a run small enough to train in a test."""

import json
from dataclasses import replace

import torch

from recall import interventions, settings
from recall.evaluation import EvaluationConfig
from recall.explorer import SETTINGS, page
from recall.needle import Prompts
from recall.systems import Systems, rollout
from recall.task import Segments, edit, lay_out, resume_times

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


def rebuilt(found, task):
    """The page's plain prompt as recall's own, from the systems and labels that the page drew."""
    settings, base = found["settings"], found["base"]
    N, length, payload = settings["systems"], settings["length"], task.dimension + 3
    of = lambda name: torch.tensor([each[name] for each in base["systems"][:N]], dtype=torch.double)
    systems = Systems(of("U"), of("x0"))
    order = torch.tensor([[*range(N), settings["needle"]]])
    lengths = torch.tensor([[length] * N + [payload]])
    label = torch.tensor([base["names"]])[:, order[0]]
    segments = Segments(
        order, label, 1 + (length + 2) * torch.arange(N + 1)[None], lengths, resume_times(order, lengths)
    )
    observations = rollout(systems, length + payload)
    tokens = lay_out(segments, observations, task.labels, 2 + (length + 2) * N + payload)
    return Prompts(tokens, segments, observations, systems, (1, 1), N, settings["needle"], 1 + (length + 2) * N, 1)


def as_asked(plain, found, task):
    """That prompt under the page's settings, by the library."""
    settings, base = found["settings"], found["base"]
    edited = page.edited(plain, task, settings | dict(shown=max(settings["shown"], 0), fresh=False))
    if settings["fresh"]:
        fresh = Systems(
            torch.tensor([base["fresh"]["U"]], dtype=torch.double),
            torch.tensor([base["fresh"]["x0"]], dtype=torch.double),
        )
        edited = interventions.query_shows(edited, task, fresh)
    if settings["shown"] < 0:
        label = edited.segments.label.clone()
        label[:, -1] = base["names"][settings["systems"]]
        assert label[0, -1] not in label[0, :-1]
        edited = edit(edited, task, label=label)
    return edited


def tiny(steps):
    """A configuration that trains in a second."""
    small = dict(batch_size=4, evaluate_every=5)
    config = settings.preset("fast-0", 2, 2, seed=3, steps=steps, **small)
    return replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))
