"""Every promise of the page "What you can rely on" names a test that exists."""

import ast
import re

from recall.book.stamp import ROOT

PAGE = ROOT / "chapters" / "rely_on.md"


def test_promises_name_their_tests():
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 20
    for file, test in named:
        functions = {
            each.name for each in ast.parse((ROOT / file).read_text(encoding="utf-8")).body if hasattr(each, "name")
        }
        assert test in functions, f"{PAGE.name} names {file}::{test}, which is not there"


def test_every_promise_has_one_or_says_that_there_is_none():
    promises = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(promises) > 12
    assert all("`tests/" in line or "No promise is made" in line for line in promises)
