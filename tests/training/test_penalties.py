"""Gradient penalties against closed forms."""

import pytest
import torch

from synthbank.training.penalties import gradient_penalty

WEIGHT = torch.tensor([3.0, -4.0], dtype=torch.float64)


def _penalty(discriminator, real, fake, r1_gamma, r2_gamma):
    real, fake = real.clone().requires_grad_(r1_gamma > 0), fake.clone().requires_grad_(r2_gamma > 0)
    logit_real, logit_fake = discriminator(torch.cat([real, fake])).chunk(2)
    return gradient_penalty(
        logit_real=logit_real, logit_fake=logit_fake, real=[real], fake=[fake], r1_gamma=r1_gamma, r2_gamma=r2_gamma
    )


def _points(seed: int):
    return torch.randn(6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("r1_gamma", "r2_gamma"), [(2.0, 0.0), (0.0, 2.0), (1.0, 3.0)])
def test_a_linear_discriminator_pays_half_gamma_times_its_squared_weight(r1_gamma, r2_gamma):
    value = _penalty(lambda x: (x @ WEIGHT + 5)[:, None], _points(0), _points(1), r1_gamma, r2_gamma)
    assert value.item() == pytest.approx((r1_gamma + r2_gamma) / 2 * 25)


def test_a_quadratic_discriminator_pays_by_where_the_images_are():
    real, fake = _points(0), _points(1)
    value = _penalty(lambda x: x.square().sum(dim=1, keepdim=True), real, fake, 1.0, 3.0)
    expected = 0.5 * 4 * real.square().sum(dim=1).mean() + 1.5 * 4 * fake.square().sum(dim=1).mean()
    torch.testing.assert_close(value, expected)


def test_several_logits_of_an_image_count_as_their_mean():
    def discriminator(x):
        return torch.stack([x @ WEIGHT, x @ WEIGHT * 3], dim=1)

    assert _penalty(discriminator, _points(0), _points(1), 1.0, 0.0).item() == pytest.approx(0.5 * 4 * 25)


def test_the_penalty_teaches_the_discriminator():
    weight = WEIGHT.clone().requires_grad_()
    _penalty(lambda x: (x @ weight)[:, None], _points(0), _points(1), 1.0, 0.0).backward()
    torch.testing.assert_close(weight.grad, WEIGHT)  # the derivative of half the squared weight
