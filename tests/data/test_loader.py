from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthbank.data import EpochSampler
from synthbank.errors import OptionError

LABELS = np.array([0] * 7 + [1] * 3 + [4] * 2, np.int64)


def drawn(sampler, n_steps):
    return np.concatenate([sampler.batch(step) for step in range(n_steps)])


def test_every_epoch_holds_every_image_once():
    stream = drawn(EpochSampler(LABELS, batch_size=5, seed=0, balanced=False), 12)  # 60 draws are 5 epochs of 12
    for epoch in stream.reshape(5, 12):
        assert sorted(epoch) == list(range(12))
    assert not np.array_equal(stream[:12], stream[12:24])


@pytest.mark.parametrize("balanced", [False, True])
def test_a_step_is_the_same_whatever_came_before(balanced):
    options = {"batch_size": 5, "seed": 3, "balanced": balanced}
    forward = [EpochSampler(LABELS, **options).batch(step) for step in range(20)]
    sampler = EpochSampler(LABELS, **options)
    for step in reversed(range(20)):
        np.testing.assert_array_equal(sampler.batch(step), forward[step])
    assert forward[0].dtype == np.int64
    other = EpochSampler(LABELS, **{**options, "seed": 4})
    assert not np.array_equal(drawn(other, 20), np.concatenate(forward))


def test_balanced_draws_classes_equally_and_their_members_in_turn():
    stream = drawn(EpochSampler(LABELS, batch_size=6, seed=0, balanced=True), 21)  # 126 draws, 42 of each class
    assert Counter(LABELS[stream].tolist()) == {0: 42, 1: 42, 4: 42}
    assert set(Counter(stream.tolist()).values()) == {42 // 7, 42 // 3, 42 // 2}
    for batch in stream.reshape(21, 6):
        assert Counter(LABELS[batch].tolist()) == {0: 2, 1: 2, 4: 2}


def test_a_batch_may_exceed_the_set():
    batch = EpochSampler(LABELS[:3], batch_size=8, seed=0, balanced=False).batch(0)
    assert sorted(Counter(batch.tolist()).values()) == [2, 3, 3]


@pytest.mark.parametrize(("n", "size"), [(0, 4), (4, 0)])
def test_nothing_to_sample(n, size):
    with pytest.raises(OptionError):
        EpochSampler(np.zeros(n, np.int64), batch_size=size, seed=0, balanced=False)
