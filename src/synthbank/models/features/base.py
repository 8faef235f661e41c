"""The base class of frozen feature networks, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from synthbank.errors import OptionError
from synthbank.memory import keep_freed_memory
from synthbank.models.base import channels_last
from synthbank.models.weights import state_fingerprint
from synthbank.registry import Registry


class FeatureNetwork(nn.Module, ABC):
    """A frozen network that turns images into feature maps and pooled vectors.

    Images go in as float `[N, 3, H, W]` in -1..1; H and W need not be those of the pretraining.
    """

    name: str
    dim: int
    """Length of the pooled vector."""
    tap_channels: tuple[int, ...]
    """Channels of the maps at strides 4, 8, 16 and 32."""

    @abstractmethod
    def taps(self, images: Tensor) -> list[Tensor]:
        """Maps at strides s = 4, 8, 16, 32: floats `[N, tap_channels[i], H/s, W/s]`, differentiable."""

    @abstractmethod
    def pooled(self, images: Tensor) -> Tensor:
        """Globally averaged last features, float `[N, dim]`."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that shapes the vectors but the input size; equal networks give equal vectors."""
        return state_fingerprint(self.state_dict())

    @torch.inference_mode()
    def embed(self, batches: Iterable[NDArray[np.uint8]], *, input_size: int | None = None) -> NDArray[np.float32]:
        """Features of uint8 images, computed in fp32.

        Args:
            batches: arrays `[N, C, H, W]`, uint8, 0..255, C of 1 or 3.
            input_size: side that images are resized to (bilinear, anti-aliased); `None`: their own size.

        Returns:
            `[sum N, dim]`, float32, in the order given; independent of how the images are cut into batches
            up to rounding.
        """
        device = next(chain(self.parameters(), self.buffers())).device
        out = [self.pooled(to_input(torch.from_numpy(b).to(device), input_size)).cpu().numpy() for b in batches]
        return np.concatenate(out) if out else np.zeros((0, self.dim), np.float32)


def to_input(images: Tensor, input_size: int | None) -> Tensor:
    """uint8 `[N, C, H, W]` to float `[N, 3, S, S]` in -1..1, channels last; grey is repeated to three channels."""
    x = images.float().div_(127.5).sub_(1.0)
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if input_size is not None and x.shape[-1] != input_size:
        x = functional.interpolate(x, size=(input_size, input_size), mode="bilinear", antialias=True)
    return x.contiguous(memory_format=torch.channels_last)


def batched(images: NDArray[np.uint8], batch_size: int = 64) -> Iterable[NDArray[np.uint8]]:
    """Cut an array of images into batches, in order."""
    return (images[i : i + batch_size] for i in range(0, len(images), batch_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNetworkSpec:
    """Declared facts of a frozen feature network."""

    citation: str
    """Paper, as an arXiv number."""
    used_inside_discriminators: bool = False
    """Discriminators may look through it, so scores in its space can be too kind."""

    def __post_init__(self) -> None:
        if not self.citation:
            raise OptionError("A feature network needs a citation", got=self)


feature_networks: Registry[Callable[[], FeatureNetwork], FeatureNetworkSpec] = Registry(
    "feature network",
    FeatureNetworkSpec,
    package="synthbank.models.features",
    entry_point_group="synthbank.feature_networks",
)


@lru_cache(maxsize=4)
def load_feature_network(name: str) -> FeatureNetwork:
    """The frozen network called `name`, built once per process, on the CPU, in eval mode."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):  # or what is built beside it would depend on whether this came first
        network = feature_networks.get(name)()
    network.eval().requires_grad_(False)
    return channels_last(network)
