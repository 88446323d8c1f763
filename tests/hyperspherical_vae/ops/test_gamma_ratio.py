"""Gamma ratios: closed forms for whole b, scipy for any b, derivatives."""

from __future__ import annotations

from fractions import Fraction
from math import log

import pytest
import torch
from scipy import special
from torch import Tensor

from hyperspherical_vae.ops.gamma_ratio import GammaRatio


def evaluate(a: Tensor, b: float, smallest: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    ratio = GammaRatio(a, b, smallest)
    return ratio.log_ratio(), ratio.digamma_difference(), ratio.trigamma_difference()


@pytest.mark.parametrize("a", [0.5, 1.0, 3.25, 7.5, 8.0, 100.0, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("b", [1, 2, 5, 20])
def test_whole_b_is_a_finite_sum(a: float, b: int) -> None:
    factors = [Fraction(a) + j for j in range(b)]
    log_found, first, second = (x.item() for x in evaluate(torch.tensor([a], dtype=torch.float64), float(b)))
    log_ratio = sum(torch.tensor(float(f), dtype=torch.float64).log().item() for f in factors)
    assert log_found == pytest.approx(log_ratio, rel=1e-14, abs=1e-14)
    assert first == pytest.approx(float(sum(1 / f for f in factors)), rel=1e-14)
    assert second == pytest.approx(float(sum(1 / f**2 for f in factors)), rel=1e-14)


@pytest.mark.parametrize("b", [0.5, 1.5, 5.0, 50.5])
def test_agrees_with_scipy_where_nothing_cancels(b: float) -> None:
    a = torch.linspace(b, 3 * b + 5, 50, dtype=torch.float64)
    x = a.numpy()
    found = evaluate(a, b, smallest=b)
    expected = (
        special.gammaln(x + b) - special.gammaln(x),
        special.digamma(x + b) - special.digamma(x),
        special.zeta(2, x) - special.zeta(2, x + b),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=1e-12, atol=1e-12)


def test_a_bound_from_below_changes_nothing() -> None:
    a = torch.tensor([20.0, 35.5], dtype=torch.float64)
    for one, other in zip(evaluate(a, 3.5), evaluate(a, 3.5, smallest=20.0), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


def test_each_is_the_derivative_of_the_one_before() -> None:
    a = torch.tensor([0.5, 2.0, 30.0, 1e4], dtype=torch.float64, requires_grad=True)
    log_ratio, digamma, trigamma = evaluate(a, 2.5)
    (first,) = torch.autograd.grad(log_ratio.sum(), a, retain_graph=True)
    (second,) = torch.autograd.grad(digamma.sum(), a, retain_graph=True)
    torch.testing.assert_close(first, digamma.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(second, -trigamma.detach(), rtol=1e-12, atol=0)


def test_shapes_and_single_numbers() -> None:
    for shape in [(), (0,), (2, 3)]:
        assert all(x.shape == shape for x in evaluate(torch.ones(shape, dtype=torch.float64), 0.5))
    assert evaluate(torch.tensor(4.0), 1.0)[0].item() == pytest.approx(log(4.0), rel=1e-6)
