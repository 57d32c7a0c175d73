"""The playground in a live JupyterLab: weights from the kernel, the page's numbers, controls in both directions."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from made_explorer import ask

pytestmark = [pytest.mark.browser, pytest.mark.standard]
CELL = """from recall.explorer import Explorer
explorer = Explorer(shown=1, seed=5)
# the page tells Python, Python tells the page
explorer.observe(lambda change: setattr(explorer, "shown", 2), "systems")
explorer"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "play.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "lab.log").open("w", encoding="utf-8")
    server = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "jupyter"),
            "lab",
            "--no-browser",
            "--allow-root",
            f"--port={port}",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api")
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail((folder / "lab.log").read_text(encoding="utf-8")[-2000:])
        yield address
    finally:
        server.terminate()
        server.wait(20)


def test_same_numbers_in_a_live_lab(chromium, lab, visit):
    page = visit("09_playground")
    page.wait_for_selector(".recall-play[data-state=first]")
    there = ask(page, whole=True, shown=1, seed=5)

    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{lab}/lab/tree/play.ipynb")
    tab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60000)
    tab.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=60000
    )
    tab.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    tab.wait_for_selector(".recall-play[data-state=ready]", timeout=60000)
    root = "document.querySelector('.recall-play')"
    assert tab.evaluate(f"{root}.answer().predictions") == there["predictions"]
    assert tab.evaluate(f"{root}.stats()") == there["stats"]

    systems = tab.locator(".recall-play input[name=systems]")
    systems.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function(
        f"{root}.recall.get('shown') === 2 && {root}.recall.get('systems') === 3 && {root}.dataset.state === 'ready'"
    )
    assert tab.locator(".recall-play input[data-name=shown]:checked").get_attribute("value") == "2"
    context.close()
