"""A small residual network trained from scratch, as a laboratory with few images would train it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from synthbank.metrics._checks import Floats
from synthbank.metrics.utility.affine import augment_batch
from synthbank.metrics.utility.classifiers._base import Classifier, Embed, Predictor, TrainingSet, classifiers
from synthbank.records import UInt8Images

_BATCH = 256
"""Images of a forward pass at prediction."""


@dataclass(frozen=True)
class CnnConfig:
    """Steps, schedule and network, the same for every regime, so that only the images differ."""

    steps: int = 800
    batch_size: int = 16
    side: int = 64
    """Larger images are reduced to this side in pixels."""
    width: int = 16
    """Channels of the first stage; doubled twice."""
    learning_rate: float = 3e-3
    """Peak of one cycle: up for a tenth of the steps, then down along a cosine."""
    weight_decay: float = 0.05


class ResidualNet(nn.Module):
    """Stem at a quarter of the resolution, three stages of one residual block, global average, linear layer.

    Source: He et al. 2016, arXiv 1512.03385 (basic block), made small enough for a few hundred images.
    """

    def __init__(self, channels: int, n_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(
            _Block(width, width, 1), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(4 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Float `[N, C, H, W]` in -1..1 to logits `[N, K]`."""
        x = self.stages(functional.max_pool2d(self.stem(x), 2))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Residual block of two 3 x 3 convolutions; the first has the stride."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels_out), nn.BatchNorm2d(channels_out)])
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        out: Tensor = functional.relu(self.norms[1](self.second(y)) + self.shortcut(x))
        return out


class SmallCnn(Classifier):
    """The classifier "cnn"."""

    def __init__(self, config: CnnConfig | None = None) -> None:
        self.config = config or CnnConfig()

    @override
    def fit(self, train: TrainingSet, *, seed: int) -> Predictor:
        config, rng = self.config, torch.Generator().manual_seed(seed)
        images = _reduce(train.images, config.side)
        labels, weights = torch.from_numpy(train.labels), torch.from_numpy(train.weights)
        # layers draw their weights from the global generator: it is seeded inside a fork and left as it was
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ResidualNet(images.shape[1], train.n_classes, config.width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.1
        )
        # steps, not epochs: a regime with more images sees each of them less often, at the same cost
        for _ in range(config.steps):
            chosen = torch.multinomial(weights, config.batch_size, replacement=True, generator=rng)
            batch = _scale(images[chosen])
            if train.affine is not None:
                batch = augment_batch(batch, train.affine, rng)
            loss = functional.cross_entropy(
                network(batch.contiguous(memory_format=torch.channels_last)), labels[chosen]
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        return _Trained(network.eval(), config.side)


class _Trained:
    """Predictor of a trained network."""

    def __init__(self, network: nn.Module, side: int) -> None:
        self._network, self._side = network, side

    @torch.inference_mode()
    def __call__(self, images: UInt8Images) -> Floats:
        out = []
        for first in range(0, len(images), _BATCH):
            batch = _scale(_reduce(images[first : first + _BATCH], self._side))
            logits = self._network(batch.contiguous(memory_format=torch.channels_last))
            # in float64, so that the rows add up to one to the last digits
            out.append(torch.softmax(logits.double(), dim=1).numpy())
        return np.concatenate(out)


def _reduce(images: UInt8Images, side: int) -> Tensor:
    """Reduce images to `[N, C, S, S]`, uint8, S at most `side`."""
    tensor = torch.from_numpy(images)
    if images.shape[-1] <= side:
        return tensor
    small = functional.interpolate(tensor.float(), size=(side, side), mode="bilinear", antialias=True)
    return small.round_().clamp_(0, 255).to(torch.uint8)


def _scale(images: Tensor) -> Tensor:
    """Scale 0..255 to float -1..1."""
    return images.float().div_(127.5).sub_(1.0)


@classifiers.register("cnn", citation="arXiv 1512.03385")
def cnn(embed: Embed) -> Classifier:
    """A small residual network from scratch; it looks at pixels alone."""
    return SmallCnn()
