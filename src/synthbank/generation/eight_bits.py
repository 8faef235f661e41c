"""Descriptors in eight bits: half the size of a gate, for models that travel inside a package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEVELS = 127


def to_eight_bits(views: NDArray[np.float16]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Quantise the descriptors of originals.

    Values near 0 are the most frequent, so levels lie closer there: the level is the power 2/3 of the value, which
    keeps the squared error of bell-shaped values near its least.

    Args:
        views: as of `descriptors`, float16 `[M, V, 32, 32]`.

    Returns:
        Levels, int8 `[M, V, 32, 32]`, -127..127; and the largest magnitude of each view, float16 `[M, V]`.

    Source: Panter and Dite 1951, "Quantization distortion in pulse-count modulation with nonuniform spacing of levels".
    """
    magnitude = np.abs(views.astype(np.float32))
    # each view has its own scale, and one without any structure (all zero) stays zero
    peaks = magnitude.max(axis=(2, 3), keepdims=True)
    share = magnitude / np.where(peaks > 0, peaks, 1.0)
    levels = np.rint(np.sign(views) * share ** (2 / 3) * _LEVELS).astype(np.int8)
    return levels, peaks[..., 0, 0].astype(np.float16)


def from_eight_bits(levels: NDArray[np.int8], peaks: NDArray[np.float16]) -> NDArray[np.float16]:
    """Descriptors `[M, V, 32, 32]` float16 from what `to_eight_bits` returned; the same bits on every machine."""
    share = levels.astype(np.float32) / np.float32(_LEVELS)
    magnitude = np.abs(share) * np.sqrt(np.abs(share))  # to the power 3/2; a square root is exact everywhere
    views: NDArray[np.float32] = np.sign(share) * magnitude * peaks[..., None, None].astype(np.float32)
    return views.astype(np.float16)
