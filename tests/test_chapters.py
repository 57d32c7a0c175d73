"""Every chapter runs headless, as it is and with other parameters, and shows what those parameters say."""

import json
import re
from dataclasses import replace
from html import unescape
from io import StringIO

import nbformat
import pandas as pd
import pytest

from recall import data, measures, runs, training
from recall.book.__main__ import chapters, execute, main
from recall.evaluation import EvaluationConfig
from recall.explorer import page
from recall.figures import table_html
from recall.interventions import INTERVENTIONS
from recall.language import pretrain, results
from recall.language.prompts import CONDITIONS
from recall.prose import answers, as_if, verdicts
from recall.prose import claims as prose_claims
from recall.prose import cues as prose_cues
from recall.prose import degradation as prose_degradation
from recall.prose import tables as prose_tables
from recall.prose import ways as prose_ways
from recall.settings import preset, vary
from recall.studies import claims
from recall.studies.abilities import costs, tables
from recall.studies.weights import findings, shared
from recall.studies.when import degradation, factors, knockouts, published, timing
from recall.studies.which_way import as_if as which_way_as_if
from recall.studies.which_way import cues, edits, ways

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
SOURCES = {path.stem: path for path in chapters()}


def outputs(notebook, kind):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {}).get(kind)
            if data:
                yield "".join(data)


def embedded(notebook, css):
    """Every JSON that the page's script will read from elements of a class."""
    return [
        json.loads(found)
        for html in outputs(notebook, "text/html")
        if f'class="{css}"' in html
        for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
    ]


def rows(spec):
    return sorted(len(data) for data in spec["datasets"].values())


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapters")
    done = {}

    def run(name):
        if name not in done:
            execute(SOURCES[name], folder / f"{name}.ipynb", CHANGED[name])
            done[name] = nbformat.read(folder / f"{name}.ipynb", 4)
        return done[name]

    return run


def test_book_has_the_chapters():
    assert list(SOURCES) == list(CHANGED)


