"""Stage distillation: the new layers of a larger generator first learn the images of the smaller one.

A generator of twice the size shares all layers but the last ones with the small one. Left random, the last ones show
the discriminator noise until they have learned again what was known. So they first learn the small generator's images,
enlarged, latent by latent (distillation as in Hinton et al. 2015, arXiv 1503.02531, with images in place of class
probabilities); the discriminator takes no part. It stands in place of the fade-in of Karras et al. 2018, arXiv
1710.10196, section 2, which needs outputs at both sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from synthbank.models import Generator, draw_latents, smooth_up

_STEPS = 100
_STEPS_BEFORE = 8
"""Training steps of the earlier stages for each step here: a short run has little to distil."""
_LEARNING_RATE = 2e-3
_BETAS = (0.9, 0.99)


def distill_stage(
    small: Generator,
    large: Generator,
    fresh: Sequence[nn.Parameter],
    *,
    steps_before: int,
    batch_size: int,
    rng: torch.Generator,
    fabric: Fabric,
) -> list[float]:
    """Train the large generator's new layers on the small one's images.

    Args:
        small: trained; frozen, in eval mode.
        large: in training mode, with the small one's weights where they fit; changed in place.
        fresh: parameters of `large` that are still random; no other one moves.
        steps_before: training steps that `small` has seen.
        batch_size: images a step.
        rng: of the latents.
        fabric: device and precision.

    Returns:
        Mean squared error of every step, of images in -1..1.
    """
    if not fresh:
        return []
    optimizer = torch.optim.Adam(fresh, lr=_LEARNING_RATE, betas=_BETAS)
    labels = torch.arange(batch_size, device=fabric.device) % large.spec.n_classes
    errors: list[Tensor] = []
    for _ in range(min(_STEPS, steps_before // _STEPS_BEFORE)):
        # the same latents for both, so that each image has its own target: E ||G_large(z) - up(G_small(z))||^2
        latents = draw_latents(large, labels, rng)
        with fabric.autocast():
            # noise is drawn for coarse maps first, so both share the noise of the maps that both have
            drawn = small(latents.z, latents.labels, latents.noise[:, : small.noise_dim])
            redrawn = large(latents.z, latents.labels, latents.noise)
        error = (redrawn - smooth_up(drawn.to(latents.z.dtype))).square().mean()
        # gradients of the fresh parameters alone: the shared layers hold what the small generator knows
        gradients = torch.autograd.grad(error, fresh, allow_unused=True)
        for parameter, gradient in zip(fresh, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        errors.append(error.detach())
    optimizer.zero_grad(set_to_none=True)
    return torch.stack(errors).tolist() if errors else []
