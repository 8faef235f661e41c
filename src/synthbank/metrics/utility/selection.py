"""Image selection: keep the synthetic images that a real-trained classifier finds typical of their class.

An image must pass two limits, as in Xue et al.: the confidence of a real-trained classifier in the image's own label,
and the distance to the centre of its class in feature space.

Source: Xue et al. 2021, "Selective synthetic augmentation with HistoGAN for improved histopathology image
classification", Medical Image Analysis 67, 101816.
Deviates: one linear classifier on frozen features instead of Monte-Carlo dropout over a trained network, and one share
for both limits, so that the user gives a single number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from synthbank.errors import OptionError
from synthbank.metrics._checks import Floats, Labels, Mask, RawFeatures

_STRENGTH = 1e-3
"""Inverse regularisation, for features of unit variance; strong, as a few images a class must do."""
_STEPS = 40
"""Halvings of the quantile; 2^-40 is finer than any set of images can tell."""


@dataclass(frozen=True)
class Selector:
    """Linear classifier and class centroids on frozen features, with the limits that an image must pass."""

    centre: Floats
    """`[D]`, mean of the originals."""
    spread: Floats
    """`[D]`, their standard deviation."""
    weights: Floats
    """`[K, D]`, of the linear classifier on standardised features."""
    bias: Floats
    """`[K]`"""
    centroids: Floats
    """`[K, D]`, standardised."""
    radius: Floats
    """`[K]`, mean distance of a class's originals to its centroid; distances are given in these units."""
    least_confidence: Floats | None = None
    """`[K]`, limit of each class; `None`: not calibrated yet."""
    most_distance: Floats | None = None
    """`[K]`, alike."""

    @classmethod
    def fit(cls, features: RawFeatures, labels: Labels) -> Selector:
        """Fit the classifier and the centroids to training originals.

        Args:
            features: `[N, D]`.
            labels: `[N]`, every class 0 .. K - 1 at least once, K >= 2.

        Raises:
            OptionError: one class alone, or a class without an image.
        """
        k = int(labels.max()) + 1 if len(labels) else 0
        counts = np.bincount(labels, minlength=k)
        if k < 2 or not counts.all():
            raise OptionError(
                "Selection needs originals of two or more classes", got=counts.tolist(), allowed="one or more of each"
            )
        x = np.asarray(features, np.float64)
        # 1e-6 keeps the division defined where a feature does not vary among the originals
        centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
        x = (x - centre) / spread
        model = LogisticRegression(C=_STRENGTH, max_iter=2000, tol=1e-3, class_weight="balanced").fit(x, labels)
        weights, bias = _softmax_form(model)
        centroids = np.stack([x[labels == c].mean(axis=0) for c in range(k)])
        own = np.linalg.norm(x - centroids[labels], axis=1)
        # a class of one image lies on its own centroid: the mean radius of all classes takes its place
        typical = float(own.mean()) or 1.0
        radius = np.array([own[labels == c].mean() if counts[c] > 1 else typical for c in range(k)])
        return cls(centre, spread, weights, bias, centroids, radius)

    def score(self, features: RawFeatures, labels: Labels) -> tuple[Floats, Floats]:
        """Score labelled images for being typical of their class.

        Args:
            features: `[N, D]`.
            labels: `[N]`, the class that each image was made for.

        Returns:
            Two arrays `[N]`: the classifier's confidence in the label, 0..1, higher is better; and the distance to the
            centroid of the class, lower is better, where 1 is the mean distance of its originals.
        """
        x = (np.asarray(features, np.float64) - self.centre) / self.spread
        logits = x @ self.weights.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)  # a softmax does not change, and exp does not overflow
        exponentials = np.exp(logits)
        confidence = exponentials[np.arange(len(x)), labels] / exponentials.sum(axis=1)
        distance = np.linalg.norm(x - self.centroids[labels], axis=1) / self.radius[labels]
        return confidence, distance

    def calibrate(self, features: RawFeatures, labels: Labels, share: float) -> Selector:
        """Return a copy with limits that about `share` of each class's images of this sample pass.

        Both limits are equally strict: the same quantile of either score.

        Args:
            features: `[N, D]`, of images as the generator makes them.
            labels: `[N]`, every class at least once.
            share: between 0 and 1.

        Raises:
            OptionError: a share outside 0..1, or a class without an image.
        """
        check_share(share)
        confidence, distance = self.score(features, labels)
        limits = [_limits(confidence[labels == c], distance[labels == c], share) for c in range(len(self.bias))]
        least, most = np.array(limits).T
        return replace(self, least_confidence=least, most_distance=most)

    def accepts(self, features: RawFeatures, labels: Labels) -> Mask:
        """Images that pass both limits, `[N]`; for features `[N, D]` and labels `[N]`."""
        return np.array([reason is None for reason in self.reasons(*self.score(features, labels), labels)], np.bool_)

    def reasons(self, confidence: Floats, distance: Floats, labels: Labels) -> list[str | None]:
        """Reason why each image is left out, for scores `[N]`; `None` where it is kept.

        A reason is "low_confidence" or "far_from_class"; an image that fails both limits has the first.
        """
        assert self.least_confidence is not None, "calibrate first"
        assert self.most_distance is not None, "calibrate first"
        unsure = confidence < self.least_confidence[labels]
        far = distance > self.most_distance[labels]
        return ["low_confidence" if u else "far_from_class" if f else None for u, f in zip(unsure, far, strict=True)]


def check_share(share: float) -> None:
    """Raise `OptionError` unless something is kept of a class and something left out."""
    if not 0.0 < share < 1.0:
        raise OptionError("The share to select is out of range", got=share, allowed="between 0 and 1, such as 0.5")


def _softmax_form(model: LogisticRegression) -> tuple[Floats, Floats]:
    """Weights `[K, D]` and bias `[K]` of a softmax over K classes."""
    weights, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    # of two classes scikit-learn keeps one row w, for sigmoid(w.x + b); softmax over -w / 2 and w / 2 is the same
    if len(weights) == 1:
        return np.concatenate([-weights, weights]) / 2.0, np.concatenate([-bias, bias]) / 2.0
    return weights, bias


def _limits(confidence: Floats, distance: Floats, share: float) -> tuple[float, float]:
    """Least confidence and most distance of one class: one quantile q of both, such that `share` pass both.

    Halving finds q, since fewer images pass the stricter it is.
    """
    if not len(confidence):
        raise OptionError("A class has no image to calibrate selection with", allowed="one or more of each class")
    # a share of 1 - q passes each limit, so at q = 1 - share no more than `share` can pass both
    low, high = 0.0, 1.0 - share
    for _ in range(_STEPS):
        q = (low + high) / 2.0
        least, most = float(np.quantile(confidence, q)), float(np.quantile(distance, 1.0 - q))
        if ((confidence >= least) & (distance <= most)).mean() >= share:
            low = q
        else:
            high = q
    return float(np.quantile(confidence, low)), float(np.quantile(distance, 1.0 - low))
