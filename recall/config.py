"""How a configuration is declared, checked, written as JSON and read back.

A configuration is a frozen dataclass.  Its `__post_init__` says in one line a field what the field may be (`require`),
so that a bad value gives one line with the field, its range and the value.

**To add a field**, declare it with `later(default)`, the default being what runs did before there was the field, and
give it a line in `require`:

    state_noise: float = later(0.0)

A run is named after a hash of its JSON.  `to_json` leaves out a `later` field while it is at its default, so every
committed run keeps its name and `from_json` reads every committed file; a run that uses the field gets a name of its
own.  A field that was there from the start is always written.  Never change a default, in either kind.
"""

from __future__ import annotations

from dataclasses import MISSING, field, fields, is_dataclass
from typing import get_type_hints


def later(default):
    """A field that was added when runs had been committed: see above."""
    return field(default=default, metadata={"later": True})


def check(field: str, ok: bool, allowed: str, value) -> None:
    """Raise the one-line ValueError for a bad value: the field, what it may be, what it was."""
    if not ok:
        raise ValueError(f"{field} must be {allowed}, not {value!r}")


def require(config, **rules: tuple[bool, str]) -> None:
    """`check` of a configuration's own fields, in order: require(self, steps=(self.steps >= 1, "at least 1"))."""
    for name, (ok, allowed) in rules.items():
        check(name, ok, allowed, getattr(config, name))


def counted(value: int, least: int = 1, most: int = 10**9) -> tuple[bool, str]:
    """The rule of a number of things; the upper end is far beyond what any machine holds."""
    return least <= value <= most, f"at least {least}" if value < least else f"at most {most}"


def to_json(config) -> dict:
    """Nested dictionary of plain JSON values."""
    values = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if each.metadata.get("later") and value == each.default:
            continue
        if is_dataclass(value):
            value = to_json(value)
        values[each.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_json(values: dict, cls, where: str = ""):
    """The `cls` back from its `to_json`; ValueError names an unknown, missing or mistyped field.

    where: what stands before a field's name in that line, such as `task.`.
    """
    hints = get_type_hints(cls)
    check(where.rstrip(".") or "config", isinstance(values, dict), "an object", values)
    for name in values:
        check(f"{where}{name}", name in hints, f"left out (fields: {', '.join(hints)})", values[name])
    for each in fields(cls):
        check(f"{where}{each.name}", each.name in values or each.default is not MISSING, "given", None)
    return cls(**{name: _typed(value, hints[name], f"{where}{name}") for name, value in values.items()})


def _typed(value, hint, name: str):
    if is_dataclass(hint):
        return from_json(value, hint, f"{name}.")
    if hint == tuple[int, ...]:
        check(name, isinstance(value, list) and all(type(v) is int for v in value), "a list of whole numbers", value)
        return tuple(value)
    if hint is float and type(value) is int:
        check(name, abs(value) < 1e300, "a number below 1e300", value)
        return float(value)
    whole = not (hint is int and type(value) is bool)
    check(name, isinstance(value, hint) and whole, f"of type {getattr(hint, '__name__', hint)}", value)
    return value
