"""The gate between a generator and the bank: copies of originals and near-blank images do not pass.

A published model carries the gate's reference (features and pixel hashes of its training originals), so screening
needs no data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synthbank.errors import IntegrityError, OptionError
from synthbank.fingerprint import pixel_sha256
from synthbank.models import batched, load_feature_network, load_tensors, read_header, save_tensors
from synthbank.records import LabelledImages, UInt8Images, Verdicts

NETWORK = "lite0"
_COPY_QUANTILE = 0.01
_FLOOR_SHARE = 0.1
_ALONE_SHARE = 0.02
_BLANK_SHARE = 0.25


@dataclass(frozen=True)
class GateThresholds:
    """The limits a gate was calibrated with."""

    copy_distance: float
    """Feature distance to the nearest original below which an image is a near copy: the 1st percentile of the
    distances between each original and its nearest other original, but no less than a tenth of their median, so that
    a pair of near-duplicate originals does not open the gate."""
    blank_deviation: float
    """Grey-level standard deviation below which an image is near-blank: a quarter of the least varied original's,
    at most 4 grey levels."""


class Gate:
    """Says of every synthetic image whether it may enter the accepted set, and why not.

    Args:
        features: of the eight symmetries of the training originals, float16 `[8 M, D]`, symmetry by symmetry.
        hashes: pixel SHA-256 of each, same order; these are also the originals' names in the catalogue.
        thresholds: see `GateThresholds`.
        size: image side the features were computed at.
    """

    def __init__(
        self, features: NDArray[np.float16], hashes: Sequence[str], thresholds: GateThresholds, *, size: int
    ) -> None:
        self.features, self.hashes, self.thresholds, self.size = features, tuple(hashes), thresholds, size
        self._known = {h: i for i, h in enumerate(self.hashes)}

    def judge(self, images: UInt8Images) -> Verdicts:
        """Screen images `[N, C, H, W]` uint8: exact copies, near copies, near-blank ones.

        Distances are Euclidean, between Lite0 features; flipped and rotated copies count as copies.
        """
        distance, nearest = self._nearest(images)
        reasons: list[str | None] = []
        for i, image in enumerate(images):
            reason = self._reason(image, float(distance[i]))
            if reason == "exact_copy":
                nearest[i], distance[i] = self._known[pixel_sha256(image)], 0.0
            reasons.append(reason)
        accepted = np.array([r is None for r in reasons], np.bool_)
        return Verdicts(accepted, tuple(reasons), nearest, distance.astype(np.float32))

    def to_bytes(self) -> bytes:
        """A safetensors file that `load_gate` reads."""
        header = {"hashes": list(self.hashes), "size": self.size, "network": NETWORK, **asdict(self.thresholds)}
        return save_tensors({"features": torch.from_numpy(self.features)}, header=header)

    def _reason(self, image: NDArray[np.uint8], distance: float) -> str | None:
        if image.std() < self.thresholds.blank_deviation:
            return "near_blank"
        if pixel_sha256(image) in self._known:
            return "exact_copy"
        return "near_copy" if distance < self.thresholds.copy_distance else None

    def _nearest(self, images: UInt8Images) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        distance = _distances(_embed(images), self.features)  # [N, 8 M]
        row = distance.argmin(axis=1)
        return distance[np.arange(len(images)), row], row % len(self.hashes)


def build_gate(originals: LabelledImages) -> Gate:
    """Calibrate a gate on the training originals (`ids` are their pixel hashes)."""
    if not len(originals) or len(originals.ids) != len(originals):
        raise OptionError("A gate needs training originals with their hashes", got=f"{len(originals)} images")
    features = np.concatenate([_embed(view) for view in _symmetries(originals.images)]).astype(np.float16)
    deviations = originals.images.reshape(len(originals), -1).std(axis=1)
    thresholds = GateThresholds(
        copy_distance=_copy_distance(features, len(originals)),
        blank_deviation=min(4.0, _BLANK_SHARE * float(deviations.min())),
    )
    return Gate(features, originals.ids, thresholds, size=originals.images.shape[-1])


def load_gate(data: bytes, *, sha256: str | None = None) -> Gate:
    """A gate from the bytes of `screen.safetensors`."""
    tensors, header = load_tensors(data, sha256=sha256), read_header(data)
    if header.get("network") != NETWORK:
        raise IntegrityError("The gate uses another feature network", got=header.get("network"), allowed=NETWORK)
    thresholds = GateThresholds(header["copy_distance"], header["blank_deviation"])
    return Gate(tensors["features"].numpy(), header["hashes"], thresholds, size=header["size"])


def _copy_distance(features: NDArray[np.float16], n: int) -> float:
    """1st percentile of the distance from each original to the nearest symmetry of another original, with a floor.

    Without another original to compare with, a fiftieth of the features' length: a turned copy lies a thousandth off.
    """
    distance = _distances(features[:n], features)
    own = np.arange(n)
    for first in range(0, 8 * n, n):
        distance[own, first + own] = np.inf
    nearest = distance.min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    median = float(np.median(nearest)) if len(nearest) else 0.0
    if median == 0.0:
        return _ALONE_SHARE * float(np.median(np.linalg.norm(features.astype(np.float64), axis=1)))
    return max(float(np.quantile(nearest, _COPY_QUANTILE)), _FLOOR_SHARE * median)


def _embed(images: UInt8Images) -> NDArray[np.float32]:
    return load_feature_network(NETWORK).embed(batched(images))


def _symmetries(images: UInt8Images) -> list[UInt8Images]:
    """The eight symmetries of the square, each over all images."""
    turned = [np.rot90(images, k, axes=(2, 3)) for k in range(4)]
    return [np.ascontiguousarray(v) for t in turned for v in (t, t[..., ::-1])]


def _distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    distance: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0.0))
    return distance
