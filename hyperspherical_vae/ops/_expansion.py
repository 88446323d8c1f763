"""Short series for the Bessel functions, computed on the first use of an order and kept.

For the order v let a = v + 1/2, b = v + 4.1875, r = sqrt(k^2 + b^2), t = b / r and p = r - b. With

    G = log 0F1(; v + 1; k^2 / 4),    A = G' = I_{v+1}(k) / I_v(k),    l = a log1p(p / (a + b)),

the functions of t in [0, 1] defined by

    G       = p - l + (1 - t) growth(t)
    k A - G = l + (1 - t) divergence(t)
    A       = k t (1 / b - t deficit(t))
    A'      = t^2 slope(t)
    A''     = -k t^4 curvature(t)
    A'''    = t^4 ((1 - t^2) bend(t) - curvature(t))

are smooth: at k = 0, where t = 1, as G is even, and for k -> infinity, where t = 0, as r - l is its leading order. The
choice of b moves their singularities, the zeros of I_v, so far from [0, 1] that a sum of some 20 to 50 powers of
u = 2 t - 1 is both exact to the last bit and well conditioned; 4.1875 is best where it matters most, at v = 0.

The coefficients come from Chebyshev interpolation of values in decimal arithmetic of 50 digits: the uniform expansion,
DLMF 10.41(ii), at an order of at least 24, and from there down by recurrence.
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache, reduce
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

_NODES = 64
_UNIFORM_ORDER = 24  # from here on the terms below leave an error of about 1e-22
_UNIFORM_TERMS = 15
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_HALF = Decimal("0.5")
_SPREAD = Decimal("4.1875")


class Expansion(NamedTuple):
    """What evaluates G, A and their derivatives at one order."""

    a: float
    b: float
    log_offset: float  # v log((a + b) / 2) - lgamma(v + 1)
    scaled_log_offset: float  # log_offset + log(a + b) / 2 - b
    series: dict[str, tuple[float, ...]]  # coefficients of powers of u, all of the same number


@lru_cache(maxsize=1)
def _debye_slopes() -> tuple[tuple[Fraction, ...], ...]:
    """Coefficients of D_k'(t), k = 1..15, where log sum_k U_k(t) w^-k = sum_k D_k(t) w^-k.

    The differential recurrence of the Debye polynomials U_k (DLMF 10.41.9), rewritten for the logarithm:
    D_{k+1}' = (t - 2 t^3) D_k' + (t^2 - t^4) / 2 (D_k'' + sum_{i+j=k} D_i' D_j').
    """
    half = Fraction(1, 2)
    slopes = [np.array([half / 4, 0, -5 * half / 4])]
    while len(slopes) < _UNIFORM_TERMS:
        products = map(polynomial.polymul, slopes[:-1], slopes[-2::-1])
        inner = reduce(polynomial.polyadd, products, polynomial.polyder(slopes[-1]))
        first = polynomial.polymul([0, 1, 0, -2], slopes[-1])
        slopes.append(polynomial.polyadd(first, polynomial.polymul([0, 0, half, 0, -half], inner)))
    return tuple(map(tuple, slopes))


class _Uniform:
    """G, A, A' and log Gamma(order + 1) at one order, in the decimal arithmetic of the current context."""

    def __init__(self, order: Decimal) -> None:
        self.order = order
        self.steps = max(0, _UNIFORM_ORDER - int(order))
        self.w = order + self.steps
        self.slope = [Decimal(0)] * (3 * _UNIFORM_TERMS)
        weight = Decimal(1)
        for coefficients in _debye_slopes():
            weight /= self.w
            for power, x in enumerate(coefficients):
                if x:
                    self.slope[power] += weight * x.numerator / x.denominator
        self.primitive = [x / (power + 1) for power, x in enumerate(self.slope)]
        self.at_one = sum(self.primitive, Decimal(0))

    def __call__(self, k: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        w = self.w
        z = k / w
        q = (1 + z * z).sqrt()
        t = 1 / q
        s = z * z / (1 + q)
        r0 = r1 = r2 = Decimal(0)  # sum_k D_k(t) / w^k, divided by t, and its first two derivatives
        for primitive, slope in zip(reversed(self.primitive), reversed(self.slope), strict=True):
            r0 = r0 * t + primitive
            r2 = r2 * t + r1
            r1 = r1 * t + slope
        t2 = t * t
        growth = w * (s - (1 + s / 2).ln()) - q.ln() / 2 + r0 * t - self.at_one
        ratio = z / (1 + q) - z / w * t2 * (t * r1 + _HALF)
        bend = t2 * (t2 - _HALF + t * r1 * (3 * t2 - 2) - t2 * (1 - t2) * r2)
        slope = (t / (1 + q) - bend / w) / w
        gain = Decimal(1)
        for j in reversed(range(self.steps)):
            c = 2 * (self.order + j + 1)
            denominator = c + k * ratio
            gain *= denominator / c
            slope = (c - k * k * slope) / denominator**2
            ratio = k / denominator
        return growth + gain.ln(), ratio, slope

    def log_gamma(self) -> Decimal:
        """Stirling's series, whose remainder is -sum_k D_k(1) / w^k, and down the recurrence of the factorial."""
        product = Decimal(1)
        for j in range(self.steps):
            product *= self.order + j + 1
        return (self.w + _HALF) * self.w.ln() - self.w + (2 * _PI).ln() / 2 - self.at_one - product.ln()


def log_gamma(x: Decimal) -> Decimal:
    """log Gamma(x) for x > 0, in the decimal arithmetic of the current context."""
    return _Uniform(x - 1).log_gamma()


@lru_cache(maxsize=1)
def _cosines() -> tuple[Decimal, ...]:
    """cos(pi j / 128), j = 0..255, to 40 digits: j = 1 by its Taylor series, the others as T_j(x) of it."""
    with localcontext() as context:
        context.prec = 50
        angle, term, x = _PI / (2 * _NODES), Decimal(1), Decimal(1)
        for n in range(2, 40, 2):
            term *= -angle * angle / (n * (n - 1))
            x += term
        values = [Decimal(1), x]
        while len(values) < 4 * _NODES:
            values.append(2 * x * values[-1] - values[-2])
        return tuple(values)


@lru_cache(maxsize=1)
def _chebyshev_powers() -> tuple[tuple[int, ...], ...]:
    """Row n: the coefficients of the powers of u in T_n(u)."""
    rows = [[1] + [0] * (_NODES - 1), [0, 1] + [0] * (_NODES - 2)]
    while len(rows) < _NODES:
        rows.append([2 * x - y for x, y in zip([0, *rows[-1][:-1]], rows[-2], strict=True)])
    return tuple(tuple(row) for row in rows)


def _dot(left: Iterable[Decimal], right: Iterable[Decimal | int]) -> Decimal:
    return sum(map(mul, left, right), Decimal(0))


def _interpolate(samples: dict[str, tuple[Decimal, ...]], resolution: float) -> dict[str, tuple[float, ...]]:
    """Coefficients of the powers of u of the interpolants at the Chebyshev nodes, without their negligible end."""
    cosines = _cosines()
    basis = [[cosines[n * (2 * i + 1) % (4 * _NODES)] for i in range(_NODES)] for n in range(_NODES)]
    chebyshev = {}
    count = 0
    for name, values in samples.items():
        c = [_dot(values, row) * 2 / _NODES for row in basis]
        c[0] /= 2
        largest = max(map(abs, c))
        count = max(count, 1 + max(n for n, x in enumerate(c) if abs(x) > Decimal(resolution) * largest))
        chebyshev[name] = c
    columns = list(zip(*_chebyshev_powers()[:count], strict=True))[:count]
    return {name: tuple(float(_dot(c, column)) for column in columns) for name, c in chebyshev.items()}


@lru_cache(maxsize=512)
def expansion(order: float, resolution: float) -> Expansion:
    """The series at a real order >= 0; takes some hundredths of a second on the first call for an order.

    Args:
        order: v.
        resolution: the size, relative to the largest, from which on Chebyshev coefficients are left out.
    """
    v = Decimal(order)
    rows = []
    with localcontext() as context:
        context.prec = 50 + 2 * max(0, v.adjusted())
        a, b = v + _HALF, v + _SPREAD
        uniform = _Uniform(v)
        for i in range(_NODES):
            t = (1 + _cosines()[2 * i + 1]) / 2
            r = b / t
            k = (r * r - b * b).sqrt()
            growth, ratio, slope = uniform(k)
            log = a * ((a + r) / (a + b)).ln()
            rows.append(
                (
                    (growth - (r - b - log)) / (1 - t),
                    (k * ratio - growth - log) / (1 - t),
                    (1 / b - ratio / (k * t)) / t,
                    slope / (t * t),
                )
            )
        samples = dict(zip(("growth", "divergence", "deficit", "slope"), zip(*rows, strict=True), strict=True))
        log_offset = v * ((a + b) / 2).ln() - uniform.log_gamma()
        scaled_log_offset = log_offset + (a + b).ln() / 2 - b
        samples["scaled_excess"] = tuple(v / (b * b) - x for x in samples["deficit"])
        series = _interpolate(samples, resolution)
    for name, power, derivative in (("slope", 2, "curvature"), ("curvature", 4, "bend")):
        c = (*series[name], 0.0)
        # power f + t df/dt, which dt/dk = -k t^3 / b^2 multiplies
        scale = 1 / float(b) ** 2 if name == "slope" else 1.0
        series[derivative] = tuple(((n + power) * c[n] + (n + 1) * c[n + 1]) * scale for n in range(len(c) - 1))
    return Expansion(float(a), float(b), float(log_offset), float(scaled_log_offset), series)
