"""Named edits of a needle prompt: each changes the symbolic records and lays the tokens out anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from recall.needle import Prompts
from recall.task import TaskConfig, check, edit


@dataclass(frozen=True)
class Intervention:
    """question: what the edit asks, in one line.  applies_to: the prompts it needs.  apply: the pure edit."""

    name: str
    question: str
    applies_to: str
    apply: Callable[[Prompts, TaskConfig], Prompts]


def _plain(prompts, config):
    return prompts


def _misdirected(prompts, config):
    check("systems", prompts.count >= 2, "at least 2 for a misdirected label", prompts.count)
    label = prompts.segments.label.clone()
    label[:, -1] = label[:, named_segment(prompts)]
    return edit(prompts, config, label=label)


def named_segment(prompts: Prompts) -> int:
    """The haystack segment whose label a misdirected query shows: the next one in the cycle (facts 4.2)."""
    return (prompts.needle + 1) % prompts.count


INTERVENTIONS = {
    each.name: each
    for each in (
        Intervention("plain", "Does the model recall the labelled system and go on?", "any prompt", _plain),
        Intervention(
            "misdirected",
            "The query shows another seen system's label, then the needle's own states: does label or state steer?",
            "prompts of at least 2 systems",
            _misdirected,
        ),
    )
}


def apply(name: str, prompts: Prompts, config: TaskConfig) -> Prompts:
    """The edited prompts; ValueError for an unknown name or prompts the edit cannot be made on."""
    check("intervention", name in INTERVENTIONS, f"one of {', '.join(INTERVENTIONS)}", name)
    return INTERVENTIONS[name].apply(prompts, config)
