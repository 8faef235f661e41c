"""Each guard fires on the failure it is for, and keeps still otherwise."""

import math

import numpy as np
import pytest

from synthbank.training import guards
from synthbank.training.guards import discriminator_overfitting, instability, mode_collapse, overfitting_signal


@pytest.fixture
def healthy():
    """Losses as a working hinge game has them: about 2 and about 0, with noise."""
    rng = np.random.default_rng(0)
    return list(1.6 + 0.3 * rng.standard_normal(400)), list(0.2 + 0.8 * rng.standard_normal(400))


def test_collapse_is_seen():
    event = mode_collapse(real_diversity=10.0, fake_diversity=2.0)
    assert event.name == "mode_collapse"
    assert event.value == pytest.approx(0.2)
    assert event.limit == guards.COLLAPSE_BELOW
    assert "20%" in event.message
    assert mode_collapse(real_diversity=10.0, fake_diversity=0.0).value == 0


@pytest.mark.parametrize("diversity", [3.6, 8.0, 10.0, 14.0])
def test_variety_is_no_collapse(diversity):
    assert mode_collapse(real_diversity=10.0, fake_diversity=diversity) is None


def test_collapse_is_relative_to_the_variety_of_the_reals():
    assert mode_collapse(real_diversity=0.01, fake_diversity=0.008) is None
    assert mode_collapse(real_diversity=100.0, fake_diversity=0.008) is not None


@pytest.mark.parametrize(
    ("train", "validation", "fake", "signal"),
    [
        (1.0, 1.0, -1.0, 0.0),
        (1.0, -1.0, -1.0, 1.0),
        (1.0, 0.0, -1.0, 0.5),
        (2.0, 2.5, 0.0, -0.25),
        (3.0, 1.0, -1.0, 0.5),
    ],
)
def test_the_overfitting_signal_by_hand(train, validation, fake, signal):
    assert overfitting_signal(train=train, validation=validation, fake=fake) == pytest.approx(signal)


def test_without_a_gap_there_is_nothing_to_overfit():
    assert overfitting_signal(train=0.0, validation=-5.0, fake=0.0) == 0.0
    assert overfitting_signal(train=-1.0, validation=-5.0, fake=1.0) == 0.0


def test_overfitting_is_seen():
    event = discriminator_overfitting(train=2.0, validation=-1.0, fake=-2.0)
    assert event.name == "discriminator_overfitting"
    assert event.value == pytest.approx(0.75)
    assert "75%" in event.message


@pytest.mark.parametrize("validation", [1.0, 0.8, 0.0, -0.1, 1.5])
def test_a_discriminator_that_knows_unseen_reals_as_real_is_healthy(validation):
    assert discriminator_overfitting(train=1.0, validation=validation, fake=-1.0) is None


def test_healthy_losses_are_stable(healthy):
    assert instability(*healthy) is None
    assert instability([], []) is None
    assert instability(healthy[0][:5], healthy[1][:5]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("network", [0, 1])
def test_a_loss_that_is_not_finite_is_seen_at_once(healthy, bad, network):
    healthy[network][-1] = bad
    assert instability(*healthy).name == "not_finite"


@pytest.mark.parametrize("network", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_explosion_is_seen(healthy, network, sign):
    healthy[network][-1] = sign * 80.0
    event = instability(*healthy)
    assert event.name == "exploding_loss"
    assert event.value == 80.0
    assert "80" in event.message


def test_a_generator_that_swings_is_seen(healthy):
    loss_d, _ = healthy
    swinging = [8.0 * math.sin(i / 5) for i in range(400)]
    event = instability(loss_d, swinging)
    assert event.name == "oscillation"
    assert event.value > guards.OSCILLATION_ABOVE
    assert instability(loss_d, swinging[: guards.WINDOW - 1]) is None  # too few to tell


def test_only_the_window_counts(healthy):
    for old in (math.nan, 1e9):
        losses_d, losses_g = list(healthy[0]), list(healthy[1])
        losses_d[len(losses_d) - guards.WINDOW - 1] = old
        losses_g[len(losses_g) - guards.WINDOW - 1] = old
        assert instability(losses_d, losses_g) is None


def test_the_worst_is_named_first(healthy):
    loss_d, loss_g = healthy
    loss_d[-1], loss_g[-1] = 1e9, math.nan
    assert instability(loss_d, loss_g).name == "not_finite"
