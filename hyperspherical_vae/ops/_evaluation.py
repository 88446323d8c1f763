"""Evaluation of the series of ``_expansion.py`` on tensors: values and first derivatives.

Everything here takes vectors in the precision to compute in, knows nothing of autograd, and is free of cancellation.
Notation as in ``_expansion.py``; ``order`` is v, which for the sphere in R^m is m/2 - 1.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ._expansion import expansion
from .tables import table

# Up to this length the series are one product of a matrix of powers, beyond it sums by Horner's rule, which take more
# operations and less memory. In float32 they always are: autocast and TF32 would round the factors of a product.
MATRIX_LENGTH = 4096


class _Series(NamedTuple):
    """Some of the series of one order and its constants, ready for one dtype and device; scalars as in `_table`."""

    a: Tensor
    b: Tensor
    inverse_b: Tensor
    inverse_sum: Tensor  # 1 / (a + b)
    log_offset: Tensor
    scaled_log_offset: Tensor
    two: Tensor
    minus_one: Tensor
    constant: Tensor  # (number of series, 1)
    powers: Tensor  # (number of series, degree)


@table
def _table(order: float, names: tuple[str, ...], resolution: float) -> tuple[tuple[float, ...], ...]:
    """The constants in a first row, then a row for each series."""
    e = expansion(order, resolution)
    scalars = (e.a, e.b, 1 / e.b, 1 / (e.a + e.b), e.log_offset, e.scaled_log_offset, 2.0, -1.0)
    padding = (0.0,) * (len(e.series[names[0]]) - len(scalars))
    return (scalars + padding, *(e.series[name] for name in names))


def _series(order: float, names: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> _Series:
    rows = _table(dtype, device, order, names, torch.finfo(dtype).eps / 10)
    return _Series._make((*rows[0, :8].unbind(), rows[1:, :1], rows[1:, 1:].contiguous()))


_kept_series = lru_cache(maxsize=1024)(_series)


class Point:
    """The variables of ``_expansion.py`` at each k of a vector, and the values there of the series asked for."""

    def __init__(self, order: float, k: Tensor, *names: str) -> None:
        find = _series if torch.compiler.is_compiling() else _kept_series
        self.c = c = find(order, names, k.dtype, k.device)
        self.k = k
        self.r = torch.hypot(k, c.b)
        self.t = c.b / self.r
        self._p: Tensor | None = None
        u = torch.addcmul(c.minus_one, self.t, c.two)
        # A program for export must not ask how long a batch is.
        if k.dtype == torch.float64 and not torch.compiler.is_exporting() and len(u) <= MATRIX_LENGTH:
            powers = torch.cumprod(u.expand(c.powers.shape[1], -1), 0)
            self.series = torch.addmm(c.constant, c.powers, powers).unbind(0)
        else:
            first, *others = torch.cat((c.constant, c.powers), dim=1).unsqueeze(-1).flip(1).unbind(1)
            total = first.expand(-1, u.shape[0])
            for coefficient in others:
                total = torch.addcmul(coefficient, total, u)
            self.series = total.unbind(0)

    @property
    def p(self) -> Tensor:
        """r - b."""
        if self._p is None:  # which the compiler can follow, unlike a cached_property
            self._p = self.k * (self.k / (self.r + self.c.b))
        return self._p

    def log(self) -> Tensor:
        """log((a + r) / (a + b))."""
        return torch.log1p(self.p * self.c.inverse_sum)

    def tail(self) -> Tensor:
        """(1 - t) times the first series."""
        return self.p / self.r * self.series[0]

    def gap(self) -> Tensor:
        """r - k."""
        return self.c.b * (self.c.b / (self.r + self.k))

    def log_lead(self) -> Tensor:
        """log(k / (a + r))."""
        ar = self.r + self.c.a
        lead = self.k / ar
        return torch.where(lead < 0.5, torch.log(lead), torch.log1p(-(self.gap() + self.c.a) / ar))

    def growth(self) -> Tensor:
        """G, from the first series "growth"."""
        return self.p - self.log() * self.c.a + self.tail()

    def excess(self) -> Tensor:
        """k - G, from the first series "growth"."""
        return self.c.b * ((self.k + self.p) / (self.r + self.k)) + self.log() * self.c.a - self.tail()

    def ratio(self, deficit: Tensor) -> Tensor:
        """A, from the series "deficit"."""
        return self.k * self.t * (self.c.inverse_b - self.t * deficit)

    def complement(self, deficit: Tensor) -> Tensor:
        """1 - A, from the series "deficit"."""
        return self.t * (self.c.b / (self.r + self.k) + self.k * self.t * deficit)


def log_sphere_area(dim: float) -> float:
    """Logarithm of the surface area 2 pi^(m/2) / Gamma(m/2) of the unit sphere in R^m, m = ``dim``.

    Example:
        >>> round(math.exp(log_sphere_area(3)) / math.pi, 12)
        4.0
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def _kl(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "divergence", "slope")
    return torch.addcmul(x.tail(), x.log(), x.c.a), x.t * (k * x.t) * x.series[1]


