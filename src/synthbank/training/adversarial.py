"""One step of adversarial training: generator and discriminator, one shared fake pass, and the published average."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from synthbank.config import TrainConfig
from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed
from synthbank.models import ModelSpec, adversarial_architecture, draw_latents, fused_state, load_fused
from synthbank.records import LabelledImages, UInt8Images
from synthbank.training.ada import AdaptiveStrength
from synthbank.training.augment_d import augment, symmetries
from synthbank.training.distillation import distill_stage
from synthbank.training.ema import ema_copy
from synthbank.training.losses import losses
from synthbank.training.penalties import gradient_penalty
from synthbank.training.trainer import BaseTrainer, Sampler, spread, trainers

_CALIBRATION_IMAGES = 1024


@trainers.register("adversarial")
class AdversarialTrainer(BaseTrainer):
    """Generator and discriminator, their optimisers and data of one run. Arguments as in `make_trainer`."""

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, *, train: LabelledImages, sampler: Sampler, fabric: Fabric
    ) -> None:
        super().__init__(spec, config, train=train, sampler=sampler, fabric=fabric)
        if config.adversarial is None:
            raise OptionError(
                f"'{config.architecture}' trains a discriminator, and the configuration has no options for one",
                next_step="start from the preset of this architecture",
            )
        self.options = config.adversarial
        architecture = adversarial_architecture(config.architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_seed(config.seed, "weights"))
            generator = self._to_layout(architecture.generator(spec))
            discriminator = self._to_layout(architecture.discriminator(spec))
        self.loss = losses.get(self.options.loss)
        ada_target, ada_kimg = self.options.ada_target, self.options.ada_kimg
        self.strength = AdaptiveStrength(ada_target, ada_kimg, fabric.device) if ada_target else None
        discriminator = discriminator.to(fabric.device)
        discriminator.calibrate(self.images[spread(len(self.images), most=_CALIBRATION_IMAGES)], self._scaled)
        # copied first: the main process alone draws from the average, where synchronised layers would wait for the rest
        self.ema = ema_copy(generator).to(fabric.device)
        generator, discriminator = (
            self.process_group.sync_batchnorm(generator),
            self.process_group.sync_batchnorm(discriminator),
        )
        self.generator, self.opt_g = fabric.setup(generator, self._adam(generator, config.lr_g))
        self.discriminator, self.opt_d = fabric.setup(discriminator, self._adam(discriminator, self.options.lr_d))
        # Fabric knows `forward` alone; a step calls its two halves
        self.discriminator.mark_forward_method("features")
        self.discriminator.mark_forward_method("logits")

    @override
    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator.module, "discriminator": self.discriminator.module, "ema": self.ema}

    @override
    def optimizers(self) -> dict[str, tuple[Any, float, float]]:
        generator_fraction, own_fraction = self.config.lr_final_fraction, self.options.lr_final_fraction_discriminator
        discriminator_fraction = generator_fraction if own_fraction is None else own_fraction
        return {
            "opt_g": (self.opt_g, self.config.lr_g, generator_fraction),
            "opt_d": (self.opt_d, self.options.lr_d, discriminator_fraction),
        }

    @override
    def discriminator_state(self) -> dict[str, Tensor]:
        module = self.discriminator.module.eval()
        try:
            return {k: v for k, v in fused_state(module).items() if k not in module.measured}
        finally:
            module.train()

    @override
    def step(self, index: int, *, progress: float) -> dict[str, Tensor]:
        """Update discriminator and generator once.

        Args:
            index: number of the step, from 0.
            progress: share of the schedule that is done, 0..1; it sets the learning rates.

        Returns:
            Detached scalars: `loss_d` (without penalties), `loss_g`, `logit_real`, `logit_fake`; with adaptive
            augmentation `augment_p`, in steps with gradient penalties `penalty`.
        """
        rng = self._step_rng(index)
        self._set_learning_rates(progress)

        # One fake pass for both updates: D reads its features detached, G gets its gradient through them.
        # The augmentation T acts on reals and on fakes, and in both updates: on reals alone, G would learn to draw
        # augmented images (Zhao et al. 2020, arXiv 2006.10738, section 3).
        real, labels = self._real_batch(index, rng)
        latents = draw_latents(self.ema, labels, rng)  # a fake of each real's class
        fake = symmetries(self.generator(latents.z, latents.labels, latents.noise), self.spec.symmetry, rng)
        fake_features = self._in_precision(self.discriminator.features, self._augmented(fake, rng))
        with torch.no_grad():  # D learns nothing before its features, and reals have no G behind them
            real_features = self._in_precision(self.discriminator.features, self._augmented(real, rng))

        # First backward pass: min over D of L_D, with both feature lists as constants.
        metrics = self._update_discriminator(index, real_features, fake_features, labels)

        # Second backward pass: dL_G / df at the fakes' features f, through the logits of the updated D. The features
        # are cut off as leaves, so that this pass computes no gradient of D's weights.
        leaves = [f.detach().requires_grad_() for f in fake_features]
        loss_g = self.loss.generator(*self._discriminate(real_features, leaves, labels))
        self.fabric.backward(loss_g, inputs=leaves)

        # Third backward pass, by the chain rule: the gradient of sum(f * const(dL_G / df)) with respect to G's weights
        # is dL_G / dG. It runs through the frozen part of D, the augmentation and G.
        self.opt_g.zero_grad(set_to_none=True)
        pairs = zip(fake_features, leaves, strict=True)
        self.fabric.backward(torch.stack([(f * leaf.grad).sum() for f, leaf in pairs]).sum())
        self._descend(self.generator, self.opt_g)
        self._average(index)
        return {**metrics, "loss_g": loss_g.detach()}

    @override
    @torch.no_grad()
    def mean_logit(self, images: UInt8Images, labels: NDArray[np.int64]) -> float:
        module = self.discriminator.module
        module.eval()  # running statistics are read, not moved
        try:
            parts = zip(
                torch.split(torch.from_numpy(images).to(self.fabric.device), 64),
                torch.split(torch.from_numpy(labels).to(self.fabric.device), 64),
                strict=True,
            )
            logits = [self._in_precision(module, self._scaled(x), y).mean(dim=1) for x, y in parts]
            return float(torch.cat(logits).mean())
        finally:
            module.train()

    @override
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, values = super().state()
        if self.strength is not None:
            tensors |= {f"ada.{k}": v for k, v in self.strength.state().items()}
        return tensors, values

    @override
    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super().load_state(tensors, values)
        if self.strength is not None:
            self.strength.load_state({k: tensors[f"ada.{k}"] for k in self.strength.state()})

    @override
    def _distill_stage(self, weights: Mapping[str, Tensor], fresh: Sequence[nn.Parameter]) -> None:
        if self.generator.module.detail_parameters():
            return  # it draws the smaller one's picture already
        small = load_fused(dataclasses.replace(self.spec, size=self.spec.size // 2), weights).to(self.fabric.device)
        large = self.generator.module
        distill_stage(
            small,
            large,
            fresh,
            steps_before=self.first_step,
            batch_size=self.config.batch_size,
            rng=self._rng("hand over"),
            fabric=self.fabric,
        )
        self.ema.load_state_dict(large.state_dict())

    def _augmented(self, images: Tensor, rng: torch.Generator) -> Tensor:
        probability = None if self.strength is None else self.strength.p
        return augment(images, self.options.augment_d, rng, probability=probability)

    def _update_discriminator(
        self, index: int, real: list[Tensor], fake: list[Tensor], labels: Tensor
    ) -> dict[str, Tensor]:
        options = self.options
        # Lazy regularisation: every k-th step, with k times the weight, which keeps the mean gradient
        # (Karras et al. 2020, arXiv 1912.04958, section 3.1).
        due = index % options.penalty_every == 0
        r1_gamma, r2_gamma = (gamma * options.penalty_every * due for gamma in (options.r1_gamma, options.r2_gamma))
        real = [f.detach().requires_grad_(r1_gamma > 0) for f in real]
        fake = [f.detach().requires_grad_(r2_gamma > 0) for f in fake]
        logit_real, logit_fake = self._discriminate(real, fake, labels)
        loss = self.loss.discriminator(logit_real, logit_fake)
        metrics = {"loss_d": loss.detach()}
        if r1_gamma or r2_gamma:
            # one update for loss and penalty, where the papers take two: Adam's settings need no correction
            penalty = gradient_penalty(
                logit_real=logit_real, logit_fake=logit_fake, real=real, fake=fake, r1_gamma=r1_gamma, r2_gamma=r2_gamma
            )
            metrics["penalty"] = penalty.detach()
            loss = loss + penalty
        self._update(self.discriminator, self.opt_d, loss)
        if self.strength is not None:
            metrics["augment_p"] = self.strength.p  # as it acted on this step
            self.strength.update(self.process_group.gather(self.loss.realness(logit_real, logit_fake)))
        return metrics | {"logit_real": logit_real.detach().mean(), "logit_fake": logit_fake.detach().mean()}

    def _discriminate(self, real: list[Tensor], fake: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of reals and fakes in one pass, so that batch normalisation cannot hide how their means differ."""
        both = [torch.cat(pair) for pair in zip(real, fake, strict=True)]
        logits = self._in_precision(self.discriminator.logits, both, torch.cat([labels, labels]))
        logit_real, logit_fake = logits.chunk(2)
        return logit_real, logit_fake
