"""The derivative of Beta variates in a shape against closed forms and the distribution function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, special

from hyperspherical_vae.ops.beta import beta_derivative


@pytest.mark.parametrize("a", [1.0, 2.5, 40.0, 1e4, 1e8])
def test_closed_form_for_b_one(a: float) -> None:
    # 1 - x = U^(1/a), so that dx/da = (1 - x) log(1 - x) / a.
    u = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
    x = -torch.expm1(u.log() / a)
    expected = (1 - x) * torch.log1p(-x) / a
    torch.testing.assert_close(beta_derivative(1.0, torch.full_like(x, a), x), expected, rtol=1e-6, atol=0)


def _by_adaptive_quadrature(b: float, a: float, x: float) -> float:
    """-(dF/da) / p(x) by integrating dp/da from the nearer end, in the angle whose squared sine is x."""
    mean_log = special.digamma(a) - special.digamma(a + b)
    angle = np.arcsin(np.sqrt(x))

    def integrand(s: float) -> float:
        u = min(np.sin(s) ** 2, 1 - 1e-16)
        density = (b - 0.5) * np.log(u / x) + (a - 0.5) * (np.log1p(-u) - np.log1p(-x))
        return np.exp(density) * (np.log1p(-u) - mean_log)

    ends = (0.0, angle) if np.log1p(-x) > mean_log else (np.pi / 2, angle)
    value, _ = integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-8, limit=500)
    return -2 * np.sqrt(x * (1 - x)) * value


@pytest.mark.parametrize("b", [0.5, 1.5, 5.0, 20.0])
@pytest.mark.parametrize("concentration", [0.5, 3.0, 50.0])
def test_agrees_with_adaptive_quadrature(b: float, concentration: float) -> None:
    a = b + concentration
    x = special.betaincinv(b, a, np.array([1e-6, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-6]))
    expected = torch.tensor([_by_adaptive_quadrature(b, a, value) for value in x], dtype=torch.float64)
    found = beta_derivative(b, torch.full((len(x),), a, dtype=torch.float64), torch.from_numpy(x))
    torch.testing.assert_close(found, expected, rtol=1e-5 if (b, concentration) == (0.5, 0.5) else 1e-6, atol=0)


@pytest.mark.parametrize("b", [0.5, 2.0, 20.0])
def test_mean_derivative_is_the_derivative_of_the_mean(b: float) -> None:
    # E[x] = b / (a + b), so that E[dx/da] = -b / (a + b)^2; the expectation is taken over a fine grid of quantiles.
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angle = np.pi / 4 * (nodes + 1)
    for a in (b, b + 1, b + 10):
        x = np.sin(angle) ** 2
        log_density = (2 * b - 1) * np.log(np.sin(angle)) + (2 * a - 1) * np.log(np.cos(angle)) - special.betaln(b, a)
        mass = weights * np.pi / 2 * np.exp(log_density)
        slope = beta_derivative(b, torch.full((len(x),), a, dtype=torch.float64), torch.from_numpy(x))
        assert (torch.from_numpy(mass) * slope).sum().item() == pytest.approx(-b / (a + b) ** 2, rel=1e-6)


def test_many_samples_are_taken_in_pieces_without_a_seam() -> None:
    x = torch.linspace(0.01, 0.99, 5000, dtype=torch.float64)
    a = torch.full_like(x, 7.0)
    whole = beta_derivative(2.5, a.view(50, 100), x.view(50, 100))
    torch.testing.assert_close(
        whole.flatten()[1000:1100], beta_derivative(2.5, a[:100], x[1000:1100]), rtol=1e-12, atol=0
    )


def test_the_ends_stay_where_they_are_and_nan_stays_nan() -> None:
    a = torch.tensor([3.0, 3.0, float("nan")], dtype=torch.float64)
    x = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    for b in (0.5, 2.0):
        found = beta_derivative(b, a, x)
        assert found[:2].abs().max() < 1e-6
        assert found[2].isnan()
