"""Random numbers for a batch of images that one process holds, or several share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class SharedRng(torch.Generator):
    """A source of randomness for a batch that is cut into equal parts, one a process.

    Every process draws the numbers of the whole batch and keeps those of its own images. So an image gets the same
    numbers however many processes there are. The functions of this file know it; `torch.rand` itself does not.
    """

    part: int = 0
    """Number of the part that this process holds, from 0."""
    parts: int = 1


def uniform(
    shape: Sequence[int], rng: torch.Generator, *, batch_dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Values in 0..1 for the images here.

    Args:
        shape: of the result; its `batch_dim` counts images.
        rng: source of randomness, on the device of the result.
        batch_dim: 0 where each image has its numbers together.
        dtype: `None`: float32.
    """
    return _own(lambda whole: torch.rand(whole, generator=rng, device=rng.device, dtype=dtype), shape, rng, batch_dim)


def normal(
    shape: Sequence[int], rng: torch.Generator, *, batch_dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Standard normal values; arguments as in `uniform`."""
    return _own(lambda whole: torch.randn(whole, generator=rng, device=rng.device, dtype=dtype), shape, rng, batch_dim)


def integers(low: int, high: int, shape: Sequence[int], rng: torch.Generator, *, batch_dim: int = 0) -> Tensor:
    """int64 values, `low` included and `high` not; other arguments as in `uniform`."""
    return _own(lambda whole: torch.randint(low, high, whole, generator=rng, device=rng.device), shape, rng, batch_dim)


def _own(
    draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], rng: torch.Generator, batch_dim: int
) -> Tensor:
    if not isinstance(rng, SharedRng):
        return draw(tuple(shape))
    # the whole batch is drawn in every process, and each keeps its own images: equal numbers at any number of processes
    n = shape[batch_dim]
    whole = (*shape[:batch_dim], n * rng.parts, *shape[batch_dim + 1 :])
    return draw(whole).narrow(batch_dim, rng.part * n, n)