@pytest.mark.parametrize("name", SOURCES)
def test_committed_notebook_is_whole(name):
    notebook = nbformat.read(SOURCES[name], 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert all(cell.execution_count for cell in code), "execute it: make book"
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert SOURCES[name].stat().st_size < 1_000_000
    assert not re.search(r"\bdef \w+\(|\bclass \w+", "\n".join(cell.source for cell in code)), "chapters define nothing"
    assert "widgets" not in notebook.metadata and notebook.metadata.kernelspec.name == "python3"
    text = json.dumps([cell.get("outputs") for cell in code])
    assert "0x7f" not in text and not re.search(r"\d+(\.\d+)? ?s left", text), "an address or a timing is stored"


@pytest.mark.parametrize("name", SOURCES)
def test_runs_with_changed_parameters(executed, name):
    notebook = executed(name)
    injected = next(cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert all(f"{key} = {value}" in injected.source.replace('"', "") for key, value in CHANGED[name].items())


def test_task_chapter_draws_what_was_asked(executed):
    (state,) = embedded(executed("01_task"), "recall-explorer")
    assert (state["dimension"], state["labels"], state["seed"]) == (3, 2, 9)
    text = next(
        o.text for cell in executed("01_task").cells for o in cell.get("outputs", []) if o.output_type == "stream"
    )
    assert set(re.findall(r"\((\d)", text)) <= {"0", "1"} and text.startswith("start")


def test_predictor_chapter_has_every_curve(executed):
    theory, recalling = embedded(executed("02_predictors"), "recall-figure")
    assert rows(theory) == [sum(min(n + 3, max(10, n + 2)) for n in (2, 3, 5, 10))]
    assert rows(recalling) == [6 * 2 * 5]  # predictors, N in (1, 2), k in 1..5


def test_transformer_chapter_trains_for_real(executed):
    spec, _ = embedded(executed("03_transformer"), "recall-figure")
    assert rows(spec) == [2, 2 * 3]  # reference levels; evaluations at steps 0 and 12, k in 1..3
    markdown = " ".join(outputs(executed("03_transformer"), "text/markdown"))
    assert "trained 12 steps" in markdown and "had not emerged by step 12" in markdown


def test_two_abilities_chapter_trains_what_is_missing(executed):
    notebook = executed("04_two_abilities")
    text = " ".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    assert "no committed run at n = 4, 3 labels: training one now" in text
    curves = embedded(notebook, "recall-figure")[0]
    values = {p["name"]: p["value"] for p in curves["params"] if "value" in p}
    assert (values["pick_dimension"], values["pick_labels"], values["pick_setting"]) == (4, 3, "custom")


def test_live_training_of_the_committed_book_is_in_range():
    """Chapter 3 as committed: going on is learnt, and the curve is that of a training run."""
    spec, _ = embedded(nbformat.read(SOURCES["03_transformer"], 4), "recall-figure")
    history = max(spec["datasets"].values(), key=len)
    last = max(row["step"] for row in history)
    end = {row["ability"]: row["mean"] for row in history if row["step"] == last}
    start = {row["ability"]: row["mean"] for row in history if row["step"] == 0}
    assert last >= 1000 and all(0.7 < value < 4 for value in start.values())
    assert end["2-after-query"] < 0.25 and end["3-after-query"] < 0.2 and end["1-after-query"] < 1.1


def test_committed_chapter_shows_every_committed_run():
    notebook = nbformat.read(SOURCES["04_two_abilities"], 4)
    tables = [html for html in outputs(notebook, "text/html") if "<table" in html]
    assert any(html.count("<tr") == len(runs.names()) + 1 for html in tables)
    text = max(
        (data for data in embedded(notebook, "recall-figure")[0]["datasets"].values() if isinstance(data, str)), key=len
    )
    assert len(pd.read_csv(StringIO(text)).groupby(["dimension", "labels", "setting", "seed"])) == len(runs.names())


def test_committed_sentences_and_tables_are_those_of_the_committed_runs():
    """Every number in the prose of chapter 4, made again from data/."""
    notebook = nbformat.read(SOURCES["04_two_abilities"], 4)
    committed = runs.load_all()
    stored = list(outputs(notebook, "text/markdown"))
    distance = verdicts.distance(tables.distance(data.table("distance"), committed))
    assert stored == [verdicts.order(committed), verdicts.plateau(committed), distance, verdicts.kinds(committed)]
    printed = [html for html in outputs(notebook, "text/html") if "<table" in html and "recall-explorer" not in html]
    overview = tables.overview(committed)
    bodies = [table_html(prose_tables.plateau_table(committed), ""), table_html(overview, "", tables.formats(overview))]
    assert [html[html.index("<table") :] for html in printed] == [html[html.index("<table") :] for html in bodies]


def test_committed_prices_are_those_of_the_tables():
    """The figure, sentences and tables of what a recipe costs, made again from data/tables."""
    notebook = nbformat.read(SOURCES["03_transformer"], 4)
    fresh = data.table("fresh")
    prices = costs.price_table(fresh)
    assert verdicts.price(prices) in list(outputs(notebook, "text/markdown"))
    tables = [html[html.index("<table") :] for html in outputs(notebook, "text/html") if "<table" in html]
    adamw = data.table("adamw")
    screened = costs.price_table(pd.concat([data.table("search"), adamw[adamw.limit < 4e6]]))
    assert tables == [
        made(costs.shown(each)) for each in (prices, screened, costs.price_table(adamw[adamw.limit > 4e6]))
    ]
    assert set(screened.runs) == {2}  # as many seeds for every option of either optimiser
    _, spec = embedded(notebook, "recall-figure")
    drawn = max(spec["datasets"].values(), key=len)
    assert len(drawn) == 2 * len(fresh) and sum(row["state"] != "there" for row in drawn) == int(
        fresh[["1-after seconds", "2-after seconds"]].isna().sum().sum()
    )


def bodies(notebook):
    return [
        html[html.index("<table") :]
        for html in outputs(notebook, "text/html")
        if "<table" in html and "recall-explorer" not in html
    ]


def made(frame, words=False):
    html = table_html(frame, "", words=words)
    return html[html.index("<table") :]


def test_committed_atlas_chapter_is_that_of_the_committed_runs():
    """Sentences, tests and the explorer's curves of chapter 5, made again from data/."""
    notebook = nbformat.read(SOURCES["05_when"], 4)
    atlas = runs.load_all("atlas")
    dates = published.dates(published.curves())
    order = verdicts.outcome([row for row in claims.outcomes(atlas) if row["claim"] == "two-abilities"])
    knocked = knockouts.pairs(atlas, runs.load_all("knockouts"))
    every, worse, crossed = (
        factors.every(atlas, runs.load_all()),
        degradation.read(),
        factors.vocabulary(data.table("factors"), atlas),
    )
    why, status = prose_degradation.answer(worse)
    assert list(outputs(notebook, "text/markdown")) == [
        order,
        verdicts.gap(timing.gaps(atlas)),
        verdicts.knocked(knockouts.outcomes(knocked), knockouts.gaps(knocked)),
        verdicts.knocked_first(knocked, knockouts.turned(knocked)),
        verdicts.changed(factors.dated(pd.concat([data.table("factors"), data.table("cues")]), atlas)),
        verdicts.ratio_map(factors.ratio_map(data.table("ratios"), atlas)),
        verdicts.vocabulary(crossed),
        verdicts.alone(factors.alone(every)),
        verdicts.inverted(every, factors.inversions(every)),
        verdicts.by_heart(data.table("library")),
        verdicts.growth(atlas),
        f"**Verdict** ({status}): {why}.",
        prose_degradation.norm_alone(worse, 5),
        f"Which account predicts best?\n\n{prose_degradation.best(worse)}",
        next(text for text in outputs(notebook, "text/markdown") if text.endswith(prose_degradation.transfer(worse))),
        verdicts.kinds(atlas),
        verdicts.rescored(dates),
    ]
    tests = claims.outcomes(atlas)
    declared = [
        made(verdicts.declared([row for row in tests if row["claim"] == name]), words=True)
        for name in ("two-abilities", "degradation", "two-mechanisms")
    ]
    assert [table for table in bodies(notebook) if table in declared] == declared
    for made_again in (verdicts.cells_table(crossed), verdicts.cells_table(factors.alone(every))):
        assert made(made_again) in bodies(notebook)
    explorer = embedded(notebook, "recall-figure")[0]
    text = max((data for data in explorer["datasets"].values() if isinstance(data, str)), key=len)
    assert text == timing.evaluations(atlas).to_csv(index=False) and len(text) < 500_000


def test_committed_edits_are_those_of_the_table():
    notebook, probed = nbformat.read(SOURCES["06_which_way"], 4), data.table("interventions")
    kinds = measures.kinds(runs.load_all())
    effects = {N: edits.effects(probed, kinds, N) for N in (2, 4)}
    gaps = data.table("norm_gaps").merge(kinds.rename("led").reset_index(), on=edits.MODELS)
    assert list(outputs(notebook, "text/markdown"))[:2] == [verdicts.norms(effects), verdicts.closeness(gaps)]
    chosen = [
        each.query("dimension == 5 and kind == 'observation-led'")
        for each in (effects[2], edits.effects(probed, kinds, 2, "nearest"))
    ]
    assert bodies(notebook)[:3] == [
        made(each, words=True) for each in (verdicts.predicted(INTERVENTIONS.values()), *map(verdicts.edits, chosen))
    ]


def test_committed_ways_and_cues_are_those_of_the_tables():
    """The second half of chapter 6, made again from data/tables."""
    said = list(outputs(nbformat.read(SOURCES["06_which_way"], 4), "text/markdown"))[2:]
    atlas = runs.load_all("atlas")
    finished = [run for run in atlas if run.config["task"]["labels"] == 4]
    norms, early, heard, used, less = (
        data.table("equal_norms"),
        data.table("early_led"),
        data.table("cue_weights"),
        ways.read(),
        data.table("cues"),
    )
    leaders = cues.led([less, data.table("factors"), measures.lines(atlas)], early)
    found, lines = ways.showings(used), measures.lines(finished)
    parts = [
        prose_cues.maps_or_label(norms, early),
        prose_cues.growth(norms),
        prose_cues.heeded(heard),
        prose_cues.overheard(heard),
        prose_cues.decided(leaders),
        prose_ways.order(found, used["ways_starts"]),
        prose_ways.carried(used["ways"]),
        prose_ways.by_lag(used["ways_lags"]),
        prose_ways.bigram(used, less, atlas),
        prose_ways.unseen(ways.collapses(used)),
        prose_ways.mixture(used),
        as_if.explained(data.table("as_if")),
        as_if.bound(data.table("beaten")),
        as_if.no_bigram(less, lines),
        as_if.lies(pd.concat([less, data.table("factors")])),
        as_if.mixture(data.table("label_shares")),
        f"{as_if.longer(less, lines)}\n\n{as_if.losses(which_way_as_if.plain_finals(finished))}",
    ]
    places = [next((i for i, text in enumerate(said) if part in text), None) for part in parts]
    assert None not in places and places == sorted(places)


def test_edited_prompt_is_the_one_asked_for(executed):
    text = next(
        o.text for cell in executed("06_which_way").cells for o in cell.get("outputs", []) if o.output_type == "stream"
    )
    plain, edited = (prompt.split() for prompt in text.removeprefix("plain:").split("broken-adjacency:"))
    assert (
        plain[0] == edited[0] == "start"
        and len(edited) == len(plain) + 2
        and {token[0] for token in plain if token[1:].isdigit()} >= set("abcd")
    )


def test_committed_claims_are_those_of_the_committed_runs():
    notebook = nbformat.read(SOURCES["10_claims"], 4)
    atlas, others = runs.load_all("atlas"), dict(circuits=data.table("circuits"), language=results.both_gaps())
    assert bodies(notebook) == [
        made(each, words=True)
        for each in (
            verdicts.claimed(prose_claims.table(atlas, **others)),
            verdicts.declared(claims.outcomes(atlas)),
            verdicts.asked(prose_claims.questions(atlas, **answers.committed(atlas))),
        )
    ]


def test_claims_chapter_takes_its_level(executed):
    atlas = runs.load_all("atlas")
    assert made(verdicts.declared(claims.outcomes(atlas, 0.5)), words=True) in bodies(executed("10_claims"))


def test_atlas_chapter_starts_where_it_is_told(executed):
    spec = embedded(executed("05_when"), "recall-figure")[0]
    values = {p["name"]: p["value"] for p in spec["params"] if "value" in p}
    assert (values["pick_dimension"], values["pick_systems"], values["pick_threshold"]) == (3, 4, 0.5)


def test_committed_circuits_are_those_of_the_tables():
    """Every sentence and table of chapter 7, made again from data/tables."""
    notebook, found = nbformat.read(SOURCES["07_in_the_weights"], 4), findings.shown()
    compared, training, rows = found["circuit_methods"], found["circuits_over_training"], found["circuit_rows"]
    onsets = shared.onsets(training, found["circuit_edges_over_training"])
    moved = rows.assign(model=rows.run.map(found.models)).dropna(subset=["model"])
    assert list(outputs(notebook, "text/markdown")) == [
        verdicts.weights(found.circuits, found.index),
        verdicts.synchronised(found.circuits),
        verdicts.sharing(shared.decisive(compared), found.index),
        verdicts.converted(training),
        verdicts.begun(onsets),
        verdicts.dissociated(shared.decisive(found["circuit_removals"])),
        verdicts.agreement(compared),
        verdicts.traced(moved),
        verdicts.paired(shared.decisive(found["circuit_pairs"])),
    ]
    assert bodies(notebook) == [
        made(each)
        for each in (
            verdicts.overlapped(found.circuits),
            verdicts.by_size(shared.by_size(found.edges)),
            verdicts.between_tasks(shared.between_tasks(found.circuits)),
            verdicts.rewarded(shared.decisive(compared)),
            verdicts.swapped(found.circuits),
            verdicts.removed(shared.decisive(found["circuit_removals"])),
            verdicts.agreed(compared),
            verdicts.looked(shared.decisive(found["circuit_heads"])),
        )
    ]


def test_circuits_chapter_at_another_dimension(executed):
    """The committed models of that dimension are drawn; n = 4 has none, and says so."""
    names = {
        words
        for spec in embedded(executed("07_in_the_weights"), "recall-figure")
        for words in options(spec, "pick_model")
    }
    assert names and all("n = 2" in words for words in names)
    with pytest.raises(ValueError, match="dimension must be one of 2, 3, 5"):
        findings.shown(dimension=4)


def options(spec, name):
    return [value for each in spec["params"] if each["name"] == name for value in each["bind"]["options"]]


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
    graph, _, _, over_training, _ = embedded(notebook, "recall-figure")
    words = f"{measures.kind(run)}, n = 4, seed 3"
    assert options(graph, "pick_model") == [words] and options(over_training, "pick_step") == [20]
    writers = {row["writer"] for data in graph["datasets"].values() for row in data if "writer" in row}
    assert {"h.1.attn.1", "h.1.mlp"} <= writers and not any(
        name.startswith("h.2") or name.startswith("h.0.attn.2") for name in writers
    )
    assert "1 of 1" in next(iter(bodies(notebook))) and "nan" not in " ".join(bodies(notebook))


def test_committed_language_is_that_of_the_tables():
    notebook, gaps = nbformat.read(SOURCES["08_in_language"], 4), results.both_gaps()
    last = results.final(results.load()[0])
    lexicon, config = pretrain.recipe("invented", 0)
    shown = verdicts.prompts_in_full(lexicon, pretrain.tokeniser(lexicon), config.tasks)
    assert bodies(notebook) == [
        made(shown, words=True),
        made(verdicts.language_bits(last), words=True),
        made(verdicts.language_dates(gaps), words=True),
    ]
    assert list(outputs(notebook, "text/markdown")) == [
        verdicts.language_order(gaps),
        verdicts.language_order({"toy": gaps["toy"]}, "words"),
        verdicts.language_controls(last),
        verdicts.language_context(last),
    ]


def test_language_chapter_prints_the_words_asked_for(executed):
    text = unescape(next(outputs(executed("08_in_language"), "text/html")))
    lexicon, _ = pretrain.recipe("words", 1)
    assert sum(f"{source} " in text for source in lexicon.sources) > 8 and "pair of the context" in text
    assert text.count("<code>") == len(CONDITIONS) + 3


def test_committed_playgrounds_offer_the_listed_checkpoints():
    """Catalogue and first view of every page with a playground, made again from data/."""
    listed = page.listed()
    for name in ("index", "04_two_abilities", "06_which_way", "07_in_the_weights", "09_playground"):
        (state,) = [
            json.loads(found)
            for html in outputs(nbformat.read(SOURCES[name], 4), "text/html")
            if 'data-widget="playground"' in html
            for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
        ]
        assert state["catalogue"] == [page.entry(run) for run in listed]
        assert state["first"] == json.loads(
            json.dumps(
                page.first_view(next(run for run in listed if run.name == state["run"]), state["first"]["settings"])
            )
        )


def test_playground_chapter_starts_where_it_is_told(executed):
    (state,) = [
        json.loads(found)
        for html in outputs(executed("09_playground"), "text/html")
        if 'data-widget="playground"' in html
        for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
    ]
    run = next(each for each in state["catalogue"] if each["name"] == state["run"])
    assert (run["dimension"], run["labels"], state["systems"]) == (2, 8, 4)


def test_unknown_chapter_and_parameter(tmp_path, capsys):
    assert main(["09_nothing"]) == 2 and "chapter must be one of index, 01_task" in capsys.readouterr().err
    assert main(["01_task", "-p", "colour", "1", "--out", str(tmp_path)]) == 2
    assert "colour must be a parameter of 01_task.ipynb: dimension, labels, seed" in capsys.readouterr().err
    assert main(["01_task", "-p", "dimension", "3"]) == 2 and "out must be given with -p" in capsys.readouterr().err


def test_a_failing_chapter_leaves_the_source_alone(tmp_path):
    import papermill

    source = tmp_path / "bad.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(notebook, source)
    before = source.read_bytes()
    with pytest.raises(papermill.PapermillExecutionError):
        execute(source, source)
    assert source.read_bytes() == before
