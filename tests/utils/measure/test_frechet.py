"""The Frechet distance of Gaussians has closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from utils.measure.frechet import Moments, frechet_distance, spread, with_error


def moments(mean, covariance, count=100):
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    return Moments(count, count * mean, (count - 1) * covariance + count * np.outer(mean, mean))


def test_moments_are_those_of_the_features():
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = Moments.of(features)
    np.testing.assert_allclose(found.mean, features.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(features.T), atol=1e-6)
    rest = found - Moments.of(features[:20])
    np.testing.assert_allclose(rest.covariance, np.cov(features[20:].T), atol=1e-6)


def test_independent_coordinates_have_the_distance_of_each():
    one, other = moments([0, 1], np.diag([4.0, 9.0])), moments([3, 1], np.diag([1.0, 16.0]), count=7)
    assert frechet_distance(one, other) == pytest.approx(9 + (2 - 1) ** 2 + (3 - 4) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert spread(one) == pytest.approx(26**0.5)


def test_any_covariances_agree_with_scipys_root_of_their_product():
    a, b = np.random.default_rng(1).normal(size=(2, 5, 5))
    a, b = a @ a.T + np.eye(5), b @ b.T + np.eye(5)
    expected = np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(moments(np.zeros(5), a), moments(np.zeros(5), b)) == pytest.approx(expected)


def test_a_point_is_as_far_as_mean_and_variance_say():
    point, cloud = moments([0, 0], np.zeros((2, 2))), moments([3, 4], [[2, 1], [1, 2]])
    assert frechet_distance(point, cloud) == pytest.approx(25 + 4)


def test_error_is_the_spread_of_repeated_estimates():
    reference, generator = moments(np.zeros(3), np.eye(3)), np.random.default_rng(2)
    found = [
        with_error(1.5 * generator.normal(size=(400, 3)), lambda part: frechet_distance(part, reference))
        for _ in range(100)
    ]
    values, errors = np.array(found).T
    # The spread of 100 values has a relative error of 7 %, the mean of errors of some 2 %: 4 of their deviations.
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.3)
    assert values.mean() == pytest.approx(0.75, abs=0.1)
