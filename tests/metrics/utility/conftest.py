"""Small labelled sets whose classes differ by a bright square's place, and features that a linear model can use."""

import numpy as np
import pytest

from synthbank.metrics.utility import Fold
from synthbank.records import LabelledImages

NAMES = ("left", "right", "middle")


def squares(n, *, seed, noise=40, wrong=0.0, classes=2):
    """`n` images of each class, 16 pixels; a share `wrong` carries the next class's label."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), n)
    images = rng.normal(90, noise, (len(labels), 3, 16, 16))
    for image, label in zip(images, labels, strict=True):
        column = (1, 10, 6)[label] + rng.integers(0, 2)
        image[:, 5:11, column : column + 4] += 70
    flipped = rng.random(len(labels)) < wrong
    given = np.where(flipped, (labels + 1) % classes, labels)
    return LabelledImages(np.clip(images, 0, 255).astype(np.uint8), given, NAMES[:classes])


def column_means(images):
    """Features: the mean of each column, `[N, 16]`."""
    return images.mean(axis=(1, 2)).astype(np.float32)


def make_fold(*, n_train=4, n_test=30, n_synthetic=60, wrong=0.0, seed=0, noise=40, classes=2):
    train = squares(n_train, seed=seed, noise=noise, classes=classes)
    test = squares(n_test, seed=seed + 1, noise=noise, classes=classes)
    synthetic = squares(n_synthetic, seed=seed + 2, noise=noise, wrong=wrong, classes=classes)
    groups = np.arange(len(train) + len(test))
    return Fold(train, groups[: len(train)], test, groups[len(train) :] // 2 * 2 + 10_000, synthetic)


@pytest.fixture
def fold():
    return make_fold()
