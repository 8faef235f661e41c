"""Latents, and the way from a generator's output to pixels."""

import numpy as np
import torch

from synthbank.models import ModelSpec, architectures, draw_latents, to_uint8


def _generator():
    spec = ModelSpec("projected", 32, 3, ("a", "b"), latent_dim=24, options={"width": 0.25})
    return architectures.get("projected").generator(spec)


def test_latents_have_the_shapes_that_the_generator_declares():
    generator = _generator()
    labels = torch.arange(500) % 2
    latents = draw_latents(generator, labels, torch.Generator().manual_seed(0))
    assert latents.z.shape == (500, 24)
    assert latents.noise.shape == (500, generator.noise_dim)
    assert generator.noise_dim == 8 * 8 + 16 * 16 + 32 * 32
    assert latents.labels is labels


def test_latents_are_standard_normal_and_follow_their_generator():
    generator = _generator()
    labels = torch.zeros(500, dtype=torch.int64)
    one, same, other = (draw_latents(generator, labels, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one.z, same.z)
    assert torch.equal(one.noise, same.noise)
    assert not torch.equal(one.z, other.z)
    for values in (one.z, one.noise):
        assert abs(values.mean()) < 0.03
        assert abs(values.std() - 1) < 0.03


def test_drawing_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    draw_latents(_generator_without_touching(before), torch.zeros(2, dtype=torch.int64), torch.Generator())
    assert torch.equal(torch.random.get_rng_state(), before)


def _generator_without_touching(state):
    generator = _generator()
    torch.random.set_rng_state(state)
    return generator


def test_pixels_are_rounded_to_the_nearest_level():
    levels = np.arange(256, dtype=np.uint8)
    exact = torch.from_numpy(levels).float().div(127.5).sub(1)
    for shift in (-0.49, 0.0, 0.49):
        moved = (exact + shift / 127.5).view(1, 1, 16, 16)
        assert (to_uint8(moved).ravel() == levels).all()


def test_values_out_of_range_are_clamped_and_the_input_is_kept():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)
    kept = x.clone()
    pixels = to_uint8(x)
    assert pixels.ravel().tolist() == [0, 0, 128, 255, 255]
    assert pixels.dtype == np.uint8
    assert torch.equal(x, kept)


def test_pixels_come_out_in_plain_memory_order():
    x = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    pixels = to_uint8(x)
    assert pixels.flags.c_contiguous
    assert (pixels == to_uint8(x.contiguous())).all()
