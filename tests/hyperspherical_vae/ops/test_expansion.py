"""The series behind the Bessel functions: their ingredients have closed forms."""

import math
from fractions import Fraction

import pytest

from hyperspherical_vae.ops import _expansion

RESOLUTION = 2.2e-17
ORDERS = (0.0, 0.01, 0.5, 1.0, 4.5, 12.0, 23.999, 511.5, 5e4, 1e12, 1e100)


def value(series: tuple[float, ...], t: float) -> float:
    return math.fsum(c * (2 * t - 1) ** n for n, c in enumerate(series))


def test_logarithmic_debye_polynomials_are_the_published_ones():
    first, second, third = _expansion._debye_slopes()[:3]
    # U_1 = (3 t - 5 t^3) / 24 and U_2 - U_1^2 / 2 = (t^2 - 6 t^4 + 5 t^6) / 16, differentiated (DLMF 10.41.10)
    assert first == (Fraction(1, 8), 0, Fraction(-5, 8))
    assert second == (0, Fraction(1, 8), 0, Fraction(-3, 2), 0, Fraction(15, 8))
    # log Gamma needs D_3(1) = 1 / 360, minus the second coefficient of Stirling's series
    assert sum(x / (n + 1) for n, x in enumerate(third)) == Fraction(1, 360)


@pytest.mark.parametrize("order", ORDERS)
def test_limits_at_no_and_at_infinite_argument(order):
    e = _expansion.expansion(order, RESOLUTION)
    m, a, b = 2 * order + 2, e.a, e.b
    # k -> 0: A = k / m, A' = 1 / m, and A'' = -6 k / (m^2 (m + 2)); k -> infinity: 1 - A = a / k, A' = a / k^2
    assert 1 / b - value(e.series["deficit"], 1.0) == pytest.approx(1 / m, rel=1e-14)
    assert value(e.series["slope"], 1.0) == pytest.approx(1 / m, rel=1e-14)
    assert value(e.series["curvature"], 1.0) == pytest.approx(6 / m / m / (m + 2), rel=1e-11)
    assert value(e.series["deficit"], 0.0) == pytest.approx(a / b / b, rel=1e-14)
    assert value(e.series["slope"], 0.0) == pytest.approx(a / b / b, rel=1e-13)
    assert value(e.series["scaled_excess"], 0.0) == pytest.approx(-0.5 / b / b, rel=1e-13)


@pytest.mark.parametrize("order", ORDERS[:-2])
def test_offset_is_the_log_gamma_function(order):
    e = _expansion.expansion(order, RESOLUTION)
    expected = order * math.log((e.a + e.b) / 2) - math.lgamma(order + 1)
    assert e.log_offset == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert e.scaled_log_offset == pytest.approx(expected + math.log(e.a + e.b) / 2 - e.b, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_series_are_short_and_well_conditioned(order):
    series = _expansion.expansion(order, RESOLUTION).series
    assert len({len(coefficients) for coefficients in series.values()}) == 1
    for name in ("growth", "divergence", "deficit", "scaled_excess", "slope"):
        coefficients = series[name]
        assert len(coefficients) <= 50
        largest = max(abs(value(coefficients, t)) for t in (0.0, 0.25, 0.5, 0.75, 1.0))
        assert sum(map(abs, coefficients)) < 8 * largest, name


def test_a_coarser_resolution_gives_a_shorter_series_of_the_same_function():
    fine, coarse = (_expansion.expansion(4.5, resolution).series["growth"] for resolution in (RESOLUTION, 1e-8))
    assert len(coarse) < len(fine)
    assert value(coarse, 0.3) == pytest.approx(value(fine, 0.3), rel=1e-7)
