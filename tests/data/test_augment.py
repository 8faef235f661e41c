from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthbank.data import AffineRanges, apply_affine, default_expansion_target, expand, plan_expansion
from synthbank.errors import OptionError
from synthbank.records import AffineParameters


@pytest.fixture
def image(picture):
    return picture(5).transpose(2, 0, 1)


def inner(pixels, border=16):
    return pixels[:, border:-border, border:-border]


def test_neutral_parameters_change_nothing(image):
    out = apply_affine(image, AffineParameters())
    np.testing.assert_array_equal(out, image)
    assert out is not image


def test_a_whole_pixel_shift_is_a_roll(image):
    out = apply_affine(image, AffineParameters(shift_y=4 / 64, shift_x=-8 / 64))
    np.testing.assert_array_equal(inner(out), inner(np.roll(image, (4, -8), (1, 2))))


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise(image, quarter):
    out = apply_affine(image, AffineParameters(rotation_deg=90 * quarter))
    np.testing.assert_array_equal(inner(out, 2), inner(np.rot90(image, quarter, (1, 2)), 2))


def test_scale_enlarges_about_the_centre():
    square = np.zeros((1, 65, 65), np.uint8)
    square[:, 27:38, 27:38] = 200  # 11 pixels about the centre 32
    out = apply_affine(square, AffineParameters(scale=2.0))
    assert abs(int((out[0, 32] > 100).sum()) - 22) <= 1
    np.testing.assert_array_equal(out[0], out[0, ::-1, ::-1])


def test_scale_comes_before_shift(image):
    both = apply_affine(image, AffineParameters(rotation_deg=90, shift_x=8 / 64))
    turned = np.rot90(image, 1, (1, 2))
    np.testing.assert_array_equal(inner(both), inner(np.roll(turned, 8, 2)))


def test_borders_are_mirrored(image):
    out = apply_affine(image, AffineParameters(shift_y=3 / 64))
    np.testing.assert_array_equal(out[:, :3], image[:, 2::-1])
    assert out.dtype == np.uint8


def test_grey_images(image):
    assert apply_affine(image[:1], AffineParameters(scale=0.9)).shape == (1, 64, 64)


def test_the_plan_spreads_copies_evenly_and_repeats():
    plan = plan_expansion(185, to=700, seed=7)
    assert len(plan) == 515
    counts = Counter(e.parent for e in plan)
    assert set(counts.values()) == {2, 3}
    assert set(counts) == set(range(185))
    assert plan == plan_expansion(185, to=700, seed=7)
    assert plan != plan_expansion(185, to=700, seed=8)


def test_each_part_is_drawn_about_half_the_time_and_never_none():
    plan = plan_expansion(10, to=4010, seed=0)
    drawn = np.array([(e.affine.scale != 1, e.affine.rotation_deg != 0, e.affine.shift_y != 0) for e in plan])
    assert drawn.any(axis=1).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 4 / 7, atol=0.04)  # a half, given that not all three are neutral
    assert np.all(np.abs([e.affine.shift_x for e in plan]) <= 0.1)


def test_expansion_sizes():
    assert default_expansion_target(185) == 703
    assert plan_expansion(5, to=5, seed=0) == ()
    with pytest.raises(OptionError):
        plan_expansion(5, to=4, seed=0)
    with pytest.raises(OptionError):
        plan_expansion(0, to=4, seed=0)


@pytest.mark.parametrize("ranges", [{"scale": (0.0, 1.0)}, {"shift": (0.2, 0.1)}, {"probability": 0.0}])
def test_impossible_ranges(ranges):
    with pytest.raises(OptionError):
        AffineRanges(**ranges)


def test_expand_follows_the_plan(picture):
    images = np.stack([picture(i).transpose(2, 0, 1) for i in range(3)])
    plan = plan_expansion(3, to=7, seed=0)
    copies = expand(images, plan)
    assert copies.shape == (4, 3, 64, 64)
    for copy, item in zip(copies, plan, strict=True):
        np.testing.assert_array_equal(copy, apply_affine(images[item.parent], item.affine))
    assert expand(images, ()).shape == (0, 3, 64, 64)
