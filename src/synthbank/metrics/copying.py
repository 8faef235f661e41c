"""Are synthetic images copies of the originals a model was trained on?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, check_features, check_pair
from synthbank.metrics._gram import GramMatrices
from synthbank.metrics._registry import two_sample_metric

COPY_QUANTILE = 0.01
_CHUNK = 512
_TIE = 1e-12


def nearest_neighbours(
    *, query: NDArray[Any], reference: NDArray[Any], k: int = 1, exclude_self: bool = False
) -> tuple[Features, NDArray[np.int64]]:
    """Exact k nearest neighbours by Euclidean distance, a few hundred queries at a time.

    Candidates come from inner products; the distances returned are of differences, so equal rows are exactly 0 apart.

    Args:
        query: `[Q, D]`, Q >= 1.
        reference: `[R, D]`, R >= k (k + 1 with `exclude_self`).
        k: neighbours per query.
        exclude_self: query and reference are the same array, and row i is no neighbour of row i.

    Returns:
        Distances `[Q, k]`, rising, and positions in `reference` `[Q, k]`; ties go to the earlier position.

    Raises:
        OptionError: too few references, k below 1, or values that are not finite.
    """
    if k < 1:
        raise OptionError("The number of neighbours is too small", got=k, allowed="1 or more")
    y, x = check_pair(real=reference, fake=query, minimum=1)
    check_features(y, minimum=k + exclude_self, name="reference")
    if exclude_self and len(x) != len(y):
        raise OptionError("exclude_self needs one set", got=f"{len(x)} queries, {len(y)} references")
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    parts = [_nearest_of(x[i : i + _CHUNK], y, k, i if exclude_self else None) for i in range(0, len(x), _CHUNK)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def copy_threshold(reference: NDArray[Any], quantile: float = COPY_QUANTILE) -> float:
    """Distance below which an image counts as a copy: a low quantile of real-to-nearest-other-real distances.

    Args:
        reference: `[N, D]`, the training originals, N >= 2.
        quantile: share of originals that would themselves count as copies of another original.

    Raises:
        OptionError: fewer than two images, a quantile outside 0..1, or values that are not finite.
    """
    if not 0.0 <= quantile <= 1.0:
        raise OptionError("This is no quantile", got=quantile, allowed="0 to 1")
    x = check_features(reference, minimum=2, name="reference")
    distance, _ = nearest_neighbours(query=x, reference=x, exclude_self=True)
    return float(np.quantile(distance[:, 0], quantile))


def copy_rate(*, real: NDArray[Any], fake: NDArray[Any], threshold: float) -> float:
    """Share of images that are no farther from a training original than the threshold.

    Args:
        real: `[N, D]`, the training originals.
        fake: `[M, D]`, synthetic images; give held-out originals here for the rate that honest images have.
        threshold: see `copy_threshold`.

    Returns:
        0 to 1; lower is better, but not lower than the held-out originals' rate.

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
    """Copy rate from inner products, `real` being the training originals; the threshold comes from them alone."""
    among = gram.real_distances.copy()
    np.fill_diagonal(among, np.inf)
    threshold = np.quantile(among.min(axis=1), COPY_QUANTILE)
    return float((gram.cross_distances.min(axis=0) <= threshold).mean())


def _nearest_of(x: Features, y: Features, k: int, first: int | None) -> tuple[Features, NDArray[np.int64]]:
    lengths = (y**2).sum(axis=1)
    rough = lengths[None] - 2.0 * x @ y.T  # [q, R], squared distance less |x|^2
    rows = np.arange(len(x))
    if first is not None:
        rough[rows, first + rows] = np.inf
    rounding = _TIE * ((x**2).sum(axis=1) + lengths.max())
    limit = np.partition(rough, k - 1, axis=1)[:, k - 1] + rounding
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    for i in rows:
        candidates = np.flatnonzero(rough[i] <= limit[i])  # k of them, and all that may be as near as the k-th
        exact = np.linalg.norm(x[i] - y[candidates], axis=1)
        order = np.argsort(exact, kind="stable")[:k]
        distances[i], indices[i] = exact[order], candidates[order]
    return distances, indices
