import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch

from recall import runs, settings, training
from recall.config import to_json
from recall.evaluation import EvaluationConfig, Evaluator
from recall.settings import TrainingConfig
from recall.task import Task, TaskConfig, after_query


def tiny(steps=12, **changes):
    config = settings.preset("fast-0", 2, 2, seed=3, steps=steps, batch_size=4, evaluate_every=5, **changes)
    return replace(config, evaluation=EvaluationConfig(systems=(1, 2), haystacks=2, traces=3))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def small_final(monkeypatch):
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)


def test_loss_by_hand():
    batch = Task(TaskConfig.compact(2, 2), 0).sample_batch(0, 3)
    model = lambda tokens: batch.targets + torch.tensor([3.0, 4.0])
    assert training.loss_of(model, batch).item() == pytest.approx(25)  # a squared norm, not a mean over dimensions
    half = lambda tokens: batch.targets + torch.tensor([3.0, 4.0]) * ~batch.mask.unsqueeze(-1)
    assert training.loss_of(half, batch).item() == 0  # masked rows do not count


def test_a_batch_in_which_nothing_has_weight_has_no_loss():
    """Traces of one segment, and a loss that asks for resumed ones."""
    task = TaskConfig(dimension=2, labels=2, max_systems=2, trace_length=11, min_payload=9, max_payload=9)
    batch = Task(task, 0).sample_batch(0, 3)
    model = lambda tokens: batch.targets + 1.0
    assert training.loss_of(model, batch).item() == pytest.approx(2)
    assert training.loss_of(model, batch, (0, 1, 1, 1)).item() == 0


def test_weighted_loss_by_hand():
    """A model that errs by 1, 2, 3 and 4 where the next row is initial, and 1, 2 and more after a query."""
    batch = Task(TaskConfig.compact(2, 2), 0).sample_batch(0, 3)
    # counted along each trace, without the segment records' arithmetic
    k = torch.zeros(batch.mask.shape, dtype=torch.long)
    for trace, records in enumerate(zip(*(column.tolist() for column in vars(batch.segments).values()))):
        for _, _, start, length, first in zip(*records):
            for i in range(max(length, 0)):
                if start + i < k.shape[1]:
                    k[trace, start + i] = i + 1 if first > 0 else 0
    k = (k * batch.mask).clamp(max=3)
    model = lambda tokens: batch.targets + (k + 1.0).unsqueeze(-1) * torch.tensor([1.0, 0.0])
    count = [int(((k == i) & batch.mask).sum()) for i in range(4)]
    assert min(count) > 0
    for weights in [(1, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 0), (0, 1, 1, 0), (1, 16, 1, 1)]:
        total = sum(w * c * (i + 1) ** 2 for i, (w, c) in enumerate(zip(weights, count)))
        assert training.loss_of(model, batch, weights).item() == pytest.approx(
            total / sum(w * c for w, c in zip(weights, count))
        )


def test_what_is_knocked_out_moves_no_weight():
    """With only 1-after-query in the loss, no other target has a gradient."""
    config = tiny(weight_second=0.0, weight_later=0.0, weight_initial=0.0)
    batch, model = Task(config.task, 0).sample_batch(0, 3), training.build_model(config)
    predictions = model(batch.inputs).detach().requires_grad_()
    training.loss_of(lambda tokens: predictions, batch, config.training.weights).backward()
    moved = predictions.grad.abs().sum(-1) > 0
    assert moved.any() and (after_query(batch)[moved] == 1).all()
    with pytest.raises(ValueError, match=r"weight_first must be 0 to 1e\+06, one of the four above 0"):
        TrainingConfig(weight_first=0.0, weight_second=0.0, weight_later=0.0, weight_initial=0.0)


@pytest.mark.parametrize(
    "recipe", [dict(optimiser="muon"), dict(optimiser="adamw"), dict(optimiser="muon-batched", average=0.9)], ids=str
)
def test_resume_gives_the_same_weights_and_history(tmp_path, recipe):
    config = tiny(**recipe)
    whole = training.train(config, tmp_path / "whole")
    assert training.train(config, tmp_path / "parts", stop_after=4) is None
    assert training.train(config, tmp_path / "parts", stop_after=7) is None
    parts = training.train(config, tmp_path / "parts")
    assert same(whole.weights(), parts.weights())
    pd.testing.assert_frame_equal(whole.history, parts.history)
    pd.testing.assert_frame_equal(whole.final, parts.final)
    assert sorted(whole.history.step.unique()) == [0, 5, 10, 12]


