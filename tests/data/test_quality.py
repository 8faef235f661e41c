from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from synthbank.data.quality import Candidate, checks, image_findings, set_findings
from synthbank.data.quality.near_duplicate import close_pairs, perceptual_hash
from synthbank.records import Severity


def candidate(pixels, name="a/1.png", class_name="a", **facts):
    array = np.asarray(pixels, np.uint8)
    array = array.transpose(2, 0, 1) if array.ndim == 3 and array.shape[2] == 3 else array
    defaults = {"native_channels": array.shape[0], "target_size": 64, "file": name}
    return Candidate(name, class_name, array, **{**defaults, **facts})


def found(item, stage="fitted"):
    return {f.check: f.severity for f in image_findings(item, stage)}


def test_checks_declare_their_facts():
    expected = ["blank", "blurred", "exact_duplicate", "near_duplicate", "odd_colour_mode", "too_small"]
    assert checks.names() == expected
    assert all(checks.spec(name).severity and checks.spec(name).limit for name in checks)


@pytest.mark.parametrize(
    ("shape", "fit", "severity"),
    [
        ((64, 64), "resize", None),
        ((63, 200), "resize", Severity.WARN),
        ((32, 32), "resize", Severity.WARN),
        ((31, 400), "resize", Severity.REJECT),
        ((63, 200), "crop", Severity.REJECT),
        ((63, 200), "tile", Severity.REJECT),
    ],
)
def test_too_small(picture, shape, fit, severity):
    item = candidate(picture(1, *shape), fit=fit)
    assert found(item, "native").get("too_small") == severity


@pytest.mark.parametrize(("fit", "severity"), [("resize", Severity.WARN), ("tile", Severity.REJECT)])
def test_blank(picture, fit, severity):
    flat = np.full((64, 64, 3), 250)
    flat[:2, :3] = 0  # a speck of dust does not make an image
    assert found(candidate(flat, fit=fit)) == {"blank": severity}
    assert found(candidate(picture(1), fit=fit)) == {}


def test_blurred_is_independent_of_contrast(picture):
    smooth = Image.fromarray(picture(1)).resize((5, 5)).resize((64, 64), Image.Resampling.BICUBIC)
    faint = 100 + np.asarray(smooth, float) / 4
    assert found(candidate(smooth)) == {"blurred": Severity.WARN}
    assert found(candidate(np.rint(faint))) in ({}, {"blurred": Severity.WARN})
    assert found(candidate(picture(1) // 4)) == {}


def test_odd_colour_mode(picture):
    assert found(candidate(picture(1), native_channels=1)) == {"odd_colour_mode": Severity.CONVERT}


def test_exact_duplicate_names_the_first(picture):
    items = [candidate(picture(s), f"a/{i}.png") for i, s in enumerate((1, 2, 1, 1))]
    out = set_findings("exact_duplicate", items)
    assert [(f.index, f.other, f.finding.severity) for f in out] == [(2, 0, Severity.REJECT), (3, 0, Severity.REJECT)]
    assert "'a/0.png'" in out[0].finding.message


def test_one_image_under_two_classes_is_a_conflict(picture):
    items = [candidate(picture(1), "a/1.png", "a"), candidate(picture(1), "b/1.png", "b")]
    out = set_findings("exact_duplicate", items)
    assert [(f.index, f.finding.check, f.finding.severity) for f in out] == [
        (0, "label_conflict", Severity.WARN),
        (1, "label_conflict", Severity.REJECT),
    ]
    assert all("a/1.png" in f.finding.message and "b/1.png" in f.finding.message for f in out)


def test_near_duplicates_are_found_and_others_are_not(picture):
    base = picture(1).astype(int)
    items = [
        candidate(base, "a/0.png"),
        candidate(np.clip(base + 4, 0, 255), "a/1_brighter.png"),
        candidate(np.roll(base, 1, axis=1), "a/2_shifted.png"),
        *(candidate(picture(10 + i), f"b/{i}.png") for i in range(60)),
    ]
    pairs = {(f.other, f.index) for f in set_findings("near_duplicate", items)}
    assert pairs == {(0, 1), (0, 2), (1, 2)}


def test_overlapping_tiles_of_one_file_are_not_compared(picture):
    items = [candidate(picture(1), f"a/1.png#0,{x}", file="a/1.png") for x in range(3)]
    assert set_findings("near_duplicate", items) == []
    assert set_findings("near_duplicate", []) == []


def test_near_uniform_images_are_not_compared():
    flat = [candidate(np.full((64, 64, 3), 200 + i), f"a/{i}.png") for i in range(3)]
    assert set_findings("near_duplicate", flat) == []


def test_perceptual_hash_ignores_brightness_and_contrast():
    thumbnail = np.random.default_rng(0).random((32, 32)) * 100
    assert perceptual_hash(thumbnail) == perceptual_hash(thumbnail * 1.5 + 20)
    assert perceptual_hash(thumbnail) != perceptual_hash(thumbnail.T)


def test_close_pairs_against_plain_python():
    rng = np.random.default_rng(0)
    hashes = (rng.integers(0, 2**63, 700, dtype=np.uint64) & np.uint64(0xFFFFF)).astype(np.uint64)
    plain = [
        (i, j, (int(hashes[i]) ^ int(hashes[j])).bit_count())
        for i in range(700)
        for j in range(i + 1, 700)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 3
    ]
    assert sorted(close_pairs(hashes, 3)) == plain
    assert plain
