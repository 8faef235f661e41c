"""Feature vectors of images: the one place that runs a feature network, with a memo and the bank's cache before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import pixel_sha256
from synthbank.models import FeatureNetwork, batched, load_feature_network, scoring_size
from synthbank.records import UInt8Images
from synthbank.storage import ArrayCache
from synthbank.workflows.bank import Bank

_PREPROCESSING = "bilinear-antialias-1"
"""Part of the cache's keys; changes whenever `to_input` does, so that older vectors are no longer used."""
_BATCH = 64

Backend = Callable[[FeatureNetwork, Iterable[UInt8Images], int], Iterator[NDArray[np.float32]]]
"""Computes the features of each batch in order, from (network, batches, input size)."""


def embed_batches(
    network: FeatureNetwork, batches: Iterable[UInt8Images], input_size: int
) -> Iterator[NDArray[np.float32]]:
    """Features of each batch, computed in this process when they are asked for.

    Args:
        network: frozen.
        batches: `[N, C, H, W]`, uint8, 0..255.
        input_size: side in pixels that images are resized to.

    Yields:
        `[N, dim]`, float32.
    """
    return (network.embed([batch], input_size=input_size) for batch in batches)


def embed_images(network: str, images: UInt8Images, *, input_size: int | None = None) -> NDArray[np.float32]:
    """Features that depend on these images alone, in batches of 64; nothing is remembered.

    Vectors differ in their last bits with the batch that an image stands in. Training and image selection use this
    function, so that what they choose never depends on what an earlier command left in a cache.

    Args:
        network: name of a registered feature network.
        images: `[N, C, H, W]`, uint8, 0..255.
        input_size: side in pixels; `None`: the size at which images of this size are scored.

    Returns:
        `[N, dim]`, float32, in the order given.
    """
    loaded, side = load_feature_network(network), input_size or scoring_size(images.shape[-1])
    parts = list(embed_batches(loaded, batched(images, _BATCH), side))
    return np.concatenate(parts) if parts else np.zeros((0, loaded.dim), np.float32)


class Embedder:
    """Images to features of one frozen network; equal pixels are computed once.

    A vector is looked for in the memo of this object, then in the bank's cache, and only then computed.

    Args:
        network: frozen, or the name of a registered one, which is loaded when the first vector is missing.
        cache: of the bank; `None`: vectors live as long as this object.
        input_size: side in pixels that images are resized to; `None`: the size at which they are scored.
        backend: computes what is missing, here or elsewhere.
        limit: vectors in the memo; above, the oldest leave first.
    """

    def __init__(
        self,
        network: FeatureNetwork | str,
        *,
        cache: ArrayCache | None = None,
        input_size: int | None = None,
        backend: Backend = embed_batches,
        limit: int = 50_000,
    ) -> None:
        self._network, self._cache, self._input_size = network, cache, input_size
        self._backend, self._limit = backend, limit
        self._memo: dict[str, NDArray[np.float32]] = {}

    @property
    def network(self) -> FeatureNetwork:
        """The frozen network, loaded where only its name was given."""
        if isinstance(self._network, str):
            self._network = load_feature_network(self._network)
        return self._network

    def __call__(self, images: UInt8Images) -> NDArray[np.float32]:
        """Features of images.

        Args:
            images: `[N, C, H, W]`, uint8, 0..255.

        Returns:
            `[N, dim]`, float32, in the order given.
        """
        keys = [pixel_sha256(image) for image in images]
        first: dict[str, int] = {}  # position of the first image with these pixels
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        unknown = {key: i for key, i in first.items() if key not in self._memo}
        if unknown:
            self._fill(images, unknown)
        out = np.stack([self._memo[key] for key in keys]) if keys else np.zeros((0, self.network.dim), np.float32)
        while len(self._memo) > self._limit:
            del self._memo[next(iter(self._memo))]
        return out

    def _fill(self, images: UInt8Images, unknown: dict[str, int]) -> None:
        """Take vectors from the cache, and compute and keep those that it lacks; `unknown` is hash to position."""
        network, side = self.network, self._input_size or scoring_size(images.shape[-1])
        space = ""
        if self._cache is not None:
            space = f"{network.name}-{network.fingerprint[:16]}-{side}-{_PREPROCESSING}"
            self._memo |= self._cache.get(space, list(unknown), length=network.dim)
        missing = [key for key in unknown if key not in self._memo]
        parts = [missing[i : i + _BATCH] for i in range(0, len(missing), _BATCH)]
        batches = (images[[unknown[key] for key in part]] for part in parts)
        for part, features in zip(parts, self._backend(network, batches, side), strict=True):
            new = dict(zip(part, features, strict=True))
            self._memo |= new
            if self._cache is not None:
                self._cache.put(space, new)  # batch by batch, so that an interruption loses one batch


def feature_cache(bank: Bank) -> ArrayCache:
    """The bank's cache of feature vectors."""
    return ArrayCache(bank.settings.feature_cache)


def clear_features(bank: Bank) -> int:
    """Forget every vector; the bytes that they took."""
    return feature_cache(bank).clear()
