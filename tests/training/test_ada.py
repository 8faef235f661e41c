"""Adaptive augmentation: its probability rises, falls, stays in range, and is part of the state."""

import pytest
import torch

from synthbank.training.ada import AdaptiveStrength

CPU = torch.device("cpu")
SURE, UNSURE = torch.full((10, 1), 2.0), torch.tensor([[1.0], [-1.0]] * 5)


def test_the_probability_rises_while_reals_are_recognised_too_well():
    strength = AdaptiveStrength(0.6, 0.1, CPU)
    for _ in range(4):  # the moving average needs some steps to believe it
        strength.update(SURE)
    before = strength.p.item()
    strength.update(SURE)
    assert strength.p.item() == pytest.approx(before + 10 / 100)


def test_the_probability_falls_when_they_no_longer_are():
    strength = AdaptiveStrength(0.6, 0.1, CPU)
    strength.p, strength.sign = torch.tensor(0.5), torch.tensor(0.5)
    strength.update(UNSURE)
    assert strength.p.item() == pytest.approx(0.4)


def test_the_probability_stays_within_0_and_1():
    strength = AdaptiveStrength(0.6, 0.01, CPU)
    strength.update(-SURE)
    assert strength.p.item() == 0
    for _ in range(20):
        strength.update(SURE)
    assert strength.p.item() == 1


def test_a_value_that_a_step_has_reported_does_not_change():
    strength = AdaptiveStrength(0.6, 0.1, CPU)
    before = strength.p
    for _ in range(9):
        strength.update(SURE)
    assert before.item() == 0


def test_a_restored_strength_goes_on_as_the_first_would():
    first, second = AdaptiveStrength(0.6, 0.1, CPU), AdaptiveStrength(0.6, 0.1, CPU)
    for _ in range(6):
        first.update(SURE)
    second.load_state({k: v.clone() for k, v in first.state().items()})
    for strength in (first, second):
        for logits in (SURE, UNSURE, UNSURE):
            strength.update(logits)
    assert torch.equal(first.p, second.p)
    assert torch.equal(first.sign, second.sign)
