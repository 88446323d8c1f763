"""The kernel distance between two sets of features (KID, Binkowski et al. 2018)."""

import math

import numpy as np

from utils.measure.frechet import Array

LARGEST, FEWEST = 1000, 10  # images of a block, and blocks


def kernel_distance(one: Array, other: Array) -> tuple[float, float]:
    """The squared maximum mean discrepancy under the kernel (x.y / d + 1)^3, unbiased, and its standard error.

    It is a mean over disjoint blocks of both sets, whose estimates are independent: their spread gives the error, and
    memory is that of one block. Values below 0 occur where the sets are alike.

    Args:
        one, other: features in random order, (N, d) and (M, d), N and M of 20 at least.
    """
    shorter = min(len(one), len(other))
    size = min(LARGEST, shorter // FEWEST)
    starts = range(0, shorter - size + 1, size)
    found = [_unbiased(one[start : start + size], other[start : start + size]) for start in starts]
    return float(np.mean(found)), float(np.std(found, ddof=1)) / math.sqrt(len(found))


def _unbiased(one: Array, other: Array) -> float:
    """The estimate from two blocks (n, d): no image is compared with itself."""
    from sklearn.metrics.pairwise import polynomial_kernel

    n, (x, y) = len(one), (part.astype(np.float64) for part in (one, other))
    within = [polynomial_kernel(part) for part in (x, y)]
    apart = sum(float(kernel.sum() - np.trace(kernel)) for kernel in within) / (n * (n - 1))
    return apart - 2 * float(polynomial_kernel(x, y).mean())
