"""Named edits of a needle prompt.  Each is pure: it changes the symbolic records, the systems or both, and lays the
tokens out anew, so that what is predicted stays what comes next.

Two ways to know the query's system, and what they say of every edit: by *label*, the system that carried the query's
label, and by *observation*, the system whose next state was just seen.  An edit sets one against the other, takes
one away, or leaves both and changes what should not matter.

                          the label is that of       what is shown is            tells apart
    plain                 the needle                 the needle going on
    misdirected           another seen system        the needle going on         label and observation
    unseen-label          no seen system             the needle going on         observation alone
    new-system            the needle                 a new system                label alone
    restart               no seen system             a new system                neither
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recall import systems as dynamics
from recall.config import check
from recall.needle import Prompts
from recall.systems import Systems
from recall.task import TaskConfig, edit, stream

ISOMETRIES = ("haar", "equal", "rotations", "identity")  # families whose maps keep the norm and can be undone
LOUD = 2.0  # times the amplitude of the label
HALF = 0.5  # of the way

ANY, TWO, SPARE = "any prompt", "prompts of at least 2 systems", "prompts of fewer systems than labels"
MOVED = "families haar, rotations and identity"
TWO_MOVED = f"{TWO}; {MOVED}"
SAME, ALL, EXACT = "as plain", "exact at every k", "k = 1 open, exact from k = 2"
NEW, WRONG = "as a new system", "the other system's states at every k"
NAMELESS = "for who tells systems apart without names"


@dataclass(frozen=True)
class Intervention:
    """question: what the edit asks, in one line.  label, observation: what predicting by the one or the other would
    show, by k.

    applies_to: the prompts it needs.  apply: the pure edit; ValueError where it cannot be made.
    """

    name: str
    question: str
    label: str
    observation: str
    applies_to: str
    apply: Callable[[Prompts, TaskConfig], Prompts]


INTERVENTIONS: dict[str, Intervention] = {}


def intervention(name: str, label: str, observation: str, applies_to: str):
    """Register an edit; its docstring is the question."""

    def register(edited):
        question = " ".join((edited.__doc__ or "").split())
        INTERVENTIONS[name] = Intervention(name, question, label, observation, applies_to, edited)
        return edited

    return register


def apply(name: str, prompts: Prompts, config: TaskConfig) -> Prompts:
    """The edited prompts; ValueError for an unknown name or prompts the edit cannot be made on."""
    check("intervention", name in INTERVENTIONS, f"one of {', '.join(INTERVENTIONS)}", name)
    return INTERVENTIONS[name].apply(prompts, config)


@intervention("plain", ALL, EXACT, ANY)
def _plain(prompts, config):
    """Does the model recall the labelled system and go on?"""
    return prompts


# --- another label, the same states


@intervention("misdirected", WRONG, EXACT, TWO)
def _misdirected(prompts, config):
    """The query shows another seen system's label, then the needle's own states: does label or state steer?"""
    _several(prompts)
    return _label(prompts, config, prompts.segments.label[:, named_segment(prompts)])


@intervention("unseen-label", NEW, EXACT, SPARE)
def _unseen_label(prompts, config):
    """The query shows a label that the prompt does not hold, then the needle's states: is a known label needed?"""
    return _label(prompts, config, unused(prompts, config))


@intervention("new-system", "the needle's states at every k", NEW, ANY)
def _new_system(prompts, config):
    """A new system comes under the needle's label: does the label override what is seen?"""
    B, device = len(prompts.tokens), prompts.tokens.device
    generator = stream("evaluation", 0, B, prompts.count, prompts.needle, 1, device=device)
    return query_shows(prompts, config, dynamics.draw(config.family, B, config.dimension, generator), generator)


@intervention("restart", NEW, NEW, SPARE)
def _restart(prompts, config):
    """A new system under a new label: does the model begin afresh in the middle of a prompt?"""
    return _new_system(_unseen_label(prompts, config), config)


@intervention("one-label", "one of the candidates, or their mixture", f"exact from k = 2, {NAMELESS}", TWO)
def _one_label(prompts, config):
    """All segments show the needle's label: what is left without names?"""
    _several(prompts)
    label = prompts.segments.label
    return edit(prompts, config, label=label[:, -1:].expand_as(label).contiguous())


# --- the query's label shown otherwise


@intervention("louder-label", SAME, SAME, ANY)
def _louder_label(prompts, config):
    """The query's label has twice its amplitude: does a heavier label steer more?"""
    tokens = prompts.tokens.clone()
    tokens[:, prompts.query_row] *= LOUD
    return replace(prompts, tokens=tokens)


@intervention("repeated-label", SAME, SAME, ANY)
def _repeated_label(prompts, config):
    """The query's label opens and closes once more before the query: does a second showing help?"""
    return _insert_empty(prompts, config, prompts.segments.label[:, -1])


@intervention("broken-adjacency", SAME, SAME, TWO)
def _broken_adjacency(prompts, config):
    """An empty segment of another label stands before the query: is recall of the nearest segment only a habit of
    close and open?
    """
    _several(prompts)
    return _insert_empty(prompts, config, prompts.segments.label[:, named_segment(prompts)])


