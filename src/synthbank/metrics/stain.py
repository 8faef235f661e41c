"""Difference of stain densities after colour deconvolution."""

from __future__ import annotations

from functools import cache

import numpy as np

from synthbank.metrics._checks import Features
from synthbank.metrics._pixels import in_chunks, standardised_gap
from synthbank.metrics._registry import pixel_metric
from synthbank.records import UInt8Images

_STAINED = 0.02
"""Mean density of the strongest stain below which the originals are not stained, or not bright-field."""
_BRIGHTEST = 160.0
"""Grey level that the brightest tenth of a bright-field image reaches."""


@pixel_metric(
    "stain", order=200, title="Stain distance", citation="Ruifrok and Johnston 2001; skimage.color.hed_from_rgb",
    meaning="haematoxylin, eosin and DAB densities, in deviations of the originals",
    note="haematoxylin, eosin and DAB densities; in standard deviations of the originals",
)  # fmt: skip
class StainDistance:
    """Mean and spread of the density of haematoxylin, eosin and DAB in each image, compared as distributions.

    A density is `log10` of how much light a stain takes away. Each of the six columns is compared by its Wasserstein
    distance in standard deviations of the originals; 0 is no difference, and two sets of originals of n images
    stay near 1 / sqrt(n).

    Source: Ruifrok and Johnston 2001, "Quantification of histochemical staining by color deconvolution".
    Deviates: densities below zero, where a pixel holds none of a stain, count as zero.
    """

    def describe(self, images: UInt8Images) -> Features:
        """`[N, 7]`: means of the three stains, their deviations, and the 90th percentile of brightness."""
        return np.concatenate([_densities(part) for part in in_chunks(images)] or [np.zeros((0, 7))])

    def compare(self, *, real: Features, fake: Features) -> float:
        """Mean distance of the six columns, in standard deviations of the originals; lower is better."""
        return standardised_gap(real=real[:, :6], fake=fake[:, :6])

    def inapplicable_reason(self, real: Features) -> str | None:
        """Reason for originals that are no stained colour images on a bright ground."""
        if np.isnan(real).any():
            return "holds for RGB images alone"
        if np.median(real[:, 6]) < _BRIGHTEST:
            return "holds for bright-field images: these are dark"
        if real[:, :3].mean(axis=0).max() < _STAINED:
            return "holds for stained tissue: no stain is seen in these originals"
        return None


def _densities(images: UInt8Images) -> Features:
    """`[N, 7]`, as `StainDistance.describe`; NaN for images that are not RGB."""
    if images.shape[1] != 3:
        return np.full((len(images), 7), np.nan)
    # Beer-Lambert: density is -log10 of the transmitted light, and densities of stains add up. At least one grey
    # level of light is assumed, as the logarithm of none is infinite
    light = np.maximum(images.astype(np.float64), 1.0) / 255.0
    density = np.einsum("nchw,cs->nshw", -np.log10(light), _unmixing())
    density = np.maximum(density, 0.0)  # [N, 3, H, W]; no pixel holds less than none of a stain
    bright = np.quantile(images.mean(axis=1, dtype=np.float64), 0.9, axis=(1, 2))
    return np.concatenate([density.mean(axis=(2, 3)), density.std(axis=(2, 3)), bright[:, None]], axis=1)


@cache
def _unmixing() -> Features:
    """`[3, 3]`, from densities of red, green and blue to haematoxylin, eosin and DAB."""
    from skimage.color import hed_from_rgb  # slow to import, and `metrics` is imported by every workflow

    return np.asarray(hed_from_rgb, np.float64)
