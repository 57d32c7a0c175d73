"""A model's checkpoints, one at a time, to tables; on the hub or in a local folder of folders.

    python -m recall language --model EleutherAI/pythia-160m --revisions 'step*' --at-most 24 --out _runs/pythia
    python -m recall language --model allenai/OLMo-2-0425-1B --revisions 'stage1-step*' --at-most 24 --out _runs/olmo2

Names of revisions, as their publishers give them: `stage1-step140000-tokens294B` (OLMo-2-0425-1B, and OLMo-2-1124-7B
with some early ones as `step150-tokens1B`; `allenai/OLMo-2-0425-1B-early-training` has the first 37,000 steps, every
1,000), `step0`, `step1`, `step2` ... `step512`, `step1000` ... `step143000` (Pythia).  What the hub lists is what
counts.

`out` holds config.json, scores/REVISION.csv.gz as they are finished (a killed run goes on behind them), and at the end
refused.csv, summary.csv and emergence.csv.  Weights are read from safetensors only, and no code of a repository is run.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gc
import gzip
import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from recall import runs
from recall.ambient import plain_torch
from recall.config import check
from recall.language import scoring
from recall.language.lexicon import Lexicon
from recall.language.prompts import PromptConfig, draw

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALWAYS = ("plain", "no source", "wrong source", "unseen", "misdirected")


def step_of(revision: str) -> tuple[int, int]:
    """(stage, step) of a revision's name: (1, 140000) for `stage1-step140000-tokens294B`, (0, 512) for `step512`."""
    stage, step = re.search(r"stage(\d+)", revision), re.search(r"step-?(\d+)", revision)
    allowed = "names with step and a number in them, such as step1000 or stage1-step140000-tokens294B"
    check("revisions", step is not None, allowed, revision)
    return (int(stage[1]) if stage else 0, int(step[1]))


def available(model: str) -> list[str] | None:
    """Names of a model's revisions: sub-folders of a local folder, else the branches that the hub lists; None where
    the hub cannot be asked.
    """
    if Path(model).is_dir():
        return sorted(path.parent.name for path in Path(model).glob("*/config.json"))
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:  # what huggingface_hub asks with, from version 2 on and before
        from httpx2 import HTTPError
    except ImportError:
        from httpx import HTTPError

    must = "model must be a local folder that exists, or a{} name on the hub, not {!r}"
    if model.startswith((".", "/", "~")):
        raise ValueError(must.format("", model))
    try:
        return [branch.name for branch in HfApi().list_repo_refs(model).branches]
    except HFValidationError as error:
        raise ValueError(must.format("", model)) from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise ValueError(must.format(" public", model)) from error
        return None
    except (OSError, HTTPError):
        return None


def choose(model: str, patterns: list[str], at_most: int | None = None) -> list[str]:
    """Revisions by name or pattern, in order of stage and step; of more than `at_most`, some of about equal ratio of
    steps.

    Raises ValueError for a name that is not there, and where the hub cannot be reached and a revision is not in the
    cache."""
    names = available(model)
    if names is None:
        from huggingface_hub import try_to_load_from_cache

        cached = lambda name: isinstance(try_to_load_from_cache(model, "config.json", revision=name), str)
        missing = [name for name in patterns if any(c in name for c in "*?[") or not cached(name)]
        place = "a local folder or in the hub's cache where the hub cannot be reached"
        check("model", not missing, f"{place} (not there: {', '.join(missing)})", model)
        names = patterns
    found = []
    for pattern in patterns:
        hits = [pattern] if pattern in names else [each for each in fnmatch.filter(names, pattern) if "step" in each]
        check("revisions", hits, f"among those of {model} ({len(names)}: {', '.join(sorted(names)[:4])}, ...)", pattern)
        found += hits
    found = sorted(set(found), key=step_of)
    check("at-most", at_most is None or at_most >= 2, "at least 2", at_most)
    if at_most is None or len(found) <= at_most:
        return found
    last_stage, last_step = step_of(found[-1])

    def nearest(goal: float) -> str:
        def far(name: str) -> float:
            stage, step = step_of(name)
            return abs(math.log((step + 1) / goal)) + 99 * (stage != last_stage)

        return min(found, key=far)

    goals = [last_step ** (i / (at_most - 1)) for i in range(1, at_most)]  # log-spaced, and the first
    return sorted({found[0], *map(nearest, goals), found[-1]}, key=step_of)


def load(model: str, revision: str, what: str, dtype: torch.dtype = torch.float32):
    """`what` = tokenizer or model of one revision; ValueError in one line where it cannot be had."""
    import transformers

    quiet()
    local = Path(model).is_dir()
    place = (str(Path(model) / revision),) if local else (model,)
    at = {} if local else dict(revision=revision)
    try:
        if what == "tokenizer":
            return transformers.AutoTokenizer.from_pretrained(*place, **at)
        how = dict(dtype=dtype, use_safetensors=True)
        return transformers.AutoModelForCausalLM.from_pretrained(*place, **at, **how).eval()
    except Exception as error:  # of the hub, of a file, of a configuration: from whatever library
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        must = f"revision must have a {what} that can be read (weights as safetensors)"
        raise ValueError(f"{must}: {model}, {revision}: {why}") from error


