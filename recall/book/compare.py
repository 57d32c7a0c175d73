"""Compare two folders of executed chapters: python -m recall.book.compare BEFORE AFTER

Chapters say the same if their words are equal, whole numbers too, and other numbers lie within one unit of the last
digit shown (of the sixth, if more are shown): what another processor's rounding may change.  Of a cell tagged `live`,
which trains a model or shows one just trained, the words and the places of numbers are compared.
"""

from __future__ import annotations

import argparse
import re
import sys
from decimal import Decimal
from pathlib import Path

import nbformat

NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
HASHED = re.compile(r"data-[0-9a-f]{32}")  # Altair names data after its digest
DIGITS = 6  # more are shown in what the page's script reads; no prediction in single precision is sure of them
AROUND = 60  # characters shown on either side of a difference


def said(cell) -> list[str]:
    """The texts of a cell's outputs."""
    texts = []
    for output in cell.get("outputs", []):
        data = {output.name: output.text} if output.output_type == "stream" else output.get("data", {})
        texts += [f"{kind}: {text}" for kind, text in sorted(data.items())]
    # data within a figure's JSON hold their lines' ends as a backslash and an n
    return [HASHED.sub("data", text.replace("\\n", "\n")) for text in texts]


def same(one: str, other: str) -> bool:
    """Whether two numbers, as they are written, say the same."""
    a, b = (Decimal(number.replace(",", "").replace("−", "-")) for number in (one, other))
    if not re.search("[.e]", one + other):
        return a == b
    unit = Decimal(1).scaleb(min(each.as_tuple().exponent for each in (a, b)))
    size = max(abs(a), abs(b)) if "e" in one + other else max(abs(a), abs(b), Decimal(1))
    return abs(a - b) <= max(unit, size.scaleb(-DIGITS))


def difference(one: str, other: str, live: bool = False) -> tuple[str, str] | None:
    """What two texts say differently, each with its surroundings; None if they say the same."""
    found, found_other = list(NUMBER.finditer(one)), list(NUMBER.finditer(other))
    words, words_other = NUMBER.split(one), NUMBER.split(other)
    for i, (word, word_other) in enumerate(zip(words, words_other)):
        start = found[i - 1].end() if i else 0
        start_other = found_other[i - 1].end() if i else 0
        if word != word_other:
            at = next((j for j, (a, b) in enumerate(zip(word, word_other)) if a != b), min(len(word), len(word_other)))
            return around(one, start + at), around(other, start_other + at)
        if i < min(len(found), len(found_other)) and not live and not same(found[i][0], found_other[i][0]):
            return around(one, found[i].start()), around(other, found_other[i].start())
    if len(found) != len(found_other):  # one text ends where the other goes on with a number
        return around(one, len(one)), around(other, len(other))
    return None


def around(text: str, at: int) -> str:
    return text[max(0, at - AROUND) : at + AROUND].replace("\n", " ")


def differences(before: Path, after: Path) -> list[str]:
    """Each cell that says something else, with both texts."""
    cells, cells_after = (
        [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"] for path in (before, after)
    )
    if len(cells) != len(cells_after):
        return [f"{len(cells)} code cells before, {len(cells_after)} after"]
    found = []
    for cell, cell_after in zip(cells, cells_after):
        texts, texts_after = said(cell), said(cell_after)
        live = any("live" in each.metadata.get("tags", []) for each in (cell, cell_after))
        if len(texts) != len(texts_after):
            found.append(f"{cell.id}: {len(texts)} outputs before, {len(texts_after)} after")
            continue
        for text, text_after in zip(texts, texts_after):
            if differs := difference(text, text_after, live):
                found.append(f"{cell.id}: before: …{differs[0]}…\n    {cell.id}: after:  …{differs[1]}…")
    return found


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m recall.book.compare", description=__doc__.splitlines()[0])
    options.add_argument("before", type=Path)
    options.add_argument("after", type=Path)
    given = options.parse_args(arguments)
    names = sorted({path.name for folder in (given.before, given.after) for path in folder.glob("*.ipynb")})
    if not names:
        print(f"recall.book.compare: before must be a folder of chapters: {given.before}", file=sys.stderr)
        return 2
    failed = False
    for name in names:
        before, after = given.before / name, given.after / name
        missing = [str(path) for path in (before, after) if not path.exists()]
        found = [f"{path} is missing" for path in missing] or differences(before, after)
        print("\n    ".join([f"{Path(name).stem}: {'differs' if found else 'the same'}", *found]))
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
