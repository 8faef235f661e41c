"""`sagan`: the network of the paper this project implements (Berezsky et al., arXiv 2405.16119).

ResNet blocks and self-attention in both networks (Zhang et al. 2019, arXiv 1805.08318), spectral normalisation in both,
class conditioning by conditional batch normalisation in the generator and by projection in the discriminator
(Miyato and Koyama 2018, arXiv 1802.05637).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.models.base import Discriminator, Generator, ModelSpec, architectures
from synthbank.models.blocks import ConditionalBatchNorm, SelfAttention, sn_conv, sn_linear

_ATTENTION_AT = 32  # side of the map that self-attention sees: the paper found 32 and 64 best (its table 1)


def _widths(spec: ModelSpec) -> dict[int, int]:
    """Channels at each resolution from 4 up; option `base` is the width at full resolution."""
    base: int = spec.option("base")
    resolutions = [4 * 2**i for i in range((spec.size // 4).bit_length())]
    return {r: min(base * spec.size // r, base * 8) for r in resolutions}


class _UpResBlock(nn.Module):
    """Conditional residual block that doubles the resolution."""

    def __init__(self, channels_in: int, channels_out: int, n_classes: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(channels_in, n_classes)
        self.norm2 = ConditionalBatchNorm(channels_out, n_classes)
        self.conv1 = sn_conv(channels_in, channels_out, 3)
        self.conv2 = sn_conv(channels_out, channels_out, 3)
        self.shortcut = sn_conv(channels_in, channels_out, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        # pre-activation: normalise, rectify, enlarge, convolve, twice; the shortcut stays linear
        y = functional.interpolate(functional.relu(self.norm1(x, labels)), scale_factor=2.0, mode="nearest")
        y = self.conv2(functional.relu(self.norm2(self.conv1(y), labels)))
        # a 1x1 convolution and nearest up-sampling commute, so the cheaper order is taken
        out: Tensor = y + functional.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")
        return out


class SaganGenerator(Generator):
    """Options: `base` (channels at full resolution)."""

    noise_dim = 0

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = _widths(spec)
        self.project = sn_linear(spec.latent_dim, widths[4] * 16)
        steps = list(pairwise(widths))
        self.blocks = nn.ModuleList(_UpResBlock(widths[a], widths[b], spec.n_classes) for a, b in steps)
        self.attention_after = [b for _, b in steps].index(_ATTENTION_AT)
        self.attention = SelfAttention(widths[_ATTENTION_AT])
        self.norm = nn.BatchNorm2d(widths[spec.size])
        self.to_pixels = sn_conv(widths[spec.size], spec.channels, 3)

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The first map, `[N, C4, 4, 4]`."""
        x: Tensor = self.project(z).unflatten(1, (-1, 4, 4))
        return x.contiguous(memory_format=torch.channels_last)

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """The image; takes no spatial noise."""
        x = hidden
        for i, block in enumerate(self.blocks):
            x = block(x, labels)
            if i == self.attention_after:
                x = self.attention(x)
        return torch.tanh(self.to_pixels(functional.relu(self.norm(x))))


class _DownResBlock(nn.Module):
    """Residual block that halves the resolution, or keeps it with `down=False`."""

    def __init__(self, channels_in: int, channels_out: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.conv1 = sn_conv(channels_in, channels_out, 3)
        self.conv2 = sn_conv(channels_out, channels_out, 3)
        self.shortcut = sn_conv(channels_in, channels_out, 1)
        self.down, self.first = down, first

    def forward(self, x: Tensor) -> Tensor:
        # no normalisation in D but the spectral one; the first block sees the image itself, not its positive part
        y = self.conv2(functional.relu(self.conv1(x if self.first else functional.relu(x))))
        if self.down:
            # pooling the input first commutes with the 1x1 convolution and costs a quarter
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        out: Tensor = y + self.shortcut(x)
        return out


class SaganDiscriminator(Discriminator):
    """Options: `base` (channels at full resolution)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        widths = _widths(spec)
        steps = list(pairwise(sorted(widths, reverse=True)))
        attention_at = min(_ATTENTION_AT, spec.size // 2)  # the first block halves the image
        blocks: list[nn.Module] = []
        channels = spec.channels
        for i, (_, small) in enumerate(steps):
            blocks.append(_DownResBlock(channels, widths[small], down=True, first=i == 0))
            if small == attention_at:
                blocks.append(SelfAttention(widths[small]))
            channels = widths[small]
        blocks.append(_DownResBlock(channels, channels, down=False))
        self.body = nn.Sequential(*blocks)
        self.to_logits = sn_linear(channels, 1)
        self.class_code = (
            nn.utils.parametrizations.spectral_norm(nn.Embedding(spec.n_classes, channels))
            if spec.n_classes > 1
            else None
        )

    @override
    def features(self, images: Tensor) -> list[Tensor]:
        """The images themselves: every layer of this discriminator learns."""
        return [images]

    @override
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """One logit an image, `[N, 1]`."""
        pooled = functional.relu(self.body(features[0])).sum(dim=(2, 3))  # [N, C]
        # projection on the class (Miyato and Koyama 2018, arXiv 1802.05637, section 3): y^T V phi(x) + psi(phi(x))
        out: Tensor = self.to_logits(pooled)
        if self.class_code is not None:
            out = out + (self.class_code(labels) * pooled).sum(dim=1, keepdim=True)
        return out


class _Sagan:
    def generator(self, spec: ModelSpec) -> Generator:
        return SaganGenerator(spec)

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        return SaganDiscriminator(spec)


architectures.register("sagan", options={"base": 32}, citation="arXiv 2405.16119, arXiv 1805.08318")(_Sagan())
