import numpy as np
import pytest

from synthbank.errors import OptionError
from synthbank.metrics.utility import Selector

from .conftest import column_means, squares


@pytest.fixture
def selector():
    real = squares(20, seed=0, classes=3)
    return Selector.fit(column_means(real.images), real.labels)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_selection_passes_about_the_requested_share_of_each_class(selector, share):
    made = squares(200, seed=1, classes=3)
    features = column_means(made.images)
    kept = selector.calibrate(features, made.labels, share).accepts(features, made.labels)
    for label in range(3):
        assert kept[made.labels == label].mean() == pytest.approx(share, abs=0.02)


def test_selection_rejects_wrong_labels_and_outliers_first(selector):
    made = squares(200, seed=2, wrong=0.3, classes=3)
    truth = squares(200, seed=2, classes=3).labels
    features = column_means(made.images)
    kept = selector.calibrate(features, made.labels, 0.6).accepts(features, made.labels)
    assert (made.labels != truth)[kept].mean() < 0.1
    confidence, distance = selector.score(features, made.labels)
    assert confidence[made.labels == truth].mean() > confidence[made.labels != truth].mean() + 0.05
    strange = selector.score(features + 200.0, made.labels)[1]
    assert strange.min() > distance.max()


def test_each_image_left_out_has_a_reason(selector):
    made = squares(50, seed=3, classes=3)
    features = column_means(made.images)
    ready = selector.calibrate(features, made.labels, 0.5)
    reasons = ready.reasons(*ready.score(features, made.labels), made.labels)
    assert set(reasons) == {None, "low_confidence", "far_from_class"}
    assert [r is None for r in reasons] == ready.accepts(features, made.labels).tolist()


def test_two_classes_give_the_same_confidence_as_the_library():
    from sklearn.linear_model import LogisticRegression

    real = squares(20, seed=0)
    x = column_means(real.images).astype(float)
    selector = Selector.fit(x, real.labels)
    scaled = (x - selector.centre) / selector.spread
    model = LogisticRegression(C=1e-3, max_iter=2000, tol=1e-3, class_weight="balanced").fit(scaled, real.labels)
    ours = selector.score(x, np.zeros(40, np.int64))[0]
    assert ours == pytest.approx(model.predict_proba(scaled)[:, 0], abs=1e-9)


def test_impossible_selections_raise(selector):
    features, labels = np.zeros((4, 16)), np.array([0, 0, 1, 1])
    with pytest.raises(OptionError, match="two or more classes"):
        Selector.fit(features, np.zeros(4, np.int64))
    with pytest.raises(OptionError, match="out of range"):
        selector.calibrate(features, labels, 1.0)
    with pytest.raises(OptionError, match="no image to calibrate"):
        selector.calibrate(features, labels, 0.5)  # nothing of the third class
