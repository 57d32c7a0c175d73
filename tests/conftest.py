"""What the tests share: four layers, one thread, and the built book in a real browser.

quick       no mark: core, stats and studies on cases made in the test.  It opens nothing under data/ and starts no
            process (a test that does fails here), draws no page, executes no chapter.  `make quick`, within a minute.
standard    `pytest.mark.standard`: one of each expensive kind.  What reads data/, a run that is killed and goes on, a
            sweep, Dask, JupyterLab; every chapter with other parameters, every page drawn, every control moved once; of
            each chapter one table recomputed from weights, and its stamp.  `make test`, with quick, within ten minutes.
nightly     `pytest.mark.nightly`: everything recomputed from weights, all redraws and how long they take.
            `make nightly`.
soak        `pytest.mark.soak`, in tests/soak: kills, damaged files, odd input and random driving by the hundred, a line
            a test.  `make soak`, within twenty minutes.

Exact equality is for whole numbers, files, and twice on one machine.  Across machines a test compares with a tolerance
that it writes down, or tests a property; a time is compared with another time taken beside it.
"""

import functools
import http.server
import multiprocessing.process
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROCESS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "multiprocessing.Process")
LONGEST = (
    "test_memory.py",
    "test_kills.py",
    "test_parity.py",
    "test_sweep.py",
    "test_later_chapters.py",
    "test_playground.py",
    "test_first_chapters.py",
)
quick = set()  # the quick test that runs, if one does


def pytest_collection_modifyitems(items):
    """Files that take minutes begin first, so that two processes end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_configure(config):
    sys.addaudithook(keep_quick)
    start = multiprocessing.process.BaseProcess.start

    def audited(process):  # one that is spawned raises no event of its own
        sys.audit("multiprocessing.Process")
        start(process)

    multiprocessing.process.BaseProcess.start = audited


def keep_quick(event, arguments):
    """What makes a quick test fail at the place where it is not quick."""
    if not quick:
        return
    (test,) = quick
    if event == "open" and isinstance(arguments[0], str) and os.path.abspath(arguments[0]).startswith(f"{ROOT}/data/"):
        raise AssertionError(f"{test} opens {arguments[0]}: a test that reads data/ is marked standard or nightly")
    if event in PROCESS:
        raise AssertionError(f"{test} starts a process: a test that does is marked standard or nightly")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not any(item.get_closest_marker(mark) for mark in ("standard", "nightly", "soak")):
        quick.add(item.nodeid)
    try:
        return (yield)
    finally:
        quick.clear()


@pytest.fixture(autouse=True)
def one_thread():
    """What committed runs use, and what keeps small tensors fast."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder of the session that all its processes see."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def book(shared):
    """Folder of the book's pages, built once for all processes of a session."""
    html = shared / "book" / "_build" / "html"
    with FileLock(shared / "book.lock"):
        if not html.exists():
            builder = Path(sys.executable).parent / "jupyter-book"
            command = [builder, "build", ROOT, "-W", "--keep-going", "--path-output", shared / "book"]
            done = subprocess.run(map(str, command), capture_output=True, text=True, encoding="utf-8")
            said = done.stdout[-3000:] + done.stderr[-3000:]
            assert done.returncode == 0 and (html / "index.html").exists(), said
    return html


@pytest.fixture(scope="session")
def chromium():
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: `make test` installs Debian's where it may (apt-get install chromium)")
        pytest.skip("no Chromium found (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(book):
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def visit(chromium, address):
    """Open a page; afterwards no console error, failed request or request outside the book may have happened."""
    contexts, problems = [], []

    def go(page, width=1280, scheme="light", base=address, fragment=""):
        screen = {"width": width, "height": 900}
        context = chromium.new_context(viewport=screen, color_scheme=scheme, reduced_motion="reduce")
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda e: problems.append(str(e)))
        tab.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        tab.on("request", lambda r: None if inside(r.url, base) else problems.append(f"outside: {r.url}"))
        tab.goto(f"{base}chapters/{page}.html{fragment}")
        tab.wait_for_function(DRAWN)
        return tab

    yield go
    for context in contexts:
        context.close()
    from_folder = any(p.startswith("failed: file:") for p in problems)
    problems = [p for p in problems if not (from_folder and icon_font(p))]
    assert not problems, problems


DRAWN = """[...document.querySelectorAll('.recall-canvas')].every(c => c.closest('figure').dataset.state)
    && [...document.querySelectorAll('.recall-explorer')].every(e => e.querySelector('.recall-trace, .recall-play'))"""


def inside(url, base):
    return url.startswith((base, "data:", "blob:"))


def icon_font(problem):
    """A browser refuses fonts to a page opened from a folder; the theme draws the same icons with its script."""
    return "fontawesome" in problem or problem == "Failed to load resource: net::ERR_FAILED"
