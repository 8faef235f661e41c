"""Moment matching: the generator is also pulled towards the mean and spread that real features have in each class.

An adversary tells which way an image should move; the moments of frozen features tell at once how a whole class
differs, and keep telling it when the adversary is sure of itself.

Source: dos Santos et al. 2019, arXiv 1904.02762 (generative feature matching, with moving averages because one batch is
too small to know a mean). Deviates: one exponential average of the gap between paired real and fake batches, beside an
adversarial loss and not in its place; means and root mean squares per channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DECAY = 0.98
_TINY = 1e-4


class MomentGap:
    """The running gap, fake minus real, between the channel moments of every class.

    Args:
        n_classes: rows of the average.
    """

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._gap: Tensor | None = None
        self._seen = torch.zeros(n_classes)

    def loss(self, real: list[Tensor], fake: list[Tensor], labels: Tensor) -> Tensor:
        """Scalar whose gradient moves the fakes' moments against the running gap.

        Args:
            real: frozen features of a real batch, maps `[N, C_i, H_i, W_i]`.
            fake: of a fake batch of the same labels; the gradient flows into these.
            labels: int64 `[N]`.
        """
        moments = _moments(fake)
        gap = self._updated(moments.detach() - _moments([f.detach() for f in real]), labels)
        return (gap[labels] * moments).mean()

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {"seen": self._seen} if self._gap is None else {"seen": self._seen, "gap": self._gap}

    def load_state(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """The inverse of `state`."""
        self._seen = tensors["seen"]
        self._gap = tensors["gap"].to(device) if "gap" in tensors else None

    @torch.no_grad()
    def _updated(self, difference: Tensor, labels: Tensor) -> Tensor:
        if self._gap is None:
            self._gap = torch.zeros(self._n_classes, difference.shape[1], device=difference.device)
        counts = torch.bincount(labels, minlength=self._n_classes)
        means = torch.zeros_like(self._gap).index_add_(0, labels, difference) / counts.clamp_min(1)[:, None]
        self._seen += counts.cpu() > 0
        weight = (1 / self._seen.clamp_min(1)).clamp_min(1 - _DECAY).to(difference.device)
        self._gap.lerp_(means, (weight * (counts > 0))[:, None])
        return self._gap


def _moments(maps: list[Tensor]) -> Tensor:
    """Mean and root mean square of every channel over places, `[N, 2 sum C_i]`."""
    means = [m.mean(dim=(2, 3)) for m in maps]
    return torch.cat(means + [m.square().mean(dim=(2, 3)).add(_TINY).sqrt() for m in maps], dim=1)
