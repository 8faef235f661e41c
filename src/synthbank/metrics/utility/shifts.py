"""Distribution shifts of test images, as between laboratories: stain, focus, compression, lamp."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from synthbank.errors import OptionError
from synthbank.records import UInt8Images
from synthbank.registry import Registry

Shift = Callable[[UInt8Images], UInt8Images]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftSpec:
    """Declared facts of a shift."""

    description: str
    """Change and its strength, in words."""


shifts: Registry[Shift, ShiftSpec] = Registry("shift", ShiftSpec)

# haematoxylin, eosin and DAB as directions in optical density (red, green, blue)
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_BLUR_AT_64 = 0.8
"""Standard deviation in pixels, for a side of 64."""
_JPEG_QUALITY = 30
_LAMP = 1.15
"""Factor of the light."""


@shifts.register("stain", description="haematoxylin 25% stronger, the other two stains 20% weaker")
def stain(images: UInt8Images) -> UInt8Images:
    """Shift the staining protocol, in optical density; grey images get 10% more density.

    Source: Ruifrok and Johnston 2001, "Quantification of histochemical staining by color deconvolution"; strengths
    after Tellez et al. 2018, arXiv 1808.05896.
    """
    # one grey level more than measured keeps black from an infinite density; it comes off again below
    density = -np.log((images.astype(np.float64) + 1.0) / 256.0)  # [N, C, H, W]
    if images.shape[1] == 1:
        return _bytes(256.0 * np.exp(-1.1 * density) - 1.0)
    _check_channels(images)
    basis = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    # Beer-Lambert: the density of a pixel is a sum of stain vectors, its amounts of stain are found by their inverse
    amounts = np.einsum("nchw,cs->nshw", density, np.linalg.inv(basis))
    amounts *= np.array([1.25, 0.8, 0.8])[:, None, None]
    return _bytes(256.0 * np.exp(-np.einsum("nshw,sc->nchw", amounts, basis)) - 1.0)


@shifts.register("blur", description="Gaussian blur, 1/80 of the side")
def blur(images: UInt8Images) -> UInt8Images:
    """Shift the focus: a slight Gaussian blur."""
    sigma = _BLUR_AT_64 * images.shape[-1] / 64.0
    return _bytes(ndimage.gaussian_filter(images.astype(np.float64), (0, 0, sigma, sigma), mode="reflect"))


@shifts.register("jpeg", description=f"JPEG, quality {_JPEG_QUALITY}")
def jpeg(images: UInt8Images) -> UInt8Images:
    """Shift the storage: strong lossy compression, as of an old archive."""
    return np.stack([_through_jpeg(image) for image in images]) if len(images) else images


@shifts.register("brightness", description="15% more light")
def brightness(images: UInt8Images) -> UInt8Images:
    """Shift the lamp: more light; nearly white pixels are cut off."""
    return _bytes(_LAMP * images.astype(np.float64))


def _through_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _check_channels(image[None])
    buffer = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    back = np.asarray(Image.open(buffer))
    return back[None] if back.ndim == 2 else np.ascontiguousarray(back.transpose(2, 0, 1))


def _check_channels(images: UInt8Images) -> None:
    if images.shape[1] not in (1, 3):
        raise OptionError("This shift is defined for grey and RGB images", got=images.shape[1], allowed=(1, 3))


def _bytes(values: NDArray[np.float64]) -> UInt8Images:
    rounded: UInt8Images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