def test_the_mean_of_the_weights_is_what_is_published(tmp_path):
    """By hand: the mean begins at the weights after the first step and takes (1 - decay) of each later one."""
    config, weights, mean = tiny(average=0.75), [], None
    model, task = training.build_model(config), Task(config.task, config.seed)
    optimisers = training.optimisers(model, config.training)
    for index in range(config.training.steps):
        batch = task.sample_batch(index, config.training.batch_size)
        training.step(model, optimisers, batch, config.training, index)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        mean = weights if mean is None else {name: 0.75 * mean[name] + 0.25 * weights[name] for name in weights}
    run = training.train(config, tmp_path / "run")
    for name, value in run.weights().items():
        torch.testing.assert_close(value, mean[name], rtol=1e-3, atol=1e-3)  # half precision
    plain = training.train(tiny(), tmp_path / "plain")
    assert not same(run.weights(), plain.weights())
    with pytest.raises(ValueError, match="average must be 0 to below 1, not 1"):
        TrainingConfig(average=1.0)


@pytest.mark.standard
def test_a_kill_loses_nothing(tmp_path):
    """SIGKILL a training process in the middle; what is there is whole, and the resumed run equals an undisturbed
    one.
    """
    config = tiny(steps=400)
    config = replace(config, training=replace(config.training, evaluate_every=50))
    (tmp_path / "config.json").write_text(runs.canonical(to_json(config)), encoding="utf-8")
    code = (
        "import sys; from recall import settings, training; training.SAVE_SECONDS = 0.05; training.FINAL_HAYSTACKS, "
        "training.FINAL_TRACES = 2, 3\n"
        "import json; config = settings.from_json(json.load(open(sys.argv[1]))); training.train(config, sys.argv[2])"
    )
    out = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "config.json"), str(out)])
    deadline = time.monotonic() + 120
    while not (out / "resume.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    _, notes = runs.load_tensors(out / "resume.safetensors")
    assert 0 < json.loads(notes["clocks"])["step"] < 400
    assert same(training.train(config, out).weights(), training.train(config, tmp_path / "whole").weights())


def test_seeds_and_streams_change_what_they_should(tmp_path):
    a = training.train(tiny(), tmp_path / "a")
    assert not same(a.weights(), training.train(replace(tiny(), seed=4), tmp_path / "b").weights())
    assert not torch.equal(
        training.build_model(tiny()).wpe.weight, training.build_model(replace(tiny(), seed=4)).wpe.weight
    )


def test_run_folder_is_verified(tmp_path):
    run = training.train(tiny(), tmp_path / "run")
    assert run.manifest["threads"] == 1 and run.config["seed"] == 3
    assert {p.name for p in run.folder.iterdir()} == {
        *runs.FILES,
        "manifest.json",
        "checkpoints",
        "resume.safetensors",
        ".lock",
    }
    halves, _ = runs.load_tensors(run.folder / "final.safetensors")
    assert all(t.dtype == torch.float16 for t in halves.values())
    assert training.train(tiny(), run.folder).manifest == run.manifest  # finished runs are not trained again
    with pytest.raises(ValueError, match="out must be a folder of this configuration"):
        training.train(tiny(steps=13), run.folder)
    (run.folder / "final.csv").write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="final.csv is missing or altered"):
        runs.open_run(run.folder)


def test_published_weights_are_what_final_was_measured_on(tmp_path):
    run = training.train(tiny(), tmp_path / "run")
    config = settings.from_json(run.config)
    larger = replace(config.evaluation, seed=1)
    again = Evaluator(config.task, larger)(training.trained_model(run).predict)
    assert again["mean"].tolist() == pytest.approx(run.final["mean"].tolist(), rel=1e-4)


def test_checkpoint_of_another_config(tmp_path):
    run = training.train(tiny(), tmp_path / "run")
    other = settings.preset("fast-0", 3, 2)
    with pytest.raises(ValueError, match="checkpoint must fit the run's model: size mismatch for read_in.weight"):
        training.build_model(other, run.weights())


def test_muon_has_the_hidden_matrices_and_adamw_the_rest():
    model = training.build_model(tiny())
    muon = training.optimisers(model, tiny().training)[1]
    hidden = muon.param_groups[0]["params"]
    assert len(hidden) == 4 * 3 and all(p.ndim == 2 for p in hidden)
    adamw = training.optimisers(model, replace(tiny().training, optimiser="adamw"))
    assert len(adamw) == 1 and len(adamw[0].param_groups[0]["params"]) == len(list(model.parameters()))


def test_checkpoints_are_log_spaced():
    assert training.checkpoint_steps(16) == [0, 16] and training.checkpoint_steps(5) == [0, 5]
    steps = training.checkpoint_steps(3000)
    ratios = [b / a for a, b in zip(steps[1:-1], steps[2:-1])]
    assert steps[0] == 0 and steps[-1] == 3000 and max(ratios) < 1.3


