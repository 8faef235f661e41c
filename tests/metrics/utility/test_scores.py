import numpy as np
import pytest
from sklearn import metrics as reference

from synthbank.errors import OptionError
from synthbank.metrics.utility.scores import SCORES, class_scores, group_weights, overall_scores


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 90, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(90, 3)).round(1) + 1.2 * np.eye(3)[labels]  # rounded: ties happen
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), labels


def test_scores_agree_with_an_independent_library(answers):
    p, y = answers
    ours = {name: float(value[0]) for name, value in overall_scores(p, y).items()}
    given = p.argmax(axis=1)
    assert list(ours) == list(SCORES)
    assert ours["macro-f1"] == pytest.approx(reference.f1_score(y, given, average="macro"))
    assert ours["balanced-accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, given))
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(y, given))
    assert ours["auc"] == pytest.approx(reference.roc_auc_score(y, p, multi_class="ovr", average="macro"))


def test_scores_of_classes_agree_too(answers):
    p, y = answers
    ours = class_scores(p, y)
    assert ours["f1"][0] == pytest.approx(reference.f1_score(y, p.argmax(1), average=None))
    assert ours["recall"][0] == pytest.approx(reference.recall_score(y, p.argmax(1), average=None))
    for c in range(3):
        assert ours["auc"][0, c] == pytest.approx(reference.roc_auc_score(y == c, p[:, c]))


def test_a_weight_of_two_is_the_same_image_twice(answers):
    p, y = answers
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 3, len(y))
    weighted = overall_scores(p, y, weights[None].astype(float))
    repeated = overall_scores(np.repeat(p, weights, axis=0), np.repeat(y, weights))
    for name in SCORES:
        assert weighted[name][0] == pytest.approx(repeated[name][0]), name


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.35, 0.65]])
    y = np.array([0, 1, 1, 1])  # confident half: 0.9 against 0.5 right; the other: 0.65 against 1.0
    assert overall_scores(p, y)["ece"][0] == pytest.approx((2 * 0.4 + 2 * 0.35) / 4)


def test_a_class_without_test_images_is_left_out_of_means(answers):
    p, y = answers
    kept = y != 2
    assert np.isnan(class_scores(p[kept], y[kept])["recall"][0, 2])
    assert overall_scores(p[kept], y[kept])["balanced-accuracy"][0] == pytest.approx(
        reference.recall_score(y[kept], p[kept].argmax(1), average="macro", labels=[0, 1])
    )


def test_groups_are_drawn_whole():
    groups = np.array([3, 3, 8, 8, 8, 1])
    weights = group_weights(groups, n_resamples=50, rng=np.random.default_rng(0))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()


def test_predictions_that_are_not_finite_raise():
    with pytest.raises(OptionError, match="not finite"):
        overall_scores(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(OptionError, match="do not fit"):
        overall_scores(np.ones((2, 2)) / 2, np.array([0]))
