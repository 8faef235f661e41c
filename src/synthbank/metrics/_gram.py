"""Gram matrices (inner products) of feature sets; every metric and every resample reads from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synthbank.metrics._checks import Features

_SAME_POINT = 1e-13

ResampleMasks = NDArray[np.bool_]
"""`[R, N]`, true where resample r holds image n; every resample holds the same number of images."""
ResampleValues = NDArray[np.float64]
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

    def take(self, real_index: NDArray[np.int64], fake_index: NDArray[np.int64]) -> GramMatrices:
        """The same for a part of the images; no feature is read again."""
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
    """Gram matrices between training originals (N), test originals (H) and synthetic images (M)."""

    train_fake: GramMatrices
    """Its `real` is train, its `fake` is fake."""
    train_test: GramMatrices
    """Its `real` is train, its `fake` is test."""
    test_fake: GramMatrices
    """Its `real` is test, its `fake` is fake."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """N, H and M."""
        return len(self.train_fake.real), len(self.train_test.fake), len(self.train_fake.fake)


def three_way_gram(*, train: Features, test: Features, fake: Features) -> ThreeWayGram:
    """Inner products of three checked feature sets of one width."""
    own = {name: x @ x.T for name, x in (("train", train), ("test", test), ("fake", fake))}
    width = train.shape[1]
    return ThreeWayGram(
        GramMatrices(own["train"], own["fake"], train @ fake.T, width),
        GramMatrices(own["train"], own["test"], train @ test.T, width),
        GramMatrices(own["test"], own["fake"], test @ fake.T, width),
    )


def gram_matrices(*, real: Features, fake: Features) -> GramMatrices:
    """Inner products of two checked feature sets `[N, D]` and `[M, D]`."""
    return GramMatrices(real @ real.T, fake @ fake.T, real @ fake.T, real.shape[1])


def subset_means(inner: Features, row_masks: ResampleMasks, column_masks: ResampleMasks) -> ResampleValues:
    """Mean of `inner` `[N, M]` over the rows and columns that each resample holds, `[R]`."""
    rows, columns = row_masks.astype(np.float64), column_masks.astype(np.float64)
    means: ResampleValues = ((rows @ inner) * columns).sum(axis=1) / (rows.sum(axis=1) * columns.sum(axis=1))
    return means


def subset_pair_means(inner: Features, masks: ResampleMasks) -> ResampleValues:
    """Mean of `inner` `[N, N]` over the pairs of two different images that each resample holds, `[R]`."""
    n = masks.sum(axis=1)
    own = masks @ np.diagonal(inner) / n
    means: ResampleValues = (n * subset_means(inner, masks, masks) - own) / (n - 1)
    return means


def _distances(inner: Features, left: Features, right: Features, *, same_set: bool) -> Features:
    scale = left[:, None] + right[None]
    squared = scale - 2.0 * inner
    squared[squared < _SAME_POINT * scale] = 0.0  # what is left of two equal points after rounding
    if same_set:
        np.fill_diagonal(squared, 0.0)
    return np.sqrt(squared)
