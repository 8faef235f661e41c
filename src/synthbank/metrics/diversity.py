"""Diversity of a synthetic set: precision, recall, density, coverage and mean pairwise distance.

All but the last count pairs of a ball and a point. Balls lie about the images of one set and reach the k-th nearest
neighbour of their centre in its own set; points are the images of the other set.
"""

from __future__ import annotations

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, Floats, RawFeatures, check_features, check_pair
from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues, gram_matrices, subset_pair_means
from synthbank.metrics._registry import two_sample_metric

_K_MANIFOLD = 3
"""k of precision and recall, as in the paper."""
_K_DENSITY = 5
"""k of density and coverage, as in the paper."""
_LISTED = 24
"""Neighbours that are listed for each image; a resample finds its k-th among them."""
_PAIRS, _BALLS, _POINTS = range(3)
"""Positions in what `_ball_counts` returns."""


def precision_recall(*, real: RawFeatures, fake: RawFeatures, k: int = _K_MANIFOLD) -> tuple[float, float]:
    """Compute the share of fakes inside the real manifold, and the share of reals inside the fake manifold.

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
    gram = _check_and_multiply(real, fake, k)
    return _precision(gram, k), _recall(gram, k)


def density_coverage(*, real: RawFeatures, fake: RawFeatures, k: int = _K_DENSITY) -> tuple[float, float]:
    """Compute how densely fakes fill the neighbourhoods of reals, and the share of reals with a fake in theirs.

    Args:
        real: `[N, D]`, N > k.
        fake: `[M, D]`, M > k.
        k: neighbour that sets the radius; 5 in the paper.

    Returns:
        Density (>= 0, about 1 for equal distributions) and coverage (0 to 1); higher is better.

    Raises:
        OptionError: as `precision_recall`.

    Source: Naeem et al. 2020, arXiv 2002.09797, section 3.
    """
    gram = _check_and_multiply(real, fake, k)
    return _density(gram, k), _coverage(gram, k)


def pairwise_diversity(features: RawFeatures) -> float:
    """Compute the mean Euclidean distance over all pairs of two different images.

    Args:
        features: `[N, D]`, N >= 2.

    Returns:
        0 or more, in feature units; higher is more varied.

    Raises:
        OptionError: fewer than two images, or values that are not finite.

    >>> pairwise_diversity(np.array([[0.0], [3.0]]))
    3.0
    """
    x = check_features(features, minimum=2)
    return _mean_pair(gram_matrices(real=x, fake=x[:0]).real_distances)


def _check_and_multiply(real: RawFeatures, fake: RawFeatures, k: int) -> GramMatrices:
    if k < 1:
        raise OptionError("The neighbour number k is too small", got=k, allowed="1 or more")
    x, y = check_pair(real=real, fake=fake, minimum=k + 1)
    return gram_matrices(real=x, fake=y)


def _radii(distances: Features, k: int) -> Features:
    """`[N]`, distance of each image to its k-th nearest other image; the zero to itself is the 0-th."""
    radii: Features = np.partition(distances, k, axis=1)[:, k]
    return radii


def _precision(gram: GramMatrices, k: int) -> float:
    # Kynkaanniemi et al., eq. 2: mean over fakes of f(y, X), where f (eq. 1) is 1 inside any ball about a real image
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[_POINTS] / len(gram.cross.T)


def _recall(gram: GramMatrices, k: int) -> float:
    # eq. 2 with the sets exchanged: balls about fakes, points are reals
    return _ball_counts(gram.fake_distances, gram.cross_distances.T, k)[_POINTS] / len(gram.cross)


def _density(gram: GramMatrices, k: int) -> float:
    # Naeem et al.: 1 / (k M) sum over fakes and reals of 1{|y - x| <= r_k(x)}; k balls are expected about a real point
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[_PAIRS] / (k * len(gram.cross.T))


def _coverage(gram: GramMatrices, k: int) -> float:
    # Naeem et al.: share of reals with at least one fake within r_k(x); outliers among the fakes cannot raise it
    return _ball_counts(gram.real_distances, gram.cross_distances, k)[_BALLS] / len(gram.cross)


def _mean_pair(distances: Features) -> float:
    """Mean over the pairs of two different images of distances `[N, N]`, whose diagonal is zero."""
    return float(distances.sum() / (len(distances) * (len(distances) - 1)))


def _ball_counts(distances: Features, cross: Features, k: int) -> tuple[int, int, int]:
    """Count pairs of a ball and a point in it, balls that hold a point, and points in a ball.

    Args:
        distances: `[N, N]`, between the centres.
        cross: `[N, M]`, from the centres to the points.
        k: neighbour that sets the radius.

    Returns:
        Three counts, at the positions `_PAIRS`, `_BALLS` and `_POINTS`.
    """
    # the edge belongs to the ball, as in eq. 1 of Kynkaanniemi et al.
    inside = cross <= _radii(distances, k)[:, None]
    return int(inside.sum()), int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum())


def _resampled_ball_counts(
    distances: Features, cross: Features, centre_masks: ResampleMasks, point_masks: ResampleMasks, k: int
) -> Floats:
    """Compute `_ball_counts` on each resample, `[R, 3]`.

    Neighbour lists are made once: a resample's radius is read off its centre's list, and only points closer than the
    list's end are looked at. Where a list is too short for a resample, `_ball_counts` itself takes over.

    Args:
        distances: `[N, N]`, between the centres.
        cross: `[N, M]`, from the centres to the points.
        centre_masks: `[R, N]`, centres that each resample holds.
        point_masks: `[R, M]`, points that each resample holds.
        k: neighbour that sets the radius.
    """
    # argpartition finds the nearest few of each image without sorting all N of them; the few are then sorted
    n, m = cross.shape
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    listed = min(_LISTED, n - 1)
    neighbours = np.argpartition(others, listed - 1, axis=1)[:, :listed]
    neighbours = np.take_along_axis(neighbours, np.take_along_axis(others, neighbours, axis=1).argsort(axis=1), axis=1)
    reach = np.take_along_axis(others, neighbours, axis=1)  # [N, listed], rising
    # a radius never exceeds the end of the list, so no other pair of ball and point can count in any resample
    centre, point = np.nonzero(cross <= reach[:, -1:])
    gap = cross[centre, point]
    counts = np.empty((len(centre_masks), 3))
    for r, (centres, points) in enumerate(zip(centre_masks, point_masks, strict=True)):
        # true from the k-th listed neighbour on that this resample holds
        reached = centres[neighbours].cumsum(axis=1) >= k  # [N, listed]
        if not reached[centres, -1].all():
            counts[r] = _ball_counts(distances[np.ix_(centres, centres)], cross[np.ix_(centres, points)], k)
            continue
        radii = reach[np.arange(n), reached.argmax(axis=1)]
        inside = (gap <= radii[centre]) & centres[centre] & points[point]
        occupied, covered = np.zeros(n, np.bool_), np.zeros(m, np.bool_)
        occupied[centre[inside]] = covered[point[inside]] = True
        counts[r] = inside.sum(), occupied.sum(), covered.sum()
    return counts


def _precision_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_MANIFOLD)
    shares: ResampleValues = counts[:, _POINTS] / fake_masks.sum(axis=1)
    return shares


def _recall_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.fake_distances, gram.cross_distances.T, fake_masks, real_masks, _K_MANIFOLD)
    shares: ResampleValues = counts[:, _POINTS] / real_masks.sum(axis=1)
    return shares


def _density_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_DENSITY)
    shares: ResampleValues = counts[:, _PAIRS] / (_K_DENSITY * fake_masks.sum(axis=1))
    return shares


def _coverage_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    counts = _resampled_ball_counts(gram.real_distances, gram.cross_distances, real_masks, fake_masks, _K_DENSITY)
    shares: ResampleValues = counts[:, _BALLS] / real_masks.sum(axis=1)
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
    """Precision at k = 3 from Gram matrices."""
    return _precision(gram, _K_MANIFOLD)


@two_sample_metric(
    "recall", order=40, title="Recall", meaning="share of real images that fall among the synthetic ones",
    direction="higher", minimum_real=6, minimum_fake=6, bounds=(0.0, 1.0), proportion_of="real",
    resampled=_recall_of_resamples, citation="Kynkaanniemi et al. 2019, arXiv 1904.06991", note=f"k = {_K_MANIFOLD}",
)  # fmt: skip
def recall_of(gram: GramMatrices) -> float:
    """Recall at k = 3 from Gram matrices."""
    return _recall(gram, _K_MANIFOLD)


@two_sample_metric(
    "density", order=50, title="Density", meaning="how densely real neighbourhoods are filled; 1 is like real",
    direction="higher", resampled=_density_of_resamples,
    citation="Naeem et al. 2020, arXiv 2002.09797", note=f"k = {_K_DENSITY}",
)  # fmt: skip
def density_of(gram: GramMatrices) -> float:
    """Density at k = 5 from Gram matrices."""
    return _density(gram, _K_DENSITY)


@two_sample_metric(
    "coverage", order=60, title="Coverage", meaning="share of real images with a synthetic image close by",
    direction="higher", bounds=(0.0, 1.0), proportion_of="real", resampled=_coverage_of_resamples,
    citation="Naeem et al. 2020, arXiv 2002.09797", note=f"k = {_K_DENSITY}",
)  # fmt: skip
def coverage_of(gram: GramMatrices) -> float:
    """Coverage at k = 5 from Gram matrices."""
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
