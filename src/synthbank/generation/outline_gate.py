"""The gate of earlier models: descriptors of whole images, compared by correlation (`matching`).

It is read and applied as it was calibrated; new gates are of `aligned_gate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from synthbank.generation.eight_bits import from_eight_bits, to_eight_bits
from synthbank.generation.gate import Gate, GateThresholds
from synthbank.generation.matching import Matcher
from synthbank.models import save_tensors
from synthbank.records import UInt8Images

FORM = "outlines-1"
"""Form of a screen file: tensors in it and how they are compared."""
EIGHT_BIT_FORM = "outlines-1 in 8 bits"
"""The same, with descriptors as of `to_eight_bits`."""


class OutlineGate(Gate):
    """Finds copies that were turned by quarters, mirrored, and moved or cut a little.

    Args:
        views: descriptors of the training originals, float16 `[M, V, 32, 32]`.
        hashes: pixel SHA-256 of each, same order.
        thresholds: calibrated limits; the distance is that of `Matcher.nearest`.
        size: side of the originals.
    """

    def __init__(
        self, views: NDArray[np.float16], hashes: Sequence[str], thresholds: GateThresholds, *, size: int
    ) -> None:
        super().__init__(hashes, thresholds, size=size)
        self.views = views
        self._matcher = Matcher(views)

    @override
    def to_bytes(self, *, eight_bits: bool = False) -> bytes:
        form = EIGHT_BIT_FORM if eight_bits else FORM
        header = {"hashes": list(self.hashes), "size": self.size, "form": form, **asdict(self.thresholds)}
        if not eight_bits:
            return save_tensors({"outlines": torch.from_numpy(self.views)}, header=header)
        levels, peaks = (torch.from_numpy(part) for part in to_eight_bits(self.views))
        return save_tensors({"outlines": levels, "peaks": peaks}, header=header)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], header: dict[str, Any]) -> OutlineGate:
        """From what `to_bytes` wrote, in either form."""
        views = tensors["outlines"].numpy()
        if header["form"] == EIGHT_BIT_FORM:
            views = from_eight_bits(views, tensors["peaks"].numpy())
        thresholds = GateThresholds(header["copy_distance"], header["blank_deviation"])
        return cls(views, header["hashes"], thresholds, size=header["size"])

    @override
    def _nearest(
        self, images: UInt8Images, labels: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return self._matcher.nearest(images)
