"""What the playground is given: packed checkpoints, the list of models, and a first view that stands there at once.

data/playground.json lists the checkpoints that the page offers, with their SHA-256; all of them are the
half-precision weights that `recall` itself uses under those names."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from dataclasses import asdict

import numpy as np
from torch import Tensor

from recall import data, interventions, measures, runs
from recall.config import check
from recall.evaluation import pointing
from recall.model import GPTConfig
from recall.needle import Prompts, haystack_payload, needle_prompts
from recall.predictors import Match, Named
from recall.settings import from_json
from recall.task import TaskConfig, edit
from recall.training import build_model

LISTED = "playground.json"  # of the committed data
FRESH = 200  # prompts of a running average, as in playground.js


def pack(config: GPTConfig, weights: dict[str, Tensor]) -> bytes:
    """One checkpoint for the page: length of the header (4 bytes, little-endian), header (JSON: configuration, names
    and sizes), weights.

    Weights are rounded to half precision; their low bytes come before their high bytes, which deflates by a seventh.
    """
    sizes = [[name, tensor.numel()] for name, tensor in weights.items()]
    header = json.dumps(dict(config=asdict(config), tensors=sizes)).encode()
    halves = np.concatenate([tensor.detach().cpu().half().numpy().ravel() for tensor in weights.values()])
    planes = halves.view(np.uint8).reshape(-1, 2).T.tobytes()
    return len(header).to_bytes(4, "little") + header + zlib.compress(planes, 9)


def packed(run: runs.Run, step: int) -> bytes:
    """`pack` of a run's checkpoint; ValueError for a step that it does not have."""
    return pack(from_json(run.config).model, run.weights(step))


def listed() -> list[runs.Run]:
    """The committed runs of the page, in its order, every checkpoint verified; ValueError if one is missing or
    altered.
    """
    found = []
    for name, hashes in runs.read_json(data.path(LISTED)).items():
        run = runs.load(name, runs.data_folder() / "runs")
        for step, sha in hashes.items():
            path = runs.checkpoint_path(run.folder, int(step))
            whole = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha
            check("checkpoint", whole, f"as listed in data/{LISTED}", str(path))
        found.append(run)
    return found


def nearest(among: list[runs.Run], dimension: int | None, labels: int | None) -> runs.Run:
    """The run whose dimension, and then label count, is nearest to what is asked for; the first where nothing is."""
    far = lambda asked, there: 0 if asked is None else abs(asked - there)
    task = lambda run: run.config["task"]
    return min(among, key=lambda run: (far(dimension, task(run)["dimension"]), far(labels, task(run)["labels"])))


def entry(run: runs.Run) -> dict:
    """A run as the playground lists it.  kind: whom its finished model believes (`measures.kind`)."""
    config = from_json(run.config)
    asked_two = run.whole and 2 in run.config["evaluation"]["systems"]
    kind = "in training" if not run.whole else measures.kind(run, 2) if asked_two else "trained"
    return dict(
        name=run.name,
        dimension=config.task.dimension,
        labels=config.task.labels,
        seed=config.seed,
        kind=kind,
        steps=run.steps,
        positions=config.model.n_positions,
        layers=config.model.n_layer,
        heads=config.model.n_head,
    )


def script(run: runs.Run, step: int) -> str:
    """A classic script that hands the page one checkpoint: what a page opened from a folder can load."""
    return f'recallWeights("{run.name}-{step}", "{base64.b64encode(packed(run, step)).decode()}");\n'


def edited(prompts: Prompts, config: TaskConfig, settings: dict) -> Prompts:
    """Prompts under the playground's settings: equal_norm, share (synchronised), fresh (new system), shown (label,
    by segment).
    """
    if settings["equal_norm"]:
        prompts = interventions.apply("equal-norm", prompts, config)
    if settings["share"] > 0:
        prompts = interventions.synchronised(prompts, config, settings["share"])
    if settings["fresh"]:
        prompts = interventions.apply("new-system", prompts, config)
    if settings["shown"] < 0:
        return interventions.apply("unseen-label", prompts, config)
    label = prompts.segments.label.clone()
    label[:, -1] = label[:, settings["shown"]]
    return edit(prompts, config, label=label)


