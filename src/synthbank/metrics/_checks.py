"""Checks of feature arrays, and the array types of this room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError

Floats = NDArray[np.float64]
"""float64 of any shape; each docstring gives the shape."""
Features = NDArray[np.float64]
"""`[N, D]`, float64, one row per image: what this room computes with."""
RawFeatures = NDArray[np.floating]
"""`[N, D]`, float32 or float64, as a feature network gives it; public functions take it and compute in float64."""
Labels = NDArray[np.int64]
"""`[N]`, int64, the class of each image."""
Index = NDArray[np.int64]
"""int64 positions of images in a set."""
Mask = NDArray[np.bool_]
"""True where an image counts."""


def check_features(features: RawFeatures, *, minimum: int, name: str = "features") -> Features:
    """Return the features as float64.

    Args:
        features: `[N, D]`, any real dtype.
        minimum: smallest N that the caller can use.
        name: "real", "fake" or the like, for the message.

    Raises:
        OptionError: not two-dimensional, fewer than `minimum` rows, or a value that is not finite.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0:
        raise OptionError(
            f"The {name} features have the wrong shape",
            got=array.shape,
            allowed="[N, D] with D > 0",
            next_step="give it one row of feature values per image",
        )
    if len(array) < minimum:
        raise OptionError(
            f"There are too few {name} images for this metric",
            got=len(array),
            allowed=f"at least {minimum}",
            next_step="give it more images, or leave this metric out",
        )
    # metrics near zero are differences of large sums; float32 would leave few digits of them
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise OptionError(
            f"The {name} features hold values that are not finite",
            got=f"{int((~np.isfinite(values)).any(axis=1).sum())} of {len(values)} rows with NaN or infinity",
            allowed="finite numbers",
            next_step="look for a blank image, or for a feature network run in half precision",
        )
    return values


def check_pair(*, real: RawFeatures, fake: RawFeatures, minimum: int) -> tuple[Features, Features]:
    """Return both sets as float64 with the same D; raises `OptionError` as `check_features` does."""
    x, y = check_features(real, minimum=minimum, name="real"), check_features(fake, minimum=minimum, name="fake")
    if x.shape[1] != y.shape[1]:
        raise OptionError(
            "Real and fake features come from different networks",
            got=f"{x.shape[1]} and {y.shape[1]} values per image",
            allowed="the same number",
            next_step="embed both sets with one network",
        )
    return x, y
