"""Every edit changes what it says and nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recall import evaluation
from recall.interventions import EXACT, INTERVENTIONS, apply, between, named_segment, synchronised
from recall.needle import needle_prompts
from recall.predictors import Match, Named
from recall.task import TaskConfig

CONFIG = TaskConfig.compact(dimension=3, labels=5)
L, N, NEEDLE = CONFIG.labels, 3, 1


@pytest.fixture(scope="module")
def plain():
    return needle_prompts(CONFIG, N, haystacks=4, traces=5, needle=NEEDLE)


def edited(name, plain):
    before = plain.tokens.clone()
    after = apply(name, plain, CONFIG)
    assert torch.equal(plain.tokens, before)  # pure
    return after


def rows(a, b):
    """Rows on which any prompt differs."""
    return set((a.tokens != b.tokens).any(-1).any(0).nonzero().flatten().tolist())


def observations(prompts, segment):
    """[B, length, n] as they stand in the tokens."""
    s = prompts.segments
    start, length = int(s.start[0, segment]), int(s.length[0, segment])
    return prompts.tokens[:, start + 1 : start + 1 + length, -CONFIG.dimension :]


def query(prompts):
    return set(range(prompts.query_row + 1, prompts.tokens.shape[1]))


def map_of(prompts, segment):
    return prompts.systems.A[prompts.segments.system[:, segment]]


def follows(states, A):
    return torch.allclose((A.unsqueeze(1) @ states[:, :-1].unsqueeze(-1)).squeeze(-1), states[:, 1:], atol=1e-5)


@pytest.mark.parametrize("name, shown", [("misdirected", "named"), ("unseen-label", "unused")])
def test_only_the_querys_label(plain, name, shown):
    after = edited(name, plain)
    assert rows(plain, after) == {plain.query_row}
    label = after.segments.label
    if shown == "named":
        assert (
            torch.equal(label[:, -1], label[:, named_segment(plain)])
            and (label[:, -1] != plain.segments.label[:, -1]).all()
        )
    else:
        assert not (label[:, :-1] == label[:, -1:]).any()
    column = after.tokens[:, plain.query_row, : 2 * L].argmax(-1)
    assert torch.equal(column, 2 * label[:, -1])


def test_one_label(plain):
    after = edited("one-label", plain)
    changed = {
        int(plain.segments.start[0, i]) + at
        for i in range(N)
        if i != NEEDLE
        for at in (0, int(plain.segments.length[0, i]) + 1)
    }
    assert rows(plain, after) == changed
    assert (after.segments.label == plain.segments.label[:, -1:]).all()


def test_louder_label(plain):
    after = edited("louder-label", plain)
    assert rows(plain, after) == {plain.query_row}
    assert torch.equal(after.tokens[:, plain.query_row], 2 * plain.tokens[:, plain.query_row])


@pytest.mark.parametrize("name, segment", [("repeated-label", NEEDLE), ("broken-adjacency", (NEEDLE + 1) % N)])
def test_an_empty_segment_before_the_query(plain, name, segment):
    after, q = edited(name, plain), plain.query_row
    assert after.query_row == q + 2 and after.tokens.shape[1] == plain.tokens.shape[1] + 2
    assert torch.equal(after.tokens[:, :q], plain.tokens[:, :q]) and torch.equal(
        after.tokens[:, q + 2 :], plain.tokens[:, q:]
    )
    label = plain.segments.label[:, segment]
    for offset in (0, 1):  # open, close
        row = after.tokens[:, q + offset]
        assert torch.equal(row.argmax(-1), 2 * label + offset) and torch.allclose(row.sum(-1), torch.tensor(2.0).sqrt())


@pytest.mark.parametrize("name, gone", [("no-close", 1), ("no-labels", 2)])
def test_label_rows_that_are_gone(name, gone):
    plain = needle_prompts(CONFIG, N, haystacks=4, traces=5, needle=N - 1)
    after, q = edited(name, plain), plain.query_row
    assert torch.equal(after.tokens, torch.cat([plain.tokens[:, : q - 1], plain.tokens[:, q - 1 + gone :]], 1))
    assert after.query_row == q - gone and after.count == N
    assert torch.equal(after.targets[:, after.query_row], plain.targets[:, q])


@pytest.mark.parametrize("name", ["new-system", "restart"])
def test_a_new_system(plain, name):
    after = edited(name, plain)
    assert rows(plain, after) == query(plain) | ({plain.query_row} if name == "restart" else set())
    shown, A = observations(after, N), map_of(after, N)
    assert follows(shown, A) and torch.equal(shown[:, 0], after.systems.x0[after.segments.system[:, -1]])
    assert all((map_of(after, i) - A).flatten(1).norm(dim=1).min() > 1e-2 for i in range(N))


def test_norm_swap(plain):
    after = edited("norm-swap", plain)
    assert rows(plain, after) == query(plain)
    before, shown = observations(plain, N), observations(after, N)
    assert torch.allclose(torch.cosine_similarity(before, shown, dim=-1), torch.ones(()), atol=1e-5)
    other = observations(plain, named_segment(plain)).norm(dim=-1)[:, :1]
    assert torch.allclose(shown.norm(dim=-1), other.expand(shown.shape[:2]), atol=1e-5) and follows(
        shown, map_of(plain, NEEDLE)
    )


def test_halfway(plain):
    after = edited("halfway", plain)
    assert rows(plain, after) == query(plain)
    shown, own = observations(after, N), observations(plain, N)[:, 0]
    other = (
        map_of(plain, named_segment(plain)) @ observations(plain, named_segment(plain))[:, -1].unsqueeze(-1)
    ).squeeze(-1)
    angle = lambda v: torch.cosine_similarity(shown[:, 0], v, dim=-1)
    assert torch.allclose(angle(own), angle(other), atol=1e-4)
    assert torch.allclose(shown[:, 0].norm(dim=-1), (own.norm(dim=-1) + other.norm(dim=-1)) / 2, atol=1e-5)
    assert follows(shown, map_of(plain, NEEDLE))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_synchronised(plain, share):
    after = synchronised(plain, CONFIG, share)
    common = observations(plain, N)[:, 0]
    assert torch.equal(observations(after, N), observations(plain, N)) and torch.equal(
        observations(after, NEEDLE), observations(plain, NEEDLE)
    )
    for i in range(N):
        states, A = observations(after, i), map_of(plain, i)
        then = (A @ states[:, -1].unsqueeze(-1)).squeeze(-1)
        was = (A @ observations(plain, i)[:, -1].unsqueeze(-1)).squeeze(-1)
        assert follows(states, A) and torch.allclose(then, between(was, common, share), atol=1e-5)
    if share == 0:
        assert torch.allclose(after.tokens, plain.tokens, atol=1e-5)


def test_equal_norm(plain):
    after = edited("equal-norm", plain)
    norm = observations(plain, N)[:, 0].norm(dim=-1)
    for i in range(N + 1):
        states = observations(after, i)
        assert torch.allclose(states.norm(dim=-1), norm[:, None].expand(states.shape[:2]), atol=1e-5)
        assert torch.allclose(
            torch.cosine_similarity(states, observations(plain, i), dim=-1), torch.ones(()), atol=1e-5
        )
    assert torch.equal(observations(after, N), observations(plain, N))


@pytest.mark.parametrize("name", ["opposite", "similar-maps"])
def test_a_neighbours_map(plain, name):
    after, other = edited(name, plain), named_segment(plain)
    start = int(plain.segments.start[0, other])
    assert rows(plain, after) <= set(range(start + 2, start + 1 + int(plain.segments.length[0, other])))
    A, needle, was = map_of(after, other), map_of(plain, NEEDLE), map_of(plain, other)
    assert follows(observations(after, other), A)
    assert torch.allclose(A @ A.mT, torch.eye(CONFIG.dimension).expand_as(A), atol=1e-5)
    if name == "opposite":
        assert torch.equal(A, -needle)
    else:
        far = lambda a, b: (a - b).flatten(1).norm(dim=1)
        alike = torch.linalg.det(needle) * torch.linalg.det(was) > 0
        assert (
            alike.any()
            and torch.allclose(far(A, needle)[alike], far(A, was)[alike], atol=1e-3)
            and (far(A, needle) < far(was, needle)).all()
        )


def test_late_start(plain):
    after = edited("late-start", plain)
    flag = 2 * L + 1
    assert torch.equal(after.tokens[..., : flag + 1], plain.tokens[..., : flag + 1])
    late = int(plain.segments.first[0, -1] + plain.segments.length[0, -1])
    for i in range(N + 1):
        A = torch.linalg.matrix_power(map_of(plain, i).double(), late).float()
        moved = (A.unsqueeze(1) @ observations(plain, i).unsqueeze(-1)).squeeze(-1)
        assert torch.allclose(moved, observations(after, i), atol=1e-4)


@pytest.mark.parametrize("name", [name for name, each in INTERVENTIONS.items() if each.observation == EXACT])
def test_matching_by_state_is_exact_from_k_2(plain, name):
    errors = evaluation.table(Match(CONFIG).predict, plain, CONFIG, name).query("event == 'query'")["mean"].tolist()
    assert errors[0] > 0.2 and max(errors[1:]) < 1e-3


@pytest.mark.parametrize(
    "name", [name for name, each in INTERVENTIONS.items() if each.label == "exact at every k" and name != "no-labels"]
)
def test_believing_the_label_is_exact(plain, name):
    assert evaluation.table(Named(CONFIG).predict, plain, CONFIG, name).query("event == 'query'")["mean"].max() < 1e-3


def test_believing_a_wrong_label_goes_on_with_the_other_system(plain):
    after = edited("misdirected", plain)
    answer = Named(CONFIG).predict(after.inputs)[:, after.query_row :]
    A, last = map_of(plain, named_segment(plain)), observations(plain, named_segment(plain))[:, -1:]
    x = torch.cat([last, observations(after, N)[:, :-1]], 1)
    assert torch.allclose(answer, (A.unsqueeze(1) @ x.unsqueeze(-1)).squeeze(-1), atol=1e-4)


def test_equal_matches_are_averaged(plain):
    after = edited("synchronised", plain)
    answer = Match(CONFIG).predict(after.inputs)[:, after.query_row + 1]
    x = observations(after, N)[:, 0].unsqueeze(-1)
    assert torch.allclose(answer, sum(map_of(after, i) @ x for i in range(N)).squeeze(-1) / N, atol=1e-2)


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_edit_of_any_prompt(data):
    """Either a line that says why not, or prompts whose query rows still ask for what is shown next."""
    dimension, labels = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    family = data.draw(st.sampled_from(["haar", "rotations", "identity", "gaussian", "triangular"]))
    config = TaskConfig.compact(dimension=dimension, labels=labels, family=family)
    systems = data.draw(st.integers(1, labels))
    prompts = needle_prompts(
        config,
        systems,
        haystacks=2,
        traces=2,
        needle=data.draw(st.integers(0, systems - 1)),
        seed=data.draw(st.integers(0, 99)),
    )
    name, before = data.draw(st.sampled_from(list(INTERVENTIONS))), prompts.tokens.clone()
    try:
        after = apply(name, prompts, config)
    except ValueError as error:
        expected = {
            "systems": systems < 2,
            "labels": labels == systems,
            "needle": prompts.needle < systems - 1,
            "family": family in ("gaussian", "triangular"),
            "dimension": dimension == 1,
        }
        assert expected[str(error).split(" must be ")[0]]
        return
    assert torch.equal(prompts.tokens, before) and after.count == systems and after.tokens.isfinite().all()
    s = after.segments
    asked = s.length[0, -1] if name != "no-labels" else prompts.segments.length[0, -1]
    first = s.first[:, -1] + s.length[:, -1] - asked
    shown = after.observations[s.system[:, -1].unsqueeze(1), first.unsqueeze(1) + torch.arange(int(asked))]
    assert torch.equal(after.targets[:, after.query_row :], shown) and after.mask[:, after.query_row :].all()
    assert after.inputs.shape[1] == after.query_row + int(asked)


def test_impossible_edits_say_why():
    full = needle_prompts(CONFIG, L, haystacks=1, traces=1)
    with pytest.raises(ValueError, match=r"labels must be more than systems \(5\): every label is used, not 5"):
        apply("unseen-label", full, CONFIG)
    with pytest.raises(
        ValueError, match=r"needle must be the nearest segment \(4\): only that one can go on without labels, not 0"
    ):
        apply("no-labels", full, CONFIG)
    with pytest.raises(ValueError, match="share must be 0 to 1, not 2"):
        synchronised(full, CONFIG, 2)
    with pytest.raises(ValueError, match="systems must be at least 2 for this intervention, not 1"):
        apply("misdirected", needle_prompts(CONFIG, 1, haystacks=1, traces=1), CONFIG)
    with pytest.raises(ValueError, match="intervention must be one of plain, misdirected, .*, not 'x'"):
        apply("x", full, CONFIG)
