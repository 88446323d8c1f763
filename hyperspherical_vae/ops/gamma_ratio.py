"""Ratios of Gamma functions and their derivatives without cancellation.

With b fixed and a large, the difference log Gamma(a + b) - log Gamma(a) loses its digits when the two are taken apart.
Here a >= 0.5 is raised by whole steps until a + n >= 8, where Stirling's series (DLMF 5.11.1) has reached double
precision, and the leading terms of the two series are subtracted on paper.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

_RAISED_TO = 8.0
# B_2k / (2k (2k - 1)): log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + sum_k _STIRLING[k] / x^(2k + 1).
_STIRLING = (
    *(1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188),
    *(-691 / 360360, 1 / 156, -3617 / 122400, 43867 / 244188, -174611 / 125400),
)


class GammaRatio(NamedTuple):
    """Functions of a at fixed b, each of the shape of a; each is differentiable any number of times."""

    log_ratio: Tensor
    """log Gamma(a + b) - log Gamma(a)."""
    digamma_difference: Tensor
    """psi(a + b) - psi(a), its derivative; positive."""
    trigamma_difference: Tensor
    """psi'(a) - psi'(a + b), minus its second derivative; positive."""


@functools.cache
def _coefficients(smallest: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Coefficients, highest first, of Stirling's sum times x and of its derivatives times x^2 and -x^3: (3, 1, 1) each.

    Terms that do not count from `smallest` on are left out.
    """
    rows = []
    for k, term in enumerate(_STIRLING):
        power = 2 * k + 1
        if abs(term) * power * (power + 1) > 1e-18 * smallest**power:
            rows.append([term, -power * term, -power * (power + 1) * term])
    table = torch.tensor(rows[::-1], dtype=dtype, device=device)
    return tuple(table[:, :, None, None].unbind())


def gamma_ratio(a: Tensor, b: float, smallest: float = 0.5) -> GammaRatio:
    """Gamma(a + b) / Gamma(a): the logarithm and two derivatives, each to about 1e-15 of its largest term.

    Args:
        a: any shape, not below `smallest`.
        b: a number above 0.
        smallest: a bound for `a`, 0.5 or more; the larger, the less work.

    Example:
        >>> a = torch.tensor([1.0, 4.0, 1e12], dtype=torch.float64)
        >>> gamma_ratio(a, 1.0).log_ratio - a.log() < 1e-14
        tensor([True, True, True])
        >>> gamma_ratio(a, 1.0).digamma_difference  # 1 / a
        tensor([1.0000e+00, 2.5000e-01, 1.0000e-12], dtype=torch.float64)
    """
    shape = a.shape
    a = a.reshape(-1)
    steps = max(0, math.ceil(_RAISED_TO - smallest))
    x = a + steps
    y = x + b
    both = torch.stack((x, y))
    inverse = both.reciprocal()
    square = inverse * inverse
    highest, *rest = _coefficients(smallest + steps, a.dtype, a.device)
    tails = highest.expand(3, *both.shape)
    for coefficient in rest:
        tails = torch.addcmul(coefficient, tails, square)
    tail, slope, bend = (tails * torch.stack((inverse, square, square * inverse))).unbind()

    log_step = torch.log1p(b / x)
    gap = b * inverse[0] * inverse[1]  # 1 / x - 1 / y
    log_ratio = (x - 0.5) * log_step + b * (y.log() - 1) + (tail[1] - tail[0])
    digamma = log_step + gap / 2 + (slope[1] - slope[0])
    trigamma = gap * (1 + (inverse[0] + inverse[1]) / 2) + (bend[1] - bend[0])
    if steps:
        below = a.unsqueeze(-1) + torch.arange(steps, dtype=a.dtype, device=a.device)
        above = below + b
        gaps = b / (below * above)
        log_ratio = log_ratio - torch.log1p(b / below).sum(-1)
        digamma = digamma + gaps.sum(-1)
        trigamma = trigamma + (gaps * (below + above) / (below * above)).sum(-1)
    return GammaRatio(log_ratio.reshape(shape), digamma.reshape(shape), trigamma.reshape(shape))
