"""Intervals for two-sample metrics, and the same metric of real against real.

The usual bootstrap draws with replacement. For these metrics that is wrong: an image drawn twice is a pair at distance
zero, which biases KID's pairs and makes k-nearest-neighbour radii collapse, and it lowers the rank that FD sees. So
images are left out instead, never repeated (the delete-d jackknife): each resample keeps four fifths of either set, the
deviations from the resamples' mean are widened by `sqrt(kept / left out)` = 2, and laid about the full sample's value.
The same works for KID, FD and the neighbour metrics; for KID under equal distributions it is conservative.

An interval says how the value would move with other images of the same number: it does not take away the bias that FD
and the neighbour metrics have for few images. It takes images as independent; several of one patient make it too
narrow.

Source: Shao and Wu 1989, "A general theory for jackknife variance estimation", Annals of Statistics 17(3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from synthbank.errors import OptionError
from synthbank.metrics._checks import check_pair

RESAMPLED_SHARE = 0.8
_FEW_DRAWS = 40
MINIMUM = 4
"""Fewest images of a set that are resampled."""

Index = NDArray[np.int64]


class Statistic(Protocol):
    """A metric as a function of two feature sets."""

    def __call__(self, *, real: NDArray[Any], fake: NDArray[Any]) -> float:
        """The value for `real` `[N, D]` and `fake` `[M, D]`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Statistic,
    *,
    real: NDArray[Any],
    fake: NDArray[Any],
    rng: np.random.Generator,
    n_resamples: int = 200,
    level: float = 0.95,
) -> Estimate:
    """A metric with an interval from resampling both sets without replacement (see the module's text for why).

    Args:
        statistic: called as `statistic(real=..., fake=...)`.
        real: `[N, D]`, N >= 4.
        fake: `[M, D]`, M >= 4.
        rng: draws the resamples.
        n_resamples: at least 2.
        level: coverage aimed at.

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
    train: NDArray[Any],
    test: NDArray[Any],
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
    """Index pairs that keep four fifths of each set, no image twice."""
    if n_resamples < 2:
        raise OptionError("An interval needs resamples", got=n_resamples, allowed="at least 2; 200 is usual")
    for _ in range(n_resamples):
        yield (
            np.sort(rng.choice(n_real, _resample_size(n_real), replace=False)).astype(np.int64),
            np.sort(rng.choice(n_fake, _resample_size(n_fake), replace=False)).astype(np.int64),
        )


def widening(n_real: int, n_fake: int) -> float:
    """Factor from the spread of resamples to the spread of fresh samples; 2 but for rounding."""
    return sqrt(sum(_resample_size(n) / (n - _resample_size(n)) for n in (n_real, n_fake)) / 2.0)


def interval_about(value: float, draws: NDArray[np.float64], factor: float, *, level: float) -> tuple[float, float]:
    """Widened deviations of the draws from their mean, laid about `value`; NaN draws are left out.

    Quantiles of them; with fewer than 40 draws, which have no such quantiles, Student's t times their deviation.
    """
    if not 0.0 < level < 1.0:
        raise OptionError("This level cannot be covered", got=level, allowed="between 0 and 1, such as 0.95")
    draws = draws[~np.isnan(draws)]
    deviations = factor * (draws - draws.mean())
    if len(draws) < _FEW_DRAWS:
        high = float(t.ppf((1.0 + level) / 2.0, len(draws) - 1) * deviations.std(ddof=1))
        return value - high, value + high
    low, high = np.quantile(deviations, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return value + min(float(low), 0.0), value + max(float(high), 0.0)


def wilson_interval(share: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of n images; not a point at 0 or 1, where resampling sees no spread.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> wilson_interval(0.0, 100)[1] < 0.04
    True
    """
    z = float(norm.ppf((1.0 + level) / 2.0))
    middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z * sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n)) / (1.0 + z * z / n)
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def _resample_size(n: int) -> int:
    return min(max(int(RESAMPLED_SHARE * n), 2), n - 1)
