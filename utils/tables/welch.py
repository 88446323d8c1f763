"""Whether the means of two groups of runs differ."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Welch:
    """Welch's t-test of two means of unequal variance, two-sided.

    Attributes:
        t: the statistic.
        p: probability of one at least as large if the means are equal; None where a group has fewer than two runs.
    """

    t: float | None
    p: float | None


def welch(values: Sequence[float], others: Sequence[float]) -> Welch:
    """Welch's t-test; without a verdict where a group has fewer than two values, or none of them varies."""
    if min(len(values), len(others)) < 2 or not (statistics.pvariance(values) or statistics.pvariance(others)):
        return Welch(None, None)
    from scipy.stats import ttest_ind

    found = ttest_ind(values, others, equal_var=False)
    return Welch(float(found.statistic), float(found.pvalue))
