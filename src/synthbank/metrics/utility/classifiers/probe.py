"""Logistic regression on frozen features, for a laboratory that trusts a pretrained network more than its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from typing_extensions import override

from synthbank.metrics._checks import Features, Floats, Labels, Mask
from synthbank.metrics.utility.affine import augment_batch
from synthbank.metrics.utility.classifiers._base import Classifier, Embed, Predictor, TrainingSet, classifiers
from synthbank.records import UInt8Images


@dataclass(frozen=True)
class ProbeConfig:
    """Regularisation and augmentation, the same for every regime."""

    strengths: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    """Inverse regularisation C to choose from, for features of unit variance."""
    folds: int = 3
    """Of the inner cross-validation that chooses C."""
    copies: int = 4
    """Augmented copies of each original where a regime augments; features are computed once, so copies come before."""


class LinearProbe(Classifier):
    """The classifier "probe". C is chosen by cross-validation over the groups of the training originals (over the
    synthetic images where there is no original), by weighted log-loss; test images are never looked at."""

    def __init__(self, embed: Embed, config: ProbeConfig | None = None) -> None:
        self._embed, self.config = embed, config or ProbeConfig()

    @override
    def fit(self, train: TrainingSet, *, seed: int) -> Predictor:
        train = _with_copies(train, self.config.copies, seed)
        features = self._embed(train.images).astype(np.float64)
        centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        # all following fits run in the row space of the features, hundreds of dimensions instead of over a thousand
        basis, rotated = _row_space((features - centre) / spread)
        strength = self._strength(rotated, train, seed)
        model = _fit(rotated, train.labels, train.weights, strength)

        def predict(images: UInt8Images) -> Floats:
            scaled = (self._embed(images).astype(np.float64) - centre) / spread
            return _probabilities(model, scaled @ basis, train.n_classes)

        return predict

    def _strength(self, features: Features, train: TrainingSet, seed: int) -> float:
        folds = _inner_folds(train, self.config.folds, seed)
        if not folds:
            return self.config.strengths[len(self.config.strengths) // 2]
        losses = [self._loss(features, train, strength, folds) for strength in self.config.strengths]
        return self.config.strengths[int(np.argmin(losses))]

    def _loss(self, features: Features, train: TrainingSet, strength: float, folds: Sequence[Mask]) -> float:
        """Weighted log-loss over the validation folds; each fold is a mask `[N]`, true where validated."""
        total = 0.0
        for validation in folds:
            model = _fit(features[~validation], train.labels[~validation], train.weights[~validation], strength)
            predicted = _probabilities(model, features[validation], train.n_classes)
            own = predicted[np.arange(len(predicted)), train.labels[validation]]
            # a label with probability zero would cost infinitely much
            total -= float((train.weights[validation] * np.log(np.maximum(own, 1e-12))).sum())
        return total


def _with_copies(train: TrainingSet, copies: int, seed: int) -> TrainingSet:
    """The set with augmented copies of its originals, each carrying an equal part of its original's weight.

    Synthetic images get none: there are many of them, each is new, and features of copies would cost the most time.
    """
    own = np.flatnonzero(train.real)
    if train.affine is None or not len(own):
        return train
    rng = torch.Generator().manual_seed(seed)
    originals = torch.from_numpy(train.images[own]).float()
    drawn = [augment_batch(originals, train.affine, rng) for _ in range(copies)]
    # original i and its copies have the same label and group and an equal part of its weight: no class gains weight
    parent = np.concatenate([np.arange(len(train.labels)), np.tile(own, copies)])
    shared = np.where(train.real, train.weights / (copies + 1), train.weights)
    moved = torch.cat(drawn).round_().clamp_(0, 255).to(torch.uint8).numpy()
    return replace(
        train,
        images=np.concatenate([train.images, moved]),
        labels=train.labels[parent],
        weights=shared[parent],
        groups=train.groups[parent],
    )


def _inner_folds(train: TrainingSet, n_folds: int, seed: int) -> list[Mask]:
    """Validation folds that keep groups whole; originals alone are validated where there are any.

    Returns:
        One mask `[N]` a fold, true where validated. Empty where some class has one group alone, which cannot serve both
        training and validation.
    """
    usable = np.flatnonzero(train.real) if train.real.any() else np.arange(len(train.labels))
    groups = train.groups[usable] if train.real.any() else usable
    smallest = min(len(np.unique(groups[train.labels[usable] == c])) for c in np.unique(train.labels[usable]))
    n_folds = min(n_folds, smallest)
    if n_folds < 2:
        return []
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed % 2**32)
    folds = []
    for _, validation_index in splitter.split(usable, train.labels[usable], groups):
        mask = np.zeros(len(train.labels), np.bool_)
        mask[usable[validation_index]] = True
        if len(np.unique(train.labels[~mask])) == len(np.unique(train.labels)):
            folds.append(mask)
    return folds


def _row_space(features: Features) -> tuple[Features, Features]:
    """Basis `[D, R]` of the rows of features `[N, D]`, and the rows in it, `[N, R]`."""
    # under an L2 penalty the weights lie in the span of the training rows: restricting them to it loses nothing
    if len(features) >= features.shape[1]:
        return np.eye(features.shape[1]), features
    _, _, rows = np.linalg.svd(features, full_matrices=False)
    return rows.T, features @ rows.T


def _fit(features: Features, labels: Labels, weights: Floats, strength: float) -> LogisticRegression:
    """Fit a logistic regression with weights of mean one."""
    # scikit-learn adds up weighted losses: weights of mean one keep C on the scale of an unweighted fit
    model = LogisticRegression(C=strength, max_iter=2000, tol=1e-3)
    return model.fit(features, labels, sample_weight=weights * len(labels) / math.fsum(weights))


def _probabilities(model: LogisticRegression, features: Features, n_classes: int) -> Floats:
    """`[N, n_classes]`; a class that was not in training gets probability 0."""
    full = np.zeros((len(features), n_classes))
    full[:, model.classes_] = model.predict_proba(features)
    return full


@classifiers.register("probe", needs_features=True, citation="Alain and Bengio 2016, arXiv 1610.01644")
def probe(embed: Embed) -> Classifier:
    """A linear probe on frozen features."""
    return LinearProbe(embed)