@pytest.mark.standard
def test_bf16_and_threads_run(tmp_path):
    run = training.train(tiny(steps=3), tmp_path / "run", bf16=True, threads=2)
    assert run.manifest["bf16"] is True and run.history["mean"].notna().all()
    assert torch.get_num_threads() == 1  # given back


@pytest.mark.standard
def test_training_really_learns(tmp_path):
    """150 steps at n = 1 (maps +1 and -1) must at least learn to go on: an untrained or misaligned model stays at 1."""
    config = settings.preset("fast-0", 1, 2, steps=150, batch_size=16, evaluate_every=75)
    config = replace(config, evaluation=EvaluationConfig(systems=(1,), haystacks=20, traces=10))
    history = training.train(config, tmp_path / "run").history
    last = history[(history.step == 150) & (history.event == "query") & (history.k == 3)]
    assert last["mean"].item() < 0.3


def test_a_diverging_run_ends_as_such_and_keeps_its_curve(tmp_path):
    run = training.train(tiny(steps=400, muon_rate=1e4, learning_rate=1e4), tmp_path / "run")
    assert run.manifest["ended"] == "diverged" and 0 < run.manifest["steps"] < 400
    assert run.history.step.max() == run.manifest["steps"] and run.history.step.min() == 0
    assert not run.history.loss.iloc[-1] < training.DIVERGED
    assert training.train(tiny(steps=400, muon_rate=1e4, learning_rate=1e4), tmp_path / "run").manifest == run.manifest


def test_patience_ends_a_run_once_both_abilities_have_stayed(tmp_path, monkeypatch):
    """Scores planted one by one: the count starts again at every evaluation that falls back."""
    scores = iter([0.1, 0.6, 0.6, 0.4, 0.6, 0.6, 0.6, 0.6])

    def evaluator(*_):
        def evaluate(predict):
            score = next(scores)
            return pd.DataFrame(
                [
                    dict(
                        systems=2,
                        condition=c,
                        event="query",
                        k=k,
                        mean=1.0,
                        median=1.0,
                        q25=1.0,
                        q75=1.0,
                        score=score if c == "plain" else 0.0,
                    )
                    for c in ("plain", "misdirected")
                    for k in (1, 2, 3)
                ]
            )

        return evaluate

    monkeypatch.setattr(training, "Evaluator", evaluator)
    assert training.train(tiny(steps=100, patience=3), tmp_path / "run", stop_after=15) is None  # at the fall
    monkeypatch.setattr(training._State, "publish", lambda self: (self.ended, self.step))
    assert training.train(tiny(steps=100, patience=3), tmp_path / "run") == ("emerged", 30)


def test_evaluate_is_the_needle_test_of_a_run_or_of_a_predictor(tmp_path):
    run = training.train(tiny(), tmp_path / "run")
    how = dict(haystacks=2, traces=3, seed=5)
    rows = training.evaluate(run, intervention="misdirected", **how)
    model, task = training.trained_model(run), settings.from_json(run.config).task
    pd.testing.assert_frame_equal(rows, training.evaluate(model, task, intervention="misdirected", **how))
    assert set(rows.condition) == {"misdirected"} and set(rows.systems) == {2} and rows["mean"].notna().all()
    with pytest.raises(ValueError, match="task must be given for what is not a run, not None"):
        training.evaluate(model)


def test_a_committed_run_is_taken_for_one_that_is_asked_for(tmp_path, monkeypatch):
    config = tiny(steps=2)
    run = training.train(config, tmp_path / "runs" / config.name)
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    assert training.load_or_train(config, tmp_path / "cache").manifest == run.manifest
    other = training.load_or_train(tiny(steps=3), tmp_path / "cache")
    assert other.folder == tmp_path / "cache" / tiny(steps=3).name and other.manifest["steps"] == 3


