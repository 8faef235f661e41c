import numpy as np
import pytest
from scipy.stats import ttest_1samp

from synthbank.errors import OptionError
from synthbank.metrics.utility import bootstrap_difference, corrected_t


def test_without_shared_training_images_it_is_the_usual_t_test():
    values = np.array([0.02, 0.05, -0.01, 0.04, 0.03])
    usual = ttest_1samp(values, 0.0)
    found = corrected_t(values, test_share=0.0)
    assert found.p_value == pytest.approx(usual.pvalue)
    low, high = usual.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_correction_by_hand():
    values = np.array([0.1, 0.2, 0.3, 0.4])
    found = corrected_t(values, test_share=1 / 3)
    half = 3.182446 * np.sqrt(0.1**2 * 5 / 3) * np.sqrt(1 / 4 + 1 / 3)  # t of 3 degrees of freedom
    assert found.high - found.value == pytest.approx(half, rel=1e-6)
    assert found.outcome == "no difference shown"


def test_the_corrected_t_test_keeps_its_level_where_the_plain_one_does_not():
    """Fold means that share a common part, as those of a cross-validation do."""
    rng = np.random.default_rng(0)
    k, share, runs = 5, 0.25, 600
    correlation = share / (1 + share)  # what the correction assumes
    common = rng.normal(size=(runs, 1)) * np.sqrt(correlation)
    values = common + rng.normal(size=(runs, k)) * np.sqrt(1 - correlation)
    ours = np.mean([corrected_t(v, test_share=share).p_value < 0.05 for v in values])
    plain = np.mean([ttest_1samp(v, 0.0).pvalue < 0.05 for v in values])
    assert ours < 0.075
    assert plain > 0.1


def test_equal_folds_have_no_width_and_one_fold_has_no_test():
    assert corrected_t(np.zeros(3), test_share=0.5).p_value == 1.0
    with pytest.raises(OptionError, match="needs folds"):
        corrected_t(np.array([0.1]), test_share=0.5)


def test_the_bootstrap_interval_covers_a_mean_and_the_outcome_follows_its_sign():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        images = rng.normal(0.3, 1.0, 60)
        weights = rng.multinomial(60, np.full(60, 1 / 60), size=300)
        drawn = (weights @ images / 60)[None].repeat(3, axis=0)
        found = bootstrap_difference(np.full(3, images.mean()), drawn, rng=rng)
        covered += found.low <= 0.3 <= found.high
    assert 0.9 <= covered / 200 <= 0.99
    sure = bootstrap_difference(np.array([0.5]), rng.normal(0.5, 0.05, (1, 500)), rng=rng)
    assert sure.outcome == "helps"
    assert sure.p_value < 0.01
    assert bootstrap_difference(np.array([-0.5]), rng.normal(-0.5, 0.05, (1, 500)), rng=rng).outcome == "harms"