@intervention("no-close", SAME, SAME, ANY)
def _no_close(prompts, config):
    """The last close label is missing: is it needed?"""
    start = prompts.segments.start.clone()
    start[:, -1] -= 1  # the query opens on the row where the last haystack segment would close
    shorter = replace(prompts, tokens=prompts.tokens[:, :-1], query_row=prompts.query_row - 1)
    return edit(shorter, config, start=start)


@intervention("no-labels", ALL, ALL, "prompts whose needle is the nearest segment")
def _no_labels(prompts, config):
    """The nearest segment just goes on, without labels: what do labels cost?"""
    nearest = prompts.count - 1
    allowed = f"the nearest segment ({nearest}): only that one can go on without labels"
    check("needle", prompts.needle == nearest, allowed, prompts.needle)
    merged = {name: value[:, :-1].clone() for name, value in vars(prompts.segments).items()}
    merged["length"][:, -1] += prompts.segments.length[:, -1]  # that segment and the query become one
    shorter = replace(prompts, tokens=prompts.tokens[:, :-2], query_row=prompts.query_row - 2)
    return edit(shorter, config, **merged)


# --- other states under the right label


@intervention(
    "norm-swap",
    "the needle's map; off by the length at k = 1",
    "as a new system; the other system's states, if matched by norm",
    TWO_MOVED,
)
def _norm_swap(prompts, config):
    """The query's states get the norm of another system: does the norm pick the needle?"""
    _several(prompts), _isometry(config)
    s = prompts.segments
    needle, other = (prompts.systems[s.system[:, i]] for i in (-1, named_segment(prompts)))
    norm = other.x0.norm(dim=-1, keepdim=True)
    resumed = prompts.observations[s.system[:, -1], s.first[:, -1]]
    return query_shows(prompts, config, replace(needle, x0=resumed * norm / resumed.norm(dim=-1, keepdim=True)))


@intervention(
    "halfway", "the needle's map; half way off at k = 1", "as a new system; a mixture, if matched softly", TWO_MOVED
)
def _halfway(prompts, config):
    """The first resumed state lies half way to where another system would be, in direction and norm: which map is
    applied to it?
    """
    _several(prompts), _arcs(config)
    s, other = prompts.segments, named_segment(prompts)
    own = prompts.observations[s.system[:, -1], s.first[:, -1]]
    theirs = prompts.observations[s.system[:, other], s.first[:, other] + s.length[:, other]]
    return query_shows(prompts, config, replace(prompts.systems[s.system[:, -1]], x0=between(own, theirs, HALF)))


@intervention("synchronised", ALL, "candidates' mixture at k = 2, exact from k = 3", TWO_MOVED)
def _synchronised(prompts, config):
    """All systems would come to the same next state: what is left when the first observation singles out none?"""
    return synchronised(prompts, config)


@intervention("half-synchronised", ALL, f"{EXACT} but for near ties", TWO_MOVED)
def _half_synchronised(prompts, config):
    """All next states are moved half way to the needle's: does 2-after-query dissolve gradually?"""
    return synchronised(prompts, config, HALF)


@intervention("equal-norm", SAME, EXACT, MOVED)
def _equal_norm(prompts, config):
    """All states have the needle's norm: how much of the matching was by norm?"""
    _isometry(config)
    s, x0 = prompts.segments, prompts.systems.x0.clone()
    norm = x0[s.system[:, -1]].norm(dim=-1, keepdim=True)
    for i in range(prompts.count):
        if i != prompts.needle:
            own = x0[s.system[:, i]]
            x0[s.system[:, i]] = own * norm / own.norm(dim=-1, keepdim=True)
    return _again(prompts, config, replace(prompts.systems, x0=x0))


@intervention("opposite", SAME, EXACT, TWO_MOVED)
def _opposite(prompts, config):
    """Another system's map is the needle's, negated: are maps told apart that span the same directions?"""
    return _neighbour(prompts, config, lambda needle, own: -needle)


@intervention("similar-maps", SAME, EXACT, TWO_MOVED)
def _similar_maps(prompts, config):
    """Another system's map lies half way to the needle's: is the needle confused with its like?"""
    return similar(prompts, config)


@intervention("late-start", SAME, SAME, MOVED)
def _late_start(prompts, config):
    """Every system is shown from a later time: does the time at which a system started matter?"""
    _isometry(config)
    late = int((prompts.segments.first[:, -1] + prompts.segments.length[:, -1])[0])  # no state comes up again
    longer = dynamics.rollout(prompts.systems, late + prompts.observations.shape[1])
    return edit(replace(prompts, observations=longer), config, first=prompts.segments.first + late)


# --- what edits are made of


