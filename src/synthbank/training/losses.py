"""Adversarial losses on logits; each is a pair of functions and one registry entry.

D is the logit, above 0 for real; sigma is the logistic function, and softplus(t) = -log sigma(-t).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from synthbank.registry import NoFacts, Registry


def _real_alone(real: Tensor, fake: Tensor) -> Tensor:
    return real


@dataclass(frozen=True)
class AdversarialLoss:
    """Losses of discriminator and generator, from logits `[N, L]` of reals and fakes to a scalar to be minimised."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits)"""
    generator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits)"""
    realness: Callable[[Tensor, Tensor], Tensor] = _real_alone
    """(real logits, fake logits) to values above 0 where a real was recognised; adaptive augmentation counts them."""


losses: Registry[AdversarialLoss, NoFacts] = Registry("loss", NoFacts)


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    # E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))): an image beyond the margin of 1 has no gradient
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def _hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    # -E D(G(z)): no margin, so that fakes beyond it go on learning
    return -fake.mean()


def _nonsaturating_d(real: Tensor, fake: Tensor) -> Tensor:
    # -E log sigma(D(x)) - E log(1 - sigma(D(G(z)))): cross entropy; softplus does not overflow
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def _nonsaturating_g(real: Tensor, fake: Tensor) -> Tensor:
    # -E log sigma(D(G(z))) in place of E log(1 - sigma(D(G(z)))), whose gradient vanishes where D is sure of its fakes
    return functional.softplus(-fake).mean()


def _paired(real: Tensor, fake: Tensor) -> Tensor:
    # a relativistic D knows no absolute zero: a real is recognised where it is above the fake beside it
    return real - fake


def _relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    # -E log sigma(D(x) - D(G(z))): real i should be more real than fake i
    return functional.softplus(fake - real).mean()


def _relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    # -E log sigma(D(G(z)) - D(x)): the reals take part in G's loss, which keeps it from dropping modes
    return functional.softplus(real - fake).mean()


# Lim and Ye 2017, arXiv 1705.02894; equation 4 of Zhang et al. 2019
losses.register("hinge")(AdversarialLoss(_hinge_d, _hinge_g))
# Goodfellow et al. 2014, arXiv 1406.2661, section 3: the non-saturating form
losses.register("nonsaturating")(AdversarialLoss(_nonsaturating_d, _nonsaturating_g))
# Huang et al. 2024, arXiv 2501.05441, equation 2; each real is paired with a fake of its own class
losses.register("relativistic")(AdversarialLoss(_relativistic_d, _relativistic_g, _paired))
