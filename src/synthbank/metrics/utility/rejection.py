"""Rejection sampling: keep synthetic images so that those kept occur as often as their like among the originals.

A classifier that tells originals from synthetic images holds the ratio of their densities, p_real / p_fake. An image is
kept with probability min(1, ratio / limit). The kept set then has the density min(p_fake, p_real / limit), which is in
proportion to p_real wherever the ratio lies below the limit.

Source: Azadi et al. 2019, "Discriminator rejection sampling", arXiv 1810.06758, section 3.
Deviates: the density ratio comes from a linear classifier on frozen features instead of the trained discriminator, so
that it serves every architecture; the limit of each class follows from the share to keep instead of the largest ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from synthbank.errors import OptionError
from synthbank.metrics._checks import Floats, Labels, RawFeatures
from synthbank.metrics.utility.classifiers import balanced_weights
from synthbank.metrics.utility.selection import check_share

_AXES = 64
"""Principal components that the classifier sees; a few hundred originals bear no more."""
_LEADING_DEVIATION = 3.0
"""Standard deviation that the first component is scaled to: how strong the penalty on the others is in comparison."""
_STRENGTH = 100.0
"""Inverse regularisation, for a loss that is a mean over images."""


@dataclass(frozen=True)
class DensityRatio:
    """Estimated ratio of densities, originals over synthetic images, and the limits of rejection sampling."""

    centre: Floats
    """`[D]`, mean of the features of both sides."""
    axes: Floats
    """`[D, P]`, scaled principal components."""
    weights: Floats
    """`[P]`, of the classifier on these components."""
    bias: float
    """Of the classifier."""
    log_limit: Floats | None = None
    """`[K]`, logarithm of the ratio from which on an image of the class is always kept; `None`: not calibrated yet."""

    @classmethod
    def fit(
        cls,
        *,
        real: RawFeatures,
        real_labels: Labels,
        fake: RawFeatures,
        fake_labels: Labels,
    ) -> DensityRatio:
        """Fit a classifier of originals against synthetic images; every class counts the same on either side.

        Args:
            real: `[N, D]`, training originals.
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
        # principal components from an SVD of the centred features; all are scaled alike, so that the penalty on
        # the weights bears least on the directions that vary most
        centre = x.mean(axis=0)
        _, singular, directions = np.linalg.svd(x - centre, full_matrices=False)
        axes = directions[:_AXES].T * (_LEADING_DEVIATION * np.sqrt(len(x)) / max(float(singular[0]), 1e-12))
        is_real = np.repeat([True, False], [len(real), len(fake)])
        # equal weight of both sides makes the prior odds 1: the logit then is the log ratio of the densities itself
        counts = balanced_weights(np.concatenate([real_labels, fake_labels]), is_real)
        model = LogisticRegression(C=_STRENGTH, max_iter=2000).fit((x - centre) @ axes, is_real, counts)
        return cls(centre, axes, model.coef_[0].astype(np.float64), float(model.intercept_[0]))

    def log_ratio(self, features: RawFeatures) -> Floats:
        """Natural logarithm of the ratio of densities, originals over synthetic images.

        Args:
            features: `[N, D]`.

        Returns:
            `[N]`; above 0 where images of the kind are rarer among the synthetic ones.
        """
        out: Floats = (np.asarray(features, np.float64) - self.centre) @ self.axes @ self.weights + self.bias
        return out

    def calibrate(self, features: RawFeatures, labels: Labels, share: float) -> DensityRatio:
        """Return a copy with limits such that about `share` of each class's images of this sample are kept.

        Args:
            features: `[N, D]`, of images as the generator makes them, best others than those of `fit`.
            labels: `[N]`, every class at least once.
            share: between 0 and 1.

        Raises:
            OptionError: a share outside 0..1, or a class without an image.
        """
        check_share(share)
        counts = np.bincount(labels)
        if not counts.all():
            raise OptionError("A class has no image to calibrate matching with", got=counts.tolist())
        ratios = self.log_ratio(features)
        return replace(self, log_limit=np.array([_limit(ratios[labels == c], share) for c in range(len(counts))]))

    def acceptance_probability(self, log_ratio: Floats, labels: Labels) -> Floats:
        """Probability `[N]`, 0..1, that images with these log ratios `[N]` and labels `[N]` are kept."""
        assert self.log_limit is not None, "calibrate first"
        # acceptance of rejection sampling, min(1, ratio / limit), in logarithms
        return np.exp(np.minimum(log_ratio - self.log_limit[labels], 0.0))


def _limit(log_ratio: Floats, share: float) -> float:
    """Logarithm of the limit at which the mean probability of log ratios `[N]` is `share`."""

    def excess(limit: float) -> float:
        return float(np.exp(np.minimum(log_ratio - limit, 0.0)).mean()) - share

    # all are kept at the lowest ratio; at the other end not even the likeliest has that chance
    return float(brentq(excess, log_ratio.min(), log_ratio.max() - np.log(share) + 1.0))
