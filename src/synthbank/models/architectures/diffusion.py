"""`diffusion`: a small denoiser and its deterministic sampler.

Karras et al. 2022, arXiv 2206.00364 (EDM): preconditioned network, Heun's second-order sampler. The network is a
U-Net of residual blocks with group normalisation, scaled and shifted by noise level and class (Dhariwal and Nichol
2021, arXiv 2105.05233), with attention at its smallest map.

Deviates: far smaller; one residual block a resolution; no dropout, no guidance; noise levels from 20 down to 0.01 in
place of 80 and 0.002, which are the better spent few steps: in twelve of them, data of deviation 0.5 come out 6% too
strong instead of 14%, and 0.01 is about one grey level of 256.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.models.base import Denoiser, Generator, ModelSpec, architectures

_SIGMA_MIN, _SIGMA_MAX, _RHO = 0.01, 20.0, 7.0
_SMALLEST_MAP = 8
_NORM_CHANNELS = 8  # channels a group of the normalisation, or more where that is no divisor


def precondition(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`c_skip`, `c_out`, `c_in` and `c_noise` for noise levels `sigma`, each of its shape (table 1)."""
    # c_in and c_out give input and target of the network unit variance; c_skip makes c_out, which amplifies the
    # network's error, as small as it can be (appendix B.6)
    power = sigma.square() + sigma_data**2
    return sigma_data**2 / power, sigma * sigma_data * power.rsqrt(), power.rsqrt(), sigma.log() / 4


def noise_levels(n_steps: int) -> list[float]:
    """`n_steps` falling noise levels and a last 0 (equation 5)."""
    # equal steps of sigma^(1 / rho): shorter steps at low noise, where errors show most
    low, high = _SIGMA_MIN ** (1 / _RHO), _SIGMA_MAX ** (1 / _RHO)
    ramp = [i / max(n_steps - 1, 1) for i in range(n_steps)]
    return [(high + t * (low - high)) ** _RHO for t in ramp] + [0.0]


