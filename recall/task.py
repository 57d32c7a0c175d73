"""The interleaved, labelled trace: several systems take turns, each turn opened and closed by a label.

One trace of two systems, `A` carrying label 2 and `B` label 0 (dimension 2, three labels), row by row.
`target` is what the model must predict on that row, the next row's observation; a dot is a masked row.

    row       0      1    2    3    4    5    6    7    8    9    10   11   12   13   14
    token   start  (2   a0   a1   a2   )2   (0   b0   b1   )0   (2   a3   a4   )2   (0
    target    .     a0   a1   a2   .    .    b0   b1   .    .    a3   a4   .    .    b2
    k               1    2    3              1    2              1    2              1
                    `--- A, initial ---'     `- B --'            `- A resumed: k after query

`(2` is open label 2 and `)2` its close label.  A resumed system goes on at the state after the last one shown (a3
follows a2): time stands still while it is hidden.  The first observation of a segment is predicted *on the open
label*: k = 1 is read there.  Labels are never targets.

Columns of a token row, C = 2 * labels + 2 + n:

    2j        open label j: sqrt(2)          2 * labels        start row: sqrt(2)
    2j + 1    close label j: sqrt(2)         2 * labels + 1    payload flag: 1 on rows that carry an observation
                                             last n            the observation (0 on label and start rows)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recall import systems
from recall.ambient import plain_torch
from recall.config import check, later, require
from recall.systems import Systems

LABEL_VALUE = 2**0.5  # a label row then has about the squared norm of a payload row, 1 + E|x|^2 = 2
ZIPF_EXPONENT = 1.5  # of the number of systems per trace in the study
CUTS_PER_SYSTEM, MAX_CUTS = 2.0, 125  # Poisson(2m) cuts, at most 125
VERSION = 1  # of the traces of a (config, seed, step): goes up with whatever changes them
STREAMS = ("init", "train", "evaluation", "library")  # each purpose draws from its own


@dataclass(frozen=True)
class TaskConfig:
    """What a trace is made of.

        config = recall.TaskConfig.compact(dimension=3, labels=4)
        batch = recall.Task(config, seed=0).sample_batch(step=0, batch_size=32)

    family: one of recall.systems.FAMILIES.  dimension: n, of an observation.  labels: size of the label vocabulary.
    max_systems: most systems in one trace (<= labels).  trace_length: rows after the start row, all of them filled.
    library: None draws fresh systems for every trace; M freezes M systems, each with one stored trajectory.
    generator: `study` is the study's own generator, `compact` the one for a CPU:

                               study                                compact
        systems in a trace     m ~ Zipf(1.5) on 1..max_systems      m uniform on 1..max_systems
        segment boundaries     Poisson(2m) uniform cuts; a segment  payload lengths uniform on
                               may be empty or a lone close label   min_payload..max_payload
        last segment           ends with its close label            is cut where the trace ends
        label, order, resume   the same in both: labels redrawn per trace, the system of each segment uniform
                               with replacement, a resumed system goes on where it stopped
        its own defaults       25 labels, 250 rows, library 40,000  few labels, short trace, fresh systems

    Half of the study's traces hold a single system and few segments resume; the compact traces are nearly all made
    of resumptions, which is what makes both abilities appear within minutes on one core.

    What makes the cues of training traces less certain; the prompts of an evaluation never have any of it:

        min_systems    fewest systems in a compact trace (1); at max_systems each is as likely as the others to be
                       resumed
        repeats        False: no system is on twice in a row, where a trace has more than one; the next is uniform
                       among the others
        label_error    chance that a segment is labelled by a label drawn from all, whichever system is on (open and
                       close alike)
        state_noise    s: x' = sqrt(1 - s^2) U x + s w with w ~ N(0, I/n), which keeps the law of every state; for
                       `haar` only

    Raises ValueError, in one line, for a value out of its range.
    """

    family: str = "haar"
    dimension: int = 5
    labels: int = 4
    max_systems: int = 4
    trace_length: int = 96
    generator: str = "compact"
    min_payload: int = 3
    max_payload: int = 10
    library: int | None = None
    # since runs were committed: a new field goes here and is declared as recall.config says
    min_systems: int = later(1)
    repeats: bool = later(True)
    label_error: float = later(0.0)
    state_noise: float = later(0.0)

    def __post_init__(self):
        most, longest = self.max_systems, self.trace_length - 2
        compact, fresh_haar = self.generator == "compact", self.family == "haar" and self.library is None
        require(
            self,
            family=(self.family in systems.FAMILIES, f"one of {', '.join(systems.FAMILIES)}"),
            generator=(self.generator in ("study", "compact"), "study or compact"),
            dimension=(1 <= self.dimension <= 64, "1 to 64"),
            labels=(1 <= self.labels <= 256, "1 to 256"),
            max_systems=(1 <= most <= self.labels, f"1 to labels ({self.labels})"),
            trace_length=(3 <= self.trace_length <= 4096, "3 to 4096"),
            min_payload=(1 <= self.min_payload <= self.max_payload, f"1 to max_payload ({self.max_payload})"),
            max_payload=(
                not compact or self.max_payload <= longest,
                f"at most trace_length - 2 ({longest}): a segment has two label rows",
            ),
            library=(
                self.library is None or most <= self.library <= 10**8,
                f"none or max_systems ({most}) to 100000000",
            ),
            min_systems=(1 <= self.min_systems <= most, f"1 to max_systems ({most})"),
            label_error=(0 <= self.label_error <= 1, "0 to 1"),
            state_noise=(0 <= self.state_noise < 1, "0 to below 1"),
        )
        require(
            self,
            min_systems=(compact or self.min_systems == 1, "1 for the study's generator"),
            state_noise=(fresh_haar or self.state_noise == 0, "0 but for fresh systems of the haar family"),
        )

    @classmethod
    def study(cls, **changes) -> TaskConfig:
        """The study's task: 25 labels, 251 rows, a frozen library of 40,000 systems."""
        own = dict(dimension=5, labels=25, max_systems=25, trace_length=250, generator="study", library=40_000)
        return cls(**own | changes)

    @classmethod
    def compact(cls, dimension: int = 5, labels: int = 4, **changes) -> TaskConfig:
        """The CPU task: payload lengths 3..n+5 and a trace of about 2 * labels + 3 mean segments, in whole sixteens."""
        check("dimension", 1 <= dimension <= 64, "1 to 64", dimension)
        check("labels", 1 <= labels <= 256, "1 to 256", labels)
        mean_segment = (dimension + 8) / 2 + 2
        rows = max(16 * round((2 * labels + 3) * mean_segment / 16), dimension + 7)
        own = dict(dimension=dimension, labels=labels, max_systems=labels, trace_length=rows, max_payload=dimension + 5)
        return cls(**own | changes)

    @property
    def columns(self) -> int:
        """C, the width of a token row."""
        return 2 * self.labels + 2 + self.dimension


