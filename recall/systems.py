"""Families of linear dynamical systems, drawn and rolled out in batches.

A system is  x[t+1] = A x[t] + w[t],  y[t] = C x[t] + v[t].  In every family but `gaussian` there is no noise and
C = I, so what is observed is the state itself.  The main family is `haar`: A = U is an orthogonal matrix drawn
uniformly from O(n), which keeps the norm of the state, so one step looks statistically like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

SPECTRAL_RADIUS = 0.95  # the study's stable family
STATE_NOISE = OBSERVATION_NOISE = 0.1  # the same


@dataclass(frozen=True)
class Systems:
    """M systems of one family, each with the state it starts from.

    A: [M, d, d] state map.  x0: [M, d] first state.  C: [M, n, d] or None for C = I (then n = d).
    state_noise: standard deviation of w (0 for none).  observation_noise: [M] standard deviation of v, or None.
    unit: first states lie on the unit sphere.
    """

    A: Tensor
    x0: Tensor
    C: Tensor | None = None
    state_noise: float = 0.0
    observation_noise: Tensor | None = None
    unit: bool = False

    def __len__(self) -> int:
        return len(self.A)

    def __getitem__(self, index: Tensor) -> Systems:
        """The systems at `index` [K]."""
        return self._each(lambda value, name: value[index])

    def repeat(self, times: int) -> Systems:
        """Each system `times` times in a row: [M] -> [M * times]."""
        return self._each(lambda value, name: value.repeat_interleave(times, dim=0))

    def beside(self, other: Systems) -> Systems:
        """These systems and then those, of the same family."""
        return self._each(lambda value, name: torch.cat([value, getattr(other, name)]))

    def _each(self, change) -> Systems:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(value, name) for name, value in tensors.items()})


def haar_orthogonal(count: int, n: int, generator: torch.Generator, dtype=torch.float32) -> Tensor:
    """[count, n, n] matrices uniform on O(n): QR of a Gaussian, each column of Q times the sign of R's diagonal.

    Without the signs the law of Q depends on the QR routine and is not uniform (Mezzadri 2007).
    """
    gaussian = torch.randn(count, n, n, generator=generator, device=generator.device, dtype=dtype)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


def _haar(count, n, generator):
    return Systems(haar_orthogonal(count, n, generator), _spherical(count, n, generator))


def _equal(count, n, generator):
    """`haar` with every first state on the unit sphere, so that no norm tells one system from another."""
    drawn = _haar(count, n, generator)
    return with_first_states(replace(drawn, unit=True), generator)


def _identity(count, n, generator):
    eye = torch.eye(n, device=generator.device).expand(count, n, n)
    return Systems(eye, _spherical(count, n, generator))


def _rotations(count, n, generator):
    """Each of the floor(n/2) coordinate planes turns by its own uniform angle; an odd last coordinate stands still."""
    angle = 2 * torch.pi * torch.rand(count, n // 2, generator=generator, device=generator.device)
    A = torch.eye(n, device=generator.device).repeat(count, 1, 1)
    i = 2 * torch.arange(n // 2, device=generator.device)
    A[:, i, i] = A[:, i + 1, i + 1] = angle.cos()
    A[:, i, i + 1], A[:, i + 1, i] = -angle.sin(), angle.sin()
    return Systems(A, _spherical(count, n, generator))


def _gaussian(count, n, generator):
    """The study's noisy, partly observed family: 2n hidden states, n observed, E|y|^2 = 1 in the steady state.

    A is Gaussian, scaled to spectral radius 0.95; C is Gaussian with variance 1/3; x0 is drawn from the steady state.
    C and the observation noise are scaled together until the steady-state covariance of y has trace 1.
    """
    d, device = 2 * n, generator.device
    A = torch.randn(count, d, d, generator=generator, device=device)
    A = A * (SPECTRAL_RADIUS / torch.linalg.eigvals(A).abs().amax(-1))[:, None, None]
    C = torch.randn(count, n, d, generator=generator, device=device) / 3**0.5
    covariance = stationary_covariance(A, STATE_NOISE)
    observed = C @ covariance @ C.mT
    scale = (observed.diagonal(dim1=-2, dim2=-1).sum(-1) + n * OBSERVATION_NOISE**2).rsqrt()
    x0 = torch.zeros(count, d, device=device)
    noisy = Systems(A, x0, C * scale[:, None, None], STATE_NOISE, OBSERVATION_NOISE * scale)
    return with_first_states(noisy, generator)


def _triangular(count, n, generator):
    """Upper triangular: diagonal uniform on (-0.95, 0.95), the rest N(0, 1/n).

    The scale is our choice: the study names such a family but its figures do not use it.
    """
    diagonal = SPECTRAL_RADIUS * (2 * torch.rand(count, n, generator=generator, device=generator.device) - 1)
    upper = torch.randn(count, n, n, generator=generator, device=generator.device).triu(1) / n**0.5
    return Systems(upper + torch.diag_embed(diagonal), _spherical(count, n, generator))


def _spherical(count, n, generator):
    """x0 ~ N(0, I/n), so that E|x0|^2 = 1."""
    return torch.randn(count, n, generator=generator, device=generator.device) / n**0.5


FAMILIES = {
    "haar": _haar,
    "equal": _equal,
    "identity": _identity,
    "rotations": _rotations,
    "gaussian": _gaussian,
    "triangular": _triangular,
}


def draw(family: str, count: int, n: int, generator: torch.Generator) -> Systems:
    """Draw `count` systems whose observations have `n` dimensions, on the generator's device.

    Raises ValueError for an unknown family or n < 1.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if n < 1:
        raise ValueError(f"dimension must be at least 1, not {n}")
    return FAMILIES[family](count, n, generator)


