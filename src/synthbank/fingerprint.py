"""Hashes and seeds that every room computes the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def pixel_sha256(pixels: NDArray[np.uint8]) -> str:
    """Hash of an image's content, independent of file format and encoder.

    Args:
        pixels: `[C, H, W]`, uint8, 0..255.

    Returns:
        64 hexadecimal digits over shape and bytes.
    """
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def bytes_sha256(data: bytes) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def set_fingerprint(hashes: Iterable[str]) -> str:
    """Hash of a set of hashes, whatever their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def stable_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts, the same on every machine and in every process.

    >>> stable_seed("job", 1, 2) == stable_seed("job", 1, 2)
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
