import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall import systems
from recall.task import stream


def generator(seed=0):
    return stream("evaluation", seed)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
def test_haar_maps_are_orthogonal(n):
    U = systems.haar_orthogonal(200, n, generator())
    assert torch.allclose(U @ U.mT, torch.eye(n).expand_as(U), atol=1e-5)


def test_haar_is_uniform_and_plain_qr_is_not():
    # on O(2) the trace is 2 cos(angle) for rotations and 0 for reflections: E tr = 0, E tr^2 = 1, det = +-1 equally
    # often
    U = systems.haar_orthogonal(40_000, 2, generator())
    trace, det = U.diagonal(dim1=1, dim2=2).sum(1), torch.linalg.det(U)
    assert abs(trace.mean()) < 0.02
    assert abs((trace**2).mean() - 1) < 0.03
    assert abs(det.mean()) < 0.02
    plain = torch.linalg.qr(torch.randn(40_000, 2, 2, generator=generator())).Q
    assert abs(plain.diagonal(dim1=1, dim2=2).sum(1).mean()) > 0.2 or abs(torch.linalg.det(plain).mean()) > 0.2


@pytest.mark.parametrize("family", [f for f in systems.FAMILIES if f != "gaussian"])
def test_first_states_have_unit_mean_square(family):
    drawn = systems.draw(family, 20_000, 5, generator())
    assert abs(drawn.x0.square().sum(-1).mean() - 1) < 0.02


@given(
    family=st.sampled_from([f for f in systems.FAMILIES if f != "gaussian"]),
    n=st.integers(1, 6),
    steps=st.integers(1, 40),
)
@settings(max_examples=30, deadline=None)
def test_doubling_equals_stepping(family, n, steps):
    drawn = systems.draw(family, 4, n, generator(n))
    y = systems.rollout(drawn, steps)
    x = drawn.x0
    for t in range(steps):
        assert torch.allclose(y[:, t], x, atol=1e-4)
        x = (drawn.A @ x.unsqueeze(-1)).squeeze(-1)


def test_rotation_keeps_the_odd_coordinate_and_every_norm():
    y = systems.rollout(systems.draw("rotations", 50, 5, generator()), 30)
    assert torch.allclose(y[..., 4], y[:, :1, 4].expand(-1, 30), atol=1e-5)
    assert torch.allclose(y.norm(dim=-1), y[:, :1].norm(dim=-1).expand(-1, 30), atol=1e-4)


def test_triangular_is_triangular_stable_and_bounded():
    drawn = systems.draw("triangular", 500, 5, generator())
    assert torch.equal(drawn.A, drawn.A.triu())
    assert drawn.A.diagonal(dim1=1, dim2=2).abs().max() < systems.SPECTRAL_RADIUS
    assert systems.rollout(drawn, 251).abs().max() < 50  # the study's rejection bound


def test_gaussian_family_is_stationary_with_unit_observation_power():
    drawn = systems.draw("gaussian", 3000, 3, generator())
    radius = torch.linalg.eigvals(drawn.A).abs().amax(-1)
    assert torch.allclose(radius, torch.full_like(radius, 0.95), atol=1e-4)
    S = systems.stationary_covariance(drawn.A, drawn.state_noise)
    residual = S - (drawn.A @ S @ drawn.A.mT + systems.STATE_NOISE**2 * torch.eye(6))
    assert residual.abs().max() < 1e-3 * S.abs().max()
    y = systems.rollout(drawn, 12, generator(1))
    for t in (0, 11):
        assert abs(y[:, t].square().sum(-1).mean() - 1) < 0.08


def test_noisy_rollout_needs_a_generator():
    with pytest.raises(ValueError, match="generator"):
        systems.rollout(systems.draw("gaussian", 1, 2, generator()), 3)


def test_unknown_family_and_dimension_zero():
    with pytest.raises(ValueError, match="family must be one of haar"):
        systems.draw("unitary", 1, 2, generator())
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        systems.draw("haar", 1, 0, generator())
    assert math.isfinite(systems.draw("haar", 1, 1, generator()).A.item())


def test_equal_norms_stay_equal_in_training_and_in_prompts():
    drawn = systems.draw("equal", 50, 3, generator())
    assert torch.allclose(systems.rollout(drawn, 9).norm(dim=-1), torch.ones(50, 9), atol=1e-5)
    again = systems.with_first_states(drawn.repeat(2), generator(1))
    assert torch.allclose(again.x0.norm(dim=-1), torch.ones(100), atol=1e-6) and not torch.allclose(
        again.x0[:50], drawn.x0
    )


def test_shaken_states_without_noise_to_speak_of_are_the_orbit():
    drawn = systems.draw("haar", 8, 3, generator())
    assert torch.allclose(
        systems.rollout(drawn, 6, generator(), state_noise=1e-6), systems.rollout(drawn, 6), atol=1e-4
    )
