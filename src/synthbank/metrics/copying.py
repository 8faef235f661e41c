"""Copies: synthetic images that are nearer to a training original than originals are to each other."""

from __future__ import annotations

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, Floats, Index, RawFeatures, check_features, check_pair
from synthbank.metrics._gram import GramMatrices
from synthbank.metrics._registry import two_sample_metric

COPY_QUANTILE = 0.01
"""Share of originals whose nearest other original lies below the copy threshold."""
_CHUNK = 512
"""Queries at a time; their distances to all references stand in memory."""
_TIE = 1e-12
"""Relative rounding error of a squared distance that comes from inner products, generously."""


def nearest_neighbours(
    *, query: RawFeatures, reference: RawFeatures, k: int = 1, exclude_self: bool = False
) -> tuple[Features, Index]:
    """Find the exact k nearest neighbours by Euclidean distance.

    Candidates come from inner products; the distances returned are of differences, so equal rows are exactly 0 apart.

    Args:
        query: `[Q, D]`, Q >= 1.
        reference: `[R, D]`, R >= k (k + 1 with `exclude_self`).
        k: neighbours per query.
        exclude_self: query and reference are the same array, and row i is no neighbour of row i.

    Returns:
        Distances `[Q, k]`, float64, rising, and positions in `reference` `[Q, k]`; ties go to the earlier position.

    Raises:
        OptionError: too few references, k below 1, or values that are not finite.
    """
    if k < 1:
        raise OptionError("The number of neighbours is too small", got=k, allowed="1 or more")
    y, x = check_pair(real=reference, fake=query, minimum=1)
    check_features(y, minimum=k + exclude_self, name="reference")
    if exclude_self and len(x) != len(y):
        raise OptionError("exclude_self needs one set", got=f"{len(x)} queries, {len(y)} references")
    # distances do not change; features far from the origin would lose digits in |y|^2 - 2 x.y
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    parts = [_nearest_of(x[i : i + _CHUNK], y, k, i if exclude_self else None) for i in range(0, len(x), _CHUNK)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def copy_threshold(*, real: RawFeatures, quantile: float = COPY_QUANTILE) -> float:
    """Compute the distance below which an image counts as a copy.

    It is a low quantile of the distances from each original to its nearest other original.

    Args:
        real: `[N, D]`, the training originals, N >= 2.
        quantile: share of originals that would themselves count as copies of another original, 0..1.

    Returns:
        0 or more, in feature units.

    Raises:
        OptionError: fewer than two images, a quantile outside 0..1, or values that are not finite.
    """
    if not 0.0 <= quantile <= 1.0:
        raise OptionError("This is no quantile", got=quantile, allowed="0 to 1")
    x = check_features(real, minimum=2, name="real")
    distance, _ = nearest_neighbours(query=x, reference=x, exclude_self=True)
    return float(np.quantile(distance[:, 0], quantile))


def copy_rate(*, real: RawFeatures, fake: RawFeatures, threshold: float) -> float:
    """Compute the share of images that are no farther from a training original than the threshold.

    Args:
        real: `[N, D]`, the training originals.
        fake: `[M, D]`, synthetic images; test originals give the rate of images that are no copies.
        threshold: of `copy_threshold`.

    Returns:
        0 to 1; lower is better, but not lower than the rate of the test originals.

    Raises:
        OptionError: an empty set, unlike widths, or values that are not finite.
    """
    distance, _ = nearest_neighbours(query=fake, reference=real)
    return float((distance[:, 0] <= threshold).mean())


@two_sample_metric(
    "copy-rate", order=100, title="Copy rate", against="train", bounds=(0.0, 1.0), proportion_of="fake", biased=False,
    meaning="share of synthetic images closer to a training original than originals are", minimum_fake=1,
    citation="1st percentile of real-to-real nearest distances; after Meehan et al. 2020, arXiv 2004.05675",
    note="against training originals; its floor is the test originals' rate",
)  # fmt: skip
def copy_rate_of(gram: GramMatrices) -> float:
    """Compute the copy rate from Gram matrices, `real` being the training originals."""
    # the threshold comes from the training originals alone, so the floor is measured against the same one
    among = gram.real_distances.copy()
    np.fill_diagonal(among, np.inf)
    threshold = np.quantile(among.min(axis=1), COPY_QUANTILE)
    return float((gram.cross_distances.min(axis=0) <= threshold).mean())


def _nearest_of(x: Features, y: Features, k: int, first: int | None) -> tuple[Floats, Index]:
    """k nearest rows of `y` `[R, D]` for each row of `x` `[q, D]`; `first`: row i of `x` is row `first + i` of `y`."""
    lengths = (y**2).sum(axis=1)
    rough = lengths[None] - 2.0 * x @ y.T  # [q, R], squared distance less |x|^2
    rows = np.arange(len(x))
    if first is not None:
        rough[rows, first + rows] = np.inf
    # the k-th smallest rough value, plus what rounding may have added to it: no true neighbour is lost
    rounding = _TIE * ((x**2).sum(axis=1) + lengths.max())
    limit = np.partition(rough, k - 1, axis=1)[:, k - 1] + rounding
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    for i in rows:
        candidates = np.flatnonzero(rough[i] <= limit[i])
        exact = np.linalg.norm(x[i] - y[candidates], axis=1)
        order = np.argsort(exact, kind="stable")[:k]
        distances[i], indices[i] = exact[order], candidates[order]
    return distances, indices