def synchronised(prompts: Prompts, config: TaskConfig, share: float = 1.0) -> Prompts:
    """Every system's next state is moved `share` of the way to the needle's, along an arc.

    At 1 the first resumed state singles out no system (as in the study: obs_i = U^(i-10) x with a common x).
    """
    _several(prompts), _arcs(config)
    check("share", 0 <= share <= 1, "0 to 1", share)
    s, x0 = prompts.segments, prompts.systems.x0.clone()
    common = prompts.observations[s.system[:, -1], s.first[:, -1]]
    for i in range(prompts.count):
        if i != prompts.needle:
            time = s.first[:, i] + s.length[:, i]
            state = between(prompts.observations[s.system[:, i], time], common, share)
            x0[s.system[:, i]] = dynamics.before(prompts.systems.A[s.system[:, i]], state, int(time[0]))
    return _again(prompts, config, replace(prompts.systems, x0=x0))


def similar(prompts: Prompts, config: TaskConfig, share: float = HALF) -> Prompts:
    """The map of the next system in the cycle becomes the orthogonal one nearest to share * needle's + (1 - share) *
    its own.

    Half way by distance where both turn the same way; a rotation and a reflection have no way between them.
    """
    check("share", 0 <= share <= 1, "0 to 1", share)

    def mixed(needle, own):
        U, _, V = torch.linalg.svd((share * needle + (1 - share) * own).double())
        return (U @ V).to(own.dtype)

    return _neighbour(prompts, config, mixed)


def between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """[B, n] share of the way from a to b: directions along the great circle, norms in proportion."""
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v = a / norm_a, b / norm_b
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    weight = lambda part: torch.where(angle > 1e-4, torch.sin(part * angle) / torch.sin(angle).clamp(min=1e-12), part)
    way = weight(1 - share) * u + weight(share) * v
    return way / way.norm(dim=-1, keepdim=True) * ((1 - share) * norm_a + share * norm_b)


def named_segment(prompts: Prompts) -> int:
    """The haystack segment whose label a misdirected query shows: the next one in the cycle."""
    return (prompts.needle + 1) % prompts.count


def unused(prompts: Prompts, config: TaskConfig) -> Tensor:
    """[B] a label that the prompt does not hold: the next one after the needle's."""
    allowed = f"more than systems ({prompts.count}): every label is used"
    check("labels", config.labels > prompts.count, allowed, config.labels)
    label, next_ones = prompts.segments.label, torch.arange(1, config.labels, device=prompts.tokens.device)
    order = (label[:, -1:] + next_ones) % config.labels
    used = (order.unsqueeze(2) == label.unsqueeze(1)).any(2)  # [B, L - 1]
    return order.gather(1, used.long().argmin(1, keepdim=True)).squeeze(1)


def query_shows(prompts: Prompts, config: TaskConfig, shown: Systems, generator=None) -> Prompts:
    """The query goes through B other systems, from their first states."""
    s, steps = prompts.segments, prompts.observations.shape[1]
    system, first = s.system.clone(), s.first.clone()
    system[:, -1] = len(prompts.observations) + torch.arange(len(shown), device=system.device)
    first[:, -1] = 0
    observations = torch.cat([prompts.observations, dynamics.rollout(shown, steps, generator)])
    both = replace(prompts, observations=observations, systems=prompts.systems.beside(shown))
    return edit(both, config, system=system, first=first)


def _several(prompts):
    check("systems", prompts.count >= 2, "at least 2 for this intervention", prompts.count)


def _isometry(config):
    check("family", config.family in ISOMETRIES, f"one of {', '.join(ISOMETRIES)} for this intervention", config.family)


def _arcs(config):
    _isometry(config)
    allowed = "at least 2 for this intervention: on a line there is no way between opposites"
    check("dimension", config.dimension >= 2, allowed, config.dimension)


def _label(prompts, config, query: Tensor):
    """The query shows other labels [B]."""
    label = prompts.segments.label.clone()
    label[:, -1] = query
    return edit(prompts, config, label=label)


def _insert_empty(prompts, config, label: Tensor):
    """An open and a close label [B] with nothing between, right before the query, which comes two rows later."""
    s = prompts.segments
    put = lambda column, value: torch.cat([column[:, :-1], value.unsqueeze(1), column[:, -1:]], 1)
    start = put(s.start, s.start[:, -1])
    start[:, -1] += 2
    columns = dict(
        system=put(s.system, s.system[:, -1]),
        label=put(s.label, label),
        start=start,
        length=put(s.length, torch.zeros_like(s.length[:, -1])),
        first=put(s.first, s.first[:, -1]),
    )
    room = torch.zeros_like(prompts.tokens[:, :2])
    longer = replace(prompts, tokens=torch.cat([prompts.tokens, room], 1), query_row=prompts.query_row + 2)
    return edit(longer, config, **columns)


def _again(prompts, config, others: Systems):
    """The same records with other systems in their places."""
    observations = dynamics.rollout(others, prompts.observations.shape[1])
    return edit(replace(prompts, systems=others, observations=observations), config)


def _neighbour(prompts, config, change: Callable[[Tensor, Tensor], Tensor]):
    """The map of the next system in the cycle is replaced: change(needle's, its own)."""
    _several(prompts), _isometry(config)
    A, index = prompts.systems.A.clone(), prompts.segments.system
    A[index[:, named_segment(prompts)]] = change(A[index[:, -1]], A[index[:, named_segment(prompts)]])
    return _again(prompts, config, replace(prompts.systems, A=A))
