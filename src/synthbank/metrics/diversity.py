"""How much of the real variety a synthetic set shows: precision, recall, density, coverage, pairwise distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, check_features, check_pair
from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues, gram_matrices, subset_pair_means
from synthbank.metrics._registry import two_sample_metric

_K_MANIFOLD = 3
_K_DENSITY = 5
_LISTED = 24
"""Neighbours that are remembered of each image; among them a resample finds its k-th."""


def precision_recall(*, real: NDArray[Any], fake: NDArray[Any], k: int = _K_MANIFOLD) -> tuple[float, float]:
    """Share of fakes inside the real manifold, and share of reals inside the fake manifold.

    A manifold is the union of balls about its points, each reaching the point's k-th nearest neighbour in its own set.

    Args:
        real: `[N, D]`, N > k.
        fake: `[M, D]`, M > k.
        k: neighbour that sets the radius; 3 in the paper.

    Returns:
        Precision and recall, 0 to 1; higher is better. Both depend on N and M.

    Raises:
        OptionError: k below 1, k images or fewer, or values that are not finite.

    Source: Kynkaanniemi et al. 2019, arXiv 1904.06991, equations 1 and 2.
    """
    gram = _checked(real, fake, k)
    return _precision(gram, k), _recall(gram, k)


def density_coverage(*, real: NDArray[Any], fake: NDArray[Any], k: int = _K_DENSITY) -> tuple[float, float]:
    """How densely fakes fill the neighbourhoods of reals, and the share of reals that have a fake in theirs.

    Args:
        real: `[N, D]`, N > k.
        fake: `[M, D]`, M > k.
        k: neighbour that sets the radius; 5 in the paper.

    Returns:
        Density (>= 0, about 1 for equal distributions) and coverage (0 to 1); higher is better.

    Raises:
        OptionError: as `precision_recall`.

    Source: Naeem et al. 2020, arXiv 2002.09797, equations 4 and 5.
    """
    gram = _checked(real, fake, k)
    return _density(gram, k), _coverage(gram, k)


def pairwise_diversity(features: NDArray[Any]) -> float:
    """Mean Euclidean distance over all pairs of two different images; feature units, higher is more varied.

    Args:
        features: `[N, D]`, N >= 2.

    Raises:
        OptionError: fewer than two images, or values that are not finite.

    >>> pairwise_diversity(np.array([[0.0], [3.0]]))
    3.0
    """
    x = check_features(features, minimum=2)
    return _mean_pair(gram_matrices(real=x, fake=x[:0]).real_distances)


def _checked(real: NDArray[Any], fake: NDArray[Any], k: int) -> GramMatrices:
    if k < 1:
        raise OptionError("The neighbour number k is too small", got=k, allowed="1 or more")
    x, y = check_pair(real=real, fake=fake, minimum=k + 1)
    return gram_matrices(real=x, fake=y)


def _radii(distances: Features, k: int) -> Features:
    """`[N]`, distance of each image to its k-th nearest other image; the zero to itself is the 0-th."""
    radii: Features = np.partition(distances, k, axis=1)[:, k]
    return radii


def _precision(gram: GramMatrices, k: int) -> float:
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[2] / len(gram.cross.T)


def _recall(gram: GramMatrices, k: int) -> float:
    return _ball_counts(gram.fake_distances, gram.cross_distances.T, k)[2] / len(gram.cross)


def _density(gram: GramMatrices, k: int) -> float:
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[0] / (k * len(gram.cross.T))


def _coverage(gram: GramMatrices, k: int) -> float:
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[1] / len(gram.cross)


def _mean_pair(distances: Features) -> float:
    return float(distances.sum() / (len(distances) * (len(distances) - 1)))


def _ball_counts(distances: Features, cross: Features, k: int) -> tuple[int, int, int]:
    """How many pairs of a ball and a point in it, of balls that hold a point, and of points in a ball.

    Balls lie about the rows of `cross` and reach their k-th neighbour; points are its columns.
    """
    inside = cross <= _radii(distances, k)[:, None]
    return int(inside.sum()), int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum())


def _resampled_ball_counts(
    distances: Features, cross: Features, centre_masks: ResampleMasks, point_masks: ResampleMasks, k: int
) -> NDArray[np.float64]:
    """`_ball_counts` on each resample, `[R, 3]`.

    Neighbour lists are made once: a resample's radius is read off its centre's list, and only points closer than the
    list's end are looked at. Where a list is too short for a resample, `_ball_counts` itself takes over.
    """
    n, m = cross.shape
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    listed = min(_LISTED, n - 1)
    neighbours = np.argpartition(others, listed - 1, axis=1)[:, :listed]
    neighbours = np.take_along_axis(neighbours, np.take_along_axis(others, neighbours, axis=1).argsort(axis=1), axis=1)
    reach = np.take_along_axis(others, neighbours, axis=1)  # [N, listed], rising
    centre, point = np.nonzero(cross <= reach[:, -1:])
    gap = cross[centre, point]
    counts = np.empty((len(centre_masks), 3))
    for r, (centres, points) in enumerate(zip(centre_masks, point_masks, strict=True)):
        reached = centres[neighbours].cumsum(axis=1) >= k  # [N, listed]
        if not reached[centres, -1].all():
            counts[r] = _ball_counts(distances[np.ix_(centres, centres)], cross[np.ix_(centres, points)], k)
            continue
        radii = reach[np.arange(n), reached.argmax(axis=1)]
        inside = (gap <= radii[centre]) & centres[centre] & points[point]
        holding, held = np.zeros(n, np.bool_), np.zeros(m, np.bool_)
        holding[centre[inside]] = held[point[inside]] = True
        counts[r] = inside.sum(), holding.sum(), held.sum()
    return counts


def _precision_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_MANIFOLD)
    shares: ResampleValues = counts[:, 2] / fake_masks.sum(axis=1)
    return shares


def _recall_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.fake_distances, gram.cross_distances.T, fake_masks, real_masks, _K_MANIFOLD)
    shares: ResampleValues = counts[:, 2] / real_masks.sum(axis=1)
    return shares


def _density_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_DENSITY)
    shares: ResampleValues = counts[:, 0] / (_K_DENSITY * fake_masks.sum(axis=1))
    return shares


def _coverage_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_DENSITY)
    shares: ResampleValues = counts[:, 1] / real_masks.sum(axis=1)
    return shares


def _diversity_ratio_of_resamples(
    gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks
) -> ResampleValues:
    real = subset_pair_means(gram.real_distances, real_masks)
    fake = subset_pair_means(gram.fake_distances, fake_masks)
    return np.divide(fake, real, out=np.zeros_like(fake), where=real > 0)


@two_sample_metric(
    "precision", order=30, title="Precision", meaning="share of synthetic images that fall among the real ones",
    direction="higher", minimum_real=6, minimum_fake=6, bounds=(0.0, 1.0), proportion_of="fake",
    resampled=_precision_of_resamples, citation="Kynkaanniemi et al. 2019, arXiv 1904.06991", note=f"k = {_K_MANIFOLD}",
)  # fmt: skip
def precision_of(gram: GramMatrices) -> float:
    """Precision at k = 3 from inner products."""
    return _precision(gram, _K_MANIFOLD)


@two_sample_metric(
    "recall", order=40, title="Recall", meaning="share of real images that fall among the synthetic ones",
    direction="higher", minimum_real=6, minimum_fake=6, bounds=(0.0, 1.0), proportion_of="real",
    resampled=_recall_of_resamples, citation="Kynkaanniemi et al. 2019, arXiv 1904.06991", note=f"k = {_K_MANIFOLD}",
)  # fmt: skip
def recall_of(gram: GramMatrices) -> float:
    """Recall at k = 3 from inner products."""
    return _recall(gram, _K_MANIFOLD)


@two_sample_metric(
    "density", order=50, title="Density", meaning="how densely real neighbourhoods are filled; 1 is like real",
    direction="higher", resampled=_density_of_resamples,
    citation="Naeem et al. 2020, arXiv 2002.09797", note=f"k = {_K_DENSITY}",
)  # fmt: skip
def density_of(gram: GramMatrices) -> float:
    """Density at k = 5 from inner products."""
    return _density(gram, _K_DENSITY)


@two_sample_metric(
    "coverage", order=60, title="Coverage", meaning="share of real images with a synthetic image close by",
    direction="higher", bounds=(0.0, 1.0), proportion_of="real", resampled=_coverage_of_resamples,
    citation="Naeem et al. 2020, arXiv 2002.09797", note=f"k = {_K_DENSITY}",
)  # fmt: skip
def coverage_of(gram: GramMatrices) -> float:
    """Coverage at k = 5 from inner products."""
    return _coverage(gram, _K_DENSITY)


@two_sample_metric(
    "diversity", order=70, title="Diversity ratio", meaning="spread of synthetic over spread of real; 1 is as varied",
    direction="higher", minimum_real=4, minimum_fake=4, biased=False, resampled=_diversity_ratio_of_resamples,
    citation="ratio of mean pairwise feature distances", note="fake over real; 1 is as varied as the originals",
)  # fmt: skip
def diversity_ratio_of(gram: GramMatrices) -> float:
    """Mean pairwise distance of the fakes over that of the reals; 0 where the reals are all alike."""
    real = _mean_pair(gram.real_distances)
    return _mean_pair(gram.fake_distances) / real if real > 0 else 0.0
