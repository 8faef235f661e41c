"""Transformations that no constant of the gate was chosen with, for `copies.py`.

Other interpolation than the calibration's (SciPy's splines of order 1 and 3), every fill, and kinds without counterpart
there: elastic, perspective, colour matrices, parts. Each parameter is uniform in half of the copies, and at an end of
its range in the other half.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]
"""`[C, S, S]`, uint8."""
FILLS = {"reflected": ("reflect", 0), "edge": ("nearest", 0), "black": ("constant", 0), "white": ("constant", 255)}


def draw(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform, or either end."""
    return float(rng.uniform(low, high) if rng.random() < 0.5 else rng.choice([low, high]))


def warped(image: Pixels, matrix: NDArray[np.float64], shift: tuple[float, float], rng: np.random.Generator) -> Pixels:
    """`matrix` maps places of the copy to places of the original, about the middle; the shift is in parts of a side."""
    mode, value = FILLS[str(rng.choice(list(FILLS)))]
    order, middle = int(rng.choice([1, 3])), np.full(2, (image.shape[-1] - 1) / 2)
    offset = middle - matrix @ middle + np.array(shift) * image.shape[-1]
    moved = [
        ndimage.affine_transform(c.astype(float), matrix, offset, order=order, mode=mode, cval=value) for c in image
    ]
    return to_levels(np.stack(moved))


def to_levels(x: NDArray[np.float64]) -> Pixels:
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def turn(degrees: float) -> NDArray[np.float64]:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def affine_expansion(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Scale to 15%, rotation to 30 degrees, shift to 10%: each with probability one half, one at the least."""
    chosen = rng.random(3) < 0.5
    while not chosen.any():
        chosen = rng.random(3) < 0.5
    matrix = np.eye(2) / draw(rng, 0.85, 1.15) if chosen[0] else np.eye(2)
    matrix = matrix @ turn(draw(rng, -30, 30)) if chosen[1] else matrix
    return warped(image, matrix, (draw(rng, -0.1, 0.1), draw(rng, -0.1, 0.1)) if chosen[2] else (0.0, 0.0), rng)


def rotation(image: Pixels, rng: np.random.Generator) -> Pixels:
    return warped(image, turn(rng.uniform(0, 360)), (0.0, 0.0), rng)


def zoom(image: Pixels, rng: np.random.Generator) -> Pixels:
    return warped(image, np.eye(2) / draw(rng, 0.75, 1.3), (0.0, 0.0), rng)


def shift(image: Pixels, rng: np.random.Generator) -> Pixels:
    move = [draw(rng, 0.0, 0.2) * rng.choice([-1.0, 1.0]) for _ in range(2)]
    return warped(image, np.eye(2), (move[0], move[1]), rng)


def crop(image: Pixels, rng: np.random.Generator) -> Pixels:
    side = draw(rng, 0.75, 0.95)
    room = (1 - side) / 2
    return warped(image, np.eye(2) * side, (draw(rng, -room, room), draw(rng, -room, room)), rng)


def mirror_and_zoom(image: Pixels, rng: np.random.Generator) -> Pixels:
    return warped(image[..., ::-1], np.eye(2) / draw(rng, 1 / 1.3, 1.3), (0.0, 0.0), rng)


def stretch(image: Pixels, rng: np.random.Generator) -> Pixels:
    factor = 1.2 ** rng.choice([-1.0, 1.0])
    return warped(image, np.diag(rng.permutation([1.0, factor])), (0.0, 0.0), rng)


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    return to_levels(np.stack([ndimage.gaussian_filter(c.astype(float), 3 * image.shape[-1] / 64) for c in image]))


def noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    return to_levels(image + rng.normal(0, 20, image.shape))


def jpeg(image: Pixels, rng: np.random.Generator, quality: int = 10) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def elastic(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A smooth field of displacements, at most 4 pixels of 64."""
    size = image.shape[-1]
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 8) for _ in range(2)])
    places = np.mgrid[:size, :size] + field / np.abs(field).max() * 4 * size / 64
    moved = [ndimage.map_coordinates(c.astype(float), places, order=1, mode="reflect") for c in image]
    return to_levels(np.stack(moved))


def perspective(image: Pixels, rng: np.random.Generator) -> Pixels:
    size, (tilt_y, tilt_x) = image.shape[-1], rng.uniform(-0.15, 0.15, 2)
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    depth = 1 + tilt_y * y + tilt_x * x
    places = (np.stack([y / depth, x / depth]) + 1) / 2 * (size - 1)
    moved = [ndimage.map_coordinates(c.astype(float), places, order=1, mode="nearest") for c in image]
    return to_levels(np.stack(moved))


def colour_matrix(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Channels mixed, and made lighter or darker."""
    mixing = np.eye(len(image)) + rng.uniform(-0.3, 0.3, (len(image), len(image)))
    mean = image.mean(axis=(1, 2), keepdims=True)
    return to_levels(np.einsum("ij,jhw->ihw", mixing, image - mean) + mean + rng.uniform(-25, 25, (len(image), 1, 1)))


def turned_zoomed_recoloured(image: Pixels, rng: np.random.Generator) -> Pixels:
    return colour_matrix(rotation(zoom(image, rng), rng), rng)


def expanded_recoloured_compressed(image: Pixels, rng: np.random.Generator) -> Pixels:
    return jpeg(colour_matrix(affine_expansion(image, rng), rng), rng, quality=int(rng.integers(30, 80)))


def halves(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Half of one original beside, or above, half of another."""
    out, half = image.copy(), image.shape[-1] // 2
    if rng.random() < 0.5:
        out[:, :, half:] = other[:, :, half:]
    else:
        out[:, half:] = other[:, half:]
    return out


def pasted(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """The round middle of one original in the ground of another; its radius is 0.35 of the side."""
    size = image.shape[-1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    share = np.clip((0.35 * size - np.hypot(y, x)) / 2 + 0.5, 0, 1)
    return to_levels(image * share + other * (1 - share))


def pasted_turned(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """The same, turned as a whole and recoloured."""
    return colour_matrix(rotation(pasted(image, other, rng), rng), rng)


def halves_turned(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    return rotation(halves(image, other, rng), rng)


KINDS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "affine expansion": affine_expansion,
    "any rotation": rotation,
    "zoom 0.75-1.3": zoom,
    "shift to 20%": shift,
    "crop to 75%": crop,
    "mirror and zoom": mirror_and_zoom,
    "stretch 1.2": stretch,
    "blur 3 px": blur,
    "noise sd 20": noise,
    "JPEG 10": jpeg,
    "elastic 4 px": elastic,
    "perspective": perspective,
    "colour matrix": colour_matrix,
    "turned, zoomed, recoloured": turned_zoomed_recoloured,
    "expanded, recoloured, JPEG": expanded_recoloured_compressed,
}
PAIRS: dict[str, Callable[[Pixels, Pixels, np.random.Generator], Pixels]] = {
    "half and half": halves,
    "half and half, turned": halves_turned,
    "pasted object": pasted,
    "pasted object, turned, recoloured": pasted_turned,
}
GOALS = dict.fromkeys(list(KINDS)[:6], 0.95) | dict.fromkeys(list(KINDS)[6:11], 0.9)
GOALS |= {"half and half": 0.7, "pasted object": 0.7}
"""Share of each kind to be caught; kinds without one are reported alone."""
