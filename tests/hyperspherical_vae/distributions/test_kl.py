"""Registered KL divergences against quadrature, limits and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn import functional as F

from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher

from .quadrature import polar_rule, pole

DIMS = [2, 3, 5, 11, 40]


def vmf(dim: int, concentration: float | Tensor, radius: float = 1.0) -> VonMisesFisher:
    return VonMisesFisher(pole(dim), concentration, radius)


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
@pytest.mark.parametrize("concentration", [0.1, 2.0, 50.0, 1e4])
@pytest.mark.parametrize("dim", DIMS)
def test_to_the_uniform(family: type[VonMisesFisher], dim: int, concentration: float) -> None:
    q, uniform = family(pole(dim), concentration, 2.0), HypersphericalUniform(dim - 1, 2.0, dtype=torch.float64)
    points, weights = polar_rule(dim, concentration, 2.0)
    log_q = q.log_prob(points)
    expected = (weights * log_q.exp() * (log_q - uniform.log_prob(points))).sum()
    torch.testing.assert_close(kl_divergence(q, uniform), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "two"),
    [(0.0, 1.0), (1.0, 0.0), (0.5, 0.6), (3.0, 3.1), (5.0, 40.0), (40.0, 5.0), (200.0, 150.0), (1e3, 9e3)],
)
@pytest.mark.parametrize("dim", DIMS)
def test_between_von_mises_fisher_of_one_direction(dim: int, one: float, two: float) -> None:
    p, q = vmf(dim, one), vmf(dim, two)
    points, weights = polar_rule(dim, one)
    log_p = p.log_prob(points)
    expected = (weights * log_p.exp() * (log_p - q.log_prob(points))).sum()
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.8])
@pytest.mark.parametrize(("one", "two"), [(2.0, 7.0), (60.0, 3.0)])
@pytest.mark.parametrize("dim", DIMS)
def test_between_von_mises_fisher_of_two_directions(dim: int, one: float, two: float, cosine: float) -> None:
    p = vmf(dim, one)
    across = torch.eye(dim, dtype=torch.float64)[1]
    q = VonMisesFisher(cosine * pole(dim) + math.sqrt(1 - cosine**2) * across, two)
    # Of log q only k2 <mu2, z> depends on the direction across mu1, and its mean is that of the part along mu1.
    points, weights = polar_rule(dim, one)
    log_p = p.log_prob(points)
    log_q = q.log_prob(q.loc) - two + two * cosine * points[:, 0]
    expected = (weights * log_p.exp() * (log_p - log_q)).sum()
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 11, 1001])
def test_nearly_equal_von_mises_fisher_keep_their_digits(dim: int) -> None:
    # KL = A'(k) d^2 / 2 + O(d^3) for concentrations k and k + d; with d = 1e-6 k the rest is of the order 1e-6.
    for concentration in (1e-3, 1.0, 30.0, 1e3, 1e6, 1e8):
        kappa = torch.tensor(concentration, dtype=torch.float64, requires_grad=True)
        kl_uniform = kl_divergence(vmf(dim, kappa), HypersphericalUniform(dim - 1))
        (slope,) = torch.autograd.grad(kl_uniform, kappa)  # k A'(k)
        step = kappa.detach() * 1e-6
        for sign in (1, -1):
            other = kappa.detach() + sign * step
            exact_step = other - kappa.detach()
            expected = slope / kappa.detach() * exact_step**2 / 2
            found = kl_divergence(vmf(dim, kappa.detach()), vmf(dim, other))
            torch.testing.assert_close(found, expected, rtol=4e-6, atol=0)


@pytest.mark.parametrize("dim", [2, 3, 11, 301])
def test_the_two_ways_of_computing_meet(dim: int) -> None:
    # The formula changes where one concentration is half of the other.
    for concentration in (0.1, 1.0, 4.0, 5.0, 100.0, 149.0, 150.0, 1e4, 1e8):
        for ratio in (0.5, 2.0):
            sides = [
                kl_divergence(vmf(dim, concentration), vmf(dim, concentration * ratio * (1 + tiny)))
                for tiny in (-1e-9, 1e-9)
            ]
            torch.testing.assert_close(*sides, rtol=1e-7, atol=0)


@pytest.mark.parametrize("dim", [2, 3, 100_001])
def test_between_von_mises_fisher_is_finite_and_never_negative(dim: int) -> None:
    kappa = torch.tensor([0.0, 1e-8, 0.3, 5.0, 1e3, 1e8, 1e15], dtype=torch.float64)
    kl = kl_divergence(vmf(dim, kappa.unsqueeze(-1)), vmf(dim, kappa))
    assert kl.isfinite().all()
    assert (kl >= 0).all()
    assert kl.diagonal().abs().max() == 0
    to_uniform = kl_divergence(vmf(dim, kappa), HypersphericalUniform(dim - 1))
    torch.testing.assert_close(kl[:, 0], to_uniform, rtol=1e-12, atol=0)


def test_derivatives_of_von_mises_fisher_to_von_mises_fisher() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(6, 4, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    k1 = torch.tensor([0.2, 1.0, 3.0, 30.0, 40.0, 5.0], dtype=torch.float64, requires_grad=True)
    k2 = torch.tensor([0.25, 5.0, 3.1, 35.0, 2.0, 90.0], dtype=torch.float64, requires_grad=True)

    def kl(one: Tensor, k1: Tensor, two: Tensor, k2: Tensor) -> Tensor:
        return kl_divergence(VonMisesFisher(F.normalize(one, dim=-1), k1), VonMisesFisher(F.normalize(two, dim=-1), k2))

    assert torch.autograd.gradcheck(kl, (one, k1, two, k2))


def test_float32_in_and_out() -> None:
    p, q = (VonMisesFisher(pole(11).float(), k) for k in (torch.tensor([3.0, 1e5]), torch.tensor([3.001, 1.1e5])))
    double = kl_divergence(*(VonMisesFisher(pole(11), x.concentration.double()) for x in (p, q)))
    assert kl_divergence(p, q).dtype == torch.float32
    torch.testing.assert_close(kl_divergence(p, q).double(), double, rtol=1e-7, atol=0)


def test_vmap_over_von_mises_fisher_to_von_mises_fisher() -> None:
    k1, k2 = (torch.tensor(k, dtype=torch.float64) for k in ([0.5, 3.0, 50.0], [0.6, 9.0, 10.0]))
    loc = pole(5)

    def kl(k1: Tensor, k2: Tensor) -> Tensor:
        return kl_divergence(VonMisesFisher(loc, k1, validate_args=False), VonMisesFisher(loc, k2, validate_args=False))

    torch.testing.assert_close(torch.func.vmap(kl)(k1, k2), kl(k1, k2))


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, HypersphericalUniform])
def test_unequal_spheres_are_an_error(family: type) -> None:
    def make(dim: int, radius: float) -> VonMisesFisher | PowerSpherical | HypersphericalUniform:
        if family is HypersphericalUniform:
            return HypersphericalUniform(dim - 1, radius)
        made: VonMisesFisher | PowerSpherical = family(pole(dim), 1.0, radius)
        return made

    others = [HypersphericalUniform(2, 2.0)] + ([vmf(3, 1.0, 2.0)] if family is VonMisesFisher else [])
    for other in others:
        with pytest.raises(ValueError, match=r"the radii 1 and 2 differ; they have to be equal"):
            kl_divergence(make(3, 1.0), other)
        with pytest.raises(ValueError, match=r"the first is in R\^4, the second in R\^3"):
            kl_divergence(make(4, 2.0), other)


def around_axis(dim: int) -> tuple[Tensor, Tensor]:
    """Points of the sphere in R^dim, dim 3 or 4, by their place in the plane of the first two axes, and weights."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(400))
    theta, share = (1 + nodes) * math.pi / 2, weights * math.pi / 2
    if dim == 3:  # s is the cosine of an angle
        s, part = torch.cos(theta), share / math.pi
    else:  # s is uniform
        s, part = nodes, weights / 2
    w = torch.cos(theta)[:, None].expand(-1, 400)
    points = torch.stack([w, torch.sin(theta)[:, None] * s], -1)
    area = 2 * math.pi if dim == 3 else 4 * math.pi
    return points, (share * torch.sin(theta) ** (dim - 2) * area)[:, None] * part


