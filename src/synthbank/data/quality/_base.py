"""Arguments and results of quality checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.records import Finding


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image on its way to become an original."""

    name: str
    """Path inside the source, plus `#y,x` for a tile."""
    class_name: str
    pixels: NDArray[np.uint8]
    """`[C, H, W]`, uint8: native size at stage "native", final size and channels afterwards."""
    native_channels: int
    """Channels of the file: 1 or 3."""
    target_size: int
    """Side of the final image in pixels."""
    fit: str = "resize"
    """The fit of the final image: resize, crop or tile."""
    file: str = ""
    """Name without the tile's place; images of one file share it."""


@dataclass(frozen=True, slots=True)
class SetFinding:
    """A finding about one image of a set, with the other image that it concerns."""

    index: int
    finding: Finding
    other: int | None = None


ImageCheck = Callable[[Candidate], Finding | None]
"""Looks at one image; `None`: nothing to say."""
SetCheck = Callable[[Sequence[Candidate]], list[SetFinding]]
"""Looks at all accepted images of a set, sorted by name."""
