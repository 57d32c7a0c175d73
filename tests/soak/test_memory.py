"""A widget that plays training for ten minutes: its page holds no more at the end than after the first."""

import time

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.soak]

MINUTES = 10
GROWTH, BYTES = 1.1, 2_000_000  # a tenth, and what counters and compiled code come to


def held(session):
    """Bytes of the script's heap and nodes of the page, once rubbish is collected."""
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    return used, session.send("Memory.getDOMCounters")["nodes"]


def test_ten_minutes_of_training_played_leave_memory_flat(chromium, address, case):
    context = chromium.new_context()
    tab = context.new_page()
    problems = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(f"{address}chapters/09_playground.html")
    tab.wait_for_selector(".recall-play[data-state=first]")
    session, seen = context.new_cdp_session(tab), []
    begun = time.monotonic()
    for minute in range(1, MINUTES + 1):
        with case(f"minute {minute}"):
            while time.monotonic() < begun + 60 * minute:
                play = tab.get_by_role("button", name="play training")
                if play.count():
                    play.first.click()
                tab.wait_for_timeout(500)
            seen.append(held(session))
            (used, nodes), (first, first_nodes) = seen[-1], seen[0]
            assert used <= GROWTH * first + BYTES, f"{used:,} bytes, {first:,} after a minute"
            assert nodes <= GROWTH * first_nodes + 500, f"{nodes:,} nodes, {first_nodes:,} after a minute"
            assert not problems, problems
    context.close()
