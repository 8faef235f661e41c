"""Difference of radial power spectra, which shows blur, checkerboards and noise."""

from __future__ import annotations

import numpy as np

from synthbank.metrics._checks import Features
from synthbank.metrics._pixels import grey, in_chunks
from synthbank.metrics._registry import pixel_metric
from synthbank.records import UInt8Images

_FLAT = 1e-3
"""Power, in squared grey levels, that stands for none; rounding to whole grey levels leaves more."""


@pixel_metric(
    "spectrum", order=210, title="Spectrum distance", symmetric=True, citation="Durall et al. 2020, arXiv 2003.01826",
    meaning="blur, checkerboards and noise: difference of power in decibel",
    note="difference of mean radial power spectra in decibel",
)  # fmt: skip
class SpectrumDistance:
    """Root mean square difference between the mean logarithmic power spectra of two sets, in decibel.

    An image is reduced to grey, tapered by a Hann window, and its power averaged over rings of equal spatial
    frequency. Blur lowers the outer rings by tens of decibel, checkerboards and noise raise them.

    Source: Durall et al. 2020, arXiv 2003.01826, section 2 (azimuthal average); comparison of log means ours.
    """

    def describe(self, images: UInt8Images) -> Features:
        """`[N, R]`, decibel of each ring, from one cycle an image to the corner where checkerboards lie."""
        if not len(images):
            return np.zeros((0, 1))
        return np.concatenate([_radial(grey(part)) for part in in_chunks(images)])

    def compare(self, *, real: Features, fake: Features) -> float:
        """Root mean square over rings of the difference of mean spectra, in decibel; lower is better."""
        # means of logarithms: a few bright images do not outweigh the others
        return float(np.sqrt(np.mean((real.mean(axis=0) - fake.mean(axis=0)) ** 2)))

    def inapplicable_reason(self, real: Features) -> str | None:
        """Reason for blank originals; the metric holds for images of any kind that are not blank."""
        return "holds for images that are not blank" if real.max() <= 10.0 * np.log10(_FLAT) + 1.0 else None


def _radial(images: Features) -> Features:
    """Radial power spectra `[N, R]` in decibel, from grey images `[N, H, W]`."""
    height, width = images.shape[1:]
    # without a taper, the jump between opposite borders would leak power into all frequencies
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[1:-1]
    # the weighted mean comes off, so that the window does not leak brightness into the first rings
    centred = images - (images * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    power = np.abs(np.fft.rfft2(centred * window)) ** 2 / (window**2).sum()  # [N, H, W / 2 + 1]
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height) * height, np.arange(width // 2 + 1), indexing="ij"))
    rings = np.rint(radius).astype(np.int64)  # cycles an image
    each = np.arange(1, int(np.hypot(height, width) / 2))
    # azimuthal average as one matrix product: ring indicators times power, over the size of each ring
    masks = (rings.ravel() == each[:, None]).astype(np.float64)  # [R, H * W']
    means = power.reshape(len(images), -1) @ masks.T / masks.sum(axis=1)
    return np.asarray(10.0 * np.log10(np.maximum(means, _FLAT)), np.float64)
