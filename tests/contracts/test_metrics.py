"""What every registered metric and public two-sample function promises; a new one is checked with no edit here."""

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

import synthbank.metrics as room
from synthbank.errors import OptionError
from synthbank.metrics import LabelledFeatures, evaluate_features, evaluate_pixels, metrics
from synthbank.metrics._gram import gram_matrices, three_way_gram
from synthbank.metrics._registry import ordered
from synthbank.records import LabelledImages

PUBLIC = {name: getattr(room, name) for name in room.__all__ if inspect.isfunction(getattr(room, name))}
TWO_SAMPLE = sorted(name for name, f in PUBLIC.items() if {"real", "fake"} <= set(inspect.signature(f).parameters))
every_metric = pytest.mark.parametrize("name", ordered("two-sample"))
every_three_way_metric = pytest.mark.parametrize("name", ordered("three-sample"))
every_pixel_metric = pytest.mark.parametrize("name", ordered("pixels"))
every_kind = pytest.mark.parametrize("name", list(metrics))
every_function = pytest.mark.parametrize("name", TWO_SAMPLE)


def mean_gap(*, real, fake):
    return float(fake.mean() - real.mean())


def value_of(name, real, fake):
    return metrics.get(name)(gram_matrices(real=np.asarray(real, np.float64), fake=np.asarray(fake, np.float64)))


def call(name, real, fake, seed=0):
    """A public function with its required arguments."""
    needed = {"rng": np.random.default_rng(seed), "threshold": 1.0, "statistic": mean_gap}
    parameters = inspect.signature(PUBLIC[name]).parameters
    extra = {k: v for k, v in needed.items() if k in parameters and parameters[k].default is inspect.Parameter.empty}
    positional = [extra.pop(k) for k in list(extra) if parameters[k].kind is not inspect.Parameter.KEYWORD_ONLY]
    return PUBLIC[name](*positional, real=real, fake=fake, **extra)


