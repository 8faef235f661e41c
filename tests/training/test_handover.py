"""A larger generator learns to draw what a smaller one drew."""

import dataclasses

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional

from synthbank.models import ModelSpec, SharedRng, baked_state, draw_latents, lend, load_baked, two_players
from synthbank.training.ema import settled
from synthbank.training.handover import hand_over

ARCHITECTURES = ("dcgan", "projected", "r3gan", "sagan", "stylegan2")


def _networks(architecture):
    """A generator of 32 pixels, and one of 64 that has its weights where they fit."""
    spec = ModelSpec(architecture, 32, 3, ("a", "b"), latent_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # without its normalisation measured on itself, all images of a random generator are one grey
        weights = baked_state(settled(two_players(architecture).generator(spec), _draw, batches=1))
        large = two_players(architecture).generator(dataclasses.replace(spec, size=64))
    fresh = lend(weights, large, same_classes=True).fresh_parameters
    return load_baked(spec, weights), large, fresh


def _draw(generator):
    labels = torch.arange(32) % 2
    latents = draw_latents(generator, labels, torch.Generator().manual_seed(0))
    generator(latents.z, labels, latents.noise)


def _hand_over(small, large, fresh, *, steps_before):
    rng = SharedRng()
    rng.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    return hand_over(small, large, fresh, steps_before=steps_before, batch_size=4, rng=rng, fabric=fabric)


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
    errors = _hand_over(small, large, fresh, steps_before=240)
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
    assert len(_hand_over(small, large, fresh, steps_before=10_000)) == 100
    after, variance = _distance(small, large)
    assert after < 0.5 * variance < before


def test_a_short_run_hands_over_in_fewer_steps_and_a_hasty_one_in_none():
    assert len(_hand_over(*_networks("projected"), steps_before=40)) == 5
    assert _hand_over(*_networks("projected"), steps_before=7) == []
