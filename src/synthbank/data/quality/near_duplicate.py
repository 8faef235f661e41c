"""Images that are almost the same: saved again, slightly shifted, slightly brighter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthbank.data.modes import luma
from synthbank.data.quality._base import Candidate, SetFinding
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity

# Chosen on blood-smear cells: cells photographed twice (shifted, refocused) differ by up to 10 bits and 0.34.
HASH_BITS_LIMIT = 10
DIFFERENCE_LIMIT = 0.35
_LEAST_CONTRAST = 2.0
_SIDE, _KEPT = 32, 8
_CHUNK = 512


@checks.register("near_duplicate", stage="set", severity="warn", limit=f"{HASH_BITS_LIMIT} of 64 hash bits")
def near_duplicate(candidates: Sequence[Candidate]) -> list[SetFinding]:
    """Find pairs with close perceptual hashes and confirm them by their pixels.

    Tiles of one file are not compared: they overlap by design and share a group anyway. Nor are near-uniform images,
    which all look alike. Every pair is reported on its later image.
    """
    thumbs = np.array([_thumbnail(c.pixels) for c in candidates]).reshape(-1, _SIDE, _SIDE)
    hashes = np.array([perceptual_hash(t) for t in thumbs], np.uint64)
    telling = np.flatnonzero(thumbs.std(axis=(1, 2)) >= _LEAST_CONTRAST)
    findings = []
    for a, b, n_bits in close_pairs(hashes[telling], HASH_BITS_LIMIT):
        earlier, later = int(telling[a]), int(telling[b])
        one, two = candidates[earlier], candidates[later]
        if one.file == two.file or relative_difference(thumbs[earlier], thumbs[later]) > DIFFERENCE_LIMIT:
            continue
        other_class = "" if one.class_name == two.class_name else f" of class '{one.class_name}'"
        message = f"nearly the same as '{one.name}'{other_class}: {n_bits} of 64 hash bits differ"
        findings.append(SetFinding(later, Finding("near_duplicate", Severity.WARN, message, float(n_bits)), earlier))
    return findings


def perceptual_hash(thumbnail: NDArray[np.float64]) -> int:
    """64-bit hash by the lowest frequencies of a grey thumbnail.

    Args:
        thumbnail: `[32, 32]`, grey levels.

    Returns:
        One bit for each of 8x8 DCT coefficients: above their median or not; the mean grey level is left out.
    """
    basis = _dct_basis()
    low = (basis @ thumbnail @ basis.T).ravel()  # [64]
    bits = low > np.median(low[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def close_pairs(hashes: NDArray[np.uint64], limit: int) -> Iterator[tuple[int, int, int]]:
    """Pairs `(earlier, later, differing bits)` with at most `limit` differing bits.

    >>> list(close_pairs(np.array([0, 7, 1], np.uint64), 2))
    [(0, 2, 1), (1, 2, 2)]
    """
    for start in range(0, len(hashes), _CHUNK):
        rows = hashes[start : start + _CHUNK]
        n_bits = np.bitwise_count(rows[:, None] ^ hashes[None, start:])  # [rows, N - start]
        for row, column in np.argwhere(n_bits <= limit):
            if column > row:
                yield start + int(row), start + int(column), int(n_bits[row, column])


def relative_difference(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """RMS difference of two thumbnails after removing their means, over their mean contrast; 0 is equal."""
    one, two = one - one.mean(), two - two.mean()
    contrast = (one.std() + two.std()) / 2
    return float(np.sqrt(np.mean((one - two) ** 2)) / max(contrast, 1.0))


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    image = Image.fromarray(luma(pixels).astype(np.float32))
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)


def _dct_basis() -> NDArray[np.float64]:
    k, n = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE))  # [8, 32], DCT-II without scale factors
