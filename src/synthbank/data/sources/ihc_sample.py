"""The sample "ihc": one stained field that ships with scikit-image, cut into two honest classes.

The field (512x512, colon, FHL2 by DAB with haematoxylin) is divided into three regions, one per split, and each is cut
on its own: no tile crosses a border, so no held-out tile shares a pixel with a training tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.data.modes import channels_first
from synthbank.data.sources._base import Listing, SourceEntry, SourceLimits
from synthbank.data.sources._registry import sources
from synthbank.errors import OptionError
from synthbank.records import Split

_SIDE = 512
_LARGEST_TILE = 256
_TRAIN_HEIGHT = 370
_TRAIN_STRIDE, _HELD_OUT_STRIDE = 34, 30
_LICENCE = "No known copyright restrictions (public domain)"


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the field, `[top, bottom)` by `[left, right)` in pixels, that belongs to one split."""

    name: str
    split: Split
    top: int
    bottom: int
    left: int
    right: int
    stride: int
    """About how far apart tiles begin; they are spread evenly from edge to edge."""

    def corners(self, tile_size: int) -> list[tuple[int, int]]:
        """Top left corners (y, x) of its tiles."""
        ys = _spread(self.top, self.bottom, tile_size, self.stride)
        xs = _spread(self.left, self.right, tile_size, self.stride)
        return [(y, x) for y in ys for x in xs]


@sources.register(
    "ihc", reads="sample", licence=_LICENCE, description="DAB-negative and DAB-positive tiles of one IHC field"
)
def open_ihc_sample(path: object, limits: SourceLimits) -> Listing:
    """Cut the field into tiles: 196 of 64 pixels (140 to train on, 28 to validate, 28 to test).

    A tile is `dab_positive` when its mean DAB content, by stain separation, is above the median of all tiles.

    Args:
        path: unused; the field comes with scikit-image.
        limits: `tile_size` is the side of a tile.

    Raises:
        OptionError: tiles larger than a region.

    Source: Ruifrok and Johnston 2001, by `skimage.color.rgb2hed`.
    """
    from skimage import color, data

    size = limits.tile_size
    field: NDArray[np.uint8] = data.immunohistochemistry()  # type: ignore[no-untyped-call]  # [H, W, 3]
    dab = color.rgb2hed(field)[..., 2]
    tiles = [(region, y, x) for region in sample_regions(size) for y, x in region.corners(size)]
    content = np.array([dab[y : y + size, x : x + size].mean() for _, y, x in tiles])
    positive = content > np.median(content)
    entries = [
        SourceEntry(
            name=f"{region.name}.png#{y:03d},{x:03d}",
            class_name="dab_positive" if is_positive else "dab_negative",
            read=_reader(field[y : y + size, x : x + size]),
            group=region.name,
            split=region.split,
        )
        for (region, y, x), is_positive in zip(tiles, positive, strict=True)
    ]
    return Listing(
        entries=tuple(sorted(entries, key=lambda e: e.name)),
        source="sample ihc: skimage.data.immunohistochemistry, colon, FHL2 by DAB with haematoxylin",
        notes=(f"One field of 512x512 was cut into {len(entries)} overlapping tiles; splits share no pixel",),
        licence=_LICENCE,
    )


def sample_regions(tile_size: int) -> tuple[Region, Region, Region]:
    """The three regions: the upper part trains, the lower left validates, the lower right tests."""
    if not 8 <= tile_size <= _LARGEST_TILE:
        raise OptionError(
            "The sample cannot be cut at this size", got=tile_size, allowed=f"8 to {_LARGEST_TILE} pixels"
        )
    border, middle = min(_TRAIN_HEIGHT, _SIDE - tile_size), _SIDE // 2
    return (
        Region("upper", Split.TRAIN, 0, border, 0, _SIDE, _TRAIN_STRIDE),
        Region("lower_left", Split.VALIDATION, border, _SIDE, 0, middle, _HELD_OUT_STRIDE),
        Region("lower_right", Split.TEST, border, _SIDE, middle, _SIDE, _HELD_OUT_STRIDE),
    )


def _spread(low: int, high: int, tile_size: int, stride: int) -> list[int]:
    room = high - low - tile_size
    n_tiles = round(room / stride) + 1
    if n_tiles == 1:
        return [low + room // 2]
    return [low + round(i * room / (n_tiles - 1)) for i in range(n_tiles)]


def _reader(tile: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint8]]:
    return lambda: channels_first(tile)
