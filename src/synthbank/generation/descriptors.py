"""Descriptors: small pictures of an image, and the filtered pictures that the gate compares.

A `Descriptors` holds what is stored of an original: its grey picture, 48 pixels wide, and its colours, 24 pixels wide.
All else is computed from these two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from synthbank.records import UInt8Images

GREY_SIDE, COLOUR_SIDE, BAND_SIDE, PLAIN_SIDE = 48, 24, 32, 16
_BAND, _FINE = (1.0, 4.0), (0.6, 2.0)
"""Standard deviations, in pixels, of the two blurs whose difference is a band-passed picture."""
_SOFT = 0.7
"""Standard deviation of the blur of colours and of the plain picture: JPEG halves the resolution of colour."""
_FLAT = 2
"""Grey levels by which a constant border may differ from its corner, as after compression."""
_MOST_FILLED = 0.7
"""A constant border that covers more than this share of the image is a picture, and is not filled."""


@dataclass(frozen=True)
class Descriptors:
    """Small pictures of N images, float32, 0..255."""

    grey: Tensor
    """`[N, 1, 48, 48]`, mean over channels."""
    colours: Tensor
    """`[N, C, 24, 24]`."""

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, index: slice | Tensor) -> Descriptors:
        return Descriptors(self.grey[index], self.colours[index])

    def stored(self) -> tuple[Tensor, Tensor]:
        """Grey and colours in eight bits, uint8."""
        return self.grey.round().clamp(0, 255).byte(), self.colours.round().clamp(0, 255).byte()

    def band(self) -> Tensor:
        """Structure of middle size, `[N, 1, 32, 32]`: without grain and without shading."""
        return _difference(resized(self.grey, BAND_SIDE), _BAND)

    def fine(self) -> Tensor:
        """Fine structure, `[N, 1, 48, 48]`."""
        return _difference(self.grey, _FINE)

    def plain(self) -> Tensor:
        """The whole picture, coarse, `[N, 16, 16]`."""
        return blurred(resized(self.grey, PLAIN_SIDE), _SOFT)[:, 0]

    def soft_colours(self) -> Tensor:
        """Colours without grain, `[N, C, 24, 24]`."""
        return blurred(self.colours, _SOFT)


def describe(images: UInt8Images) -> Descriptors:
    """Descriptors of images `[N, C, S, S]` uint8; constant borders are filled first."""
    pixels = torch.from_numpy(np.ascontiguousarray(fill_borders(images))).float()
    # not luma: it hides the colours by which stains differ
    return Descriptors(resized(pixels.mean(dim=1, keepdim=True), GREY_SIDE), resized(pixels, COLOUR_SIDE))


def resized(x: Tensor, side: int) -> Tensor:
    """`[N, C, S, S]` at another side: area means to make it smaller, bilinear to make it larger."""
    if x.shape[-1] == side:
        return x
    if x.shape[-1] > side:
        return functional.interpolate(x, size=(side, side), mode="area")
    return functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `[..., H, W]`, one axis after the other, borders reflected."""
    return _blur_matrix(x.shape[-2], sigma) @ x @ _blur_matrix(x.shape[-1], sigma).T


@lru_cache
def _blur_matrix(side: int, sigma: float) -> Tensor:
    """Blur of a column of `side` pixels, `[side, side]`: at these sizes a product of matrices beats a convolution."""
    radius = int(3 * sigma)
    weights = torch.exp(-torch.arange(-radius, radius + 1).double().square() / (2 * sigma**2))
    # reflected without repeating the border: pixel -1 is pixel 1
    source = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).abs()
    source = torch.where(source >= side, 2 * (side - 1) - source, source)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, source, (weights / weights.sum()).expand(side, -1).contiguous())
    return matrix.float()


def window(side: int, centre_y: float = 0.0, centre_x: float = 0.0, radius: float = 1.2) -> Tensor:
    """A round raised-cosine window `[side, side]`; half the side is the unit of length."""
    places = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(places, places, indexing="ij")
    return 0.5 + 0.5 * torch.cos(math.pi * (torch.hypot(y - centre_y, x - centre_x) / radius).clamp(0, 1))


def fill_borders(images: UInt8Images) -> UInt8Images:
    """Images whose constant borders take the value of the nearest pixel inside.

    A copy that was turned or moved on a black or white ground keeps that ground; its edge would outweigh the picture.
    """
    filled, side = images, images.shape[-1]
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        corner = images[:, :, row, column].astype(np.int16)[:, :, None]
        edges = (images[:, :, row], images[:, :, :, column])  # [N, C, S] each
        length = sum((np.abs(edge - corner) <= _FLAT).all(axis=1).sum(axis=1) for edge in edges)
        for i in np.flatnonzero(length >= side // 4):
            if filled is images:
                filled = images.copy()
            filled[i] = _filled(filled[i], (np.abs(filled[i] - corner[i, :, :, None]) <= _FLAT).all(axis=0))
    return filled


def _filled(image: NDArray[np.uint8], flat: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """One image `[C, S, S]` without the parts of `flat` that touch its rim, unless they are small or nearly all."""
    from scipy import ndimage

    parts, _ = ndimage.label(flat)
    at_rim = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    sizes = np.bincount(parts.ravel())
    border = np.isin(parts, [p for p in at_rim if p and sizes[p] >= image.shape[-1]])
    if not border.any():
        return image
    border = ndimage.binary_dilation(border)  # its edge is a mixture of picture and border
    if border.mean() > _MOST_FILLED:
        return image
    nearest = ndimage.distance_transform_edt(border, return_distances=False, return_indices=True)
    return np.ascontiguousarray(image[:, nearest[0], nearest[1]])


def _difference(x: Tensor, sigmas: tuple[float, float]) -> Tensor:
    return blurred(x, sigmas[0]) - blurred(x, sigmas[1])
