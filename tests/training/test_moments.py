"""Moment matching: the gap it keeps, the way it pulls, and what a resumed run needs."""

import pytest
import torch

from synthbank.training.moments import MomentGap

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 0, 1, 1])


def _flat(values, channels=2, side=3):
    """Maps of one value an image: mean and root mean square are that value."""
    return [torch.tensor(values).view(-1, 1, 1, 1).expand(-1, channels, side, side).clone()]


def test_the_gradient_points_from_the_fakes_to_the_reals_of_their_own_class():
    fake = _flat([3.0, 3.0, 1.0, 1.0])[0].requires_grad_()
    MomentGap(2).loss(_flat([1.0, 1.0, 4.0, 4.0]), [fake], LABELS).backward()
    assert (fake.grad[:2] > 0).all()  # class 0 lies above its reals: descent lowers it
    assert (fake.grad[2:] < 0).all()


def test_equal_moments_pull_nothing_whatever_the_images():
    maps = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    fake = maps.flip(3).requires_grad_()  # other images, the same moments
    MomentGap(2).loss([maps], [fake], LABELS).backward()
    assert fake.grad.abs().max() < 1e-7


def test_the_first_gap_is_the_plain_difference_and_later_ones_move_towards_the_new():
    gap = MomentGap(1)
    labels = torch.zeros(4, dtype=torch.int64)
    first = gap.loss(_flat([1.0] * 4), _flat([3.0] * 4), labels)
    assert first.item() == pytest.approx(2 * 3, rel=1e-3)  # gap 2 times moments 3
    for _ in range(60):
        gap.loss(_flat([1.0] * 4), _flat([1.0] * 4), labels)
    assert 0 < gap.state()["gap"].max() < 2 * 0.8


def test_a_class_that_is_absent_keeps_its_gap():
    gap = MomentGap(3)
    gap.loss(_flat([1.0] * 4), _flat([3.0] * 4), torch.tensor([0, 1, 2, 2]))
    before = gap.state()["gap"].clone()
    gap.loss(_flat([1.0] * 4), _flat([1.0] * 4), LABELS)
    after = gap.state()["gap"]
    assert torch.equal(after[2], before[2])
    assert (after[:2] < before[:2]).all()


def test_a_restored_gap_goes_on_as_the_first_would():
    rng = torch.Generator().manual_seed(1)
    batches = [[torch.randn(4, 2, 3, 3, generator=rng) for _ in range(2)] for _ in range(5)]
    first, second = MomentGap(2), MomentGap(2)
    for real, fake in batches[:3]:
        first.loss([real], [fake], LABELS)
    second.load_state({k: v.clone() for k, v in first.state().items()}, CPU)
    for real, fake in batches[3:]:
        assert torch.equal(first.loss([real], [fake], LABELS), second.loss([real], [fake], LABELS))
