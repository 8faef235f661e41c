"""What pixel metrics share: grey values, optical density, distances between one-dimensional samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbank.metrics._checks import Features
from synthbank.records import UInt8Images

_LUMA = np.array([0.299, 0.587, 0.114])
_CHUNK = 256


def grey(images: UInt8Images) -> Features:
    """`[N, H, W]`, float64, 0..255: luma of RGB (ITU-R 601), else the mean over channels."""
    if images.shape[1] == 3:
        return np.asarray(np.einsum("nchw,c->nhw", images, _LUMA), np.float64)
    return np.asarray(images.mean(axis=1, dtype=np.float64), np.float64)


def in_chunks(images: UInt8Images) -> list[UInt8Images]:
    """Views of a few hundred images each, so that no float copy of a whole set is made."""
    return [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]


def without_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that are not NaN."""
    return values[~np.isnan(values)]


def standardised_gap(*, real: Features, fake: Features) -> float:
    """Mean over columns of the 1-Wasserstein distance between two samples, in standard deviations of the real one.

    A column that does not vary among the reals is measured in thousandths of its value; NaN rows are left out.
    """
    gaps = []
    for x, y in zip(real.T, fake.T, strict=True):
        x, y = without_nan(x), without_nan(y)
        if len(x) and len(y):
            unit = max(float(x.std()), 1e-3 * float(np.abs(x).max()), 1e-9)
            gaps.append(_wasserstein(x, y) / unit)
    return float(np.mean(gaps)) if gaps else 0.0


def _wasserstein(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Area between the two empirical distribution functions."""
    x, y = np.sort(x), np.sort(y)
    places = np.sort(np.concatenate([x, y]))
    share_x = np.searchsorted(x, places[:-1], side="right") / len(x)
    share_y = np.searchsorted(y, places[:-1], side="right") / len(y)
    return float((np.abs(share_x - share_y) * np.diff(places)).sum())
