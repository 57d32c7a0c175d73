"""Two routes to every number in the page: what it computes is what the library computes."""

import itertools
import math
import random

import pytest
import torch
from made_explorer import FULL, as_asked, ask, ask_all, rebuilt

from recall.explorer import SETTINGS, Explorer, page
from recall.model import hooks
from recall.predictors import Match, Named
from recall.settings import from_json
from recall.training import build_model

pytestmark = [pytest.mark.browser, pytest.mark.standard]
MOST = dict(tokens=1e-5, predictions=1e-3, byLabel=1e-3, byState=1e-3)  # weights are in half precision, sums in single


def random_settings(rng, models):
    run = rng.choice(models)
    config = from_json(run.config)
    n, L, rows = config.task.dimension, config.task.labels, config.model.n_positions
    N = rng.randint(1, L)
    longest = min(16, (rows - n - 4) // N - 2)
    if longest < n + 2:
        return random_settings(rng, models)
    return dict(
        run=run.name,
        step=rng.choice(run.steps),
        systems=N,
        needle=rng.randrange(N),
        length=rng.randint(n + 2, longest),
        shown=rng.randint(-1 if N < L else 0, N - 1),
        fresh=rng.random() < 0.25,
        equal_norm=rng.random() < 0.3,
        share=rng.choice([0, 0, 0.35, 1]) if N > 1 else 0,
        cut=[],
        seed=rng.randint(1, 10**6),
    )


def test_two_hundred_random_settings_agree_with_the_library(playground, models):
    rng, by_name = random.Random(4), {run.name: run for run in models}
    few = {run.name: sorted({run.steps[0], run.steps[-1], rng.choice(run.steps)}) for run in models}
    wanted = [random_settings(rng, models) for _ in range(200)]
    wanted = sorted((each | dict(step=rng.choice(few[each["run"]])) for each in wanted), key=checkpoint)
    worst = dict.fromkeys(MOST, 0.0)
    for (name, step), group in itertools.groupby(wanted, checkpoint):
        run, group = by_name[name], list(group)
        config = from_json(run.config)
        task, model = config.task, build_model(config, run.weights(step))
        for settings, found in zip(group, ask_all(playground, group)):
            assert found["settings"] == settings
            edited = as_asked(rebuilt(found, task), found, task)
            fields = "system label start length first".split()
            records = [[segment[key] for segment in found["prompt"]["segments"]] for key in fields]
            assert records == [column[0].tolist() for column in vars(edited.segments).values()]
            rows = slice(edited.query_row, None)
            said = {
                "tokens": (found["prompt"]["tokens"], edited.tokens[0]),
                "predictions": (found["predictions"], model.predict(edited.inputs.float())[0]),
                "byLabel": (found["byLabel"], Named(task).predict(edited.inputs)[0, rows]),
                "byState": (found["byState"], Match(task).predict(edited.inputs)[0, rows]),
            }
            for part, (there, here) in said.items():
                far = (torch.tensor(there, dtype=torch.double) - here.double()).abs().max().item()
                worst[part] = max(worst[part], far)
    assert all(worst[part] < most for part, most in MOST.items()), worst


def checkpoint(settings):
    return settings["run"], settings["step"]


def test_cut_parts_agree_with_the_library(playground, models):
    """Heads and MLPs set to zero by hooks give what the page gives."""
    run = models[0]
    config = from_json(run.config)
    model = build_model(config, run.weights())
    for cut in (["0.1"], ["1.0", "1.3", "2.mlp"], ["0.mlp", "2.2"]):
        found = ask(playground, cut=cut, seed=7)
        edits = {}
        for layer in range(config.model.n_layer):
            inside = [part.split(".")[1] for part in cut if part.startswith(f"{layer}.")]
            heads = [int(head) for head in inside if head != "mlp"]
            if heads:
                keep = torch.tensor([float(h not in heads) for h in range(config.model.n_head)])[None, :, None, None]
                edits[f"h.{layer}.attn.hook_z"] = lambda z, keep=keep: z * keep
            if "mlp" in inside:
                edits[f"h.{layer}.hook_mlp_out"] = torch.zeros_like
        tokens = as_asked(rebuilt(found, config.task), found, config.task).inputs.float()
        with hooks(model, edits):
            here = model.predict(tokens)[0]
        assert torch.allclose(torch.tensor(found["predictions"]), here, atol=1e-3)


def test_first_view_is_what_the_page_computes(playground, models):
    """The prompt that came along, computed again in the page; means over the page's own prompts, within their
    intervals.
    """
    widget = Explorer(shown=1, linked=True)
    first = page.first_view(models[0], {name: getattr(widget, name) for name in SETTINGS})
    drawn = playground.evaluate(f"{FULL}.answer().predictions")
    assert torch.allclose(torch.tensor(drawn), torch.tensor(first["predictions"]), atol=1e-5)
    ask(playground, shown=0)
    found = ask(playground, whole=True, shown=1)
    assert torch.allclose(torch.tensor(found["predictions"]), torch.tensor(first["predictions"]), atol=1e-3)
    there, here = found["stats"], first["stats"]
    assert there["count"] == here["count"] == page.FRESH
    for name in ("model", "byLabel", "byState"):
        for a, b in zip(there["error"][name], here["error"][name]):
            assert abs(a["mean"] - b["mean"]) <= 2.2 * math.hypot(a["half"], b["half"]) + 1e-6, (name, a, b)
    assert torch.allclose(torch.tensor(there["weights"]), torch.tensor(here["weights"]), atol=0.12)


def test_drawn_prompts_have_the_statistics_of_the_task(playground):
    found = playground.evaluate(
        """root => {
        const out = [];
        for (let seed = 1; seed <= 1500; seed++) { root.recall.set('seed', seed); out.push(root.base()); }
        return out;
    }""",
        playground.evaluate_handle(FULL),
    )
    U = torch.tensor([each["U"] for base in found for each in base["systems"]], dtype=torch.double)
    x0 = torch.tensor([each["x0"] for base in found for each in base["systems"]], dtype=torch.double)
    names, n = torch.tensor([base["names"] for base in found]), U.shape[-1]
    eye = torch.eye(n, dtype=torch.double)
    assert torch.allclose(U @ U.mT, eye.expand_as(U), atol=1e-9)
    assert abs(torch.linalg.det(U).mean()) < 4 / len(U) ** 0.5  # as many rotations as reflections
    assert abs(U.diagonal(dim1=1, dim2=2).sum(-1).square().mean() - 1) < 0.12  # E tr(U)^2 = 1 on O(n)
    assert torch.allclose(U.mean(0), torch.zeros_like(eye), atol=4 / (n * len(U)) ** 0.5)
    assert abs(x0.square().sum(-1).mean() - 1) < 4 * (2 / n / len(x0)) ** 0.5
    share = torch.stack([(names == label).double().mean(0) for label in range(names.shape[1])])
    assert torch.allclose(share, torch.full_like(share, 1 / names.shape[1]), atol=0.05)
