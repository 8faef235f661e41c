import numpy as np
import pytest
from scipy.linalg import sqrtm

from synthbank.errors import OptionError
from synthbank.metrics import frechet_distance, inception_score, kernel_distance, metrics, subset_kernel_distance
from synthbank.metrics._gram import gram_matrices


def sample_with(mean, covariance, n, rng):
    """A sample whose mean and unbiased covariance are exactly these."""
    x = rng.normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(x.T)))
    return x @ whitening.T @ np.linalg.cholesky(covariance).T + mean


def random_covariance(d, rng):
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


def frechet_by_matrix_root(real, fake):
    """The textbook formula, with scipy's matrix root."""
    s, t = np.cov(real.T), np.cov(fake.T)
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return shift @ shift + np.trace(s + t - 2 * np.real(sqrtm(s @ t)))


def kid_by_double_loop(real, fake):
    d = real.shape[1]

    def kernel(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / d + 1) ** 3

    def within(x):
        pairs = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
        return sum(pairs) / len(pairs)

    cross = [kernel(a, b) for a in real for b in fake]
    return within(real) + within(fake) - 2 * sum(cross) / len(cross)


@pytest.mark.parametrize("n", [9, 50])
def test_frechet_of_diagonal_gaussians_is_the_closed_form(n):
    rng = np.random.default_rng(1)
    real_deviation, fake_deviation = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 2.0, 1.5, 0.1])
    shift = np.array([1.0, -2.0, 0.0, 0.5])
    real = sample_with(np.zeros(4), np.diag(real_deviation**2), n, rng)
    fake = sample_with(shift, np.diag(fake_deviation**2), n + 3, rng)
    expected = shift @ shift + ((real_deviation - fake_deviation) ** 2).sum()
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_gaussians_that_do_not_commute():
    rng = np.random.default_rng(2)
    s, t = random_covariance(5, rng), random_covariance(5, rng)
    root = np.real(sqrtm(s))
    expected = 9.0 + np.trace(s + t - 2 * np.real(sqrtm(root @ t @ root)))
    real = sample_with(np.zeros(5), s, 40, rng)
    fake = sample_with(np.array([0, 0, 3.0, 0, 0]), t, 30, rng)
    assert frechet_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 40, 8), (200, 200, 24), (30, 90, 30)])
def test_frechet_agrees_with_an_independent_matrix_root(n, m, d):
    rng = np.random.default_rng(n + d)
    real = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5.0
    fake = rng.gamma(2.0, size=(m, d)) @ rng.normal(size=(d, d))
    assert frechet_distance(real=real, fake=fake) == pytest.approx(frechet_by_matrix_root(real, fake), rel=1e-5)


def test_frechet_with_fewer_images_than_features_does_not_change_with_a_rotation_or_empty_dimensions():
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(6, 4)), 2 * rng.normal(size=(7, 4)) + 1
    wide = frechet_distance(real=np.pad(real, ((0, 0), (0, 60))), fake=np.pad(fake, ((0, 0), (0, 60))))
    turn = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    turned = frechet_distance(real=np.pad(real, ((0, 0), (0, 60))) @ turn, fake=np.pad(fake, ((0, 0), (0, 60))) @ turn)
    assert wide == pytest.approx(frechet_distance(real=real, fake=fake), rel=1e-9)
    assert turned == pytest.approx(wide, rel=1e-9)


def test_frechet_by_hand():
    # means 0 and 3, variances 2 and 8: 9 + 2 + 8 - 2 sqrt(16)
    assert frechet_distance(real=np.array([[-1.0], [1.0]]), fake=np.array([[1.0], [5.0]])) == pytest.approx(11.0)


@pytest.mark.parametrize(("n", "m", "d"), [(20, 13, 50), (70, 45, 12), (5, 40, 3)])
def test_the_registered_frechet_is_the_public_one(n, m, d):
    rng = np.random.default_rng(n)
    real, fake = rng.normal(size=(n, d)) + 2, 1.5 * rng.normal(size=(m, d))
    registered = metrics.get("fd")(gram_matrices(real=real, fake=fake))
    assert registered == pytest.approx(frechet_distance(real=real, fake=fake), rel=1e-6)


def test_kid_by_hand():
    # kernel (xy + 1)^3: within {0, 1} the one pair gives 1; within {2, 3} 7^3; cross 1, 1, 3^3, 4^3
    value = kernel_distance(real=np.array([[0.0], [1.0]]), fake=np.array([[2.0], [3.0]]))
    assert value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (7, 5, 3), (4, 12, 20)])
def test_kid_agrees_with_a_double_loop(n, m, d):
    rng = np.random.default_rng(n + m + d)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.3
    expected = kid_by_double_loop(real, fake)
    assert kernel_distance(real=real, fake=fake) == pytest.approx(expected, rel=1e-10)
    assert metrics.get("kid")(gram_matrices(real=real, fake=fake)) == pytest.approx(1000 * expected, rel=1e-10)


