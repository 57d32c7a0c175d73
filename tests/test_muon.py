"""Muon, matrices of one shape together, beside the same law matrix by matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall.muon import A, B, C, Muon, orthogonalised


def by_itself(W, gradients, lr, momentum):
    """The law for one matrix, as `torch.optim.Muon` writes it, in single precision."""
    M = torch.zeros_like(W)
    for gradient in gradients:
        M = M + (1 - momentum) * (gradient - M)
        X = gradient + momentum * (M - gradient)
        tall = X.shape[0] > X.shape[1]
        X = X.T if tall else X
        X = X / max(float(X.norm()), 1e-7)
        for _ in range(5):
            G = X @ X.T
            X = 3.4445 * X + (-4.7750 * G + 2.0315 * G @ G) @ X
        W = W - lr * max(1, W.shape[0] / W.shape[1]) ** 0.5 * (X.T if tall else X)
    return W


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 24), st.integers(1, 24)), min_size=1, max_size=6),
    st.floats(0, 0.99),
    st.integers(0, 1000),
)
def test_steps_are_those_of_each_matrix_by_itself(shapes, momentum, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda shape: torch.randn(shape, generator=generator)
    given_weights = [draw(shape) for shape in shapes]
    gradients = [[draw(shape) for _ in range(4)] for shape in shapes]
    matrices = [torch.nn.Parameter(weight.clone()) for weight in given_weights]
    optimiser = Muon(matrices, lr=0.02, momentum=momentum)
    for turn in range(4):
        for p, each in zip(matrices, gradients):
            p.grad = each[turn].clone()
        optimiser.step()
    for p, weight, each in zip(matrices, given_weights, gradients):
        torch.testing.assert_close(p.detach(), by_itself(weight, each, 0.02, momentum), rtol=1e-5, atol=1e-5)


def test_it_is_the_law_of_torch():
    """torch's own works in bfloat16, whose unit is 2^-8; the step of a matrix has about unit entries' scale."""
    generator = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(48, 16, generator=generator) for _ in range(2))
    ours, theirs = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(weight.clone())
    ours.grad, theirs.grad = gradient.clone(), gradient.clone()
    Muon([ours], lr=1.0, momentum=0.7).step()
    torch.optim.Muon([theirs], lr=1.0, momentum=0.7, weight_decay=0.0).step()
    moved = (theirs - weight).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_a_step_by_hand():
    """1 x 1: X is the sign, and five iterations of x <- a x + b x^3 + c x^5 lead from 1 to what is in the step."""
    x = 1.0
    for _ in range(5):
        x = A * x + B * x**3 + C * x**5
    p = torch.nn.Parameter(torch.tensor([[2.0]]))
    p.grad = torch.tensor([[-3.0]])
    Muon([p], lr=0.5, momentum=0.9).step()
    assert p.item() == pytest.approx(2.0 + 0.5 * x, abs=1e-6)


def test_singular_values_are_near_one():
    X = orthogonalised(torch.randn(5, 12, 30, generator=torch.Generator().manual_seed(1)))
    values = torch.linalg.svdvals(X)
    assert 0.6 < values.min() and values.max() < 1.3


def test_what_has_no_gradient_stays_and_what_is_no_matrix_is_refused():
    still = torch.nn.Parameter(torch.ones(3, 3))
    Muon([still], lr=1.0, momentum=0.9).step()
    assert (still == 1).all()
    with pytest.raises(ValueError, match=r"params must be matrices, not of shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=1.0, momentum=0.9)
