"""Images of a report: samples of each class, and synthetic images beside their nearest training originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthbank.catalogue import DatasetRow, ImageRow, OriginalRow
from synthbank.models import SCORING_NETWORK
from synthbank.records import LabelledImages, Split, UInt8Images
from synthbank.reports import ClassSample, NearestPart, Pair
from synthbank.storage import decode_png
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.features import Embedder, feature_cache

_IN_SAMPLES = 96
"""Synthetic images beside real ones, all classes together."""
_OF_CLASS = 12
"""The same, of one class."""
_CLOSEST = 8
_GATE_DISTANCE = (
    "how unlike their descriptors are where they are laid over each other best (0 is the same, 1 is unrelated); "
    "turned, mirrored, moved, cut and recoloured originals count as well"
)


@dataclass(frozen=True)
class ImageRows:
    """Catalogue rows of the images that a report draws on."""

    class_names: tuple[str, ...]
    """Of the model."""
    accepted: tuple[ImageRow, ...]
    rejected: tuple[ImageRow, ...]
    originals: tuple[OriginalRow, ...]
    """Of the data set, those left out included; empty: it is not in this bank."""

    def samples(self) -> dict[str, list[ImageRow]]:
        """Class name to the first accepted images of it."""
        n = min(_OF_CLASS, max(4, _IN_SAMPLES // len(self.class_names)))
        return {name: [r for r in self.accepted if r.class_name == name][:n] for name in self.class_names}


@dataclass(frozen=True)
class ReportImages:
    """Pixels that the page shows, with the rows that they belong to."""

    rows: ImageRows
    train: LabelledImages | None
    """Training originals of the model's classes; `None`: the data set is not in this bank."""
    pixels: Mapping[str, UInt8Images]
    """Storage key of a synthetic image to `[C, H, W]`, uint8."""


def read_images(bank: Bank, dataset: DatasetRow | None, rows: ImageRows) -> ReportImages:
    """Load training originals, and the synthetic images of samples and pairs."""
    train = None
    if dataset is not None:
        train = load_split(bank, dataset, Split.TRAIN).images.of_classes(rows.class_names)
    of_classes = [row for of_class in rows.samples().values() for row in of_class]
    keys = dict.fromkeys(row.key for row in (*of_classes, *_closest(rows.accepted), *_closest(rows.rejected)))
    return ReportImages(rows, train, {key: decode_png(bank.store.get(key)) for key in keys})


def class_samples(images: ReportImages) -> tuple[ClassSample, ...]:
    """For each class, accepted synthetic images and as many training originals."""
    samples = []
    for name, rows in images.rows.samples().items():
        synthetic = _stack([images.pixels[row.key] for row in rows])
        real = _stack([])
        if images.train is not None and name in images.train.class_names:
            of_class = images.train.of_class(images.train.class_names.index(name)).images
            real = of_class[: len(synthetic) or _OF_CLASS]
        samples.append(ClassSample(name, real, synthetic))
    return tuple(samples)


def nearest_originals(bank: Bank, images: ReportImages) -> NearestPart | None:
    """Pairs of a synthetic image and its nearest original as the gate measured them.

    Where the gate measured none, the distance is Euclidean between features of the scoring network. An evaluation has
    left these in the bank's cache; without one they are computed, and kept there.
    """
    sampled = [row for of_class in images.rows.samples().values() for row in of_class]
    if any(row.nearest_distance is None for row in sampled):
        return _nearest_by_features(bank, images, sampled)
    return _nearest_by_gate(images, sampled)


def _nearest_by_gate(images: ReportImages, sampled: Sequence[ImageRow]) -> NearestPart:
    original_of = {row.sha256 or "": row for row in images.rows.originals if row.accepted}
    train = images.train
    pixels = {} if train is None else dict(zip(train.ids, train.images, strict=True))

    def pairs(rows: Sequence[ImageRow]) -> tuple[Pair, ...]:
        made = []
        for row in rows:
            original = original_of.get(row.nearest_original or "")
            pair = Pair(
                image_id=row.id,
                class_name=row.class_name,
                synthetic=images.pixels[row.key],
                original=pixels.get(row.nearest_original or ""),
                original_class=original.class_name if original else None,
                distance=row.nearest_distance or 0.0,
                reason=row.reason,
            )
            made.append(pair)
        return _closest_first(made)

    accepted = images.rows.accepted
    distances = tuple(
        (name, np.array([r.nearest_distance for r in accepted if r.class_name == name], np.float64))
        for name in images.rows.class_names
    )
    return NearestPart(
        _GATE_DISTANCE, pairs(sampled), pairs(_closest(accepted)), pairs(_closest(images.rows.rejected)), distances
    )


def _nearest_by_features(bank: Bank, images: ReportImages, sampled: Sequence[ImageRow]) -> NearestPart | None:
    train = images.train
    if train is None or not len(train) or not sampled:
        return None
    embed = Embedder(SCORING_NETWORK, cache=feature_cache(bank))
    synthetic = _stack([images.pixels[row.key] for row in sampled])
    real, fake = embed(train.images), embed(synthetic)
    # row by row, as all differences at once would take [synthetic, original, dim] floats
    distance = np.stack([np.linalg.norm(real - one, axis=1) for one in fake])  # [synthetic, original]
    nearest = distance.argmin(axis=1)
    pairs = [
        Pair(
            image_id=row.id,
            class_name=row.class_name,
            synthetic=synthetic[i],
            original=train.images[k],
            original_class=train.class_names[train.labels[k]],
            distance=float(distance[i, k]),
        )
        for i, (row, k) in enumerate(zip(sampled, nearest, strict=True))
    ]
    return NearestPart(f"distance between {SCORING_NETWORK} features", _closest_first(pairs), (), (), ())


def _closest(rows: Sequence[ImageRow]) -> list[ImageRow]:
    measured = [row for row in rows if row.nearest_distance is not None]
    return sorted(measured, key=lambda row: (row.nearest_distance, row.id))[:_CLOSEST]


def _closest_first(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: (pair.distance, pair.image_id)))


def _stack(images: Sequence[UInt8Images]) -> UInt8Images:
    return np.stack(images) if images else np.zeros((0, 1, 1, 1), np.uint8)
