"""Bytes of one file to pixels. Whatever the bytes are, the answer is pixels or a reject finding, never a traceback.

Only pixels leave this file: metadata (EXIF, GPS, text, comments) is named by kind in a finding and dropped.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from synthbank.data.modes import (
    RefusedPixelsError,
    convert_finding,
    pixels_from_array,
    pixels_from_image,
)
from synthbank.data.png_chunks import png_damage
from synthbank.data.sniff import SUPPORTED, is_picture, name_suits_format, sniff_format
from synthbank.records import Finding, Severity

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 * 1024**2
_ORIENTATION_TAG, _GPS_TAG, _SAMPLES_TAG, _BITS_TAG = 0x0112, 0x8825, 277, 258
_EXIF_TEXT_TAGS = (270, 306, 315, 700, 33432, 34665)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of a single file."""

    max_pixels: int = MAX_PIXELS
    """Width times height, checked before decoding."""
    max_bytes: int = MAX_FILE_BYTES
    """Size of the file."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Outcome of decoding one file."""

    pixels: NDArray[np.uint8] | None
    """`[C, H, W]`, uint8, C is 1 or 3; `None`: refused, the last finding says why."""
    findings: tuple[Finding, ...]


def decode_image(data: bytes, name: str, limits: DecodeLimits | None = None) -> Decoded:
    """Decode PNG, JPEG, TIFF or BMP bytes.

    Args:
        data: the whole file.
        name: its name, compared with its content.
        limits: `None`: the defaults.

    Returns:
        Pixels with warnings and conversions, or no pixels and a reject finding.
    """
    findings: list[Finding] = []
    try:
        pixels = _decode(data, name, limits or DecodeLimits(), findings)
    except RefusedPixelsError as refused:
        return Decoded(None, (*findings, refused.finding))
    return Decoded(pixels, tuple(findings))


