"""Inner products of feature sets: computed once, then every metric and every resample reads from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synthbank.metrics._checks import Features

_SAME_POINT = 1e-13

Kept = NDArray[np.bool_]
"""`[R, N]`, which of N images each of R resamples keeps; every resample keeps the same number."""
Values = NDArray[np.float64]
"""`[R]`, one value a resample."""


@dataclass(frozen=True)
class Products:
    """Inner products within and between a real set (N images) and a fake set (M images), float64."""

    real: Features
    """`[N, N]`"""
    fake: Features
    """`[M, M]`"""
    cross: Features
    """`[N, M]`"""
    dimensions: int
    """D, values per image."""

    def take(self, real_index: NDArray[np.int64], fake_index: NDArray[np.int64]) -> Products:
        """The same for a part of the images; no feature is read again."""
        return Products(
            self.real[np.ix_(real_index, real_index)],
            self.fake[np.ix_(fake_index, fake_index)],
            self.cross[np.ix_(real_index, fake_index)],
            self.dimensions,
        )

    @cached_property
    def real_distances(self) -> Features:
        """`[N, N]`, Euclidean, zero on the diagonal."""
        return _distances(self.real, np.diagonal(self.real), np.diagonal(self.real), same_set=True)

    @cached_property
    def fake_distances(self) -> Features:
        """`[M, M]`, Euclidean, zero on the diagonal."""
        return _distances(self.fake, np.diagonal(self.fake), np.diagonal(self.fake), same_set=True)

    @cached_property
    def cross_distances(self) -> Features:
        """`[N, M]`, Euclidean."""
        return _distances(self.cross, np.diagonal(self.real), np.diagonal(self.fake), same_set=False)


@dataclass(frozen=True)
class Trio:
    """Training originals (N), held-out originals (H) and synthetic images (M): what questions of privacy look at."""

    synthetic: Products
    """`real` is training, `fake` is synthetic."""
    held_out: Products
    """`real` is training, `fake` is held-out."""
    audience: Products
    """`real` is held-out, `fake` is synthetic."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """N, H and M."""
        return len(self.synthetic.real), len(self.held_out.fake), len(self.synthetic.fake)


def trio_of(*, train: Features, held_out: Features, fake: Features) -> Trio:
    """Inner products of three checked feature sets of one width."""
    own = {name: x @ x.T for name, x in (("train", train), ("held_out", held_out), ("fake", fake))}
    width = train.shape[1]
    return Trio(
        Products(own["train"], own["fake"], train @ fake.T, width),
        Products(own["train"], own["held_out"], train @ held_out.T, width),
        Products(own["held_out"], own["fake"], held_out @ fake.T, width),
    )


def products_of(*, real: Features, fake: Features) -> Products:
    """Inner products of two checked feature sets `[N, D]` and `[M, D]`."""
    return Products(real @ real.T, fake @ fake.T, real @ fake.T, real.shape[1])


def subset_means(inner: Features, left: Kept, right: Kept) -> Values:
    """Mean of `inner` over the rows and columns that each resample keeps: one product of matrices for all of them."""
    rows, columns = left.astype(np.float64), right.astype(np.float64)
    means: Values = ((rows @ inner) * columns).sum(axis=1) / (rows.sum(axis=1) * columns.sum(axis=1))
    return means


def subset_pair_means(inner: Features, kept: Kept) -> Values:
    """Mean of `inner` over the pairs of two different images that each resample keeps."""
    n = kept.sum(axis=1)
    own = kept @ np.diagonal(inner) / n
    means: Values = (n * subset_means(inner, kept, kept) - own) / (n - 1)
    return means


def _distances(inner: Features, left: Features, right: Features, *, same_set: bool) -> Features:
    scale = left[:, None] + right[None]
    squared = scale - 2.0 * inner
    squared[squared < _SAME_POINT * scale] = 0.0  # what is left of two equal points after rounding
    if same_set:
        np.fill_diagonal(squared, 0.0)
    return np.sqrt(squared)
