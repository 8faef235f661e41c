"""The denoiser's arithmetic: preconditioning, weights, sampler, and what its trainer refuses."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from synthbank.config import resolve_train_config
from synthbank.errors import OptionError
from synthbank.models import ModelSpec
from synthbank.models.architectures.diffusion import heun, noise_levels, precondition
from synthbank.records import LabelledImages
from synthbank.training import DenoisingTrainer, make_trainer
from synthbank.training.denoising import loss_weight

SIGMA = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=torch.float64)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_input_and_target_of_the_network_have_unit_variance(sigma_data):
    """The two demands from which the paper derives its preconditioning (its appendix B.6)."""
    c_skip, c_out, c_in, _ = precondition(SIGMA, sigma_data)
    torch.testing.assert_close(c_in.square() * (SIGMA**2 + sigma_data**2), torch.ones_like(SIGMA))
    # target: (clean - c_skip * (clean + noise)) / c_out
    variance = ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * SIGMA**2) / c_out**2
    torch.testing.assert_close(variance, torch.ones_like(SIGMA))


def test_c_skip_makes_the_error_of_the_network_weigh_least():
    c_skip, c_out, _, _ = precondition(SIGMA, 0.5)
    for near in (c_skip + 1e-3, c_skip - 1e-3):
        assert ((1 - near) ** 2 * 0.25 + near**2 * SIGMA**2 >= c_out**2).all()


def test_an_almost_clean_image_passes_and_pure_noise_does_not():
    c_skip, c_out, _, c_noise = precondition(SIGMA, 0.5)
    assert c_skip[0] > 0.9999
    assert c_out[0] < 0.0021
    assert c_skip[-1] < 1e-4
    torch.testing.assert_close(c_noise, SIGMA.log() / 4)


def test_every_noise_level_weighs_the_same():
    _, c_out, _, _ = precondition(SIGMA, 0.5)
    torch.testing.assert_close(loss_weight(SIGMA, 0.5) * c_out.square(), torch.ones_like(SIGMA))


def test_noise_levels_fall_to_0():
    levels = noise_levels(18)
    assert len(levels) == 19
    assert levels[0] == pytest.approx(20)
    assert levels[-2] == pytest.approx(0.01)
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)
    middle = (0.5 * 20 ** (1 / 7) + 0.5 * 0.01 ** (1 / 7)) ** 7
    assert noise_levels(3)[1] == pytest.approx(middle)


def _gaussian(mean, deviation):
    """The best denoiser of normally distributed data."""

    def denoise(x, sigma):
        sigma = sigma.view(-1, *[1] * (x.dim() - 1))
        return (deviation**2 * x + sigma**2 * mean) / (deviation**2 + sigma**2)

    return denoise


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.5), (0.3, 0.5), (-0.2, 0.1)])
def test_gaussian_data_are_sampled_with_the_right_mean_and_deviation(mean, deviation):
    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()  # leaves the sampler's own error
    drawn = heun(_gaussian(mean, deviation), noise, 18)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.015)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.04)


def test_more_steps_come_closer_to_the_exact_solution():
    """For Gaussian data the flow is known: `x = mean + deviation / sqrt(deviation^2 + 20^2) * (start - mean)`."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64).view(-1, 1)
    exact = 0.5 / (0.25 + 400) ** 0.5 * (20 * noise)
    errors = [(heun(_gaussian(0.0, 0.5), noise, n) - exact).abs().max().item() for n in (6, 12, 24, 48)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[1]  # second order: four times the steps, about a sixteenth of the error
    assert errors[1] < 0.08 * exact.max()  # twelve steps, as by default


def test_the_sampler_asks_twice_a_step_but_for_the_last():
    asked = []

    def denoise(x, sigma):
        asked.append(sigma[0].item())
        return torch.zeros_like(x)

    heun(denoise, torch.randn(2, 3), 5)
    assert len(asked) == 9
    assert 0.0 not in asked


def _trainer(**changes) -> DenoisingTrainer:
    config = resolve_train_config(
        "diffusion-quick", overrides={"model_options": {"base": 8, "sampling_steps": 2}, "batch_size": 2} | changes
    )
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    spec = ModelSpec("diffusion", 32, 1, ("a",), options=config.model_options)
    train = LabelledImages(np.full((4, 1, 32, 32), 128, np.uint8), np.zeros(4, np.int64), ("a",))

    class Every:
        def batch(self, step):
            return np.arange(config.batch_size)

    return make_trainer(spec, config, train=train, sampler=Every(), fabric=fabric)


@pytest.mark.parametrize("values", [{"augment_d": ["colour"]}, {"r1_gamma": 1.0}, {"r2_gamma": 1.0}])
def test_what_acts_on_a_discriminator_is_refused(values):
    with pytest.raises(OptionError, match="acts on a discriminator") as caught:
        _trainer(**values)
    assert next(iter(values)) in caught.value.message


def test_a_denoiser_learns_the_mean_and_has_no_logit():
    trainer = _trainer(lr_g=3e-3)
    assert isinstance(trainer, DenoisingTrainer)
    values = [trainer.step(i, progress=0.0)["loss"].item() for i in range(30)]
    assert np.mean(values[-8:]) < 0.7 * np.mean(values[:8])
    assert trainer.mean_logit(np.zeros((1, 1, 32, 32), np.uint8), np.zeros(1, np.int64)) is None


def test_the_first_loss_is_that_of_a_network_that_knows_nothing():
    """All-grey data have no variance, so of the unit variance of the target the noise's share is left."""
    trainer = _trainer(batch_size=4)
    assert 0.05 < trainer.step(0, progress=0.0)["loss"].item() < 1