def quiet() -> None:
    """No bars and no advice from `transformers`."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


@plain_torch()
def run(
    model: str,
    revisions: list[str],
    lexicon: Lexicon,
    config: PromptConfig,
    out: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    forget: bool = False,
    report: Callable[[str], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every revision that `out` lacks, one model in memory at a time; the tables `summary` and `emergence`.

    revisions: as from `choose`.  forget: remove a revision from the hub's cache once it is scored, so that the disk
    holds one at a time too.  report: called with a line per revision.  Raises ValueError if `out` holds another
    model, lexicon or configuration, or if the lexicon asks this tokeniser nothing."""
    check("dtype", dtype in DTYPES, f"one of {', '.join(DTYPES)}", dtype)
    check("revisions", len(revisions) > 0, "at least one", revisions)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ValueError(f"device must be a device that torch can use here, such as cpu, not {device!r}") from None
    out = Path(out)
    tokenizer = load(model, revisions[0], "tokenizer")
    tokens, refused = scoring.target_tokens(tokenizer, lexicon)
    try:
        groups = _prompts(lexicon, tokens, config)
    except ValueError as error:
        example = f"; for example, {refused.reason.iloc[0]}" if len(refused) else ""
        raise ValueError(f"{error}{example}") from error
    plain = asdict(config) | dict(
        model="local" if Path(model).is_dir() else model,
        dtype=dtype,
        lexicon=hashlib.sha256(lexicon.to_csv().encode()).hexdigest(),
    )
    if (out / "config.json").exists():
        there = runs.read_json(out / "config.json")
        differs = next((name for name in plain if there.get(name) != plain[name]), None)
        allowed = f"a folder of this model, lexicon and configuration ({differs} differs)"
        check("out", differs is None, allowed, str(out))
    asked = [(labels, scoring.ask(tokenizer, prompts, conditions)) for labels, prompts, conditions in groups]
    runs.write_atomically(out / "config.json", runs.canonical(plain).encode())
    if len(refused):
        runs.write_csv(out / "refused.csv", refused)
    for i, revision in enumerate(revisions):
        path = _place(out, revision)
        if path.exists():
            continue
        network = load(model, revision, "model", DTYPES[dtype]).to(device)
        table = pd.concat([scoring.score(network, questions).assign(labels=labels) for labels, questions in asked])
        runs.write_atomically(path, gzip.compress(table.to_csv(index=False, float_format="%.5g").encode(), mtime=0))
        del network
        gc.collect()
        if forget:
            _forget(model, revision)
        if report:
            report(f"{revision}: {i + 1} of {len(revisions)}")
    return tables(out, revisions)


def tables(out: Path, revisions: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`summary` and `emergence` of scored revisions, also written to `out`; column `pairs`: all, or matched ones."""
    read = lambda name: runs.read_table(_place(out, name)).assign(revision=name, step=axis(revisions, name))
    scores = pd.concat(map(read, revisions))
    frame = scoring.per_prompt(scores)
    alike = scoring.matched(scores[scores.revision == revisions[-1]])
    matched = frame[[pair in alike for pair in zip(frame.labels, frame.prompt)]]
    sets = {"all": frame} | ({"matched": matched} if len(alike) else {})
    of_both = lambda make, *how: [make(each, *how).assign(pairs=name) for name, each in sets.items()]
    found = pd.concat(of_both(scoring.summary), ignore_index=True)
    dates = [each for column in ("gained", "gained_label") for each in of_both(scoring.emergence, column)]
    dates = pd.concat(dates, ignore_index=True)
    runs.write_csv(Path(out) / "summary.csv", found)
    runs.write_csv(Path(out) / "emergence.csv", dates)
    return found, dates


def axis(revisions: list[str], name: str) -> int:
    """The step of a revision; of a later stage, behind the last of the one before."""
    stage, step = step_of(name)
    last = dict(sorted(map(step_of, revisions)))  # stage: its last step
    return step + sum(steps for earlier, steps in last.items() if earlier < stage)


def _place(out: Path, revision: str) -> Path:
    return Path(out) / "scores" / f"{revision.replace('/', '_')}.csv.gz"


def _prompts(lexicon, tokens, config):
    """(kind of labels, prompts, conditions) to score: arbitrary labels, the same with the last task queried (which
    going on with what is under way answers too), the tasks' names, and, where the lexicon has them, twins and pairs
    of the context alone.
    """
    nearest, context = replace(config, needle=config.tasks - 1), replace(config, kind="context", shown=True)
    groups = [
        ("arbitrary", draw(lexicon, tokens, config), ALWAYS),
        ("arbitrary, last task", draw(lexicon, tokens, nearest), ALWAYS),
        ("names", draw(lexicon, tokens, config, names=True), ALWAYS),
    ]
    with contextlib.suppress(ValueError):  # a lexicon need not have any
        groups.append(("arbitrary", draw(lexicon, tokens, config, twins=True), ("synchronised",)))
    with contextlib.suppress(ValueError):
        groups.append(("arbitrary, pairs of the context", draw(lexicon, tokens, context), ALWAYS))
    return groups


def _forget(model: str, revision: str) -> None:
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir()
    for repository in cache.repos:
        if repository.repo_id == model:
            cache.delete_revisions(*(r.commit_hash for r in repository.revisions if revision in r.refs)).execute()
