"""The base classes of every architecture: generator, denoiser, discriminator; and the registry of architectures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import inf, log2
from typing import Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from synthbank.errors import OptionError, UnknownNameError
from synthbank.registry import Registry, check_fact

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_WANTED = {int: "a whole number above 0", float: "a number above 0", str: "a name"}
"""Allowed values of an architecture option, by the type of its default."""


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a network again; it stands in `model.json` beside the weights."""

    architecture: str
    size: int
    """Height and width of the images; a power of two, 32 to 512."""
    channels: int
    """1 for grey, 3 for RGB, or more."""
    class_names: tuple[str, ...]
    latent_dim: int = 128
    symmetry: str = "none"
    """Every image is laid at random in one of the orientations of this group: none, flip (2) or dihedral (8)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Architecture options that differ from its defaults."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size > 512 or log2(self.size) % 1:
            raise OptionError("No generator makes this image size", got=self.size, allowed="32, 64, 128, 256, 512")
        if self.channels < 1 or not self.class_names or self.latent_dim < 1:
            raise OptionError("A model needs channels, a latent and at least one class", got=asdict(self))
        _check_options(self)

    @property
    def n_classes(self) -> int:
        """Number of classes; 1 means unconditional."""
        return len(self.class_names)

    def option(self, name: str) -> Any:
        """Value of an architecture option: the model's own, or else the default that the architecture declares."""
        return self.options.get(name, _declared(self.architecture)[name])

    def to_json(self) -> dict[str, Any]:
        """Plain values for `model.json`."""
        return {**asdict(self), "class_names": list(self.class_names)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_json`; options that no version checked are read as those versions read them."""
        declared = _declared(values["architecture"])
        options = {k: type(declared[k])(v) for k, v in values.get("options", {}).items() if k in declared}
        return cls(**{**values, "class_names": tuple(values["class_names"]), "options": options})


class Generator(nn.Module, ABC):
    """Latents, labels and spatial noise in, images out.

    The forward pass is cut in two so that truncation can act between them: `stem` maps a latent to the first hidden
    state, `body` draws the image from it.
    """

    spec: ModelSpec
    noise_dim: int
    """Number of spatial noise values an image takes; 0: none."""

    @abstractmethod
    def stem(self, z: Tensor, labels: Tensor) -> Tensor:
        """First hidden state `[N, ...]` from standard normal `z` `[N, latent_dim]` and `labels` int64 `[N]`."""

    @abstractmethod
    def body(self, hidden: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Images, float `[N, C, H, W]` in -1..1, from a hidden state and standard normal `noise` `[N, noise_dim]`."""

    def forward(self, z: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """`body(stem(z, labels), labels, noise)`."""
        return self.body(self.stem(z, labels), labels, noise)

    def detail_parameters(self) -> list[nn.Parameter]:
        """Parameters that this size alone has, and that add detail to the enlarged picture of half the size.

        The detail starts at zero. Empty: a generator of half the size with the same weights draws another picture.
        """
        return []


class Denoiser(Generator):
    """A generator that removes noise step by step, and is trained at one noise level at a time."""

    sigma_data: float
    """Assumed standard deviation of the images in -1..1."""

    @abstractmethod
    def denoise(self, noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Expected clean images, from images with noise of standard deviation `sigma` `[N]` added."""


class Discriminator(nn.Module, ABC):
    """Tells real images from synthetic ones, in two steps.

    `features` is differentiable with respect to the images; `logits` holds everything that the discriminator learns.
    So one forward pass of the fakes serves the updates of both networks.
    """

    measured: tuple[str, ...] = ()
    """Buffers that `calibrate` measures on the reals; they belong to one data set, and no other run takes them over."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """The input of `logits`, from images float `[N, C, H, W]` in -1..1."""

    @abstractmethod
    def logits(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """Logits, float `[N, L]` (L of an image); above 0 means real."""

    def calibrate(self, images: Tensor, scaled: Callable[[Tensor], Tensor] = lambda batch: batch) -> None:
        """Measure real images once before training starts; most discriminators need nothing.

        Args:
            images: `[N, C, H, W]`, all of which may be too many to hold as floats.
            scaled: makes a batch of them float in -1..1.
        """

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """`logits(features(images), labels)`."""
        return self.logits(self.features(images), labels)


class Architecture(Protocol):
    """Builds the networks of one paper."""

    def generator(self, spec: ModelSpec) -> Generator:
        """A freshly initialised generator (draws from torch's global RNG: seed it first)."""


@runtime_checkable
class AdversarialArchitecture(Architecture, Protocol):
    """An architecture that is trained against a discriminator."""

    def discriminator(self, spec: ModelSpec) -> Discriminator:
        """A freshly initialised discriminator."""


TrainerName = Literal["adversarial", "denoising"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpec:
    """Declared facts of an architecture."""

    citation: str
    """Papers, as arXiv numbers."""
    labels: bool = True
    """The generator can be told which class to draw."""
    options: Mapping[str, int | float | str] = field(default_factory=dict)
    """Options of its networks (`model_options`) with their defaults; a value must be of the type of its default."""
    trainer: TrainerName = "adversarial"
    """Name of the trainer that trains it."""
    truncation: bool = True
    """Its latents can be truncated; `False`: every truncation draws the same image."""
    minibatch_group: int = 1
    """Neighbours in the batch that its discriminator compares; a batch on several processes is a multiple of it."""
    feature_network: str | None = None
    """Frozen network that its discriminator looks through by default; `None`: none."""

    def __post_init__(self) -> None:
        check_fact("trainer", self.trainer, get_args(TrainerName))
        if self.minibatch_group < 1 or not self.citation:
            raise OptionError("An architecture needs a citation, and a minibatch group of 1 or more", got=self)
        wrong = {name: value for name, value in self.options.items() if type(value) not in _WANTED}
        if wrong:
            raise OptionError("An architecture option has an int, a float or a str as its default", got=wrong)


architectures: Registry[Architecture, ArchitectureSpec] = Registry(
    "architecture",
    ArchitectureSpec,
    package="synthbank.models.architectures",
    entry_point_group="synthbank.architectures",
)


def _declared(architecture: str) -> Mapping[str, int | float | str]:
    """Options of an architecture and their defaults."""
    return architectures.spec(architecture).options


def _check_options(spec: ModelSpec) -> None:
    declared = _declared(spec.architecture)
    for name, value in spec.options.items():
        if name not in declared:
            raise UnknownNameError(
                f"option of '{spec.architecture}'", str(name), declared, next_step="leave it out of model_options"
            )
        default = declared[name]
        if not _fits(value, default):
            raise OptionError(
                f"Option '{name}' of '{spec.architecture}' cannot have this value",
                got=repr(value),
                allowed=_WANTED[type(default)],
                next_step=f"the default is --set 'model_options={{{name}: {default}}}'",
            )


def _fits(value: Any, default: float | str) -> bool:
    if isinstance(default, str):
        return isinstance(value, str)
    number = isinstance(value, int) or (isinstance(value, float) and isinstance(default, float))
    return number and not isinstance(value, bool) and 0 < value < inf


def adversarial_architecture(name: str) -> AdversarialArchitecture:
    """The architecture called `name`, which must have a discriminator.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: it has no discriminator.
    """
    architecture = architectures.get(name)
    if not isinstance(architecture, AdversarialArchitecture):
        raise OptionError(
            "This architecture has no discriminator",
            got=name,
            allowed=[n for n in architectures if isinstance(architectures.get(n), AdversarialArchitecture)],
        )
    return architecture


def channels_last(module: AnyModule) -> AnyModule:
    """The module itself, its convolution weights laid out channels-last: faster on CPUs and on tensor cores."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def networks_inside(spec: ModelSpec) -> frozenset[str]:
    """Names of the frozen networks that a model's discriminator looked through while it was trained.

    The model's option `feature_network` wins over the architecture's default. The scores that such a network gives the
    model's images are too good.
    """
    default = architectures.spec(spec.architecture).feature_network
    return frozenset() if default is None else frozenset({str(spec.options.get("feature_network", default))})
