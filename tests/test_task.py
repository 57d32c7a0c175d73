import math

import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recall.task import LABEL_VALUE, Segments, Task, TaskConfig, _system_counts, lay_out, resume_times, statistics, stream, symbols

CONFIGS = st.builds(
    lambda generator, n, labels, rows: TaskConfig(
        dimension=n, labels=labels, max_systems=labels, trace_length=rows, generator=generator, min_payload=2, max_payload=6),
    st.sampled_from(["study", "compact"]), st.integers(1, 4), st.integers(1, 5), st.integers(10, 60),
)


def test_layout_by_hand():
    # the trace drawn in the docstring of recall.task, one-dimensional observations 10, 11, … (a) and 20, 21, … (b)
    observations = torch.stack([torch.arange(10.0, 20), torch.arange(20.0, 30)]).unsqueeze(-1)
    system, length = torch.tensor([[0, 1, 0, 1]]), torch.tensor([[3, 2, 2, 5]])
    first = resume_times(system, length)
    assert first.tolist() == [[0, 0, 3, 2]]
    segments = Segments(system, torch.tensor([[2, 0, 2, 0]]), torch.tensor([[1, 6, 10, 14]]), length, first)
    tokens = lay_out(segments, observations, labels=3, rows=16)[0]
    # columns: open0 close0 open1 close1 open2 close2 start flag x
    r = LABEL_VALUE
    expected = torch.zeros(16, 9)
    expected[0, 6] = r
    for row, column in [(1, 4), (5, 5), (6, 0), (9, 1), (10, 4), (13, 5), (14, 0)]:
        expected[row, column] = r
    for row, value in [(2, 10), (3, 11), (4, 12), (7, 20), (8, 21), (11, 13), (12, 14), (15, 22)]:
        expected[row, 7], expected[row, 8] = 1, value
    assert torch.equal(tokens, expected)


def test_targets_mask_and_off_by_one():
    task = Task(TaskConfig.compact(3, 2), seed=0)
    batch = task.sample_batch(0, 8)
    flag = batch.tokens[..., 2 * 2 + 1] == 1
    assert torch.equal(batch.mask, flag[:, 1:])
    assert torch.equal(batch.targets[batch.mask], batch.tokens[:, 1:, -3:][flag[:, 1:]])
    opens = (batch.inputs[..., 0:4:2] > 0).any(-1)
    closes = (batch.inputs[..., 1:4:2] > 0).any(-1)
    assert batch.mask[opens].all()  # k = 1 is read at the open label
    assert not batch.mask[closes].any() and not batch.mask[:, 0].any()


