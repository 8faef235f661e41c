"""Difference of number and area of nuclei, where a simple segmentation finds them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from synthbank.metrics._checks import Features, Floats
from synthbank.metrics._pixels import standardised_gap
from synthbank.metrics._registry import pixel_metric
from synthbank.records import UInt8Images

_SMALLEST = 12
"""Pixels; anything smaller is dust."""
_LARGEST_SHARE = 0.5
"""Share of the image; anything larger is background."""
_CONTRAST = 12.0
"""Grey levels of red light between the two sides of the threshold, below which there is no body."""
_SEEN_SHARE = 0.8
"""Share of originals in which bodies must be seen."""
_SOLID = 0.8
"""Area over convex area; nuclei are compact, stroma and folds are not."""


@pixel_metric(
    "nuclei", order=220, title="Nuclei distance", citation="Otsu 1979, IEEE Trans. Systems, Man and Cybernetics 9(1)",
    meaning="number and size of dark bodies, in deviations of the originals",
    note="number and area of dark bodies; in standard deviations of the originals",
)  # fmt: skip
class NucleiDistance:
    """Number, mean area and spread of areas of dark blue bodies an image, compared as distributions.

    Haematoxylin takes away red light: an image's red channel is smoothed, cut at its Otsu threshold, and the dark
    side's connected bodies of 12 pixels to half of the image are counted. Touching nuclei count as one: this compares
    sets and counts nothing for a person.

    Source: Otsu 1979; the areas are compared by their Wasserstein distance in standard deviations of the originals.
    """

    def describe(self, images: UInt8Images) -> Features:
        """`[N, 4]`: bodies, log2 of their mean area in pixels, deviation of log2 areas, and mean solidity."""
        return np.stack([_bodies(image) for image in images]) if len(images) else np.zeros((0, 4))

    def compare(self, *, real: Features, fake: Features) -> float:
        """Mean distance of number, area and deviation, in standard deviations of the originals; lower is better.

        An image without bodies counts in the first column alone.
        """
        return standardised_gap(real=real[:, :3], fake=fake[:, :3])

    def inapplicable_reason(self, real: Features) -> str | None:
        """Reason for originals of which many show no compact dark bodies."""
        if np.isnan(real[:, 0]).any():
            return "holds for RGB images alone"
        seen = real[:, 0] > 0
        if seen.mean() < _SEEN_SHARE:
            return f"holds where nuclei are seen in {_SEEN_SHARE:.0%} of originals: here in {seen.mean():.0%}"
        solidity = float(np.nanmedian(real[:, 3]))
        if solidity < _SOLID:
            return f"holds where dark bodies are compact (solidity {_SOLID:g} or more): here {solidity:.2f}"
        return None


def _bodies(image: UInt8Images) -> Floats:
    """`[4]`, as a row of `NucleiDistance.describe`; NaN where there is nothing to measure."""
    from skimage import filters, measure  # slow to import

    if image.shape[0] != 3:
        return np.full(4, np.nan)
    red = gaussian_filter(image[0].astype(np.float64), 1.0)
    if red.max() - red.min() < _CONTRAST:
        return np.array([0.0, np.nan, np.nan, np.nan])
    # Otsu: the threshold that splits grey levels with the least variance within both sides
    dark = red < filters.threshold_otsu(red)  # type: ignore[no-untyped-call]
    # it splits noise as well: two sides that hardly differ are not bodies and background
    if red[~dark].mean() - red[dark].mean() < _CONTRAST:
        return np.array([0.0, np.nan, np.nan, np.nan])
    regions = measure.regionprops(measure.label(dark))  # type: ignore[no-untyped-call]
    bodies = [b for b in regions if _SMALLEST <= b.area <= _LARGEST_SHARE * red.size]
    if not bodies:
        return np.array([0.0, np.nan, np.nan, np.nan])
    # areas of nuclei are skewed; on a logarithmic scale halving counts as much as doubling
    areas = np.log2([b.area for b in bodies])
    return np.array([len(bodies), areas.mean(), areas.std(), np.mean([b.solidity for b in bodies])])