def test_kid_is_unbiased_however_few_images():
    rng = np.random.default_rng(4)
    draws = [kernel_distance(real=rng.normal(size=(6, 8)), fake=rng.normal(size=(9, 8))) for _ in range(3000)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws)) < 3 * error
    assert min(draws) < -error  # the unbiased estimate goes below zero
    # the test has the power to see the bias of the version that counts each image with itself, about 2 / n
    assert error < 0.02


def test_kid_expects_the_same_value_for_any_number_of_images():
    rng = np.random.default_rng(5)
    means = {}
    for n in (5, 40):
        draws = [kernel_distance(real=rng.normal(size=(n, 4)), fake=rng.normal(size=(n, 4)) + 1) for _ in range(600)]
        means[n] = np.mean(draws), np.std(draws) / np.sqrt(len(draws))
    gap, error = means[5][0] - means[40][0], np.hypot(means[5][1], means[40][1])
    assert abs(gap) < 3 * error
    assert means[40][0] > 10 * error


def test_subset_kid_of_one_full_subset_is_kid():
    rng = np.random.default_rng(6)
    real, fake = rng.normal(size=(20, 5)), rng.normal(size=(20, 5)) + 1
    mean, deviation = subset_kernel_distance(real=real, fake=fake, rng=rng, n_subsets=3, subset_size=1000)
    assert mean == pytest.approx(kernel_distance(real=real, fake=fake), rel=1e-10)
    assert deviation == pytest.approx(0.0, abs=1e-12)


def test_subset_kid_centres_on_kid_and_follows_its_seed():
    rng = np.random.default_rng(7)
    real, fake = rng.normal(size=(60, 5)), rng.normal(size=(50, 5)) + 0.5

    def run(seed):
        return subset_kernel_distance(
            real=real, fake=fake, rng=np.random.default_rng(seed), n_subsets=300, subset_size=10
        )

    mean, deviation = run(0)
    assert run(0) == (mean, deviation)
    assert run(1) != (mean, deviation)
    assert abs(mean - kernel_distance(real=real, fake=fake)) < 4 * deviation / np.sqrt(300)


@pytest.mark.parametrize("options", [{"subset_size": 1}, {"n_subsets": 0}])
def test_subset_kid_refuses_subsets_without_pairs(options):
    x = np.arange(6.0)[:, None]
    with pytest.raises(OptionError, match="at least"):
        subset_kernel_distance(real=x, fake=x, rng=np.random.default_rng(0), **options)


def test_inception_score_of_confident_and_varied_images_is_the_number_of_classes():
    assert inception_score(np.tile(np.eye(5), (4, 1)), splits=1) == pytest.approx((5.0, 0.0))


def test_inception_score_of_images_that_look_alike_is_one():
    assert inception_score(np.tile([[0.7, 0.2, 0.1]], (8, 1)), splits=2) == pytest.approx((1.0, 0.0))


def test_inception_score_by_hand():
    p = np.array([[0.9, 0.1], [0.3, 0.7]])  # mean 0.6, 0.4
    divergence = (0.9 * np.log(0.9 / 0.6) + 0.1 * np.log(0.1 / 0.4) + 0.3 * np.log(0.5) + 0.7 * np.log(0.7 / 0.4)) / 2
    assert inception_score(p, splits=1)[0] == pytest.approx(np.exp(divergence))


def test_inception_score_scores_each_split_on_its_own():
    # first half: two classes seen; second half: one class
    p = np.eye(2)[[0, 1, 0, 0]]
    assert inception_score(p, splits=2) == pytest.approx((1.5, 0.5))
    assert inception_score(p, splits=1)[0] < 2


def test_inception_score_shuffles_by_seed():
    p = np.random.default_rng(8).dirichlet([0.3] * 6, size=40)
    p = p[np.argsort(p[:, 0])]
    shuffled = inception_score(p, 4, rng=np.random.default_rng(0))
    assert shuffled == inception_score(p, 4, rng=np.random.default_rng(0))
    assert shuffled[0] > inception_score(p, 4)[0]  # in their sorted order the images of a split look alike


@pytest.mark.parametrize(
    ("p", "splits", "words"),
    [
        (np.array([[0.5, 0.6]]), 1, "softmax"),
        (np.array([[1.5, -0.5]]), 1, "softmax"),
        (np.array([[0.5, np.nan]]), 1, "not finite"),
        (np.zeros((0, 3)), 1, "too few"),
        (np.eye(3), 4, "1 to 3"),
        (np.eye(3), 0, "1 to 3"),
    ],
)
def test_inception_score_refuses_what_is_no_probability(p, splits, words):
    with pytest.raises(OptionError, match=words):
        inception_score(p, splits)
