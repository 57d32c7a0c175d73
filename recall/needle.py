"""Needle-in-a-haystack prompts: N labelled segments, then the label of one of them again.

    start (a a0..a9 )a (b b0..b9 )b ... (a a10 a11 ...
          `--- haystack: N segments ----' `query: label of the needle, and its system goes on

`k-after-query` is the k-th observation after the query's open label; k = 1 is predicted on that label itself, from
nothing but the label.  `k-after-initial` is the k-th observation after the first open label of the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recall import systems as dynamics
from recall.ambient import plain_torch
from recall.config import check
from recall.systems import Systems
from recall.task import Batch, Segments, TaskConfig, lay_out, resume_times, stream


@dataclass(frozen=True)
class Prompts(Batch):
    """A batch of needle prompts, haystack-major: prompt h * traces + t is trace t of haystack h.

    Every trace of a haystack has the same N systems, other first states and other labels.  count: N, the number of
    systems.  needle: haystack segment whose system is queried.  query_row / initial_row: row of the open label (of
    what precedes the query's first observation, where an intervention took that label away).
    """

    shape: tuple[int, int]  # (haystacks, traces)
    count: int
    needle: int
    query_row: int
    initial_row: int


def haystack_payload(config: TaskConfig) -> int:
    """Observations per haystack segment: 10 as in the study, more where the map would not be determined."""
    return max(10, config.dimension + 2)


def query_payload(config: TaskConfig) -> int:
    """Observations after the query label, n + 3: the first exactly determined step is k = n + 2 after initial."""
    return config.dimension + 3


def prompt_rows(config: TaskConfig, systems: int) -> int:
    """Rows the model reads in a prompt of N systems (the last observation is only a target)."""
    return 1 + (haystack_payload(config) + 2) * systems + query_payload(config)


@plain_torch()
def needle_prompts(
    config: TaskConfig,
    systems: int,
    *,
    haystacks: int = 16,
    traces: int = 64,
    needle: int = 0,
    seed: int = 0,
    device="cpu",
    drawn: Systems | None = None,
    own_states: bool = False,
) -> Prompts:
    """haystacks * traces prompts of N = `systems` systems; the needle is segment `needle` (0 = farthest).

    Protocol: the study's (there 50 haystacks of 1000 traces, neighbouring haystacks sharing systems; here every
    haystack draws its own).  Systems come from the evaluation stream: no training batch contains them.  drawn:
    haystacks * N systems to take instead, haystack-major.  own_states: every trace starts from their own first states.

        prompts = recall.needle_prompts(config, systems=2)
        answers = model.predict(prompts.inputs)[:, prompts.query_row]  # 1-after-query, [B, n]

    Raises ValueError for a count out of range.
    """
    check("systems", 1 <= systems <= config.labels, f"1 to labels ({config.labels})", systems)
    check("needle", 0 <= needle < systems, f"0 to systems - 1 ({systems - 1})", needle)
    check("haystacks", haystacks >= 1, "at least 1", haystacks)
    check("traces", traces >= 1, "at least 1", traces)
    generator = stream("evaluation", seed, systems, needle, device=device)
    B, N = haystacks * traces, systems
    if drawn is None:
        drawn = dynamics.draw(config.family, haystacks * N, config.dimension, generator)
    check("drawn", len(drawn) == haystacks * N, f"{haystacks * N} systems", len(drawn))
    again = drawn.repeat(traces)  # [haystacks * N * traces]
    again = again if own_states else dynamics.with_first_states(again, generator)
    payload, query = haystack_payload(config), query_payload(config)
    observations = dynamics.rollout(again, payload + query, generator)

    # system index of (haystack, trace, segment): systems are stored haystack-major, then system, then trace
    h, t = torch.arange(haystacks, device=device), torch.arange(traces, device=device)
    order = torch.tensor([*range(N), needle], device=device)
    system = ((h[:, None, None] * N + order) * traces + t[:, None]).reshape(B, N + 1)
    names = torch.rand(B, config.labels, generator=generator, device=device).argsort(1)
    length = torch.tensor([payload] * N + [query], device=device).expand(B, N + 1)
    start = 1 + (payload + 2) * torch.arange(N + 1, device=device).expand(B, N + 1)
    segments = Segments(system, names[:, order], start, length, resume_times(system, length))
    tokens = lay_out(segments, observations, config.labels, prompt_rows(config, N) + 1)
    return Prompts(tokens, segments, observations, again, (haystacks, traces), N, needle, int(start[0, -1]), 1)