def _decode(data: bytes, name: str, limits: DecodeLimits, findings: list[Finding]) -> NDArray[np.uint8]:
    if not data:
        raise RefusedPixelsError("empty_file", "the file has no bytes", 0.0)
    if len(data) > limits.max_bytes:
        raise RefusedPixelsError("file_size", f"{len(data)} bytes; at most {limits.max_bytes}", float(len(data)))
    kind = _supported_format(data, name)
    if kind == "PNG":
        _check_png(data)
    if not name_suits_format(name, kind):
        suffix = PurePosixPath(name).suffix
        findings.append(Finding("extension", Severity.WARN, f"{kind} content under the ending '{suffix}'"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pixels = _open_pillow(data, kind, limits, findings)
        except (UnidentifiedImageError, _UnreadByPillowError) as error:
            if kind != "TIFF":
                raise _broken(data, kind, error) from error
            pixels = _open_tifffile(data, limits, findings)
    findings.extend(_from_warnings(caught))
    return pixels


def _supported_format(data: bytes, name: str) -> str:
    kind = sniff_format(data)
    if kind in SUPPORTED:
        return kind
    if is_picture(kind):
        message = f"{kind} is not read; convert it to {', '.join(SUPPORTED)}"
        raise RefusedPixelsError("unsupported_format", message)
    holds = f"holds {kind}" if kind else "holds bytes of no known image format"
    raise RefusedPixelsError("not_an_image", f"'{PurePosixPath(name).name[:60]}' {holds}")


def _check_png(data: bytes) -> None:
    damage = png_damage(data)
    if damage is not None:
        raise RefusedPixelsError(damage, f"PNG data is {damage}: {len(data)} bytes are there", float(len(data)))


class _UnreadByPillowError(Exception):
    """Pillow cannot show this TIFF truthfully; another reader may."""


def _open_pillow(data: bytes, kind: str, limits: DecodeLimits, findings: list[Finding]) -> NDArray[np.uint8]:
    formats = ["JPEG", "MPO"] if kind == "JPEG" else [kind]
    notes: list[Finding] = []
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            check_pixel_count(*image.size, limits)
            notes += _note_frames(image)
            _check_tiff(image)
            before = _orientation(image)
            image.load()
            notes += _note_metadata(image)
            notes += _note_depth(data, image)
            turned = _turn_upright(image, before, notes)
            pixels = pixels_from_image(turned, notes)
    except (RefusedPixelsError, UnidentifiedImageError, _UnreadByPillowError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(error, limits) from error
    except Exception as error:  # decoders raise almost anything on damaged bytes; one file must not stop an ingest
        raise _broken(data, kind, error) from error
    findings += notes
    return pixels


def check_pixel_count(width: int, height: int, limits: DecodeLimits) -> None:
    """Refuse an image by the size in its header, before any memory is taken for its pixels."""
    if width * height > limits.max_pixels:
        message = f"{width}x{height} is {width * height / 1e6:.1f} Mpixel; at most {limits.max_pixels / 1e6:g} Mpixel"
        raise RefusedPixelsError("pixel_limit", message, float(width * height))


def _too_many_pixels(error: Exception, limits: DecodeLimits) -> RefusedPixelsError:
    # Pillow refuses the very largest sizes itself, and names their number of pixels first.
    number = re.search(r"\d+", str(error))
    n_pixels = float(number[0]) if number else None
    shown = f"{n_pixels / 1e6:.1f} Mpixel" if n_pixels else "far too many pixels"
    return RefusedPixelsError("pixel_limit", f"{shown}; at most {limits.max_pixels / 1e6:g} Mpixel", n_pixels)


def _broken(data: bytes, kind: str, error: Exception) -> RefusedPixelsError:
    cut = kind == "JPEG" and b"\xff\xd9" not in data
    if cut or "truncated" in str(error).lower():
        return RefusedPixelsError("truncated", f"{kind} data ends early: {len(data)} bytes are there", float(len(data)))
    return RefusedPixelsError("corrupt", f"{kind} data cannot be decoded: {type(error).__name__}: {str(error)[:120]}")


def _note_frames(image: Image.Image) -> list[Finding]:
    n_frames = int(getattr(image, "n_frames", 1))
    if n_frames < 2:
        return []
    message = f"{n_frames} frames or pages; only the first is used"
    return [Finding("several_frames", Severity.WARN, message, float(n_frames))]


def _check_tiff(image: Image.Image) -> None:
    # Pillow shows the first of several unnamed channels, or the high byte of 16-bit colour, and says nothing.
    if image.format != "TIFF":
        return
    tags = getattr(image, "tag_v2", {})
    samples = int(tags.get(_SAMPLES_TAG, 1))
    bits = max(tags.get(_BITS_TAG, (1,)))
    if samples > len(image.getbands()) or (samples > 1 and bits > 8):
        raise _UnreadByPillowError(f"{samples} channels of {bits} bits")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata is no reason to lose the pixels
        return 1


def _turn_upright(image: Image.Image, before: int, findings: list[Finding]) -> Image.Image:
    # Pillow turns TIFF files itself while loading and then forgets the tag.
    after = _orientation(image)
    if before in _TURNS:
        message = f"turned upright by its EXIF orientation {before}"
        findings.append(convert_finding("exif_orientation", message, float(before)))
    if after not in _TURNS:
        return image
    turned = image.transpose(_TURNS[after])
    turned.info.update(image.info)
    return turned


def _note_metadata(image: Image.Image) -> list[Finding]:
    kinds = _exif_kinds(image)
    if isinstance(image, PngImagePlugin.PngImageFile) and image.text:
        kinds.append("text chunks")
    if any(key in image.info for key in ("comment", "photoshop", "xmp", "XML:com.adobe.xmp")):
        kinds.append("comments or XMP")
    if not kinds:
        return []
    return [convert_finding("metadata_dropped", f"metadata not carried along: {', '.join(kinds)}")]


def _exif_kinds(image: Image.Image) -> list[str]:
    try:
        exif = image.getexif()
        kinds = ["GPS position"] if _GPS_TAG in exif else []
        if any(tag in exif for tag in _EXIF_TEXT_TAGS):
            kinds.append("EXIF")
    except Exception:  # unreadable metadata is dropped with the rest
        return ["unreadable EXIF"]
    return kinds


def _note_depth(data: bytes, image: Image.Image) -> list[Finding]:
    # Byte 24 of a PNG is its bit depth; Pillow keeps the high byte of 16-bit colour without saying so.
    if image.format == "PNG" and data[24] == 16 and image.mode in ("RGB", "RGBA", "LA"):
        return [convert_finding("bit_depth", "16 bits a channel became 8: the high byte was kept", 16.0)]
    return []


def _open_tifffile(data: bytes, limits: DecodeLimits, findings: list[Finding]) -> NDArray[np.uint8]:
    try:
        import tifffile
    except ImportError as error:
        raise RefusedPixelsError("unsupported_format", "this TIFF needs the tifffile package") from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            check_pixel_count(page.imagewidth, page.imagelength, limits)
            if page.samplesperpixel not in (1, 3, 4):
                raise RefusedPixelsError(
                    "channels", f"{page.samplesperpixel} channels; 1, 3 or 4 are allowed", float(page.samplesperpixel)
                )
            array = np.squeeze(page.asarray())
            separate = page.samplesperpixel > 1 and page.planarconfig == 2
            findings += _tiff_pages(len(tiff.pages))
    except RefusedPixelsError:
        raise
    except Exception as error:  # as above: hostile bytes may raise anything
        raise _broken(data, "TIFF", error) from error
    return pixels_from_array(array.transpose(1, 2, 0) if separate else array, findings)


def _tiff_pages(n_pages: int) -> list[Finding]:
    if n_pages < 2:
        return []
    return [Finding("several_frames", Severity.WARN, f"{n_pages} pages; only the first is used", float(n_pages))]


def _from_warnings(caught: list[warnings.WarningMessage]) -> list[Finding]:
    texts = sorted({str(w.message)[:160] for w in caught if not issubclass(w.category, ResourceWarning)})
    return [Finding("decoder_warning", Severity.WARN, text) for text in texts]
