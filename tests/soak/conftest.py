"""One line per soak test: how many cases, how many failed, how long it took.

A test counts its cases with the fixture `case`:  with case("what it is"): …  A case that fails is taken down and the
next one is tried; the test fails at its end with the first of them.
"""

import time
from contextlib import contextmanager

import pytest

from recall.explorer import page

SHOWN = 3  # failed cases that are printed


class Cases:
    def __init__(self):
        self.count, self.failed = 0, []

    @contextmanager
    def __call__(self, what):
        self.count += 1
        try:
            yield
        except Exception as error:
            self.failed.append(f"{what}: {type(error).__name__}: {error}")


@pytest.fixture
def case(record_property):
    cases, begun = Cases(), time.monotonic()
    yield cases
    record_property("soak", (cases.count, len(cases.failed), time.monotonic() - begun))
    assert cases.count and not cases.failed, "\n".join(cases.failed[:SHOWN])


@pytest.fixture(scope="session")
def models():
    return page.listed()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    reports = [
        report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "user_properties")
    ]
    found = {report.nodeid: value for report in reports for name, value in report.user_properties if name == "soak"}
    for test, (count, failed, seconds) in sorted(found.items()):
        name = test.split("::")[1]
        terminalreporter.write_line(f"{name:68} {count:6} cases {failed:4} failures {seconds:6.0f} s")
