"""Intervals and tests for differences between classifiers that share their test images.

Two designs, two methods, because in each the obvious one is wrong:

- **One test set, S seeds.** Seeds share the test images. The variance over seeds alone says nothing about other
  patients, so a paired t-test over seeds is far too sure. Here test groups and seeds are both drawn anew (bootstrap of
  whole groups and of seeds), the same for both regimes. The quantiles of the differences are the interval.
- **K folds, S seeds each.** Training sets of different folds overlap, so fold differences are not independent and
  their plain variance is too small. The corrected t-test of Nadeau and Bengio multiplies it by `1/K + n_test/n_train`
  in place of `1/K`. Seeds of one fold share all their images; they are averaged first and add no degree of freedom.

Source: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52 (corrected resampled
t-test); Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile interval).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import t

from synthbank.errors import OptionError
from synthbank.metrics._checks import Floats

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean or difference with its 95% interval and the test of being zero."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided."""

    @property
    def outcome(self) -> str:
        """Conclusion that the interval allows on a gain: helps, harms or no difference shown."""
        if self.low > 0.0:
            return "helps"
        return "harms" if self.high < 0.0 else "no difference shown"


def corrected_t(of_folds: Floats, *, test_share: float) -> Difference:
    """Estimate a mean over cross-validation folds with the corrected t-interval.

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
    # Nadeau and Bengio: variance times 1 / K + n_test / n_train in the place of 1 / K, as folds share training images
    mean, error = float(of_folds.mean()), float(of_folds.std(ddof=1)) * sqrt(1.0 / k + test_share)
    # folds that agree to the last bit have no t statistic
    if error == 0.0:
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    half = float(t.ppf((1.0 + _LEVEL) / 2.0, k - 1)) * error
    return Difference(mean, mean - half, mean + half, float(2.0 * t.sf(abs(mean) / error, k - 1)))


def bootstrap_difference(of_seeds: Floats, drawn: Floats, *, rng: np.random.Generator) -> Difference:
    """Estimate a mean over seeds with the percentile interval over test groups and seeds.

    Args:
        of_seeds: `[S]`, the value with every test image counted once, for each seed.
        drawn: `[S, B]`, the same for B bootstrap draws of test groups, the same draws for every seed.
        rng: draws the seeds.

    Returns:
        Mean over seeds, 95% interval, and two-sided p-value: an interval of the level 1 - p would just touch zero.
    """
    s, b = drawn.shape
    # draw b of the test groups is joined with its own draw of s seeds
    picks = rng.integers(0, s, size=(b, s))
    means = drawn[picks, np.arange(b)[:, None]].mean(axis=1)
    means = means[~np.isnan(means)]  # a draw without the class that is asked about says nothing
    value = float(np.mean(of_seeds))
    low, high = (float(q) for q in np.quantile(means, [(1.0 - _LEVEL) / 2.0, (1.0 + _LEVEL) / 2.0]))
    # p: twice the smaller tail beyond zero; one more than counted above and below, so that it is never 0
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(value, min(low, value), max(high, value), min(1.0, 2.0 * (tail + 1) / (len(means) + 1)))
