"""Ratios of Gamma functions and their derivatives without cancellation, for arguments far from each other or large.

With b fixed and a large, the difference log Gamma(a + b) - log Gamma(a) loses its digits when the two are taken apart.
Here a >= 0.5 is raised by whole steps until a + n >= 12, where Stirling's series (DLMF 5.11.1) has reached double
precision, and the leading terms of the two series are subtracted on paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALLEST = 12.0
# B_2k / (2k (2k - 1)): log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + sum_k _STIRLING[k] / x^(2k + 1).
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _steps(smallest: float) -> int:
    return max(0, math.ceil(_SMALLEST - smallest))


def _tail(x: Tensor, derivative: int) -> Tensor:
    """Derivative (0, 1 or 2) of the sum in Stirling's series."""
    inverse_square = (x * x).reciprocal()
    total = torch.zeros_like(x)
    for k in reversed(range(len(_STIRLING))):
        power = 2 * k + 1
        factor = (1, -power, power * (power + 1))[derivative]
        total = total * inverse_square + factor * _STIRLING[k]
    return total / x ** (1 + derivative)


def _raised(a: Tensor, smallest: float) -> tuple[Tensor, Tensor | None]:
    steps = _steps(smallest)
    if steps == 0:
        return a, None
    return a + steps, a.unsqueeze(-1) + torch.arange(steps, dtype=a.dtype, device=a.device)


def log_gamma_ratio(a: Tensor, b: float, smallest: float = 0.5) -> Tensor:
    """log Gamma(a + b) - log Gamma(a), differentiable any number of times.

    Args:
        a: any shape, float64, not below `smallest`.
        b: a number above 0.
        smallest: a bound for `a`; the larger, the less work.

    Returns:
        A tensor of the shape of `a`.

    Example:
        >>> a = torch.tensor([1.0, 1e12], dtype=torch.float64)
        >>> log_gamma_ratio(a, 1.0).exp() / a
        tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    x, below = _raised(a, smallest)
    ratio = (x - 0.5) * torch.log1p(b / x) + b * (torch.log(x + b) - 1) + (_tail(x + b, 0) - _tail(x, 0))
    return ratio if below is None else ratio - torch.log1p(b / below).sum(-1)


def digamma_difference(a: Tensor, b: float, smallest: float = 0.5) -> Tensor:
    """psi(a + b) - psi(a), the derivative of `log_gamma_ratio`; arguments as there."""
    x, below = _raised(a, smallest)
    y = x + b
    difference = torch.log1p(b / x) + b / (2 * x * y) + (_tail(y, 1) - _tail(x, 1))
    return difference if below is None else difference + (b / (below * (below + b))).sum(-1)


def trigamma_difference(a: Tensor, b: float, smallest: float = 0.5) -> Tensor:
    """psi'(a) - psi'(a + b), minus the derivative of `digamma_difference`; positive; arguments as there."""
    x, below = _raised(a, smallest)
    y = x + b
    difference = b / (x * y) * (1 + (x + y) / (2 * x * y)) + (_tail(x, 2) - _tail(y, 2))
    if below is None:
        return difference
    above = below + b
    return difference + (b * (below + above) / (below * above).square()).sum(-1)
