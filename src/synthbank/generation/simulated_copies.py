"""Simulated copies: transformed originals that calibrate the gate, and with which its catch rate is measured."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from synthbank.errors import UnknownNameError
from synthbank.records import UInt8Images

Pixels = NDArray[np.uint8]
"""`[C, S, S]`, uint8."""
_MARGIN = 0.25
"""Of the side: reflected border that fills the corners of a turned image."""


def simulate_copies(images: UInt8Images, kind: str, rng: np.random.Generator) -> UInt8Images:
    """A transformed copy of each image, such as a careless eye would not call the same file.

    Args:
        images: `[N, C, S, S]`, uint8.
        kind: a key of `COPIES`.
        rng: draws the parameters of each copy.

    Raises:
        UnknownNameError: no such kind.
    """
    if kind not in COPIES:
        raise UnknownNameError("kind of copy", kind, COPIES)
    return np.stack([COPIES[kind](image, rng) for image in images]) if len(images) else images


def posed(
    images: UInt8Images, rng: np.random.Generator, *, angle: float = 180.0, zoom: float = 1.28, shift: float = 0.15
) -> UInt8Images:
    """Copies turned, zoomed, moved and, if turned at will, mirrored; what comes in is reflected.

    Args:
        images: `[N, C, S, S]`, uint8.
        rng: draws the parameters of each copy.
        angle: most degrees, either way.
        zoom: largest factor, and the reciprocal of the least.
        shift: most of the side, on both axes.
    """
    n = len(images)
    angles, factors = np.radians(rng.uniform(-angle, angle, n)), np.exp(rng.uniform(-1, 1, n) * np.log(zoom))
    along, across, moves = (
        np.cos(angles) / factors,
        np.sin(angles) / factors,
        rng.uniform(-2 * shift, 2 * shift, (n, 2)),
    )
    sign = np.where((rng.random(n) < 0.5) & (angle >= 180.0), -1.0, 1.0)
    maps = np.stack([sign * along, -across, moves[:, 0], sign * across, along, moves[:, 1]], axis=1).reshape(n, 2, 3)
    grid = functional.affine_grid(torch.from_numpy(maps).float(), list(images.shape), align_corners=False)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float()
    moved = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return np.asarray(moved.round().clamp(0, 255).byte().numpy())


def degraded(images: UInt8Images, rng: np.random.Generator) -> UInt8Images:
    """Copies `[N, C, S, S]` of which three in five are blurred, noisy or compressed."""
    return np.stack([_degraded(image, rng) for image in images])


def _degraded(image: Pixels, rng: np.random.Generator) -> Pixels:
    choice = rng.random()
    if choice < 0.2:
        # up to three pixels of 64
        sigma = rng.uniform(0.5, 3.0) * image.shape[-1] / 64
        return np.stack([gaussian_filter(channel, sigma) for channel in image])
    if choice < 0.4:
        noisy = image + rng.normal(0, rng.uniform(5.0, 20.0), image.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
    return _jpeg(image, int(rng.integers(10, 61))) if choice < 0.6 else image


def _mirrored(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(image[:, :, ::-1] if rng.random() < 0.5 else image[:, ::-1])


def _quarter_turned(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(np.rot90(image, int(rng.integers(1, 4)), axes=(1, 2)))


def _cropped(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A square of 90 to 95 percent of the side, resized back."""
    size = image.shape[-1]
    side = size * rng.uniform(0.90, 0.95)
    left, top = rng.uniform(0.0, size - side, 2)
    return _resampled(
        image, lambda p: p.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    )


def _shifted(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Moved by at most a tenth of the side; what comes in is reflected."""
    size, most = image.shape[-1], image.shape[-1] // 10
    padded = np.pad(image, ((0, 0), (most, most), (most, most)), mode="reflect")
    y, x = rng.integers(0, 2 * most + 1, 2)
    return np.ascontiguousarray(padded[:, y : y + size, x : x + size])


def _rotated(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turned by at most ten degrees; corners are reflected."""
    size = image.shape[-1]
    margin = int(_MARGIN * size)
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    angle = rng.uniform(-10.0, 10.0)
    turned = _resampled(padded, lambda p: p.rotate(angle, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(turned[:, margin : margin + size, margin : margin + size])


def _recoloured(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast, saturation and the gain of each channel are changed."""
    x = image.astype(np.float64)
    # contrast about the mean and brightness, then saturation about grey, then a gain for each channel
    x = (x - x.mean()) * rng.uniform(0.8, 1.2) + x.mean() + rng.uniform(-20.0, 20.0)
    grey = x.mean(axis=0, keepdims=True)
    x = (grey + (x - grey) * rng.uniform(0.7, 1.3)) * rng.uniform(0.93, 1.07, (len(x), 1, 1))
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def _compressed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG of quality 40 to 90; each channel by itself where there are not three."""
    return _jpeg(image, int(rng.integers(40, 91)))


def _jpeg(image: Pixels, quality: int) -> Pixels:
    def through_jpeg(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue()))

    return _resampled(image, through_jpeg)


def _all_at_once(image: Pixels, rng: np.random.Generator) -> Pixels:
    # in the order in which a picture would be taken over: turned, cut, recoloured, saved
    turned = (_quarter_turned if rng.random() < 0.5 else _mirrored)(image, rng)
    return _compressed(_recoloured(_cropped(turned, rng), rng), rng)


def _resampled(image: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """An image after a change that Pillow makes; channel by channel where there are not three."""
    if image.shape[0] == 3:
        return np.ascontiguousarray(np.asarray(change(Image.fromarray(image.transpose(1, 2, 0)))).transpose(2, 0, 1))
    return np.stack([np.asarray(change(Image.fromarray(channel))) for channel in image])


COPIES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "mirrored": _mirrored,
    "quarter turn": _quarter_turned,
    "crop 90-95%": _cropped,
    "shift to 10%": _shifted,
    "rotation to 10 degrees": _rotated,
    "colour": _recoloured,
    "JPEG": _compressed,
    "turn, crop, colour and JPEG": _all_at_once,
}
"""Kinds of copy by name."""
