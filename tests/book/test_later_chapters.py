"""The chapters on when, which way, in the weights, in language and on claims, executed with other parameters, show what
those parameters say."""

from dataclasses import replace
from html import unescape

import nbformat
import pytest
from notebooks import CHANGED, SOURCES, figures, options, outputs, printed, starts, tables, widgets

from recall import measures, runs, training
from recall.book.__main__ import execute
from recall.evaluation import EvaluationConfig
from recall.figures import table_html
from recall.language import pretrain
from recall.language.prompts import CONDITIONS
from recall.prose import verdicts
from recall.settings import preset, vary
from recall.studies import claims
from recall.studies.weights import findings

pytestmark = pytest.mark.standard


@pytest.mark.parametrize("name", [name for name in CHANGED if "05" <= name != "index"])
def test_runs_with_changed_parameters(executed, name):
    cells = executed(name).cells
    injected = next(cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert all(f"{key} = {value}" in injected.source.replace('"', "") for key, value in CHANGED[name].items())


def test_atlas_chapter_starts_where_it_is_told(executed):
    shown = starts(figures(executed("05_when"))[0])
    assert (shown["dimension"], shown["systems"], shown["threshold"]) == (3, 4, 0.5)


def test_edited_prompt_is_the_one_asked_for(executed):
    text = printed(executed("06_which_way"))
    plain, edited = (prompt.split() for prompt in text.removeprefix("plain:").split("broken-adjacency:"))
    letters = {token[0] for token in plain if token[1:].isdigit()}
    assert plain[0] == edited[0] == "start" and len(edited) == len(plain) + 2 and letters >= set("abcd")


def test_circuits_chapter_at_another_dimension(executed):
    """The committed models of that dimension are drawn; n = 4 has none, and says so."""
    names = {words for spec in figures(executed("07_in_the_weights")) for words in options(spec, "model")}
    assert names and all("n = 2" in words for words in names)
    with pytest.raises(ValueError, match="dimension must be one of 2, 3, 5"):
        findings.shown(dimension=4)


def test_circuits_chapter_takes_a_run_apart(tmp_path, monkeypatch):
    """A run of another dimension, head count and depth, by its folder: every table and figure is that model's."""
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)
    plain = replace(
        preset("fast-0", 4, 3, seed=3, steps=20, batch_size=4, evaluate_every=10),
        evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3),
    )
    config = vary(plain, "custom", model=dict(n_layer=2, n_head=2, n_embd=16, zero_init=False))
    run = training.train(config, tmp_path / config.name)
    execute(SOURCES["07_in_the_weights"], tmp_path / "taken.ipynb", dict(run=str(run.folder), haystacks=3, steps=3))
    notebook = nbformat.read(tmp_path / "taken.ipynb", 4)
    graph, _, _, over_training, _ = figures(notebook)
    assert options(graph, "model") == [f"{measures.kind(run)}, n = 4, seed 3"]
    assert options(over_training, "step") == [20]
    writers = {row["writer"] for data in graph["datasets"].values() for row in data if "writer" in row}
    assert {"h.1.attn.1", "h.1.mlp"} <= writers
    assert not any(name.startswith(("h.2", "h.0.attn.2")) for name in writers)
    assert "1 of 1" in tables(notebook)[0] and "nan" not in " ".join(tables(notebook))


def test_language_chapter_prints_the_words_asked_for(executed):
    text = unescape(next(outputs(executed("08_in_language"), "text/html")))
    lexicon, _ = pretrain.recipe("words", 1)
    assert sum(f"{source} " in text for source in lexicon.sources) > 8 and "pair of the context" in text
    assert text.count("<code>") == len(CONDITIONS) + 3


def test_playground_chapter_starts_where_it_is_told(executed):
    (state,) = widgets(executed("09_playground"), "playground")
    run = next(each for each in state["catalogue"] if each["name"] == state["run"])
    assert (run["dimension"], run["labels"], state["systems"]) == (2, 8, 4)


def test_claims_chapter_takes_its_level(executed):
    html = table_html(verdicts.declared(claims.outcomes(runs.load_all("atlas"), 0.5)), "", words=True)
    assert html[html.index("<table") :] in tables(executed("10_claims"))
