"""Intervals for two-sample metrics, and their floor: the same metric of real against real.

The usual bootstrap draws with replacement. For these metrics that is wrong: an image drawn twice is a pair at distance
zero. Such pairs bias KID, collapse the radii to the k-th neighbour, and lower the rank of the covariance that FD sees.

So images are left out and never repeated (the delete-d jackknife). Each resample holds r = four fifths of either set
and leaves out d. Deviations from the mean of the resamples are widened by `sqrt(r / d)` = 2 and laid about the value of
the full sample. The same works for KID, FD and the neighbour metrics; for KID under equal distributions it is
conservative.

An interval says how the value would move with other images of the same number. It does not take away the bias that FD
and the neighbour metrics have for few images. It takes images as independent; several of one patient make it too
narrow.

Source: Shao and Wu 1989, "A general theory for jackknife variance estimation", Annals of Statistics 17(3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import numpy as np
from scipy.stats import norm, t

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, Floats, Index, RawFeatures, check_pair

RESAMPLED_SHARE = 0.8
"""Share of the images of a set that a resample holds."""
_FEW_DRAWS = 40
"""Resamples below which their quantiles say nothing about 95%."""
MINIMUM = 4
"""Fewest images of a set that are resampled."""


class Statistic(Protocol):
    """Metric of two feature sets."""

    def __call__(self, *, real: Features, fake: Features) -> float:
        """The value for `real` `[N, D]` and `fake` `[M, D]`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Value of a metric with its interval, in the unit of the metric."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Statistic,
    *,
    real: RawFeatures,
    fake: RawFeatures,
    rng: np.random.Generator,
    n_resamples: int = 200,
    level: float = 0.95,
) -> Estimate:
    """Estimate a metric with an interval from resampling both sets without replacement.

    Args:
        statistic: called as `statistic(real=..., fake=...)`.
        real: `[N, D]`, N >= 4.
        fake: `[M, D]`, M >= 4.
        rng: draws the resamples.
        n_resamples: at least 2.
        level: coverage aimed at, between 0 and 1.

    Returns:
        The value of the full sets, and the interval about it.

    Raises:
        OptionError: too few images or resamples, or a level outside 0..1.
    """
    x, y = check_pair(real=real, fake=fake, minimum=MINIMUM)
    draws = [
        statistic(real=x[real_index], fake=y[fake_index])
        for real_index, fake_index in resamples(len(x), len(y), rng=rng, n_resamples=n_resamples)
    ]
    value = float(statistic(real=x, fake=y))
    low, high = interval_about(value, np.array(draws), widening(len(x), len(y)), level=level)
    return Estimate(value, low, high)


def real_floor(
    statistic: Statistic,
    *,
    train: RawFeatures,
    test: RawFeatures,
    n_fake: int,
    rng: np.random.Generator,
    n_resamples: int = 200,
    level: float = 0.95,
) -> Estimate:
    """Floor of a metric: real against real, at the n of the synthetic set.

    The test originals are `real`, as they are for the synthetic images. A baseline sample of `min(n_fake, T)` training
    originals is `fake`. Where there are fewer training originals than synthetic images, metrics that depend on n (FD,
    precision, recall, density, coverage) are not compared at equal n.

    Args:
        statistic: as for `bootstrap_interval`.
        train: `[T, D]`, training originals, which share no image with `test`.
        test: `[N, D]`, test originals; `real` of the statistic.
        n_fake: size of the synthetic set whose score the floor stands beside.
        rng: draws the originals and the resamples.
        n_resamples: as for `bootstrap_interval`.
        level: as for `bootstrap_interval`.

    Returns:
        The floor with its interval, in the unit of the metric. Nobody should expect to do better.

    Raises:
        OptionError: as `bootstrap_interval`.
    """
    baseline = np.asarray(train)[baseline_sample(len(train), n_fake, rng)]
    return bootstrap_interval(statistic, real=test, fake=baseline, rng=rng, n_resamples=n_resamples, level=level)


