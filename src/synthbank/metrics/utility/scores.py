"""Scores of a classifier's predictions, for many weightings of the test images at once.

A bootstrap resample is a vector of weights, how often each image was drawn. All resamples are scored in a few matrix
products instead of one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synthbank.errors import OptionError
from synthbank.metrics._checks import Floats, Labels, Mask

SCORES: Mapping[str, bool] = {"macro-f1": True, "balanced-accuracy": True, "accuracy": True, "auc": True, "ece": False}
"""Overall scores in the order of tables, and whether higher is better; the first leads."""
CLASS_SCORES: Mapping[str, bool] = {"f1": True, "recall": True, "auc": True}
_BINS = 10
"""Bins of confidence of the calibration error."""


def overall_scores(probabilities: Floats, labels: Labels, weights: Floats | None = None) -> dict[str, Floats]:
    """Score predictions over all classes.

    Classes without a test image (or with weight zero everywhere) are left out of the means.

    Args:
        probabilities: `[N, K]`, float64, 0..1.
        labels: `[N]`, int64, 0 .. K - 1.
        weights: `[B, N]`, how often each image counts in each of B resamples; `None`: once each (B = 1).

    Returns:
        Name to `[B]`. All are 0 to 1; higher is better but for "ece", the expected calibration error.
        "auc" is one class against the rest, averaged over classes (Hand and Till's simpler relative).

    Raises:
        OptionError: probabilities that are not finite, no image, or labels that do not fit.

    Source: Guo et al. 2017, arXiv 1706.04599, eq. 3 (calibration error; 10 bins of equal width).
    """
    weights = _weights(probabilities, labels, weights)
    confusion = _confusion(probabilities, labels, weights)
    total = weights.sum(axis=1)
    return {
        "macro-f1": _mean(_f1(confusion)),
        "balanced-accuracy": _mean(_recall(confusion)),
        "accuracy": np.trace(confusion, axis1=1, axis2=2) / total,
        "auc": _mean(_auc(probabilities, labels, weights)),
        "ece": _calibration_error(probabilities, labels, weights) / total,
    }


def class_scores(probabilities: Floats, labels: Labels, weights: Floats | None = None) -> dict[str, Floats]:
    """Score predictions class by class; arguments and errors as of `overall_scores`.

    Returns:
        Name to `[B, K]`, 0 to 1, higher is better; NaN for a class without a test image.
    """
    weights = _weights(probabilities, labels, weights)
    confusion = _confusion(probabilities, labels, weights)
    return {
        "f1": _f1(confusion),
        "recall": _recall(confusion),
        "auc": _auc(probabilities, labels, weights),
    }


def group_weights(groups: Labels, *, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Draw bootstrap weights of images by drawing whole groups with replacement.

    Args:
        groups: `[N]`, int64, the group of each image.
        n_resamples: B.
        rng: draws the groups.

    Returns:
        `[B, N]`, float64, how often each image counts.
    """
    names, place = np.unique(groups, return_inverse=True)
    # G draws with replacement from G groups: how often each is drawn follows a multinomial distribution
    drawn = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=n_resamples)
    weights: Floats = drawn[:, place].astype(np.float64)
    return weights


def _weights(probabilities: Floats, labels: Labels, weights: Floats | None) -> Floats:
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise OptionError(
            "Probabilities and labels do not fit",
            got=f"{probabilities.shape} and {labels.shape}",
            allowed="[N, K], [N]",
        )
    if not np.isfinite(probabilities).all():
        raise OptionError("A classifier gave probabilities that are not finite", next_step="lower its learning rate")
    return np.ones((1, len(labels))) if weights is None else weights


def _confusion(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """`[B, K, K]`: summed weight by true class (rows) and predicted class (columns)."""
    k = probabilities.shape[1]
    # one-hot over the K^2 cells of the matrix, so that one product counts for all resamples
    cell = np.eye(k * k)[labels * k + probabilities.argmax(axis=1)]  # [N, K*K]
    counted: Floats = (weights @ cell).reshape(len(weights), k, k)
    return counted


def _recall(confusion: Floats) -> Floats:
    true = confusion.sum(axis=2)
    return _ratio(np.diagonal(confusion, axis1=1, axis2=2), true)


def _f1(confusion: Floats) -> Floats:
    # F1 = 2 TP / (2 TP + FP + FN), and the row sum and the column sum together are 2 TP + FP + FN
    hit, true, given = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    return np.where(true > 0, _ratio(2.0 * hit, true + given), np.nan)


def _auc(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """`[B, K]`, area under the ROC curve of each class against the rest: the weighted Mann-Whitney statistic."""
    columns = [_rank_statistic(probabilities[:, c], labels == c, weights) for c in range(probabilities.shape[1])]
    return np.stack(columns, axis=1)


def _rank_statistic(score: Floats, positive: Mask, weights: Floats) -> Floats:
    """`[B]`, probability that a positive image has the higher score `[N]`; ties count half."""
    # images with equal scores form one block; reduceat sums the weights of each block
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    ordered = weights[:, order]
    hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
    misses = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses  # [B, blocks], weight of the negatives with lower scores
    return _ratio((hits * (below + 0.5 * misses)).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def _calibration_error(probabilities: Floats, labels: Labels, weights: Floats) -> Floats:
    """`[B]`, weight times the distance between confidence and accuracy, added up over bins of confidence."""
    # eq. 3 of Guo et al., not yet divided by the total weight: sum over bins of |sum of w (confidence - right)|
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.eye(_BINS)[np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)]  # [N, bins]
    gaps: Floats = np.abs(weights @ (bins * (confidence - right)[:, None])).sum(axis=1)
    return gaps


def _ratio(above: Floats, below: Floats) -> Floats:
    """Element by element; NaN where nothing is counted below."""
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return ratio


def _mean(of_classes: Floats) -> Floats:
    """Mean `[B]` of `[B, K]` over the classes that have test images."""
    there = ~np.isnan(of_classes)
    return _ratio(np.where(there, of_classes, 0.0).sum(axis=1), there.sum(axis=1).astype(np.float64))
