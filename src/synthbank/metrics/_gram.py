"""Gram matrices (inner products) of feature sets; every metric and every resample reads from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthbank.metrics._checks import Features, Floats, Index, Mask

_SAME_POINT = 1e-13
"""Squared distance, as a share of the summed squared lengths, below which two images are the same point."""

ResampleMasks = Mask
"""`[R, N]`, true where resample r holds image n; every resample holds the same number of images."""
ResampleValues = Floats
"""`[R]`, one value a resample."""


@dataclass(frozen=True)
class GramMatrices:
    """Inner products within and between a real set (N images) and a fake set (M images), float64."""

    real: Features
    """`[N, N]`"""
    fake: Features
    """`[M, M]`"""
    cross: Features
    """`[N, M]`"""
    dimensions: int
    """D, values per image."""

    def take(self, real_index: Index, fake_index: Index) -> GramMatrices:
        """Return the Gram matrices of the images at these positions."""
        return GramMatrices(
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
class ThreeWayGram:
    """Gram matrices between training originals (T), test originals (N) and synthetic images (M)."""

    train_fake: GramMatrices
    """Its `real` is train, its `fake` is fake."""
    train_test: GramMatrices
    """Its `real` is train, its `fake` is test."""
    test_fake: GramMatrices
    """Its `real` is test, its `fake` is fake."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """T, N and M."""
        return len(self.train_fake.real), len(self.train_test.fake), len(self.train_fake.fake)


def three_way_gram(*, train: Features, test: Features, fake: Features) -> ThreeWayGram:
    """Multiply three checked feature sets `[T, D]`, `[N, D]` and `[M, D]` with each other."""
    # each set's own matrix stands in two of the pairs, so it is computed once
    own = {name: x @ x.T for name, x in (("train", train), ("test", test), ("fake", fake))}
    width = train.shape[1]
    return ThreeWayGram(
        GramMatrices(own["train"], own["fake"], train @ fake.T, width),
        GramMatrices(own["train"], own["test"], train @ test.T, width),
        GramMatrices(own["test"], own["fake"], test @ fake.T, width),
    )


def gram_matrices(*, real: Features, fake: Features) -> GramMatrices:
    """Multiply two checked feature sets `[N, D]` and `[M, D]` with themselves and each other."""
    return GramMatrices(real @ real.T, fake @ fake.T, real @ fake.T, real.shape[1])


def subset_means(inner: Features, row_masks: ResampleMasks, column_masks: ResampleMasks) -> ResampleValues:
    """Mean of `inner` `[N, M]` over the rows and columns that each resample holds, `[R]`."""
    # sum over i, j of r_i K_ij c_j for all resamples in one matrix product, (R K) * C, instead of R cut-out blocks
    rows, columns = row_masks.astype(np.float64), column_masks.astype(np.float64)
    means: ResampleValues = ((rows @ inner) * columns).sum(axis=1) / (rows.sum(axis=1) * columns.sum(axis=1))
    return means


def subset_pair_means(inner: Features, masks: ResampleMasks) -> ResampleValues:
    """Mean of `inner` `[N, N]` over the pairs of two different images that each resample holds, `[R]`."""
    # the mean over all n^2 pairs counts each image with itself: with s = sum of K_ii / n,
    # sum over i != j of K_ij / (n (n - 1)) = (n * mean - s) / (n - 1)
    n = masks.sum(axis=1)
    own = masks @ np.diagonal(inner) / n
    means: ResampleValues = (n * subset_means(inner, masks, masks) - own) / (n - 1)
    return means


def _distances(inner: Features, row_lengths: Floats, column_lengths: Floats, *, same_set: bool) -> Features:
    """Euclidean distances `[N, M]` from inner products `[N, M]` and squared lengths `[N]` and `[M]`."""
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y
    scale = row_lengths[:, None] + column_lengths[None]
    squared = scale - 2.0 * inner
    # equal images leave a rounding error of either sign here; a copy must be at distance zero exactly
    squared[squared < _SAME_POINT * scale] = 0.0
    if same_set:
        np.fill_diagonal(squared, 0.0)
    return np.sqrt(squared)
