"""Exponential moving average of a generator's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def ema_copy(module: M) -> M:
    """A frozen copy of the network, in eval mode, that will hold the average."""
    average = copy.deepcopy(module)
    return average.eval().requires_grad_(False)


@torch.no_grad()
def ema_update(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move the average one step towards the module.

    Parameters and running statistics are averaged. The power-iteration vectors of spectral normalisation must stay
    unit vectors that belong to the weights, so they are copied.

    Args:
        average: from `ema_copy`.
        module: the live network.
        decay: weight of the past, below 1; early on it is at most `(1 + step) / (10 + step)`.
        step: optimiser steps done, from 1.

    Source: Karras et al. 2018, arXiv 1710.10196, appendix A (average of the generator's weights); the warm-up is that
    of TensorFlow's `ExponentialMovingAverage(num_updates=step)`.
    """
    # mean <- decay * mean + (1 - decay) * value; in the warm-up it spans about a ninth of the steps so far
    weight = 1.0 - min(decay, (1 + step) / (10 + step))
    # one fused call for all parameters: a small network has hundreds of tensors, each of which would cost a call
    pairs = list(zip(average.parameters(), module.parameters(), strict=True))
    torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], weight)
    for (name, mean), value in zip(average.named_buffers(), module.buffers(), strict=True):
        # running statistics belong to the averaged weights; all other buffers (counts, singular vectors) are copied
        if mean.is_floating_point() and name.endswith(("running_mean", "running_var")):
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


@torch.no_grad()
def recalibrate_batchnorm(average: M, draw: Callable[[M], object], *, batches: int) -> M:
    """A copy of the average whose batch-normalisation statistics are measured on its own activations.

    Running statistics belong to the live network's weights at many moments. Measured again, they belong to the averaged
    weights.

    Args:
        average: from `ema_copy`.
        draw: makes one batch with the network it is given.
        batches: number of batches that are measured.

    Returns:
        The copy, in eval mode.

    Source: Brock et al. 2019, arXiv 1809.11096, appendix A (standing statistics).
    """
    copied = copy.deepcopy(average)
    norms = [m for m in copied.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the cumulative mean over all batches, in which each batch weighs the same
        norm.train()
    for _ in range(batches if norms else 0):
        draw(copied)
    return copied.eval()
