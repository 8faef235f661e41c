"""How much of the real variety a synthetic set shows: precision, recall, density, coverage, pairwise distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features, check_features, check_pair
from synthbank.metrics._products import Products, products_of
from synthbank.metrics._registry import metrics

_K_MANIFOLD = 3
_K_DENSITY = 5


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
    products = _checked(real, fake, k)
    return _precision(products, k), _recall(products, k)


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
    products = _checked(real, fake, k)
    return _density(products, k), _coverage(products, k)


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
    return _mean_pair(products_of(real=x, fake=x[:0]).real_distances)


def _checked(real: NDArray[Any], fake: NDArray[Any], k: int) -> Products:
    if k < 1:
        raise OptionError("The neighbour number k is too small", got=k, allowed="1 or more")
    x, y = check_pair(real=real, fake=fake, minimum=k + 1)
    return products_of(real=x, fake=y)


def _radii(distances: Features, k: int) -> Features:
    """`[N]`, distance of each image to its k-th nearest other image; the zero to itself is the 0-th."""
    radii: Features = np.partition(distances, k, axis=1)[:, k]
    return radii


def _precision(products: Products, k: int) -> float:
    inside = products.cross_distances <= _radii(products.real_distances, k)[:, None]  # [N, M]
    return float(inside.any(axis=0).mean())


def _recall(products: Products, k: int) -> float:
    inside = products.cross_distances <= _radii(products.fake_distances, k)[None]  # [N, M]
    return float(inside.any(axis=1).mean())


def _density(products: Products, k: int) -> float:
    inside = products.cross_distances <= _radii(products.real_distances, k)[:, None]
    return float(inside.sum(axis=0).mean() / k)


def _coverage(products: Products, k: int) -> float:
    return float((products.cross_distances.min(axis=1) <= _radii(products.real_distances, k)).mean())


def _mean_pair(distances: Features) -> float:
    return float(distances.sum() / (len(distances) * (len(distances) - 1)))


_MANIFOLD_FACTS: dict[str, Any] = {
    "higher_is_better": True,
    "minimum_real": 6,
    "minimum_fake": 6,
    "bounds": (0.0, 1.0),
    "symmetric": False,
    "against": "test",
    "biased": True,
    "citation": "Kynkaanniemi et al. 2019, arXiv 1904.06991",
    "note": f"k = {_K_MANIFOLD}",
}
_DENSITY_FACTS: dict[str, Any] = _MANIFOLD_FACTS | {
    "minimum_real": 8,
    "minimum_fake": 8,
    "citation": "Naeem et al. 2020, arXiv 2002.09797",
    "note": f"k = {_K_DENSITY}",
}


@metrics.register("precision", order=2, proportion_of="fake", **_MANIFOLD_FACTS)
def precision_of(products: Products) -> float:
    """Precision at k = 3 from inner products."""
    return _precision(products, _K_MANIFOLD)


@metrics.register("recall", order=3, proportion_of="real", **_MANIFOLD_FACTS)
def recall_of(products: Products) -> float:
    """Recall at k = 3 from inner products."""
    return _recall(products, _K_MANIFOLD)


@metrics.register("density", order=4, proportion_of=None, **(_DENSITY_FACTS | {"bounds": (0.0, None)}))
def density_of(products: Products) -> float:
    """Density at k = 5 from inner products."""
    return _density(products, _K_DENSITY)


@metrics.register("coverage", order=5, proportion_of="real", **_DENSITY_FACTS)
def coverage_of(products: Products) -> float:
    """Coverage at k = 5 from inner products."""
    return _coverage(products, _K_DENSITY)


@metrics.register(
    "diversity",
    order=6,
    higher_is_better=True,
    minimum_real=4,
    minimum_fake=4,
    bounds=(0.0, None),
    symmetric=False,
    against="test",
    proportion_of=None,
    biased=False,
    citation="ratio of mean pairwise feature distances",
    note="fake over real; 1 is as varied as the originals",
)
def diversity_ratio_of(products: Products) -> float:
    """Mean pairwise distance of the fakes over that of the reals; 0 where the reals are all alike."""
    real = _mean_pair(products.real_distances)
    return _mean_pair(products.fake_distances) / real if real > 0 else 0.0
