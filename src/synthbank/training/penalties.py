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

    `D` is an image's mean logit. Where normalisation ties the images of a batch together, the judgement of the whole
    batch is differentiated.

    Args:
        logit_real: `[N, L]`, computed from `real`.
        logit_fake: `[N, L]`, computed from `fake`.
        real: what the discriminator looked at, each `[N, ...]`; must require gradients where `r1_gamma` is not 0.
        fake: the same of fakes, with `r2_gamma`.
        r1_gamma: weight; 0: none.
        r2_gamma: weight; 0: none.

    Source: Mescheder et al. 2018, arXiv 1801.04406, equations 9 and 10.
    """
    weighted = [(x, gamma) for side, gamma in ((real, r1_gamma), (fake, r2_gamma)) if gamma for x in side]
    judged = logit_real.mean(dim=1).sum() + logit_fake.mean(dim=1).sum()
    gradients = torch.autograd.grad(judged, [x for x, _ in weighted], create_graph=True)
    terms = [0.5 * gamma / len(x) * g.square().sum() for (x, gamma), g in zip(weighted, gradients, strict=True)]
    return torch.stack(terms).sum()
