"""What a run is made of: its configuration as JSON, and the named recipes.

A setting (`fast-0`, `adamw-0`) is frozen: its number goes up when anything in it changes, and old runs stay valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from recall import config as declared
from recall import runs
from recall.config import check, counted, later, require, to_json
from recall.evaluation import EvaluationConfig
from recall.model import GPTConfig
from recall.needle import prompt_rows
from recall.task import TaskConfig

OPTIMISERS = ("muon", "muon-batched", "adamw")
MOST_RATE = 1e6  # of rates and weights: far above what trains, and far below what single precision holds


@dataclass(frozen=True)
class TrainingConfig:
    """optimiser: `muon` (torch's Muon on the hidden matrices, AdamW on the rest), `muon-batched` (`recall.muon` in its
    place: matrices of one shape together, in single precision) or `adamw` (on everything).

    learning_rate: AdamW's.  muon_rate: Muon's.  warmup: steps of linear warm-up.  decay_from: share of the run after
    which both rates fall linearly to 0 (1 keeps them constant).  weight_decay: of AdamW.  clip: global gradient norm.
    evaluate_every: steps between evaluations.  momentum: Muon's.  beta2: AdamW's second.  patience: end the run once
    every ability has been there for that many evaluations in a row (0: train all steps).  weight_first, weight_second,
    weight_later, weight_initial: in the loss, of the observations 1, 2 and more after a query and of those in segments
    that do not resume; 0 knocks them out.  average: decay per step of the running mean of the weights, which then is
    what is evaluated, kept and published (0: the weights as they are).  Raises ValueError, in one line, for a value out
    of its range.
    """

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
    # since runs were committed: a new field goes here and is declared as recall.config says
    momentum: float = later(0.95)
    beta2: float = later(0.999)
    patience: int = later(0)
    weight_first: float = later(1.0)
    weight_second: float = later(1.0)
    weight_later: float = later(1.0)
    weight_initial: float = later(1.0)
    average: float = later(0.0)

    def __post_init__(self):
        positive = lambda value: (0 < value <= MOST_RATE, f"above 0 and at most {MOST_RATE:g}")
        decaying = lambda value: (0 <= value < 1, "0 to below 1")
        some = max(self.weights) > 0
        weighed = lambda value: (0 <= value <= MOST_RATE and some, f"0 to {MOST_RATE:g}, one of the four above 0")
        require(
            self,
            optimiser=(self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}"),
            learning_rate=positive(self.learning_rate),
            muon_rate=positive(self.muon_rate),
            clip=positive(self.clip),
            steps=counted(self.steps, 1),
            batch_size=counted(self.batch_size, 1, most=10**6),
            evaluate_every=counted(self.evaluate_every, 1),
            warmup=counted(self.warmup, 0),
            patience=counted(self.patience, 0),
            momentum=decaying(self.momentum),
            beta2=decaying(self.beta2),
            weight_first=weighed(self.weight_first),
            weight_second=weighed(self.weight_second),
            weight_later=weighed(self.weight_later),
            weight_initial=weighed(self.weight_initial),
            average=decaying(self.average),
            decay_from=(0 <= self.decay_from <= 1, "0 to 1"),
            weight_decay=(0 <= self.weight_decay <= MOST_RATE, f"0 to {MOST_RATE:g}"),
        )

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


def from_json(values: dict) -> RunConfig:
    """The run's configuration back from its JSON; ValueError names an unknown, missing, mistyped or bad field."""
    return declared.from_json(values, RunConfig)


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