@pytest.mark.parametrize("other", [PowerSpherical, VonMisesFisher])
@pytest.mark.parametrize("cosine", [1.0, 0.9, -0.2])
@pytest.mark.parametrize(("one", "two"), [(2.0, 7.0), (20.0, 3.0), (5.0, 5.1)])
@pytest.mark.parametrize("dim", [3, 4])
def test_from_power_spherical(dim: int, one: float, two: float, cosine: float, other: type) -> None:
    axes = torch.eye(dim, dtype=torch.float64)
    second = cosine * axes[0] + math.sqrt(1 - cosine**2) * axes[1]
    p, q = PowerSpherical(axes[0], one), other(second, two)
    plane, weights = around_axis(dim)
    rest = (1 - plane.square().sum(-1)).clamp_min(0).sqrt()
    points = torch.cat([plane, rest.unsqueeze(-1), torch.zeros(*rest.shape, dim - 3)], -1).double()
    log_p, log_q = p.log_prob(points), q.log_prob(points)
    expected = (weights * log_p.exp() * (log_p - log_q)).sum()
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3, 4, 7, 50])
def test_from_power_spherical_at_its_limits(dim: int) -> None:
    kappa = torch.tensor([0.0, 1e-8, 0.3, 5.0, 1e4, 1e8], dtype=torch.float64)
    here, there = pole(dim), torch.eye(dim, dtype=torch.float64)[1]
    same = kl_divergence(PowerSpherical(here, kappa[:, None]), PowerSpherical(here.clone(), kappa))
    assert (same.diagonal() == 0).all()
    assert (same >= 0).all()
    uniform = kl_divergence(PowerSpherical(here, kappa), HypersphericalUniform(dim - 1))
    for q in (PowerSpherical(there, 0.0), VonMisesFisher(there, 0.0)):
        torch.testing.assert_close(kl_divergence(PowerSpherical(here, kappa), q), uniform, rtol=1e-12, atol=1e-15)
    for q in (PowerSpherical(there, kappa), VonMisesFisher(there, kappa)):
        turned = kl_divergence(PowerSpherical(here, kappa), q)
        assert turned.isfinite().all()
        assert (turned >= 0).all()


@pytest.mark.parametrize("other", [PowerSpherical, VonMisesFisher])
@pytest.mark.parametrize("first", [PowerSpherical, VonMisesFisher])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_second_derivatives_in_every_parameter(dim: int, first: type, other: type) -> None:
    if (first, other) == (VonMisesFisher, PowerSpherical):
        with pytest.raises(NotImplementedError, match="No KL"):
            kl_divergence(first(pole(dim), 1.0), other(pole(dim), 1.0))
        return
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(3, dim, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    k1, k2 = (torch.tensor(k, dtype=torch.float64, requires_grad=True) for k in ([0.2, 3.0, 30.0], [0.25, 9.0, 20.0]))

    def kl(one: Tensor, k1: Tensor, two: Tensor, k2: Tensor) -> Tensor:
        return kl_divergence(first(F.normalize(one, dim=-1), k1), other(F.normalize(two, dim=-1), k2))

    assert torch.autograd.gradcheck(kl, (one, k1, two, k2), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(kl, (one, k1, two, k2), fast_mode=True)
