"""`dcgan`: the plain convolutional baseline.

Radford et al. 2016, arXiv 1511.06434: strided transposed convolutions with batch normalisation and rectifiers against
strided convolutions with batch normalisation and leaky rectifiers.

Deviates: classes enter as in this project's other networks, so that networks are compared and not conditioning (class
offsets in the generator's normalisation, a projection in the discriminator); He initialisation in place of a fixed
deviation of 0.02, which is far too small for layers as narrow as these.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.models.base import Discriminator, Generator, ModelSpec, architectures
from synthbank.models.blocks import ConditionalBatchNorm


def _widths(spec: ModelSpec) -> dict[int, int]:
    """Channels at each resolution from 4 to half the size; option `base` is the width at half the size."""
    base: int = spec.option("base")
    resolutions = [4 * 2**i for i in range((spec.size // 8).bit_length())]
    return {r: min(base * spec.size // (2 * r), base * 8) for r in resolutions}


def _up(channels_in: int, channels_out: int, *, bias: bool = False) -> nn.ConvTranspose2d:
    # kernel 4 is a multiple of stride 2, so that every place is reached equally often: no checkerboard
    conv = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)
    nn.init.normal_(conv.weight, std=(2 / (4 * channels_in)) ** 0.5)  # a place is reached by a quarter of the kernel
    return conv


def _down(channels_in: int, channels_out: int, *, bias: bool = False) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    return conv


class DcganGenerator(Generator):
    """Options: `base` (channels at half the size)."""

    noise_dim = 0

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = _widths(spec)
        self.project = nn.Linear(spec.latent_dim, widths[4] * 16, bias=False)
        self.ups = nn.ModuleList(_up(widths[a], widths[b]) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(ConditionalBatchNorm(c, spec.n_classes) for c in widths.values())
        self.to_pixels = _up(widths[spec.size // 2], spec.channels, bias=True)
        # gain 1 and not that of rectifiers: tanh, which follows, would saturate
        nn.init.normal_(self.to_pixels.weight, std=(4 * widths[spec.size // 2]) ** -0.5)

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The first map, `[N, C4, 4, 4]`."""
        x: Tensor = self.project(z).unflatten(1, (-1, 4, 4))
        return functional.relu(self.norms[0](x, labels)).contiguous(memory_format=torch.channels_last)

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """The image; takes no spatial noise."""
        x = hidden
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            x = functional.relu(norm(up(x), labels))
        return torch.tanh(self.to_pixels(x))


class DcganDiscriminator(Discriminator):
    """Options: `base` (channels at half the size)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        widths = sorted(_widths(spec).items(), reverse=True)
        layers: list[nn.Module] = [_down(spec.channels, widths[0][1], bias=True), nn.LeakyReLU(0.2)]
        for (_, a), (_, b) in pairwise(widths):
            layers += [_down(a, b), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        places = widths[-1][1] * 16
        self.to_logits = nn.Linear(places, 1)
        self.class_code = nn.Embedding(spec.n_classes, places) if spec.n_classes > 1 else None
        if self.class_code is not None:
            nn.init.normal_(self.class_code.weight, std=places**-0.5)

    @override
    def features(self, images: Tensor) -> list[Tensor]:
        """The images themselves: every layer of this discriminator learns."""
        return [images]

    @override
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """One logit an image, `[N, 1]`."""
        x = self.body(features[0])  # [N, C4 * 16]
        # projection on the class (Miyato and Koyama 2018, arXiv 1802.05637, section 3): y^T V phi(x) + psi(phi(x))
        out: Tensor = self.to_logits(x)
        if self.class_code is not None:
            out = out + (self.class_code(labels) * x).sum(dim=1, keepdim=True)
        return out


class _Dcgan:
    def generator(self, spec: ModelSpec) -> Generator:
        return DcganGenerator(spec)

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        return DcganDiscriminator(spec)


architectures.register("dcgan", options={"base": 32}, citation="arXiv 1511.06434")(_Dcgan())
