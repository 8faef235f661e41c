"""MS-SSIM diversity: structural similarity of pairs of images of one class."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from synthbank.errors import OptionError
from synthbank.metrics._checks import Features
from synthbank.metrics._pixels import grey, in_chunks
from synthbank.metrics._registry import pixel_metric
from synthbank.records import UInt8Images

_SIGMA = 1.5  # pixels, of the Gaussian window
_WINDOW = 11
_C1, _C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2  # (K_1 L)^2 and (K_2 L)^2 for L = 255 grey levels
_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # of the scales, finest first, from the paper
_PARTNERS = 2
"""Images of its class that each image is compared with."""


def multi_scale_similarity(first: UInt8Images, second: UInt8Images) -> Features:
    """Compute MS-SSIM of pairs of images, on grey values.

    Args:
        first: `[N, C, S, S]`, uint8, S >= 11.
        second: the same shape.

    Returns:
        `[N]`, float64, 0 to 1; 1 is equal. Uses as many of the five scales as the 11-pixel window fits into, with
        weights made to sum to one; a negative mean contrast-structure counts as 0.

    Raises:
        OptionError: unlike shapes, or images smaller than the window.

    Source: Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment".
    """
    if first.shape != second.shape or min(first.shape[-2:]) < _WINDOW:
        raise OptionError(
            "MS-SSIM cannot compare these images",
            got=f"shapes {first.shape} and {second.shape}",
            allowed=f"equal shapes, sides of at least {_WINDOW} pixels",
            next_step="bring both sets to one size",
        )
    x, y = grey(first), grey(second)
    n_scales = min(len(_WEIGHTS), int(np.log2(min(x.shape[1:]) / _WINDOW)) + 1)
    weights = _WEIGHTS[:n_scales] / _WEIGHTS[:n_scales].sum()
    # MS-SSIM = l_M^w_M * product over scales j of (c s)_j^w_j: luminance counts at the coarsest scale alone
    value = np.ones(len(x))
    for scale, weight in enumerate(weights):
        luminance, structure = _similarity(x, y)
        last = scale == n_scales - 1
        value *= np.maximum(structure * luminance if last else structure, 0.0) ** weight
        x, y = _halve(x), _halve(y)
    return value


@pixel_metric(
    "ms-ssim", order=230, title="Likeness within a class (MS-SSIM)", looks_at="fake", minimum_real=2, bounds=(0.0, 1.0),
    meaning="lower is more varied; compare with the floor", biased=False,
    citation="Wang et al. 2003; Odena et al. 2017, arXiv 1610.09585",
    note="mean similarity of pairs within a class; lower is more varied; read beside its floor",
)  # fmt: skip
class StructuralSimilarity:
    """Mean MS-SSIM of each synthetic image with two others of its class: lower is more varied.

    Noise has the lowest similarity of all; read it only where fidelity is fine, and beside its floor.

    Source: Odena, Olah and Shlens 2017, arXiv 1610.09585, section 4.2 (MS-SSIM within a class).
    """

    def describe(self, images: UInt8Images) -> Features:
        """`[N, 1]`: mean similarity to the next two images of the class, in the order given."""
        if len(images) < 2:
            return np.full((len(images), 1), np.nan)
        steps = range(1, min(_PARTNERS, len(images) - 1) + 1)
        # two partners an image instead of all pairs: N pairs each, and every image counts alike
        parts = [np.roll(images, -step, axis=0) for step in steps]
        similar = [
            np.concatenate([multi_scale_similarity(*pair) for pair in _chunks(images, other)]) for other in parts
        ]
        return np.asarray(np.mean(similar, axis=0)[:, None], np.float64)

    def compare(self, *, real: Features, fake: Features) -> float:
        """Mean over the synthetic images; 1 where all look alike."""
        return float(np.nanmean(fake)) if np.isfinite(fake).any() else 1.0

    def inapplicable_reason(self, real: Features) -> str | None:
        """`None`: the metric holds for images of any kind."""
        return None


def _chunks(first: UInt8Images, second: UInt8Images) -> list[tuple[UInt8Images, UInt8Images]]:
    return list(zip(in_chunks(first), in_chunks(second), strict=True))


def _similarity(x: Features, y: Features) -> tuple[Features, Features]:
    """Mean luminance and mean contrast-structure of each pair; both `[N]`."""
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    shared = _smooth(x * y) - mean_x * mean_y
    # contrast and structure as one fraction, as c s simplifies for C_3 = C_2 / 2
    structure = (2.0 * shared + _C2) / (var_x + var_y + _C2)
    luminance = (2.0 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance.mean(axis=(1, 2)), structure.mean(axis=(1, 2))


def _smooth(x: Features) -> Features:
    """Gaussian means of `[N, H, W]` over windows that lie inside the image, `[N, H - 10, W - 10]`."""
    half = _WINDOW // 2
    smooth = gaussian_filter(x, (0.0, _SIGMA, _SIGMA), radius=(0, half, half))
    return np.asarray(smooth[:, half : -half or None, half : -half or None], np.float64)


def _halve(x: Features) -> Features:
    """Means of blocks of 2 x 2 pixels; an odd last row or column is dropped."""
    even = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return np.asarray((even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4.0)
