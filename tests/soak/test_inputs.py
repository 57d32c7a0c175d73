"""Configurations and command lines as nobody would write them: one line, or what was asked for."""

import json
import math
import random
import signal
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
import torch

from recall import runs, settings, sweep, training
from recall.__main__ import main, parser
from recall.config import to_json
from recall.evaluation import EvaluationConfig, Evaluator
from recall.model import ACTIVATIONS, GPTConfig
from recall.settings import OPTIMISERS, RunConfig, TrainingConfig, from_json
from recall.systems import FAMILIES
from recall.task import Task, TaskConfig

pytestmark = pytest.mark.soak

CONFIGURATIONS, LINES = 2000, 300
SECONDS = 60  # that a case may take

# values of each field that are meant, some of them only beside certain others
MEANT = dict(
    family=tuple(FAMILIES),
    dimension=(1, 2, 3, 5),
    labels=(2, 3, 3, 6),
    max_systems=(1, 2, 2, 3),
    trace_length=(11, 40, 61),
    generator=("study", "compact"),
    min_payload=(1, 2, 3),
    max_payload=(3, 5, 9),
    library=(None, None, None, 3, 50),
    min_systems=(1, 1, 1, 2),
    repeats=(True, False),
    label_error=(0.0, 0.3, 1.0),
    state_noise=(0.0, 0.0, 0.0, 0.2),
    n_layer=(1, 2),
    n_head=(1, 2, 4),
    n_embd=(8, 16, 24),
    activation=tuple(ACTIVATIONS),
    initialisation=("gpt2", "fan_in"),
    zero_init=(True, False),
    positions=("learned", "sinusoidal", "none"),
    optimiser=OPTIMISERS,
    learning_rate=(1e-4, 3e-3, 1.0),
    muon_rate=(1e-3, 0.1),
    warmup=(0, 5),
    decay_from=(0.0, 0.5, 1.0),
    weight_decay=(0.0, 0.1),
    clip=(0.1, 1.0),
    batch_size=(1, 3),
    steps=(1, 1000),
    evaluate_every=(1, 100),
    momentum=(0.0, 0.7),
    beta2=(0.9, 0.999),
    patience=(0, 3),
    weight_first=(1.0, 0.0, 4.0),
    weight_second=(1.0, 0.0),
    weight_later=(1.0, 0.0),
    weight_initial=(1.0, 0.0),
    average=(0.0, 0.9),
    systems=((1,), (2,), (1, 2)),
    haystacks=(1, 2),
    traces=(1, 3),
)
# and values that no field means, or hardly one
ODD = (-1, 0, 2**40, 10**400, 1e308, -0.5, math.nan, math.inf, "", "x", "3", None, True, [], [1, -2], {}, {"a": 1}, 2.5)


def drawn(draw):
    """Plain values of a configuration, most of which fit; sometimes an odd one, or a field too many or too few."""
    part = lambda cls: {f.name: draw.choice(MEANT[f.name]) for f in fields(cls) if f.name in MEANT}
    values = dict(task=part(TaskConfig), model=part(GPTConfig), training=part(TrainingConfig))
    values["evaluation"] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in part(EvaluationConfig).items()
    }
    values |= dict(setting="custom", seed=draw.choice((0, 7)))
    task = values["task"]
    values["model"] |= dict(n_in=2 * task["labels"] + 2 + task["dimension"], n_out=task["dimension"], n_positions=300)
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        place = draw.choice([values, *(each for each in values.values() if isinstance(each, dict))])
        name = draw.choice(list(place) or ["colour"])
        match draw.randrange(4):
            case 0:
                place.pop(name, None)
            case 1:
                place["colour"] = draw.choice(ODD)
            case _:
                place[name] = draw.choice(ODD)
    return values


NAMES = {f.name for cls in (RunConfig, TaskConfig, GPTConfig, TrainingConfig, EvaluationConfig) for f in fields(cls)}
NAMES |= {"colour", "config", "a"}


@contextmanager
def at_most(seconds):
    """TimeoutError in place of a case that hangs."""

    def late(signum, frame):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_configurations_train_a_step_or_name_their_field(case):
    draw, trained = random.Random(7), 0
    for i in range(CONFIGURATIONS):
        values = drawn(draw)
        with case(f"configuration {i}: {values}"), at_most(SECONDS):
            try:
                config = from_json(values)
            except ValueError as error:
                said = str(error)
                field = said.split(" must be ")[0].split(".")[-1].split(" ")[-1]
                assert "\n" not in said and field.strip("'") in NAMES, said
                continue
            assert from_json(json.loads(json.dumps(to_json(config)))) == config
            step_and_evaluate(config)
            trained += 1
    assert trained > CONFIGURATIONS / 5, f"only {trained} of them were valid"


