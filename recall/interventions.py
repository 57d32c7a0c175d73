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

from dataclasses import dataclass, replace
from typing import Callable

import torch
from torch import Tensor

from recall import systems as dynamics
from recall.needle import Prompts
from recall.systems import Systems
from recall.task import TaskConfig, check, edit, stream

ISOMETRIES = ("haar", "equal", "rotations", "identity")  # families whose maps keep the norm and can be undone
LOUD = 2.0  # times the amplitude of the label
HALF = 0.5  # of the way


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


def named_segment(prompts: Prompts) -> int:
    """The haystack segment whose label a misdirected query shows: the next one in the cycle (facts 4.2)."""
    return (prompts.needle + 1) % prompts.count


def _plain(prompts, config):
    return prompts


def _misdirected(prompts, config):
    _several(prompts)
    return _label(prompts, config, prompts.segments.label[:, named_segment(prompts)])


def _unseen_label(prompts, config):
    return _label(prompts, config, unused(prompts, config))


def _one_label(prompts, config):
    _several(prompts)
    label = prompts.segments.label
    return edit(prompts, config, label=label[:, -1:].expand_as(label).contiguous())


def _louder_label(prompts, config):
    tokens = prompts.tokens.clone()
    tokens[:, prompts.query_row] *= LOUD
    return replace(prompts, tokens=tokens)


def _repeated_label(prompts, config):
    return _insert_empty(prompts, config, prompts.segments.label[:, -1])


def _broken_adjacency(prompts, config):
    _several(prompts)
    return _insert_empty(prompts, config, prompts.segments.label[:, named_segment(prompts)])


def _no_close(prompts, config):
    """The query opens on the row where the last haystack segment would close."""
    start = prompts.segments.start.clone()
    start[:, -1] -= 1
    shorter = replace(prompts, tokens=prompts.tokens[:, :-1], query_row=prompts.query_row - 1)
    return edit(shorter, config, start=start)


def _no_labels(prompts, config):
    """The nearest segment and the query become one: two label rows fewer."""
    check(
        "needle",
        prompts.needle == prompts.count - 1,
        f"the nearest segment ({prompts.count - 1}): only that one can go on without labels",
        prompts.needle,
    )
    merged = {name: value[:, :-1].clone() for name, value in vars(prompts.segments).items()}
    merged["length"][:, -1] += prompts.segments.length[:, -1]
    shorter = replace(prompts, tokens=prompts.tokens[:, :-2], query_row=prompts.query_row - 2)
    return edit(shorter, config, **merged)


def _new_system(prompts, config):
    generator = stream(
        "evaluation", 0, len(prompts.tokens), prompts.count, prompts.needle, 1, device=prompts.tokens.device
    )
    return _show(
        prompts, config, dynamics.draw(config.family, len(prompts.tokens), config.dimension, generator), generator
    )


def _restart(prompts, config):
    return _new_system(_unseen_label(prompts, config), config)


def _norm_swap(prompts, config):
    """The query's states get the norm of the next system in the cycle."""
    _several(prompts), _isometry(config)
    needle = _at(prompts, prompts.systems, -1)
    norm = _at(prompts, prompts.systems, named_segment(prompts)).x0.norm(dim=-1, keepdim=True)
    resumed = prompts.observations[prompts.segments.system[:, -1], prompts.segments.first[:, -1]]
    return _show(prompts, config, replace(needle, x0=resumed * norm / resumed.norm(dim=-1, keepdim=True)))


def _halfway(prompts, config):
    """The first resumed state lies half way between the needle's next state and that of the next system in the
    cycle.
    """
    _several(prompts), _arcs(config)
    s, other = prompts.segments, named_segment(prompts)
    own = prompts.observations[s.system[:, -1], s.first[:, -1]]
    theirs = prompts.observations[s.system[:, other], s.first[:, other] + s.length[:, other]]
    return _show(prompts, config, replace(_at(prompts, prompts.systems, -1), x0=between(own, theirs, HALF)))


def synchronised(prompts: Prompts, config: TaskConfig, share: float = 1.0) -> Prompts:
    """Every system's next state is moved `share` of the way to the needle's, along an arc; at 1 the first resumed state
    singles out no system (facts 4.2: obs_i = U^(i-10) x with a common x)."""
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


def _equal_norm(prompts, config):
    _isometry(config)
    s, x0 = prompts.segments, prompts.systems.x0.clone()
    norm = x0[s.system[:, -1]].norm(dim=-1, keepdim=True)
    for i in range(prompts.count):
        if i != prompts.needle:
            own = x0[s.system[:, i]]
            x0[s.system[:, i]] = own * norm / own.norm(dim=-1, keepdim=True)
    return _again(prompts, config, replace(prompts.systems, x0=x0))


