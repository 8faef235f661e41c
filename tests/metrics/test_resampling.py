import functools

import numpy as np
import pytest

from synthbank.errors import OptionError
from synthbank.metrics import (
    bootstrap_interval,
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    real_floor,
    wilson_interval,
)
from synthbank.metrics.resampling import baseline_sample, interval_about, resamples, widening


def mean_gap(*, real, fake):
    return float(fake.mean() - real.mean())


def coverage_of(statistic, truth, draw, n_trials, seed, n_resamples=100):
    """How many intervals of fresh samples hold the truth."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(n_trials):
        real, fake = draw(rng)
        estimate = bootstrap_interval(statistic, real=real, fake=fake, rng=rng, n_resamples=n_resamples)
        held += estimate.low <= truth <= estimate.high
    return held / n_trials


def shifted(rng, n=60, m=90):
    return rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) + np.array([0.7, 0.0])


def test_intervals_of_a_mean_hold_the_truth_at_their_level():
    def draw(rng):
        return rng.exponential(size=(40, 1)), 1 + rng.normal(size=(80, 1))

    # 0.95 expected; three standard errors of 300 trials are 0.038
    assert coverage_of(mean_gap, 0.0, draw, n_trials=300, seed=0) == pytest.approx(0.95, abs=0.05)


def test_intervals_of_kid_hold_the_truth_at_their_level():
    rng = np.random.default_rng(1)
    truth = np.mean([kernel_distance(real=a, fake=b) for a, b in (shifted(rng, 400, 400) for _ in range(100))])
    assert coverage_of(kernel_distance, truth, shifted, n_trials=200, seed=2) == pytest.approx(0.95, abs=0.06)


def test_intervals_of_fd_hold_what_this_number_of_images_expects():
    rng = np.random.default_rng(3)
    expected = np.mean([frechet_distance(real=a, fake=b) for a, b in (shifted(rng) for _ in range(400))])
    assert coverage_of(frechet_distance, expected, shifted, n_trials=150, seed=4) == pytest.approx(0.95, abs=0.07)


def test_intervals_of_kid_under_equal_distributions_hold_zero():
    def draw(rng):
        return rng.normal(size=(50, 3)), rng.normal(size=(50, 3))

    assert coverage_of(kernel_distance, 0.0, draw, n_trials=150, seed=5) > 0.95


def test_a_wider_level_gives_a_wider_interval_about_the_same_value():
    real, fake = shifted(np.random.default_rng(6))
    narrow, wide = (
        bootstrap_interval(kernel_distance, real=real, fake=fake, rng=np.random.default_rng(7), level=level)
        for level in (0.5, 0.99)
    )
    assert narrow.value == wide.value == kernel_distance(real=real, fake=fake)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_more_images_give_a_narrower_interval():
    rng = np.random.default_rng(8)
    widths = []
    for n in (25, 100, 400):
        estimate = bootstrap_interval(
            mean_gap, real=rng.normal(size=(n, 1)), fake=rng.normal(size=(n, 1)), rng=rng, n_resamples=400
        )
        widths.append(estimate.high - estimate.low)
        assert widths[-1] == pytest.approx(2 * 1.96 * np.sqrt(2 / n), rel=0.35)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    "statistic",
    [
        kernel_distance,
        frechet_distance,
        lambda *, real, fake: precision_recall(real=real, fake=fake)[1],
        lambda *, real, fake: density_coverage(real=real, fake=fake)[1],
    ],
    ids=["kid", "fd", "recall", "coverage"],
)
@pytest.mark.parametrize("times", [2, 10])
def test_repeated_images_leave_intervals_sane(statistic, times):
    rng = np.random.default_rng(9)
    real = rng.normal(size=(40, 4))
    fake = np.repeat(rng.normal(size=(60 // times, 4)) + 0.5, times, axis=0)
    estimate = bootstrap_interval(statistic, real=real, fake=fake, rng=rng, n_resamples=60)
    honest = bootstrap_interval(statistic, real=real, fake=rng.normal(size=(60, 4)) + 0.5, rng=rng, n_resamples=60)
    assert np.isfinite([estimate.low, estimate.value, estimate.high]).all()
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.high - estimate.low < 6 * (honest.high - honest.low) + 0.3


def test_no_resample_repeats_an_image_and_every_image_is_left_out_sometimes():
    left_out = np.zeros(10)
    for real, fake in resamples(10, 7, rng=np.random.default_rng(10), n_resamples=200):
        assert len(np.unique(real)) == len(real) == 8
        assert len(np.unique(fake)) == len(fake) == 5
        left_out += ~np.isin(np.arange(10), real)
    assert left_out.min() > 15
    assert left_out.max() < 70


def test_the_widening_factor_follows_from_the_share_that_a_resample_holds():
    assert widening(100, 100) == 2.0
    assert widening(5, 5) == 2.0
    assert widening(4, 4) == pytest.approx(np.sqrt(3))


def test_same_seed_same_interval():
    real, fake = shifted(np.random.default_rng(11))
    run = functools.partial(bootstrap_interval, kernel_distance, real=real, fake=fake, n_resamples=20)
    assert run(rng=np.random.default_rng(0)) == run(rng=np.random.default_rng(0))
    assert run(rng=np.random.default_rng(0)) != run(rng=np.random.default_rng(1))


def test_few_draws_are_widened_by_students_t():
    draws = np.array([1.0, 2.0, 3.0, np.nan])
    low, high = interval_about(10.0, draws, 2.0, level=0.95)
    assert high - 10.0 == pytest.approx(4.302653 * 2.0 * 1.0)  # t of 2 degrees of freedom
    assert 10.0 - low == pytest.approx(high - 10.0)


def test_many_draws_give_quantiles_laid_about_the_value():
    draws = np.arange(101.0)  # mean 50
    assert interval_about(7.0, draws, 0.5, level=0.9) == pytest.approx((7.0 - 22.5, 7.0 + 22.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_resamples": 1}, "at least 2"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"real": np.zeros((3, 1))}, "at least 4"),
        ({"fake": np.full((9, 1), np.nan)}, "not finite"),
    ],
)
def test_impossible_intervals_raise(options, words):
    x = np.arange(9.0)[:, None]
    usual = {"real": x, "fake": x, "rng": np.random.default_rng(0), "n_resamples": 3}
    with pytest.raises(OptionError, match=words):
        bootstrap_interval(mean_gap, **(usual | options))


def test_the_floor_compares_test_originals_with_a_baseline_sample_of_the_synthetic_size():
    sizes = set()

    def watch(*, real, fake):
        sizes.add((len(real), len(fake)))
        return kernel_distance(real=real, fake=fake)

    rng = np.random.default_rng(12)
    test, train = rng.normal(size=(30, 3)), rng.normal(size=(100, 3))
    floor = real_floor(watch, train=train, test=test, n_fake=50, rng=rng, n_resamples=50)
    assert sizes == {(30, 50), (24, 40)}
    assert floor.low < 0.0 < floor.high
    shifted_floor = real_floor(watch, train=train + 2, test=test, n_fake=50, rng=rng, n_resamples=50)
    assert shifted_floor.low > 0.0


def test_a_baseline_sample_takes_all_training_originals_where_they_are_fewer():
    rng = np.random.default_rng(13)
    np.testing.assert_array_equal(baseline_sample(5, 9, rng), np.arange(5))
    chosen = baseline_sample(9, 5, rng)
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) == 5
    assert len(baseline_sample(0, 4, rng)) == 0


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_has_its_known_values(successes, n, low, high):
    assert wilson_interval(successes / n, n) == pytest.approx((low, high), abs=5.1e-5)


def test_wilson_at_another_level():
    z = 1.6448536
    centre, half = (0.2 + z**2 / 100) / (1 + z**2 / 50), z / (1 + z**2 / 50) * np.sqrt(0.16 / 50 + z**2 / 10000)
    assert wilson_interval(0.2, 50, level=0.9) == pytest.approx((centre - half, centre + half), abs=1e-6)
