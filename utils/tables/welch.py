"""Whether two groups of runs differ."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def welch(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Welch's t-test of two means of unequal variance, two-sided.

    Returns:
        The probability of a difference at least as large if the means are equal; None where a group has fewer than two
        values, or none of them varies.
    """
    if min(len(values), len(others)) < 2 or not (statistics.pvariance(values) or statistics.pvariance(others)):
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(values, others, equal_var=False).pvalue)
