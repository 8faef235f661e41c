"""`stylegan2`: the strong baseline, in its small configuration for limited data.

Karras et al. 2020, arXiv 1912.04958 (StyleGAN2: weight demodulation, skip generator, residual discriminator, equalised
learning rates) in the "auto" configuration of Karras et al. 2020, arXiv 2006.06676 (ADA): two mapping layers, class
embedding beside the latent, the discriminator's class by projection on a mapping of the label, minibatch deviation.
Adaptive augmentation, lazy R1 and the average are options of training.

Deviates: no path length regularisation and no style mixing (ADA leaves the second out at this size); up-sampling by
bilinear interpolation before the convolution, which is the same linear map as the paper's up to the border; narrower;
tanh at the end, since images must stay in -1..1; reals and fakes pass D in one batch, in which the minibatch
deviation keeps to groups of four.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.models.base import Discriminator, Generator, ModelSpec, architectures
from synthbank.models.blocks import smooth_down, smooth_up, smoothed, to_sphere, with_noise

_MAPPING_LR = 0.01  # learning-rate multiplier of the mapping networks
_GROUP = 4  # images that the minibatch deviation compares


def _widths(spec: ModelSpec) -> dict[int, int]:
    """Channels at each resolution from 4 up; option `base` is the width at full resolution."""
    base: int = spec.option("base")
    resolutions = [4 * 2**i for i in range((spec.size // 4).bit_length())]
    return {r: min(base * spec.size // r, base * 8) for r in resolutions}


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2) * sqrt(2)  # keeps unit variance, about


class _Linear(nn.Module):
    """Linear layer with equalised learning rate; `lr` multiplies it."""

    def __init__(self, features_in: int, features_out: int, *, bias: float = 0.0, lr: float = 1.0) -> None:
        super().__init__()
        # stored with unit variance and scaled when used, so that Adam moves all layers at the same relative speed
        # (Karras et al. 2018, arXiv 1710.10196, section 4.1)
        self.weight = nn.Parameter(torch.randn(features_out, features_in) / lr)
        self.bias = nn.Parameter(torch.full((features_out,), bias / lr))
        self.gain, self.lr = lr / sqrt(features_in), lr

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.gain, self.bias * self.lr)


class _Conv(nn.Module):
    """Convolution with equalised learning rate; `down` smooths and halves."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, bias: bool = True, down: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.gain, self.down, self.padding = 1 / sqrt(channels_in * kernel**2), down, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if not self.down:
            return functional.conv2d(x, weight, self.bias, padding=self.padding)
        if not self.padding:  # a 1x1 convolution after the smaller map is the same and costs a quarter
            return functional.conv2d(smooth_down(x), weight, self.bias)
        return functional.conv2d(smoothed(x, padding=2), weight, self.bias, stride=2)


