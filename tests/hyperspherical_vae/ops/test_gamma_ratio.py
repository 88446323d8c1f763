"""Gamma ratios: closed forms for whole b, scipy for any b, derivatives."""

from __future__ import annotations

from fractions import Fraction
from math import log1p

import pytest
import torch
from scipy import special

from hyperspherical_vae.ops.gamma_ratio import gamma_ratio


@pytest.mark.parametrize("a", [0.5, 1.0, 3.25, 7.5, 8.0, 100.0, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("b", [1, 2, 5, 20])
def test_whole_b_is_a_finite_sum(a: float, b: int) -> None:
    factors = [Fraction(a) + j for j in range(b)]
    found = gamma_ratio(torch.tensor([a], dtype=torch.float64), float(b))
    log_ratio = sum(torch.tensor(float(f), dtype=torch.float64).log().item() for f in factors)
    assert found.log_ratio.item() == pytest.approx(log_ratio, rel=1e-14, abs=1e-14)
    assert found.digamma_difference.item() == pytest.approx(float(sum(1 / f for f in factors)), rel=1e-14)
    assert found.trigamma_difference.item() == pytest.approx(float(sum(1 / f**2 for f in factors)), rel=1e-14)


@pytest.mark.parametrize("b", [0.5, 1.5, 5.0, 50.5])
def test_agrees_with_scipy_where_nothing_cancels(b: float) -> None:
    a = torch.linspace(b, 3 * b + 5, 50, dtype=torch.float64)
    x = a.numpy()
    found = gamma_ratio(a, b, smallest=b)
    expected = (
        special.gammaln(x + b) - special.gammaln(x),
        special.digamma(x + b) - special.digamma(x),
        special.zeta(2, x) - special.zeta(2, x + b),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=1e-12, atol=1e-12)


def test_a_bound_from_below_changes_nothing() -> None:
    a = torch.tensor([20.0, 35.5], dtype=torch.float64)
    for one, other in zip(gamma_ratio(a, 3.5), gamma_ratio(a, 3.5, smallest=20.0), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


def test_each_is_the_derivative_of_the_one_before() -> None:
    a = torch.tensor([0.5, 2.0, 30.0, 1e4], dtype=torch.float64, requires_grad=True)
    ratio = gamma_ratio(a, 2.5)
    (first,) = torch.autograd.grad(ratio.log_ratio.sum(), a, retain_graph=True)
    (second,) = torch.autograd.grad(ratio.digamma_difference.sum(), a)
    torch.testing.assert_close(first, ratio.digamma_difference.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(second, -ratio.trigamma_difference.detach(), rtol=1e-12, atol=0)


def test_shapes_and_single_numbers() -> None:
    for shape in [(), (0,), (2, 3)]:
        assert all(x.shape == shape for x in gamma_ratio(torch.ones(shape, dtype=torch.float64), 0.5))
    assert gamma_ratio(torch.tensor(4.0), 1.0).log_ratio.item() == pytest.approx(log1p(3.0), rel=1e-6)
