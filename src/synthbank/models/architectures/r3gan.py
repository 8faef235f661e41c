"""`r3gan`: the modernised plain baseline, trained by the relativistic loss with R1 and R2 penalties.

Huang et al. 2024, arXiv 2501.05441 (configuration E): no normalisation, residual blocks with an inverted bottleneck
around a grouped convolution, fix-up initialisation (Zhang et al. 2019, arXiv 1901.09321), bilinear resampling, a
learned 4x4 basis at the start of the generator and at the end of the discriminator. Loss and penalties are options of
training.

Deviates: narrower, blocks a resolution by option; tanh at the end, since images must stay in -1..1.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.models.base import Discriminator, Generator, ModelSpec, architectures
from synthbank.models.blocks import smooth_down, smooth_up

_EXPANSION = 2
_GROUP_WIDTH = 16
_GAIN = sqrt(2 / (1 + 0.2**2))  # of the leaky rectifier with slope 0.2: He et al. 2015, arXiv 1502.01852, section 2.2


def _widths(spec: ModelSpec) -> dict[int, int]:
    """Channels at each resolution from 4 up; option `base` is the width at full resolution."""
    base: int = spec.option("base")
    resolutions = [4 * 2**i for i in range((spec.size // 4).bit_length())]
    return {r: min(base * spec.size // r, base * 8) for r in resolutions}


def _conv(channels_in: int, channels_out: int, kernel: int, *, gain: float, groups: int = 1) -> nn.Conv2d:
    """Convolution without bias, its weights scaled by `gain` over the square root of the fan-in."""
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.normal_(conv.weight, std=gain / sqrt(channels_in // groups * kernel**2))
    return conv


def _linear(features_in: int, features_out: int) -> nn.Linear:
    linear = nn.Linear(features_in, features_out, bias=False)
    nn.init.normal_(linear.weight, std=features_in**-0.5)
    return linear


class _BiasedLeaky(nn.Module):
    """A bias for each channel, then the leaky rectifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x + self.bias[:, None, None], 0.2)


class _ResidualBlock(nn.Module):
    """1x1 convolution to twice the channels, grouped 3x3 convolution, 1x1 convolution back; added to its input.

    Args:
        channels: in and out.
        n_blocks: residual blocks of the whole network; fix-up scales the first layers by `n_blocks ** (-1 / 4)` and
            lets the last one start at zero.
    """

    def __init__(self, channels: int, n_blocks: int) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        groups = gcd(inner, max(inner // _GROUP_WIDTH, 1))
        # fix-up, section 3: with m = 3 layers a branch, all but the last are scaled by L^(-1 / (2m - 2)) = L^(-1/4),
        # and the last one starts at zero; so an update changes the output by about the same at any depth
        gain = _GAIN * n_blocks**-0.25
        self.body = nn.Sequential(
            _conv(channels, inner, 1, gain=gain),
            _BiasedLeaky(inner),
            _conv(inner, inner, 3, gain=gain, groups=groups),
            _BiasedLeaky(inner),
            _conv(inner, channels, 1, gain=0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class R3ganGenerator(Generator):
    """Options: `base` (channels at full resolution), `depth` (blocks a resolution)."""

    noise_dim = 0

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        widths, depth = _widths(spec), spec.option("depth")
        n_blocks = depth * len(widths)
        self.embed = nn.Embedding(spec.n_classes, spec.latent_dim) if spec.n_classes > 1 else None
        self.basis = nn.Parameter(torch.randn(widths[4], 4, 4))
        self.weigh = _linear(spec.latent_dim * (1 if self.embed is None else 2), widths[4])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_ResidualBlock(c, n_blocks) for _ in range(depth))) for c in widths.values()
        )
        self.widen = nn.ModuleList(_conv(widths[a], widths[b], 1, gain=1.0) for a, b in pairwise(widths))
        self.to_pixels = nn.Conv2d(widths[spec.size], spec.channels, 1)
        nn.init.normal_(self.to_pixels.weight, std=widths[spec.size] ** -0.5)

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The first map, `[N, C4, 4, 4]`."""
        code = z if self.embed is None else torch.cat([z, self.embed(labels)], dim=1)
        # the latent weighs the maps of a learned 4x4 basis, one weight a channel
        x: Tensor = self.weigh(code)[:, :, None, None] * self.basis
        return x.contiguous(memory_format=torch.channels_last)

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """The image; takes no spatial noise, and the class is in the hidden state."""
        x = self.stages[0](hidden)
        for widen, stage in zip(self.widen, self.stages[1:], strict=True):
            x = stage(smooth_up(widen(x)))  # the 1x1 convolution commutes with the interpolation
        return torch.tanh(self.to_pixels(x))


class R3ganDiscriminator(Discriminator):
    """Options: `base` (channels at full resolution), `depth` (blocks a resolution)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        widths, depth = _widths(spec), spec.option("depth")
        n_blocks = depth * len(widths)
        falling = sorted(widths, reverse=True)
        self.from_pixels = nn.Conv2d(spec.channels, widths[spec.size], 1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_ResidualBlock(widths[r], n_blocks) for _ in range(depth))) for r in falling
        )
        self.widen = nn.ModuleList(_conv(widths[a], widths[b], 1, gain=1.0) for a, b in pairwise(falling))
        self.basis = nn.Conv2d(widths[4], widths[4], 4, groups=widths[4], bias=False)
        nn.init.normal_(self.basis.weight, std=0.25)
        self.code_dim = spec.latent_dim if spec.n_classes > 1 else 1
        self.to_logits = _linear(widths[4], self.code_dim)
        self.embed = nn.Embedding(spec.n_classes, self.code_dim) if spec.n_classes > 1 else None

    @override
    def features(self, images: Tensor) -> list[Tensor]:
        """The images themselves: every layer of this discriminator learns."""
        return [images]

    @override
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """One logit an image, `[N, 1]`."""
        x = self.stages[0](self.from_pixels(features[0]))
        for widen, stage in zip(self.widen, self.stages[1:], strict=True):
            x = stage(widen(smooth_down(x)))
        # the mirror image of the generator's start: a depthwise 4x4 convolution is one weighted sum a channel
        out: Tensor = self.to_logits(self.basis(x).flatten(1))
        if self.embed is None:
            return out
        # projection alone; over sqrt(dim), the product of two vectors of unit variance has unit variance
        matched: Tensor = (out * self.embed(labels)).sum(dim=1, keepdim=True) / sqrt(self.code_dim)
        return matched


class _R3gan:
    def generator(self, spec: ModelSpec) -> Generator:
        return R3ganGenerator(spec)

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        return R3ganDiscriminator(spec)


architectures.register("r3gan", options={"base": 24, "depth": 2}, citation="arXiv 2501.05441")(_R3gan())
