"""Command line: python -m recall train | sweep | evaluate | distance | ways | probe | cues | degradation | ratios |
as-if | circuits | dissect | language | runs | claims | presets | interventions.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

import pandas as pd

from recall import data, figures, interventions, measures, progress, runs, settings, sweep, sweeps, training
from recall.circuits import corruptions, graph, pruning
from recall.evaluation import table
from recall.language import charts, lexicon, pretrain, results, revisions
from recall.language.prompts import PromptConfig
from recall.needle import needle_prompts
from recall.prose import claims
from recall.studies.abilities import tables
from recall.studies.weights import findings
from recall.studies.when import by_heart, degradation, factors
from recall.studies.which_way import as_if, cues, edits, ways
from recall.task import check


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 with one line on standard error if its input was bad."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"recall {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m recall", description="In-context recall, taken apart.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train one model into a folder; resumes what is there")
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--preset", help="a name from `presets`")
    source.add_argument("--config", type=Path, help="a config.json, such as a run folder's")
    train.add_argument("--out", type=Path, required=True, help="run folder")
    for field in ("dimension", "labels", "seed", "steps"):
        train.add_argument(f"--{field}", type=int, help="with --preset only")
    train.add_argument("--device", default="cpu")
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    train.add_argument("--compile", action="store_true", help="torch.compile the model")
    train.set_defaults(run=_train)

    many = commands.add_parser("sweep", help="train what is missing of a list of runs; goes on after a kill")
    many.add_argument("NAME", help=f"{', '.join(sweeps.named())}, or a Python file with configs()")
    many.add_argument("--out", type=Path, default=Path("_runs"), help="folder of run folders (default: _runs)")
    many.add_argument(
        "--keep", type=Path, help="folder for copies of finished runs without weights; what is there is not run again"
    )
    many.add_argument("--workers", type=int, default=os.cpu_count(), help="one-thread processes (default: all cores)")
    many.add_argument("--scheduler", help="address of a Dask scheduler whose workers see --out")
    many.add_argument("--device", default="cpu", help="of every worker, such as cuda (default: cpu)")
    many.add_argument("--cost", action="store_true", help="print what it would take and stop")
    many.add_argument("--table", type=Path, help="write one line per run to this CSV file at the end")
    many.set_defaults(run=_sweep)

    evaluate = commands.add_parser("evaluate", help="needle test of a finished run")
    evaluate.add_argument("RUN", help="name of a committed run, or a run folder")
    evaluate.add_argument("--systems", type=int, default=2, help="N, systems in the prompt")
    evaluate.add_argument("--needle", type=int, default=0, help="haystack segment queried; 0 is the farthest")
    evaluate.add_argument("--haystacks", type=int, default=training.FINAL_HAYSTACKS)
    evaluate.add_argument("--traces", type=int, default=training.FINAL_TRACES)
    evaluate.add_argument("--seed", type=int, default=1, help="of the prompts")
    evaluate.add_argument("--intervention", default="plain", help="a name from `interventions`")
    evaluate.set_defaults(run=_evaluate)

    distance = commands.add_parser("distance", help="nearest against farthest needle over training, into data/tables")
    distance.add_argument("FOLDER", type=Path, nargs="+", help="run folders that still have their checkpoints")
    distance.set_defaults(run=_distance)

    used = commands.add_parser("ways", help="which of four ways to predict is in use over training, into data/tables")
    used.add_argument(
        "FOLDER", type=Path, nargs="+", help="run folders: all of their checkpoints, else their published weights"
    )
    used.set_defaults(run=_ways)

    probe = commands.add_parser("probe", help="every intervention on finished runs, into data/tables")
    probe.add_argument("RUN", nargs="+", help="names of committed runs, or run folders")
    probe.set_defaults(run=_probe)

    cue = commands.add_parser(
        "cues", help="finished runs whose training made norms, labels or states less certain, into data/tables"
    )
    cue.add_argument(
        "RUN", nargs="+", help="names of committed runs, or run folders: each table takes those that it is about"
    )
    cue.add_argument(
        "--tables",
        nargs="+",
        choices=cues.TABLES,
        default=list(cues.TABLES),
        help=f"of {', '.join(cues.TABLES)} (default: all)",
    )
    cue.set_defaults(run=_cues)

    degrade = commands.add_parser(
        "degradation", help="why 2-after-query gets worse with more systems, on finished runs, into data/tables"
    )
    degrade.add_argument("RUN", nargs="+", help="names of committed runs, or run folders with weights")
    degrade.set_defaults(run=_degradation)

    heart = commands.add_parser(
        "library", help="runs trained on a frozen library, on its systems and on others, into data/tables"
    )
    heart.add_argument("RUN", nargs="+", help="run folders")
    heart.set_defaults(run=_library)

    both = commands.add_parser("ratios", help="both dates of finished runs at nine thresholds, into data/tables")
    both.add_argument("RUN", nargs="+", help="names of committed runs, or run folders")
    both.set_defaults(run=_ratios)

    as_if = commands.add_parser("as-if", help="finished runs beside exact rules and Bayes, into data/tables")
    as_if.add_argument("RUN", nargs="+", help="names of committed runs, or run folders, with their weights")
    as_if.set_defaults(run=_as_if)

    circuit = commands.add_parser("circuits", help="what each edge inside a finished model does for one prediction")
    circuit.add_argument("RUN", help="name of a committed run, or a run folder")
    circuit.add_argument(
        "--task", default="1-after", help="the prediction: 1-after, 2-after, ... the query (default: 1-after)"
    )
    circuit.add_argument(
        "--corruption",
        default=corruptions.DEFAULT,
        help=f"{', '.join(corruptions.CORRUPTIONS)} (default: {corruptions.DEFAULT})",
    )
    circuit.add_argument("--method", default="exact", help=f"{', '.join(METHODS)} (default: exact)")
    circuit.add_argument("--edges", type=int, help="with --method pruned, how many to keep (default: a third)")
    circuit.add_argument(
        "--steps", type=int, help=f"with --method pruned, of training (default: {pruning.PruningConfig.steps})"
    )
    circuit.add_argument("--systems", type=int, default=2, help="N, systems in the prompt")
    circuit.add_argument("--needle", type=int, default=0, help="haystack segment queried; 0 is the farthest")
    circuit.add_argument("--haystacks", type=int, default=64)
    circuit.add_argument("--traces", type=int, default=16)
    circuit.add_argument("--seed", type=int, default=1, help="of the prompts, and of pruning")
    circuit.set_defaults(run=_circuits)
    words = commands.add_parser(
        "language", help="first against second token of a translation, over a language model's checkpoints"
    )
    source = words.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="name on the hub, or a folder of folders, one per revision")
    source.add_argument("--train", choices=pretrain.RECIPES, help="train one here first, into --out")
    words.add_argument(
        "--revisions", nargs="+", default=["*step*"], help="names or patterns (default: all with a step)"
    )
    words.add_argument("--at-most", type=int, help="of those, so many at about equal ratios of steps")
    words.add_argument("--out", type=Path, required=True, help="folder of scores and tables; goes on after a kill")
    words.add_argument(
        "--pairs",
        type=Path,
        help="CSV file: source, a column per task (default: the model folder's lexicon.csv, "
        "else data/reference/words.csv)",
    )
    for field, value, about in (
        ("tasks", None, "N, tasks in a prompt (default: as many as the documents of --train hold, else 4)"),
        ("shots", 2, "examples of each"),
        ("prompts", 256, "how many"),
        ("needle", 0, "task queried; 0 is the farthest"),
        ("seed", 0, "of the prompts, and of --train"),
    ):
        words.add_argument(f"--{field}", type=int, default=value, help=about)
    words.add_argument("--shown", action="store_true", help="the query's source stands among every task's examples")
    words.add_argument("--kind", default="known", help="of pairs, as in the CSV file: known or context")
    words.add_argument("--steps", type=int, help="with --train only")
    words.add_argument("--device", default="cpu")
    words.add_argument("--keep", type=Path, help="folder for a copy of the tables, such as data/language")
    words.add_argument("--dtype", default="float32", help=", ".join(revisions.DTYPES))
    words.add_argument(
        "--forget", action="store_true", help="take each revision out of the hub's cache once it is scored"
    )
    words.set_defaults(run=_language)

    taken = commands.add_parser(
        "dissect",
        help="finished models taken apart for chapter 7, into data/tables: up to ten minutes a model and part",
    )
    taken.add_argument("RUN", nargs="+", help="names of committed runs, or run folders")
    taken.add_argument(
        "--parts",
        nargs="+",
        choices=findings.PARTS,
        default=["circuits"],
        help=f"of {', '.join(findings.PARTS)} (default: circuits)",
    )
    taken.set_defaults(run=_dissect)

    for name, run, about in (
        ("runs", _runs, "committed runs and when each ability emerged"),
        ("claims", _claims, "what the study says, and what the committed runs say of it"),
        ("presets", _presets, "recipes for `train`"),
        ("interventions", _interventions, "edits for `evaluate`"),
    ):
        commands.add_parser(name, help=about).set_defaults(run=run)
    for name, command in commands.choices.items():
        command.add_argument("--json", action="store_true", help="print JSON")
    return top


def _train(options):
    given = {
        f: getattr(options, f) for f in ("dimension", "labels", "seed", "steps") if getattr(options, f) is not None
    }
    if options.preset:
        config = settings.preset(options.preset, **given)
    else:
        if given:
            raise ValueError(f"{next(iter(given))} must be left out with --config, which holds it already")
        try:
            config = settings.from_json(json.loads(options.config.read_text()))
        except json.JSONDecodeError as error:
            raise ValueError(f"config must be a JSON file: {options.config}: {error}") from error
    run = training.train(
        config,
        options.out,
        device=options.device,
        threads=options.threads,
        bf16=options.bf16,
        compile=options.compile,
        report=progress.on_terminal(),
    )
    show(
        options, measures.describe(run), lambda row: pd.DataFrame(measures.flat(row).items(), columns=["", row["name"]])
    )


def _sweep(options):
    configs = sweeps.load(options.NAME)
    if options.table and not options.table.parent.is_dir():
        raise ValueError(f"table must be a file in a folder that exists, not {options.table}")
    print(sweep.cost(configs, options.out, options.keep), file=sys.stderr)
    if options.cost:
        return
    finished, failed = sweep.run(
        configs,
        options.out,
        keep=options.keep,
        workers=options.workers,
        scheduler=options.scheduler,
        device=options.device,
        report=progress.of_sweep(),
    )
    rows = measures.lines(finished)
    if options.table:
        runs.write_csv(options.table, rows)
    show(options, rows.to_dict("records"), pd.DataFrame)
    if failed:
        name, why = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(configs)} runs failed, first {name}: {why}")


def _evaluate(options):
    run = runs.opened(options.RUN)
    config = settings.from_json(run.config)
    prompts = needle_prompts(
        config.task,
        options.systems,
        haystacks=options.haystacks,
        traces=options.traces,
        needle=options.needle,
        seed=options.seed,
    )
    rows = table(training.trained_model(run).predict, prompts, config.task, options.intervention)
    show(options, rows.to_dict("records"), pd.DataFrame)


def _probe(options):
    chosen = [runs.opened(name) for name in options.RUN]
    rows = edits.probe(chosen)
    data.merge("interventions", rows)
    data.merge("norm_gaps", edits.norm_gaps(chosen))
    show(options, rows.to_dict("records"), pd.DataFrame)


def _cues(options):
    named = sorted(map(runs.opened, options.RUN), key=lambda run: run.whole)
    chosen, lines = list({run.name: run for run in named}.values()), []  # of two copies the one with weights
    for name in options.tables:
        which, make = cues.TABLES[name]
        about = which(chosen)
        check("RUN", about, f"at least one run that {name} is about", " ".join(options.RUN)[:80])
        rows = make(about)
        data.merge(name, rows)
        lines.append(dict(table=name, runs=len(about), rows=len(rows)))
    show(options, lines, pd.DataFrame)


def _degradation(options):
    found = degradation.find([runs.opened(name) for name in options.RUN])
    for name, rows in found.items():
        data.merge(name, rows)
    show(options, [dict(table=name, rows=len(rows)) for name, rows in found.items()], pd.DataFrame)


def _library(options):
    rows = by_heart.library([runs.opened(name) for name in options.RUN])
    data.merge("library", rows)


def _ratios(options):
    rows = factors.ratios([runs.opened(name) for name in options.RUN])
    check("RUN", len(rows), "at least one run with an identification score", " ".join(options.RUN)[:80])
    data.merge("ratios", rows)
    show(options, rows.to_dict("records"), pd.DataFrame)


def _as_if(options):
    chosen = [runs.opened(name) for name in options.RUN]
    check(
        "RUN",
        any(run.config["task"]["family"] == "haar" for run in chosen),
        "one run of the haar family at least",
        options.RUN,
    )
    data.merge("label_shares", as_if.shares(chosen))
    data.merge("beaten", as_if.beaten([run for run in chosen if run.config["task"]["family"] == "haar"]))
    rows = as_if.distances(chosen)
    data.merge("as_if", rows)
    show(options, rows.to_dict("records"), pd.DataFrame)


def _distance(options):
    rows = pd.concat([tables.needle_distance(folder) for folder in options.FOLDER])
    data.merge("distance", rows)
    show(options, rows.to_dict("records"), pd.DataFrame)


def _ways(options):
    found = ways.survey(options.FOLDER)
    for name, rows in found.items():
        data.merge(name, rows)
    show(options, [dict(table=name, rows=len(rows)) for name, rows in found.items()], pd.DataFrame)


def _circuits(options):
    check("method", options.method in METHODS, f"one of {', '.join(METHODS)}", options.method)
    for field in ("edges", "steps"):
        value = getattr(options, field)
        check(field, value is None or options.method == "pruned", "left out but with --method pruned", value)
    run = runs.opened(options.RUN)
    task, model = settings.from_json(run.config).task, training.trained_model(run)
    prompts = needle_prompts(
        task,
        options.systems,
        haystacks=options.haystacks,
        traces=options.traces,
        needle=options.needle,
        seed=options.seed,
    )
    pair = corruptions.corrupted_pair(prompts, task, options.task, options.corruption)
    edges = METHODS[options.method](model, pair, options)[["writer", "reader", "effect"]]
    show(
        options,
        dict(task=options.task, corruption=options.corruption, method=options.method, edges=edges.to_dict("records")),
        lambda row: pd.DataFrame(row["edges"]).sort_values("effect", key=abs, ascending=False, kind="stable").head(20),
    )


def _dissect(options):
    rows = []
    for run in map(runs.opened, options.RUN):
        found = findings.find(run, options.parts, known=findings.committed(findings.PARTS["circuits"]))
        for name, frame in found.items():
            data.merge(name, frame)
        rows += [dict(run=run.name, table=name, rows=len(frame)) for name, frame in found.items()]
    show(options, rows, pd.DataFrame)


def _pruned(model, pair, options):
    edges = graph.Graph.of(model)
    given = {field: getattr(options, field) for field in ("edges", "steps") if getattr(options, field) is not None}
    config = pruning.PruningConfig(**{"edges": int(edges.carrying.sum()) // 3, "seed": options.seed, **given})
    circuit, gates = pruning.prune(model, pair, config)
    return edges.table(effect=circuit * gates)


# what `effect` is: share of the prediction lost without the edge; its integrated gradient; its gate, 0 outside the
# circuit
METHODS = {
    "exact": lambda model, pair, options: graph.exact(graph.Patcher(model, pair)).rename(columns={"noising": "effect"}),
    "attribution": lambda model, pair, options: graph.attribution(graph.Patcher(model, pair)),
    "pruned": _pruned,
}


def _language(options):
    tell = lambda line: print(line, file=sys.stderr)
    if options.train:
        pairs, recipe = pretrain.recipe(options.train, options.seed, options.steps)
        tasks = options.tasks or recipe.tasks
    else:
        tasks = options.tasks or 4
    config = PromptConfig(
        tasks, options.shots, options.needle, options.shown, options.kind, options.prompts, options.seed
    )
    if options.train:
        names = pretrain.train(pairs, recipe, options.out, options.seed, progress.of_steps(recipe.steps))
        model, at = str(options.out), names
    else:
        check("steps", options.steps is None, "left out with --model", options.steps)
        model = options.model
        own = Path(model) / "lexicon.csv"
        at = revisions.choose(model, options.revisions, options.at_most)
        pairs = lexicon.read(options.pairs or (own if own.is_file() else data.path("reference", "words.csv")))
    found, dates = revisions.run(
        model,
        at,
        pairs,
        config,
        options.out,
        device=options.device,
        dtype=options.dtype,
        forget=options.forget,
        report=tell,
    )
    name = f"{options.train}-{options.seed}" if options.train else Path(options.model).name
    found = found[found.pairs == "all"].assign(words=name, seed=options.seed)
    runs.write_atomically(options.out / "gains.svg", figures.picture(charts.language_gains(found)))
    if options.keep:
        source = f"--train {options.train} --seed {options.seed}" if options.train else f"--model {options.model}"
        results.keep(options.out, options.keep / name, f"python -m recall language {source} --out {name}")
    show(options, dates.to_dict("records"), pd.DataFrame)


def _runs(options):
    show(
        options,
        [measures.describe(run) for run in runs.load_all()],
        lambda rows: pd.DataFrame([measures.flat(row) for row in rows]).dropna(axis=1, how="all"),
    )


def _claims(options):
    show(
        options,
        claims.table(
            runs.load_all("atlas"), circuits=data.table("circuits"), language=results.both_gaps()
        ),
        lambda rows: pd.DataFrame(rows)[["id", "status", "evidence"]],
    )


def _presets(options):
    rows = [
        dict(
            name=name,
            parameters=training.parameter_count(settings.preset(name)),
            minutes=preset.minutes,
            memory_mb=preset.memory_mb,
            about=preset.about,
        )
        for name, preset in settings.PRESETS.items()
    ]
    show(options, rows, pd.DataFrame)


def _interventions(options):
    rows = [
        dict(
            name=each.name,
            question=each.question,
            label=each.label,
            observation=each.observation,
            applies_to=each.applies_to,
        )
        for each in interventions.INTERVENTIONS.values()
    ]
    show(options, rows, pd.DataFrame)


def show(options, rows, frame) -> None:
    """Print rows as JSON (nan as null) or as a table."""
    if options.json:
        print(json.dumps(_without_nan(rows), indent=1))
    else:
        print(frame(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}", max_colwidth=90))


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(main())