def _opposite(prompts, config):
    return _neighbour(prompts, config, lambda needle, own: -needle)


def similar(prompts: Prompts, config: TaskConfig, share: float = HALF) -> Prompts:
    """The map of the next system in the cycle becomes the orthogonal one nearest to share * needle's + (1 - share) *
    its own (half way by distance where both turn the same way; a rotation and a reflection have no way between
    them).
    """
    check("share", 0 <= share <= 1, "0 to 1", share)

    def mixed(needle, own):
        U, _, V = torch.linalg.svd((share * needle + (1 - share) * own).double())
        return (U @ V).to(own.dtype)

    return _neighbour(prompts, config, mixed)


def _late_start(prompts, config):
    """Every system is shown from as late as the plain query ends: no state of the plain prompt is repeated."""
    _isometry(config)
    late = int((prompts.segments.first[:, -1] + prompts.segments.length[:, -1])[0])
    longer = dynamics.rollout(prompts.systems, late + prompts.observations.shape[1])
    return edit(replace(prompts, observations=longer), config, first=prompts.segments.first + late)


def between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """[B, n] share of the way from a to b: directions along the great circle, norms in proportion."""
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v = a / norm_a, b / norm_b
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    weight = lambda part: torch.where(angle > 1e-4, torch.sin(part * angle) / torch.sin(angle).clamp(min=1e-12), part)
    way = weight(1 - share) * u + weight(share) * v
    return way / way.norm(dim=-1, keepdim=True) * ((1 - share) * norm_a + share * norm_b)


def _several(prompts):
    check("systems", prompts.count >= 2, "at least 2 for this intervention", prompts.count)


def _isometry(config):
    check("family", config.family in ISOMETRIES, f"one of {', '.join(ISOMETRIES)} for this intervention", config.family)


def _arcs(config):
    _isometry(config)
    check(
        "dimension",
        config.dimension >= 2,
        "at least 2 for this intervention: on a line there is no way between opposites",
        config.dimension,
    )


def _label(prompts, config, query: Tensor):
    """The query shows other labels [B]."""
    label = prompts.segments.label.clone()
    label[:, -1] = query
    return edit(prompts, config, label=label)


def unused(prompts, config) -> Tensor:
    """[B] a label that the prompt does not hold: the next one after the needle's."""
    check(
        "labels",
        config.labels > prompts.count,
        f"more than systems ({prompts.count}): every label is used",
        config.labels,
    )
    order = (
        prompts.segments.label[:, -1:] + torch.arange(1, config.labels, device=prompts.tokens.device)
    ) % config.labels
    used = (order.unsqueeze(2) == prompts.segments.label.unsqueeze(1)).any(2)  # [B, L - 1]
    return order.gather(1, used.long().argmin(1, keepdim=True)).squeeze(1)


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


def _at(prompts, systems: Systems, segment: int) -> Systems:
    """The B systems of one segment."""
    index = prompts.segments.system[:, segment]
    return replace(
        systems, **{name: value[index] for name, value in vars(systems).items() if isinstance(value, Tensor)}
    )


def _show(prompts, config, shown: Systems, generator=None):
    """The query goes through B other systems, from their first states."""
    B, steps = len(prompts.tokens), prompts.observations.shape[1]
    s = prompts.segments
    system, first = s.system.clone(), s.first.clone()
    system[:, -1] = len(prompts.observations) + torch.arange(B, device=system.device)
    first[:, -1] = 0
    both = {
        name: torch.cat([value, getattr(shown, name)])
        for name, value in vars(prompts.systems).items()
        if isinstance(value, Tensor)
    }
    observations = torch.cat([prompts.observations, dynamics.rollout(shown, steps, generator)])
    return edit(
        replace(prompts, observations=observations, systems=replace(prompts.systems, **both)),
        config,
        system=system,
        first=first,
    )


def _again(prompts, config, systems: Systems):
    """The same records with other systems in their places."""
    observations = dynamics.rollout(systems, prompts.observations.shape[1])
    return edit(replace(prompts, systems=systems, observations=observations), config)


def _neighbour(prompts, config, change: Callable[[Tensor, Tensor], Tensor]):
    """The map of the next system in the cycle is replaced: change(needle's, its own)."""
    _several(prompts), _isometry(config)
    A, index = prompts.systems.A.clone(), prompts.segments.system
    A[index[:, named_segment(prompts)]] = change(A[index[:, -1]], A[index[:, named_segment(prompts)]])
    return _again(prompts, config, replace(prompts.systems, A=A))


