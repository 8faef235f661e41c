"""Gradient penalties of the discriminator: R1 on reals and R2 on fakes."""

from __future__ import annotations

import torch
from torch import Tensor


def gradient_penalty(
    *,
    logit_real: Tensor,
    logit_fake: Tensor,
    real: list[Tensor],
    fake: list[Tensor],
    r1_gamma: float,
    r2_gamma: float,
) -> Tensor:
    """`r1_gamma / 2 * E ||grad D(real)||^2 + r2_gamma / 2 * E ||grad D(fake)||^2`, a scalar to be minimised.

    `D` is an image's mean logit. Where normalisation ties the images of a batch together, the sum over the whole batch
    is differentiated.

    Args:
        logit_real: `[N, L]`, computed from `real`.
        logit_fake: `[N, L]`, computed from `fake`.
        real: what the discriminator looked at, each `[N, ...]`; must require gradients where `r1_gamma` is not 0.
        fake: the same of fakes, with `r2_gamma`.
        r1_gamma: weight; 0: none.
        r2_gamma: weight; 0: none.

    Source: Mescheder et al. 2018, arXiv 1801.04406, equations 9 (R1) and 10 (R2); Roth et al. 2017, arXiv 1705.09367,
    derive the penalty on both sides from training with noise.
    Deviates: the gradient is taken with respect to what `logits` looks at, which for `projected` are frozen features.
    """
    # both penalties need only the inputs whose weight is not 0: the graph of the other side is not differentiated
    weighted = [(x, gamma) for side, gamma in ((real, r1_gamma), (fake, r2_gamma)) if gamma for x in side]
    # images do not depend on each other (but for normalisation), so the gradient of the batch's sum with respect to
    # image i is the gradient of D at image i: one backward pass instead of N
    total = logit_real.mean(dim=1).sum() + logit_fake.mean(dim=1).sum()
    # create_graph: the penalty's own gradient with respect to the weights of D is of second order
    gradients = torch.autograd.grad(total, [x for x, _ in weighted], create_graph=True)
    # gamma / 2 * mean over the batch of ||grad D||^2, summed over everything that D looks at
    terms = [0.5 * gamma / len(x) * g.square().sum() for (x, gamma), g in zip(weighted, gradients, strict=True)]
    return torch.stack(terms).sum()
