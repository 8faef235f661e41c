import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthbank.data import variance_by_place


def _texture(n):
    rng = np.random.default_rng(0)
    fields = gaussian_filter(rng.normal(size=(n, 3, 32, 32)), (0, 0, 2, 2), mode="wrap")
    return np.clip(128 + 200 * fields, 0, 255).astype(np.uint8)


def test_texture_has_no_middle_and_a_centred_disc_has():
    texture = _texture(40)
    y, x = np.mgrid[:32, :32] - 15.5
    disc = np.where((x**2 + y**2 < 64)[None, None], texture // 2, texture)
    assert variance_by_place(texture) < 0.02
    assert variance_by_place(disc) > 0.1


def test_turning_every_image_changes_nothing():
    images = _texture(12)
    turned = np.ascontiguousarray(np.rot90(images, axes=(2, 3)))
    assert variance_by_place(turned) == pytest.approx(variance_by_place(images), rel=1e-9)


def test_constant_images_have_no_middle():
    assert variance_by_place(np.full((4, 1, 8, 8), 7, np.uint8)) == 0.0
    assert variance_by_place(np.zeros((0, 3, 8, 8), np.uint8)) == 0.0


def test_one_image_repeated_is_explained_wholly_where_it_is_symmetric():
    y, x = np.mgrid[:8, :8] - 3.5
    image = (10 * (np.abs(x) + np.abs(y))).astype(np.uint8)
    assert variance_by_place(np.broadcast_to(image, (5, 1, 8, 8))) == pytest.approx(1.0)
