"""Fused weights: spectral normalisation multiplied into the plain weights that are published."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from synthbank.models.base import Generator, ModelSpec, architectures, channels_last


@torch.no_grad()
def fused_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics with spectral normalisation multiplied in.

    Args:
        network: in eval mode, so that reading a normalised weight does not move its power iteration.
    """
    assert not network.training
    state = {k: v for k, v in network.state_dict().items() if ".parametrizations." not in k}
    for prefix, module in network.named_modules():
        if is_parametrized(module):
            names = list(module.parametrizations)
            state |= {f"{prefix}.{name}": getattr(module, name).detach().clone() for name in names}
    return state


def load_fused(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Generator:
    """A generator ready for inference from `fused_state`; its weights are plain, frozen and channels-last."""
    with torch.random.fork_rng(devices=[]):
        generator = architectures.get(spec.architecture).generator(spec).eval()
    for module in generator.modules():
        if is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                remove_parametrizations(module, name, leave_parametrized=True)
    generator.load_state_dict(tensors)
    return channels_last(generator.requires_grad_(False))
