"""Check a PNG by its chunks. Pillow does not compare the checksums of pixel data, so damage would pass."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE_BYTES = 8


def png_damage(data: bytes) -> str | None:
    """Name the damage of a PNG's chunks.

    Args:
        data: the whole file, signature included.

    Returns:
        "truncated" (it ends inside or between chunks), "corrupt" (the checksum of a chunk that pixels depend on is
        wrong), or `None`.
    """
    at = _SIGNATURE_BYTES
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        kind = data[at + 4 : at + 8]
        if end + 4 > len(data):
            break
        (stored,) = struct.unpack_from(">I", data, end)
        # Chunks with a small first letter are ancillary; the pixels do not depend on them.
        if kind[:1].isupper() and zlib.crc32(memoryview(data)[at + 4 : end]) != stored:
            return "corrupt"
        if kind == b"IEND":
            return None
        at = end + 4
    return "truncated"
