"""Choose the images of batch number `step`: a function of the step alone, so that a resumed run sees the same data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed


class EpochSampler:
    """Endless shuffled epochs, cut into batches.

    The stream of epochs has no gaps: a batch may end one epoch and begin the next, so every image is seen equally
    often. With `balanced`, classes take turns (in shuffled order), and each class runs through its own epochs.

    Args:
        labels: `[N]`, int64, class of each image.
        batch_size: images a batch; may exceed N.
        seed: the same seed gives the same batches.
        balanced: draw classes equally often, whatever their sizes.
    """

    def __init__(self, labels: NDArray[np.int64], *, batch_size: int, seed: int, balanced: bool) -> None:
        if len(labels) == 0 or batch_size < 1:
            raise OptionError("Nothing to sample from", got=f"{len(labels)} images, batch size {batch_size}")
        self.batch_size, self.seed, self.balanced = batch_size, seed, balanced
        everything = np.arange(len(labels), dtype=np.int64)
        self._pools = [np.flatnonzero(labels == c) for c in np.unique(labels)] if balanced else [everything]
        self._cache: dict[tuple[str, int], tuple[int, NDArray[np.int64]]] = {}

    def batch(self, step: int) -> NDArray[np.int64]:
        """Indices of batch `step`, `[batch_size]`, int64; the same step always gives the same indices."""
        first = step * self.batch_size
        return np.array([self._at(p) for p in range(first, first + self.batch_size)], np.int64)

    def _at(self, position: int) -> int:
        n_pools = len(self._pools)
        turn, slot = divmod(position, n_pools)
        pool = int(self._shuffled("turn", 0, turn, n_pools)[slot])
        members = self._pools[pool]
        epoch, place = divmod(turn, len(members))
        return int(members[self._shuffled("pool", pool, epoch, len(members))[place]])

    def _shuffled(self, kind: str, pool: int, epoch: int, n: int) -> NDArray[np.int64]:
        cached = self._cache.get((kind, pool))
        if cached is None or cached[0] != epoch:
            rng = np.random.default_rng(stable_seed(self.seed, kind, pool, epoch))
            cached = self._cache[kind, pool] = (epoch, rng.permutation(n))
        return cached[1]
