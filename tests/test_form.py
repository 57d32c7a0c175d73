"""The form of the tree: lines, encodings, and who imports whom."""

import ast
import multiprocessing
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for folder in ("recall", "tests", "benchmarks", "chapters") for path in (ROOT / folder).rglob("*.py")
)
CORE = """systems ambient config task needle predictors interventions model
muon settings training evaluation data runs sweep progress""".split()
LINE, FLOORS = 120, 10


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    """recall/studies/claims.py → recall.studies.claims, recall/book/__init__.py → recall.book"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES if path.is_relative_to(ROOT / "recall")}


def executed(node):
    """All that is in a syntax tree but for what is there for types only."""
    yield node
    for each in ast.iter_child_nodes(node):
        if not (isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"):
            yield from executed(each)


@cache
def imported(module):
    """Names of all modules that a module of recall imports, also inside its functions; of a package and what it holds,
    what it holds."""
    found = set()
    for node in executed(tree(MODULES[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found


def floors():
    """1 for a module that imports nothing of recall, else one more than the highest of those it imports; CycleError if
    there is a circle."""
    graph = {name: imported(name) & MODULES.keys() for name in MODULES}
    found = {}
    for name in TopologicalSorter(graph).static_order():
        found[name] = 1 + max((found[each] for each in graph[name]), default=0)
    return found


def reached(module):
    """All that comes with a module: what it imports, what those import, and the packages they are in."""
    seen, due = set(), [module]
    while due:
        name = due.pop()
        if name not in seen:
            seen.add(name)
            due += [".".join(name.split(".")[: i + 1]) for i in range(name.count("."))]
            due += imported(name) if name in MODULES else ()
    return seen


def test_no_line_is_too_long():
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE
    ]
    assert not long


def lacks_encoding(call):
    """Whether a call reads or writes text in the encoding of whatever machine it runs on."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    if "encoding" in given:
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name == "open" and owner != "os":
        places = call.args[1:] if not owner or owner in ("gzip", "io") else call.args
        mode = ast.literal_eval(
            given.get("mode", places[0] if places else ast.Constant("rb" if owner == "gzip" else "r"))
        )
        return "t" in mode if owner == "gzip" else "b" not in mode
    return any(getattr(given.get(text), "value", False) is True for text in ("text", "universal_newlines"))


@pytest.mark.parametrize(
    "line, lacks",
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(words)", True),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("open(path, 'rb')", False),
        ("path.open('w')", True),
        ("gzip.open(path)", False),
        ("gzip.open(path, 'rt')", True),
        ("os.open(path, flags)", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
    ],
)
def test_encodings_are_looked_for(line, lacks):
    assert lacks_encoding(ast.parse(line, mode="eval").body) == lacks


def test_every_text_has_an_encoding():
    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and lacks_encoding(node)
    ]
    assert not missing


def test_core_imports_nothing_of_the_rest():
    core = {f"recall.{name}" for name in CORE}
    strangers = {name: imported(name) & MODULES.keys() - core - {"recall"} for name in core}
    assert not {name: found for name, found in strangers.items() if found}


def test_imports_have_no_circle_and_few_floors():
    high = {name: floor for name, floor in floors().items() if floor > FLOORS}
    assert not high


def test_charts_draw_without_torch():
    charts = [name for name in MODULES if name == "recall.figures" or name.endswith(".charts")]
    assert len(charts) > 4
    assert not [name for name in charts if any(each.split(".")[0] == "torch" for each in reached(name))]


def test_sentences_are_made_in_one_place_only():
    users = {name for name in MODULES if any(each.startswith("recall.prose") for each in imported(name))}
    assert {name for name in users if not name.startswith("recall.prose")} <= {"recall.__main__"}


def test_quick_layer_reads_no_data_and_starts_no_process():
    """What conftest.py sees to: this test is a quick one."""
    with pytest.raises(AssertionError, match="reads data/"):
        (ROOT / "data" / "playground.json").read_bytes()
    with pytest.raises(AssertionError, match="starts a process"):
        subprocess.run([sys.executable, "-c", ""])
    with pytest.raises(AssertionError, match="starts a process"):
        multiprocessing.get_context("spawn").Process(target=print).start()