@given(config=CONFIGS, step=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_traces_against_a_direct_simulation(config, step):
    """Walk each trace row by row, stepping the true maps: labels, order, resumption and every value must agree."""
    batch = Task(config, seed=3).sample_batch(step, 4)
    L, n = config.labels, config.dimension
    for b in range(4):
        state, name, current, opened = {}, {}, None, False
        s = {k: v[b] for k, v in vars(batch.segments).items()}
        for row in range(1, config.trace_length + 1):
            token = batch.tokens[b, row]
            i = int(((s["start"] <= row) & (s["length"] > -2)).nonzero().max())
            system, label = int(s["system"][i]), int(s["label"][i])
            assert name.setdefault(system, label) == label
            label_columns = token[: 2 * L].nonzero().flatten().tolist()
            if label_columns == [2 * label]:
                assert not opened and row == s["start"][i]
                opened, current = True, system
            elif label_columns == [2 * label + 1]:
                assert opened or s["length"][i] == -1
                opened = False
            else:
                assert not label_columns and opened and system == current and token[2 * L + 1] == 1
                x = state.get(system, batch.systems.x0[system])
                assert torch.allclose(token[-n:], x, atol=1e-4)
                state[system] = batch.systems.A[system] @ x
        assert len(set(name.values())) == len(name)  # distinct labels
        assert batch.tokens[b, 0].nonzero().flatten().tolist() == [2 * L]


@pytest.mark.slow
def test_study_generator_statistics():
    """Facts section 1.2, from 200,000 draws there; 40,000 here, so a band of four standard errors."""
    task = Task(TaskConfig.study(library=None), seed=11)
    rows = [statistics(task.sample_batch(step, 1000)) for step in range(40)]
    expected = {"payload segments": 7.31, "distinct systems": 3.28, "resumptions": 4.03, "payload rows": 233.7,
                "lone close": 0.60, "empty": 0.53}
    for name, value in expected.items():
        sample = torch.tensor([row[name] for row in rows])
        error = sample.std() / len(rows) ** 0.5
        assert abs(sample.mean() - value) < 4 * error + 0.006, (name, sample.mean(), value, error)


def test_study_generator_zipf_cuts_and_zero_length_segments():
    config = TaskConfig.study(library=None)
    batch = Task(config, seed=12).sample_batch(0, 20_000)
    s = batch.segments
    drawn = s.start <= config.trace_length  # padding starts past the end
    assert abs(((s.length == -2) & drawn).sum(1).double().mean() - 0.29) < 0.03
    assert torch.equal((s.length + 2).sum(1), torch.full((20_000,), config.trace_length))  # fills the trace exactly
    counts = torch.bincount(_system_counts(config, 100_000, stream("train", 12)), minlength=26).double() / 100_000
    assert torch.allclose(counts[1:5], torch.tensor([0.451, 0.160, 0.087, 0.056], dtype=torch.double), atol=0.005)
    assert counts[0] == 0 and counts[25] > 0


def test_compact_generator_is_what_its_docstring_says():
    config = TaskConfig.compact(5, 4)
    batch = Task(config, seed=1).sample_batch(0, 4000)
    s = batch.segments
    length = s.length[s.length > -2]
    assert (length.min(), length.max()) == (3, 10)
    share = torch.bincount(length)[3:].double() / len(length)
    assert (share - 1 / 8).abs().max() < 0.01
    systems = torch.tensor([len(set(row[l > -2].tolist())) for row, l in zip(s.system, s.length)])
    assert systems.max() == 4 and abs((systems == 1).double().mean() - 0.25) < 0.03


def test_batches_are_addressable_and_streams_separate():
    config = TaskConfig.compact(3, 4)
    a, b = Task(config, 0), Task(config, 0)
    late = a.sample_batch(7, 4).tokens
    b.sample_batch(1, 4)
    assert torch.equal(late, b.sample_batch(7, 4).tokens)
    assert not torch.equal(late, a.sample_batch(8, 4).tokens)
    assert not torch.equal(late, Task(config, 1).sample_batch(7, 4).tokens)
    assert not torch.equal(late, a.sample_batch(7, 4, split="evaluation").tokens)
    assert stream("train", 1, 23).initial_seed() != stream("train", 12, 3).initial_seed()
    with pytest.raises(ValueError, match="stream"):
        stream("test", 0)


def test_library_freezes_systems_and_trajectories():
    config = TaskConfig.compact(2, 3, library=5)
    task = Task(config, 0)
    stored = {tuple(row[0].tolist()) for row in task.library}
    batch = task.sample_batch(0, 50)
    starts = [tuple(batch.observations[i, 0].tolist()) for i in batch.segments.system.unique()]
    assert len(stored) == 5 and set(starts) <= stored
    for b in range(50):
        shown = batch.segments.system[b][batch.segments.length[b] > -2].unique()
        firsts = {tuple(batch.observations[i, 0].tolist()) for i in shown}
        assert len(firsts) == len(shown)  # without replacement within a trace
    held_out = task.sample_batch(0, 50, split="evaluation")
    assert not stored & {tuple(x.tolist()) for x in held_out.observations[:, 0]}


def test_symbols_draw_the_trace():
    batch = Task(TaskConfig.compact(2, 2), 0).sample_batch(0, 1)
    words = symbols(batch).split()
    assert len(words) == batch.tokens.shape[1] and words[0] == "start" and words[1].startswith("(")
    payload = batch.tokens[0, :, 2 * 2 + 1] == 1
    assert [not w.startswith(("(", ")", "start")) for w in words] == payload.tolist()


@pytest.mark.parametrize("change, message", [
    (dict(dimension=0), "dimension must be 1 to 64, not 0"),
    (dict(max_systems=5), r"max_systems must be 1 to labels \(4\), not 5"),
    (dict(max_payload=95), "max_payload must be at most trace_length - 2"),
    (dict(min_payload=11), "min_payload must be 1 to max_payload"),
    (dict(family="x"), "family must be one of haar, equal, identity"),
    (dict(generator="x"), "generator must be study or compact"),
    (dict(labels=0), "labels must be 1 to 256"),
    (dict(library=2), r"library must be none or at least max_systems \(4\)"),
    (dict(trace_length=1), "trace_length must be 3"),
])
def test_bad_values_name_the_field_and_its_range(change, message):
    with pytest.raises(ValueError, match=message):
        TaskConfig(**{"max_systems": 4, **change})


def test_label_value_balances_the_rows():
    assert math.isclose(LABEL_VALUE**2, 2)


def test_library_systems_of_a_trace_are_a_uniform_subset():
    """All 10 subsets of 3 of 5, each with probability 1/10; traces of other sizes beside them, and all of a library."""
    from recall.task import _distinct

    counts = torch.tensor([3, 5, 1]).repeat(6000)
    picked = _distinct(5, counts, torch.Generator().manual_seed(0)).split(counts.tolist())
    assert all(len(set(each.tolist())) == len(each) and 0 <= each.min() and each.max() < 5 for each in picked)
    subsets = pd.Series([tuple(sorted(each.tolist())) for each in picked[::3]]).value_counts()
    assert len(subsets) == 10 and ((subsets - 600).abs() < 5 * (6000 * 0.09) ** 0.5).all()
    singles = torch.cat(picked[2::3]).bincount(minlength=5)
    assert ((singles - 1200).abs() < 5 * (6000 * 0.16) ** 0.5).all()
