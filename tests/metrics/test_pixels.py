import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from skimage.color import rgb2hed
from skimage.metrics import structural_similarity

from synthbank.errors import OptionError
from synthbank.metrics import evaluate_pixels, metrics, multi_scale_similarity
from synthbank.metrics._pixels import standardised_gap
from synthbank.records import LabelledImages

STAIN, SPECTRUM, NUCLEI, LIKENESS = (metrics.get(name) for name in ("stain", "spectrum", "nuclei", "ms-ssim"))


def tissue(n, seed=0, size=32, strength=1.0):
    """Bright ground with blurred bluish and brownish structure; `strength` multiplies the optical density."""
    rng = np.random.default_rng(seed)
    blue, brown = (gaussian_filter(rng.uniform(size=(n, size, size)), (0, s, s)) for s in (2, 3))
    density = np.array([0.65, 0.70, 0.29])[:, None, None] * np.maximum(blue - 0.45, 0)[:, None] * 6 * strength
    density = density + np.array([0.27, 0.57, 0.78])[:, None, None] * np.maximum(brown - 0.5, 0)[:, None] * 4 * strength
    return np.clip(245 * 10**-density + rng.normal(0, 2, density.shape), 0, 255).astype(np.uint8)


def described(metric, *sets):
    return [metric.describe(images) for images in sets]


def test_the_gap_is_the_wasserstein_distance_in_standard_deviations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)) * [1, 5], rng.normal(size=(45, 2)) + 1
    expected = np.mean([wasserstein_distance(a, b) / a.std() for a, b in zip(x.T, y.T, strict=True)])
    assert standardised_gap(real=x, fake=y) == pytest.approx(expected)
    holes = np.concatenate([y, [[np.nan, np.nan]]])
    assert standardised_gap(real=x, fake=holes) == pytest.approx(expected)


def test_stain_densities_are_skimages():
    images = tissue(3)
    (rows,) = described(STAIN, images)
    hed = np.maximum(rgb2hed(images.transpose(0, 2, 3, 1)), 0.0)
    # scikit-image floors light at 1e-6 and takes another logarithm base; with these pixels only the base differs
    ratio = rows[:, :3] / hed.mean(axis=(1, 2))
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=0.02)


def test_a_fainter_stain_is_seen_and_a_fresh_sample_is_not():
    real, fresh, faint = described(STAIN, tissue(60), tissue(60, seed=1), tissue(60, seed=2, strength=0.6))
    assert STAIN.compare(real=real, fake=fresh) < 0.5
    assert STAIN.compare(real=real, fake=faint) > 1.0


