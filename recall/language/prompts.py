"""Few-shot prompts of several labelled tasks, one of them resumed at the end: the needle test in words.

    gub K: bako     haystack: `shots` examples of each of N tasks, under labels drawn anew for every prompt
    lom K: reta
    dar R: dise
    nul R: baso
    zim K:          query: a new source, and the label of one of the tasks again; its target is ` misu`

The label stands before the target with but a colon between, near to the toy, where 1-after-query is predicted on the
label.  The prompt ends without a space: the space belongs to the target's first token.  No source stands twice in a
prompt (but with `shown`), so that no example gives the answer away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from recall.config import check, require
from recall.language.lexicon import Lexicon
from recall.task import stream

# capital letters that are no words and no pronouns; with eight of them, looking up was learnt later or not at all
LABELS = tuple("FKTXZ")
ATTEMPTS = 50  # at a choice of tasks with twins: with three of four tasks, one in three fails
HIDDEN = "?"  # stands for a source that is not told


@dataclass(frozen=True)
class PromptConfig:
    """tasks: N in a prompt.  shots: examples of each.  needle: segment whose task is queried (0 = farthest).
    shown: the query's source stands in every task's examples (of pairs known from the context alone).
    kind: of the pairs queried.  count: prompts.  seed: of the draw."""

    tasks: int = 4
    shots: int = 2
    needle: int = 0
    shown: bool = False
    kind: str = "known"
    count: int = 256
    seed: int = 0

    def __post_init__(self):
        require(
            self,
            tasks=(2 <= self.tasks < len(LABELS), f"2 to {len(LABELS) - 1}"),
            needle=(0 <= self.needle < self.tasks, f"0 to tasks - 1 ({self.tasks - 1})"),
            shots=(self.shots >= 1, "at least 1"),
            count=(self.count >= 1, "at least 1"),
        )


@dataclass(frozen=True)
class Prompt:
    """lines: (label, source, target) of the examples.  label, source: of the query.  target: what is scored.
    rival: what another reading would answer (None: there is none).

    The rest is for edits.  labels: of the N tasks, in order.  unseen: a label of no task here.  answers: the source's
    N targets.  needle: which is right.  twin: the task, if any, whose answer shares the first token with the needle's.
    other: another source."""

    lines: tuple[tuple[str, str, str], ...]
    label: str
    source: str
    target: str
    rival: str | None
    labels: tuple[str, ...]
    unseen: str
    answers: tuple[str, ...]
    needle: int
    twin: int | None
    other: str

    @property
    def text(self) -> str:
        """The prompt, up to and without the target."""
        examples = [f"{source} {label}: {target}\n" for label, source, target in self.lines]
        return "".join(examples) + f"{self.source} {self.label}:"


def draw(
    lexicon: Lexicon,
    tokens: list[list[tuple[int, ...]]],
    config: PromptConfig,
    *,
    names: bool = False,
    twins: bool = False,
) -> list[Prompt]:
    """`count` prompts.  tokens[i][m]: token ids of targets[i][m] (`scoring.target_tokens`), () where it cannot be used.

    names: the tasks' own names as labels, the same in every prompt.  twins: query sources on which the needle's task
    and another of the prompt share the first token and differ in the second; otherwise all first tokens differ.
    ValueError where the lexicon holds too few such sources."""
    M, N = len(lexicon.tasks), config.tasks
    check("tasks", N <= M, f"at most the lexicon's ({M})", N)
    generator = stream("evaluation", config.seed, int(names), int(twins))

    def shuffled(values) -> list:
        return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]

    whole = [i for i, row in enumerate(tokens) if all(row)]
    fillers = [i for i in whole if lexicon.kinds[i] == config.kind]
    kind = "twin" if twins and "twin" in lexicon.kinds else config.kind
    needed = config.shots if config.shown else config.shots * N
    usable, long = f"{len(whole)} usable of {len(tokens)}", "targets of two tokens or more"
    fitting = f"of enough {kind} sources, {long}, whose first tokens {'coincide in two tasks' if twins else 'differ'}"
    many = f"of more than {needed + 1} {config.kind} sources, {long}"
    prompts = []
    for _ in range(config.count):
        for _ in range(ATTEMPTS if twins else 1):  # not every choice of tasks holds the needle's twin
            tasks = shuffled(range(M))[:N]
            labels = tuple(lexicon.tasks[m] for m in tasks) if names else tuple(shuffled(LABELS)[:N])
            candidates = [i for i in shuffled(whole) if lexicon.kinds[i] == kind]
            chosen = _query(tokens, candidates, tasks, config.needle, twins)
            if chosen is not None:
                break
        check("lexicon", chosen is not None, fitting, usable)
        query, twin = chosen
        rest = [i for i in shuffled(fillers) if i != query]
        check("lexicon", len(rest) > needed, many, usable)
        other = rest.pop()
        if config.shown:  # every task shows the same sources, in an order of its own
            groups = [shuffled([query, *rest[: config.shots - 1]]) for _ in tasks]
        else:
            groups = [rest[n * config.shots : (n + 1) * config.shots] for n in range(N)]
        answers = tuple(lexicon.targets[query][m] for m in tasks)
        spare = [name for name in LABELS if name not in labels]
        prompts.append(
            Prompt(
                lines=tuple(
                    (label, lexicon.sources[i], lexicon.targets[i][task])
                    for label, task, group in zip(labels, tasks, groups)
                    for i in group
                ),
                label=labels[config.needle],
                source=lexicon.sources[query],
                target=answers[config.needle],
                rival=None,
                labels=labels,
                unseen=spare[int(torch.randint(len(spare), (), generator=generator))],
                answers=answers,
                needle=config.needle,
                twin=twin,
                other=lexicon.sources[other],
            )
        )
    return prompts


def _query(tokens, candidates: list[int], tasks: list[int], needle: int, twins: bool) -> tuple[int, int | None] | None:
    """The first candidate that fits, and the segment of its twin."""
    for i in candidates:
        row = [tokens[i][m] for m in tasks]
        first = [target[0] for target in row]
        if not twins:
            if len(set(first)) == len(first):
                return i, None
            continue
        same = [n for n in range(len(row)) if n != needle and first[n] == first[needle]]
        if len(same) == 1 and row[same[0]][1] != row[needle][1]:
            return i, same[0]
    return None


def _misdirected(p: Prompt) -> Prompt:
    wrong = (p.needle + 1) % len(p.labels)
    return replace(p, label=p.labels[wrong], rival=p.answers[wrong])


# name: (question, edit).  `synchronised` wants prompts drawn with `twins`.
CONDITIONS = {
    "plain": ("the label of the task, the source, its target", lambda p: p),
    "no source": (
        "what do the tokens tell of themselves, by spelling and frequency?",
        lambda p: replace(p, source=HIDDEN),
    ),
    "wrong source": ("the same with another source in its place", lambda p: replace(p, source=p.other)),
    "unseen": (
        "a letter that stands for none of these tasks: in training it would mean one not shown yet",
        lambda p: replace(p, label=p.unseen),
    ),
    "misdirected": (
        "another task's label, whose own target is the rival: does the label or the first token lead?",
        _misdirected,
    ),
    "synchronised": (
        "the first token fits two tasks, the second tells them apart: the rival is the other's target",
        lambda p: replace(p, rival=p.answers[p.twin]),
    ),
}
