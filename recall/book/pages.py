"""Sphinx extension: the book serves every script it needs itself, and only to the pages that need it.

Jupyter Book 1 loads MathJax, Vega and the widget manager from other hosts and puts a file found in `_static/` on every
page.  This extension writes them, from Python packages of the lock file, into a folder of the build and adds the
right ones page by page.  With it a book needs no network, neither to build nor to read.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from recall import explorer
from recall.explorer import page
from recall.runs import write_atomically

HERE = Path(__file__).parent
UNWANTED = ("thebe", "THEBE")  # scripts of the theme for a kernel service: unused, and declared twice


def setup(app):
    app.connect("config-inited", _prepare, priority=900)
    app.connect("html-page-context", _page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _prepare(app, config):
    write_assets(Path(app.outdir) / "_static")  # not through html_static_path: it skips excluded folders such as _build
    app.add_css_file("recall/page.css")
    config.mathjax_path = "recall/mathjax/tex-svg.js"  # glyphs as paths: a page opened from a folder may not load fonts
    config.nb_ipywidgets_js = {}


def write_assets(folder: Path) -> None:
    """Everything the pages load, under `folder`/recall."""
    import vl_convert

    target = folder / "recall"
    target.mkdir(parents=True, exist_ok=True)
    # its top-level names clash with the underscore of other scripts: closed in, only vega and vegaEmbed get out
    vega = f"(() => {{{vl_convert.javascript_bundle()}\n}})();\n"
    (target / "vega.js").write_text(vega, encoding="utf-8")
    for name in ("page.js", "page.css"):
        shutil.copy(HERE / name, target / name)
    (target / "explorer.css").write_text(explorer.styles(), encoding="utf-8")
    for name in explorer.FILES:
        script = classic_script(name, explorer.module(name))
        (target / f"{name}.js").write_text(script, encoding="utf-8")
    for run in page.listed():
        for step in run.steps:
            write_atomically(target / "weights" / f"{run.name}-{step}.js", page.script(run, step).encode())
    mathjax = resources.files("mathjax") / "static" / "mathjax" / "es5"
    for part in ("tex-svg.js", "input/tex/extensions"):
        with resources.as_file(mathjax / part) as source:
            place = target / "mathjax" / part
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                shutil.copy(source, place)


def classic_script(name: str, module: str) -> str:
    """A widget's ES module as a classic script that sets window.recallWidgets[name]: a page opened from a folder
    (file://) may not import modules."""
    head, export, tail = module.rpartition("export default ")
    if not export:
        raise ValueError(f"{name}.js must end with an `export default`")
    return f"(() => {{\n{head}(window.recallWidgets ||= {{}}).{name} = {tail}\n}})();\n"


def _page(app, pagename, templatename, context, doctree):
    body = context.get("body", "")
    figures = 'class="recall-canvas"' in body
    widgets = [name for name in explorer.FILES if f'data-widget="{name}"' in body]
    if figures:
        app.add_js_file("recall/vega.js", loading_method="defer", priority=700)
    if widgets:
        app.add_css_file("recall/explorer.css")
    for name in widgets:
        app.add_js_file(f"recall/{name}.js", loading_method="defer", priority=701)
    if figures or widgets:
        app.add_js_file("recall/page.js", loading_method="defer", priority=702)
    scripts = context.get("script_files", [])
    scripts[:] = [s for s in scripts if not any(word in f"{s.filename} {s.attributes}" for word in UNWANTED)]