def baseline_sample(n_train: int, n_fake: int, rng: np.random.Generator) -> Index:
    """Positions of `min(n_train, n_fake)` training originals drawn without replacement, rising."""
    return random_subset(n_train, n_fake, rng)


def random_subset(n: int, size: int, rng: np.random.Generator) -> Index:
    """Positions of `min(n, size)` of n images drawn without replacement, rising."""
    return np.sort(rng.choice(n, min(n, size), replace=False)).astype(np.int64)


def resamples(n_real: int, n_fake: int, *, rng: np.random.Generator, n_resamples: int) -> Iterator[tuple[Index, Index]]:
    """Draw index pairs of resamples; each holds four fifths of either set, no image twice.

    Args:
        n_real: N, images of the real set.
        n_fake: M, images of the fake set.
        rng: draws the resamples.
        n_resamples: R, at least 2.

    Yields:
        R pairs of rising positions, in the real and in the fake set.

    Raises:
        OptionError: fewer than two resamples.
    """
    if n_resamples < 2:
        raise OptionError("An interval needs resamples", got=n_resamples, allowed="at least 2; 200 is usual")
    for _ in range(n_resamples):
        yield (
            np.sort(rng.choice(n_real, _resample_size(n_real), replace=False)).astype(np.int64),
            np.sort(rng.choice(n_fake, _resample_size(n_fake), replace=False)).astype(np.int64),
        )


def widening(n_real: int, n_fake: int) -> float:
    """Factor from the deviations of resamples to those of fresh samples; 2 but for rounding."""
    # delete-d jackknife: var = r / d times the variance over resamples, r held and d left out (Shao and Wu 1989);
    # here the mean of both sets' factors, which rounding makes differ a little
    return sqrt(sum(_resample_size(n) / (n - _resample_size(n)) for n in (n_real, n_fake)) / 2.0)


def interval_about(value: float, draws: Floats, factor: float, *, level: float) -> tuple[float, float]:
    """Lay the widened deviations of the draws about a value.

    The bounds are quantiles of the deviations. Fewer than 40 draws have no such quantiles: Student's t times their
    standard deviation takes their place.

    Args:
        value: of the full sample.
        draws: `[R]`, values of resamples; NaN is left out.
        factor: from `widening`.
        level: coverage aimed at, between 0 and 1.

    Returns:
        Lower and upper bound; `value` lies between them.

    Raises:
        OptionError: a level outside 0..1.
    """
    if not 0.0 < level < 1.0:
        raise OptionError("This level cannot be covered", got=level, allowed="between 0 and 1, such as 0.95")
    draws = draws[~np.isnan(draws)]
    # about their own mean: resamples are smaller than the sample, which shifts biased metrics such as FD
    deviations = factor * (draws - draws.mean())
    if len(draws) < _FEW_DRAWS:
        high = float(t.ppf((1.0 + level) / 2.0, len(draws) - 1) * deviations.std(ddof=1))
        return value - high, value + high
    # a skewed metric may have all quantiles on one side; the interval holds the value itself all the same
    low, high = np.quantile(deviations, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return value + min(float(low), 0.0), value + max(float(high), 0.0)


def wilson_interval(share: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share; no point at 0 or 1, where resampling sees no deviation.

    Args:
        share: 0..1.
        n: images that it is a share of, 1 or more.
        level: coverage aimed at, between 0 and 1.

    Returns:
        Lower and upper bound, 0..1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> wilson_interval(0.0, 100)[1] < 0.04
    True
    """
    z = float(norm.ppf((1.0 + level) / 2.0))
    # the roots p of (share - p)^2 = z^2 p (1 - p) / n
    middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z * sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n)) / (1.0 + z * z / n)
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def _resample_size(n: int) -> int:
    """Images that a resample of n holds: at least 2, so that there is a pair, and one less than all at most."""
    return min(max(int(RESAMPLED_SHARE * n), 2), n - 1)