def test_stain_gives_a_reason_where_it_is_inapplicable():
    grey = tissue(9)[:, :1]
    assert "RGB" in STAIN.inapplicable_reason(STAIN.describe(grey))
    assert "dark" in STAIN.inapplicable_reason(STAIN.describe(tissue(9) // 4))
    assert "no stain" in STAIN.inapplicable_reason(STAIN.describe(np.full((9, 3, 32, 32), 250, np.uint8)))
    assert STAIN.inapplicable_reason(STAIN.describe(tissue(9))) is None


def test_blur_checkerboards_and_noise_change_the_spectrum_by_decibels():
    images = tissue(40).astype(float)
    board = 12.0 * ((np.indices((32, 32)).sum(axis=0) % 2) * 2 - 1)
    noise = np.random.default_rng(3).normal(0, 12, images.shape)
    changed = {
        "blur": gaussian_filter(images, (0, 0, 1.5, 1.5)),
        "checkerboard": images + board,
        "noise": images + noise,
    }
    real, fresh = described(SPECTRUM, tissue(40), tissue(40, seed=1))
    assert SPECTRUM.compare(real=real, fake=fresh) < 1.0
    for name, pixels in changed.items():
        (rows,) = described(SPECTRUM, np.clip(pixels, 0, 255).astype(np.uint8))
        assert SPECTRUM.compare(real=real, fake=rows) > 3.0, name
        assert SPECTRUM.compare(real=rows, fake=real) == SPECTRUM.compare(real=real, fake=rows)


def test_a_wave_has_its_power_in_the_ring_of_its_frequency():
    x = np.arange(32)
    wave = np.broadcast_to(128 + 60 * np.sin(2 * np.pi * 5 * x / 32), (2, 3, 32, 32)).astype(np.uint8)
    (rows,) = described(SPECTRUM, wave)
    assert rows.shape == (2, 21)
    assert (rows.argmax(axis=1) + 1).tolist() == [5, 5]  # the first ring is one cycle an image


def test_spectrum_of_blank_originals_is_not_computed():
    assert "blank" in SPECTRUM.inapplicable_reason(SPECTRUM.describe(np.full((9, 3, 32, 32), 90, np.uint8)))


def discs(radii, size=48):
    """One image for each list of radii, dark discs side by side."""
    rows, columns = np.mgrid[:size, :size]
    images = np.full((len(radii), 3, size, size), 220, np.uint8)
    for image, sizes in zip(images, radii, strict=True):
        for i, r in enumerate(sizes):
            image[:, (rows - 12 - 22 * (i // 2)) ** 2 + (columns - 12 - 22 * (i % 2)) ** 2 < r**2] = 60
    return images


def test_nuclei_are_counted_and_measured():
    (rows,) = described(NUCLEI, discs([[5], [5, 5], [3, 8, 5, 4]]))
    assert rows[:, 0].tolist() == [1, 2, 4]
    assert 2 ** rows[0, 1] == pytest.approx(np.pi * 25, rel=0.15)
    assert rows[0, 2] == 0
    assert rows[2, 2] > 0.5
    assert (rows[:, 3] > 0.9).all()


def test_larger_nuclei_raise_the_distance_and_their_absence_makes_it_inapplicable():
    rng = np.random.default_rng(4)
    small, same, large = (discs([rng.uniform(a, b, 3) for _ in range(30)]) for a, b in ((3, 5), (3, 5), (6, 8)))
    real, fresh, grown = described(NUCLEI, small, same, large)
    assert NUCLEI.compare(real=real, fake=fresh) < 0.5
    assert NUCLEI.compare(real=real, fake=grown) > 1.0
    assert NUCLEI.inapplicable_reason(real) is None
    assert "80%" in NUCLEI.inapplicable_reason(NUCLEI.describe(np.full((9, 3, 48, 48), 200, np.uint8)))
    assert "RGB" in NUCLEI.inapplicable_reason(NUCLEI.describe(small[:, :1]))


def test_one_scale_is_skimages_structural_similarity():
    rng = np.random.default_rng(5)
    x = gaussian_filter(rng.uniform(0, 255, (1, 1, 16, 16)), (0, 0, 1, 1)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 12, x.shape), 0, 255).astype(np.uint8)
    _, full = structural_similarity(
        x[0, 0], y[0, 0], data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert multi_scale_similarity(x, y)[0] == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-4)


def test_similarity_is_one_for_equal_images_symmetric_and_falls_with_noise():
    images = tissue(6, size=64)
    rng = np.random.default_rng(6)
    noisy = [np.clip(images + rng.normal(0, s, images.shape), 0, 255).astype(np.uint8) for s in (5, 40)]
    np.testing.assert_allclose(multi_scale_similarity(images, images), 1.0)
    np.testing.assert_allclose(
        multi_scale_similarity(images, noisy[0]), multi_scale_similarity(noisy[0], images), rtol=1e-9
    )
    assert (multi_scale_similarity(images, noisy[1]) < multi_scale_similarity(images, noisy[0])).all()
    with pytest.raises(OptionError, match="11 pixels"):
        multi_scale_similarity(images[..., :8, :8], images[..., :8, :8])


def test_a_collapsed_set_is_alike_and_pairs_stay_within_a_class():
    images = tissue(10)
    collapsed = np.repeat(images[:1], 10, axis=0)
    real = LIKENESS.describe(images)
    assert LIKENESS.compare(real=real, fake=LIKENESS.describe(collapsed)) == pytest.approx(1.0)
    # two classes, each of one repeated picture: alike inside their class, though the set holds two pictures
    two = LabelledImages(np.repeat(images[:2], 10, axis=0), np.repeat([0, 1], 10), ("a", "b"))
    both = LabelledImages(tissue(20, seed=8), np.repeat([0, 1], 10), ("a", "b"))
    scores = evaluate_pixels(train=both, test=both, fake=two, rng=np.random.default_rng(0), n_resamples=5)
    (alike,) = [s for s in scores if s.metric.startswith("ms-ssim") and s.class_name is None]
    assert alike.value == pytest.approx(1.0)
    assert alike.floor < 0.9


@pytest.mark.parametrize("fault", ["size", "channels", "dtype", "classes"])
def test_unlike_sets_are_refused(fault):
    def make(images, classes=("a",)):
        return LabelledImages(images, np.zeros(len(images), np.int64), classes)

    real, fake = make(tissue(9)), tissue(9, seed=1)
    wrong = {
        "size": lambda: make(fake[..., :16, :16]),
        "channels": lambda: make(fake[:, :1]),
        "dtype": lambda: make(fake.astype(np.float32)),
        "classes": lambda: make(fake, ("b",)),
    }[fault]()
    with pytest.raises(OptionError):
        evaluate_pixels(train=real, test=real, fake=wrong, rng=np.random.default_rng(0), n_resamples=2)


def test_constant_images_and_an_empty_class_have_scores_or_reasons_but_no_error():
    real = LabelledImages(tissue(20), np.repeat([0, 1], 10), ("a", "b"))
    flat = LabelledImages(np.full((12, 3, 32, 32), 128, np.uint8), np.zeros(12, np.int64), ("a", "b"))
    scores = evaluate_pixels(train=real, test=real, fake=flat, rng=np.random.default_rng(0), n_resamples=3)
    assert all(np.isfinite(s.value) for s in scores if s.value is not None)
    of_b = [s for s in scores if s.class_name == "b"]
    assert of_b
    assert all(s.value is None and "0 synthetic images" in s.note for s in of_b)
    assert {s.value is None for s in scores if s.metric.startswith("spectrum") and s.class_name is None} == {False}
