"""Augmentation inside the training step: symmetries of real images, and differentiable augmentation for both players.

Source: Zhao et al. 2020, arXiv 2006.10738 (differentiable augmentation). Deviates: colour changes are a quarter as
strong, because stain colour is diagnostic and strong jitter leaks into the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthbank.models import draw_codes, turn

_BRIGHTNESS = 0.2
_SATURATION = 0.5
_CONTRAST = 0.25
_TRANSLATION = 0.125
_CUTOUT = 0.5


def symmetries(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Give each image a random symmetry.

    Args:
        images: `[N, C, S, S]`.
        kind: "none", "flip" (left-right) or "dihedral" (the eight symmetries of the square).
        generator: source of randomness on the images' device.

    Returns:
        Same shape; values only change places.
    """
    if kind == "none":
        return images
    return turn(images, draw_codes(len(images), kind, generator))


def augment(images: Tensor, policy: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """Differentiable augmentation, drawn anew for each image.

    Args:
        images: float `[N, C, H, W]` in -1..1.
        policy: any of "colour", "translation", "cutout", applied in this order.
        generator: source of randomness on the images' device.

    Returns:
        Float `[N, C, H, W]`; may leave -1..1 a little.
    """
    for name in ("colour", "translation", "cutout"):
        if name in policy:
            images = _OPERATIONS[name](images, generator)
    return images


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """One value an image in -1..1, `[N, 1, 1, 1]`."""
    draw = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
    return (draw * 2 - 1).view(-1, 1, 1, 1)


def _colour(images: Tensor, generator: torch.Generator) -> Tensor:
    brightness = _BRIGHTNESS * _uniform(images, generator)
    saturation = 1 + _SATURATION * _uniform(images, generator)
    contrast = 1 + _CONTRAST * _uniform(images, generator)
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey.expand_as(images), images, saturation) + brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(images), images, contrast)


def _translation(images: Tensor, generator: torch.Generator) -> Tensor:
    # shifts as products with 0/1 matrices: exact, differentiable, and deterministic (a gather's backward is not)
    n, _, h, w = images.shape
    reach = max(int(h * _TRANSLATION + 0.5), 1)
    shift = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator, device=images.device)
    rows = _shift_matrix(h, shift[0]).to(images.dtype)  # [N, 1, H, H]
    columns = _shift_matrix(w, shift[1]).to(images.dtype)  # [N, 1, W, W]
    return rows @ images @ columns.transpose(2, 3)


def _shift_matrix(size: int, shift: Tensor) -> Tensor:
    places = torch.arange(size, device=shift.device)
    return ((places + shift)[:, :, None] == places)[:, None]


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    n, _, h, w = images.shape
    side = int(h * _CUTOUT + 0.5)
    centre_y = torch.randint(0, h + 1, (n, 1, 1, 1), generator=generator, device=images.device)
    centre_x = torch.randint(0, w + 1, (n, 1, 1, 1), generator=generator, device=images.device)
    rows = torch.arange(h, device=images.device).view(1, 1, -1, 1)
    cols = torch.arange(w, device=images.device).view(1, 1, 1, -1)
    inside = ((rows - centre_y).abs() * 2 < side) & ((cols - centre_x).abs() * 2 < side)
    return images * (~inside).to(images.dtype)


_OPERATIONS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
