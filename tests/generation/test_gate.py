import numpy as np
import pytest

from synthbank.errors import IntegrityError, OptionError
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.generation import build_gate, load_gate
from synthbank.models import load_feature_network, load_tensors, read_header, save_tensors

N = 24


@pytest.fixture(scope="module")
def originals(build_pictures, label):
    return label(build_pictures(N))


@pytest.fixture(scope="module")
def gate(originals):
    return build_gate(originals)


def test_exact_copies_are_rejected_and_name_their_original(gate, originals):
    verdicts = gate.judge(originals.images)
    assert not verdicts.accepted.any()
    assert verdicts.reasons == ("exact_copy",) * N
    np.testing.assert_array_equal(verdicts.nearest, np.arange(N))
    assert (verdicts.distance == 0).all()


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_all_eight_symmetries_are_copies(gate, originals, quarter_turns, mirrored):
    view = np.rot90(originals.images, quarter_turns, axes=(2, 3))
    verdicts = gate.judge(np.ascontiguousarray(view[..., ::-1] if mirrored else view))
    assert not verdicts.accepted.any()
    expected = "exact_copy" if quarter_turns == 0 and not mirrored else "near_copy"
    assert set(verdicts.reasons) == {expected}
    np.testing.assert_array_equal(verdicts.nearest, np.arange(N))


@pytest.mark.parametrize("change", ["one pixel", "faint noise", "a little brighter"])
def test_near_copies_are_rejected(gate, originals, change):
    images = originals.images.astype(int)
    if change == "one pixel":
        images[:, :, 5, 5] += 1
    elif change == "faint noise":
        images += np.random.default_rng(1).integers(-1, 2, images.shape)
    else:
        images += 1
    verdicts = gate.judge(np.clip(images, 0, 255).astype(np.uint8))
    assert set(verdicts.reasons) == {"near_copy"}
    assert (verdicts.distance < gate.thresholds.copy_distance).all()
    np.testing.assert_array_equal(verdicts.nearest, np.arange(N))


def test_held_out_images_are_accepted(gate, build_pictures):
    verdicts = gate.judge(build_pictures(40, seed=1))
    assert verdicts.accepted.mean() >= 0.95
    assert all((reason is None) == bool(ok) for reason, ok in zip(verdicts.reasons, verdicts.accepted, strict=True))
    assert (verdicts.distance[verdicts.accepted] >= gate.thresholds.copy_distance).all()
    assert set(verdicts.reasons) <= {None, "near_copy"}


def test_blank_and_nearly_blank_images_are_rejected(gate):
    rng = np.random.default_rng(2)
    images = np.full((3, 3, 32, 32), 128, np.uint8)
    images[1] = 0
    images[2] += rng.integers(0, 3, (3, 32, 32), dtype=np.uint8)
    assert gate.judge(images).reasons == ("near_blank",) * 3


def test_a_mixed_batch_is_judged_image_by_image(gate, originals, build_pictures):
    new = build_pictures(2, seed=3)
    batch = np.stack([new[0], originals.images[5], np.zeros_like(new[0]), originals.images[7, :, ::-1], new[1]])
    together = gate.judge(batch)
    assert together.reasons == (None, "exact_copy", "near_blank", "near_copy", None)
    alone = [gate.judge(image[None]) for image in batch]
    assert together.reasons == tuple(v.reasons[0] for v in alone)
    np.testing.assert_array_equal(together.nearest, [v.nearest[0] for v in alone])
    np.testing.assert_allclose(together.distance, [v.distance[0] for v in alone], atol=1e-3)


def test_an_empty_batch_has_empty_verdicts(gate):
    verdicts = gate.judge(np.zeros((0, 3, 32, 32), np.uint8))
    assert len(verdicts.accepted) == len(verdicts.reasons) == len(verdicts.nearest) == 0


def test_the_threshold_is_the_first_percentile_of_gaps_between_originals(gate, originals):
    network = load_feature_network("lite0")
    views = [np.rot90(originals.images, k, axes=(2, 3)) for k in range(4)]
    views += [view[..., ::-1] for view in views]
    features = np.stack([network.embed([np.ascontiguousarray(v)]) for v in views]).astype(np.float64)  # [8, N, D]
    nearest = []
    for i in range(N):
        others = np.delete(features, i, axis=1).reshape(-1, features.shape[-1])
        nearest.append(np.linalg.norm(others - features[0, i], axis=1).min())
    assert gate.thresholds.copy_distance == pytest.approx(np.quantile(nearest, 0.01), rel=2e-3)


def test_the_blank_limit_follows_the_flattest_original_and_is_four_levels_at_most(originals, label):
    deviations = [image.std() for image in originals.images]
    assert build_gate(originals).thresholds.blank_deviation == pytest.approx(min(4.0, min(deviations) / 4))
    flat = label(np.concatenate([originals.images[:2], originals.images[2:3] // 32]))
    limit = build_gate(flat).thresholds.blank_deviation
    assert limit == pytest.approx((originals.images[2] // 32).std() / 4)
    assert limit < 4.0


def test_the_saved_gate_judges_the_same(gate, originals, build_pictures):
    data = gate.to_bytes()
    again = load_gate(data, sha256=bytes_sha256(data))
    assert again.thresholds == gate.thresholds
    assert (again.hashes, again.size) == (gate.hashes, 32)
    np.testing.assert_array_equal(again.features, gate.features)
    assert again.to_bytes() == data
    batch = np.concatenate([build_pictures(6, seed=4), originals.images[:3], originals.images[3:6, :, :, ::-1]])
    before, after = gate.judge(batch), again.judge(batch)
    assert after.reasons == before.reasons
    np.testing.assert_array_equal(after.distance, before.distance)


def test_a_gate_of_other_bytes_or_another_network_is_refused(gate):
    data = gate.to_bytes()
    with pytest.raises(IntegrityError, match="recorded hash"):
        load_gate(data, sha256=bytes_sha256(b"other"))
    with pytest.raises(IntegrityError):
        load_gate(data[: len(data) // 2])
    foreign = save_tensors(load_tensors(data), header=read_header(data) | {"network": "lite1"})
    with pytest.raises(IntegrityError, match="lite1"):
        load_gate(foreign)


def test_the_gate_holds_eight_symmetries_and_the_pixel_hashes(gate, originals):
    assert gate.features.shape == (8 * N, 1280)
    assert gate.features.dtype == np.float16
    assert gate.hashes == tuple(pixel_sha256(image) for image in originals.images)


@pytest.mark.parametrize("case", ["one original", "an original and its mirror image"])
def test_mirrored_copies_are_rejected_however_the_originals_lie(originals, label, case):
    images = originals.images[:1]
    if case != "one original":
        images = np.concatenate([originals.images, images[..., ::-1]])
    turned = np.ascontiguousarray(np.rot90(images, 1, axes=(2, 3)))
    assert not build_gate(label(images)).judge(turned).accepted.any()


def test_grey_originals(build_pictures, label):
    images = build_pictures(N, channels=1)
    gate = build_gate(label(images))
    copies = gate.judge(np.concatenate([images[:1], images[1:2, :, ::-1]]))
    assert copies.reasons == ("exact_copy", "near_copy")
    assert gate.judge(build_pictures(20, seed=9, channels=1)).accepted.mean() >= 0.9


def test_originals_without_hashes_or_none_at_all_are_refused(originals, label):
    with pytest.raises(OptionError, match="hashes"):
        build_gate(label(originals.images[:0]))
    with pytest.raises(OptionError, match="24 images"):
        build_gate(type(originals)(originals.images, originals.labels, originals.class_names))
