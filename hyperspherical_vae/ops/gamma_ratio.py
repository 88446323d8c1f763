"""Ratios of Gamma functions and their derivatives without cancellation.

With b fixed and a large, the difference log Gamma(a + b) - log Gamma(a) loses its digits when the two are taken apart.
Here a >= 0.5 is raised by whole steps until a + n >= 8, where Stirling's series (DLMF 5.11.1) has reached double
precision, and the leading terms of the two series are subtracted on paper.
"""

import math
from decimal import Decimal, localcontext

import torch
from torch import Tensor

from ._expansion import log_gamma
from .tables import table

_RAISED_TO = 8.0
# B_2k / (2k (2k - 1)): log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + sum_k _STIRLING[k] / x^(2k + 1).
_STIRLING = (
    *(1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188),
    *(-691 / 360360, 1 / 156, -3617 / 122400, 43867 / 244188, -174611 / 125400),
)


@table
def _coefficients(smallest: float) -> tuple[tuple[float, ...], ...]:
    """Coefficients (K, 3), highest first, of Stirling's sum times x and its two derivatives times x^2 and x^3.

    Terms that do not count from `smallest` on are left out.
    """
    rows = []
    for k, term in enumerate(_STIRLING):
        power = 2 * k + 1
        if abs(term) * power * (power + 1) > 1e-18 * smallest**power:
            rows.append((term, -power * term, power * (power + 1) * term))
    return tuple(reversed(rows))


def log_gamma_ratio(a: float, b: float) -> float:
    """log Gamma(a + b) - log Gamma(a) of numbers above 0, rounded once.

    Example:
        >>> round(math.exp(log_gamma_ratio(3.0, 1.0)), 12)
        3.0
    """
    with localcontext() as context:
        context.prec = 50
        return float(log_gamma(Decimal(a) + Decimal(b)) - log_gamma(Decimal(a)))


class GammaRatio:
    """Gamma(a + b) / Gamma(a) and its logarithmic derivatives, each to about 1e-15 of its largest term.

    All of them are differentiable any number of times in a.

    Args:
        a: any shape, not below `smallest`.
        b: a number above 0.
        smallest: a bound for `a`, 0.5 or more; the larger, the less work.

    Example:
        >>> ratio = GammaRatio(torch.tensor([1.0, 4.0, 1e12], dtype=torch.float64), 1.0)
        >>> ratio.log_ratio()  # log a
        tensor([4.4409e-16, 1.3863e+00, 2.7631e+01], dtype=torch.float64)
        >>> ratio.digamma_difference()  # 1 / a
        tensor([1.0000e+00, 2.5000e-01, 1.0000e-12], dtype=torch.float64)
    """

    def __init__(self, a: Tensor, b: float, smallest: float = 0.5) -> None:
        self._shape = a.shape
        a = a.reshape(-1)
        steps = max(0, math.ceil(_RAISED_TO - smallest))
        self._b = b
        self._x = a + steps
        self._y = self._x + b
        inverse = torch.cat((self._x, self._y)).reciprocal()
        square = inverse * inverse
        sums, *rest = _coefficients(a.dtype, a.device, smallest + steps).unsqueeze(-1).unbind()
        for coefficient in rest:
            sums = torch.addcmul(coefficient, sums, square)
        sums = (sums * torch.stack((inverse, square, square * inverse))).unflatten(-1, (2, -1))
        self._stirling = sums[:, 1] - sums[:, 0]  # Stirling's sum at y minus that at x, and its derivatives
        self._inverse = inverse.unflatten(0, (2, -1))
        self._gap = self._inverse[0] * self._inverse[1] * b  # 1 / x - 1 / y
        self._log_step = torch.log1p(self._inverse[0] * b)
        # For each c of a, a + 1, ..., x - 1 along the first dimension: 1 / c, b / c and b / (b + c).
        if steps:
            self._below = (a + torch.arange(steps, dtype=a.dtype, device=a.device).unsqueeze(-1)).reciprocal()
            self._ratio = self._below * b
            self._part = self._ratio / (1 + self._ratio)
        self._raised = steps > 0

    def log_ratio(self) -> Tensor:
        """log Gamma(a + b) - log Gamma(a)."""
        ratio = (self._x - 0.5) * self._log_step + (self._y.log() - 1) * self._b + self._stirling[0]
        if self._raised:
            ratio = ratio - torch.log1p(self._ratio).sum(0)
        return ratio.reshape(self._shape)

    def digamma_difference(self) -> Tensor:
        """psi(a + b) - psi(a), the derivative of `log_ratio`; positive."""
        difference = self._log_step + self._gap / 2 + self._stirling[1]
        if self._raised:  # 1 / c - 1 / (c + b)
            difference = difference + (self._below * self._part).sum(0)
        return difference.reshape(self._shape)

    def trigamma_difference(self) -> Tensor:
        """psi'(a) - psi'(a + b), minus the derivative of `digamma_difference`; positive."""
        difference = self._gap * (1 + self._inverse.sum(0) / 2) - self._stirling[2]
        if self._raised:  # 1 / c^2 - 1 / (c + b)^2
            difference = difference + (self._below.square() * self._part * (2 - self._part)).sum(0)
        return difference.reshape(self._shape)