def step_and_evaluate(config):
    task, model = Task(config.task, config.seed), training.build_model(config)
    loss = training.step(
        model, training.optimisers(model, config.training), task.sample_batch(0, 2), config.training, 0
    )
    assert math.isfinite(loss) and all(torch.isfinite(p).all() for p in model.parameters()), loss
    rows = Evaluator(config.task, replace(config.evaluation, haystacks=1, traces=2))(model.predict)
    assert len(rows) and rows["mean"].notna().all()


WORDS = (
    "-1 0 2 3.5 1e400 nan x --out --json --preset --systems ../x \x00 '' 9999999999999999999 ü --steps --cost".split(
        " "
    )
)
LINES_MEANT = [
    "train --config CONFIG --out OUT",
    "train --preset fast-2 --dimension 2 --labels 2 --seed 1 --steps 1 --out OUT",
    "evaluate RUN --systems 2 --haystacks 2 --traces 2 --intervention misdirected --json",
    "evaluate RUN --needle 1 --seed 3 --haystacks 1 --traces 1",
    "measure when RUN --tables ratios --out OUT",
    "sweep SWEEP --out OUT --cost",
    "sweep fresh --out OUT --cost",
    "language --train invented --tasks 3 --out OUT --pairs PAIRS",
    "show presets --json",
    "show interventions",
    "show runs",
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the command lines name, made anew for every one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECALL_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 1)
    monkeypatch.setattr(training, "FINAL_TRACES", 2)
    monkeypatch.setattr(sweep, "_price", lambda config: (0.1, 0.1))
    small = EvaluationConfig(systems=(2,), haystacks=1, traces=2)
    run = replace(settings.preset("fast-2", 2, 2, 3, steps=2, batch_size=2, evaluate_every=5), evaluation=small)
    training.train(run, tmp_path / "run")
    return dict(
        CONFIG=runs.canonical(to_json(replace(run, seed=4))).encode(),
        SWEEP=b"from recall import settings\n\ndef configs():\n    return [settings.preset('fast-2', 2, 2)]\n",
        PAIRS=("source,task,target\n" + "".join(f"a{i},b{i % 3},c{i}\n" for i in range(12))).encode(),
    )


def mutated_line(draw):
    """The words of a line, some of them dropped, doubled, changed or put elsewhere."""
    words = draw.choice(LINES_MEANT).split()
    for _ in range(draw.randrange(3)):
        at = draw.randrange(len(words))
        match draw.randrange(4):
            case 0:
                del words[at]
            case 1:
                words.insert(at, words[at])
            case 2:
                words[at] = draw.choice(WORDS)
            case 3:
                words.insert(at, draw.choice(WORDS))
        if not words:
            break
    return words


def mutated_text(draw, content):
    """A file with some of its bytes dropped, doubled or changed."""
    changed = bytearray(content)
    for _ in range(draw.choice((0, 0, 1, 3))):
        at = draw.randrange(len(changed))
        match draw.randrange(3):
            case 0:
                del changed[at : at + draw.randrange(1, 30)]
            case 1:
                changed[at:at] = changed[at : at + draw.randrange(1, 30)]
            case 2:
                changed[at] = draw.randrange(256)
        if not changed:
            break
    return bytes(changed)


def test_command_lines_end_with_nothing_or_one_line(files, tmp_path, capfd, case):
    """No status but 0 and 2, no traceback, and with 2 one line."""
    draw = random.Random(8)
    for i in range(LINES):
        for name, content in files.items():
            suffix = dict(CONFIG=".json", SWEEP=".py", PAIRS=".csv")[name]
            (tmp_path / f"{name}{suffix}").write_bytes(mutated_text(draw, content) if draw.random() < 0.6 else content)
        places = dict(CONFIG="CONFIG.json", SWEEP="SWEEP.py", PAIRS="PAIRS.csv", RUN="run", OUT=f"out-{i}")
        words = [places.get(word, word) for word in mutated_line(draw)]
        if too_long(words):
            continue
        with case(f"{words}"), at_most(SECONDS):
            try:
                status = main(words)
            except SystemExit as end:
                status = end.code
            said = capfd.readouterr()
            assert status in (0, 2), (status, said.err)
            assert "Traceback" not in said.err, said.err
            lines = [line for line in said.err.replace("\r", "\n").splitlines() if line.strip() and "%" not in line]
            assert status == 0 or len(lines) <= 2, said.err
    assert case.count >= LINES * 0.9


def too_long(words):
    """A line that is right and takes hours: not what is asked here."""
    try:
        options = parser().parse_args(words)
    except (SystemExit, ValueError):
        return False
    if options.verb == "train" and options.preset:
        return options.steps != 1
    return options.verb == "language" or (options.verb == "sweep" and not options.cost)
