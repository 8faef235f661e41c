"""Adversarial losses, by hand."""

from math import exp, log

import pytest
import torch

from synthbank.errors import UnknownNameError
from synthbank.training.losses import losses

REAL = torch.tensor([[2.0], [0.5], [-1.0]])
FAKE = torch.tensor([[-2.0], [0.25], [3.0]])


def _softplus(x: float) -> float:
    return log(1 + exp(x))


def test_hinge_by_hand():
    loss = losses.get("hinge")
    # reals: max(0, 1-2), max(0, 1-0.5), max(0, 1+1); fakes: max(0, 1-2), max(0, 1.25), max(0, 4)
    expected = (0 + 0.5 + 2) / 3 + (0 + 1.25 + 4) / 3
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(-(-2 + 0.25 + 3) / 3, rel=1e-6)


def test_nonsaturating_by_hand():
    loss = losses.get("nonsaturating")
    expected = sum(map(_softplus, (-2, -0.5, 1))) / 3 + sum(map(_softplus, (-2, 0.25, 3))) / 3
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected, rel=1e-6)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(sum(map(_softplus, (2, -0.25, -3))) / 3, rel=1e-6)


def test_relativistic_by_hand():
    loss = losses.get("relativistic")
    gaps = [2 - -2, 0.5 - 0.25, -1 - 3]  # each real against the fake beside it
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(sum(_softplus(-g) for g in gaps) / 3, rel=1e-6)
    assert loss.generator(REAL, FAKE).item() == pytest.approx(sum(map(_softplus, gaps)) / 3, rel=1e-6)
    assert loss.realness(REAL, FAKE).sign().flatten().tolist() == [1, 1, -1]


def test_only_differences_matter_to_the_relativistic_loss():
    loss = losses.get("relativistic")
    moved = loss.discriminator(REAL + 7, FAKE + 7), loss.generator(REAL + 7, FAKE + 7)
    torch.testing.assert_close(moved, (loss.discriminator(REAL, FAKE), loss.generator(REAL, FAKE)))


@pytest.mark.parametrize("name", ["hinge", "nonsaturating"])
def test_other_losses_recognise_a_real_by_its_own_logit(name):
    assert torch.equal(losses.get(name).realness(REAL, FAKE), REAL)


def test_hinge_leaves_alone_images_beyond_the_margin():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    losses.get("hinge").discriminator(real, fake).backward()
    torch.testing.assert_close(real.grad.flatten(), torch.tensor([0, -1 / 3, -1 / 3]))
    torch.testing.assert_close(fake.grad.flatten(), torch.tensor([0, 1 / 3, 1 / 3]))


@pytest.mark.parametrize("name", losses.names())
def test_players_pull_in_opposite_directions(name):
    loss = losses.get(name)
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    loss.discriminator(real, fake).backward()
    assert (real.grad <= 0).all()  # a step down the gradient raises the logits of reals
    assert real.grad.any()
    assert (fake.grad >= 0).all()
    assert fake.grad.any()
    fake.grad = None
    loss.generator(real, fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", losses.names())
def test_several_logits_an_image_weigh_the_same(name):
    loss = losses.get(name)
    wide_real, wide_fake = REAL.view(1, 3), FAKE.view(1, 3)
    assert loss.discriminator(wide_real, wide_fake).shape == ()
    assert loss.discriminator(wide_real, wide_fake).item() == pytest.approx(loss.discriminator(REAL, FAKE).item())
    assert loss.generator(wide_real, wide_fake).item() == pytest.approx(loss.generator(REAL, FAKE).item())


@pytest.mark.parametrize("name", losses.names())
def test_huge_logits_stay_finite(name):
    loss = losses.get(name)
    huge = torch.tensor([[1e4], [-1e4]])
    assert loss.discriminator(huge, huge).isfinite()
    assert loss.generator(huge, -huge).isfinite()


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'hinge'"):
        losses.get("hing")
