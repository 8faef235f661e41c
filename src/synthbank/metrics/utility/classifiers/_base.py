"""Interface and registry of the diagnostic classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.metrics._checks import Floats, Labels, Mask
from synthbank.metrics.utility.affine import AffineDraws
from synthbank.records import UInt8Images
from synthbank.registry import Registry

Embed = Callable[[UInt8Images], NDArray[np.float32]]
"""Images `[N, C, H, W]` uint8 to frozen features `[N, D]`; the caller chooses the network and may remember."""
Predictor = Callable[[UInt8Images], Floats]
"""Images `[N, C, H, W]` uint8 to class probabilities `[N, K]`, float64, rows add up to one."""


@dataclass(frozen=True)
class TrainingSet:
    """Images that a classifier is trained on."""

    images: UInt8Images
    """`[N, C, H, W]`, uint8, 0..255."""
    labels: Labels
    """`[N]`, int64, 0 .. n_classes - 1."""
    weights: Floats
    """`[N]`, how often an image is drawn (or counts), adding up to one; of `balanced_weights`."""
    groups: Labels
    """`[N]`, patient or slide of a real image; -1 for a synthetic one."""
    n_classes: int
    affine: AffineDraws | None = None
    """Classical augmentation; `None`: images as they are."""

    @property
    def real(self) -> Mask:
        """Originals, `[N]`."""
        return self.groups >= 0


class Classifier(Protocol):
    """Diagnostic classifier; the same training set and seed give the same predictor."""

    def fit(self, train: TrainingSet, *, seed: int) -> Predictor:
        """Train from scratch.

        Args:
            train: images, labels and weights.
            seed: of every random choice, 0 .. 2^31 - 1.
        """


def balanced_weights(labels: Labels, real: Mask) -> Floats:
    """Compute weights with which classes count equally, and in each class originals as much as synthetic images.

    So no regime gains by balance alone, and eight originals of a rare class are not outweighed by a thousand synthetic
    images of it.

    Args:
        labels: `[N]`, int64.
        real: `[N]`, true for originals.

    Returns:
        `[N]`, float64, adding up to one.

    >>> balanced_weights(np.array([0, 0, 1]), np.array([True, True, True])).tolist()
    [0.25, 0.25, 0.5]
    """
    kinds = 2 * labels + real
    _, inverse, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    of_class = np.array([len(np.unique(kinds[labels == label])) for label in labels])
    # 1 / (images of the same class and kind * kinds in the class * classes)
    weights: Floats = 1.0 / (counts[inverse] * of_class * len(np.unique(labels)))
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSpec:
    """Declared facts of a diagnostic classifier."""

    citation: str
    """Paper."""
    needs_features: bool = False
    """It looks at frozen features; `False`: at pixels alone."""

    def __post_init__(self) -> None:
        if not self.citation:
            raise OptionError("A classifier needs a citation", got=self)


classifiers: Registry[Callable[[Embed], Classifier], ClassifierSpec] = Registry(
    "classifier",
    ClassifierSpec,
    package="synthbank.metrics.utility.classifiers",
    entry_point_group="synthbank.classifiers",
)
