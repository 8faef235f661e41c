"""A judge of another family: a small network that learned from a set's own training originals, without their labels.

    python benchmarks/encoder.py --data FOLDER --to encoder.pt [--size 64] [--minutes 3]

Lite0 and Lite1 are one family, and `projected` looks through one of them. This encoder never saw ImageNet: it learns to
know an image again after cutting, turning and recolouring (SimCLR: Chen et al. 2020, arXiv 2002.05709), from all
originals of FOLDER (or `sample:ihc`) but the test split. What it says of an image are the averages of its maps at
strides 8, 16 and 32. Writes TorchScript with its settings beside it, for `synthbank evaluate --encoder` and
`quality.py --encoder`, and prints how often the nearest training original of a test original has its class, before and
after training.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from originals import split_originals
from torch import Tensor, nn
from torch.nn import functional

from synthbank.models import FeatureNetwork, batched
from synthbank.models.features.base import to_input
from synthbank.records import Split, UInt8Images
from synthbank.training.augment_d import augment, symmetries

WIDTHS = (48, 96, 192, 256)
VIEW = ("stain", "colour", "zoom", "translation")
BATCH = 64
TEMPERATURE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images, labels, splits = split_originals(options.data, size=options.size)
    is_test = splits == Split.TEST
    torch.manual_seed(options.seed)
    encoder = Encoder()
    before = neighbour_accuracy(encoder, images, labels, is_test)
    steps = learn(encoder, images[~is_test], minutes=options.minutes, seed=options.seed)
    after = neighbour_accuracy(encoder, images, labels, is_test)
    print(f"{(~is_test).sum()} originals, {steps} steps of {BATCH}; class of the nearest neighbour right: ", end="")
    print(f"{before:.3f} untrained, {after:.3f} trained, of {is_test.sum()} test originals")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch calls its own format old
        torch.jit.trace(encoder.eval(), torch.zeros(2, 3, options.size, options.size)).save(str(options.to))
    half = [0.5, 0.5, 0.5]
    options.to.with_suffix(".json").write_text(json.dumps({"size": options.size, "mean": half, "std": half}))
    print("written", options.to)


class _Block(nn.Module):
    """Halves the side; two convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, 2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels_out) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(y)) + self.norms[2](self.shortcut(x)))


class Encoder(FeatureNetwork):
    """A residual network of 1.8 million values; frozen only once `learn` has ended."""

    name, dim, tap_channels = "own", sum(WIDTHS[1:]), WIDTHS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in zip((32, *WIDTHS), WIDTHS, strict=False))

    def taps(self, images: Tensor) -> list[Tensor]:
        """See `FeatureNetwork.taps`."""
        x, maps = self.stem(images), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def pooled(self, images: Tensor) -> Tensor:
        """See `FeatureNetwork.pooled`; the averages of the maps at strides 8, 16 and 32."""
        return torch.cat([m.mean(dim=(2, 3)) for m in self.taps(images)[1:]], dim=1)

    forward = pooled


def learn(encoder: Encoder, images: UInt8Images, *, minutes: float, seed: int) -> int:
    """Train in place for some minutes; the number of steps."""
    pixels = torch.from_numpy(images)
    head = nn.Sequential(nn.Linear(WIDTHS[-1], 256), nn.ReLU(), nn.Linear(256, 64))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3, weight_decay=1e-4, fused=True)
    rng = torch.Generator().manual_seed(seed)
    encoder.train()
    start, steps = time.monotonic(), 0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 + np.cos(np.pi * done)) / 2
        batch = to_input(pixels[torch.randint(len(pixels), (BATCH,), generator=rng)], None)
        views = torch.cat([augment(symmetries(batch, "dihedral", rng), VIEW, rng) for _ in range(2)])
        loss = contrast(head(encoder.taps(views)[-1].mean(dim=(2, 3))))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps += 1
    return steps


def contrast(codes: Tensor) -> Tensor:
    """The two views of each image must find each other: `[2 B, D]`, view after view (SimCLR, equation 1)."""
    codes = functional.normalize(codes)
    likeness = (codes @ codes.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return functional.cross_entropy(likeness, torch.arange(len(codes)).roll(len(codes) // 2))


def neighbour_accuracy(
    encoder: Encoder, images: UInt8Images, labels: NDArray[np.str_], is_test: NDArray[np.bool_]
) -> float:
    """Share of test originals whose nearest training original, by cosine, has their class."""
    features = functional.normalize(torch.from_numpy(encoder.eval().embed(batched(images))))
    nearest = (features[is_test] @ features[~is_test].T).argmax(dim=1).numpy()
    return float((labels[~is_test][nearest] == labels[is_test]).mean())


if __name__ == "__main__":
    main()
