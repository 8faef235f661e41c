"""The format of a file by its first bytes, and a check of its ending."""

from __future__ import annotations

from pathlib import PurePosixPath

SUPPORTED = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
}
"""Formats that are decoded, with the name endings that fit them."""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUPPORTED.values() for suffix in suffixes)

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (128, b"DICM", "DICOM"),
    (4, b"ftyp", "HEIF, AVIF or video"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"\x1f\x8b", "gzip archive"),
)
_PICTURES = {"GIF", "WebP", "DICOM", "HEIF, AVIF or video", "JPEG 2000", "Photoshop"}


def sniff_format(data: bytes) -> str | None:
    """Name of the format by its signature ("PNG", "GIF", "SVG", "text", …); `None`: unknown bytes."""
    for offset, signature, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return name
    return _sniff_text(data[:4096])


def is_picture(format_name: str | None) -> bool:
    """Tell whether a format holds pictures, decoded here or not."""
    return format_name in SUPPORTED or format_name in _PICTURES or format_name == "SVG"


def name_suits_format(name: str, format_name: str) -> bool:
    """Tell whether the ending of a name fits a supported format; no ending at all fits every format."""
    suffix = PurePosixPath(name).suffix.strip().lower()
    return suffix in ("", *SUPPORTED[format_name])


def _sniff_text(head: bytes) -> str | None:
    if b"\0" in head:
        return None
    lowered = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in lowered:
        return "SVG"
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
    return "text"
