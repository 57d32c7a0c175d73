"""What the tests of chapters share: with which other parameters each runs, and how to read what it put out."""

import json
import re

from recall.book.__main__ import chapters

SOURCES = {path.stem: path for path in chapters()}
CHANGED = {
    "index": dict(dimension=3, labels=4, systems=4),
    "01_task": dict(dimension=3, labels=2, seed=9),
    "02_predictors": dict(dimension=2, labels=2, haystacks=3, traces=4),
    "03_transformer": dict(dimension=2, labels=3, steps=12),
    "04_two_abilities": dict(dimension=4, labels=3, steps=25),
    "05_when": dict(dimension=3, systems=4),
    "06_which_way": dict(dimension=3, systems=4, intervention="broken-adjacency"),
    "07_in_the_weights": dict(dimension=2, model="between", corruption="whole-context"),
    "08_in_language": dict(words="words", under="names", seed=1),
    "09_playground": dict(dimension=2, labels=8, systems=4),
    "10_claims": dict(level=0.5),
}


def outputs(notebook, kind):
    """Texts of one kind, such as text/html."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {}).get(kind)
            if data:
                yield "".join(data)


def printed(notebook):
    return " ".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream")


def tables(notebook):
    """Every table of a chapter, without its caption."""
    found = (html for html in outputs(notebook, "text/html") if "<table" in html and "recall-explorer" not in html)
    return [html[html.index("<table") :] for html in found]


def embedded(notebook, mark):
    """Every JSON that the page's script will read from an element with this attribute."""
    return [
        json.loads(found)
        for html in outputs(notebook, "text/html")
        if mark in html
        for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
    ]


def figures(notebook):
    return embedded(notebook, 'class="recall-figure"')


def widgets(notebook, name):
    return embedded(notebook, f'data-widget="{name}"')


def starts(spec):
    """What the lists of a figure show first."""
    return {each["name"].removeprefix("pick_"): each["value"] for each in spec["params"] if "value" in each}


def options(spec, name):
    return [value for each in spec["params"] if each["name"] == f"pick_{name}" for value in each["bind"]["options"]]


def rows(spec):
    """Rows of each of a figure's data."""
    return sorted(len(data) for data in spec["datasets"].values())
