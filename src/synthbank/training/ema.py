"""Exponential moving average of a generator's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def ema_copy(module: M) -> M:
    """A frozen copy in eval mode that will hold the average."""
    average = copy.deepcopy(module)
    return average.eval().requires_grad_(False)


@torch.no_grad()
def ema_update(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move the average one step towards the module.

    Parameters and running statistics are averaged; the power-iteration vectors of spectral normalisation must stay
    unit vectors that belong to the averaged weights, so they are copied.

    Args:
        average: from `ema_copy`.
        module: the live network.
        decay: weight of the past, below 1; early on it is at most `(1 + step) / (10 + step)`.
        step: optimiser steps done, from 1.
    """
    weight = 1.0 - min(decay, (1 + step) / (10 + step))
    pairs = list(zip(average.parameters(), module.parameters(), strict=True))
    torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], weight)
    for (name, mean), value in zip(average.named_buffers(), module.buffers(), strict=True):
        if mean.is_floating_point() and name.endswith(("running_mean", "running_var")):
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


@torch.no_grad()
def recalibrate_batchnorm(average: M, draw: Callable[[M], object], *, batches: int) -> M:
    """A copy of the average whose batch-normalisation statistics were measured on its own activations.

    Running statistics belong to the live network's weights at many moments; measured anew, they belong to the averaged
    weights (Brock et al. 2019, arXiv 1809.11096, appendix A: standing statistics).

    Args:
        average: from `ema_copy`.
        draw: makes one batch with the module it is given.
        batches: how many batches are measured.
    """
    copied = copy.deepcopy(average)
    norms = [m for m in copied.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    for _ in range(batches if norms else 0):
        draw(copied)
    return copied.eval()
