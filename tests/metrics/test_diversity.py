import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from synthbank.errors import OptionError
from synthbank.metrics import density_coverage, diversity, metrics, pairwise_diversity, precision_recall
from synthbank.metrics._gram import gram_matrices


def radii_by_sklearn(x, k):
    return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, k]


def in_balls(centres, points, k):
    """`[centres, points]`, by sklearn's radii and differences of coordinates."""
    gaps = np.array([[np.sqrt(((c - p) ** 2).sum()) for p in points] for c in centres])
    return gaps <= radii_by_sklearn(centres, k)[:, None]


@pytest.mark.parametrize(("n", "m", "d", "k"), [(12, 30, 2, 1), (40, 25, 3, 3), (25, 40, 40, 5), (6, 6, 1, 5)])
def test_all_four_agree_with_brute_force(n, m, d, k):
    rng = np.random.default_rng(n * k)
    real, fake = rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.3
    about_real, about_fake = in_balls(real, fake, k), in_balls(fake, real, k)
    assert precision_recall(real=real, fake=fake, k=k) == pytest.approx(
        (about_real.any(axis=0).mean(), about_fake.any(axis=0).mean())
    )
    assert density_coverage(real=real, fake=fake, k=k) == pytest.approx(
        (about_real.sum() / (k * m), about_real.any(axis=1).mean())
    )


def test_values_drawn_by_hand():
    real = np.array([[0.0], [1.0], [2.5]])  # radii 1, 1, 1.5: [-1, 1], [0, 2], [1, 4]
    fake = np.array([[0.5], [3.9], [9.0], [9.2]])  # radii 3.4, 3.4, 0.2, 0.2: [-2.9, 3.9], [0.5, 7.3], ...
    assert precision_recall(real=real, fake=fake, k=1) == (0.5, 1.0)
    assert density_coverage(real=real, fake=fake, k=1) == (3 / 4, 1.0)
    assert precision_recall(real=real, fake=fake[2:], k=1) == (0.0, 0.0)


def test_a_point_on_the_edge_is_inside():
    real, fake = np.array([[0.0], [1.0]]), np.array([[2.0], [5.0]])
    assert precision_recall(real=real, fake=fake, k=1)[0] == 0.5


def two_modes(rng, n, centres=(0.0, 50.0), spread=1.0):
    return np.concatenate([rng.normal(c, spread, size=(n // 2, 3)) for c in centres])


def test_a_missing_mode_lowers_recall_and_coverage_but_not_precision():
    rng = np.random.default_rng(0)
    real, both, one = two_modes(rng, 200), two_modes(rng, 200), two_modes(rng, 200, centres=(0.0, 0.0))
    whole, half = precision_recall(real=real, fake=both), precision_recall(real=real, fake=one)
    assert half[0] > whole[0] - 0.05
    assert whole[1] > 0.8
    assert half[1] == pytest.approx(0.5, abs=0.06)
    assert density_coverage(real=real, fake=both)[1] > 0.9
    assert density_coverage(real=real, fake=one)[1] == pytest.approx(0.5, abs=0.06)


def test_an_invented_mode_lowers_precision_but_not_recall():
    rng = np.random.default_rng(1)
    real, fake = two_modes(rng, 200), two_modes(rng, 300, centres=(0.0, 50.0, 200.0))
    precision, recall = precision_recall(real=real, fake=fake)
    assert precision < 2 / 3
    assert recall > 0.8


def test_noise_lowers_precision_and_density_step_by_step():
    rng = np.random.default_rng(2)
    real = two_modes(rng, 200)
    scores = []
    for noise in (0.0, 1.0, 3.0, 10.0):
        fake = two_modes(np.random.default_rng(3), 200)
        fake = fake + noise * np.random.default_rng(4).normal(size=fake.shape)
        scores.append((precision_recall(real=real, fake=fake)[0], density_coverage(real=real, fake=fake)[0]))
    assert scores == sorted(scores, reverse=True)
    assert scores[0][0] > 0.7
    assert scores[-1][0] < 0.15


def test_equal_distributions_have_density_and_coverage_about_one():
    rng = np.random.default_rng(5)
    density, coverage = density_coverage(real=rng.normal(size=(400, 8)), fake=rng.normal(size=(400, 8)))
    assert density == pytest.approx(1.0, abs=0.15)
    assert coverage > 0.9


def test_one_repeated_image_covers_next_to_nothing():
    rng = np.random.default_rng(6)
    real = rng.normal(size=(60, 2))
    fake = np.repeat(real[:1], 60, axis=0)
    precision, recall = precision_recall(real=real, fake=fake)
    assert (precision, recall) == (1.0, 1 / 60)
    assert density_coverage(real=real, fake=fake)[1] < 0.3


def test_pairwise_diversity_by_hand():
    # a 3-4-5 triangle
    assert pairwise_diversity(np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])) == pytest.approx(4.0)
    assert pairwise_diversity(np.full((5, 7), 3.3)) == 0.0
    with pytest.raises(OptionError, match="at least 2"):
        pairwise_diversity(np.zeros((1, 3)))


def test_diversity_ratio_of_a_shrunken_set_is_its_scale():
    real = np.random.default_rng(7).normal(size=(20, 4))
    ratio = metrics.get("diversity")
    assert ratio(gram_matrices(real=real, fake=0.25 * real + 9.0)) == pytest.approx(0.25)
    assert ratio(gram_matrices(real=np.zeros((4, 2)), fake=real[:5, :2])) == 0.0


@pytest.mark.parametrize("function", [precision_recall, density_coverage])
def test_k_and_the_number_of_images_are_checked(function):
    x = np.arange(4.0)[:, None]
    assert function(real=x, fake=x, k=3)
    with pytest.raises(OptionError, match="1 or more"):
        function(real=x, fake=x, k=0)
    with pytest.raises(OptionError, match="at least 5"):
        function(real=x, fake=x, k=4)


def masks_of(n, size, n_resamples, rng):
    masks = np.zeros((n_resamples, n), np.bool_)
    for row in masks:
        row[rng.choice(n, size, replace=False)] = True
    return masks


@pytest.mark.parametrize("share", [0.8, 0.2])
@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_neighbour_lists_give_what_the_plain_metric_gives(name, share):
    """With a fifth of the images, the lists of 24 are too short for some resamples and the plain count takes over."""
    rng = np.random.default_rng(8)
    real, fake = rng.normal(size=(90, 3)), 1.2 * rng.normal(size=(70, 3))
    gram = gram_matrices(real=real, fake=fake)
    real_masks = masks_of(90, int(90 * share), 12, rng)
    fake_masks = masks_of(70, int(70 * share), 12, rng)
    fast = metrics.spec(name).resampled(gram, real_masks, fake_masks)
    plain = [
        metrics.get(name)(gram.take(np.flatnonzero(i), np.flatnonzero(j)))
        for i, j in zip(real_masks, fake_masks, strict=True)
    ]
    np.testing.assert_allclose(fast, plain, rtol=1e-12)
    assert len(set(plain)) > 3


def test_neighbour_lists_too_short_for_every_resample_give_the_same_values(monkeypatch):
    rng = np.random.default_rng(9)
    gram = gram_matrices(real=rng.normal(size=(40, 3)), fake=rng.normal(size=(30, 3)))
    masks = masks_of(40, 32, 6, rng), masks_of(30, 24, 6, rng)
    resampled = metrics.spec("density").resampled
    expected = resampled(gram, *masks)
    monkeypatch.setattr(diversity, "_LISTED", 5)
    np.testing.assert_array_equal(resampled(gram, *masks), expected)