def first_view(run: runs.Run, settings: dict) -> dict | None:
    """What the playground shows before it has computed anything: one prompt with the model's answers, and means over
    FRESH others.

    None where segments have another length than needle prompts have, or something is cut: then the page computes first.
    """
    config = from_json(run.config)
    task = config.task
    alone = settings["systems"] < 2 and settings["share"]
    if settings["length"] != haystack_payload(task) or settings["cut"] or settings["seed"] or alone:
        return None
    model, query = build_model(config, run.weights(settings["step"])), dict(traces=1, needle=settings["needle"])
    draw = lambda count, seed: needle_prompts(task, settings["systems"], haystacks=count, seed=seed, **query)
    plain = draw(1, 3)
    asked = edited(plain, task, settings)
    return dict(
        settings=settings,
        dimension=task.dimension,
        labels=task.labels,
        base=_base(plain, task),
        predictions=_rounded(model.predict(asked.inputs)[0]),
        stats=_stats(model, edited(draw(FRESH, 4), task, settings), task),
    )


def _base(prompts: Prompts, task: TaskConfig) -> dict:
    """What `prompt` in core.js makes a prompt from."""
    N, label = prompts.count, prompts.segments.label[0]
    unseen = [int(interventions.unused(prompts, task)[0])] if N < task.labels else []
    names = [*label[:N].tolist(), *unseen]
    names += [each for each in range(task.labels) if each not in names]
    segments = prompts.segments.system[0, :N].tolist()
    one = lambda systems, i: dict(U=_rounded(systems.A[i], 7), x0=_rounded(systems.x0[i], 7))
    fresh = interventions.apply("new-system", prompts, task).systems
    return dict(systems=[one(prompts.systems, i) for i in segments], fresh=one(fresh, -1), names=names)


def _stats(model, prompts: Prompts, task: TaskConfig) -> dict:
    """As `pool` in core.js reads it."""
    said = {
        "model": model.predict(prompts.inputs),
        "byLabel": Named(task).predict(prompts.inputs),
        "byState": Match(task).predict(prompts.inputs),
    }
    error = {}
    for name, predictions in said.items():
        squared = (predictions - prompts.targets).square().sum(-1)[:, prompts.query_row :].double()  # [B, K]
        half = 1.96 * squared.std(0) / math.sqrt(len(squared))
        pairs = zip(squared.mean(0).tolist(), half.tolist())
        error[name] = [dict(mean=round(mean, 5), half=round(each, 5)) for mean, each in pairs]
    return dict(count=len(prompts.tokens), error=error, weights=_rounded(pointing(said["model"], prompts), 4))


def _rounded(tensor: Tensor, digits: int = 5):
    if tensor.ndim:
        return [_rounded(each, digits) for each in tensor]
    return round(float(tensor), digits)


def publish(run: runs.Run, steps: list[int]) -> None:
    """Round a run's checkpoints of these steps to half precision and list them in data/playground.json, in place.

    Other checkpoints in its folder are removed; the last step needs no listing, it is the published model.
    """
    runs.check_data(LISTED)
    for step in run.steps:
        path = runs.checkpoint_path(run.folder, step)
        if step in steps:
            tensors, notes = runs.load_tensors(path)
            runs.save_tensors(path, {name: tensor.half() for name, tensor in tensors.items()}, notes)
        else:
            path.unlink(missing_ok=True)
    listed_in = runs.data_folder() / LISTED
    there = runs.read_json(listed_in) if listed_in.exists() else {}
    there[run.name] = {
        str(step): hashlib.sha256(runs.checkpoint_path(run.folder, step).read_bytes()).hexdigest()
        for step in steps
        if step != run.history.step.max()
    }
    runs.write_atomically(listed_in, (json.dumps(there, indent=1) + "\n").encode())
    data.record(listed_in)
