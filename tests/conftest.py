"""What several files of tests share: one thread, and the built book in a real browser."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from recall.book.__main__ import ROOT

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


@pytest.fixture(autouse=True)
def one_thread():
    """What committed runs use, and what keeps small tensors fast."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "jupyter-book"),
            "build",
            str(ROOT),
            "-W",
            "--keep-going",
            "--path-output",
            str(out),
        ],
        capture_output=True,
        text=True,
    )
    html = out / "_build" / "html"
    assert done.returncode == 0 and (html / "index.html").exists(), done.stdout[-3000:] + done.stderr[-3000:]
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
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda e: problems.append(str(e)))
        tab.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        tab.on(
            "request",
            lambda r: None if r.url.startswith((base, "data:", "blob:")) else problems.append(f"outside: {r.url}"),
        )
        tab.goto(f"{base}chapters/{page}.html{fragment}")
        tab.wait_for_function(
            "[...document.querySelectorAll('.recall-canvas')].every(c => c.closest('figure').dataset.state)"
            " && [...document.querySelectorAll('.recall-explorer')].every(e => e.querySelector('.recall-trace, "
            ".recall-play'))"
        )
        return tab

    yield go
    for context in contexts:
        context.close()
    from_folder = any(p.startswith("failed: file:") for p in problems)
    problems = [p for p in problems if not (from_folder and icon_font(p))]
    assert not problems, problems


def icon_font(problem):
    """A browser refuses fonts to a page opened from a folder; the theme draws the same icons with its script."""
    return "fontawesome" in problem or problem == "Failed to load resource: net::ERR_FAILED"
