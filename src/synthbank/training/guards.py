"""Guards for the three failures the paper names: mode collapse, discriminator over-fitting, unstable training.

Each guard is a pure function of measured values; the loop writes the event that it returns into the history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COLLAPSE_BELOW = 0.35  # share of the real images' variety
OVERFITTING_ABOVE = 0.6  # share of the way from train reals to fakes
EXPLOSION_ABOVE = 50.0  # absolute loss; healthy ones are of a few units
OSCILLATION_ABOVE = 2.0  # deviation of the generator's loss, in levels of the discriminator's loss
WINDOW = 200  # last steps that are looked at


@dataclass(frozen=True)
class GuardEvent:
    """One warning of a guard: the measured value and the limit that it passed."""

    name: str
    value: float
    limit: float
    message: str


def mode_collapse(*, real_diversity: float, fake_diversity: float) -> GuardEvent | None:
    """The event of a fixed-noise batch whose images are too alike; `None`: they vary enough.

    Args:
        real_diversity: mean pairwise feature distance of real images of the same classes.
        fake_diversity: the same over as many synthetic images.
    """
    ratio = fake_diversity / max(real_diversity, 1e-12)
    if ratio >= COLLAPSE_BELOW:
        return None
    message = f"synthetic images vary {ratio:.0%} as much as real ones; below {COLLAPSE_BELOW:.0%} is mode collapse"
    return GuardEvent("mode_collapse", ratio, COLLAPSE_BELOW, message)


def overfitting_signal(*, train: float, validation: float, fake: float) -> float:
    """Share of the way from train reals to fakes that the discriminator's logits on validation reals have moved.

    Returns:
        About 0: validation reals get the logits of train reals; 1: they get those of fakes.

    Source: Karras et al. 2020, arXiv 2006.06676, equation 1 (`r_v`).
    """
    # r_v = (E D_train - E D_validation) / (E D_train - E D_fake); undefined where D tells nothing apart
    gap = train - fake
    return (train - validation) / gap if gap > 1e-6 else 0.0


def discriminator_overfitting(*, train: float, validation: float, fake: float) -> GuardEvent | None:
    """The event of a discriminator that knows its training images by heart, from its mean logits on the three sets."""
    signal = overfitting_signal(train=train, validation=validation, fake=fake)
    if signal <= OVERFITTING_ABOVE:
        return None
    message = f"validation reals have moved {signal:.0%} of the way from train reals to fakes in the logits"
    return GuardEvent("discriminator_overfitting", signal, OVERFITTING_ABOVE, message)


def instability(loss_d: Sequence[float], loss_g: Sequence[float] = ()) -> GuardEvent | None:
    """The event of recent losses that are not finite, explode, or oscillate; `None`: they are steady.

    Args:
        loss_d: of the discriminator, or of the only network.
        loss_g: of the generator.
    """
    recent = np.asarray([*loss_d[-WINDOW:], *loss_g[-WINDOW:]], np.float64)
    if not len(recent):
        return None
    if not np.isfinite(recent).all():
        return GuardEvent("not_finite", math.nan, 0.0, "a loss is NaN or infinite")
    largest = float(np.abs(recent).max())
    if largest > EXPLOSION_ABOVE:
        return GuardEvent("exploding_loss", largest, EXPLOSION_ABOVE, f"a loss reached {largest:.3g}")
    if len(loss_g) >= WINDOW:
        # the 1 keeps a discriminator that has won (a loss near 0) from making every swing look large
        swing = float(np.std(np.asarray(loss_g[-WINDOW:], np.float64)))
        level = float(np.mean(np.abs(loss_d[-WINDOW:]))) + 1.0
        if swing / level > OSCILLATION_ABOVE:
            message = f"the generator's loss swings by {swing:.3g} around a discriminator loss of {level - 1:.3g}"
            return GuardEvent("oscillation", swing / level, OSCILLATION_ABOVE, message)
    return None