@dataclass(frozen=True)
class Segments:
    """Symbolic record of every segment, [B, S] each, in the order of their rows; unused places have length -2.

    system: index into Batch.observations.  label: shown at the open and close rows.  start: row of the open label.
    length: payload rows as drawn (the last one may be cut by the end of the trace); 0 is an open and a close label
    with nothing between, -1 a lone close label.  first: time index, within its system, of the first payload row.
    """

    system: Tensor
    label: Tensor
    start: Tensor
    length: Tensor
    first: Tensor


@dataclass(frozen=True)
class Batch:
    """B traces: tokens [B, T+1, C], their segment records, and what they were made from.

    observations: [K, steps, n], every system's trajectory.  systems: those K systems (None from a frozen library).
    """

    tokens: Tensor
    segments: Segments
    observations: Tensor
    systems: Systems | None

    @property
    def inputs(self) -> Tensor:
        """[B, T, C]: every row but the last, which only serves as a target."""
        return self.tokens[:, :-1]

    @property
    def targets(self) -> Tensor:
        """[B, T, n]: the observation on the next row."""
        return self.tokens[:, 1:, -self.observations.shape[-1] :]

    @property
    def mask(self) -> Tensor:
        """[B, T] bool: rows whose next row carries an observation, the only ones in the loss."""
        return self.tokens[:, 1:, -self.observations.shape[-1] - 1] == 1

    def to(self, device) -> Batch:
        """The same traces on another device; their systems, which no training step reads, stay where they are."""
        segments = Segments(**{name: value.to(device) for name, value in vars(self.segments).items()})
        tokens, observations = self.tokens.to(device), self.observations.to(device)
        return replace(self, tokens=tokens, segments=segments, observations=observations)


def lay_out(segments: Segments, observations: Tensor, labels: int, rows: int) -> Tensor:
    """Tokens [B, rows, 2 * labels + 2 + n] for symbolic segments; row 0 is the start row.

    The only place that knows the token layout: the generators, the needle prompts and every intervention edit
    symbolic records and come through here.
    """
    B, n = len(segments.start), observations.shape[-1]
    s, at = _whereabouts(segments, rows)
    length, label = segments.length.gather(1, s), segments.label.gather(1, s)
    close = (at >= 0) & (at == length + 1)
    opens = (at == 0) & ~close
    payload = (at >= 1) & (at <= length)
    time = (segments.first.gather(1, s) + at - 1).clamp(0, observations.shape[1] - 1)

    tokens = torch.zeros(B, rows, 2 * labels + 2 + n, device=at.device, dtype=observations.dtype)
    shown = ((opens | close) * LABEL_VALUE).to(tokens.dtype)
    tokens.scatter_(2, (2 * label + close).unsqueeze(-1), shown.unsqueeze(-1))
    tokens[:, 0, 2 * labels] = LABEL_VALUE
    tokens[..., 2 * labels + 1] = payload.to(tokens.dtype)
    tokens[..., -n:] = observations[segments.system.gather(1, s), time] * payload.unsqueeze(-1)
    return tokens


