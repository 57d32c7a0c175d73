"""What the playground is given: packed weights, the list of models, the first view."""

import json
import zlib

import nbformat
import pytest
import torch
from notebooks import SOURCES, widgets

from recall import data, evaluation, interventions, runs
from recall.book.compare import difference
from recall.explorer import page, tries
from recall.model import GPTConfig
from recall.needle import needle_prompts
from recall.task import TaskConfig


def test_pack_by_hand():
    """Header, then low bytes, then high bytes of the half-precision weights."""
    halves = {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([[0.5]])}  # 0x3c00, 0xc000, 0x3800
    packed = page.pack(GPTConfig(5, 1, 4), halves)
    size = int.from_bytes(packed[:4], "little")
    header = json.loads(packed[4 : 4 + size])
    assert header["tensors"] == [["a", 2], ["b", 1]] and header["config"]["n_in"] == 5
    assert zlib.decompress(packed[4 + size :]) == bytes([0, 0, 0, 0x3C, 0xC0, 0x38])


def test_pointing_by_hand():
    """Predictions made of the candidates' next states give their weights back, open and closed loop together."""
    task = TaskConfig.compact(5, 4)
    plain = needle_prompts(task, 3, haystacks=20, traces=1, seed=5)
    prompts = interventions.apply("misdirected", plain, task)
    K, s = prompts.targets.shape[1] - prompts.query_row, prompts.segments
    A, own = prompts.systems.A[s.system[:, :3]], prompts.observations[s.system[:, :3], 10:]
    predictions = torch.zeros_like(prompts.targets)
    for k in range(K):
        seen = prompts.targets[:, prompts.query_row + k - 1]
        would = own[:, :, k] if k == 0 else (A @ seen[:, None, :, None]).squeeze(-1)
        predictions[:, prompts.query_row + k] = (
            0.2 * would[:, 0] + 0.3 * would[:, 1] - 0.1 * would[:, 2] + (0.4 * own[:, 1, k] if k else 0)
        )
    weights = evaluation.pointing(predictions, prompts)
    assert torch.allclose(weights[0], torch.tensor([0.2, 0.3, -0.1]).double(), atol=1e-4)
    assert torch.allclose(weights[1:], torch.tensor([0.2, 0.7, -0.1]).double().expand(K - 1, 3), atol=1e-3)


@pytest.mark.standard
def test_offered_models(models):
    """A hero with at least sixteen training steps, other dimensions and label counts, both kinds at n = 5; 10 MB in
    all.
    """
    entries = [page.entry(run) for run in models]
    assert len(entries[0]["steps"]) >= 16 and entries[0]["dimension"] == 5
    assert {each["dimension"] for each in entries} >= {2, 3, 5} and {each["labels"] for each in entries} >= {2, 4, 8}
    assert {"observation-led", "label-led"} <= {
        each["kind"] for each in entries if (each["dimension"], each["labels"]) == (5, 4)
    }
    assert sum(len(each["steps"]) >= 3 for each in entries) >= 2
    sizes = [len(page.script(run, step)) for run in models for step in run.steps]
    assert max(sizes) < 1e6 and sum(sizes) < 10e6


@pytest.mark.standard
def test_an_altered_checkpoint_is_named(tmp_path, monkeypatch):
    listed = json.loads((runs.data_folder() / page.LISTED).read_text(encoding="utf-8"))
    name, hashes = next((name, hashes) for name, hashes in listed.items() if hashes)
    step = next(iter(hashes))
    (tmp_path / "playground.json").write_text(json.dumps({name: hashes | {step: "0" * 64}}), encoding="utf-8")
    (tmp_path / "runs").symlink_to(runs.data_folder() / "runs")
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    data.record(tmp_path / "playground.json")
    with pytest.raises(ValueError, match=f"checkpoint must be as listed in data/playground.json.*step-{int(step):06d}"):
        page.listed()


@pytest.mark.standard
def test_publish_rounds_and_lists(tmp_path, monkeypatch, trained_folder):
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    run = runs.open_run(trained_folder)
    first = run.weights(0)
    page.publish(run, [0])
    again = runs.open_run(trained_folder)
    assert again.steps == [0, 2] and json.loads(data.path(page.LISTED).read_text(encoding="utf-8"))[
        run.name
    ].keys() == {"0"}
    assert all(torch.equal(again.weights(0)[name], first[name].half().float()) for name in first)
    with pytest.raises(ValueError, match="step must be one of 0, 2"):
        again.weights(1)


@pytest.mark.standard
def test_links_of_the_chapter_name_what_there_is(models):
    text = SOURCES["09_playground"].read_text(encoding="utf-8")
    names = {run.name for run in models}
    linked = [part.split("&amp;")[0] for part in text.split("#play:run=")[1:]]
    assert set(linked) <= names and len(linked) >= 8
    assert "run=" + models[0].name in tries([("x", {})])


@pytest.mark.standard
@pytest.mark.parametrize("name", ["index", "04_two_abilities", "06_which_way", "07_in_the_weights", "09_playground"])
def test_committed_playgrounds_offer_the_listed_checkpoints(models, name):
    """Catalogue and first view, made again from data/: the same words, and numbers to the last digit."""
    (state,) = widgets(nbformat.read(SOURCES[name], 4), "playground")
    assert state["catalogue"] == [page.entry(run) for run in models]
    run = next(each for each in models if each.name == state["run"])
    first = page.first_view(run, state["first"]["settings"])
    assert first.keys() == state["first"].keys()
    for part in first:
        differs = difference(*(json.dumps(each[part], sort_keys=True) for each in (state["first"], first)))
        assert differs is None, (part, differs)
