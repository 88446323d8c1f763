"""The tilt of the Power Spherical distribution where it is known."""

from __future__ import annotations

import math

import pytest
import torch

from hyperspherical_vae.ops.tilt import power_spherical_tilt

TURNS = torch.tensor([0.0, 1e-6, 0.1, 1.0, 1.9, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 8, 40])
def test_uniform_points_see_no_direction(dim: int) -> None:
    found = power_spherical_tilt(dim, torch.zeros_like(TURNS), TURNS)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kappa", [0.5, 5.0, 300.0])
def test_opposite_directions_have_a_closed_form(kappa: float) -> None:
    # E log((1 + t) / (1 - t)) of a Beta variate (1 + t) / 2, psi(alpha) - psi(beta)
    for dim in (2, 3, 6, 21):
        k = torch.tensor(kappa, dtype=torch.float64)
        beta = torch.tensor((dim - 1) / 2, dtype=torch.float64)
        expected = torch.digamma(k + beta) - torch.digamma(beta)
        found = power_spherical_tilt(dim, k, torch.tensor(2.0, dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)


def test_on_the_circle_it_follows_from_a_fourier_series() -> None:
    # log(1 + cos x) = -log 2 - 2 sum (-1)^n cos(n x) / n, and of p, of degree kappa, few terms are not 0.
    kappa, angle = 4, 0.7
    weights = [math.comb(2 * kappa, kappa - n) / math.comb(2 * kappa, kappa) for n in range(kappa + 1)]
    terms = [-2 * (-1) ** n / n * weights[n] for n in range(1, kappa + 1)]
    expected = sum(term * (1 - math.cos(n * angle)) for n, term in enumerate(terms, 1))
    turn = torch.tensor(1 - math.cos(angle), dtype=torch.float64)
    found = power_spherical_tilt(2, torch.tensor(float(kappa), dtype=torch.float64), turn)
    assert abs(found.item() - expected) < 1e-12
