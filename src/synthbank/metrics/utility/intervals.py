"""Intervals and tests for differences between classifiers that share their test images.

Two designs, two methods, because in each the obvious one is wrong:

- **One held-out test set, S seeds.** Seeds share the test images, so the spread over seeds alone says nothing about
  other patients, and a paired t-test over seeds is far too sure. Here test groups and seeds are both drawn anew
  (bootstrap of whole groups and of seeds), the same for both regimes, and the differences' quantiles are the interval.
- **K folds, S seeds each.** Training sets of different folds overlap, so fold differences are not independent and
  their plain variance is too small. The corrected t-test of Nadeau and Bengio multiplies it by `1/K + n_test/n_train`
  in place of `1/K`. Seeds of one fold share all their images; they are averaged first and add no degree of freedom.

Source: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52, eq. 9 and section 5.1;
Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile interval).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from synthbank.errors import OptionError

Floats = NDArray[np.float64]
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean (difference) with its interval and the test of being zero."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided."""

    @property
    def outcome(self) -> str:
        """What the interval allows to be said of a gain: helps, harms or no difference."""
        if self.low > 0.0:
            return "helps"
        return "harms" if self.high < 0.0 else "no difference shown"


def corrected_t(of_folds: Floats, *, test_share: float) -> Difference:
    """Corrected t-interval of a mean over cross-validation folds.

    Args:
        of_folds: `[K]`, K >= 2, value (or difference) of each fold, already averaged over seeds.
        test_share: images tested over images trained on, about `1 / (K - 1)`.

    Returns:
        Mean, 95% interval and two-sided p-value with K - 1 degrees of freedom.

    Raises:
        OptionError: fewer than two folds.

    >>> round(corrected_t(np.array([0.1, 0.2, 0.3]), test_share=0.5).high, 3)
    0.593
    """
    k = len(of_folds)
    if k < 2:
        raise OptionError("A t-test needs folds", got=k, allowed="2 or more")
    mean, error = float(of_folds.mean()), float(of_folds.std(ddof=1)) * sqrt(1.0 / k + test_share)
    if error == 0.0:
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    half = float(t.ppf((1.0 + _LEVEL) / 2.0, k - 1)) * error
    return Difference(mean, mean - half, mean + half, float(2.0 * t.sf(abs(mean) / error, k - 1)))


def bootstrap_difference(of_seeds: Floats, drawn: Floats, *, rng: np.random.Generator) -> Difference:
    """Percentile interval over test groups and seeds.

    Args:
        of_seeds: `[S]`, the value with every test image counted once, for each seed.
        drawn: `[S, B]`, the same for B bootstrap draws of test groups, the same draws for every seed.
        rng: draws the seeds.

    Returns:
        Mean over seeds, 95% interval, and the two-sided p-value that the interval of that level just touches zero.
    """
    s, b = drawn.shape
    picks = rng.integers(0, s, size=(b, s))
    means = drawn[picks, np.arange(b)[:, None]].mean(axis=1)
    means = means[~np.isnan(means)]  # a draw without the class that is asked about says nothing
    value = float(np.mean(of_seeds))
    low, high = (float(q) for q in np.quantile(means, [(1.0 - _LEVEL) / 2.0, (1.0 + _LEVEL) / 2.0]))
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(value, min(low, value), max(high, value), min(1.0, 2.0 * (tail + 1) / (len(means) + 1)))
