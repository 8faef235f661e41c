"""Adversarial losses on logits; each is a pair of functions and one registry entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from synthbank.registry import Registry


@dataclass(frozen=True)
class AdversarialLoss:
    """The two players' losses; both take logits `[N, L]` and give a scalar to be minimised."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits)"""
    generator: Callable[[Tensor], Tensor]
    """(fake logits)"""


losses: Registry[AdversarialLoss] = Registry("loss")


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def _saturating_free_d(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


# Lim and Ye 2017, arXiv 1705.02894; equation 4 of Zhang et al. 2019
losses.register("hinge")(AdversarialLoss(_hinge_d, lambda fake: -fake.mean()))
# Goodfellow et al. 2014, the non-saturating form
losses.register("nonsaturating")(AdversarialLoss(_saturating_free_d, lambda fake: functional.softplus(-fake).mean()))
