import tracemalloc
from dataclasses import asdict, replace

import numpy as np
import pytest

from synthbank.errors import OptionError
from synthbank.metrics import (
    LabelledFeatures,
    evaluate_features,
    frechet_distance,
    kernel_distance,
    metrics,
    protocol,
)
from synthbank.metrics._registry import metrics as registry
from synthbank.metrics._registry import ordered
from synthbank.records import INSIDE_DISCRIMINATOR

CLASSES = ("negative", "positive")


def gaussian_classes(n, rng, d=6, shift=0.0, spread=1.0):
    """`n` images of each class; class 1 lies 3 away from class 0."""
    labels = np.repeat([0, 1], n)
    return spread * rng.normal(size=(2 * n, d)) + 3.0 * labels[:, None] + shift, labels


def run(test, fake, train, *, class_names=CLASSES, seed=0, n_resamples=40):
    train, test, fake = (LabelledFeatures(*images, class_names) for images in (train, test, fake))
    scores = evaluate_features(
        train=train,
        test=test,
        fake=fake,
        protocol="lite1-64",
        rng=np.random.default_rng(seed),
        n_resamples=n_resamples,
    )
    return scores, {(s.metric.removesuffix("-lite1-64"), s.class_name): s for s in scores}


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(20)
    return {
        "test": gaussian_classes(30, rng),
        "train": gaussian_classes(90, rng),
        "good": gaussian_classes(60, rng),
        "bad": gaussian_classes(60, rng, shift=1.0, spread=0.5),
    }


@pytest.fixture(scope="module")
def good(sets):
    return run(sets["test"], sets["good"], sets["train"])


@pytest.fixture(scope="module")
def bad(sets):
    return run(sets["test"], sets["bad"], sets["train"])


def test_every_metric_over_all_classes_and_for_each_with_kid_first(good):
    scores, _ = good
    names = ordered("two-sample", "three-sample")
    assert [s.metric for s in scores] == [f"{n}-lite1-64" for n in names] * 3
    assert [s.class_name for s in scores[:: len(names)]] == [None, *CLASSES]
    assert scores[0].metric == "kid-lite1-64"


def test_values_are_those_of_the_public_functions_on_the_images_of_the_class(sets, good):
    real, fake = sets["test"][0], sets["good"][0]
    assert good[1]["kid", None].value == pytest.approx(1000 * kernel_distance(real=real, fake=fake))
    of_class = {"real": real[30:], "fake": fake[60:]}
    assert good[1]["kid", "positive"].value == pytest.approx(1000 * kernel_distance(**of_class))
    assert good[1]["fd", "positive"].value == pytest.approx(frechet_distance(**of_class))
    assert (good[1]["kid", "positive"].n_real, good[1]["kid", "positive"].n_fake) == (30, 60)
    assert (good[1]["copy-rate", None].n_real, good[1]["copy-rate", None].n_fake) == (180, 120)


def test_the_better_set_scores_better_in_every_metric_but_copying(good, bad):
    for name in ("kid", "fd", "recall", "coverage", "diversity"):
        for class_name in (None, *CLASSES):
            ours, theirs = good[1][name, class_name], bad[1][name, class_name]
            assert (ours.value > theirs.value) == ours.higher_is_better, (name, class_name)
    # the whole interval lies above what real against real scores
    assert bad[1]["kid", None].low > bad[1]["kid", None].floor_high


def test_good_images_score_like_the_floor(good):
    for class_name in (None, *CLASSES):
        score = good[1]["kid", class_name]
        assert score.low < 0 < score.high
        assert score.floor_low < 0 < score.floor_high
        assert score.low < score.floor < score.high


def test_every_value_and_floor_lies_in_its_interval_and_bounds(good, bad):
    for score in (*good[0], *bad[0]):
        smallest, largest = metrics.spec(score.metric.removesuffix("-lite1-64")).bounds
        for low, value, high in (
            (score.low, score.value, score.high),
            (score.floor_low, score.floor, score.floor_high),
        ):
            if low is None:  # too few images; or a score of three sets, which has no floor, and C_T no interval
                three = metrics.spec(score.metric.removesuffix("-lite1-64")).kind == "three-sample"
                assert three or value is None
                continue
            assert low <= value <= high
            assert smallest is None or low >= smallest
            assert largest is None or high <= largest
        assert score.seconds > 0 or score.value is None


