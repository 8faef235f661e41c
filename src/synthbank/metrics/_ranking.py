"""How often values of one sample lie below those of another, with an interval and a test."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, norm

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class RankComparison:
    """Chance that a value of the first sample lies below one of the second; ties count one half."""

    probability: float
    low: float
    high: float
    p_value: float
    """One-sided Mann-Whitney: how likely a share as large is when both samples come from one distribution."""


def compare_ranks(first: NDArray[np.float64], second: NDArray[np.float64]) -> RankComparison:
    """How often `first` `[N]` lies below `second` `[M]`, with a 95% interval.

    The interval holds every share from which the one found is no further than chance allows; it stays inside 0..1 and
    is no point where the samples are wholly apart.

    Source: Newcombe 2006, Statistics in Medicine 25, part 2, method 5.

    >>> compare_ranks(np.array([1.0, 2.0]), np.array([3.0, 4.0])).probability
    1.0
    """
    n, m = len(first), len(second)
    test = mannwhitneyu(first, second, alternative="less")
    share = 1.0 - float(test.statistic) / (n * m)
    return RankComparison(share, _bound(share, n, m, -1.0), _bound(share, n, m, 1.0), float(test.pvalue))


def _bound(share: float, n: int, m: int, side: float) -> float:
    z = float(norm.ppf((1.0 + _LEVEL) / 2.0))

    def excess(theta: float) -> float:
        """Above zero where the share found lies within chance of `theta`."""
        unequal = (1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta)
        variance = theta * (1.0 - theta) * (1.0 + ((n + m) / 2.0 - 1.0) * unequal) / (n * m)
        return z * sqrt(variance) - side * (theta - share)

    end = 1.0 if side > 0 else 0.0
    if share == end:
        return end
    inner = min(max(share, 1e-9), 1.0 - 1e-9)
    return float(brentq(excess, inner, end)) if excess(inner) > 0 > excess(end) else end
