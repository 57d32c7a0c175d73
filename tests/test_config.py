"""How a configuration is declared: one-line errors, JSON there and back, fields that came later."""

import json
from dataclasses import dataclass

import pytest

from recall import runs
from recall.config import from_json, later, require, to_json


@dataclass(frozen=True)
class Part:
    size: int = 1
    rates: tuple[int, ...] = (1, 2)

    def __post_init__(self):
        require(self, size=(self.size >= 1, "at least 1"))


@dataclass(frozen=True)
class Whole:
    part: Part
    share: float
    name: str = "x"
    least: int | None = None
    # as a developer adds one
    extra: float = later(0.5)


WHOLE = Whole(Part(3, (4, 5)), 0.25)


def test_there_and_back_through_json():
    values = to_json(WHOLE)
    assert values == dict(part=dict(size=3, rates=[4, 5]), share=0.25, name="x", least=None)
    assert from_json(json.loads(json.dumps(values)), Whole) == WHOLE
    assert from_json(values | {"share": 1}, Whole).share == 1.0  # a whole number is a float too


def test_a_field_added_later_renames_nothing_until_it_is_used():
    used = Whole(Part(), 0.25, extra=0.75)
    assert "extra" not in to_json(WHOLE) and to_json(used)["extra"] == 0.75
    assert from_json(to_json(WHOLE), Whole).extra == 0.5 and from_json(to_json(used), Whole) == used
    before = {key: value for key, value in to_json(WHOLE).items() if key != "extra"}  # a file from before the field
    assert runs.hash8(before) == runs.hash8(to_json(from_json(before, Whole))) != runs.hash8(to_json(used))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(colour=1), "colour must be left out (fields: part, share, name, least, extra), not 1"),
        (dict(share="much"), "share must be of type float, not 'much'"),
        (dict(name=3), "name must be of type str, not 3"),
        (dict(least="x"), "least must be of type int | None, not 'x'"),
        (dict(part=3), "part must be an object, not 3"),
        (dict(part=dict(size=True)), "part.size must be of type int, not True"),
        (dict(part=dict(size=0)), "size must be at least 1, not 0"),
        (dict(part=dict(rates=[1.5])), "part.rates must be a list of whole numbers, not [1.5]"),
    ],
)
def test_a_bad_value_is_one_line_with_field_range_and_value(change, message):
    with pytest.raises(ValueError) as error:
        from_json(to_json(WHOLE) | change, Whole)
    assert str(error.value) == message


def test_a_missing_value_is_named():
    with pytest.raises(ValueError, match="^share must be given, not None$"):
        from_json({"part": {}}, Whole)
