"""Layers that more than one architecture uses."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

Border = Literal["zeros", "replicate"]
"""Padding of a convolution: zeros, or the outermost values."""


def sn_conv(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, bias: bool = True, border: Border = "zeros"
) -> nn.Module:
    """Convolution with spectral normalisation, padded to keep the size at stride 1.

    The weight is divided by its largest singular value, for which each forward pass in training mode makes one power
    iteration (Miyato et al. 2018, arXiv 1802.05957, sections 2.1 and 2.2).
    """
    conv = nn.Conv2d if border == "zeros" else _EdgeConv
    return spectral_norm(conv(channels_in, channels_out, kernel, stride, (kernel - 1) // 2, bias=bias))


class _EdgeConv(nn.Conv2d):
    """Convolution padded with the outermost values.

    torch's own replicating border, which autocast keeps in single precision, took a tenth of the time of a generator of
    64 pixels on a CPU in bf16, and a fifth at 128.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        for _ in range(int(self.padding[0])):
            x = _Edged.apply(x)  # type: ignore[no-untyped-call]
        return functional.conv2d(x, self.weight, self.bias, self.stride)


class _Edged(torch.autograd.Function):
    """`[N, C, H, W]` to `[N, C, H + 2, W + 2]`: the outermost values once more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        order = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        n, c, h, w = x.shape
        out = torch.empty((n, c, h + 2, w + 2), dtype=x.dtype, device=x.device, memory_format=order)
        out[..., 1:-1, 1:-1] = x
        out[..., 1:-1, 0], out[..., 1:-1, -1] = x[..., 0], x[..., -1]
        out[..., 0, :], out[..., -1, :] = out[..., 1, :], out[..., -2, :]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows = gradient[..., 1:-1, :].clone()
        rows[..., 0, :] += gradient[..., 0, :]
        rows[..., -1, :] += gradient[..., -1, :]
        out = rows[..., 1:-1].clone()
        out[..., 0] += rows[..., 0]
        out[..., -1] += rows[..., -1]
        return out


def sn_linear(features_in: int, features_out: int, *, bias: bool = True) -> nn.Module:
    """Linear layer with spectral normalisation."""
    return spectral_norm(nn.Linear(features_in, features_out, bias=bias))


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias are shared, plus a small offset that belongs to the class.

    Rare classes thus use the shared gain and learn only how they differ.

    Source: Dumoulin et al. 2017, arXiv 1610.07629; de Vries et al. 2017, arXiv 1707.00683. Deviates: shared gain
    plus class offset, offsets start at zero.
    """

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.offset = nn.Embedding(n_classes, 2 * channels) if n_classes > 1 else None
        if self.offset is not None:
            nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """`x` `[N, C, H, W]`, `labels` int64 `[N]`."""
        y: Tensor = self.norm(x)
        if self.offset is None:
            return y
        # (1 + gain_c) y + bias_c, with y after the shared gain and bias;
        # in the precision of the maps, or autocast would make full-size maps of single precision
        gain, bias = self.offset(labels).to(y.dtype)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(y + bias, y, gain)


class SelfAttention(nn.Module):
    """Self-attention over positions, added through a learned gate that starts at zero.

    Source: Zhang et al. 2019, arXiv 1805.08318, section 3; keys and values are max-pooled as in its released model.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, half = max(channels // 8, 4), max(channels // 2, 1)
        self.query = sn_conv(channels, inner, 1, bias=False)
        self.key = sn_conv(channels, inner, 1, bias=False)
        self.value = sn_conv(channels, half, 1, bias=False)
        self.out = sn_conv(half, channels, 1, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same shape."""
        n, _, h, w = x.shape
        query = self.query(x).flatten(2).transpose(1, 2)  # [N, HW, I]
        key = functional.max_pool2d(self.key(x), 2).flatten(2).transpose(1, 2)  # [N, HW/4, I]
        value = functional.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)  # [N, HW/4, C/2]
        # equations 1 and 2: beta = softmax(f(x)^T g(x)), o = sum of beta h(x); without the usual 1 / sqrt(dim)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # [N, HW, C/2]
        y = self.out(mixed.transpose(1, 2).reshape(n, -1, h, w))
        out: Tensor = x + self.gate * y  # equation 3, y = gamma o + x with gamma 0 at first
        return out


def to_sphere(z: Tensor) -> Tensor:
    """Each row scaled to length sqrt(latent_dim)."""
    return z * z.square().mean(dim=1, keepdim=True).add(1e-8).rsqrt()


def with_noise(x: Tensor, noise: Tensor, gain: Tensor) -> Tensor:
    """`x` `[N, C, H, W]` and `gain` (one value) times `noise` `[N, 1, H, W]`, in the precision of `x`.

    The one map is scaled before it is added to all channels, so that the gradient of the gain costs little.
    """
    return x + (noise * gain).to(x.dtype)


def smooth_up(x: Tensor) -> Tensor:
    """Twice the size, with the filter (1, 3, 3, 1) in both directions: bilinear interpolation."""
    if not x.is_contiguous():  # channels-last, where torch's interpolation is quick
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return _doubled(x, "bilinear")


def sharp_up(x: Tensor) -> Tensor:
    """Twice the size by cubic convolution (Keys 1981, a = -1/2), which blurs a picture less than `smooth_up`."""
    return _doubled(x, "bicubic")


def _doubled(x: Tensor, mode: str) -> Tensor:
    rows, columns = (_doubling(n, mode, x) for n in x.shape[2:])
    return rows @ x @ columns.mT


def _doubling(n: int, mode: str, like: Tensor) -> Tensor:
    """The matrix `[2 n, n]` of interpolation to twice the length."""
    # interpolation is linear: its matrix holds the images of the unit vectors
    eye = torch.eye(n, dtype=torch.float32, device=like.device)[None, None]
    # with antialias, as without it torch's cubic has a = -3/4
    return functional.interpolate(eye, size=(2 * n, n), mode=mode, antialias=True)[0, 0].to(like.dtype)


def smooth_down(x: Tensor) -> Tensor:
    """Half the size, with the same filter before every second place is taken."""
    return smoothed(x, padding=1, stride=2)


def smoothed(x: Tensor, *, padding: int, stride: int = 1) -> Tensor:
    """`x` `[N, C, H, W]` under the filter (1, 3, 3, 1) in both directions, zeros around it.

    Source: Karras et al. 2020, arXiv 1912.04958 (StyleGAN2's resampling filter).
    """
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
    return functional.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])
