"""Planning: which image numbers of which class of which job are made next. Pure: neither torch nor a catalogue.

Images of a class are numbered from 0, and made in this order. Which numbers a job holds in the end follows from the
verdicts alone, so a plan may be wide or narrow, local or for a cluster: the job is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.records import Verdicts

_SPARE_SHARE = 8
"""In a shared block, one image more for each eight that are missing, against those that the gate rejects."""
_SHARD = 256
"""Most images of a shard: some seconds of work, against some milliseconds to hand it out."""
_RARE = 0.05
"""Lowest share of accepted images that a shard is planned for: few verdicts may give a lower one by chance."""


@dataclass
class ClassTarget:
    """One class of one job, on its way to the wanted number of accepted images."""

    job_id: str
    class_index: int
    class_name: str
    next_index: int
    """Number of the next image; all before it are entered or wait for their rows."""
    accepted: int
    wanted: int
    cap: int
    """Attempts after which it ends with what it has."""
    screened: bool = True
    """`False`: no image is rejected."""

    @property
    def missing(self) -> int:
        """Images that may still be tried for; 0: ended."""
        return max(min(self.wanted - self.accepted, self.cap - self.next_index), 0)

    def advance(self, n: int, *, accepted: int) -> None:
        """Count the next `n` images, of which `accepted` were accepted."""
        self.next_index += n
        self.accepted += accepted


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """Images number `first` to `first + n` of a class target: its share of one forward block."""

    target: ClassTarget
    first: int
    n: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Images number `first` to `first + n` of a class: one task of a cluster."""

    class_index: int
    first: int
    n: int
    most: int
    """Accepted images after which nothing more is needed of it, whatever the shards before it gave."""

    @property
    def end(self) -> int:
        """Number of the first image after it."""
        return self.first + self.n


def limits(
    wanted: int, *, max_attempts: float, share: float = 1.0, steps: int = 0, next_index: int = 0
) -> tuple[int, int]:
    """Accepted images that a class target aims at, and attempts after which it ends with what it has.

    Args:
        wanted: accepted images asked for.
        max_attempts: attempts as a multiple of them.
        share: that image selection keeps; 1: no selection.
        steps: images of a latent interpolation; 0: independent images.
        next_index: attempts so far; the cap never lies below them.
    """
    if steps:
        # each image of an interpolation has its place, and a rejected one leaves a gap: the attempts end it, never
        # the accepted images
        return steps + 1, steps
    return wanted, max(int(wanted * max_attempts / share), next_index)


def until_enough(verdicts: Verdicts | None, wanted: int, n: int) -> int:
    """Number of images, from the first of `n`, that hold `wanted` accepted ones; `n` where there are fewer.

    Args:
        verdicts: of the `n` images; `None`: all are accepted.
        wanted: accepted images, at least 0.
        n: images.
    """
    if verdicts is None:
        return min(n, wanted)
    enough: NDArray[np.int64] = np.flatnonzero(np.cumsum(verdicts.accepted) >= wanted)
    return int(enough[0]) + 1 if len(enough) else n


def next_slice(target: ClassTarget, *, block: int) -> BatchSlice:
    """The next images of one target alone: at most to the end of their block, at their own places in it."""
    # only whole, aligned blocks give an image the same bits on every device (see `forward_block`): a slice that begins
    # inside a block ends with it
    n = min(block - target.next_index % block, target.cap - target.next_index)
    return BatchSlice(target, target.next_index, n)


def shared_slices(targets: Sequence[ClassTarget], *, block: int) -> list[BatchSlice]:
    """A forward block shared out among several targets.

    The smallest wants come first, so that a long job never holds up a short one.

    Args:
        targets: all that have something missing.
        block: images of a forward pass.
    """
    room = block
    granted: list[tuple[ClassTarget, int]] = []
    for target in sorted(targets, key=lambda target: target.missing):
        n = min(target.missing, room)
        room -= n
        granted.append((target, n))
    # what is left of the block goes to spare images: without them each rejection would cost a forward pass of its own
    slices = []
    for target, n in granted:
        spare = 1 + target.missing // _SPARE_SHARE if target.screened and n == target.missing else 0
        more = min(spare, target.cap - target.next_index - n, room)
        room -= more
        if n + more:
            slices.append(BatchSlice(target, target.next_index, n + more))
    return slices


def free_places(targets: Sequence[ClassTarget], *, block: int) -> int:
    """Images that the next block could hold beside those that are missing already."""
    return max(block - sum(target.missing for target in targets), 0)


def next_shard(target: ClassTarget, sent: Sequence[Shard], *, block: int, width: int) -> Shard | None:
    """The next shard of a target; `None` where those in the making are likely to be enough.

    Args:
        target: the class of a job.
        sent: its shards in the making, in order.
        block: images of a forward pass.
        width: shards that the cluster makes at once.
    """
    first = sent[-1].end if sent else target.next_index
    pass_rate = target.accepted / target.next_index if target.next_index else 1.0
    left = target.wanted - target.accepted
    if target.missing == 0 or first >= target.cap or (first - target.next_index) * pass_rate >= left:
        return None
    # whole blocks, as a worker computes a block it has a part of whole; small jobs are cut so that each worker has some
    fair = int(left / max(pass_rate, _RARE)) // width
    size = -(-min(fair, _SHARD) // block) * block or block
    end = min(first // block * block + size, target.cap)
    return Shard(target.class_index, first, end - first, left)
