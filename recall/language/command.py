"""The verb `language` of the command line: a model of the hub, or one trained here, at every checkpoint."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd

from recall import data, progress, runs
from recall.config import check
from recall.language import lexicon, pretrain, results, revisions
from recall.language.prompts import PromptConfig

ABOUT = "first against second token of a translation, over a language model's checkpoints"
TASKS = 4  # N, where nothing else says how many


def add_options(verb: ArgumentParser) -> None:
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="name on the hub, or a folder of folders, one per revision")
    source.add_argument("--train", choices=pretrain.RECIPES, help="train one here first, into --out")
    verb.add_argument("--revisions", nargs="+", default=["*step*"], help="names or patterns (default: all with a step)")
    verb.add_argument("--at-most", type=int, help="of those, so many at about equal ratios of steps")
    verb.add_argument("--out", type=Path, required=True, help="folder of scores and tables; goes on after a kill")
    verb.add_argument(
        "--pairs", type=Path, help="CSV file: source, a column per task (default: the model's, else ours)"
    )
    verb.add_argument("--tasks", type=int, help=f"N in a prompt (default: what --train's documents hold, else {TASKS})")
    verb.add_argument("--shots", type=int, default=2, help="examples of each task")
    verb.add_argument("--prompts", type=int, default=256, help="how many")
    verb.add_argument("--needle", type=int, default=0, help="task queried; 0 is the farthest")
    verb.add_argument("--seed", type=int, default=0, help="of the prompts, and of --train")
    verb.add_argument("--shown", action="store_true", help="the query's source stands among every task's examples")
    verb.add_argument("--kind", default="known", help="of pairs, as in the CSV file: known or context")
    verb.add_argument("--steps", type=int, help="with --train only")
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--keep", type=Path, help="folder for a copy of the tables, such as data/language")
    verb.add_argument("--dtype", default="float32", help=", ".join(revisions.DTYPES))
    verb.add_argument(
        "--forget", action="store_true", help="take each revision out of the hub's cache once it is scored"
    )


def run(given: Namespace) -> pd.DataFrame:
    """Score every checkpoint into `given.out`; the dates of both tokens."""
    from recall import figures  # the other verbs do without altair
    from recall.language import charts

    if given.train:
        pairs, recipe = pretrain.recipe(given.train, given.seed, given.steps)
        config = _config(given, recipe.tasks)
        at = pretrain.train(pairs, recipe, given.out, given.seed, progress.of_steps(recipe.steps))
        model, name, source = (
            str(given.out),
            f"{given.train}-{given.seed}",
            f"--train {given.train} --seed {given.seed}",
        )
    else:
        config = _config(given, TASKS)
        check("steps", given.steps is None, "left out with --model", given.steps)
        model, name, source = given.model, Path(given.model).name, f"--model {given.model}"
        at = revisions.choose(model, given.revisions, given.at_most)
        own = Path(model) / "lexicon.csv"
        pairs = lexicon.read(given.pairs or (own if own.is_file() else data.path("reference", "words.csv")))
    how = dict(device=given.device, dtype=given.dtype, forget=given.forget, report=_tell)
    found, dates = revisions.run(model, at, pairs, config, given.out, **how)
    found = found[found.pairs == "all"].assign(words=name, seed=given.seed)
    if given.keep:
        results.keep(given.out, given.keep / name, f"python -m recall language {source} --out {name}")
    runs.write_atomically(given.out / "gains.svg", figures.picture(charts.language_gains(found)))
    return dates


def _config(given: Namespace, tasks: int) -> PromptConfig:
    tasks = tasks if given.tasks is None else given.tasks
    return PromptConfig(tasks, given.shots, given.needle, given.shown, given.kind, given.prompts, given.seed)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