def _entropy(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    kl, slope = _kl(order, k)
    return log_sphere_area(2 * order + 2) - kl, -slope


def _growth(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "growth", "deficit")
    return x.growth(), x.ratio(x.series[1])


def _log_norm(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    growth, ratio = _growth(order, k)
    return -growth - log_sphere_area(2 * order + 2), -ratio


def _excess(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "growth", "deficit")
    return x.excess(), x.complement(x.series[1])


def _log_mode_density(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    excess, complement = _excess(order, k)
    return excess - log_sphere_area(2 * order + 2), complement


def _ratio(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "deficit", "slope")
    return x.ratio(x.series[0]), x.t * x.t * x.series[1]


def _complement(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "deficit", "slope")
    return x.complement(x.series[0]), -x.t * x.t * x.series[1]


def _slope(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "slope", "curvature")
    t2 = x.t * x.t
    return t2 * x.series[0], -k * t2 * t2 * x.series[1]


def _curvature(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "curvature", "bend")
    t4 = (x.t * x.t).square()
    # (k t / b)^2 is 1 - t^2.
    return -k * t4 * x.series[0], t4 * ((k * x.t * x.c.inverse_b).square() * x.series[1] - x.series[0])


def _log_iv(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    if not order:
        return _growth(order, k)
    x = Point(order, k, "growth", "deficit")
    value = x.tail() + order * x.log_lead() + x.p - x.log() / 2 + x.c.log_offset
    return value, x.ratio(x.series[1]) + order / k


def _log_ive(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    if not order:
        excess, complement = _excess(order, k)
        return -excess, -complement
    x = Point(order, k, "growth", "scaled_excess")
    rk = x.r + k
    value = x.tail() + order * x.log_lead()
    if order < 1:  # keeps the relative precision of what vanishes with the order and k
        value = value - x.c.b * ((k + x.p) / rk) - x.log() / 2 + x.c.log_offset
    else:  # keeps the precision where k is large against a large order
        value = value + x.gap() - torch.log(x.r + x.c.a) / 2 + x.c.scaled_log_offset
    return value, _scaled_slope_at(x, order, x.series[1])


def _scaled_slope_at(x: Point, order: float, scaled_excess: Tensor) -> Tensor:
    return x.t * ((order * x.t - x.c.b) / (x.r + x.k) + x.k * x.t * scaled_excess) + order * x.gap() / x.r / x.k


def _scaled_slope(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    x = Point(order, k, "scaled_excess", "slope")
    slope = x.t * x.t * x.series[1]
    return _scaled_slope_at(x, order, x.series[0]), slope - order / k / k


# By quantity, the function of the order and k that returns its values and their derivatives.
QUANTITIES: dict[str, Callable[[float, Tensor], tuple[Tensor, Tensor]]] = {
    "kl": _kl,
    "entropy": _entropy,
    "growth": _growth,
    "log_norm": _log_norm,
    "log_mode_density": _log_mode_density,
    "ratio": _ratio,
    "complement": _complement,
    "slope": _slope,
    "curvature": _curvature,
    "log_iv": _log_iv,
    "log_ive": _log_ive,
    "scaled_slope": _scaled_slope,
}
