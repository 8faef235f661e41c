"""The gate of today: images are aligned with the originals that they may be copies of, and scored.

`shortlist` proposes originals, `alignment` lays the image over them, `calibration` weighs how alike they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from synthbank.errors import OptionError
from synthbank.generation.calibration import Calibration, calibrate
from synthbank.generation.copy_finder import CopyFinder
from synthbank.generation.descriptors import Descriptors
from synthbank.generation.gate import Gate, GateThresholds, blank_deviation
from synthbank.models import save_tensors
from synthbank.records import LabelledImages, UInt8Images

FORM = "copies-2"
"""Form of a screen file: tensors in it and how they are compared."""
COPY_DISTANCE = 0.5
"""Distance at which the score of an image equals the limit of its class."""
SEPARATED = 0.8
"""Share of the simulated copies of a class above its limit; below it, copies and new images cannot be told apart."""


class AlignedGate(Gate):
    """Aligns each image with the originals that it may be a copy of.

    Args:
        originals: descriptors, in whole grey levels.
        labels: class of each original, `[M]`.
        class_names: names of the classes.
        hashes: pixel SHA-256 of each original.
        calibration: fitted numbers.
        thresholds: limits.
        size: side of the originals.
    """

    def __init__(
        self,
        originals: Descriptors,
        labels: NDArray[np.int64],
        class_names: tuple[str, ...],
        hashes: Sequence[str],
        calibration: Calibration,
        thresholds: GateThresholds,
        *,
        size: int,
    ) -> None:
        super().__init__(hashes, thresholds, size=size)
        self.originals, self.labels, self.class_names, self.calibration = originals, labels, class_names, calibration
        self.cannot_tell = tuple(
            name for name, share in zip(class_names, calibration.caught, strict=True) if share < SEPARATED
        )

    @override
    def to_bytes(self, *, eight_bits: bool = False) -> bytes:
        grey, colours = self.originals.stored()
        fitted = self.calibration
        header: dict[str, Any] = {
            "form": FORM,
            "hashes": list(self.hashes),
            "size": self.size,
            "copy_distance": self.thresholds.copy_distance,
            "blank_deviation": self.thresholds.blank_deviation,
            "class_names": list(self.class_names),
            "cannot_tell": list(self.cannot_tell),
            "weights": fitted.weights.tolist(),
            "limits": fitted.limits.tolist(),
            "part_limits": fitted.part_limits.tolist(),
            "floors": list(fitted.floors),
            "caught": fitted.caught.tolist(),
        }
        tensors = {
            "grey": grey,
            "colours": colours,
            "labels": torch.from_numpy(self.labels.astype(np.int16)),
            "projection": fitted.projection,
            "centre": fitted.centre,
        }
        return save_tensors(tensors, header=header)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], header: dict[str, Any]) -> AlignedGate:
        """From what `to_bytes` wrote."""
        weights, limits, part_limits, caught = (
            np.array(header[name], np.float64) for name in ("weights", "limits", "part_limits", "caught")
        )
        floors = (header["floors"][0], header["floors"][1])
        calibration = Calibration(
            tensors["projection"], tensors["centre"], weights, limits, part_limits, floors, caught
        )
        return cls(
            Descriptors(tensors["grey"].float(), tensors["colours"].float()),
            tensors["labels"].numpy().astype(np.int64),
            tuple(header["class_names"]),
            header["hashes"],
            calibration,
            GateThresholds(header["copy_distance"], header["blank_deviation"]),
            size=header["size"],
        )

    @cached_property
    def _finder(self) -> CopyFinder:
        # built when first used: the views of the originals take seconds, and many a caller wants the hashes alone
        return CopyFinder(self.originals, self.calibration.projection, self.calibration.centre)

    @override
    def _nearest(
        self, images: UInt8Images, labels: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if not len(images):
            return np.zeros(0), np.zeros(0, np.int64)
        fitted = self.calibration
        compared = self._finder.compare(images, floors=fitted.floors)
        scores = np.nan_to_num(compared.features.double().numpy() @ fitted.weights, nan=-np.inf)
        best, rows = scores.argmax(axis=1), np.arange(len(images))
        aligned = np.isfinite(scores[:, 0])
        similarity, nearest_of_search = compared.similarity.double().numpy(), compared.nearest.numpy()
        nearest = np.where(aligned, compared.original.numpy()[rows, best], nearest_of_search[:, 0])
        of_class = self.labels[nearest] if labels is None else labels
        above = np.where(aligned, scores[rows, best], 0.0) - fitted.limits[of_class]
        distance = np.where(
            aligned, 1 / (1 + np.exp(np.clip(above, -30, 30))), 1 - similarity[:, 0].clip(0, 1) * (1 - COPY_DISTANCE)
        )
        limit = fitted.part_limits[of_class]
        by_part = COPY_DISTANCE * (1 - similarity[:, 2].clip(0, 1)) / (1 - limit)
        put_together = (similarity[:, 2] > limit) & (by_part < distance)
        return np.where(put_together, by_part, distance), np.where(put_together, nearest_of_search[:, 2], nearest)


def build_gate(originals: LabelledImages, *, groups: Sequence[str] | None = None) -> Gate:
    """Calibrate a gate on the training originals.

    Args:
        originals: `ids` are their pixel hashes.
        groups: group of each (patient, slide, field): no original says of its own group how near new images come;
            `None`: each original is a group.
    """
    if not len(originals) or len(originals.ids) != len(originals):
        raise OptionError("A gate needs training originals with their hashes", got=f"{len(originals)} images")
    pictures, calibration = calibrate(originals, groups)
    thresholds = GateThresholds(COPY_DISTANCE, blank_deviation(originals.images))
    return AlignedGate(
        pictures,
        originals.labels,
        originals.class_names,
        originals.ids,
        calibration,
        thresholds,
        size=originals.images.shape[-1],
    )