class _ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, and whose output is scaled back to unit deviation.

    Scaling input and output around one shared convolution equals a convolution with modulated weights for each image
    (StyleGAN2, section 2.2, equations 1 and 3), without the grouped convolution that is slow on CPUs.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, w_dim: int, *, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.style = _Linear(w_dim, channels_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.gain, self.padding, self.demodulate = 1 / sqrt(channels_in * kernel**2), kernel // 2, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        # equation 1, w' = s_i w: scaling the input's channel i is scaling the weights that read it
        style, weight = self.style(w), self.weight * self.gain
        y: Tensor = functional.conv2d(x * style[:, :, None, None], weight, padding=self.padding)
        if not self.demodulate:
            return y
        # equation 3: divided by sqrt(sum over i and k of (s_i w)^2 + eps), the deviation of the output where all inputs
        # have unit variance
        power: Tensor = style.square() @ weight.square().sum(dim=(2, 3)).T  # [N, O]
        return y * (power + 1e-8).rsqrt()[:, :, None, None]


class _Layer(nn.Module):
    """Modulated convolution, noise, bias, leaky rectifier; `up` doubles the size first."""

    def __init__(self, channels_in: int, channels_out: int, w_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = _ModulatedConv(channels_in, channels_out, 3, w_dim)
        self.noise_gain = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.up = up

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        y = self.conv(smooth_up(x) if self.up else x, w)
        return _leaky(with_noise(y + self.bias[:, None, None], noise, self.noise_gain))


class _ToPixels(nn.Module):
    """Modulated 1x1 convolution to image channels, not demodulated."""

    def __init__(self, channels_in: int, channels_out: int, w_dim: int) -> None:
        super().__init__()
        self.conv = _ModulatedConv(channels_in, channels_out, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        out: Tensor = self.conv(x, w) + self.bias[:, None, None]
        return out


class _Mapping(nn.Module):
    """Latent and class to a style, `[N, w_dim]`; `z_dim` 0: from the class alone."""

    def __init__(self, z_dim: int, n_classes: int, w_dim: int, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_classes, w_dim) if n_classes > 1 else None
        sizes = [z_dim + (w_dim if self.embed is not None else 0)] + [w_dim] * layers
        self.layers = nn.ModuleList(_Linear(a, b, lr=_MAPPING_LR) for a, b in pairwise(sizes))

    def forward(self, z: Tensor | None, labels: Tensor) -> Tensor:
        # z and class code each on their sphere, or the longer one would drown the other
        parts = [] if z is None else [to_sphere(z)]
        if self.embed is not None:
            parts.append(to_sphere(self.embed(labels)))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = _leaky(layer(x))
        return x


class StyleGan2Generator(Generator):
    """Options: `base` (channels at full resolution); the style is as wide as the latent."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        widths, w_dim = _widths(spec), spec.latent_dim
        self.mapping = _Mapping(spec.latent_dim, spec.n_classes, w_dim)
        self.start = nn.Parameter(torch.randn(widths[4], 4, 4))
        self.layers = nn.ModuleList([_Layer(widths[4], widths[4], w_dim)])
        for small, large in pairwise(widths):
            self.layers.append(_Layer(widths[small], widths[large], w_dim, up=True))
            self.layers.append(_Layer(widths[large], widths[large], w_dim))
        self.to_pixels = nn.ModuleList(_ToPixels(c, spec.channels, w_dim) for c in widths.values())
        self.sides = [4] + [r for r in list(widths)[1:] for _ in range(2)]  # of each layer's noise
        self.noise_dim = sum(r * r for r in self.sides)

    @override
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """The style `w`, `[N, latent_dim]`."""
        w: Tensor = self.mapping(z, labels)
        return w

    @override
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """The image; the class is in the style."""
        parts = torch.split(noise, [r * r for r in self.sides], dim=1)
        maps = [part.view(-1, 1, r, r) for part, r in zip(parts, self.sides, strict=True)]
        x = self.start.expand(len(hidden), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.layers[0](x, hidden, maps[0])
        image: Tensor = self.to_pixels[0](x, hidden)
        for i, to_pixels in enumerate(self.to_pixels[1:]):
            for k in (2 * i + 1, 2 * i + 2):
                x = self.layers[k](x, hidden, maps[k])
            image = smooth_up(image) + to_pixels(x, hidden)  # output skips: each size adds its detail (figure 7b)
        return torch.tanh(image)


class _DownBlock(nn.Module):
    """Residual block that halves the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = _Conv(channels_in, channels_in, 3)
        self.shrink = _Conv(channels_in, channels_out, 3, down=True)
        self.shortcut = _Conv(channels_in, channels_out, 1, bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        y = _leaky(self.shrink(_leaky(self.conv(x))))
        out: Tensor = (y + self.shortcut(x)) * sqrt(0.5)  # the sum of two of unit variance has variance 2
        return out


class StyleGan2Discriminator(Discriminator):
    """Options: `base` (channels at full resolution)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        widths = _widths(spec)
        self.from_pixels = _Conv(spec.channels, widths[spec.size], 1)
        pairs = pairwise(sorted(widths, reverse=True))
        self.blocks = nn.ModuleList(_DownBlock(widths[large], widths[small]) for large, small in pairs)
        self.conv = _Conv(widths[4] + 1, widths[4], 3)
        self.hidden = _Linear(widths[4] * 16, widths[4])
        self.code_dim = spec.latent_dim if spec.n_classes > 1 else 1
        self.to_logits = _Linear(widths[4], self.code_dim)
        self.mapping = _Mapping(0, spec.n_classes, self.code_dim) if spec.n_classes > 1 else None

    @override
    def features(self, images: Tensor) -> list[Tensor]:
        """The images themselves: every layer of this discriminator learns."""
        return [images]

    @override
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """One logit an image, `[N, 1]`."""
        x = _leaky(self.from_pixels(features[0]))
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, group_deviation(x)], dim=1)
        x = _leaky(self.hidden(_leaky(self.conv(x)).flatten(1)))
        out: Tensor = self.to_logits(x)
        if self.mapping is None:
            return out
        # projection on the class alone; the code has length sqrt(dim), so the product is divided by it
        code = to_sphere(self.mapping(None, labels))
        return (out * code).sum(dim=1, keepdim=True) / sqrt(self.code_dim)


def group_deviation(x: Tensor) -> Tensor:
    """Mean deviation among the images of a group of four, as one more map `[N, 1, H, W]`; neighbours form the groups.

    In a batch of reals then fakes no group mixes them where the batch size is a multiple of four. A last group that
    is not full is filled up with the images before it.
    """
    # a generator that repeats itself shows D groups without deviation (Karras et al. 2018, section 3)
    n, size = len(x), min(_GROUP, len(x))
    whole = n // size * size
    spread = _group_spread(x[:whole].reshape(-1, size, *x.shape[1:])).repeat_interleave(size)
    if whole < n:
        spread = torch.cat([spread, _group_spread(x[None, -size:]).expand(n - whole)])
    return spread.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])


def _group_spread(groups: Tensor) -> Tensor:
    deviation = (groups.var(dim=1, correction=0) + 1e-8).sqrt()  # [groups, C, H, W]
    return deviation.mean(dim=(1, 2, 3))


class _StyleGan2:
    def generator(self, spec: ModelSpec) -> Generator:
        return StyleGan2Generator(spec)

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        return StyleGan2Discriminator(spec)


architectures.register(
    "stylegan2",
    options={"base": 24},
    minibatch_group=_GROUP,
    citation="arXiv 1912.04958, arXiv 2006.06676",
)(_StyleGan2())
