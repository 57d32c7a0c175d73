"""What a run is made of: its configuration as JSON, and the named recipes.

A setting (`fast-0`, `adamw-0`) is frozen: its number goes up when anything in it changes, and old runs stay valid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Callable, get_type_hints

from recall import runs
from recall.evaluation import EvaluationConfig
from recall.model import GPTConfig
from recall.needle import prompt_rows
from recall.task import TaskConfig, check, later


@dataclass(frozen=True)
class TrainingConfig:
    """optimiser: `muon` (Muon on the hidden matrices, AdamW on the rest) or `adamw` (on everything).

    learning_rate: AdamW's.  muon_rate: Muon's.  warmup: steps of linear warm-up.  decay_from: share of the run after
    which both rates fall linearly to 0 (1 keeps them constant).  weight_decay: of AdamW.  clip: global gradient
    norm. evaluate_every: steps between evaluations.  momentum: Muon's.  beta2: AdamW's second. patience: end the run
    once every ability has been there for that many evaluations in a row (0: train all steps). weight_first,
    weight_second, weight_later, weight_initial: in the loss, of the observations 1, 2 and more after a query and of
    those in segments that do not resume; 0 knocks them out."""

    optimiser: str = "muon"
    learning_rate: float = 3e-3
    muon_rate: float = 0.01
    warmup: int = 50
    decay_from: float = 1.0
    weight_decay: float = 0.0
    clip: float = 1.0
    batch_size: int = 32
    steps: int = 3000
    evaluate_every: int = 100
    momentum: float = later(0.95)
    beta2: float = later(0.999)
    patience: int = later(0)
    weight_first: float = later(1.0)
    weight_second: float = later(1.0)
    weight_later: float = later(1.0)
    weight_initial: float = later(1.0)

    def __post_init__(self):
        check("optimiser", self.optimiser in ("muon", "adamw"), "muon or adamw", self.optimiser)
        for name in ("learning_rate", "muon_rate", "clip"):
            check(name, 0 < getattr(self, name) < math.inf, "positive and finite", getattr(self, name))
        for name in ("steps", "batch_size", "evaluate_every"):
            check(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in ("warmup", "patience"):
            check(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        for name in ("momentum", "beta2"):
            check(name, 0 <= getattr(self, name) < 1, "0 to below 1", getattr(self, name))
        for name in ("weight_first", "weight_second", "weight_later", "weight_initial"):
            check(
                name,
                0 <= getattr(self, name) < math.inf and max(self.weights) > 0,
                "at least 0 and finite, one of the four above 0",
                getattr(self, name),
            )
        check("decay_from", 0 <= self.decay_from <= 1, "0 to 1", self.decay_from)
        check("weight_decay", self.weight_decay >= 0, "at least 0", self.weight_decay)

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """Of observations that are not after a query, and 1, 2 and more after one."""
        return self.weight_initial, self.weight_first, self.weight_second, self.weight_later

    def rate(self, step: int) -> float:
        """Factor on the learning rates at a step: warm-up, then constant, then linear to 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = (self.steps - step) / max(self.steps * (1 - self.decay_from), 1e-9)
        return warm * min(1.0, left)


@dataclass(frozen=True)
class RunConfig:
    """Everything that makes a run.  setting: the name of the frozen recipe, or `custom`."""

    task: TaskConfig
    model: GPTConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    setting: str = "custom"
    seed: int = 0

    def __post_init__(self):
        task, model = self.task, self.model
        check("seed", 0 <= self.seed < 2**31, "0 to 2147483647", self.seed)
        check("model.n_in", model.n_in == task.columns, f"the task's columns ({task.columns})", model.n_in)
        check("model.n_out", model.n_out == task.dimension, f"the task's dimension ({task.dimension})", model.n_out)
        most = max(self.evaluation.systems)
        check("evaluation.systems", most <= task.labels, f"at most labels ({task.labels})", most)
        rows = positions(task, most)
        check("model.n_positions", model.n_positions >= rows, f"at least {rows}, the longest prompt", model.n_positions)

    @property
    def name(self) -> str:
        return runs.run_name(to_json(self))


def positions(task: TaskConfig, systems: int | None = None) -> int:
    """Rows of the position table: the trace, or the needle prompt of `systems` (all labels) where that is longer."""
    return max(task.trace_length, prompt_rows(task, systems or task.labels))


def to_json(config: RunConfig) -> dict:
    """Nested dictionary of plain JSON values."""
    values = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if each.metadata.get("later") and value == each.default:
            continue
        values[each.name] = (
            to_json(value) if is_dataclass(value) else list(value) if isinstance(value, tuple) else value
        )
    return values


def from_json(values: dict, cls=RunConfig, where: str = ""):
    """The configuration back from `to_json`; ValueError names an unknown, missing or mistyped field."""
    hints = get_type_hints(cls)
    check(where or "config", isinstance(values, dict), "an object", values)
    for name in values:
        check(f"{where}{name}", name in hints, f"left out (fields: {', '.join(hints)})", values[name])
    built = {}
    for name, value in values.items():
        hint = hints[name]
        if is_dataclass(hint):
            value = from_json(value, hint, f"{where}{name}.")
        elif name == "systems":
            check(
                f"{where}{name}",
                isinstance(value, list) and all(type(v) is int for v in value),
                "a list of whole numbers",
                value,
            )
            value = tuple(value)
        elif hint is float and type(value) is int:
            value = float(value)
        else:
            check(
                f"{where}{name}",
                isinstance(value, hint) and not (hint is int and type(value) is bool),
                f"of type {getattr(hint, '__name__', hint)}",
                value,
            )
        built[name] = value
    missing = [f.name for f in fields(cls) if f.name not in built and f.default is f.default_factory]
    check(f"{where}{missing[0]}" if missing else "config", not missing, "given", None)
    return cls(**built)


