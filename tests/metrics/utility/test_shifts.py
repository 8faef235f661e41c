import numpy as np
import pytest

from synthbank.errors import OptionError, UnknownNameError
from synthbank.metrics.utility import shifts


def field(channels=3, n=2):
    y, x = np.mgrid[0:32, 0:32] / 32
    planes = [60 + 150 * y, 90 + 90 * np.sin(9 * x) ** 2, 200 - 80 * x * y][:channels]
    grain = np.random.default_rng(0).normal(0, 12, (n, channels, 32, 32))
    return np.clip(np.stack([np.stack(planes)] * n) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", shifts.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_shift_changes_images_a_little_and_is_reproducible(name, channels):
    images = field(channels)
    shift = shifts.get(name)
    moved = shift(images)
    assert moved.shape == images.shape
    assert moved.dtype == np.uint8
    difference = np.abs(moved.astype(int) - images).mean()
    assert 0.2 < difference < 40
    assert np.array_equal(shift(images), moved)
    assert shifts.spec(name).description


def test_stain_makes_haematoxylin_darker_and_leaves_white_alone():
    blue = np.broadcast_to(np.array([90, 80, 170], np.uint8)[:, None, None], (3, 8, 8))[None]
    assert (shifts.get("stain")(blue)[0, 0] < 90).all()
    white = np.full((1, 3, 8, 8), 255, np.uint8)
    assert np.array_equal(shifts.get("stain")(white), white)


def test_blur_takes_contrast_and_keeps_the_mean():
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    soft = shifts.get("blur")(noise)
    assert soft.std() < 0.6 * noise.std()
    assert soft.mean() == pytest.approx(noise.mean(), abs=1.0)


def test_other_channels_and_names_are_refused():
    with pytest.raises(OptionError, match="grey and RGB"):
        shifts.get("stain")(np.zeros((1, 5, 8, 8), np.uint8))
    with pytest.raises(UnknownNameError, match="blur"):
        shifts.get("blurr")
