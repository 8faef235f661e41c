"""The latents of generators, and the conversion of their output to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthbank.models.base import Generator
from synthbank.models.draws import normal
from synthbank.records import UInt8Images


@dataclass(frozen=True)
class Latents:
    """The input of a generator: `z` `[N, latent_dim]`, `labels` int64 `[N]`, `noise` `[N, noise_dim]`."""

    z: Tensor
    labels: Tensor
    noise: Tensor


def draw_latents(generator: Generator, labels: Tensor, rng: torch.Generator) -> Latents:
    """Standard normal latents and noise for the given labels, which must lie where `rng` does."""
    n = len(labels)
    z = normal((n, generator.spec.latent_dim), rng)
    noise = normal((n, generator.noise_dim), rng)
    return Latents(z, labels, noise)


def to_uint8(images: Tensor) -> UInt8Images:
    """Float `[N, C, H, W]` in -1..1 to uint8, 0..255, rounded."""
    scaled = images.float().add(1).mul(127.5).round_().clamp_(0, 255)
    out: UInt8Images = scaled.to(torch.uint8).cpu().contiguous().numpy()
    return out
