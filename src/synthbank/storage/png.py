"""PNG in memory: pixels and text chunks in, bytes out, and back."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from synthbank.errors import IntegrityError, OptionError

_CHANNELS = {"L": 1, "RGB": 3}


def encode_png(pixels: NDArray[np.uint8], text: Mapping[str, str] | None = None, level: int = 1) -> bytes:
    """Encode one image.

    Args:
        pixels: `[C, H, W]`, uint8, 0..255, C is 1 or 3.
        text: text chunks; keys of 1 to 79 printable ASCII characters, any Unicode as values.
        level: zlib level, 0 (none) to 9 (smallest); 1 is the fastest that compresses.

    Raises:
        OptionError: for another shape, dtype, key or level.
    """
    _check_pixels(pixels)
    if not 0 <= level <= 9:
        raise OptionError("This compression level does not exist", got=level, allowed="0 to 9")
    rows = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)  # [H, W] or [H, W, 3]
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rows))
    # run lengths: on tissue faster and smaller than searching for matches
    image.save(buffer, format="PNG", compress_level=level, compress_type=zlib.Z_RLE, pnginfo=_text_chunks(text or {}))
    return buffer.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Pixels of a PNG that `encode_png` wrote: `[C, H, W]`, uint8; raises `IntegrityError` for anything else."""
    with _open(data) as image:
        if image.mode not in _CHANNELS:
            raise IntegrityError("Stored PNG is not 8-bit grey or RGB", got=image.mode, allowed=list(_CHANNELS))
        try:
            rows = np.array(image, dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise IntegrityError("Stored PNG is damaged", got=str(error)) from error
    return rows[None] if rows.ndim == 2 else np.ascontiguousarray(rows.transpose(2, 0, 1))


def read_png_text(data: bytes) -> dict[str, str]:
    """Text chunks of a PNG."""
    with _open(data) as image:
        try:
            return {str(key): str(value) for key, value in image.text.items()}
        except (OSError, SyntaxError, ValueError) as error:
            raise IntegrityError("Stored PNG is damaged", got=str(error)) from error


def _open(data: bytes) -> PngImageFile:
    try:
        return PngImageFile(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError) as error:
        raise IntegrityError("Stored bytes are not a PNG", got=f"{len(data)} bytes: {error}") from error


def _check_pixels(pixels: NDArray[np.uint8]) -> None:
    good = pixels.ndim == 3 and pixels.shape[0] in (1, 3) and min(pixels.shape) > 0 and pixels.dtype == np.uint8
    if not good:
        raise OptionError(
            "This array cannot be written as PNG",
            got=f"shape {tuple(pixels.shape)}, {pixels.dtype}",
            allowed="[C, H, W] uint8 with C = 1 or 3 and at least one pixel",
        )


def _text_chunks(text: Mapping[str, str]) -> PngInfo:
    chunks = PngInfo()
    for key, value in text.items():
        if not (1 <= len(key) <= 79 and key.isascii() and key.isprintable()):
            raise OptionError("This PNG text key is not allowed", got=repr(key), allowed="1 to 79 printable ASCII")
        if value.isascii() and "\0" not in value:
            chunks.add_text(key, value)
        else:
            chunks.add_itxt(key, value)
    return chunks
