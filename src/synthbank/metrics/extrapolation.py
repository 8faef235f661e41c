"""FD at infinitely many images, extrapolated from the distances of ever smaller parts of the sets."""

from __future__ import annotations

import numpy as np

from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues
from synthbank.metrics._registry import two_sample_metric
from synthbank.metrics.fidelity import frechet_of

_PARTS = (1, 2, 3, 4)
"""Numbers of parts that the sets are cut into: whole, halves, thirds and quarters."""
_MOST_IMAGES = 512
"""Images of a set that are looked at; each value costs ten decompositions."""
_FEWEST_DRAWS = 6
"""Resamples at the least."""
_CHEAP_SIZE = 80
"""Images up to which every resample is computed; beyond, their number falls with the cube of the size."""


def _frechet_infinity_of_resamples(
    gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks
) -> ResampleValues:
    """Compute `frechet_infinity_of` on the first few resamples, `[R]`; NaN for the others."""
    # 1 + 2 + 3 + 4 decompositions of O(n^3) a resample
    draws = np.full(len(real_masks), np.nan)
    size = min(gram.cross.shape)
    n_draws = min(len(draws), max(_FEWEST_DRAWS, int(len(draws) * min(_CHEAP_SIZE / size, 1.0) ** 3)))
    for r in range(n_draws):
        part = gram.take(np.flatnonzero(real_masks[r]), np.flatnonzero(fake_masks[r]))
        draws[r] = frechet_infinity_of(part)
    return draws


@two_sample_metric(
    "fd-inf", order=20, title="Fréchet distance, extrapolated", meaning="the same, drawn on to infinitely many images",
    minimum_real=64, minimum_fake=64, bounds=(None, None), symmetric=True, resampled=_frechet_infinity_of_resamples,
    citation="Chong and Forsyth 2020, arXiv 1911.07023",
    note=f"extrapolated over 1/n from at most {_MOST_IMAGES} images of each set",
)  # fmt: skip
def frechet_infinity_of(gram: GramMatrices) -> float:
    """Fit a line over 1 / n to FD of the whole sets, their halves, thirds and quarters; return it at 1 / n = 0.

    Returns:
        Squared distance in squared feature units, lower is better; below 0 at times. NaN for no more images than
        feature values: bias is then no straight line in 1 / n, and on real images only a fifth of it went away.

    Source: Chong and Forsyth 2020, arXiv 1911.07023.
    Deviates: a set is dealt out to its parts in the order of the images' lengths, not drawn from, and the mean over the
    parts is taken. The same sets then give the same value. Both sets shrink together, because the originals are few as
    well.
    """
    n, m = (min(size, _MOST_IMAGES) for size in gram.cross.shape)
    if min(n, m) <= gram.dimensions:
        return float("nan")
    # dealing out by length gives parts of like composition without a random draw
    real, fake = (np.diagonal(inner).argsort(kind="stable") for inner in (gram.real, gram.fake))
    real, fake = (order[np.linspace(0, len(order) - 1, k).astype(np.int64)] for order, k in ((real, n), (fake, m)))
    values = [
        np.mean([frechet_of(gram.take(real[first::parts], fake[first::parts])) for first in range(parts)])
        for parts in _PARTS
    ]
    # FD(n) = FD(inf) + c / n: in k parts n is N / k, so the line over k has FD(inf) where k is 0
    return float(np.polyfit(_PARTS, values, 1)[1])