def _whereabouts(segments: Segments, rows: int) -> tuple[Tensor, Tensor]:
    """[B, rows] the segment of each row, and how far behind its open label it stands; -1 for the start row."""
    row = torch.arange(rows, device=segments.start.device).expand(len(segments.start), rows)
    s = torch.searchsorted(segments.start.contiguous(), row.contiguous(), right=True) - 1
    return s.clamp(min=0), torch.where(s < 0, -1, row - segments.start.gather(1, s.clamp(min=0)))


def after_query(batch: Batch) -> Tensor:
    """[B, T] k where the next row holds the k-th observation of a resumed segment, 0 elsewhere."""
    s, at = _whereabouts(batch.segments, batch.mask.shape[1])
    resumed = batch.segments.first.gather(1, s) > 0
    return (at + 1) * (batch.mask & resumed)


def resume_times(system: Tensor, length: Tensor) -> Tensor:
    """[B, S] time index at which each segment's payload begins: the payload rows its system has shown before."""
    same = system.unsqueeze(2) == system.unsqueeze(1)  # [B, S, S]
    earlier = same.tril(-1) * length.clamp(min=0).unsqueeze(1)
    return earlier.sum(-1)


def stream(name: str, seed: int, *index: int, device="cpu") -> torch.Generator:
    """A generator addressed by its purpose, seed and place, so that batch k needs no replay of 1..k-1.

    Torch's CPU generator keeps 32 bits of a seed: in a run of 10,000 steps two batches coincide with probability 0.01.
    """
    check("stream", name in STREAMS, f"one of {', '.join(STREAMS)}", name)
    key = "/".join(map(str, (name, seed, *index))).encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
    return torch.Generator(device).manual_seed(number)


class Task:
    """Draws the batches of one TaskConfig: `sample_batch(step, batch_size)` is a pure function of (seed, step).

    batch = recall.Task(recall.TaskConfig(), seed=0).sample_batch(0, 32)
    batch.inputs, batch.targets, batch.mask  # [32, T, C], [32, T, n], [32, T]
    """

    @plain_torch()
    def __init__(self, config: TaskConfig, seed: int, device="cpu"):
        self.config, self.seed, self.device = config, seed, device
        self.library = self.frozen = None
        if config.library is not None:
            generator = stream("library", seed, device=device)
            self.frozen = systems.draw(config.family, config.library, config.dimension, generator)
            self.library = systems.rollout(self.frozen, config.trace_length, generator)  # x0 and noise are frozen too

    @plain_torch()
    def sample_batch(self, step: int, batch_size: int, split: str = "train") -> Batch:
        """`batch_size` traces of trace_length + 1 rows for training step `step` (split `train` or `evaluation`).

        The evaluation split never meets a library: its systems are always fresh, hence held out.
        """
        check("split", split in ("train", "evaluation"), "train or evaluation", split)
        config, generator, device = self.config, stream(split, self.seed, step, device=self.device), self.device
        draw = lambda *shape: torch.rand(*shape, generator=generator, device=device)
        counts = system_counts(config, batch_size, generator)  # [B] systems per trace
        cuts = study_segments if config.generator == "study" else compact_segments
        start, length = cuts(config, counts, generator)  # [B, S] each
        slot = (draw(*length.shape) * counts[:, None]).long()
        if not config.repeats:
            slot = _without_repeats(slot, length, counts, generator)
        system = (counts.cumsum(0) - counts)[:, None] + slot
        label = draw(batch_size, config.labels).argsort(1).gather(1, slot)
        if config.label_error:
            wrong = draw(*label.shape) < config.label_error
            other = torch.randint(config.labels, label.shape, generator=generator, device=device)
            label = torch.where(wrong, other, label)
        segments = Segments(system, label, start + 1, length, resume_times(system, length))
        if self.library is not None and split == "train":
            drawn, observations = None, self.library[distinct_subsets(len(self.library), counts, generator)]
        else:
            steps = min(int((segments.first + segments.length).max()), config.trace_length)
            drawn = systems.draw(config.family, int(counts.sum()), config.dimension, generator)
            observations = systems.rollout(drawn, max(steps, 1), generator, config.state_noise)
        tokens = lay_out(segments, observations, config.labels, config.trace_length + 1)
        return Batch(tokens, segments, observations, drawn)


