"""One step of adversarial training: two players, one shared fake pass, and the average that is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from synthbank.config import TrainConfig
from synthbank.fingerprint import stable_seed
from synthbank.models import (
    Generator,
    ModelSpec,
    architectures,
    baked_state,
    channels_last,
    draw_latents,
    lend,
    to_uint8,
)
from synthbank.records import LabelledImages, UInt8Images
from synthbank.training.augment_d import augment, symmetries
from synthbank.training.ema import ema_copy, ema_update, settled
from synthbank.training.losses import losses


class Sampler(Protocol):
    """Chooses the originals of each step."""

    def batch(self, step: int) -> NDArray[np.int64]:
        """Indices into the training set, int64 `[batch_size]`; the same step always gives the same ones."""


class AdversarialTrainer:
    """Networks, optimisers and data of one run; every random choice is a function of (seed, rollbacks, step).

    That is why a resumed run repeats an uninterrupted one bit for bit on the CPU: there is no generator state to lose.

    Args:
        spec: what to build.
        config: the resolved configuration.
        train: originals (and their expansion); held on the device.
        sampler: chooses each step's originals.
        fabric: launched; device and precision.
    """

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, *, train: LabelledImages, sampler: Sampler, fabric: Fabric
    ) -> None:
        self.spec, self.config, self.fabric, self.sampler = spec, config, fabric, sampler
        architecture = architectures.get(config.architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_seed(config.seed, "weights"))
            generator = channels_last(architecture.generator(spec))
            discriminator = channels_last(architecture.discriminator(spec))
        self.loss = losses.get(config.loss)
        self.images = fabric.to_device(torch.from_numpy(train.images))
        self.labels = fabric.to_device(torch.from_numpy(train.labels))
        discriminator = discriminator.to(fabric.device)
        discriminator.calibrate(self._scaled(self.images[: 64 * 16]))
        self.ema = ema_copy(generator).to(fabric.device)
        betas = (config.beta1, config.beta2)
        adam_g = torch.optim.Adam(_trainable(generator), lr=config.lr_g, betas=betas, fused=True)
        adam_d = torch.optim.Adam(_trainable(discriminator), lr=config.lr_d, betas=betas, fused=True)
        self.generator, self.opt_g = fabric.setup(generator, adam_g)
        self.discriminator, self.opt_d = fabric.setup(discriminator, adam_d)
        self.discriminator.mark_forward_method("features")
        self.discriminator.mark_forward_method("logits")
        self.rollbacks = 0
        self.lr_scale = 1.0

    def start_from(
        self, generator: Mapping[str, Tensor], discriminator: Mapping[str, Tensor], *, same_classes: bool
    ) -> float:
        """Take over what fits of trained networks (`baked_state`) before step one; the share of values taken over."""
        lent = [lend(generator, self.generator.module, same_classes=same_classes)]
        if discriminator:
            lent.append(lend(discriminator, self.discriminator.module, same_classes=same_classes))
        self.ema.load_state_dict(self.generator.module.state_dict())
        return sum(part.copied for part in lent) / sum(part.copied + part.fresh for part in lent)

    def step(self, index: int, *, progress: float) -> dict[str, Tensor]:
        """One update of both players.

        Args:
            index: number of the step, from 0.
            progress: share of the schedule done, for the learning rate.

        Returns:
            Detached scalars: `loss_d`, `loss_g`, `logit_real`, `logit_fake`.
        """
        config = self.config
        rng = self._rng("step", index)
        self._set_learning_rates(progress)
        real, labels = self._real_batch(index, rng)
        latents = draw_latents(self.ema, labels, rng)
        fake = symmetries(self.generator(latents.z, latents.labels, latents.noise), self.spec.symmetry, rng)
        fake_features = self.discriminator.features(augment(fake, config.augment_d, rng))
        with torch.no_grad():
            real_features = self.discriminator.features(augment(real, config.augment_d, rng))

        logit_real, logit_fake = self._judge(real_features, [f.detach() for f in fake_features], labels)
        loss_d = self.loss.discriminator(logit_real, logit_fake)
        self._update(self.discriminator, self.opt_d, loss_d)

        loss_g = self.loss.generator(self._judge(real_features, fake_features, labels)[1])
        # only the part of the gradient that reaches the generator is computed
        toward_generator = torch.autograd.grad(loss_g, fake_features)
        self.opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(fake_features, list(toward_generator))
        self._clip(self.generator, self.opt_g)
        self.opt_g.step()
        ema_update(self.ema, self.generator.module, decay=config.ema_decay, step=index + 1)
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "logit_real": logit_real.detach().mean(),
            "logit_fake": logit_fake.detach().mean(),
        }

    def published(self) -> Generator:
        """The averaged generator as a snapshot holds it: in eval mode, its normalisation measured on itself."""
        rng = self._rng("settle")
        labels = torch.arange(64, device=self.fabric.device) % self.spec.n_classes

        def draw(generator: Generator) -> None:
            latents = draw_latents(generator, labels, rng)
            generator(latents.z, latents.labels, latents.noise)

        generator: Generator = settled(self.ema, draw, batches=4)
        return generator

    def judge_weights(self) -> dict[str, Tensor]:
        """What the discriminator has learned, for runs that start from this one."""
        module = self.discriminator.module.eval()
        try:
            return {k: v for k, v in baked_state(module).items() if k not in module.measured}
        finally:
            module.train()

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

    @torch.no_grad()
    def mean_logit(self, images: UInt8Images, labels: NDArray[np.int64]) -> float:
        """Mean realness the discriminator gives to images `[N, C, H, W]` uint8, without learning from them."""
        module = self.discriminator.module
        module.eval()
        try:
            parts = zip(
                torch.split(torch.from_numpy(images).to(self.fabric.device), 64),
                torch.split(torch.from_numpy(labels).to(self.fabric.device), 64),
                strict=True,
            )
            return float(torch.cat([module(self._scaled(x), y).mean(dim=1) for x, y in parts]).mean())
        finally:
            module.train()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs: tensors, and plain values."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in self._modules().items():
            tensors |= {f"{prefix}.{k}": v for k, v in module.state_dict().items()}
        for prefix, optimizer in (("opt_g", self.opt_g), ("opt_d", self.opt_d)):
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"{prefix}.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return tensors, {"rollbacks": self.rollbacks, "lr_scale": self.lr_scale}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        for prefix, module in self._modules().items():
            module.load_state_dict(_below(tensors, prefix))
        for prefix, optimizer in (("opt_g", self.opt_g), ("opt_d", self.opt_d)):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(tensors, prefix).items():
                number, key = name.split(".", 1)
                state.setdefault(int(number), {})[key] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
            for parameter, moments in optimizer.state.items():  # fused Adam walks memory: layouts must be the same
                for name, value in moments.items():
                    if value.shape == parameter.shape:
                        moments[name] = torch.empty_like(parameter).copy_(value)
        self.rollbacks, self.lr_scale = int(values["rollbacks"]), float(values["lr_scale"])

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator.module, "discriminator": self.discriminator.module, "ema": self.ema}

    def _rng(self, *parts: object) -> torch.Generator:
        seed = stable_seed(self.config.seed, self.rollbacks, *parts)
        return torch.Generator(device=self.fabric.device).manual_seed(seed)

    def _scaled(self, images: Tensor) -> Tensor:
        x = images.to(torch.float32).div_(127.5).sub_(1.0)
        return x.contiguous(memory_format=torch.channels_last)

    def _real_batch(self, index: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(self.sampler.batch(index)).to(self.images.device)
        return symmetries(self._scaled(self.images[chosen]), self.config.augment_real, rng), self.labels[chosen]

    def _judge(self, real: list[Tensor], fake: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of reals and fakes in one pass, so that batch normalisation cannot hide how their means differ."""
        both = [torch.cat(pair) for pair in zip(real, fake, strict=True)]
        logit_real, logit_fake = self.discriminator.logits(both, torch.cat([labels, labels])).chunk(2)
        return logit_real, logit_fake

    def _update(self, module: nn.Module, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self._clip(module, optimizer)
        optimizer.step()

    def _clip(self, module: nn.Module, optimizer: Any) -> None:
        if self.config.grad_clip:
            self.fabric.clip_gradients(module, optimizer, max_norm=self.config.grad_clip, error_if_nonfinite=False)

    def _set_learning_rates(self, progress: float) -> None:
        decay = 1.0 - (1.0 - self.config.lr_floor) * max(2 * progress - 1, 0.0)
        for optimizer, lr in ((self.opt_g, self.config.lr_g), (self.opt_d, self.config.lr_d)):
            for group in optimizer.param_groups:
                group["lr"] = lr * decay * self.lr_scale


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
