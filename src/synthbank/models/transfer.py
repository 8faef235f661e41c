"""Weight transfer: initial weights for other classes, sizes and channels, taken from a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from synthbank.models.base import Discriminator
from synthbank.models.fuse import fused_state
from synthbank.models.weights import read_legacy_keys

_POWER_ITERATIONS = 50  # more than training needs for weights that it moves a little at a time


@dataclass(frozen=True)
class WeightTransfer:
    """The extent of a transfer: copied and fresh values of one network."""

    copied: int
    """Values that were copied as they are, or resampled along classes or colour channels."""
    fresh: int
    """Values that keep their random initialisation."""
    fresh_parameters: tuple[nn.Parameter, ...]
    """The parameters that hold the fresh values; running statistics are no parameters."""

    @property
    def share(self) -> float:
        """Share of the network's values that were copied, 0..1."""
        return self.copied / max(self.copied + self.fresh, 1)


@torch.no_grad()
def transfer_weights(tensors: Mapping[str, Tensor], module: nn.Module, *, same_classes: bool) -> WeightTransfer:
    """Copy what fits by name and shape into a freshly initialised network.

    A table over classes (every embedding is one) is copied where the classes are the same. Otherwise every row becomes
    the mean of the old rows. A last convolution of another colour channel count takes the mean over the old channels.
    Everything else that does not fit stays fresh.

    Args:
        tensors: from `fused_state`, of a published model; layers may bear the names of earlier versions.
        module: the new network; changed in place.
        same_classes: both networks know the same classes in the same order.

    Returns:
        The numbers of copied and of fresh values, and the parameters that hold the fresh ones.
    """
    training = module.training
    module.eval()  # reading a normalised weight must not move its power iteration
    copied = fresh = 0
    parameters: list[nn.Parameter] = []
    targets = _targets(module)
    tensors = read_legacy_keys(tensors, targets)
    for name, target in targets.items():
        source = tensors.get(name)
        mixed = not same_classes and isinstance(_holder(module, name)[0], nn.Embedding)
        fitted = None if source is None else _fitted(name, source.to(target.dtype), target, other_classes=mixed)
        if fitted is None:
            fresh += target.numel()
            parameters += _parameters_behind(module, name)
            continue
        _assign(module, name, fitted)
        copied += target.numel()
    module.train(training)
    return WeightTransfer(copied, fresh, tuple(parameters))


def _targets(module: nn.Module) -> dict[str, Tensor]:
    measured = module.measured if isinstance(module, Discriminator) else ()
    return {k: v for k, v in fused_state(module).items() if v.is_floating_point() and k not in measured}


def _holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds the tensor of this name, and the tensor's name in it."""
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def _parameters_behind(module: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters from which the tensor of this name is computed; none behind a running statistic."""
    part, leaf = _holder(module, name)
    if is_parametrized(part, leaf):
        return list(part.parametrizations[leaf].parameters())  # type: ignore[union-attr,index]
    return [p for n, p in part.named_parameters(recurse=False) if n == leaf]


def _fitted(name: str, source: Tensor, target: Tensor, *, other_classes: bool) -> Tensor | None:
    """The source in the target's shape; `None`: it does not fit.

    The result always has memory of its own: a parametrization keeps the tensor it is given, and one source goes to
    several networks.
    """
    if source.shape == target.shape and not other_classes:
        return source.clone()
    if source.shape[1:] == target.shape[1:] and (other_classes or name.startswith("to_pixels")):
        return source.mean(dim=0, keepdim=True).expand_as(target).clone()
    return None


def _assign(module: nn.Module, name: str, value: Tensor) -> None:
    part, leaf = _holder(module, name)
    if is_parametrized(part, leaf):
        setattr(part, leaf, value)  # goes through the parametrization to the weight behind it
        part.train()
        for _ in range(_POWER_ITERATIONS):  # the old singular vectors belong to the random weight
            getattr(part, leaf)
        part.eval()
    else:
        part.state_dict(keep_vars=True)[leaf].copy_(value)
