"""Classical augmentation while a classifier trains: the paper's affine draws, and the symmetries of the image plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthbank.errors import UnknownNameError

SYMMETRIES = ("none", "flip", "dihedral")
"""Symmetries of the image plane that an image is drawn in."""


@dataclass(frozen=True)
class AffineDraws:
    """Distribution of the affine transform that is drawn for each image, each time a classifier sees it."""

    scale: tuple[float, float] = (0.85, 1.15)
    """Factor; above 1 enlarges."""
    rotation_deg: tuple[float, float] = (-30.0, 30.0)
    """Counter-clockwise, in degrees."""
    shift: tuple[float, float] = (-0.1, 0.1)
    """Fraction of the side, drawn for each axis."""
    probability: float = 0.5
    """Of scale, rotation and shift, each on its own."""
    symmetry: str = "none"
    """none, flip (left to right) or dihedral (all eight). The control regime must have the symmetries that the
    generator was trained with, or the gain would include what turned images alone bring."""

    def __post_init__(self) -> None:
        if self.symmetry not in SYMMETRIES:
            raise UnknownNameError("symmetry", self.symmetry, SYMMETRIES)


def augment_batch(images: Tensor, draws: AffineDraws, rng: torch.Generator) -> Tensor:
    """Scale and rotate each image about its centre, then shift it, then apply a symmetry.

    Borders are mirrored; pixels are interpolated by cubic convolution.

    Args:
        images: `[N, C, H, W]`, float, H = W.
        draws: distribution of the transforms.
        rng: CPU generator; every image has its own draw.

    Returns:
        `[N, C, H, W]`, float, of the same range but for the overshoot of cubic interpolation.

    Source: Berezsky et al., arXiv 2405.16119: random scaling, rotation and translation, each with probability 0.5.
    """
    n = len(images)
    # all numbers are drawn, whether used or not: a batch of n takes the same part of the stream whatever is chosen
    chosen = torch.rand(n, 3, generator=rng) < draws.probability
    scale = torch.where(chosen[:, 0], _uniform(draws.scale, (n,), rng), 1.0)
    angle = torch.where(chosen[:, 1], _uniform(draws.rotation_deg, (n,), rng), 0.0)
    shift = torch.where(chosen[:, 2:], _uniform(draws.shift, (n, 2), rng), 0.0)
    moved = warp(images, scale=scale, rotation_deg=angle, shift=shift)
    return _symmetry(moved, draws.symmetry, rng)


def warp(images: Tensor, *, scale: Tensor, rotation_deg: Tensor, shift: Tensor) -> Tensor:
    """Apply one affine transform to each image.

    Args:
        images: `[N, C, H, W]`, float.
        scale: `[N]`, above 1 enlarges.
        rotation_deg: `[N]`, counter-clockwise, in degrees.
        shift: `[N, 2]`, down and right, as fractions of the side.

    Returns:
        `[N, C, H, W]`, float.
    """
    angle = torch.deg2rad(rotation_deg)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    down, right = 2.0 * shift[:, 0], 2.0 * shift[:, 1]  # the grid runs from -1 to 1
    # the sampling grid maps output to input: x_in = R^T (x_out - t) / s, the inverse of scale, rotate, shift
    rows = [
        torch.stack([cos, -sin, -(cos * right - sin * down)], dim=1),
        torch.stack([sin, cos, -(sin * right + cos * down)], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _symmetry(images: Tensor, kind: str, rng: torch.Generator) -> Tensor:
    """Draw one symmetry of a kind for each image of `[N, C, S, S]`."""
    if kind == "none":
        return images
    flipped = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    images = torch.where(flipped, images.flip(3), images)
    if kind == "flip":
        return images
    for axes, dims in (((2,), None), (None, (2, 3))):  # up-down, then transposed: the eight symmetries of the square
        drawn = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
        images = torch.where(drawn, images.flip(axes) if axes else images.transpose(*dims), images)  # type: ignore[misc]
    return images


def _uniform(bounds: tuple[float, float], shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Uniform draws between two bounds."""
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=rng)
