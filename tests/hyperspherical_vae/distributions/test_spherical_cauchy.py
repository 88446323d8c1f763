"""The spherical Cauchy distribution against reference values, quadrature and its definition."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn import functional as F

from hyperspherical_vae import HypersphericalUniform, SphericalCauchy, VonMisesFisher

from .quadrature import polar_rule, pole

TRUTH = Path(__file__).resolve().parents[2] / "data" / "spherical_cauchy_truth.csv"


def of_gap(dim: int, gap: Tensor) -> SphericalCauchy:
    """The distribution of a given 1 - rho, through the concentration."""
    return SphericalCauchy.from_concentration(pole(dim).to(gap.dtype), 2 * (dim - 1) * (1 - gap) / gap.square())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_kl_and_its_derivative_reach_the_truth(dtype: torch.dtype, tolerance: float) -> None:
    with TRUTH.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 117
    for row in rows:
        dim, gap, kl = int(row["m"]), float(row["one_minus_rho"]), float(row["KL"])
        kappa = torch.tensor(2 * (dim - 1) * (1 - gap) / gap**2, dtype=torch.float64)
        # The truth at the number that single precision really passes, to first order.
        given = kappa.to(dtype).requires_grad_()
        slope = float(row["dKL_drho"]) * gap**3 / (2 * (dim - 1) * (2 - gap))  # dKL / dkappa
        q = SphericalCauchy.from_concentration(pole(dim).to(dtype), given)
        found = q.kl_uniform()
        (derivative,) = torch.autograd.grad(found, given)
        expected = kl + slope * (given.detach().double() - kappa).item()
        assert abs(found.double().item() - expected) <= tolerance * abs(expected)
        # Of the curvature of the KL the rounding of kappa to single precision gives a relative error of its own.
        assert abs(derivative.double().item() - slope) <= tolerance * abs(slope) or gap == 1


def test_rho_and_concentration_are_two_ways_to_one_distribution() -> None:
    rho = torch.tensor([0.0, 1e-3, 0.5, 0.999], dtype=torch.float64)
    one = SphericalCauchy(pole(5), rho, 2.0)
    other = SphericalCauchy.from_concentration(pole(5), one.concentration, 2.0)
    torch.testing.assert_close(other.rho, rho)
    torch.testing.assert_close(other.gap, 1 - rho)
    torch.testing.assert_close(other.mean, one.mean)
    # The log-density bends at the mode as that of a von Mises-Fisher distribution does.
    z = F.normalize(torch.tensor([1.0, 1e-4, 0, 0, 0], dtype=torch.float64), dim=-1)
    falls = [
        (q.log_prob(2 * pole(5)) - q.log_prob(2 * z))[1:]
        for q in (one, VonMisesFisher(pole(5), one.concentration, 2.0))
    ]
    torch.testing.assert_close(*falls, rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("dim", [2, 3, 4, 5, 12])
def test_moments_entropy_and_kl_by_quadrature(dim: int, rho: float) -> None:
    q = SphericalCauchy(pole(dim), torch.tensor(rho, dtype=torch.float64), 2.0)
    points, weights = polar_rule(dim, 0.0, 2.0)
    log_q = q.log_prob(points)
    mass = weights * log_q.exp()
    torch.testing.assert_close(mass.sum(), torch.ones_like(mass.sum()), rtol=1e-9, atol=0)
    torch.testing.assert_close(q.entropy(), -(mass * log_q).sum(), rtol=1e-9, atol=1e-9)
    mean = (mass * points[:, 0]).sum()
    torch.testing.assert_close(q.mean, mean * pole(dim), rtol=1e-9, atol=1e-9)
    along = (mass * (points[:, 0] - mean).square()).sum()
    across = (mass * points[:, 1].square()).sum() / (dim - 1)
    expected = torch.diag(torch.cat([along[None], across.expand(dim - 1)]))
    torch.testing.assert_close(q.covariance_matrix, expected, rtol=1e-8, atol=1e-9)
    kl = kl_divergence(q, HypersphericalUniform(dim - 1, 2.0))
    torch.testing.assert_close(kl, HypersphericalUniform(dim - 1, 2.0, dtype=torch.float64).entropy() - q.entropy())


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("dim", [2, 3, 11, 40])
def test_samples_follow_the_density(dim: int, rho: float) -> None:
    """Kolmogorov-Smirnov at the level 1e-4: fails once in 830 suites of these twelve if all is right."""
    torch.manual_seed(dim)
    q = SphericalCauchy(F.normalize(torch.randn(dim), dim=-1), rho)
    z = q.sample((20_000,)).double()
    assert ((z.norm(dim=-1) - 1).abs() < 1e-6).all()
    # <loc, z> = 1 - (1 - rho)^2 (1 - s) / (1 + rho^2 + 2 rho s) rises with s, a coordinate of a uniform point.
    y = (z - q.loc).square().sum(-1) / 2
    s = ((1 - rho) ** 2 - (1 + rho**2) * y) / ((1 - rho) ** 2 + 2 * rho * y)
    beta = scipy.stats.beta((dim - 1) / 2, (dim - 1) / 2)
    assert scipy.stats.kstest(((1 + s) / 2).clamp(0, 1).numpy(), beta.cdf).pvalue > 1e-4
    # Around loc the directions are uniform: no coordinate across it has a mean.
    across = z - (1 - y).unsqueeze(-1) * q.loc
    spread = across.mean(0).abs() / (across.std(0) / 20_000**0.5 + 1e-12)
    assert spread.max() < 6


def test_derivatives_reach_parameters_at_the_uniform_distribution() -> None:
    rho = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    kappa = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for q, parameter in (
        (SphericalCauchy(pole(4), rho), rho),
        (SphericalCauchy.from_concentration(pole(4), kappa), kappa),
    ):
        total = q.kl_uniform() + q.log_prob(pole(4)) + q.variance.sum(-1) + q.rsample().sum(-1)
        assert torch.autograd.grad(total.sum(), parameter)[0].isfinite().all()
    hessian = torch.func.hessian(lambda rho: SphericalCauchy(pole(4), rho).kl_uniform().sum())(torch.zeros(2).double())
    torch.testing.assert_close(hessian, torch.eye(2).double() * 2 * 3 * (1 + 2 / 4))  # of (m - 1) (1 + (m-2)/m) rho^2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SphericalCauchy(pole(3), 1.0, validate_args=True), "a rho is 1; it has to be below 1"),
        (lambda: SphericalCauchy(pole(3), -0.1, validate_args=True), "a rho is -0.1"),
        (lambda: SphericalCauchy.from_concentration(pole(3), -1.0, validate_args=True), "a concentration is -1"),
        (lambda: SphericalCauchy.from_concentration(pole(3).expand(2, 3), torch.ones(2, 1)), r"it has to be \(2,\)"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(make, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_extreme_concentrations_stay_finite() -> None:
    q = SphericalCauchy.from_concentration(pole(11).float(), torch.tensor([0.0, 1e-20, 1e4, 1e15]))
    for value in (q.rsample(), q.log_prob(pole(11)), q.entropy(), q.mean, q.variance, q.kl_uniform()):
        assert value.isfinite().all()
    assert (q.variance >= 0).all()
