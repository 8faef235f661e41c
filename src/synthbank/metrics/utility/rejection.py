"""Rejection sampling: keep synthetic images so that those kept occur as often as their like among the originals.

Source: Azadi et al. 2019, "Discriminator rejection sampling", arXiv 1810.06758, section 3.
Deviates: the density ratio comes from a linear classifier on frozen features instead of the trained discriminator, so
that it serves every architecture; the limit of each class follows from the share to keep instead of the largest ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from synthbank.errors import OptionError
from synthbank.metrics.utility.classifiers import balanced_weights
from synthbank.metrics.utility.selection import check_share

Floats = NDArray[np.float64]
_AXES = 64
"""Principal components that the classifier sees; a few hundred originals bear no more."""
_LEADING_DEVIATION = 3.0
"""Standard deviation that the first component is scaled to: how strong the penalty on the others is in comparison."""
_STRENGTH = 100.0
"""Inverse regularisation, for a loss that is a mean over images."""


@dataclass(frozen=True)
class DensityRatio:
    """How much more often images like this one occur among originals than among synthetic images."""

    centre: Floats
    """`[D]`"""
    axes: Floats
    """`[D, P]`, scaled principal components."""
    weights: Floats
    """`[P]`"""
    bias: float
    always: Floats | None = None
    """`[K]`, logarithm of the ratio from which on an image of the class is always kept; `None`: not calibrated yet."""

    @classmethod
    def fit(
        cls,
        *,
        real: NDArray[Any],
        real_labels: NDArray[np.int64],
        fake: NDArray[Any],
        fake_labels: NDArray[np.int64],
    ) -> DensityRatio:
        """Learn to tell synthetic images from training originals; every class counts the same on either side.

        Args:
            real: `[N, D]`.
            real_labels: `[N]`, classes 0 .. K - 1.
            fake: `[M, D]`, drawn from the model without any selection.
            fake_labels: `[M]`, the same classes.

        Raises:
            OptionError: the two sides do not hold the same classes.
        """
        if not len(real) or set(real_labels.tolist()) != set(fake_labels.tolist()):
            raise OptionError(
                "Matching needs originals and synthetic images of the same classes",
                got=f"{sorted(set(real_labels.tolist()))} and {sorted(set(fake_labels.tolist()))}",
            )
        x = np.concatenate([real, fake]).astype(np.float64)
        centre = x.mean(axis=0)
        _, singular, directions = np.linalg.svd(x - centre, full_matrices=False)
        axes = directions[:_AXES].T * (_LEADING_DEVIATION * np.sqrt(len(x)) / max(float(singular[0]), 1e-12))
        is_real = np.repeat([True, False], [len(real), len(fake)])
        counts = balanced_weights(np.concatenate([real_labels, fake_labels]), is_real)
        model = LogisticRegression(C=_STRENGTH, max_iter=2000).fit((x - centre) @ axes, is_real, counts)
        return cls(centre, axes, model.coef_[0].astype(np.float64), float(model.intercept_[0]))

    def log_ratio(self, features: NDArray[Any]) -> Floats:
        """Logarithm of the ratio of densities, originals over synthetic images, `[N]` for features `[N, D]`."""
        out: Floats = (np.asarray(features, np.float64) - self.centre) @ self.axes @ self.weights + self.bias
        return out

    def calibrated(self, features: NDArray[Any], labels: NDArray[np.int64], share: float) -> DensityRatio:
        """With limits such that about `share` of each class's images of this sample are kept.

        Args:
            features: `[N, D]`, of images as the generator makes them, best others than those of `fit`.
            labels: `[N]`, every class at least once.
            share: 0 to 1.

        Raises:
            OptionError: a share outside 0..1, or a class without an image.
        """
        check_share(share)
        counts = np.bincount(labels)
        if not counts.all():
            raise OptionError("A class has no image to calibrate matching with", got=counts.tolist())
        ratios = self.log_ratio(features)
        return replace(self, always=np.array([_limit(ratios[labels == c], share) for c in range(len(counts))]))

    def chance(self, log_ratio: Floats, labels: NDArray[np.int64]) -> Floats:
        """Probability `[N]` that images with these ratios `[N]` are kept."""
        assert self.always is not None, "calibrate first"
        return np.exp(np.minimum(log_ratio - self.always[labels], 0.0))


def _limit(log_ratio: Floats, share: float) -> float:
    """The limit at which the mean chance is `share`."""

    def excess(limit: float) -> float:
        return float(np.exp(np.minimum(log_ratio - limit, 0.0)).mean()) - share

    # all are kept at the lowest ratio; at the other end not even the likeliest has that chance
    return float(brentq(excess, log_ratio.min(), log_ratio.max() - np.log(share) + 1.0))
