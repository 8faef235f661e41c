import numpy as np
import pytest

from synthbank.metrics import metrics, vendi_score
from synthbank.metrics._gram import gram_matrices
from synthbank.metrics.fidelity import frechet_of


def test_groups_of_equal_images_count_once_each():
    x = np.repeat(np.eye(6)[:3], [5, 5, 5], axis=0) * np.linspace(1, 3, 15)[:, None]
    assert vendi_score(x) == pytest.approx(3.0)
    assert vendi_score(np.ones((7, 4))) == pytest.approx(1.0)


def test_unequal_groups_give_the_exponential_of_their_entropy():
    shares = np.array([0.5, 0.3, 0.2])
    x = np.repeat(np.eye(3), (10 * shares).astype(int), axis=0)
    assert vendi_score(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_vendi_of_large_sets_uses_evenly_spaced_images():
    x = np.random.default_rng(0).normal(size=(1200, 8))
    index = np.linspace(0, 1199, 512).astype(int)
    assert metrics.get("vendi")(gram_matrices(real=x[:5], fake=x)) == pytest.approx(vendi_score(x[index]))


def test_extrapolation_removes_most_of_the_bias_that_few_images_give():
    rng = np.random.default_rng(1)
    plain, extrapolated = [], []
    for _ in range(8):
        gram = gram_matrices(real=rng.normal(size=(200, 40)), fake=rng.normal(size=(200, 40)))  # truth: 0
        plain.append(frechet_of(gram))
        extrapolated.append(metrics.get("fd-inf")(gram))
    assert np.mean(plain) > 1.0
    assert abs(np.mean(extrapolated)) < 0.2 * np.mean(plain)


def test_extrapolation_keeps_a_true_distance():
    rng = np.random.default_rng(2)
    fake = rng.normal(size=(300, 10)) + 1.0  # truth: 10
    gram = gram_matrices(real=rng.normal(size=(300, 10)), fake=fake)
    assert metrics.get("fd-inf")(gram) == pytest.approx(10.0, abs=1.5)


def test_extrapolation_does_not_hold_for_fewer_images_than_features():
    rng = np.random.default_rng(3)
    assert np.isnan(
        metrics.get("fd-inf")(gram_matrices(real=rng.normal(size=(70, 90)), fake=rng.normal(size=(80, 90))))
    )
