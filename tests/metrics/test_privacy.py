import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from synthbank.errors import OptionError
from synthbank.metrics import (
    authenticity,
    copying_statistic,
    distance_to_closest_record,
    membership_inference,
    metrics,
    nearest_neighbours,
    novelty,
)
from synthbank.metrics._gram import gram_matrices, three_way_gram
from synthbank.metrics._ranking import compare_ranks


def sets(seed=0, n=80, h=60, m=70, d=5):
    rng = np.random.default_rng(seed)
    return {"train": rng.normal(size=(n, d)), "test": rng.normal(size=(h, d)), "fake": rng.normal(size=(m, d))}


def nearest(query, reference):
    return nearest_neighbours(query=query, reference=reference)[0][:, 0]


def test_rank_comparison_equals_the_area_under_the_roc_curve_and_widens_with_fewer_values():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 6, 40).astype(float), rng.integers(1, 8, 30).astype(float)
    truth = np.r_[np.ones(40), np.zeros(30)]
    ranked = compare_ranks(first, second)
    assert ranked.probability == pytest.approx(roc_auc_score(truth, -np.r_[first, second]))
    assert ranked.low < ranked.probability < ranked.high
    few = compare_ranks(first[:10], second[:8])
    assert few.high - few.low > ranked.high - ranked.low


def test_the_rank_interval_covers_the_true_probability_at_its_level():
    truth = norm.cdf(0.8 / math.sqrt(2))
    rng = np.random.default_rng(2)
    hits = [
        r.low <= truth <= r.high
        for r in (compare_ranks(rng.normal(size=40), rng.normal(0.8, 1, size=40)) for _ in range(400))
    ]
    assert 0.91 <= np.mean(hits) <= 0.99


def test_perfect_separation_has_probability_one_and_an_interval_of_some_width():
    ranked = compare_ranks(np.zeros(20), np.ones(20))
    assert ranked.probability == ranked.high == 1.0
    assert 0.5 < ranked.low < 1.0
    assert ranked.p_value < 1e-6
    assert compare_ranks(np.zeros(5), np.zeros(5)).probability == 0.5


def test_p_values_are_uniform_where_all_sets_share_one_distribution():
    values = [distance_to_closest_record(**sets(seed)).p_value for seed in range(60)]
    assert 0.3 < np.mean(values) < 0.7
    assert (np.array(values) < 0.05).mean() < 0.15


def test_copies_are_closer_than_test_originals_and_leak_membership():
    s = sets(3)
    copies = s | {"fake": s["train"][:70] + 0.01 * s["fake"]}
    closer = distance_to_closest_record(**copies)
    assert closer.low > 0.9
    assert closer.p_value < 1e-9
    assert membership_inference(**copies).low > 0.7
    honest = membership_inference(**s)
    assert honest.low < 0.5 < honest.high


def test_membership_is_the_area_of_the_distance_attack():
    s = sets(4)
    truth = np.r_[np.ones(80), np.zeros(60)]
    score = -np.r_[nearest(s["train"], s["fake"]), nearest(s["test"], s["fake"])]
    assert membership_inference(**s).probability == pytest.approx(roc_auc_score(truth, score))


def test_the_copying_statistic_of_one_cell_is_the_mann_whitney_score():
    s = sets(5, n=19, h=15, m=12)  # too few for a second cell
    ours, theirs = nearest(s["fake"], s["train"]), nearest(s["test"], s["train"])
    u = (ours[:, None] > theirs[None]).sum()
    expected = (u - 12 * 15 / 2) / math.sqrt(12 * 15 * (12 + 15 + 1) / 12)
    assert copying_statistic(**s) == pytest.approx(expected)


def test_the_copying_statistic_sees_copies_in_one_of_several_places():
    rng = np.random.default_rng(6)
    centres = 30.0 * np.eye(5)[:4]

    def around(n):
        return np.concatenate([c + rng.normal(size=(n, 5)) for c in centres])

    train, test, fake = around(40), around(40), around(40)
    honest = copying_statistic(train=train, test=test, fake=fake)
    fake[:40] = train[:40] + 0.01
    assert abs(honest) < 2
    assert copying_statistic(train=train, test=test, fake=fake) < honest - 1.0
    assert copying_statistic(train=train, test=test, fake=train + 0.01) < -3
    assert copying_statistic(train=train, test=test, fake=fake + 500.0) > 3


def test_authentic_images_are_farther_from_an_original_than_its_neighbour():
    real = np.array([[0.0], [1.0], [5.0]])
    # 0.4 is nearer to 0 than 1 is; 3.2 is farther from 5 than... 5's nearest other is 4 away; 9.5 lies 4.5 away
    fake = np.array([[0.4], [-2.0], [3.2], [9.5]])
    np.testing.assert_array_equal(authenticity(real=real, fake=fake), [False, True, False, True])
    many = sets(7)
    gram = gram_matrices(real=many["train"], fake=many["fake"])
    expected = authenticity(real=many["train"], fake=many["fake"]).mean()
    assert metrics.get("authenticity")(gram) == pytest.approx(expected)


def test_novelty_is_the_rank_among_the_distances_of_test_originals():
    train, test = np.array([[0.0]]), np.array([[1.0], [2.0], [3.0], [4.0]])
    fake = np.array([[0.0], [2.5], [-9.0]])
    np.testing.assert_allclose(novelty(train=train, test=test, fake=fake), [0.0, 0.5, 1.0])


def test_near_duplicates_are_counted_as_in_a_set_as_large_as_training():
    rng = np.random.default_rng(8)
    real, fake = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    paired = np.concatenate([fake[:20], fake[:20] + 1e-6])
    metric = metrics.get("duplicates")
    assert metric(gram_matrices(real=real, fake=fake)) < 0.05
    # each image has one twin among 39 others, and 49 others are asked
    assert metric(gram_matrices(real=real, fake=paired)) == pytest.approx(1 - (38 / 39) ** 49, abs=0.03)
    assert metric(gram_matrices(real=real, fake=np.repeat(fake[:1], 40, axis=0))) == 1.0


def test_three_sample_metrics_agree_from_features_and_from_gram_matrices():
    s = sets(9)
    gram = three_way_gram(**s)
    assert metrics.get("closest-record")(gram).value == pytest.approx(distance_to_closest_record(**s).probability)
    assert metrics.get("membership-auc")(gram).value == pytest.approx(membership_inference(**s).probability)
    assert metrics.get("copy-score")(gram).value == pytest.approx(copying_statistic(**s))


@pytest.mark.parametrize("function", [distance_to_closest_record, membership_inference, copying_statistic, novelty])
@pytest.mark.parametrize("fault", ["nan", "empty", "other width"])
@pytest.mark.parametrize("which", ["train", "test", "fake"])
def test_faulty_sets_are_refused(function, which, fault):
    s = sets(10)
    broken = {"nan": np.full_like(s[which], np.nan), "empty": s[which][:0], "other width": s[which][:, :2]}[fault]
    with pytest.raises(OptionError) as caught:
        function(**(s | {which: broken}))
    assert caught.value.next_step