def heun(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, n_steps: int) -> Tensor:
    """Deterministic second-order sampling (algorithm 1 with `sigma(t) = t`, no added noise).

    Args:
        denoise: (noisy images `[N, ...]`, noise levels `[N]`) to expected clean images.
        noise: standard normal, `[N, ...]`.
        n_steps: number of steps; each but the last evaluates the denoiser twice.
    """
    levels = noise_levels(n_steps)
    x = noise * levels[0]
    for now, after in pairwise(levels):
        # Euler step: dx / dsigma = (x - D(x; sigma)) / sigma, equations 1 and 3 with sigma(t) = t
        slope = (x - denoise(x, x.new_full((len(x),), now))) / now
        ahead = x + (after - now) * slope
        # trapezoidal correction by the slope at the far end; at sigma = 0 that slope is not defined
        if after > 0:
            slope_ahead = (ahead - denoise(ahead, x.new_full((len(x),), after))) / after
            ahead = x + (after - now) * (slope + slope_ahead) / 2
        x = ahead
    return x


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(channels, max(channels // _NORM_CHANNELS, 1)), channels)


def _zero_init(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution itself, starting at zero."""
    for value in conv.parameters():
        nn.init.zeros_(value)
    return conv


class _Level(nn.Module):
    """The code of noise level and class that modulates every block, `[N, width]`."""

    frequencies: Tensor

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        # c_noise spans about -1.6 to 1.1: from a quarter of a turn to some ten turns over that range
        self.register_buffer("frequencies", torch.exp2(torch.linspace(-1, 5, width // 2)), persistent=False)
        self.body = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.embed = nn.Embedding(n_classes, width) if n_classes > 1 else None

    def forward(self, c_noise: Tensor, labels: Tensor) -> Tensor:
        # sines and cosines of the noise level: features that a linear layer can tell close levels apart by
        angles = c_noise[:, None] * self.frequencies
        code: Tensor = self.body(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.embed is not None:
            code = code + self.embed(labels)
        return functional.silu(code)


class _ResidualBlock(nn.Module):
    """Two convolutions; noise level and class scale and shift between them."""

    def __init__(self, channels_in: int, channels_out: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(channels_in), _norm(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = _zero_init(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.modulate = nn.Linear(width, 2 * channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        # adaptive group normalisation: (1 + scale) norm(y) + shift (Dhariwal and Nichol 2021, section 3.1)
        scale, shift = self.modulate(code)[:, :, None, None].chunk(2, dim=1)
        y = self.conv2(functional.silu(torch.addcmul(y + shift, y, scale)))
        out: Tensor = (self.shortcut(x) + y) * 0.5**0.5  # the sum of two of unit variance has variance 2
        return out


class _Attention(nn.Module):
    """Self-attention over places, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.project = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)  # [N, HW, C]
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = (x + self.out(mixed.transpose(1, 2).reshape(x.shape))) * 0.5**0.5
        return out


class _UNet(nn.Module):
    """`[N, C, S, S]` to the same shape, given noise level and class."""

    def __init__(self, spec: ModelSpec, base: int) -> None:
        super().__init__()
        sizes = [spec.size >> i for i in range((spec.size // _SMALLEST_MAP).bit_length())]
        channels = [base * min(i + 1, 4) for i in range(len(sizes))]
        width = 4 * base
        self.level = _Level(width, spec.n_classes)
        self.first = nn.Conv2d(spec.channels, base, 3, padding=1)
        steps = list(pairwise([base, *channels]))
        self.down = nn.ModuleList(_ResidualBlock(a, b, width) for a, b in steps)
        self.middle = _Attention(channels[-1])
        self.deepest = _ResidualBlock(channels[-1], channels[-1], width)
        # twice the channels in: each block on the way up also reads the map of its size on the way down
        self.up = nn.ModuleList(_ResidualBlock(2 * b, a, width) for a, b in reversed(steps))
        self.norm = _norm(base)
        self.to_pixels = _zero_init(nn.Conv2d(base, spec.channels, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        code = self.level(c_noise, labels)
        x = self.first(x)
        skips: list[Tensor] = []
        for block in self.down:
            x = block(functional.avg_pool2d(x, 2) if skips else x, code)
            skips.append(x)
        x = self.deepest(self.middle(x), code)
        for block in self.up:
            x = block(torch.cat([x, skips.pop()], dim=1), code)
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest") if skips else x
        out: Tensor = self.to_pixels(functional.silu(self.norm(x)))
        return out


class DiffusionGenerator(Denoiser):
    """Options: `base` (channels at full resolution), `sampling_steps` (n of them ask the network 2 n - 1 times).

    The image follows from `noise` and class; `z` plays no part, so truncation cannot act.
    """

    sigma_data = 0.5

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.sampling_steps: int = spec.option("sampling_steps")
        self.network = _UNet(spec, spec.option("base"))
        self.noise_dim = spec.channels * spec.size**2

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The latent itself, which `body` does not use."""
        return z

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """The image that the sampler draws from `noise`."""
        start = noise.view(-1, self.spec.channels, self.spec.size, self.spec.size)
        start = start.contiguous(memory_format=torch.channels_last)
        return heun(lambda x, sigma: self.denoise(x, sigma, labels), start, self.sampling_steps).clamp(-1, 1)

    @override
    def denoise(self, noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """D(x; sigma), equation 7."""
        c_skip, c_out, c_in, c_noise = precondition(sigma, self.sigma_data)
        drawn: Tensor = self.network(c_in.view(-1, 1, 1, 1) * noisy, c_noise, labels)
        return c_skip.view(-1, 1, 1, 1) * noisy + c_out.view(-1, 1, 1, 1) * drawn


class _Diffusion:
    def generator(self, spec: ModelSpec) -> Generator:
        return DiffusionGenerator(spec)


architectures.register(
    "diffusion",
    options={"base": 32, "sampling_steps": 12},
    citation="arXiv 2206.00364",
    trainer="denoising",
    truncation=False,
)(_Diffusion())
