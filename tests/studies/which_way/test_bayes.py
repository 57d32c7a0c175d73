"""The exact posterior against brute force over O(2), against ideal recall, and against the models."""

import math

import pytest
import torch

from recall import predictors, runs
from recall.interventions import apply
from recall.needle import needle_prompts
from recall.settings import from_json
from recall.studies.which_way.bayes import Bayes, gather, weigh
from recall.task import Task, TaskConfig
from recall.training import trained_model

CONFIG = TaskConfig(dimension=2, labels=3, max_systems=3, trace_length=30, min_payload=1, max_payload=3)
NOISE = 0.02


def grid(size=4000):
    """[2 * size, 2, 2] O(2): all rotations, all reflections."""
    angle = 2 * math.pi * torch.arange(size).double() / size
    c, s = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    return torch.cat([turn, turn @ torch.diag(torch.tensor([1.0, -1.0])).double()])


def by_force(batch, b, row, config, noise, label_error, labels, observations):
    """The same posterior mean from nothing but the definition: every map of a fine grid, every history of choices."""
    reading = predictors.read(batch.tokens[b : b + 1], config)
    label, opens, payload, y = (x[0] for x in (reading.label, reading.opens, reading.payload, reading.observation))
    start, maps = int(reading.open_row[0, row]), grid()
    states = {}
    for t in range(start):
        if payload[t]:
            states.setdefault(int(label[t]), []).append(y[t])
    order = []
    for t in range(start):
        if opens[t]:
            order.append(int(label[t]))
    now = [y[t] for t in range(start + 1, row + 1) if payload[t]]
    fits = lambda xs: sum(
        (
            (maps @ x - z).square().sum(-1) * (-0.5 / noise**2) - math.log(2 * math.pi * noise**2)
            for x, z in zip(xs, xs[1:])
        ),
        torch.zeros(len(maps)).double(),
    )
    m = torch.arange(1, config.max_systems + 1).double()
    past, known = torch.ones_like(m), []
    for each in order:
        past = past * (1 / m if each in known else (m - len(known)).clamp(min=0) / m)
        known += [each] * (each not in known)
    past = past / past.sum()
    total, mass, L = torch.zeros(2).double(), 0.0, config.labels
    for each in [*known, None]:
        if each is None:
            prior, xs = (past * (m - len(known)).clamp(min=0) / m).sum(), now
            said = (1 - label_error) * (int(label[row]) not in known) / max(L - len(known), 1) + label_error / L
            first = math.log(2 / (2 * math.pi)) - now[0].square().sum() if now else 0.0  # N(0, I/2)
            before = torch.zeros(len(maps)).double()
        else:
            prior, xs = (past / m).sum(), [*states[each], *now]
            said = (1 - label_error) * (int(label[row]) == each) + label_error / L
            first, before = 0.0, fits(states[each])
        after = fits(xs)
        log = lambda values: torch.logsumexp(values, 0) - math.log(len(maps))
        weight = prior * (said if labels else 1) * (math.exp(log(after) - log(before) + first) if observations else 1)
        mean = (after.softmax(0)[:, None] * (maps @ xs[-1])).sum(0) if xs else torch.zeros(2).double()
        total, mass = total + weight * mean, mass + weight
    return total / mass


@pytest.mark.parametrize("traces", [3, pytest.param(8, marks=pytest.mark.standard)])
@pytest.mark.parametrize(
    "labels, observations, label_error",
    [(True, True, 0.0), (False, True, 0.0), (True, False, 0.3), (True, True, 0.3), (False, False, 0.0)],
)
def test_posterior_mean_is_that_of_brute_force(labels, observations, label_error, traces):
    batch = Task(CONFIG, seed=4).sample_batch(0, traces)
    found = Bayes(CONFIG, labels, observations, label_error, NOISE).predict(batch.tokens)
    reading, gaps = predictors.read(batch.tokens, CONFIG), []
    asked = reading.opens | reading.payload
    if not observations:  # not heard, a state may contradict: then there is no posterior
        asked = reading.opens
    for b, row in asked[:, 6:31].nonzero().tolist():
        force = by_force(batch, b, row + 6, CONFIG, NOISE, label_error, labels, observations)
        gaps.append((found[b, row + 6].double() - force).square().sum())
    gaps = torch.stack(gaps)
    assert len(gaps) > 3 * traces and gaps.mean().sqrt() < 0.02 and gaps.median().sqrt() < 0.01


def test_with_labels_it_is_ideal_recall():
    config = TaskConfig.compact(dimension=3, labels=4)
    tokens = Task(config, seed=1).sample_batch(0, 64).tokens
    assert torch.allclose(Bayes(config).predict(tokens), predictors.Recall(config).predict(tokens), atol=1e-4)