def system_counts(config, batch_size, generator):
    m = torch.arange(1, config.max_systems + 1, device=generator.device)
    weight = m.double() ** -ZIPF_EXPONENT if config.generator == "study" else (m >= config.min_systems).double()
    return torch.multinomial(weight, batch_size, replacement=True, generator=generator) + 1


def study_segments(config, counts, generator):
    """Poisson(2m) i.i.d. uniform cuts; neighbouring cuts d rows apart make a segment of d - 2 payload rows."""
    T, device = config.trace_length, generator.device
    cuts = torch.poisson(CUTS_PER_SYSTEM * counts.float(), generator=generator).clamp(max=MAX_CUTS)
    most = int(cuts.max())
    position = torch.randint(T, (len(counts), most), generator=generator, device=device)
    position[torch.arange(most, device=device) >= cuts[:, None]] = T
    position = position.sort(1).values
    position[:, :1][position[:, :1] == 0] = T  # 0 is added only where it is missing
    zero, end = torch.zeros_like(counts)[:, None], torch.full_like(counts, T)[:, None]
    position = torch.cat([zero, position.sort(1).values, end], dim=1)
    return position[:, :-1], position.diff(dim=1) - 2


def compact_segments(config, counts, generator):
    T, device = config.trace_length, generator.device
    shape = len(counts), -(-T // (config.min_payload + 2))
    length = torch.randint(config.min_payload, config.max_payload + 1, shape, generator=generator, device=device)
    start = (length + 2).cumsum(1) - (length + 2)
    length = torch.where(start < T, length, -2)
    return start.clamp(max=T), length


def _without_repeats(slot, length, counts, generator):
    """[B, S] the same draw, but that a segment whose system was on just before takes one of the others.

    Segments with nothing to show do not count.
    """
    other = 1 + (torch.rand(slot.shape, generator=generator, device=slot.device) * (counts - 1)[:, None]).long()
    slot, before = slot.clone(), torch.full_like(slot[:, 0], -1)
    for s in range(slot.shape[1]):
        again = (slot[:, s] == before) & (counts > 1)
        slot[:, s] = torch.where(again, (slot[:, s] + other[:, s]) % counts, slot[:, s])
        before = torch.where(length[:, s] > 0, slot[:, s], before)
    return slot


def distinct_subsets(size, counts, generator):
    """Library indices [sum(counts)]: of each trace, a uniform subset (Floyd's algorithm, all traces at once)."""
    most, device = int(counts.max()), generator.device
    chosen = torch.full((len(counts), most), -1, device=device)
    for i in range(most):
        top = size - counts + i  # the i-th draw is from 0..top, and is `top` itself where it was drawn before
        drawn = (torch.rand(len(counts), generator=generator, device=device, dtype=torch.float64) * (top + 1)).long()
        taken = (chosen == drawn[:, None]).any(1)
        chosen[:, i] = torch.where(taken, top, drawn)
    return chosen[torch.arange(most, device=device) < counts[:, None]]


def edit(batch: Batch, config: TaskConfig, **columns: Tensor) -> Batch:
    """The same traces with some segment records replaced (label=..., system=...), laid out anew."""
    segments = replace(batch.segments, **columns)
    tokens = lay_out(segments, batch.observations, config.labels, batch.tokens.shape[1])
    return replace(batch, tokens=tokens, segments=segments)


def statistics(batch: Batch) -> dict[str, float]:
    """Means per trace of what describes the study's traces.

    Payload segments, distinct systems shown, resumptions, payload rows, and segments with no payload (`empty`: an open
    and a close label; `lone close`).
    """
    s = batch.segments
    shown = s.length > 0
    mean = lambda event: event.double().sum(-1).mean().item()
    return {
        "payload segments": mean(shown),
        "distinct systems": mean(shown & (s.first == 0)),
        "resumptions": mean(shown & (s.first > 0)),
        "payload rows": mean(batch.mask),
        "empty": mean(s.length == 0),
        "lone close": mean(s.length == -1),
    }


def symbols(batch: Batch, trace: int = 0) -> str:
    """One trace as text, `start (2 a0 a1 a2 )2 (0 b0 …`: systems get letters in the order they appear."""
    rows, letters = ["start"], {}
    s, end = batch.segments, batch.tokens.shape[1]
    columns = (column[trace].tolist() for column in (s.system, s.label, s.length, s.first))
    for system, label, length, first in zip(*columns):
        if length < -1 or len(rows) >= end:
            continue
        letter = letters.setdefault(system, chr(ord("a") + len(letters)))
        opening = [f"({label}"] if length >= 0 else []
        rows += [*opening, *(f"{letter}{first + i}" for i in range(length)), f"){label}"]
    return " ".join(rows[:end])