def test_three_sample_scores_note_the_number_of_test_originals_and_the_p_value(good, sets):
    score = good[1]["closest-record", None]
    assert score.low < 0.5 < score.high
    assert "60 test originals" in score.note
    assert "Mann-Whitney p" in score.note
    assert (score.n_real, score.n_fake, score.floor) == (180, 120, None)
    labels = sets["good"][1]
    copied = sets["train"][0][np.r_[0:60, 90:150]]
    _, scores = run(sets["test"], (copied, labels), sets["train"])
    assert scores["closest-record", None].low > 0.9
    assert scores["copy-score", None].value < -3
    assert scores["membership-auc", None].low > 0.5


def test_a_space_that_the_discriminator_saw_is_marked_in_every_score(sets):
    scores = evaluate_features(
        train=LabelledFeatures(*sets["train"], CLASSES),
        test=LabelledFeatures(*sets["test"], CLASSES),
        fake=LabelledFeatures(*sets["good"], CLASSES),
        protocol="lite0-64",
        rng=np.random.default_rng(0),
        n_resamples=2,
        inside_discriminator=True,
    )
    assert all(s.note.startswith(INSIDE_DISCRIMINATOR) for s in scores)
    assert "times 1000" in scores[0].note


def test_shares_have_at_least_wilsons_interval(good):
    score = good[1]["copy-rate", None]
    assert score.high - score.low > 0.02
    everything = [s for s in good[0] if s.value == 1.0 and s.metric.startswith(("coverage", "precision"))]
    assert all(s.low < 1.0 for s in everything)


def test_copy_rate_sees_copies_and_its_floor_is_the_rate_of_test_originals(sets):
    features, labels = sets["good"]
    copied = features.copy()
    copied[:30] = sets["train"][0][:30]  # half of class 0
    _, scores = run(sets["test"], (copied, labels), sets["train"])
    assert scores["copy-rate", "negative"].value == pytest.approx(0.5, abs=0.05)
    assert scores["copy-rate", "negative"].low > scores["copy-rate", "negative"].floor
    assert scores["copy-rate", "positive"].value < 0.1


def test_fd_of_few_images_notes_its_bias(good):
    assert "biased below 2048 images; read KID first" in good[1]["fd", None].note
    assert good[1]["kid", None].note == "times 1000"
    assert "k = 5" in good[1]["coverage", None].note


def test_a_floor_with_fewer_originals_than_synthetic_images_says_so(sets):
    rng = np.random.default_rng(1)
    _, scores = run(sets["test"], sets["good"], gaussian_classes(10, rng))
    assert "floor with 20 originals in place of 120 images" in scores["fd", None].note
    assert "floor with" not in scores["kid", None].note  # KID does not depend on the number


def test_metrics_with_too_few_images_are_not_computed_and_note_the_minimum(sets):
    real, labels = sets["test"]
    few = np.r_[0:30, 30:33]  # three images of class 1
    _, scores = run((real[few], labels[few]), sets["good"], sets["train"])
    for name in ("kid", "fd", "precision", "recall", "density", "coverage", "diversity"):
        score, needed = scores[name, "positive"], metrics.spec(name)
        assert score.value is score.low is score.high is score.floor is None
        minimum = f"needs at least {needed.minimum_real} and {needed.minimum_fake}"
        assert score.note == f"not computed: 3 test originals and 60 synthetic images; {minimum}"
        assert scores[name, "negative"].value is not None
    assert scores["copy-rate", "positive"].value is not None  # against 90 training originals


def test_each_metric_is_computed_from_its_exact_minimum_on(sets):
    real, labels = sets["test"]
    for n in (4, 5, 6, 7, 8):
        few = np.arange(n)
        _, scores = run((real[few], labels[few]), sets["good"], sets["train"], n_resamples=3)
        computed = {name for name, class_name in scores if class_name is None and scores[name, None].value is not None}
        assert computed == {
            name
            for name in ordered("two-sample", "three-sample")
            if metrics.spec(name).minimum_real <= n
            or (metrics.spec(name).against == "train" and metrics.spec(name).kind == "two-sample")
        }


