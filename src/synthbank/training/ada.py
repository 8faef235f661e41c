"""Adaptive discriminator augmentation: the better reals are recognised, the more often images are augmented."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SIGN_WEIGHT = 0.25  # the moving average remembers about four steps, over which the paper averages


class AdaptiveStrength:
    """Probability `p` that an image is augmented; it rises while the discriminator is too sure of the training reals.

    Args:
        target: wanted mean sign of the discriminator's logits on augmented training reals, 0..1.
        kimg: thousands of real images in which `p` can go from 0 to 1.
        device: of `p`; a step never waits for it.

    Source: Karras et al. 2020, arXiv 2006.06676, section 3, equation 1 (`r_t`). Deviates: `p` moves at every step by a
    moving average of the signs, and stays within 0..1.
    """

    def __init__(self, target: float, kimg: float, device: torch.device) -> None:
        self._target, self._images = target, 1000.0 * kimg
        self.p = torch.zeros((), device=device)
        self.sign = torch.zeros((), device=device)

    @torch.no_grad()
    def update(self, realness: Tensor) -> None:
        """Move `p` after a step, from the logits of real images `[N, L]`, or from another measure of their realness."""
        # r_t = E sign(D_train), equation 1: 0 where D guesses, 1 where it knows every real by heart
        self.sign.lerp_(realness.sign().mean(), _SIGN_WEIGHT)
        direction = (self.sign - self._target).sign()
        # a fixed amount a step, by which p goes from 0 to 1 within `kimg` thousand images (500 in the paper);
        # a new tensor: what a step returned for the history must not change later
        self.p = (self.p + direction * (len(realness) / self._images)).clamp(0, 1)

    def state(self) -> dict[str, Tensor]:
        """Tensors that a resumed run needs."""
        return {"p": self.p, "sign": self.sign}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.p = tensors["p"].to(self.p.device).clone()
        self.sign = tensors["sign"].to(self.sign.device).clone()
