"""Vendi score: the effective number of different images in a set."""

from __future__ import annotations

import numpy as np

from synthbank.metrics._checks import Features, RawFeatures, check_features
from synthbank.metrics._gram import GramMatrices, ResampleMasks, ResampleValues
from synthbank.metrics._registry import two_sample_metric

MOST_IMAGES = 512
"""Images of a set that are looked at, evenly spaced."""
_FEWEST_DRAWS = 16
"""Resamples at the least."""
_CHEAP_SIZE = 160
"""Images up to which every resample is computed; beyond, their number falls with the cube of the size."""


def vendi_score(features: RawFeatures) -> float:
    """Compute the Vendi score with the cosine similarity of features.

    Args:
        features: `[N, D]`, N >= 1.

    Returns:
        1 (all images alike) to N (all orthogonal); higher is more varied. Grows with N and with noise.

    Raises:
        OptionError: no image, or values that are not finite.

    Source: Friedman and Dieng 2023, arXiv 2210.02410, definition 3.1.

    >>> round(vendi_score(np.eye(4)), 9)
    4.0
    """
    x = check_features(features, minimum=1)
    return _vendi(x @ x.T)


def _vendi_of_resamples(gram: GramMatrices, real_masks: ResampleMasks, fake_masks: ResampleMasks) -> ResampleValues:
    """Compute `vendi_of` on each resample, `[R]`; of large sets on the first few, NaN for the others."""
    # an eigenvalue decomposition of O(n^3) a resample
    draws = np.full(len(fake_masks), np.nan)
    size = min(int(fake_masks[0].sum()), MOST_IMAGES)
    n_draws = min(len(draws), max(_FEWEST_DRAWS, int(len(draws) * min(_CHEAP_SIZE / size, 1.0) ** 3)))
    for r, mask in enumerate(fake_masks[:n_draws]):
        index = np.flatnonzero(mask)
        draws[r] = _vendi(_thin(gram.fake[np.ix_(index, index)]))
    return draws


@two_sample_metric(
    "vendi", order=80, title="Vendi score", direction="higher", looks_at="fake",
    meaning="effective number of different synthetic images; compare with the floor",
    minimum_real=4, minimum_fake=4, bounds=(1.0, None), resampled=_vendi_of_resamples,
    citation="Friedman and Dieng 2023, arXiv 2210.02410",
    note=f"effective number of different images, of at most {MOST_IMAGES}; read beside its floor",
)  # fmt: skip
def vendi_of(gram: GramMatrices) -> float:
    """Compute `vendi_score` of the fakes from Gram matrices, of at most 512 evenly spaced ones."""
    return _vendi(_thin(gram.fake))


def _thin(inner: Features) -> Features:
    if len(inner) <= MOST_IMAGES:
        return inner
    index = np.linspace(0, len(inner) - 1, MOST_IMAGES).astype(np.int64)
    return inner[np.ix_(index, index)]


def _vendi(inner: Features) -> float:
    """Vendi score from inner products `[N, N]`."""
    # definition 3.1: exp(-sum of l_i log l_i) over the eigenvalues l_i of K / N, with K_ij the cosine of images i and j
    length = np.sqrt(np.maximum(np.diagonal(inner), np.finfo(np.float64).tiny))
    values = np.linalg.eigvalsh(inner / (length[:, None] * length[None] * len(inner)))
    # rounding leaves eigenvalues a little below zero, and a sum a little off one
    values = values[values > 0.0]
    values = values / values.sum()
    return max(float(np.exp(-(values * np.log(values)).sum())), 1.0)
