"""Images that are almost the same: saved again, slightly shifted, slightly brighter.

Perceptual hashes and 32-pixel thumbnails give a short list. From 64 pixels on, a pair counts only where it is confirmed
at full size: images of one kind, such as two chest films or two platelets out of focus, are alike as thumbnails too.
Smaller images have no detail beyond their thumbnails, so the thumbnails decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthbank.data.modes import luma
from synthbank.data.quality._base import Candidate, SetFinding
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity

# Chosen on blood-smear cells: cells photographed twice (shifted, refocused) differ by up to 10 bits and 0.49.
HASH_BITS_LIMIT = 10
DIFFERENCE_LIMIT = 0.5
# The limit of thumbnails alone, on the same cells.
SMALL_DIFFERENCE_LIMIT = 0.35
# Chosen on the same cells at 64 and 128 pixels: photographed twice 0.48 to 0.90, other cells up to 0.20. Simulated
# chest films that differ in dose, position and noise reach 0.30 at 64 pixels.
DETAIL_LIMIT = 0.4
_LEAST_SIDE = 64
# Other cells differ by 0.23 or more, simulated chest films by 0.085 (64 pixels).
PIXEL_LIMIT = 0.06
_LEAST_CONTRAST = 2.0
_SIDE, _KEPT = 32, 8
_CHUNK = 512
_BLOCKS = 4
_LEAST_BLOCK = 6


@checks.register(
    "near_duplicate",
    stage="set",
    severity="warn",
    limit=f"fine detail correlates by {DETAIL_LIMIT:g}, or pixels differ by {PIXEL_LIMIT:.0%} of the contrast",
)
def near_duplicate(candidates: Sequence[Candidate]) -> list[SetFinding]:
    """Find pairs with close perceptual hashes and confirm them by their pixels at full size.

    Tiles of one file are not compared: they overlap by design and share a group anyway. Nor are near-uniform images,
    which all look alike. Every pair is reported on its later image; its value, 1 at most, says how sure the pair is.
    """
    thumbs = np.array([_thumbnail(c.pixels) for c in candidates]).reshape(-1, _SIDE, _SIDE)
    hashes = np.array([perceptual_hash(t) for t in thumbs], np.uint64)
    telling = np.flatnonzero(thumbs.std(axis=(1, 2)) >= _LEAST_CONTRAST)
    compare = _full_size_comparison(candidates)
    findings = []
    for a, b, n_bits in close_pairs(hashes[telling], HASH_BITS_LIMIT):
        earlier, later = int(telling[a]), int(telling[b])
        one, two = candidates[earlier], candidates[later]
        if one.file == two.file:
            continue
        difference = relative_difference(thumbs[earlier], thumbs[later])
        if one.pixels.shape[-1] < _LEAST_SIDE:
            surety, confirmed = 1.0 - difference, difference <= SMALL_DIFFERENCE_LIMIT
        elif difference <= DIFFERENCE_LIMIT:
            surety, difference = compare(earlier, later)
            confirmed = surety >= DETAIL_LIMIT or difference <= PIXEL_LIMIT
        else:
            continue
        if not confirmed:
            continue
        other_class = "" if one.class_name == two.class_name else f" of class '{one.class_name}'"
        message = f"nearly the same as '{one.name}'{other_class}: {n_bits} of 64 hash bits differ, "
        message += f"pixels differ by {difference:.0%} of the contrast"
        finding = Finding("near_duplicate", Severity.WARN, message, surety, other=one.name)
        findings.append(SetFinding(later, finding, earlier))
    return findings


def fine_detail(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """An image less its own blur, whose standard deviation is a 64th of the side; `[H, H]`, grey levels."""
    side = image.shape[0]
    margin = side // 4
    padded = np.pad(image, margin, mode="edge")
    frequency = np.fft.fftfreq(padded.shape[0])  # cycles per pixel
    response = np.exp(-2 * (np.pi * side / 64 * frequency) ** 2)
    blurred = np.fft.ifft2(np.fft.fft2(padded) * response[:, None] * response[None]).real
    detail: NDArray[np.float64] = image - blurred[margin : margin + side, margin : margin + side]
    return detail


def best_shift(one: NDArray[np.float64], two: NDArray[np.float64], limit: int) -> tuple[int, int]:
    """Shift `(y, x)`, of at most `limit` pixels, that makes `one` most like `two`, by their circular correlation."""
    product = np.fft.rfft2(one) * np.conj(np.fft.rfft2(two))
    correlation = np.fft.irfft2(product, s=one.shape)
    places = np.arange(-limit, limit + 1)
    near = correlation[np.ix_(places, places)]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    return int(places[y]), int(places[x])


def detail_agreement(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Correlation of the fine detail of two aligned images, -1 to 1.

    It is the lesser of that of the whole image and the median of that of the half of 4x4 blocks which hold most
    detail: a frame or a label that all images of a set share fills few blocks.
    """
    whole = float(_correlation(one.ravel(), two.ravel()))
    height, width = (n // _BLOCKS for n in one.shape)
    if min(height, width) < _LEAST_BLOCK:
        return whole
    blocks = [
        image[: _BLOCKS * height, : _BLOCKS * width]
        .reshape(_BLOCKS, height, _BLOCKS, width)
        .swapaxes(1, 2)
        .reshape(_BLOCKS**2, -1)
        for image in (one, two)
    ]
    energy = np.linalg.norm(blocks[0], axis=1) * np.linalg.norm(blocks[1], axis=1)
    telling = np.argsort(-energy, kind="stable")[: _BLOCKS**2 // 2]
    return min(whole, float(np.median(_correlation(blocks[0][telling], blocks[1][telling]))))


def _full_size_comparison(candidates: Sequence[Candidate]) -> Callable[[int, int], tuple[float, float]]:
    """Function of two positions: agreement of fine detail, and relative difference of pixels, both once aligned."""

    @lru_cache(maxsize=256)
    def grey_and_detail(position: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        grey = luma(candidates[position].pixels).astype(np.float64)
        margin = grey.shape[0] // 8  # frames and rulers along the edge are the same in a whole set
        grey = grey[margin:-margin, margin:-margin]
        return grey, fine_detail(grey)

    def compare(first: int, second: int) -> tuple[float, float]:
        (grey_one, detail_one), (grey_two, detail_two) = grey_and_detail(first), grey_and_detail(second)
        shift = best_shift(detail_one, detail_two, grey_one.shape[0] // 16)
        details = _overlap(detail_one, detail_two, shift)
        return detail_agreement(*details), relative_difference(*_overlap(grey_one, grey_two, shift))

    return compare


def _overlap(
    one: NDArray[np.float64], two: NDArray[np.float64], shift: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The parts of both images that show the same place when `one` is moved back by `shift`."""
    (height, width), (y, x) = one.shape, shift
    of_one = one[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    of_two = two[max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)]
    return of_one, of_two


def _correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlation over the last axis; 0 where one side is constant."""
    one, two = one - one.mean(-1, keepdims=True), two - two.mean(-1, keepdims=True)
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
    correlation: NDArray[np.float64] = (one * two).sum(-1) / np.maximum(norms, 1e-9)
    return correlation


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
