"""Fit an image of any size to squares of the wanted side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthbank.data.modes import channels_first
from synthbank.records import Finding, Severity

FITS = ("resize", "crop", "tile")


@dataclass(frozen=True, slots=True)
class Fitted:
    """One square cut from an image."""

    pixels: NDArray[np.uint8]
    """`[C, size, size]`, uint8."""
    suffix: str = ""
    """`#y,x` of a tile; empty for the one square of an image."""
    findings: tuple[Finding, ...] = ()


def fit_image(pixels: NDArray[np.uint8], *, size: int, fit: str, tile_stride: int | None = None) -> list[Fitted]:
    """Cut or resize an image to squares.

    Args:
        pixels: `[C, H, W]`, uint8; for "crop" and "tile" both sides have at least `size`.
        size: side of the squares, in pixels.
        fit: "resize" (centre square, then anti-aliased resize), "crop" (centre square at native resolution), or
            "tile" (all whole squares at native resolution).
        tile_stride: pixels between tiles; `None`: `size`, so that tiles do not overlap.
    """
    height, width = pixels.shape[1:]
    if fit == "tile":
        return _tiles(pixels, size, tile_stride or size)
    side = min(height, width) if fit == "resize" else size
    square = centre_crop(pixels, side)
    how = [f"the centre {side}x{side} was cut out"] if (height, width) != (side, side) else []
    if side != size:
        square = resize_square(square, size)
        how.append(f"resized to {size}x{size}")
    if not how:
        return [Fitted(square)]
    message = f"{width}x{height} pixels: {', '.join(how)}"
    return [Fitted(square, findings=(Finding("size", Severity.CONVERT, message, float(side)),))]


def centre_crop(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The centre square of `[C, H, W]` pixels."""
    top, left = (pixels.shape[1] - side) // 2, (pixels.shape[2] - side) // 2
    return np.ascontiguousarray(pixels[:, top : top + side, left : left + side])


def resize_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize `[C, S, S]` to `[C, size, size]` with Lanczos, anti-aliased when shrinking."""
    array = pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(array))
    return channels_first(np.array(image.resize((size, size), Image.Resampling.LANCZOS)))


def _tiles(pixels: NDArray[np.uint8], size: int, stride: int) -> list[Fitted]:
    height, width = pixels.shape[1:]
    return [
        Fitted(np.ascontiguousarray(pixels[:, y : y + size, x : x + size]), f"#{y},{x}")
        for y in range(0, height - size + 1, stride)
        for x in range(0, width - size + 1, stride)
    ]
