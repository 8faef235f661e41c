"""Grey values, chunks of images and distances between one-dimensional samples, for the metrics of pixels."""

from __future__ import annotations

import numpy as np

from synthbank.metrics._checks import Features, Floats
from synthbank.records import UInt8Images

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_CHUNK = 256
"""Images turned into float at a time."""


def grey(images: UInt8Images) -> Features:
    """Convert images to grey.

    Args:
        images: `[N, C, H, W]`, uint8.

    Returns:
        `[N, H, W]`, float64, 0..255: luma of RGB, else the mean over channels.
    """
    if images.shape[1] == 3:
        return np.asarray(np.einsum("nchw,c->nhw", images, _LUMA), np.float64)
    return np.asarray(images.mean(axis=1, dtype=np.float64), np.float64)


def in_chunks(images: UInt8Images) -> list[UInt8Images]:
    """Split a set into views of at most 256 images, so that no float copy of the whole set is made."""
    return [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]


def without_nan(values: Floats) -> Floats:
    """Drop the NaN values."""
    return values[~np.isnan(values)]


def standardised_gap(*, real: Features, fake: Features) -> float:
    """Mean over columns of the 1-Wasserstein distance between two samples, in standard deviations of the real one.

    Args:
        real: `[N, D]`; NaN where an image gave no value.
        fake: `[M, D]`, alike.

    Returns:
        0 or more, without unit; lower is better. 0 where no column has values in both samples.
    """
    gaps = []
    for x, y in zip(real.T, fake.T, strict=True):
        x, y = without_nan(x), without_nan(y)
        if len(x) and len(y):
            # a column that hardly varies among the reals is measured in thousandths of its largest value
            unit = max(float(x.std()), 1e-3 * float(np.abs(x).max()), 1e-9)
            gaps.append(_wasserstein(x, y) / unit)
    return float(np.mean(gaps)) if gaps else 0.0


def _wasserstein(x: Floats, y: Floats) -> float:
    """1-Wasserstein distance between two samples `[n]` and `[m]`, in their unit."""
    # in one dimension W_1 is the area between the two empirical distribution functions
    x, y = np.sort(x), np.sort(y)
    places = np.sort(np.concatenate([x, y]))
    share_x = np.searchsorted(x, places[:-1], side="right") / len(x)
    share_y = np.searchsorted(y, places[:-1], side="right") / len(y)
    return float((np.abs(share_x - share_y) * np.diff(places)).sum())