ANY, TWO, SPARE = "any prompt", "prompts of at least 2 systems", "prompts of fewer systems than labels"
SAME, EXACT, WRONG = "as plain", "k = 1 open, exact from k = 2", "the other system's states at every k"
MOVED = "families haar, rotations and identity"

INTERVENTIONS = {
    each.name: each
    for each in (
        Intervention(
            "plain", "Does the model recall the labelled system and go on?", "exact at every k", EXACT, ANY, _plain
        ),
        Intervention(
            "misdirected",
            "The query shows another seen system's label, then the needle's own states: does label or state steer?",
            WRONG,
            EXACT,
            TWO,
            _misdirected,
        ),
        Intervention(
            "unseen-label",
            "The query shows a label that the prompt does not hold, then the needle's states: is a known label needed?",
            "as a new system",
            EXACT,
            SPARE,
            _unseen_label,
        ),
        Intervention(
            "new-system",
            "A new system comes under the needle's label: does the label override what is seen?",
            "the needle's states at every k",
            "as a new system",
            ANY,
            _new_system,
        ),
        Intervention(
            "restart",
            "A new system under a new label: does the model begin afresh in the middle of a prompt?",
            "as a new system",
            "as a new system",
            SPARE,
            _restart,
        ),
        Intervention(
            "one-label",
            "All segments show the needle's label: what is left without names?",
            "one of the candidates, or their mixture",
            "exact from k = 2, for who tells systems apart without names",
            TWO,
            _one_label,
        ),
        Intervention(
            "louder-label",
            "The query's label has twice its amplitude: does a heavier label steer more?",
            SAME,
            SAME,
            ANY,
            _louder_label,
        ),
        Intervention(
            "repeated-label",
            "The query's label opens and closes once more before the query: does a second showing help?",
            SAME,
            SAME,
            ANY,
            _repeated_label,
        ),
        Intervention(
            "broken-adjacency",
            "An empty segment of another label stands before the query: is recall of the nearest segment only a "
            "habit of close and open?",
            SAME,
            SAME,
            TWO,
            _broken_adjacency,
        ),
        Intervention("no-close", "The last close label is missing: is it needed?", SAME, SAME, ANY, _no_close),
        Intervention(
            "no-labels",
            "The nearest segment just goes on, without labels: what do labels cost?",
            "exact at every k",
            "exact at every k",
            "prompts whose needle is the nearest segment",
            _no_labels,
        ),
        Intervention(
            "norm-swap",
            "The query's states get the norm of another system: does the norm pick the needle?",
            "the needle's map; off by the length at k = 1",
            "as a new system; the other system's states, if matched by norm",
            f"{TWO}; {MOVED}",
            _norm_swap,
        ),
        Intervention(
            "halfway",
            "The first resumed state lies half way to where another system would be, in direction and norm: which "
            "map is applied to it?",
            "the needle's map; half way off at k = 1",
            "as a new system; a mixture, if matched softly",
            f"{TWO}; {MOVED}",
            _halfway,
        ),
        Intervention(
            "synchronised",
            "All systems would come to the same next state: what is left when the first observation singles out none?",
            "exact at every k",
            "candidates' mixture at k = 2, exact from k = 3",
            f"{TWO}; {MOVED}",
            synchronised,
        ),
        Intervention(
            "half-synchronised",
            "All next states are moved half way to the needle's: does 2-after-query dissolve gradually?",
            "exact at every k",
            f"{EXACT} but for near ties",
            f"{TWO}; {MOVED}",
            lambda prompts, config: synchronised(prompts, config, HALF),
        ),
        Intervention(
            "equal-norm",
            "All states have the needle's norm: how much of the matching was by norm?",
            SAME,
            EXACT,
            MOVED,
            _equal_norm,
        ),
        Intervention(
            "opposite",
            "Another system's map is the needle's, negated: are maps told apart that span the same directions?",
            SAME,
            EXACT,
            f"{TWO}; {MOVED}",
            _opposite,
        ),
        Intervention(
            "similar-maps",
            "Another system's map lies half way to the needle's: is the needle confused with its like?",
            SAME,
            EXACT,
            f"{TWO}; {MOVED}",
            similar,
        ),
        Intervention(
            "late-start",
            "Every system is shown from a later time: does the time at which a system started matter?",
            SAME,
            SAME,
            MOVED,
            _late_start,
        ),
    )
}


def apply(name: str, prompts: Prompts, config: TaskConfig) -> Prompts:
    """The edited prompts; ValueError for an unknown name or prompts the edit cannot be made on."""
    check("intervention", name in INTERVENTIONS, f"one of {', '.join(INTERVENTIONS)}", name)
    return INTERVENTIONS[name].apply(prompts, config)