@pytest.mark.parametrize("missing", ["test", "good", "train"])
def test_a_class_without_images_is_no_error(sets, missing):
    kept = {
        k: (x[labels == 0], labels[labels == 0]) if k == missing else (x, labels) for k, (x, labels) in sets.items()
    }
    _, scores = run(kept["test"], kept["good"], kept["train"], n_resamples=5)
    assert scores["kid", None].value is not None
    assert scores["kid", "negative"].value is not None
    if missing == "train":
        score = scores["kid", "positive"]
        assert score.value is not None
        assert score.floor is None
        assert "no floor: only 0 originals" in score.note
    else:
        assert scores["kid", "positive"].value is None


def test_one_class_scores_the_same_for_all_and_for_the_class(sets):
    def only(name):
        features, labels = sets[name]
        return features[labels == 0], labels[labels == 0]

    scores, _ = run(only("test"), only("good"), only("train"), class_names=("negative",))
    half = len(scores) // 2
    assert [s.class_name for s in scores] == [None] * half + ["negative"] * half
    assert [(s.metric, s.value, s.low, s.floor) for s in scores[:half]] == [
        (s.metric, s.value, s.low, s.floor) for s in scores[half:]
    ]


def test_same_seed_same_scores(sets, good):
    again, _ = run(sets["test"], sets["good"], sets["train"])
    other, _ = run(sets["test"], sets["good"], sets["train"], seed=1)

    def numbers(scores):
        return [(s.value, s.low, s.high, s.floor, s.floor_low, s.floor_high) for s in scores]

    assert numbers(again) == numbers(good[0])
    assert [s.value for s in other] == [s.value for s in again]
    assert numbers(other) != numbers(again)


def test_sets_beyond_the_limit_are_thinned_and_the_score_says_to_what(sets, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_IMAGES", 50)
    _, scores = run(sets["test"], sets["good"], sets["train"])
    assert (scores["kid", None].n_real, scores["kid", None].n_fake) == (50, 50)
    assert (scores["kid", "negative"].n_real, scores["kid", "negative"].n_fake) == (30, 50)


def test_a_metric_that_was_added_elsewhere_is_scored_with_no_edit(sets, monkeypatch):
    for attribute in ("_items", "_specs"):
        monkeypatch.setattr(registry, attribute, dict(getattr(registry, attribute)))
    facts = asdict(registry.spec("kid")) | {"order": 99, "resampled": None, "note": "added", "bounds": (0.0, None)}

    @registry.register("gap", **facts)
    def gap(gram):
        return float(abs(gram.real.mean() - gram.fake.mean()))

    _, scores = run(sets["test"], sets["bad"], sets["train"])
    score = scores["gap", None]
    real, fake = sets["test"][0], sets["bad"][0]
    assert score.value == pytest.approx(abs((real @ real.T).mean() - (fake @ fake.T).mean()))
    assert score.low < score.value < score.high
    assert score.note == "added"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("test", {"features": np.full((60, 6), np.nan)}, "test features hold values that are not finite"),
        ("fake", {"features": np.zeros((120, 5))}, "different networks"),
        ("train", {"features": np.zeros((180, 6, 1))}, "wrong shape"),
        ("test", {"labels": np.zeros(59, np.int64)}, "test labels do not fit"),
        ("fake", {"labels": np.full(120, 2)}, "0 to 1 per image"),
        ("train", {"labels": np.full(180, -1)}, "0 to 1 per image"),
        ("fake", {"class_names": ("positive", "negative")}, "different classes"),
    ],
)
def test_faulty_features_and_labels_raise_with_a_next_step(sets, name, change, words):
    arguments = {
        "train": LabelledFeatures(*sets["train"], CLASSES),
        "test": LabelledFeatures(*sets["test"], CLASSES),
        "fake": LabelledFeatures(*sets["good"], CLASSES),
    }
    arguments[name] = replace(arguments[name], **change)
    with pytest.raises(OptionError, match=words) as caught:
        evaluate_features(**arguments, protocol="lite1-64", rng=np.random.default_rng(0))
    assert caught.value.next_step


@pytest.mark.slow
def test_large_sets_take_little_memory_and_fewer_resamples():
    rng = np.random.default_rng(2)
    sets = [(rng.normal(size=(1024, 1280)).astype(np.float32), np.zeros(1024, np.int64)) for _ in range(3)]
    tracemalloc.start()
    _, scores = run(*sets, class_names=("all",), n_resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6e9
    kid, fd = scores["kid", None], scores["fd", None]
    assert kid.low < 0 < kid.high
    assert fd.note.endswith("interval from 8 resamples")
    assert fd.low < fd.value < fd.high
    assert fd.low < fd.floor < fd.high