def _compact_run(setting, training, dimension, labels, seed):
    task = TaskConfig.compact(dimension, labels)
    model = GPTConfig.size(
        "cpu", task.columns, dimension, positions(task), activation="silu", initialisation="fan_in", zero_init=True
    )
    systems = tuple(N for N in (1, 2, 4, 8) if N <= labels)
    return RunConfig(task, model, training, EvaluationConfig(systems), setting, seed)


def _study_run(size, batch_size, learning_rate, steps):
    """The study's recipe (facts 2.2): AdamW, weight decay 0.01, constant rate, clip 1, its own generator."""

    def build(dimension, labels, seed):
        task = TaskConfig.study(dimension=dimension, labels=labels, max_systems=labels)
        model = GPTConfig.size(size, task.columns, dimension, max(positions(task), 251))
        training = TrainingConfig(
            "adamw", learning_rate, batch_size=batch_size, steps=steps, warmup=0, weight_decay=0.01, evaluate_every=1000
        )
        systems = tuple(N for N in (1, 2, 5, 19) if N <= labels)
        return RunConfig(task, model, training, EvaluationConfig(systems), f"study-{size}", seed)

    return build


def _fast0(dimension, labels, seed):
    """Chosen for speed alone, on seeds 200 to 203 of (5, 4), which no committed run uses."""
    return _compact_run("fast-0", _muon(labels), dimension, labels, seed)


def _fast1(dimension, labels, seed):
    """The winner of `recall/sweeps/search.py` and `final.py`: `fast-0` with less momentum."""
    return _compact_run("fast-1", _muon(labels, momentum=0.7), dimension, labels, seed)


def _muon(labels, **changes):
    steps = 3000 + 250 * max(0, labels - 4)
    return TrainingConfig(steps=steps, evaluate_every=100 if labels <= 4 else 200, **changes)


def _adamw0(dimension, labels, seed):
    """AdamW alone on the same task and model.  Rate: of 1e-3, 3e-3 and 6e-3, the one with the lowest error of
    2-after-query at step 1,000 of seed 200 at (3, 4); 3e-3 and 6e-3, followed to step 3,000 there, had not learnt
    1-after-query.
    """
    training = TrainingConfig("adamw", steps=6000, evaluate_every=200)
    return _compact_run("adamw-0", training, dimension, labels, seed)


def _adamw1(dimension, labels, seed):
    """The first of 13 AdamW options in `recall/sweeps/search.py`, none of which got to look-up within its budget:
    the smaller rate, by its mean score.
    """
    training = TrainingConfig("adamw", learning_rate=1e-3, steps=6000, evaluate_every=200)
    return _compact_run("adamw-1", training, dimension, labels, seed)


def vary(config: RunConfig, setting: str, **parts) -> RunConfig:
    """The run with fields of its parts replaced and another setting's name: vary(run, "wide", model={"n_embd": 96}).

    The position table follows the task.
    """
    for part, values in parts.items():
        check("part", part in ("task", "model", "training", "evaluation"), "task, model, training or evaluation", part)
        for name in values:
            there = [each.name for each in fields(getattr(config, part))]
            check(f"{part} field", name in there, f"one of {', '.join(there)}", name)
    changed = {part: replace(getattr(config, part), **values) for part, values in parts.items()}
    task = changed.get("task", config.task)
    changed["model"] = replace(changed.get("model", config.model), n_positions=positions(task))
    return replace(config, setting=setting, **changed)


@dataclass(frozen=True)
class Preset:
    """build(dimension, labels, seed) -> RunConfig.  defaults: dimension and labels where none are asked for.

    minutes, memory_mb: measured on one core at the defaults, or None where nobody has run it here.
    """

    build: Callable[[int, int, int], RunConfig]
    defaults: tuple[int, int]
    about: str
    minutes: float | None = None
    memory_mb: int | None = None


PRESETS = {
    "fast-1": Preset(_fast1, (5, 4), "both abilities within minutes on one core"),
    "fast-0": Preset(_fast0, (5, 4), "both abilities within minutes on one core", 6.1, 570),
    "adamw-1": Preset(_adamw1, (5, 4), "the same task and model with AdamW alone"),
    "adamw-0": Preset(_adamw0, (5, 4), "the same task and model with AdamW alone", 11.0, 650),
    # batch, rate and length of facts section 2.2; nobody has run these here
    "study-tiny": Preset(_study_run("tiny", 2048, 1.268e-4, 50_000), (5, 25), "the study's recipe, tiny model"),
    "study-small": Preset(_study_run("small", 1024, 4.483e-5, 100_000), (5, 25), "the study's recipe, small model"),
    "study-medium": Preset(_study_run("medium", 512, 1.585e-5, 182_000), (5, 25), "the study's main model"),
    "study-big": Preset(_study_run("big", 640, 1.477e-5, 127_000), (5, 25), "the study's recipe, big model"),
    "study-huge": Preset(_study_run("huge", 96, 4.77e-6, 1_008_000), (5, 25), "the study's recipe, largest model"),
}


def preset(name: str, dimension: int | None = None, labels: int | None = None, seed: int = 0, **training) -> RunConfig:
    """A preset's RunConfig; keyword arguments replace fields of its TrainingConfig (the setting is then `custom`)."""
    check("preset", name in PRESETS, f"one of {', '.join(PRESETS)}", name)
    dimension, labels = (
        given if given is not None else default for given, default in zip((dimension, labels), PRESETS[name].defaults)
    )
    check("labels", labels >= 2, "at least 2: with one there is nothing to recall", labels)
    config = PRESETS[name].build(dimension, labels, seed)
    if training:
        config = replace(config, training=replace(config.training, **training), setting="custom")
    return config
