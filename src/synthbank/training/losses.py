"""Adversarial losses on logits; each is a pair of functions and one registry entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from synthbank.registry import Registry


def _real_alone(real: Tensor, fake: Tensor) -> Tensor:
    return real


@dataclass(frozen=True)
class AdversarialLoss:
    """The two players' losses; both take logits `[N, L]` of reals and fakes and give a scalar to be minimised."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits)"""
    generator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits)"""
    realness: Callable[[Tensor, Tensor], Tensor] = _real_alone
    """(real logits, fake logits) to values above 0 where a real was recognised; adaptive augmentation counts them."""


losses: Registry[AdversarialLoss] = Registry("loss")


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def _hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    return -fake.mean()


def _saturating_free_d(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def _saturating_free_g(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(-fake).mean()


def _paired(real: Tensor, fake: Tensor) -> Tensor:
    return real - fake


def _relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(fake - real).mean()


def _relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(real - fake).mean()


# Lim and Ye 2017, arXiv 1705.02894; equation 4 of Zhang et al. 2019
losses.register("hinge")(AdversarialLoss(_hinge_d, _hinge_g))
# Goodfellow et al. 2014, the non-saturating form
losses.register("nonsaturating")(AdversarialLoss(_saturating_free_d, _saturating_free_g))
# Huang et al. 2024, arXiv 2501.05441, equation 2; each real is paired with a fake of its own class
losses.register("relativistic")(AdversarialLoss(_relativistic_d, _relativistic_g, _paired))
