"""Feature vectors of images, each computed once: kept in the bank by pixels, network and input size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import pixel_sha256
from synthbank.models import FeatureNetwork
from synthbank.records import UInt8Images
from synthbank.storage import ArrayCache
from synthbank.workflows.bank import Bank

_PREPROCESSING = "bilinear-antialias-1"
"""Changes whenever `to_input` does, so that older vectors are not found any more."""


Embedder = Callable[[FeatureNetwork, Iterable[UInt8Images], int], Iterator[NDArray[np.float32]]]
"""Features of each batch in order, from (network, batches, input size)."""


def embed_here(
    network: FeatureNetwork, batches: Iterable[UInt8Images], input_size: int
) -> Iterator[NDArray[np.float32]]:
    """Features of each batch, computed in this process when they are asked for."""
    return (network.embed([batch], input_size=input_size) for batch in batches)


def cached_features(
    cache: ArrayCache | None,
    network: FeatureNetwork,
    batches: Iterable[UInt8Images],
    *,
    input_size: int,
    embed: Embedder = embed_here,
) -> NDArray[np.float32]:
    """`network.embed`, but images that the cache knows are not computed again.

    Args:
        cache: of the bank; `None`: everything is computed.
        network: frozen.
        batches: `[N, C, H, W]`, uint8.
        input_size: side that images are resized to.
        embed: who computes.

    Returns:
        `[sum N, dim]`, float32, in the order given.
    """
    if cache is None:
        parts = list(embed(network, batches, input_size))
    else:
        parts = list(_batch_by_batch(cache, network, batches, input_size, embed))
    return np.concatenate(parts) if parts else np.zeros((0, network.dim), np.float32)


def feature_cache(bank: Bank) -> ArrayCache:
    """The bank's cache of feature vectors."""
    return ArrayCache(bank.settings.feature_cache)


def clear_features(bank: Bank) -> int:
    """Forget every vector; how many bytes they took."""
    return feature_cache(bank).clear()


def _batch_by_batch(
    cache: ArrayCache, network: FeatureNetwork, batches: Iterable[UInt8Images], input_size: int, embed: Embedder
) -> Iterator[NDArray[np.float32]]:
    space = f"{network.name}-{network.fingerprint[:16]}-{input_size}-{_PREPROCESSING}"
    asked: deque[_Asked] = deque()

    def missing() -> Iterator[UInt8Images]:
        for batch in batches:
            keys = [pixel_sha256(image) for image in batch]
            known = cache.get(space, keys, length=network.dim)
            new = {key: i for i, key in enumerate(keys) if key not in known}
            asked.append(_Asked(keys, known, tuple(new)))
            if new:
                yield batch[list(new.values())]

    computed = embed(network, missing(), input_size)
    for features in computed:
        while not asked[0].missing:
            yield asked.popleft().in_order()
        batch = asked.popleft()
        new = dict(zip(batch.missing, features, strict=True))
        cache.put(space, new)
        batch.known.update(new)
        yield batch.in_order()
    yield from (batch.in_order() for batch in asked)


@dataclass(frozen=True)
class _Asked:
    """A batch whose missing features are on their way."""

    keys: list[str]
    known: dict[str, NDArray[np.float32]]
    missing: tuple[str, ...]

    def in_order(self) -> NDArray[np.float32]:
        return np.stack([self.known[key] for key in self.keys])
