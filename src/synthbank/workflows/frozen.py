"""Frozen features that several steps ask for, each image embedded once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import pixel_sha256
from synthbank.models import batched, load_feature_network, scoring_size
from synthbank.records import UInt8Images


class Embedder:
    """Images `[N, C, H, W]` uint8 to features `[N, D]` float32 of one frozen network; keeps what it computed.

    Args:
        network: registered feature network.
        limit: features kept, the oldest leave first.
    """

    def __init__(self, network: str, *, limit: int = 50_000) -> None:
        self.network, self._limit = network, limit
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, images: UInt8Images) -> NDArray[np.float32]:
        """Features in the order given; equal pixels are embedded once."""
        hashes = [pixel_sha256(image) for image in images]
        first = {h: i for i, h in reversed(list(enumerate(hashes))) if h not in self._known}
        if first:
            new = images[list(first.values())]
            found = load_feature_network(self.network).embed(batched(new), input_size=scoring_size(images.shape[-1]))
            self._known |= dict(zip(first, found, strict=True))
        out = np.stack([self._known[h] for h in hashes]) if hashes else self._empty()
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
        return out

    def _empty(self) -> NDArray[np.float32]:
        return np.zeros((0, load_feature_network(self.network).dim), np.float32)