def _here(setting: str, about: str, minutes=None, memory_mb=None, min_systems=1, followed=False, **training) -> Preset:
    """A recipe for one core: the compact task and a model of 3 layers of 64 columns.

    followed: to well past emergence, evaluated twice as often on half as many prompts.
    """

    def build(dimension, labels, seed):
        task = TaskConfig.compact(dimension, labels, min_systems=min_systems)
        own = dict(activation="silu", initialisation="fan_in", zero_init=True)
        model = GPTConfig.size("cpu", task.columns, dimension, positions(task), **own)
        many = labels > 4
        budget = dict(steps=3000 + many * 250 * (labels - 4), evaluate_every=200 if many else 100)
        evaluation = EvaluationConfig(tuple(N for N in (1, 2, 4, 8) if N <= labels))
        if followed:
            steps = 3000 if dimension <= 3 else 4000
            budget = dict(steps=steps * 3 // 2 if many else steps, evaluate_every=100 if many else 50)
            evaluation = replace(evaluation, traces=32)
        return RunConfig(task, model, TrainingConfig(**budget | training), evaluation, setting, seed)

    return Preset(build, (5, 4), about, minutes, memory_mb)


def _study(size: str, batch_size: int, learning_rate: float, steps: int, about: str) -> Preset:
    """The study's recipe: AdamW, weight decay 0.01, constant rate, clip 1, its own generator."""
    own = dict(learning_rate=learning_rate, batch_size=batch_size, steps=steps, warmup=0, weight_decay=0.01)

    def build(dimension, labels, seed):
        task = TaskConfig.study(dimension=dimension, labels=labels, max_systems=labels)
        model = GPTConfig.size(size, task.columns, dimension, max(positions(task), 251))
        systems = tuple(N for N in (1, 2, 5, 19) if N <= labels)
        training = TrainingConfig("adamw", evaluate_every=1000, **own)
        return RunConfig(task, model, training, EvaluationConfig(systems), f"study-{size}", seed)

    return Preset(build, (5, 25), about)


ADAMW = dict(optimiser="adamw", steps=6000, evaluate_every=200)
BOTH, ALONE = "both abilities within minutes on one core", "the same task and model with AdamW alone"

PRESETS = {
    # the winner of `recall/sweeps/recipe.py`: `fast-1` with batched Muon, the running mean of the weights, and at least
    # two systems in every trace.  On fresh seeds (`recall/sweeps/fresh_2.py`) 1.7 times quicker at n = 2 and 3, and at
    # n = 5 within the budget with 7 of 8 seeds, `fast-1` with 1 of 4: what the book is told on
    "fast-2": _here("fast-2", BOTH, min_systems=2, followed=True, optimiser="muon-batched", momentum=0.7, average=0.98),
    # the winner of `recall/sweeps/search.py` and `final.py`: `fast-0` with less momentum
    "fast-1": _here("fast-1", BOTH, momentum=0.7),
    # chosen for speed alone, on seeds 200 to 203 of (5, 4), which no committed run uses
    "fast-0": _here("fast-0", BOTH, 6.1, 570),
    # the first of 13 AdamW options in `recall/sweeps/search.py`, none of which got to look-up within its budget: the
    # smaller rate, by its mean score
    "adamw-1": _here("adamw-1", ALONE, learning_rate=1e-3, **ADAMW),
    # of the rates 1e-3, 3e-3 and 6e-3, the one with the lowest error of 2-after-query at step 1,000 of seed 200 at
    # (3, 4); 3e-3 and 6e-3, followed to step 3,000 there, had not learnt 1-after-query
    "adamw-0": _here("adamw-0", ALONE, 11.0, 650, **ADAMW),
    # batch, rate and length of the study; nobody has run these here
    "study-tiny": _study("tiny", 2048, 1.268e-4, 50_000, "the study's recipe, tiny model"),
    "study-small": _study("small", 1024, 4.483e-5, 100_000, "the study's recipe, small model"),
    "study-medium": _study("medium", 512, 1.585e-5, 182_000, "the study's main model"),
    "study-big": _study("big", 640, 1.477e-5, 127_000, "the study's recipe, big model"),
    "study-huge": _study("huge", 96, 4.77e-6, 1_008_000, "the study's recipe, largest model"),
}


def preset(name: str, dimension: int | None = None, labels: int | None = None, seed: int = 0, **training) -> RunConfig:
    """A preset's RunConfig; keyword arguments replace fields of its TrainingConfig (the setting is then `custom`).

        config = recall.preset("fast-2", dimension=3, labels=4, seed=1)
        run = recall.train(config, "_runs/mine")

    Raises ValueError for an unknown preset, fewer than two labels and values out of range.
    """
    check("preset", name in PRESETS, f"one of {', '.join(PRESETS)}", name)
    chosen = PRESETS[name]
    dimension = chosen.defaults[0] if dimension is None else dimension
    labels = chosen.defaults[1] if labels is None else labels
    check("labels", labels >= 2, "at least 2: with one there is nothing to recall", labels)
    config = chosen.build(dimension, labels, seed)
    if training:
        config = replace(config, training=replace(config.training, **training), setting="custom")
    return config


def vary(config: RunConfig, setting: str, **parts) -> RunConfig:
    """The run with fields of its parts replaced and another setting's name.

        wide = recall.vary(config, "wide", model={"n_embd": 96})
        recall.train(wide, "_runs/wide")

    The position table follows the task.  ValueError for an unknown part or field.
    """
    for part, values in parts.items():
        check("part", part in ("task", "model", "training", "evaluation"), "task, model, training or evaluation", part)
        there = [each.name for each in fields(getattr(config, part))]
        for name in values:
            check(f"{part} field", name in there, f"one of {', '.join(there)}", name)
    changed = {part: replace(getattr(config, part), **values) for part, values in parts.items()}
    task = changed.get("task", config.task)
    changed["model"] = replace(changed.get("model", config.model), n_positions=positions(task))
    return replace(config, setting=setting, **changed)
