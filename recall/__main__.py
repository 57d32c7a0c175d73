"""Command line: python -m recall train | sweep | evaluate | measure | language | show."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd

from recall import data, interventions, measures, progress, runs, settings, studies, sweep, sweeps, training
from recall.config import check
from recall.language import command
from recall.language.results import both_gaps
from recall.prose import claims

TABLES = Path("_runs/tables")
AGAIN = "interrupted; what is there goes on when it is called again"
PRESET_FIELDS = ("dimension", "labels", "seed", "steps")


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str):
        self.exit(2, f"{self.prog.removeprefix('python -m ')}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 if it worked, 2 with one line on standard error if its input was bad, 130 after Ctrl-C, 141 where
    nobody reads any longer what it prints."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 141
    except KeyboardInterrupt as stop:
        print(f"\nrecall {options.verb}: {str(stop) or AGAIN}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"recall {options.verb}: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> Parser:
    top = Parser(prog="python -m recall", description="In-context recall, taken apart.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run, about: str) -> Parser:
        added = verbs.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=run)
        return added

    train = verb("train", _train, "train one model into a folder; resumes what is there")
    source = train.add_mutually_exclusive_group(required=True)
    source.add_argument("--preset", help="a name from `show presets`")
    source.add_argument("--config", type=Path, help="a config.json, such as a run folder's")
    train.add_argument("--out", type=Path, required=True, help="run folder")
    for field in PRESET_FIELDS:
        train.add_argument(f"--{field}", type=int, help="with --preset only")
    train.add_argument("--device", default="cpu")
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    train.add_argument("--compile", action="store_true", help="torch.compile the model")

    many = verb("sweep", _sweep, "train what is missing of a list of runs; goes on after a kill")
    many.add_argument("NAME", help=f"{', '.join(sweeps.named())}, or a Python file with configs()")
    many.add_argument("--out", type=Path, default=Path("_runs"), help="folder of run folders (default: _runs)")
    many.add_argument("--keep", type=Path, help="folder for copies without weights; what is there is not run again")
    many.add_argument(
        "--workers", type=int, default=sweep.usable_cores(), help="one-thread processes (default: usable cores)"
    )
    many.add_argument("--scheduler", help="address of a Dask scheduler whose workers see --out")
    many.add_argument("--device", default="cpu", help="of every worker, such as cuda (default: cpu)")
    many.add_argument("--cost", action="store_true", help="print what it would take and stop")
    lines = many.add_mutually_exclusive_group()
    lines.add_argument("--table", type=Path, help="write one line per run to this CSV file at the end")
    lines.add_argument("--commit", action="store_true", help="put the lines of these runs into data/tables, by run")

    test = verb("evaluate", _evaluate, "needle test of a finished run")
    test.add_argument("RUN", help="name of a committed run, or a run folder")
    test.add_argument("--systems", type=int, default=2, help="N, systems in the prompt")
    test.add_argument("--needle", type=int, default=0, help="haystack segment queried; 0 is the farthest")
    test.add_argument("--haystacks", type=int, default=training.FINAL_HAYSTACKS)
    test.add_argument("--traces", type=int, default=training.FINAL_TRACES)
    test.add_argument("--seed", type=int, default=1, help="of the prompts")
    test.add_argument("--intervention", default="plain", help="a name from `show interventions`")

    taken = verb("measure", _measure, "the tables of a study, of those of the runs that each is about")
    taken.add_argument("STUDY", choices=studies.names(), help=", ".join(studies.names()))
    taken.add_argument("RUN", nargs="+", help="names of committed runs, or run folders")
    taken.add_argument("--tables", nargs="+", metavar="NAME", help="only these (default: all of the study)")
    where = taken.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=TABLES, help=f"folder for the tables (default: {TABLES})")
    where.add_argument("--commit", action="store_true", help="put the rows of these runs into data/tables instead")

    command.add_options(verb("language", _language, command.ABOUT))
    verb("show", _show, "what there is").add_argument("WHAT", choices=SHOWN, help=", ".join(SHOWN))
    return top


def _train(options) -> None:
    given = _chosen(options, *(field for field in PRESET_FIELDS if getattr(options, field) is not None))
    if options.preset:
        config = settings.preset(options.preset, **given)
    elif given:
        raise ValueError(f"{next(iter(given))} must be left out with --config, which holds it already")
    else:
        config = settings.from_json(runs.read_json(options.config))
    how = _chosen(options, "device", "threads", "bf16", "compile")
    row = measures.describe(training.train(config, options.out, report=progress.on_terminal(), **how))
    _print(options, row, lambda: pd.DataFrame(measures.flat(row).items(), columns=["", row["name"]]))


def _sweep(options) -> None:
    configs = sweeps.load(options.NAME)
    if options.table and not options.table.parent.is_dir():
        raise ValueError(f"table must be a file in a folder that exists, not {options.table}")
    _outside("table", options.table)
    print(sweep.cost(configs, options.out, options.keep), file=sys.stderr)
    if options.cost:
        return
    how = _chosen(options, "keep", "workers", "scheduler", "device")
    finished, failed = sweep.run(configs, options.out, report=progress.of_sweep(), **how)
    rows = measures.lines(finished)
    if options.table:
        runs.write_csv(options.table, rows)
    if options.commit:
        data.merge(Path(options.NAME).stem, rows)
    _print(options, rows.to_dict("records"))
    if failed:
        name, why = next(iter(failed.items()))
        raise ValueError(f"{len(failed)} of {len(configs)} runs failed, first {name}: {why}")


def _evaluate(options) -> None:
    how = _chosen(options, "systems", "intervention", "needle", "haystacks", "traces", "seed")
    _print(options, training.evaluate(runs.load(options.RUN), **how).to_dict("records"))


def _measure(options) -> None:
    lines, chosen = [], [runs.load(name) for name in options.RUN]
    _outside("out", options.out)
    if options.commit:
        runs.check_data("data/tables")
        named = ", ".join(run.name for run in chosen if run.config["setting"] == "custom")
        check("RUN", not named, "of a frozen setting with --commit", named)
    for name, about, rows in studies.measure(options.STUDY, chosen, options.tables):
        if options.commit and not {"run", "name", "labels"} & set(rows):
            four = all(run.config["task"]["labels"] == 4 for run in about)
            check("RUN", four, f"of 4 labels: {name} has no column that tells label counts apart", "another")
        file = data.merge(name, rows) if options.commit else runs.write_csv(options.out / f"{name}.csv", rows)
        lines.append(dict(table=name, runs=len(about), rows=len(rows), file=str(file)))
    _print(options, lines)


def _outside(field: str, path: Path | None) -> None:
    """Nothing committed is overwritten by a file that is only named."""
    if path is not None and path.resolve().is_relative_to(runs.data_folder().resolve()):
        raise ValueError(f"{field} must lie outside the committed data (--commit puts rows there), not {path}")


def _language(options) -> None:
    _print(options, command.run(options).to_dict("records"))


def _show(options) -> None:
    rows, frame = SHOWN[options.WHAT]
    found = rows()
    _print(options, found, lambda: frame(found))


def _runs() -> list[dict]:
    return [measures.describe(run) for run in runs.load_all()]


def _claims() -> list[dict]:
    return claims.table(runs.load_all("atlas"), circuits=data.table("circuits"), language=both_gaps())


def _presets() -> list[dict]:
    given = settings.PRESETS.items()
    counted = {name: training.parameter_count(settings.preset(name)) for name, _ in given}
    about = lambda preset: dict(minutes=preset.minutes, memory_mb=preset.memory_mb, about=preset.about)
    return [dict(name=name, parameters=counted[name]) | about(preset) for name, preset in given]


def _interventions() -> list[dict]:
    fields = ("name", "question", "label", "observation", "applies_to")
    return [_chosen(each, *fields) for each in interventions.INTERVENTIONS.values()]


SHOWN = {  # what: its rows, and how they are printed where not as JSON
    "runs": (_runs, lambda rows: pd.DataFrame(map(measures.flat, rows)).dropna(axis=1, how="all")),
    "presets": (_presets, pd.DataFrame),
    "interventions": (_interventions, pd.DataFrame),
    "claims": (_claims, lambda rows: pd.DataFrame(rows)[["id", "status", "evidence"]]),
}


def _chosen(holder, *fields: str) -> dict:
    return {field: getattr(holder, field) for field in fields}


def _print(options, rows: dict | list[dict], frame=None) -> None:
    """Rows as JSON (nan as null), or as a table, by `frame` if that is not just these rows."""
    if options.json:
        print(json.dumps(_without_nan(rows), indent=1))
        return
    table = frame() if frame and rows else pd.DataFrame(rows)
    if table.empty:
        print("none")
        return
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}", max_colwidth=90))


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if value != value else value


if __name__ == "__main__":
    sys.exit(main())
