"""The Frechet distance between two sets of features, each taken for a Gaussian (FID, Heusel et al. 2017).

Shapes: N images, d features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Array = NDArray[Any]

PARTS = 20  # of the jackknife


@dataclass(frozen=True)
class Moments:
    """Sums over features, from which mean and covariance follow; they can be added and taken away.

    Attributes:
        count: N.
        total: sum of the features, (d,), float64.
        squares: sum of their outer products, (d, d), float64.
    """

    count: int
    total: Array
    squares: Array

    @classmethod
    def of(cls, features: Array) -> Moments:
        """Those of features (N, d)."""
        wide = features.astype(np.float64)
        return cls(len(wide), wide.sum(0), wide.T @ wide)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.count - other.count, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> Array:
        """(d,)."""
        return self.total / self.count

    @property
    def covariance(self) -> Array:
        """With divisor N - 1, (d, d)."""
        return (self.squares - np.outer(self.total, self.mean)) / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1^1/2 S_2 S_1^1/2)^1/2): the squared 2-Wasserstein distance of Gaussians.

    The roots come from eigenvalues: `scipy.linalg.sqrtm` of the product S_1 S_2, which is not symmetric, fails where a
    covariance is singular, as that of a collapsed model is.
    """
    values, vectors = eigh(one.covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    inner = root @ other.covariance @ root
    cross = np.sqrt(eigh((inner + inner.T) / 2, eigvals_only=True).clip(0)).sum()
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return float(np.square(one.mean - other.mean).sum() + traces - 2 * cross)


def spread(moments: Moments) -> float:
    """The root mean square distance between two images in their features: (2 tr S)^1/2."""
    return math.sqrt(2 * max(float(np.trace(moments.covariance)), 0.0))


def with_error(features: Array, statistic: Any) -> tuple[float, float]:
    """A function of moments, and its standard error by the jackknife that leaves out one of 20 parts at a time.

    Args:
        features: in random order, (N, d), N of 40 at least.
        statistic: takes `Moments` to a number.
    """
    whole = Moments.of(features)
    left = np.array([statistic(whole - Moments.of(part)) for part in np.array_split(features, PARTS)])
    return statistic(whole), math.sqrt((PARTS - 1) * left.var())
