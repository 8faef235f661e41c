"""The base class of all trainers: data, randomness, schedule, sampling and state; and the registry of trainers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from synthbank.config import TrainConfig
from synthbank.errors import OptionError, StateError
from synthbank.fingerprint import stable_seed
from synthbank.models import (
    Generator,
    ModelSpec,
    SharedRng,
    architectures,
    channels_last,
    draw_latents,
    read_legacy_keys,
    to_uint8,
    transfer_weights,
)
from synthbank.records import LabelledImages, UInt8Images
from synthbank.registry import NoFacts, Registry
from synthbank.training.augment_d import symmetries
from synthbank.training.ema import ema_update, recalibrate_batchnorm
from synthbank.training.process_group import ProcessGroup

M = TypeVar("M", bound=nn.Module)

_INHERITED_LR = 1e-4
"""Largest learning rate of layers that draw what a smaller size has learned; docs/recipes.md, "Small first"."""


class Sampler(Protocol):
    """Chooses the originals of each step."""

    def batch(self, step: int) -> NDArray[np.int64]:
        """Indices into the training set, int64 `[batch_size]`; the same step always gives the same ones."""


class BaseTrainer(ABC):
    """The networks, optimisers and data of one run, as `TrainingLoop` runs them. Arguments as in `make_trainer`.

    Every random choice is a function of (seed, rollbacks, step). That is why a resumed run repeats an uninterrupted
    one bit for bit on the CPU: there is no generator state to lose. Several processes draw the numbers of the whole
    batch, and each keeps its own.
    """

    spec: ModelSpec
    config: TrainConfig
    process_group: ProcessGroup
    """The processes that train this model."""
    images: Tensor
    """Training images `[N, C, H, W]`, uint8, 0..255, on the device."""
    labels: Tensor
    """int64 `[N]`, on the device."""
    ema: Generator
    """The averaged generator."""
    rollbacks: int
    """Number of returns to an earlier state, each of which changes every later random choice."""
    lr_scale: float
    """Factor on every learning rate; halved by a rollback."""

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, *, train: LabelledImages, sampler: Sampler, fabric: Fabric
    ) -> None:
        self.spec, self.config, self.fabric, self.sampler = spec, config, fabric, sampler
        self.process_group = ProcessGroup(fabric)
        self.images = fabric.to_device(torch.from_numpy(train.images))
        self.labels = fabric.to_device(torch.from_numpy(train.labels))
        self.rollbacks = 0
        self.lr_scale = 1.0
        self.first_step = 0

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Every network of the state, by its name there; one is called "generator"."""

    @abstractmethod
    def optimizers(self) -> dict[str, tuple[Any, float, float]]:
        """Every optimiser of the state, with its initial learning rate and the fraction of it that is left last."""

    @abstractmethod
    def step(self, index: int, *, progress: float) -> dict[str, Tensor]:
        """Update the networks once.

        Args:
            index: number of the step, from 0.
            progress: share of the schedule that is done, 0..1; it sets the learning rates.

        Returns:
            Step metrics: detached scalars over the images of this process. The loop watches those called `loss…`.
        """

    @abstractmethod
    def mean_logit(self, images: UInt8Images, labels: NDArray[np.int64]) -> float | None:
        """Mean logit of images `[N, C, H, W]`, uint8, above 0 for real; `None`: there is no discriminator."""

    def published(self) -> Generator:
        """The averaged generator as a snapshot holds it: in eval mode, with recalibrated batch normalisation."""
        rng = self._rng("settle")
        labels = torch.arange(64, device=self.fabric.device) % self.spec.n_classes

        def draw(generator: Generator) -> None:
            latents = draw_latents(generator, labels, rng)
            generator(latents.z, latents.labels, latents.noise)

        generator: Generator = recalibrate_batchnorm(self.ema, draw, batches=4)
        return generator

    @torch.no_grad()
    def sample(self, generator: Generator, labels: NDArray[np.int64], *, batch_size: int = 64) -> UInt8Images:
        """Images for fixed latents, the same at every call of a run; `[len(labels), C, H, W]` uint8."""
        rng = self._rng("sample")
        out = []
        for part in torch.split(torch.from_numpy(labels).to(self.fabric.device), batch_size):
            latents = draw_latents(generator, part, rng)
            images = generator(latents.z, latents.labels, latents.noise)
            out.append(to_uint8(symmetries(images, self.spec.symmetry, rng)))
        return np.concatenate(out)

    def start_from(
        self, start: Mapping[str, Mapping[str, Tensor]], *, same_classes: bool, first_step: int = 0
    ) -> float:
        """Take over what fits of trained networks, before the first step.

        Args:
            start: `fused_state` of a "generator" and, where there is one, of a "discriminator".
            same_classes: they know the same classes in the same order.
            first_step: number of the step that comes next; the average warms up from there. Above 0: the start is an
                earlier growth stage of this run, at half the size.

        Returns:
            Share of the networks' values that were taken over, 0..1.
        """
        self.first_step = first_step
        sources = {**start, "ema": start["generator"]}
        transfers = {
            name: transfer_weights(sources[name], module, same_classes=same_classes)
            for name, module in self.modules().items()
            if name in sources
        }
        if first_step:
            self._distill_stage(start["generator"], transfers["generator"].fresh_parameters)
        copied = sum(t.copied for t in transfers.values())
        return copied / (copied + sum(t.fresh for t in transfers.values()))

    def _distill_stage(  # noqa: B027 (not every trainer has something to do)
        self, weights: Mapping[str, Tensor], fresh: Sequence[nn.Parameter]
    ) -> None:
        """Train the generator's fresh parameters on the images of the growth stage that left these weights."""

    def discriminator_state(self) -> dict[str, Tensor]:
        """Fused weights of the discriminator, for runs that start from this one; empty: there is none."""
        return {}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs: tensors, and plain values."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in self.modules().items():
            tensors |= {f"{prefix}.{k}": v for k, v in module.state_dict().items()}
        # optimisers number their parameters in registration order: renamed layers leave their state where it was
        for prefix, (optimizer, *_) in self.optimizers().items():
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"{prefix}.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return tensors, {"rollbacks": self.rollbacks, "lr_scale": self.lr_scale, "first_step": self.first_step}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` returned; layers may bear the names of earlier versions.

        Raises:
            StateError: the networks of the state are others.
        """
        for prefix, module in self.modules().items():
            built = module.state_dict()
            stored = read_legacy_keys(with_prefix(tensors, prefix), built)
            if _shapes(stored) != _shapes(built):
                raise StateError(
                    "This run was started with other networks, by another version of SynthBank",
                    got=f"a {prefix} of {len(stored)} tensors",
                    allowed=f"{len(built)}, of the shapes that this version builds",
                    next_step="resume with the version that started it, or start another run with --seed",
                )
            module.load_state_dict(stored)
        for prefix, (optimizer, *_) in self.optimizers().items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in with_prefix(tensors, prefix).items():
                number, key = name.split(".", 1)
                state.setdefault(int(number), {})[key] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
            for parameter, moments in optimizer.state.items():  # fused Adam walks memory: layouts must be the same
                for name, value in moments.items():
                    if value.shape == parameter.shape:
                        moments[name] = torch.empty_like(parameter).copy_(value)
        self.rollbacks, self.lr_scale = int(values["rollbacks"]), float(values["lr_scale"])
        self.first_step = int(values["first_step"])

    def _rng(self, *parts: object) -> SharedRng:
        """Randomness for one purpose. The words in `parts` are hashed: another word changes every image of a run."""
        rng = SharedRng(device=self.fabric.device)
        rng.manual_seed(stable_seed(self.config.seed, self.rollbacks, *parts))
        return rng

    def _step_rng(self, index: int) -> SharedRng:
        """Randomness of a step's batch, for the part of it that this process holds."""
        return self.process_group.share(self._rng("step", index))

    def _scaled(self, images: Tensor) -> Tensor:
        """uint8 to float in -1..1, in channels-last order."""
        x = images.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)
        return x.contiguous(memory_format=torch.channels_last)

    def _real_batch(self, index: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """This process's originals of a step, float `[N, C, H, W]` in -1..1, and their labels."""
        chosen = torch.from_numpy(self.process_group.own(self.sampler.batch(index))).to(self.images.device)
        return symmetries(self._scaled(self.images[chosen]), self.config.augment_real, rng), self.labels[chosen]

    def _to_layout(self, module: M) -> M:
        """The network in the memory order of the configuration."""
        return channels_last(module) if self.config.layout == "channels_last" else module

    def _adam(self, module: nn.Module, lr: float) -> torch.optim.Adam:
        """Adam; where a generator keeps a smaller size's picture, those layers are a group of their own."""
        trainable = [p for p in module.parameters() if p.requires_grad]
        new = {id(p) for p in module.detail_parameters()} if isinstance(module, Generator) else set()
        groups = [
            {"params": [p for p in trainable if id(p) not in new], "inherited": bool(new)},
            {"params": [p for p in trainable if id(p) in new], "inherited": False},
        ]
        return torch.optim.Adam(
            [g for g in groups if g["params"]], lr=lr, betas=(self.config.beta1, self.config.beta2), fused=True
        )

    def _in_precision(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a network's method in the run's precision; the result comes back in the default dtype.

        In one process Fabric itself does so for `forward` alone.
        """
        with self.fabric.autocast():
            out = method(*arguments)
        dtype = torch.get_default_dtype()  # losses are means over the batch, which half precision would round
        return out.to(dtype) if isinstance(out, Tensor) else [tensor.to(dtype) for tensor in out]

    def _update(self, module: nn.Module, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self._descend(module, optimizer)

    def _descend(self, module: nn.Module, optimizer: Any) -> None:
        """One optimiser step along the gradients that the processes have computed."""
        self.process_group.average_gradients(module)
        # after the averaging, so that all processes clip by the same norm
        if self.config.grad_clip:
            self.fabric.clip_gradients(module, optimizer, max_norm=self.config.grad_clip, error_if_nonfinite=False)
        optimizer.step()

    def _average(self, index: int) -> None:
        """Let the average follow the generator after step `index`."""
        step = index - self.first_step + 1
        ema_update(self.ema, self.modules()["generator"], decay=self.config.ema_decay, step=step)

    def _set_learning_rates(self, progress: float) -> None:
        # constant over the first half of the schedule, then linear down to `floor` of the initial rate
        fallen = max(2 * progress - 1, 0.0)
        for optimizer, lr, floor in self.optimizers().values():
            for group in optimizer.param_groups:
                # after a growth stage: layers that draw a good picture already lose it at the rate of fresh layers
                most = min(lr, _INHERITED_LR) if self.first_step and group["inherited"] else lr
                group["lr"] = most * (1.0 - (1.0 - floor) * fallen) * self.lr_scale


trainers: Registry[type[BaseTrainer], NoFacts] = Registry("trainer", NoFacts)


def make_trainer(
    spec: ModelSpec, config: TrainConfig, *, train: LabelledImages, sampler: Sampler, fabric: Fabric
) -> BaseTrainer:
    """The trainer that the architecture declares (`trainer=` beside its registration; adversarial by default).

    Args:
        spec: what to build.
        config: the resolved configuration.
        train: originals (and their expansion); held on the device.
        sampler: chooses each step's originals.
        fabric: launched; device, precision and processes.
    """
    check_batch(config, fabric.world_size)
    name = architectures.spec(config.architecture).trainer
    return trainers.get(name)(spec, config, train=train, sampler=sampler, fabric=fabric)


def check_batch(config: TrainConfig, processes: int) -> None:
    """Raise `OptionError` for a batch that cannot be divided among processes.

    An architecture whose discriminator compares neighbours in the batch declares how many: its `minibatch_group`.
    """
    if processes == 1:
        return
    step = processes * architectures.spec(config.architecture).minibatch_group
    if config.batch_size % step:
        raise OptionError(
            f"The batch cannot be divided among {processes} processes",
            got=f"batch_size {config.batch_size}",
            allowed=f"multiples of {step}",
            next_step=f"--set batch_size={-(-config.batch_size // step) * step}, or another number of processes",
        )


def spread(n: int, *, most: int) -> slice:
    """Every k-th of `n` images, at most `most` of them: the first ones of a set that is sorted by class are one class.

    >>> list(range(10))[spread(10, most=4)]
    [0, 3, 6, 9]
    """
    return slice(None, None, max(-(-n // most), 1))


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, under the rest of their names."""
    start = f"{prefix}."
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {k: v.shape for k, v in tensors.items()}
