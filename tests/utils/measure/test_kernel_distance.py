"""The kernel distance is unbiased and knows its error."""

import numpy as np
import pytest

from utils.measure.kernel_distance import kernel_distance


def test_two_points_have_the_distance_of_the_kernel():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    k = lambda x, y: (x @ y / 2 + 1) ** 3  # noqa: E731
    value, error = kernel_distance(np.tile(a, (40, 1)), np.tile(b, (60, 1)))
    assert value == pytest.approx(k(a, a) + k(b, b) - 2 * k(a, b))
    assert error == pytest.approx(0, abs=1e-9)


def expected(*means):
    """E k(x, y) of independent x, y ~ N(mean, 1) in one dimension, from their moments."""
    first, second, third = (np.prod([f(m) for m in means]) for f in (
        lambda m: m, lambda m: 1 + m**2, lambda m: 3 * m + m**3))  # fmt: skip
    return 1 + 3 * first + 3 * second + third


def test_gaussians_have_the_exact_distance_within_the_error():
    generator = np.random.default_rng(0)
    x, y = generator.normal(0, 1, (20_000, 1)), generator.normal(0.5, 1, (30_000, 1))
    value, error = kernel_distance(x, y)
    exact = expected(0, 0) + expected(0.5, 0.5) - 2 * expected(0, 0.5)
    assert 0 < error < 0.3 * exact
    assert abs(value - exact) < 4 * error  # by chance once in some 2000 seeds, 20 blocks giving the error


def test_equal_distributions_have_zero_on_average_and_errors_of_the_right_size():
    generator = np.random.default_rng(1)
    found = [kernel_distance(*generator.normal(size=(2, 200, 4))) for _ in range(200)]
    values, errors = np.array(found).T
    assert (values < 0).any()
    assert abs(values.mean()) < 4 * values.std() / 200**0.5  # by chance once in 16,000 seeds
    assert errors.mean() == pytest.approx(values.std(), rel=0.25)
