"""Scores of a classifier's answers, for many reweightings of the test images at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError

SCORES: Mapping[str, bool] = {"macro-f1": True, "balanced-accuracy": True, "accuracy": True, "auc": True, "ece": False}
"""Overall scores in the order of tables, and whether higher is better; the first leads."""
CLASS_SCORES: Mapping[str, bool] = {"f1": True, "recall": True, "auc": True}
_BINS = 10

Floats = NDArray[np.float64]


def overall_scores(
    probabilities: Floats, labels: NDArray[np.int64], weights: Floats | None = None
) -> dict[str, Floats]:
    """Every score over all classes.

    Classes without a test image (or with weight zero everywhere) are left out of the means.

    Args:
        probabilities: `[N, K]`, float64.
        labels: `[N]`, int64.
        weights: `[B, N]`, how often each image counts in each of B resamples; `None`: once each (B = 1).

    Returns:
        Name to `[B]`. All are 0 to 1; higher is better but for "ece", the expected calibration error.
        "auc" is one class against the rest, averaged over classes (Hand and Till's simpler relative).

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


def class_scores(probabilities: Floats, labels: NDArray[np.int64], weights: Floats | None = None) -> dict[str, Floats]:
    """Scores of each class, `[B, K]`; NaN for a class without a test image. Arguments as of `overall_scores`."""
    weights = _weights(probabilities, labels, weights)
    confusion = _confusion(probabilities, labels, weights)
    return {
        "f1": _f1(confusion),
        "recall": _recall(confusion),
        "auc": _auc(probabilities, labels, weights),
    }


def group_weights(groups: NDArray[np.int64], *, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Bootstrap weights `[n_resamples, N]`: whole groups are drawn with replacement, their images go together."""
    names, place = np.unique(groups, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=n_resamples)
    weights: Floats = drawn[:, place].astype(np.float64)
    return weights


def _weights(probabilities: Floats, labels: NDArray[np.int64], weights: Floats | None) -> Floats:
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise OptionError(
            "Probabilities and labels do not fit",
            got=f"{probabilities.shape} and {labels.shape}",
            allowed="[N, K], [N]",
        )
    if not np.isfinite(probabilities).all():
        raise OptionError("A classifier gave probabilities that are not finite", next_step="lower its learning rate")
    return np.ones((1, len(labels))) if weights is None else weights


def _confusion(probabilities: Floats, labels: NDArray[np.int64], weights: Floats) -> Floats:
    """`[B, K, K]`: weight of true class by given answer."""
    k = probabilities.shape[1]
    cell = np.eye(k * k)[labels * k + probabilities.argmax(axis=1)]  # [N, K*K]
    counted: Floats = (weights @ cell).reshape(len(weights), k, k)
    return counted


def _recall(confusion: Floats) -> Floats:
    true = confusion.sum(axis=2)
    return _ratio(np.diagonal(confusion, axis1=1, axis2=2), true)


def _f1(confusion: Floats) -> Floats:
    hit, true, given = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    return np.where(true > 0, _ratio(2.0 * hit, true + given), np.nan)


def _auc(probabilities: Floats, labels: NDArray[np.int64], weights: Floats) -> Floats:
    """Weighted Mann-Whitney statistic of each class against the rest; ties count half."""
    columns = [_rank_statistic(probabilities[:, c], labels == c, weights) for c in range(probabilities.shape[1])]
    return np.stack(columns, axis=1)


def _rank_statistic(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    ordered = weights[:, order]
    hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
    misses = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    return _ratio((hits * (below + 0.5 * misses)).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def _calibration_error(probabilities: Floats, labels: NDArray[np.int64], weights: Floats) -> Floats:
    """Weight times distance between confidence and accuracy, added up over bins of confidence."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.eye(_BINS)[np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)]  # [N, bins]
    gaps: Floats = np.abs(weights @ (bins * (confidence - right)[:, None])).sum(axis=1)
    return gaps


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return ratio


def _mean(of_classes: Floats) -> Floats:
    """Mean over the classes that are there."""
    there = ~np.isnan(of_classes)
    return _ratio(np.where(there, of_classes, 0.0).sum(axis=1), there.sum(axis=1).astype(np.float64))