def gap_to_bayes(name):
    """[B] error of a committed model on fresh traces of its generator, less that of Bayes on the same ones."""
    run = runs.load(name)
    task = from_json(run.config).task
    batch = Task(task, seed=9_000).sample_batch(0, 128)

    def error(predict):
        squared = (predict(batch.inputs) - batch.targets).square().sum(-1)
        return (squared * batch.mask).sum(1) / batch.mask.sum(1)

    return error(trained_model(run).predict) - error(Bayes(task).predict)


@pytest.mark.standard
@pytest.mark.parametrize("name", ["haar-n3-l4-fast-0-s1-cd6e8b74", "haar-n5-l4-fast-0-s2-6ec303c8"])
def test_no_model_beats_it_on_the_training_generator(name):
    gap = gap_to_bayes(name)
    assert gap.mean() > 0


@pytest.mark.nightly
def test_no_committed_model_beats_it():
    names = [name for name in runs.names() if "-l4-" in name]
    assert len(names) > 10 and all(gap_to_bayes(name).mean() > 0 for name in names)


def test_without_labels_a_state_tells_who_is_on():
    config = TaskConfig.compact(dimension=3, labels=4)
    prompts = needle_prompts(config, 2, haystacks=4, traces=16)
    both = [make.predict(prompts.inputs) for make in (Bayes(config, labels=False), predictors.Recall(config))]
    row = prompts.query_row
    assert torch.allclose(both[0][:, row + 1 :], both[1][:, row + 1 :], atol=1e-3)  # from 2-after on
    weights = weigh(gather(prompts.inputs, config), labels=False)[:, row]
    # m of 2 to 4 after two systems in two segments: chances (m - 1) / m of that; each seen one is then on with the mean
    # of 1 / m
    share = torch.tensor([1 / 2, 2 / 3, 3 / 4]).double()
    seen = ((share / share.sum()) / torch.tensor([2.0, 3.0, 4.0])).sum()
    used = weights[:, :4] > 0
    assert (
        (used.sum(1) == 2).all()
        and torch.allclose(weights[:, :4][used], seen)
        and torch.allclose(weights[:, 4], 1 - 2 * seen)
    )


@pytest.mark.parametrize(
    "label_error, noise, leads", [(0.3, 1e-3, "observation"), (0.0, 0.1, "label"), (1e-30, 0.7, "label")]
)
def test_conflict_is_decided_by_the_two_errors(label_error, noise, leads):
    config = TaskConfig.compact(dimension=5, labels=4)
    prompts = apply("misdirected", needle_prompts(config, 2, haystacks=4, traces=16), config)
    weights = weigh(gather(prompts.inputs, config, noise), label_error)[:, prompts.query_row + 1]
    b, s = torch.arange(64), prompts.segments.label
    by = {"observation": weights[b, s[:, 0]], "label": weights[b, s[:, 1]]}
    assert by[leads].mean() > 0.9


def test_without_errors_a_conflict_has_probability_zero():
    config = TaskConfig.compact(dimension=5, labels=4)
    prompts = apply("misdirected", needle_prompts(config, 2, haystacks=2, traces=8), config)
    evidence = gather(prompts.inputs, config)
    row, b = prompts.query_row + 1, torch.arange(16)
    # the named system could not have shown this state
    assert (evidence.seen[b, row, prompts.segments.label[:, 1]] < -1e3).all()
    assert (evidence.seen[b, row, prompts.segments.label[:, 0]] > 0).all()


def test_equal_norms_leave_a_half_known_system_its_sphere():
    """A system of which one state was seen fits every state of that norm: a sphere, which beats all of space."""
    config = TaskConfig(dimension=3, labels=2, max_systems=2, trace_length=12, min_payload=1, max_payload=1)
    x, y = torch.tensor([0.6, 0.0, 0.0]), torch.tensor([0.0, 0.36, 0.48])
    tokens = torch.zeros(1, 7, config.columns)
    tokens[0, 0, 4] = 2**0.5
    for row, column in ((1, 0), (3, 1), (4, 0), (6, 1)):
        tokens[0, row, column] = 2**0.5
    for row, state in ((2, x), (5, y)):
        tokens[0, row, 5], tokens[0, row, 6:] = 1, state
    for length, fits in ((1.0, True), (1.3, False)):
        tokens[0, 5, 6:] = y * length
        weights = weigh(gather(tokens, config), labels=False)[0, 5]
        assert (weights[0] > 0.99) == fits and (weights[2] > 0.99) != fits


def test_bad_input():
    with pytest.raises(ValueError, match="family must be haar"):
        gather(torch.zeros(1, 1, 1), TaskConfig(family="rotations"))
    with pytest.raises(ValueError, match="label_error must be 0 to 1"):
        Bayes(CONFIG, label_error=1.5)
    with pytest.raises(ValueError, match="noise must be above 0, below 1"):
        Bayes(CONFIG, noise=0.0).predict(torch.zeros(1, 1, CONFIG.columns))
