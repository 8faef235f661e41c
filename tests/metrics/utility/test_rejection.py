import numpy as np
import pytest

from synthbank.errors import OptionError
from synthbank.metrics.utility import DensityRatio


def two_kinds(n, share_of_second, *, seed, label=0):
    """Features `[n, 8]` of two well separated kinds, which of them each is, and the same label for all."""
    rng = np.random.default_rng(seed)
    second = np.arange(n) < round(n * share_of_second)
    features = rng.normal(0, 0.3, (n, 8))
    features[second, 0] += 3.0
    return features, second, np.full(n, label)


def fitted(n_real=300, n_fake=300):
    """Half of the originals are of the second kind, a tenth of the synthetic images."""
    real, _, real_labels = two_kinds(n_real, 0.5, seed=0)
    fake, _, fake_labels = two_kinds(n_fake, 0.1, seed=1)
    return DensityRatio.fit(real=real, real_labels=real_labels, fake=fake, fake_labels=fake_labels)


def test_the_ratio_is_how_much_more_often_a_kind_occurs_among_originals():
    features, second, _ = two_kinds(400, 0.5, seed=2)
    log_ratio = fitted(3000, 3000).log_ratio(features)
    assert np.mean(log_ratio[second]) == pytest.approx(np.log(0.5 / 0.1), abs=0.15)
    assert np.mean(log_ratio[~second]) == pytest.approx(np.log(0.5 / 0.9), abs=0.15)


def test_what_is_kept_has_the_mix_of_the_originals():
    made, second, labels = two_kinds(20_000, 0.1, seed=3)
    ratio = fitted().calibrate(made, labels, 0.15)
    kept = np.random.default_rng(0).random(len(made)) < ratio.acceptance_probability(ratio.log_ratio(made), labels)
    assert kept.mean() == pytest.approx(0.15, abs=0.01)
    assert second[kept].mean() == pytest.approx(0.5, abs=0.06)


def test_a_rare_class_neither_rules_the_ratio_nor_is_ruled_by_it():
    parts = [two_kinds(n, 0.5, seed=n, label=k) for k, n in enumerate((400, 8))]
    made = [two_kinds(200, 0.5, seed=20 + k, label=k) for k in range(2)]
    for features, _, labels in [*parts, *made]:
        features[:, 1] += 3.0 * labels  # classes look different
    real, real_labels = (np.concatenate([p[i] for p in parts]) for i in (0, 2))
    fake, fake_labels = (np.concatenate([p[i] for p in made]) for i in (0, 2))
    ratio = DensityRatio.fit(real=real, real_labels=real_labels, fake=fake, fake_labels=fake_labels)
    log_ratio = ratio.log_ratio(fake)
    # the same mix on both sides in either class, so nothing may be told apart
    assert abs(log_ratio[fake_labels == 0].mean() - log_ratio[fake_labels == 1].mean()) < 0.5
    chance = ratio.calibrate(fake, fake_labels, 0.4).acceptance_probability(log_ratio, fake_labels)
    for k in range(2):
        assert chance[fake_labels == k].mean() == pytest.approx(0.4, abs=1e-3)


def test_equal_images_are_kept_alike():
    same = np.ones((6, 4))
    labels = np.zeros(6, np.int64)
    ratio = DensityRatio.fit(real=same, real_labels=labels, fake=same, fake_labels=labels)
    ready = ratio.calibrate(same, labels, 0.25)
    assert ready.acceptance_probability(ready.log_ratio(same), labels) == pytest.approx(0.25)


def test_impossible_matching_raises():
    x, labels = np.zeros((2, 4)), np.array([0, 1])
    with pytest.raises(OptionError, match="the same classes"):
        DensityRatio.fit(real=x, real_labels=labels, fake=x, fake_labels=np.zeros(2, np.int64))
    ratio = DensityRatio.fit(real=x, real_labels=labels, fake=x, fake_labels=labels)
    with pytest.raises(OptionError, match="out of range"):
        ratio.calibrate(x, labels, 1.0)
    with pytest.raises(OptionError, match="no image to calibrate"):
        ratio.calibrate(x, np.array([1, 1]), 0.5)
