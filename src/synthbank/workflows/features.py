"""Feature vectors of images, each computed once: kept in the bank by pixels, network and input size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import pixel_sha256
from synthbank.models import FeatureNetwork
from synthbank.records import UInt8Images
from synthbank.storage import ArrayCache
from synthbank.workflows.bank import Bank

_PREPROCESSING = "bilinear-antialias-1"
"""Changes whenever `to_input` does, so that older vectors are not found any more."""


def cached_features(
    cache: ArrayCache | None, network: FeatureNetwork, batches: Iterable[UInt8Images], *, input_size: int
) -> NDArray[np.float32]:
    """`network.embed`, but images that the cache knows are not computed again.

    Args:
        cache: of the bank; `None`: everything is computed.
        network: frozen.
        batches: `[N, C, H, W]`, uint8.
        input_size: side that images are resized to.

    Returns:
        `[sum N, dim]`, float32, in the order given.
    """
    if cache is None:
        return network.embed(batches, input_size=input_size)
    space = f"{network.name}-{network.fingerprint[:16]}-{input_size}-{_PREPROCESSING}"
    parts = list(_batch_by_batch(cache, space, network, batches, input_size))
    return np.concatenate(parts) if parts else np.zeros((0, network.dim), np.float32)


def feature_cache(bank: Bank) -> ArrayCache:
    """The bank's cache of feature vectors."""
    return ArrayCache(bank.settings.feature_cache)


def clear_features(bank: Bank) -> int:
    """Forget every vector; how many bytes they took."""
    return feature_cache(bank).clear()


def _batch_by_batch(
    cache: ArrayCache, space: str, network: FeatureNetwork, batches: Iterable[UInt8Images], input_size: int
) -> Iterator[NDArray[np.float32]]:
    for batch in batches:
        keys = [pixel_sha256(image) for image in batch]
        known = cache.get(space, keys, length=network.dim)
        missing = {key: i for i, key in enumerate(keys) if key not in known}
        if missing:
            computed = network.embed([batch[list(missing.values())]], input_size=input_size)
            new = dict(zip(missing, computed, strict=True))
            cache.put(space, new)
            known |= new
        yield np.stack([known[key] for key in keys])