@pytest.mark.standard
def test_ctrl_c_saves_the_state_says_so_in_one_line_and_loses_nothing(tmp_path):
    config = tiny(steps=3000)
    (tmp_path / "config.json").write_text(runs.canonical(to_json(config)), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["-m", "recall", "train", "--config", str(tmp_path / "config.json"), "--out", str(out)]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # in a shell's background it is ignored
    how = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", preexec_fn=heard)
    child = subprocess.Popen([sys.executable, *arguments], **how)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/step-000032*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    printed, error = child.communicate(timeout=60)
    assert child.returncode == 130 and printed == "", error
    (line,) = error.strip().splitlines()
    step = int(line.split("interrupted at step ")[1].split(";")[0])
    _, notes = runs.load_tensors(out / "resume.safetensors")
    assert json.loads(notes["clocks"])["step"] == step
    training.train(config, out, stop_after=step + 40)
    training.train(config, tmp_path / "whole", stop_after=step + 40)
    both = [runs.load_tensors(folder / "resume.safetensors")[0] for folder in (out, tmp_path / "whole")]
    histories = [tensors.pop("history") for tensors in both]  # its label indices differ in their last digits (lstsq)
    assert same(*both) and len(histories[0]) == pytest.approx(len(histories[1]), rel=0.01)


@pytest.mark.parametrize("asked, kept", [((signal.SIGTERM,) * 3, True), ((signal.SIGINT,) * 2, False)])
def test_a_second_request_to_end_does_not_end_the_saving(tmp_path, asked, kept):
    """A pool of workers asks all of them again when the first has ended; a second Ctrl-C is impatience."""

    def report(progress):
        for each in asked:
            os.kill(os.getpid(), each)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            training.train(tiny(steps=30), tmp_path, report=report)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "resume.safetensors").exists() == kept


def test_state_of_another_configuration_is_refused(tmp_path):
    """Kill a run, set its seed to another in config.json, resume: the weights of the first seed must not go on."""
    config = tiny()
    training.train(config, tmp_path, stop_after=4)
    other = replace(config, seed=4)
    (tmp_path / "config.json").write_text(runs.canonical(to_json(other)), encoding="utf-8")
    before = (tmp_path / "resume.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"resume.safetensors must be of this run's configuration \(\w{8}\), not '"):
        training.train(other, tmp_path)
    assert (tmp_path / "resume.safetensors").read_bytes() == before and not (tmp_path / "manifest.json").exists()
    with pytest.raises(ValueError, match="checkpoint must be of this run's configuration"):
        runs.unfinished(tmp_path).weights(0)
    training.train(other, tmp_path, fresh=True)


def test_state_of_another_law_of_traces_is_refused(tmp_path, monkeypatch):
    training.train(tiny(), tmp_path, stop_after=4)
    monkeypatch.setattr(training, "VERSION", 2)
    with pytest.raises(ValueError, match=r"resume.safetensors must be of this run's task version \(2\), not '1'"):
        training.train(tiny(), tmp_path)


def test_a_long_history_stays_out_of_the_header_of_its_file(tmp_path):
    """The header of a safetensors file may have 100 MB, which a history of 8,600 evaluations came to."""
    config, how = tiny(), dict(device="cpu", threads=1, bf16=False, compile=False)
    training.train(config, tmp_path, stop_after=1)
    state = training._State(config, tmp_path, how)
    state.history = [state.history[0].assign(step=step) for step in range(200)]
    state.save()
    written = (tmp_path / "resume.safetensors").read_bytes()
    assert int.from_bytes(written[:8], "little") < 20_000 < len(pd.concat(state.history).to_csv())
    again = training._State(config, tmp_path, how)
    pd.testing.assert_frame_equal(*(pd.concat(each.history, ignore_index=True) for each in (again, state)))


def test_what_a_killed_process_had_begun_to_write_is_taken_away(tmp_path):
    training.train(tiny(), tmp_path, stop_after=4)
    parts = [tmp_path / ".final.csv-abc.part", tmp_path / "checkpoints" / ".step-000016.safetensors-x.part"]
    for part in parts:
        part.write_text("half", encoding="utf-8")
    training.train(tiny(), tmp_path)
    assert not any(part.exists() for part in parts)


def test_what_a_session_has_set_in_torch_changes_nothing_and_stays(tmp_path):
    plain = training.train(tiny(), tmp_path / "plain")
    rows = training.evaluate(plain, haystacks=2, traces=3)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True)
    try:
        run = training.train(tiny(), tmp_path / "set")
        again = training.evaluate(run, haystacks=2, traces=3)
        assert not torch.is_grad_enabled() and torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta" and torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert same(run.weights(), plain.weights())
    pd.testing.assert_frame_equal(rows, again)
    with torch.inference_mode():
        assert same(training.train(tiny(), tmp_path / "inference").weights(), plain.weights())


def test_too_large_for_memory_is_one_line_and_leaves_no_folder(tmp_path, monkeypatch):
    config = tiny()
    large = replace(config, model=replace(config.model, n_embd=99_996, n_layer=900))
    with pytest.raises(ValueError, match="model and batch_size must fit into memory|must fit into memory together"):
        training.train(large, tmp_path / "large")
    assert not (tmp_path / "large").exists()
