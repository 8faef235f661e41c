"""A larger generator learns to draw what a smaller one drew."""

import dataclasses

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional

from synthbank.config import TrainConfig
from synthbank.data import EpochSampler
from synthbank.models import (
    ModelSpec,
    SharedRng,
    adversarial_architecture,
    draw_latents,
    fused_state,
    load_fused,
    transfer_weights,
)
from synthbank.models.blocks import sharp_up
from synthbank.records import LabelledImages
from synthbank.training import make_trainer
from synthbank.training.distillation import distill_stage
from synthbank.training.ema import recalibrate_batchnorm

ARCHITECTURES = ("dcgan", "projected", "r3gan", "sagan", "stylegan2")


def _networks(architecture):
    """A generator of 32 pixels, and one of 64 that has its weights where they fit."""
    spec = ModelSpec(architecture, 32, 3, ("a", "b"), latent_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # without its normalisation measured on itself, all images of a random generator are one grey
        random = adversarial_architecture(architecture).generator(spec)
        weights = fused_state(recalibrate_batchnorm(random, _draw, batches=1))
        large = adversarial_architecture(architecture).generator(dataclasses.replace(spec, size=64))
    fresh = transfer_weights(weights, large, same_classes=True).fresh_parameters
    return load_fused(spec, weights), large, fresh


def _draw(generator):
    labels = torch.arange(32) % 2
    latents = draw_latents(generator, labels, torch.Generator().manual_seed(0))
    generator(latents.z, labels, latents.noise)


def _distill_stage(small, large, fresh, *, steps_before):
    rng = SharedRng()
    rng.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    return distill_stage(small, large, fresh, steps_before=steps_before, batch_size=4, rng=rng, fabric=fabric)


@torch.no_grad()
def _distance(small, large):
    """Between images of the same latents, both in eval mode; beside it, how far the small one's images vary."""
    labels = torch.arange(16) % 2
    latents = draw_latents(large, labels, torch.Generator().manual_seed(1))
    drawn = functional.interpolate(
        small(latents.z, labels, latents.noise[:, : small.noise_dim]), scale_factor=2.0, mode="bilinear"
    )
    redrawn = large.eval()(latents.z, labels, latents.noise)
    large.train()
    return (redrawn - drawn).square().mean().item(), drawn.var(dim=0).mean().item()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_new_layers_learn_the_small_generators_images_and_nothing_else_moves(architecture):
    small, large, fresh = _networks(architecture)
    before = {name: p.detach().clone() for name, p in large.named_parameters()}
    errors = _distill_stage(small, large, fresh, steps_before=240)
    assert len(errors) == 30
    assert np.mean(errors[-5:]) < 0.5 * errors[0]
    new = {id(p) for p in fresh}
    moved = {name for name, p in large.named_parameters() if not torch.equal(before[name], p)}
    assert moved
    assert moved <= {name for name, p in large.named_parameters() if id(p) in new}
    assert all(p.grad is None for p in large.parameters())


def test_latent_by_latent_the_large_generator_draws_the_same_picture():
    small, large, fresh = _networks("projected")
    before, _ = _distance(small, large)
    assert len(_distill_stage(small, large, fresh, steps_before=10_000)) == 100
    after, variance = _distance(small, large)
    assert after < 0.5 * variance < before


def _draws_the_same(small, large):
    labels = torch.arange(6) % 2
    latents = draw_latents(large, labels, torch.Generator().manual_seed(1))
    with torch.no_grad():
        drawn = small(latents.z, labels, latents.noise[:, : small.noise_dim])
        redrawn = large(latents.z, labels, latents.noise)
    wanted = sharp_up(torch.atanh(drawn))
    assert (torch.atanh(redrawn) - wanted).square().mean() < 1e-3 * wanted.var()


@pytest.mark.parametrize("sizes", [(64, 128), (64, 256), (128, 256)])
def test_a_generator_that_keeps_the_picture_draws_it_enlarged_from_the_first_step(sizes):
    spec = ModelSpec("projected", sizes[0], 3, ("a", "b"), latent_dim=16, options={"width": 0.25, "picture_size": 64})
    build = adversarial_architecture("projected").generator
    small = build(spec)
    for _ in range(30):  # as training would, find the singular vectors by which weights are divided
        _draw(small)
    small = recalibrate_batchnorm(small.eval(), _draw, batches=1)
    if sizes[0] > 64:
        torch.nn.init.ones_(small.details["128"].gain)
    large = build(dataclasses.replace(spec, size=sizes[1]))
    transfer = transfer_weights(fused_state(small), large, same_classes=True)
    new = {id(p) for p in large.detail_parameters()}
    assert new
    assert (new == {id(p) for p in transfer.fresh_parameters}) == (sizes[1] == 2 * sizes[0])
    if sizes[1] == 2 * sizes[0]:
        _draws_the_same(small, large.eval())
    assert build(spec).detail_parameters() == [] or sizes[0] > 64


def test_what_was_distilled_learns_slowly_and_what_is_new_does_not():
    options = {"width": 0.25, "mixing": 8, "picture_size": 32}
    config = TrainConfig(steps=4, batch_size=4, lr_g=4e-3, lr_final_fraction=0.1, model_options=options)
    spec = ModelSpec("projected", 64, 3, ("a", "b"), latent_dim=16, options=options)
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), dtype=np.uint8)
    data = LabelledImages(images, np.arange(8) % 2, spec.class_names)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    sampler = EpochSampler(data.labels, batch_size=4, seed=0, balanced=True)
    architecture = adversarial_architecture("projected")
    small = dataclasses.replace(spec, size=32)
    start = {
        "generator": fused_state(recalibrate_batchnorm(architecture.generator(small), _draw, batches=1)),
        "discriminator": fused_state(architecture.discriminator(small).eval()),
    }

    def rates(first_step, progress):
        trainer = make_trainer(spec, config, train=data, sampler=sampler, fabric=fabric)
        trainer.start_from(start, same_classes=True, first_step=first_step)
        new = {id(p) for p in trainer.generator.module.detail_parameters()}
        trainer.step(first_step, progress=progress)
        groups = trainer.opt_g.param_groups
        assert [{id(p) in new for p in g["params"]} for g in groups] == [{False}, {True}]
        return [g["lr"] for g in groups] + [trainer.opt_d.param_groups[0]["lr"]]

    assert rates(2, 0.5) == pytest.approx([1e-4, 4e-3, 5e-4])
    assert rates(2, 1.0) == pytest.approx([1e-5, 4e-4, 5e-5])
    assert rates(0, 0.5) == pytest.approx([4e-3, 4e-3, 5e-4])


def test_a_short_run_distills_in_fewer_steps_and_a_hasty_one_in_none():
    assert len(_distill_stage(*_networks("projected"), steps_before=40)) == 5
    assert _distill_stage(*_networks("projected"), steps_before=7) == []
