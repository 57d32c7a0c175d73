"""What is translated into what: an invented lexicon in which nothing but the source tells a target's tokens, or a
CSV file.

In the invented one every task maps the V * V sources one-to-one onto the V * V targets (first syllable, second
syllable). Within a task both tokens are therefore uniform and independent: H(t1) = H(t2 | t1) = log2 V bits without
the source, 0 with it, and every example shows one of each.  For one source the tasks' first syllables all differ, so
that source and first token together tell the task.  But for the twins: extra sources that a pair of tasks gives the
same first syllable and other second ones."""

from __future__ import annotations

import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from recall.config import check, require
from recall.task import stream

NAMES = ("Aruvian", "Belic", "Corish", "Dalmese", "Eskan", "Fenlic", "Gorite", "Hadish")  # of invented tasks
# no syllable begins with a coda: no source is the head of a target
ONSETS, VOWELS, CODAS = "bdgkpstvz", "aeiou", "lmnr"
KINDS = ("known", "twin", "context")


@dataclass(frozen=True)
class LexiconConfig:
    """tasks: M.  syllables: V first and V second syllables; V * V sources.  twins: extra sources that each pair of
    tasks 2i, 2i + 1 gives one first syllable.
    """

    tasks: int = 4
    syllables: int = 8
    twins: int = 16

    def __post_init__(self):
        most = min(self.syllables, len(NAMES))
        require(
            self,
            syllables=(2 <= self.syllables <= 16, "2 to 16"),
            tasks=(2 <= self.tasks <= most, f"2 to {most}, no more than syllables"),
            twins=(0 <= self.twins <= 64, "0 to 64"),
        )


@dataclass(frozen=True)
class Lexicon:
    """sources[i] is rendered as targets[i][m] by task tasks[m] (a name, such as a language's).

    kinds[i]: `known`, a pair of every training text; `twin`, likewise but under the tasks' names only; `context`, no
    pair of any training text."""

    tasks: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]

    def __post_init__(self):
        check("lexicon", len(self.tasks) >= 2, "of two tasks or more", self.tasks)
        twice = next((source for source, count in Counter(self.sources).items() if count > 1), None)
        check("lexicon", twice is None, "without a source twice", twice)
        for source, row, kind in zip(self.sources, self.targets, self.kinds):
            words = (source, *row)
            check("lexicon", all(w and w == w.strip() and "\n" not in w for w in words), "of words, none empty", words)
            check("kind", kind in KINDS, f"one of {', '.join(KINDS)}", kind)

    def to_csv(self) -> str:
        """`source,TASK,...,kind`, one line per source."""
        frame = pd.DataFrame(list(self.targets), columns=list(self.tasks))
        frame.insert(0, "source", list(self.sources))
        return frame.assign(kind=list(self.kinds)).to_csv(index=False)

    def entropies(self, split: str = "halves", kind: str = "known") -> pd.DataFrame:
        """Per task, plug-in entropies in bits of the two parts that a SPLIT makes: task, first, second (given the
        first).  Of words, not of a model: `scoring.summary` has what a model makes of them.
        """
        rows = []
        for m, task in enumerate(self.tasks):
            parts = [SPLITS[split](row[m]) for row, k in zip(self.targets, self.kinds) if k == kind]
            first, both = entropy([a for a, _ in parts]), entropy(parts)
            rows.append(dict(task=task, first=first, second=both - first))
        return pd.DataFrame(rows)


def entropy(values: list) -> float:
    """Plug-in entropy in bits of a list of hashable values."""
    return sum(-n / len(values) * math.log2(n / len(values)) for n in Counter(values).values())


def halves(word: str) -> tuple[str, str]:
    """The two halves of a word; of an invented one, its syllables."""
    middle = (len(word) + 1) // 2
    return word[:middle], word[middle:]


# The two parts that our own tokeniser knows a target by.  The first half of a real word tells the second (0.1 bits are
# left within a language), which leaves a second token without a question; its first letter leaves 2.4.
SPLITS = {"halves": halves, "initial": lambda word: (word[:1], word[1:])}


def read(path: Path) -> Lexicon:
    """A lexicon from a CSV file (UTF-8) with a column `source`, a column per task under its name, and if wanted `kind`;
    lines that begin with # are comments."""
    path = Path(path)
    check("pairs", path.is_file(), "a CSV file: source, a column per task", str(path))
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines(True) if not line.startswith("#")]
        frame = pd.read_csv(io.StringIO("".join(lines)), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"pairs must be a CSV file in UTF-8: {path}: {str(error).strip()}") from error
    check("pairs", isinstance(frame.index, pd.RangeIndex), "a CSV file with a name for each of its columns", str(path))
    check("pairs", "source" in frame and len(frame), "a CSV file with a column `source` and lines", str(path))
    tasks = [column for column in frame if column not in ("source", "kind")]
    kinds = frame["kind"] if "kind" in frame else ["known"] * len(frame)
    targets = frame[tasks].itertuples(index=False, name=None)
    return Lexicon(tuple(tasks), tuple(frame["source"]), tuple(targets), tuple(kinds))


def invented(config: LexiconConfig, seed: int) -> Lexicon:
    """The lexicon of one seed; words are letters drawn at random."""
    generator, V, M = stream("library", seed), config.syllables, config.tasks

    def pick(words: list[str], n: int) -> list[str]:
        return [words[i] for i in torch.randperm(len(words), generator=generator)[:n].tolist()]

    def few(n: int) -> Tensor:  # of each twin, n different syllables
        return torch.rand(config.twins, V, generator=generator).argsort(1)[:, :n]

    open_ = pick([c + v for c in ONSETS for v in VOWELS], 2 * V)
    first, second = open_[:V], open_[V:]
    closed = pick([c + v + d for c in ONSETS for v in VOWELS for d in CODAS], V * V + config.twins)
    a, b = _balanced(V, M, generator)
    a = torch.cat([a, few((M + 1) // 2).repeat_interleave(2, 1)[:, :M]])  # tasks 2i, 2i + 1 share a first syllable
    b = torch.cat([b, few(M)])
    targets = tuple(tuple(first[i] + second[j] for i, j in zip(*row)) for row in zip(a.tolist(), b.tolist()))
    return Lexicon(NAMES[:M], tuple(closed), targets, ("known",) * (V * V) + ("twin",) * config.twins)


def _balanced(V: int, M: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """First and second syllables [V * V, M]: M columns of V shuffled Latin squares (in a row all differ, in a column
    each value stands V times), then in each task every second syllable once with every first.
    """
    squares = []
    for _ in range(V):
        row, column, symbol = (torch.randperm(V, generator=generator) for _ in range(3))
        squares.append(symbol[(row[:, None] + column[None, :]) % V][:, :M])
    first = torch.cat(squares)[torch.randperm(V * V, generator=generator)]
    second = torch.empty_like(first)
    for m in range(M):
        for v in range(V):
            second[first[:, m] == v, m] = torch.randperm(V, generator=generator)
    return first, second