def gaussians(n, m, seed=0, d=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def scores_of(test, fake, train, seed=0):
    train, test, fake = (LabelledFeatures(x, np.zeros(len(x), np.int64), ("all",)) for x in (train, test, fake))
    return evaluate_features(
        train=train, test=test, fake=fake, protocol="lite1-32", rng=np.random.default_rng(seed), n_resamples=10
    )


def score_of(name, test, fake, train, seed=0):
    (score,) = [s for s in scores_of(test, fake, train, seed) if s.metric == f"{name}-lite1-32" and not s.class_name]
    return score


def three_way_value(name, train, test, fake):
    return metrics.get(name)(three_way_gram(train=train, test=test, fake=fake))


def cells(n, seed=0, size=32, classes=("a", "b")):
    """Pictures of one to three dark bodies on a bright, lightly stained ground."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images = np.empty((n, 3, size, size))
    for image in images:
        image[:] = np.array([215.0, 190.0, 205.0])[:, None, None]
        for _ in range(rng.integers(1, 4)):
            y, x, radius = *rng.uniform(6, size - 6, 2), rng.uniform(2.5, 5.5)
            image[:, (rows - y) ** 2 + (columns - x) ** 2 < radius**2] = [[80.0], [60.0], [140.0]]
    noisy = np.clip(images + rng.normal(0, 5, images.shape), 0, 255).astype(np.uint8)
    return LabelledImages(noisy, np.arange(n) % len(classes), classes)


def pixel_value(name, real, fake):
    metric = metrics.get(name)
    return metric.compare(real=metric.describe(real.images), fake=metric.describe(fake.images))


def test_there_are_metrics_and_functions_to_check():
    assert {"kid", "fd", "precision", "recall", "density", "coverage", "diversity", "copy-rate"} <= set(metrics)
    assert {"frechet_distance", "kernel_distance", "precision_recall", "density_coverage", "copy_rate"} <= set(
        TWO_SAMPLE
    )


def test_the_public_names_are_sorted_and_there():
    assert sorted(room.__all__) == sorted(set(room.__all__))
    assert all(hasattr(room, name) for name in room.__all__)


@every_kind
def test_facts_are_complete_and_fit_each_other(name):
    spec = metrics.spec(name)
    assert spec.title[0].isupper()
    assert spec.meaning
    assert spec.citation
    assert (metrics.get(name) is None) == (spec.kind == "declared")
    if spec.kind == "three-sample":
        assert spec.against == "train"
    if spec.proportion_of is not None:
        assert spec.bounds == (0.0, 1.0)
    if spec.symmetric:
        assert spec.minimum_real == spec.minimum_fake


def test_the_tables_of_the_documents_list_the_metrics_in_their_order():
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    section = text.split("## The metrics", 1)[1].split("\n## ", 1)[0]
    listed = [
        name for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for name in re.findall("`(.+?)`", row)
    ]
    last = metrics.spec("is").order  # those of utility and of readers stand on pages of their own
    assert listed == [name for name in ordered() if metrics.spec(name).order <= last]
    measured = re.findall(r"^\| `([a-z-]+)` [↑↓]", text, re.MULTILINE)
    assert measured == sorted(measured, key=ordered().index)


def test_no_two_metrics_share_an_order_and_kid_is_first():
    orders = {name: metrics.spec(name).order for name in metrics}
    assert len(set(orders.values())) == len(orders)
    assert min(orders, key=orders.__getitem__) == "kid"


@every_metric
@pytest.mark.parametrize("seed", range(3))
def test_a_set_against_itself_has_the_best_value_or_the_worst_for_copy_metrics(name, seed):
    spec = metrics.spec(name)
    real, _ = gaussians(40, 1, seed)
    if spec.looks_at == "fake":
        varied, collapsed = value_of(name, real, real[::-1]), value_of(name, real, np.repeat(real[:2], 20, axis=0))
        assert varied > collapsed if spec.higher_is_better else varied < collapsed
        return
    ideal_is_upper = spec.higher_is_better == (spec.against == "test")
    ideal = spec.bounds[ideal_is_upper]
    if ideal is not None:
        assert value_of(name, real, real[::-1]) == pytest.approx(ideal, abs=1e-9)
    else:  # no end of the scale: better than a set that is elsewhere and less varied
        value, worse = value_of(name, real, real[::-1]), value_of(name, real, 0.3 * real + 4.0)
        assert value > worse if ideal_is_upper else value < worse


@every_metric
def test_the_same_distribution_scores_better_than_another(name):
    spec = metrics.spec(name)
    gaps = []
    for seed in range(10):
        real, fake = gaussians(60, 60, seed)
        other = 0.3 * fake + (4.0 if spec.against == "test" else 0.0)
        if spec.looks_at == "fake":
            other = np.repeat(fake[:20], 3, axis=0)
        elif spec.against == "train":
            other = real[:60] + 1e-6 * fake
        gaps.append(value_of(name, real, fake) - value_of(name, real, other))
    assert (np.array(gaps) > 0).all() if spec.higher_is_better else (np.array(gaps) < 0).all()


@every_metric
@pytest.mark.parametrize(("n", "m"), [(12, 20), (31, 9)])
def test_the_order_of_images_does_not_matter(name, n, m):
    rng = np.random.default_rng(n)
    real, fake = gaussians(n, m)
    shuffled = value_of(name, rng.permutation(real), rng.permutation(fake))
    assert shuffled == pytest.approx(value_of(name, real, fake), rel=1e-9)


@every_metric
def test_symmetry_is_as_declared(name):
    pairs = [gaussians(12, 20, seed) for seed in range(5)]
    pairs = [(real, 1.5 * fake + 0.5) for real, fake in pairs]
    forth, back = ([value_of(name, *p) for p in pairs], [value_of(name, *p[::-1]) for p in pairs])
    assert np.allclose(forth, back, rtol=1e-9) == metrics.spec(name).symmetric


@every_metric
@pytest.mark.parametrize(
    "case", ["random", "far", "alike", "repeated", "wide", "tiny numbers", "same set", "collapsed"]
)
def test_values_are_finite_and_within_bounds(name, case):
    real, fake = gaussians(15, 22, seed=3)
    real, fake = {
        "random": (real, fake),
        "far": (real, fake + 1e5),
        "alike": (np.ones_like(real), np.ones_like(fake)),
        "repeated": (np.repeat(real[:5], 3, axis=0), np.repeat(fake[:2], 11, axis=0)),
        "wide": gaussians(15, 22, d=300),
        "tiny numbers": (1e-6 * real, 1e-6 * fake),
        "same set": (real, real),
        "collapsed": (real, np.repeat(real[:1], 22, axis=0)),
    }[case]
    value = value_of(name, real, fake)
    smallest, largest = metrics.spec(name).bounds
    assert isinstance(value, float)
    if math.isnan(value):  # says that it does not hold: only allowed where images are fewer than feature values
        assert real.shape[1] >= len(real)
        return
    assert math.isfinite(value)
    assert smallest is None or value >= smallest
    assert largest is None or value <= largest


@every_metric
def test_the_minimum_is_enough_for_a_value_an_interval_and_a_floor(name):
    spec = metrics.spec(name)
    n, m = spec.minimum_real, spec.minimum_fake
    real, fake = gaussians(max(n, 4), max(m, 4), seed=4)
    others, _ = gaussians(max(n, m, 8), 1, seed=5)
    sets = (real[:n], fake[:m], others) if spec.against == "test" else (others, fake[:m], real[:n])
    score = score_of(name, *sets)
    assert (score.n_real, score.n_fake) == (n, m)
    for number in (score.value, score.low, score.high, score.floor, score.floor_low, score.floor_high):
        assert math.isfinite(number)


@every_metric
@pytest.mark.parametrize("short", ["real", "fake"])
def test_below_the_minimum_there_is_no_value_but_a_reason(name, short):
    spec = metrics.spec(name)
    n, m = spec.minimum_real - (short == "real"), spec.minimum_fake - (short == "fake")
    real, fake = gaussians(n, m, seed=6)
    others, _ = gaussians(20, 1, seed=7)
    sets = (real, fake, others) if spec.against == "test" else (others, fake, real)
    score = score_of(name, *sets)
    assert score.value is None
    assert score.low is None
    assert score.note.startswith(f"not computed: {n} {spec.against} originals and {m} synthetic images")


@every_metric
def test_same_seed_same_score(name):
    real, fake = gaussians(20, 25, seed=8)
    train, _ = gaussians(40, 1, seed=9)
    scores = [score_of(name, real, fake, train, seed) for seed in (1, 1)]
    numbers = [(s.value, s.low, s.high, s.floor, s.floor_low, s.floor_high, s.note) for s in scores]
    assert numbers[0] == numbers[1]


@every_metric
def test_bias_in_the_number_of_images_is_as_declared(name):
    spec = metrics.spec(name)

    def draws(n, m, spread, d):
        pairs = [gaussians(n, m, seed=[n, m, i], d=d) for i in range(400)]
        return np.array([value_of(name, real, spread * fake) for real, fake in pairs])

    depends = []
    for spread, d in ((1.0, 1), (1.5, 4)):
        if spec.against == "train":
            few, many = draws(16, 8, spread, d), draws(16, 64, spread, d)
        else:
            few, many = draws(8, 8, spread, d), draws(64, 64, spread, d)
        error = np.hypot(few.std(), many.std()) / np.sqrt(400)
        depends.append(abs(few.mean() - many.mean()) > 4 * error)
    assert any(depends) == spec.biased


@every_metric
@pytest.mark.parametrize(("n", "m", "d"), [(10, 10, 3), (45, 20, 6), (30, 60, 90)])
def test_many_resamples_at_once_have_the_values_of_single_ones(name, n, m, d):
    resampled = metrics.spec(name).resampled
    rng = np.random.default_rng(10)
    real, fake = gaussians(n, m, seed=11, d=d)
    gram = gram_matrices(real=real, fake=1.2 * fake + 0.3)
    real_masks = np.array([rng.permutation(n) < int(0.8 * n) for _ in range(12)])
    fake_masks = np.array([rng.permutation(m) < int(0.8 * m) for _ in range(12)])
    parts = [gram.take(np.flatnonzero(i), np.flatnonzero(j)) for i, j in zip(real_masks, fake_masks, strict=True)]
    plain = np.array([metrics.get(name)(part) for part in parts])
    direct = [value_of(name, real[i], (1.2 * fake + 0.3)[j]) for i, j in zip(real_masks, fake_masks, strict=True)]
    np.testing.assert_allclose(plain, direct, rtol=1e-9, atol=1e-12)
    if resampled is not None:
        np.testing.assert_allclose(resampled(gram, real_masks, fake_masks), plain, rtol=1e-5, atol=1e-9)


@every_three_way_metric
def test_three_sample_metrics_are_neutral_for_one_distribution_and_react_to_copies(name):
    honest, copied = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        train, test, fake = (rng.normal(size=(60, 4)) for _ in range(3))
        honest.append(three_way_value(name, train, test, fake).value)
        copied.append(three_way_value(name, train, test, train + 1e-3 * fake).value)
    neutral = 0.0 if metrics.spec(name).bounds == (None, None) else 0.5
    scale = 1.5 if neutral == 0.0 else 0.12
    assert abs(np.mean(honest) - neutral) < scale
    gaps = np.array(honest) - np.array(copied)
    assert (gaps > 0).all() if metrics.spec(name).higher_is_better else (gaps < 0).all()


@every_three_way_metric
def test_three_sample_metrics_ignore_the_order_of_images_and_stay_finite_and_bounded(name):
    rng = np.random.default_rng(1)
    train, test, fake = rng.normal(size=(30, 4)), rng.normal(size=(20, 4)), rng.normal(size=(25, 4))
    value = three_way_value(name, train, test, fake).value
    shuffled = three_way_value(name, *(rng.permutation(x) for x in (train, test, fake))).value
    assert shuffled == pytest.approx(value, rel=1e-9)
    for sets in (
        (train, train[:20], train),
        (train, test, np.repeat(train[:1], 25, axis=0)),
        (train, test, fake + 1e5),
    ):
        answer = three_way_value(name, *sets)
        smallest, largest = metrics.spec(name).bounds
        assert math.isfinite(answer.value)
        assert smallest is None or smallest <= answer.low <= answer.value <= answer.high <= largest


@every_three_way_metric
@pytest.mark.parametrize("short", ["train", "test", "fake"])
def test_three_sample_metrics_below_the_minimum_give_a_reason(name, short):
    sizes = {"train": 8, "test": 8, "fake": 8}
    rng = np.random.default_rng(2)
    enough = {k: rng.normal(size=(n, 4)) for k, n in sizes.items()}
    assert score_of(name, enough["test"], enough["fake"], enough["train"]).value is not None
    few = enough | {short: enough[short][:7]}
    score = score_of(name, few["test"], few["fake"], few["train"])
    assert score.value is None
    assert score.note.startswith("not computed")


@every_pixel_metric
def test_pixel_metrics_are_best_for_the_same_set_and_worse_for_noise_or_collapse(name):
    real, fake = cells(40), cells(40, seed=1)
    spec = metrics.spec(name)
    noise = np.random.default_rng(3).integers(0, 256, fake.images.shape, dtype=np.uint8)
    worse = LabelledImages(noise, fake.labels, fake.class_names)
    if spec.looks_at == "fake":
        worse = LabelledImages(np.repeat(fake.images[:1], 40, axis=0), fake.labels, fake.class_names)
    else:
        assert pixel_value(name, real, real.take(np.arange(40)[::-1])) == pytest.approx(0.0, abs=1e-9)
    good, bad = pixel_value(name, real, fake), pixel_value(name, real, worse)
    assert good < bad
    assert math.isfinite(bad)


@every_pixel_metric
def test_pixel_descriptions_do_not_depend_on_the_batch(name):
    if metrics.spec(name).looks_at == "fake":
        pytest.skip("describes an image beside others of its class")
    metric, images = metrics.get(name), cells(9).images
    whole = metric.describe(images)
    parts = np.concatenate([metric.describe(images[i : i + 2]) for i in range(0, 9, 2)])
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert len(metric.describe(images[:0])) == 0


@every_pixel_metric
def test_pixel_scores_have_interval_floor_and_reasons(name):
    real, fake, train = cells(24), cells(30, seed=1), cells(40, seed=2)
    scores = evaluate_pixels(train=train, test=real, fake=fake, rng=np.random.default_rng(0), n_resamples=20)
    (score,) = [s for s in scores if s.metric == f"{name}-pixels-32" and s.class_name is None]
    assert score.low <= score.value <= score.high
    assert score.floor_low <= score.floor <= score.floor_high
    few = evaluate_pixels(
        train=train, test=real.take(np.arange(1)), fake=fake, rng=np.random.default_rng(0), n_resamples=3
    )
    (score,) = [s for s in few if s.metric == f"{name}-pixels-32" and s.class_name is None]
    assert score.value is None
    assert score.note.startswith("not computed: 1 test originals and 30 synthetic images")


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_real_and_fake_go_by_name_and_randomness_is_an_argument(name):
    parameters = inspect.signature(PUBLIC[name]).parameters
    for wanted in ("real", "fake", "rng", "query", "threshold", "train", "test"):
        if wanted in parameters:
            assert parameters[wanted].kind is inspect.Parameter.KEYWORD_ONLY, wanted
    names = list(parameters)
    if "real" in names and "fake" in names:
        assert names.index("fake") == names.index("real") + 1
    if "train" in names and "fake" in names:
        assert names[names.index("train") :][:3] == ["train", "test", "fake"]
    if "rng" in parameters and name != "inception_score":
        assert parameters["rng"].default is inspect.Parameter.empty


@every_function
@pytest.mark.parametrize("side", ["real", "fake"])
@pytest.mark.parametrize("fault", ["nan", "infinity", "empty", "one-dimensional", "other width"])
def test_faulty_features_are_refused_with_a_next_step(name, side, fault):
    sets = dict(zip(("real", "fake"), gaussians(20, 20), strict=True))
    broken = sets[side].copy()
    if fault in ("nan", "infinity"):
        broken[7, 2] = np.nan if fault == "nan" else -np.inf
    else:
        broken = {"empty": broken[:0], "one-dimensional": broken[0], "other width": broken[:, :3]}[fault]
    with pytest.raises(OptionError) as caught:
        call(name, **(sets | {side: broken}))
    assert caught.value.next_step
    assert caught.value.got is not None


@every_function
def test_same_seed_same_value_and_inputs_stay_as_they_were(name):
    real, fake = gaussians(20, 25)
    before = real.copy(), fake.copy()
    np.testing.assert_equal(call(name, real, fake, seed=5), call(name, real, fake, seed=5))
    np.testing.assert_array_equal(real, before[0])
    np.testing.assert_array_equal(fake, before[1])


@every_function
def test_single_precision_features_are_summed_in_double(name):
    real, fake = (x.astype(np.float32) for x in gaussians(20, 25))
    np.testing.assert_equal(call(name, real, fake), call(name, real.astype(np.float64), fake.astype(np.float64)))
