"""Augmentation inside the training step: symmetries of real images, and discriminator augmentation.

Source: Zhao et al. 2020, arXiv 2006.10738 (differentiable augmentation: colour, translation, cutout). Deviates: colour
changes are a quarter as strong, because stain colour is diagnostic and strong jitter leaks into the output. The area
that a translation uncovers is mirrored, because zeros there let the generator leave a dark line around every image
(`docs/recipes.md`).
Karras et al. 2020, arXiv 2006.06676, appendix B (geometry). Deviates: one coin an image for all of it; plain bilinear
sampling. Tellez et al. 2018, arXiv 1808.05896 (stain): the concentration of every stain is jittered, not the hue.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn import functional

from synthbank.models import draw_codes, integers, normal, turn, uniform

_BRIGHTNESS = 0.2
_SATURATION = 0.5
_CONTRAST = 0.25
_TRANSLATION = 0.125
_CUTOUT = 0.5
_ZOOMED = 0.5
_ZOOM = 2.0
_SCALE = 0.2  # standard deviation in octaves
_FRACTION = 0.125  # standard deviation of the translation, in shares of the side
_STAIN_GAIN = 0.2
_STAIN_OFFSET = 0.05  # in optical density
_DARKEST = 1 / 255  # keeps the optical density of black finite
# optical density of haematoxylin, eosin and DAB in red, green and blue: Ruifrok and Johnston 2001, table 1
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))


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


def augment(
    images: Tensor, policy: tuple[str, ...], generator: torch.Generator, *, probability: Tensor | None = None
) -> Tensor:
    """Differentiable augmentation, drawn anew for each image.

    Args:
        images: float `[N, C, H, W]` in -1..1.
        policy: any of "stain", "colour", "geometry", "zoom", "translation", "cutout", applied in this order.
        generator: source of randomness on the images' device.
        probability: scalar 0..1, with which each entry of the policy meets an image; `None`: always.

    Returns:
        Float `[N, C, H, W]`; may leave -1..1 a little.
    """
    for name, operation in _OPERATIONS.items():
        if name in policy:
            changed = operation(images, generator)
            images = changed if probability is None else _where(probability, changed, images, generator)
    return images


def _where(probability: Tensor, changed: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
    coin = uniform((len(images),), generator).view(-1, 1, 1, 1)
    # drawn on the device and compared there: no step waits for `probability`
    return torch.where(coin < probability, changed, images)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """One value an image in -1..1, `[N, 1, 1, 1]`."""
    draw = uniform((len(images),), generator, dtype=images.dtype)
    return (draw * 2 - 1).view(-1, 1, 1, 1)


def _stain(images: Tensor, generator: torch.Generator) -> Tensor:
    # Beer-Lambert: optical density = -log(transmitted light), and density [C] = amounts [stain] @ stains [stain, C]
    n, c = images.shape[:2]
    stains = torch.tensor(_STAINS) if c == 3 else torch.eye(c)  # other channel counts: each channel is its own stain
    stains = functional.normalize(stains.to(images.dtype), dim=1)  # [stain, C]
    amounts_of, stains = stains.inverse().to(images.device), stains.to(images.device)
    # density' = density + (amounts * gain + offset) @ stains, one gain and one offset a stain and image
    gain, offset = uniform((2, n, c, 1, 1), generator, batch_dim=1, dtype=images.dtype) * 2 - 1
    density = -((images.clamp_min(-1) + 1) / 2 + _DARKEST).log()
    amounts = torch.einsum("nchw,cs->nshw", density, amounts_of)
    change = amounts * (_STAIN_GAIN * gain) + _STAIN_OFFSET * offset
    density = density + torch.einsum("nshw,sc->nchw", change, stains)
    # back to light in -1..1; nothing is lighter than bare glass
    return (((-density).exp() - _DARKEST) * 2 - 1).clamp_max(1)


def _colour(images: Tensor, generator: torch.Generator) -> Tensor:
    brightness = _BRIGHTNESS * _uniform(images, generator)
    saturation = 1 + _SATURATION * _uniform(images, generator)
    contrast = 1 + _CONTRAST * _uniform(images, generator)
    # saturation moves each pixel from or towards its grey, contrast each image from or towards its mean
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey.expand_as(images), images, saturation) + brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(images), images, contrast)


def _geometry(images: Tensor, generator: torch.Generator) -> Tensor:
    n = len(images)
    zoom, stretch, shift_x, shift_y = normal((4, n), generator, batch_dim=1, dtype=images.dtype)
    angle = pi * _uniform(images, generator).flatten()
    scale_x, scale_y = torch.exp2(_SCALE * (zoom + stretch)), torch.exp2(_SCALE * (zoom - stretch))
    cos, sin = angle.cos(), angle.sin()
    # place in the input = diag(1 / scale) @ R(angle) @ place in the output + shift; places run from -1 to 1, so a shift
    # by a share of the side counts twice
    rows = [
        cos / scale_x,
        -sin / scale_x,
        2 * _FRACTION * shift_x,
        sin / scale_y,
        cos / scale_y,
        2 * _FRACTION * shift_y,
    ]
    inverse = torch.stack(rows, dim=1).view(n, 2, 3)  # from places of the output to places of the input
    grid = functional.affine_grid(inverse, list(images.shape), align_corners=False)
    out = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out.contiguous(memory_format=torch.channels_last)


def _zoom(images: Tensor, generator: torch.Generator) -> Tensor:
    # half of the images show a magnified window: frozen networks see little of what is a few pixels wide
    n, _, h, w = images.shape
    coin, octave, top, left = uniform((4, n), generator, batch_dim=1, dtype=images.dtype)
    scale = torch.where(coin < _ZOOMED, 1 + (_ZOOM - 1) * octave, torch.ones_like(octave))
    rows = _window_matrix(h, scale, top)  # [N, 1, H, H]
    columns = _window_matrix(w, scale, left)  # [N, 1, W, W]
    return rows @ images @ columns.transpose(2, 3)


def _window_matrix(size: int, scale: Tensor, position: Tensor) -> Tensor:
    """Bilinear sampling of a window `size / scale` wide, as a matrix: differentiable and deterministic."""
    # row i holds the weights of output pixel i: a triangle of half-width 1 around its place in the input. Pixel centres
    # lie at i + 0.5, so the window's left border is at `start` and the clamp repeats the outermost pixel.
    places = torch.arange(size, device=scale.device, dtype=scale.dtype)
    start = position * (size - size / scale)
    source = (start[:, None] + (places + 0.5) / scale[:, None] - 0.5).clamp(0, size - 1)
    return (1 - (source[:, :, None] - places).abs()).clamp_min(0)[:, None]


def _translation(images: Tensor, generator: torch.Generator) -> Tensor:
    # shifts as products with 0/1 matrices: exact, differentiable, and deterministic (a gather's backward is not)
    n, _, h, w = images.shape
    reach = max(int(h * _TRANSLATION + 0.5), 1)
    shift = integers(-reach, reach + 1, (2, n, 1), generator, batch_dim=1)
    rows = _shift_matrix(h, shift[0]).to(images.dtype)  # [N, 1, H, H]
    columns = _shift_matrix(w, shift[1]).to(images.dtype)  # [N, 1, W, W]
    return rows @ images @ columns.transpose(2, 3)


def _shift_matrix(size: int, shift: Tensor) -> Tensor:
    # mirrored beyond the border, not zero: the head of this file says why
    places = torch.arange(size, device=shift.device)
    source = places + shift
    source = torch.where(source < 0, -1 - source, source)
    source = torch.where(source >= size, 2 * size - 1 - source, source)
    return (source[:, :, None] == places)[:, None]


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    n, _, h, w = images.shape
    # a square of grey (0) whose centre may lie on the border; a product with 0/1 passes gradients outside it alone
    side = int(h * _CUTOUT + 0.5)
    centre_y = integers(0, h + 1, (n, 1, 1, 1), generator)
    centre_x = integers(0, w + 1, (n, 1, 1, 1), generator)
    rows = torch.arange(h, device=images.device).view(1, 1, -1, 1)
    cols = torch.arange(w, device=images.device).view(1, 1, 1, -1)
    inside = ((rows - centre_y).abs() * 2 < side) & ((cols - centre_x).abs() * 2 < side)
    return images * (~inside).to(images.dtype)


_OPERATIONS = {
    "stain": _stain,  # first: it reads intensities, which must not have left their range
    "colour": _colour,
    "geometry": _geometry,
    "zoom": _zoom,
    "translation": _translation,
    "cutout": _cutout,
}