def with_first_states(systems: Systems, generator: torch.Generator) -> Systems:
    """The same maps, each from a new first state of its own law."""
    if systems.C is None:
        x0 = _spherical(*systems.x0.shape, generator)
        return replace(systems, x0=x0 / x0.norm(dim=-1, keepdim=True) if systems.unit else x0)
    root = torch.linalg.cholesky(stationary_covariance(systems.A, systems.state_noise))
    fresh = torch.randn(*systems.x0.shape, 1, generator=generator, device=generator.device)
    return replace(systems, x0=(root @ fresh).squeeze(-1))


def stationary_covariance(A: Tensor, state_noise: float) -> Tensor:
    """[M, d, d] solution of S = A S A' + state_noise^2 I for stable A, by doubling (2^10 steps: 0.95^2048 ~ 1e-46)."""
    S = state_noise**2 * torch.eye(A.shape[-1], device=A.device, dtype=A.dtype).expand_as(A)
    for _ in range(10):
        S = S + A @ S @ A.mT
        A = A @ A
    return (S + S.mT) / 2


def rollout(systems: Systems, steps: int, generator: torch.Generator | None = None, state_noise: float = 0.0) -> Tensor:
    """[M, steps, n] observations y[0..steps-1] of each system from its x0.

    Without noise the trajectory is built by doubling, X[k..2k) = A^k X[0..k), which takes log2(steps) products. With
    noise `generator` supplies it (ValueError if it is missing).  state_noise: s, for orthogonal maps:
    x' = sqrt(1 - s^2) A x + s w, w ~ N(0, I/n), under which N(0, I/n) is stationary.
    """
    if state_noise:
        return _shaken(systems, steps, generator, state_noise)
    if systems.state_noise or systems.observation_noise is not None:
        return _noisy_rollout(systems, steps, generator)
    states, power = systems.x0.unsqueeze(1), systems.A  # [M, 1, d], A^1
    while states.shape[1] < steps:
        states = torch.cat([states, states @ power.mT], dim=1)
        power = power @ power
    states = states[:, :steps]
    return states if systems.C is None else states @ systems.C.mT


def _shaken(systems, steps, generator, noise):
    w = noise * torch.stack([_spherical(*systems.x0.shape, generator) for _ in range(steps)])
    x, states = systems.x0, []
    for t in range(steps):
        states.append(x)
        x = (1 - noise**2) ** 0.5 * (systems.A @ x.unsqueeze(-1)).squeeze(-1) + w[t]
    return torch.stack(states, dim=1)


def before(A: Tensor, state: Tensor, steps: int) -> Tensor:
    """[M, d] the states `steps` steps earlier, of orthogonal maps, whose inverse is their transpose."""
    for _ in range(steps):
        state = (A.mT @ state.unsqueeze(-1)).squeeze(-1)
    return state


def _noisy_rollout(systems, steps, generator):
    if generator is None:
        raise ValueError("generator must be given for a family with noise")
    count, d, _ = systems.A.shape
    n = systems.C.shape[1]
    w = systems.state_noise * torch.randn(steps, count, d, generator=generator, device=generator.device)
    v = torch.randn(steps, count, n, generator=generator, device=generator.device)
    x, observations = systems.x0, []
    for t in range(steps):
        observations.append((systems.C @ x.unsqueeze(-1)).squeeze(-1) + systems.observation_noise[:, None] * v[t])
        x = (systems.A @ x.unsqueeze(-1)).squeeze(-1) + w[t]
    return torch.stack(observations, dim=1)
