"""The gate between a generator and the bank: copies of originals and near-blank images do not pass.

A published model carries the gate's reference (small pictures and pixel hashes of its training originals), so screening
needs no data set. Do not give that file to anyone who may not see the originals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import pixel_sha256
from synthbank.records import UInt8Images, Verdicts

_BLANK_SHARE, _MOST_BLANK = 0.25, 4.0


@dataclass(frozen=True)
class GateThresholds:
    """The limits a gate was calibrated with."""

    copy_distance: float
    """Distance to the nearest original below which an image is a near copy."""
    blank_deviation: float
    """Grey-level standard deviation below which an image is near-blank: a quarter of the least varied original's,
    at most 4 grey levels."""


class Gate(ABC):
    """Screens synthetic images: each is accepted, or rejected with a reason.

    Args:
        hashes: pixel SHA-256 of each original; these are also the originals' names in the catalogue.
        thresholds: calibrated limits.
        size: side of the originals.
    """

    cannot_tell: tuple[str, ...] = ()
    """Classes in which copies and new images cannot be told apart, as measured by the calibration."""

    def __init__(self, hashes: Sequence[str], thresholds: GateThresholds, *, size: int) -> None:
        self.hashes, self.thresholds, self.size = tuple(hashes), thresholds, size
        self._known = {h: i for i, h in enumerate(self.hashes)}

    def screen(self, images: UInt8Images, labels: NDArray[np.int64] | None = None) -> Verdicts:
        """Screen images: exact copies, near copies, near-blank ones.

        Args:
            images: `[N, C, H, W]`, uint8.
            labels: `[N]`, class of each, whose limits apply; `None`: the class of the original it resembles most.

        Returns:
            Verdicts, with distances from 0 (the same picture) to 1 (unrelated).
        """
        assert labels is None or len(labels) == len(images)
        distance, nearest = self._nearest(images, labels)
        reasons: list[str | None] = []
        for i, image in enumerate(images):
            reason = self._reason(image, float(distance[i]))
            if reason == "exact_copy":
                # among originals that differ in colour alone, the hash names the right one
                nearest[i], distance[i] = self._known[pixel_sha256(image)], 0.0
            reasons.append(reason)
        accepted = np.array([r is None for r in reasons], np.bool_)
        return Verdicts(accepted, tuple(reasons), nearest, distance.astype(np.float32))

    def with_thresholds(self, thresholds: GateThresholds) -> Self:
        """The same gate with other limits."""
        other = copy(self)
        other.thresholds = thresholds
        return other

    @abstractmethod
    def to_bytes(self, *, eight_bits: bool = False) -> bytes:
        """A safetensors file that `load_gate` reads; `eight_bits` stores a smaller one where a form has two."""

    @abstractmethod
    def _nearest(
        self, images: UInt8Images, labels: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distance `[N]`, 0..1, and position `[N]` of the nearest original."""

    def _reason(self, image: NDArray[np.uint8], distance: float) -> str | None:
        # blank comes first: the descriptor of a flat image is noise, and its distance says nothing
        if image.std() < self.thresholds.blank_deviation:
            return "near_blank"
        if pixel_sha256(image) in self._known:
            return "exact_copy"
        return "near_copy" if distance < self.thresholds.copy_distance else None


def blank_deviation(originals: UInt8Images) -> float:
    """The limit of `GateThresholds.blank_deviation` for originals `[M, C, S, S]`."""
    deviations = originals.reshape(len(originals), -1).std(axis=1)
    return min(_MOST_BLANK, _BLANK_SHARE * float(deviations.min()))
