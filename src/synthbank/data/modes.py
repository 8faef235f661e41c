"""Convert any pixel mode to `[C, H, W]` uint8, with a finding for every conversion that changes values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthbank.records import Finding, Severity

_ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
_GREY_MODES = {"1", "L", "LA", "La"}
_MODE_NAMES = {"P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "CIE Lab", "HSV": "HSV"}


class RefusedPixelsError(Exception):
    """Pixels that cannot become 8-bit grey or RGB; carries the reject finding."""

    def __init__(self, check: str, message: str, value: float | None = None) -> None:
        self.finding = Finding(check, Severity.REJECT, message, value)
        super().__init__(message)


def convert_finding(check: str, message: str, value: float | None = None) -> Finding:
    """A finding that names a conversion."""
    return Finding(check, Severity.CONVERT, message, value)


def pixels_from_image(image: Image.Image, findings: list[Finding]) -> NDArray[np.uint8]:
    """8-bit grey or RGB pixels of a Pillow image of any mode.

    Args:
        image: a loaded image.
        findings: conversions are appended here.

    Returns:
        `[C, H, W]`, uint8, C is 1 or 3.

    Raises:
        RefusedPixelsError: not-a-number or infinite values.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return pixels_from_array(np.asarray(image), findings)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = _over_white(image, findings)
    elif image.mode == "1":
        findings.append(convert_finding("colour_mode", "1 bit a pixel became 8-bit grey"))
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        findings.append(convert_finding("colour_mode", f"{_MODE_NAMES.get(image.mode, image.mode)} became RGB"))
        image = image.convert("RGB")
    return channels_first(np.array(image, dtype=np.uint8))


def pixels_from_array(array: NDArray[Any], findings: list[Finding]) -> NDArray[np.uint8]:
    """8-bit pixels of an array of any number type.

    Args:
        array: `[H, W]` or `[H, W, C]` with 1, 3 or 4 channels; integers or floats.
        findings: conversions are appended here.

    Returns:
        `[C, H, W]`, uint8, C is 1 or 3.

    Raises:
        RefusedPixelsError: another number of channels, or values that are not finite.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        n_channels = array.shape[2] if array.ndim == 3 else array.ndim
        raise RefusedPixelsError("channels", f"{n_channels} channels; 1, 3 or 4 are allowed", float(n_channels))
    if array.dtype.kind == "f":
        array = _scale_float(array, findings)
    elif array.dtype != np.uint8:
        array = _scale_integer(array, findings)
    if array.ndim == 3 and array.shape[2] == 4:
        return channels_first(np.array(_over_white(Image.fromarray(array), findings)))
    return channels_first(array)


def channels_first(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`[H, W]` or `[H, W, C]` to contiguous `[C, H, W]`."""
    spread = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(spread)


def to_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """The same image with 1 or 3 channels: grey is repeated, colour becomes its luma (ITU-R 601).

    >>> to_channels(np.full((1, 2, 2), 7, np.uint8), 3).shape
    (3, 2, 2)
    """
    if pixels.shape[0] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    return np.rint(luma(pixels)).astype(np.uint8)[None]


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Grey values `[H, W]`, float64, 0..255, of `[C, H, W]` pixels."""
    if pixels.shape[0] == 3:
        weighted = pixels.astype(np.float64) * np.array([0.299, 0.587, 0.114])[:, None, None]
        return np.asarray(weighted.sum(axis=0), np.float64)
    return np.asarray(pixels.mean(axis=0, dtype=np.float64), np.float64)


def _over_white(image: Image.Image, findings: list[Finding]) -> Image.Image:
    grey, palette = image.mode in _GREY_MODES, image.mode in ("P", "PA")
    rgba = image.convert("RGBA")
    # Pillow's type stubs give floats for multi-band images too.
    lowest = rgba.getchannel("A").getextrema()[0]
    seen = "opaque" if lowest == 255 else "composited over white"
    kind = "palette with transparency" if palette else "alpha channel"
    findings.append(convert_finding("alpha", f"{kind} dropped: {seen}"))
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("L" if grey else "RGB")


def _scale_integer(array: NDArray[Any], findings: list[Finding]) -> NDArray[np.uint8]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        scaled = (array.astype(np.float64) - low) / max(high - low, 1) * 255
        how = "stretched from its own range"
    else:
        # Cameras store 8, 12 or 16 bits in a 16-bit file; a fixed scale keeps images of one camera comparable.
        bits = next(b for b in (8, 12, 16) if high < 2**b)
        scaled = array.astype(np.float64) * (255 / (2**bits - 1))
        how = f"read as {bits}-bit"
    message = f"{array.dtype.itemsize * 8}-bit integers with values {low}..{high} became 8-bit, {how}"
    findings.append(convert_finding("bit_depth", message, float(high)))
    return np.rint(scaled).astype(np.uint8)


def _scale_float(array: NDArray[Any], findings: list[Finding]) -> NDArray[np.uint8]:
    if not np.isfinite(array).all():
        raise RefusedPixelsError("not_finite", "floating-point image with NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    values = array.astype(np.float64)
    if low >= 0 and high <= 1:
        values, how = values * 255, "read as 0..1"
    elif low >= 0 and high <= 255:
        how = "read as 0..255"
    else:
        values, how = (values - low) / (high - low or 1.0) * 255, "stretched from its own range"
    findings.append(convert_finding("bit_depth", f"floats with values {low:g}..{high:g} became 8-bit, {how}", high))
    return np.rint(values).astype(np.uint8)
