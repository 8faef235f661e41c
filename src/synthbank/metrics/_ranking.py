"""Probability that a value of one sample lies below one of another, with an interval and a test."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, norm

from synthbank.metrics._checks import Floats

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class RankComparison:
    """Comparison of two samples by rank."""

    probability: float
    """0..1, that a value of the first sample lies below one of the second; ties count one half."""
    low: float
    high: float
    p_value: float
    """One-sided Mann-Whitney test: chance of a probability as large when both samples come from one distribution."""


def compare_ranks(first: Floats, second: Floats) -> RankComparison:
    """Estimate the probability that `first` lies below `second`, with a 95% interval.

    The estimate is the area under the ROC curve. The interval is a score interval: it holds every probability from
    which the estimate is no further than chance allows. It stays inside 0..1, and it is no point where the samples are
    wholly apart.

    Args:
        first: `[N]`, N >= 1.
        second: `[M]`, M >= 1.

    Source: Newcombe 2006, Statistics in Medicine 25, part 2, method 5; its variance is that of Hanley and McNeil 1982,
    "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143.

    >>> compare_ranks(np.array([1.0, 2.0]), np.array([3.0, 4.0])).probability
    1.0
    """
    n, m = len(first), len(second)
    test = mannwhitneyu(first, second, alternative="less")
    # U counts the pairs in which the first value is the larger one, ties as one half
    estimate = 1.0 - float(test.statistic) / (n * m)
    return RankComparison(estimate, _bound(estimate, n, m, -1.0), _bound(estimate, n, m, 1.0), float(test.pvalue))


def _bound(estimate: float, n: int, m: int, side: float) -> float:
    """Bound of the interval below (`side` -1) or above (+1) the estimate: the root of `excess`."""
    z = float(norm.ppf((1.0 + _LEVEL) / 2.0))

    def excess(theta: float) -> float:
        """Above zero where the estimate lies within chance of `theta`."""
        # Hanley and McNeil's variance with q_1 = theta / (2 - theta) and q_2 = 2 theta^2 / (1 + theta) is
        # theta (1 - theta) [1 + (n - 1) (1 - theta) / (2 - theta) + (m - 1) theta / (1 + theta)] / (n m);
        # method 5 puts the mean (n + m) / 2 in the place of n and m inside the brackets
        unequal = (1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta)
        variance = theta * (1.0 - theta) * (1.0 + ((n + m) / 2.0 - 1.0) * unequal) / (n * m)
        return z * sqrt(variance) - side * (theta - estimate)

    end = 1.0 if side > 0 else 0.0
    if estimate == end:
        return end
    # the variance is zero at 0 and 1, where excess would have no sign to begin with
    inner = min(max(estimate, 1e-9), 1.0 - 1e-9)
    return float(brentq(excess, inner, end)) if excess(inner) > 0 > excess(end) else end
