import numpy as np
import pytest

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.errors import IntegrityError, OptionError
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.generation import COPIES, GateThresholds, build_gate, load_gate, simulate_copies
from synthbank.generation.descriptors import fill_borders
from synthbank.generation.matching import descriptors
from synthbank.generation.outline_gate import OutlineGate
from synthbank.models import read_header
from synthbank.records import LabelledImages, Split

N = 24
HELD_OUT = (
    *("rotation", "zoom", "shift", "crop", "mirror and zoom", "stretch"),
    *("blur", "noise", "JPEG", "elastic", "colour matrix"),
)


@pytest.fixture(scope="module")
def originals(build_pictures, label):
    return label(build_pictures(N))


@pytest.fixture(scope="module")
def gate(originals):
    return build_gate(originals)


@pytest.fixture(scope="module")
def tissue():
    """Tiles of the packaged IHC field, 64 pixels: those of training, and those of its held-out regions."""
    found = ingest_source("sample:ihc", IngestOptions(size=64))
    classes, groups = [o.class_name for o in found.originals], [o.group for o in found.originals]
    splits = assign_splits(classes, groups, seed=0, suggested=found.suggested_splits).splits
    names = tuple(sorted(set(classes)))
    images, labels = np.stack([o.pixels for o in found.originals]), np.array([names.index(c) for c in classes])
    # half of the training tiles are enough, and half as slow
    train = np.array([split == Split.TRAIN for split in splits])
    train[np.flatnonzero(train)[1::2]] = False
    held_out = np.array([split == Split.TEST for split in splits])
    ids = tuple(pixel_sha256(image) for image in images[train])
    return LabelledImages(images[train], labels[train], names, ids), images[held_out], labels[held_out]


@pytest.fixture(scope="module")
def tissue_gate(tissue):
    return build_gate(tissue[0])


def test_exact_copies_are_rejected_and_name_their_original(gate, originals):
    verdicts = gate.screen(originals.images)
    assert verdicts.reasons == ("exact_copy",) * N
    np.testing.assert_array_equal(verdicts.nearest, np.arange(N))
    assert (verdicts.distance == 0).all()


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_all_eight_symmetries_are_copies(gate, originals, quarter_turns, mirrored):
    view = np.rot90(originals.images, quarter_turns, axes=(2, 3))
    verdicts = gate.screen(np.ascontiguousarray(view[..., ::-1] if mirrored else view))
    expected = "exact_copy" if quarter_turns == 0 and not mirrored else "near_copy"
    assert set(verdicts.reasons) == {expected}
    np.testing.assert_array_equal(verdicts.nearest, np.arange(N))


@pytest.mark.parametrize("kind", HELD_OUT)
def test_held_out_kinds_of_copy_are_caught_on_tissue(tissue, tissue_gate, copy_of, kind):
    originals, rng = tissue[0], np.random.default_rng(11)
    chosen = rng.choice(len(originals), 40, replace=False)
    copies = copy_of(originals.images[chosen], kind, rng)
    verdicts = tissue_gate.screen(copies, originals.labels[chosen])
    caught = ~verdicts.accepted
    assert caught.mean() >= (0.6 if kind in ("noise", "JPEG", "shift") else 0.85)
    assert (verdicts.nearest[caught] == chosen[caught]).mean() >= 0.9


def test_new_tissue_is_accepted(tissue, tissue_gate):
    _, images, labels = tissue
    assert tissue_gate.screen(images, labels).accepted.mean() >= 0.93


def test_halves_of_two_originals_side_by_side_are_caught_on_tissue(tissue, tissue_gate):
    images = tissue[0].images[:40].copy()
    images[..., 32:] = np.roll(images, 7, axis=0)[..., 32:]
    assert tissue_gate.screen(images, tissue[0].labels[:40]).accepted.mean() <= 0.4


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (32, 3), (64, 1), (128, 1), (128, 3)])
def test_grey_and_colour_of_several_sizes(build_pictures, label, copy_of, size, channels):
    images = build_pictures(N, size=size, channels=channels)
    gate, rng = build_gate(label(images)), np.random.default_rng(2)
    copies = np.concatenate([copy_of(images, kind, rng) for kind in ("rotation", "zoom", "crop")])
    # grey discs of 32 pixels are little but edges
    assert gate.screen(copies).accepted.mean() <= (0.35 if (size, channels) == (32, 1) else 0.2)
    assert gate.screen(build_pictures(40, size=size, channels=channels, seed=9)).accepted.mean() >= 0.9


@pytest.mark.parametrize("kind", COPIES)
def test_simulated_copies_of_every_kind_are_caught_and_name_their_original(gate, originals, kind):
    verdicts = gate.screen(simulate_copies(originals.images, kind, np.random.default_rng(7)))
    caught = ~verdicts.accepted
    assert caught.mean() >= 0.75
    np.testing.assert_array_equal(verdicts.nearest[caught], np.arange(N)[caught])


def test_blank_and_nearly_blank_images_are_rejected(gate):
    images = np.full((3, 3, 32, 32), 128, np.uint8)
    images[1] = 0
    images[2] += np.random.default_rng(2).integers(0, 3, (3, 32, 32), dtype=np.uint8)
    assert gate.screen(images).reasons == ("near_blank",) * 3


def test_a_mixed_batch_is_screened_image_by_image(gate, originals, build_pictures):
    new = build_pictures(2, seed=3)
    batch = np.stack([new[0], originals.images[5], np.zeros_like(new[0]), originals.images[7, :, ::-1], new[1]])
    together = gate.screen(batch)
    assert together.reasons == (None, "exact_copy", "near_blank", "near_copy", None)
    alone = [gate.screen(image[None]) for image in batch]
    assert together.reasons == tuple(v.reasons[0] for v in alone)
    np.testing.assert_array_equal(together.nearest[[1, 3]], [5, 7])
    np.testing.assert_allclose(together.distance, [v.distance[0] for v in alone], atol=2e-2)


def test_an_empty_batch_has_empty_verdicts(gate):
    verdicts = gate.screen(np.zeros((0, 3, 32, 32), np.uint8))
    assert len(verdicts.accepted) == len(verdicts.reasons) == len(verdicts.nearest) == 0


def test_near_duplicates_among_the_originals_do_not_open_the_gate(tissue, copy_of):
    originals, rng = tissue[0], np.random.default_rng(4)
    noise = rng.integers(-3, 4, originals.images.shape)
    twins = np.clip(originals.images.astype(int) + noise, 0, 255).astype(np.uint8)
    images, labels = np.concatenate([originals.images, twins]), np.tile(originals.labels, 2)
    gate = build_gate(LabelledImages(images, labels, originals.class_names, tuple(map(pixel_sha256, images))))
    copies = copy_of(originals.images[:40], "crop", rng)
    assert gate.screen(copies, originals.labels[:40]).accepted.mean() <= 0.2


@pytest.mark.parametrize("case", ["one original", "an original and its mirror image"])
def test_turned_copies_are_rejected_however_the_originals_lie(originals, build_pictures, label, case):
    images = originals.images[:1]
    if case != "one original":
        images = np.concatenate([originals.images, images[..., ::-1]])
    turned, gate = np.ascontiguousarray(np.rot90(images, 1, axes=(2, 3))), build_gate(label(images))
    assert not gate.screen(turned).accepted.any()
    assert gate.screen(build_pictures(40, seed=1)).accepted.mean() >= 0.9


def test_the_blank_limit_follows_the_flattest_original_and_is_four_levels_at_most(originals, label):
    deviations = [image.std() for image in originals.images]
    assert build_gate(originals).thresholds.blank_deviation == pytest.approx(min(4.0, min(deviations) / 4))
    flat = label(np.concatenate([originals.images[:2], originals.images[2:3] // 32]))
    limit = build_gate(flat).thresholds.blank_deviation
    assert limit == pytest.approx((originals.images[2] // 32).std() / 4)
    assert limit < 4.0


def test_the_saved_gate_gives_the_same_verdicts(gate, originals, build_pictures):
    data = gate.to_bytes()
    again = load_gate(data, sha256=bytes_sha256(data))
    assert (again.thresholds, again.hashes, again.size) == (gate.thresholds, gate.hashes, 32)
    assert again.to_bytes() == data == again.to_bytes(eight_bits=True)
    batch = np.concatenate([build_pictures(6, seed=4), originals.images[:3], originals.images[3:6, :, :, ::-1]])
    before, after = gate.screen(batch), again.screen(batch)
    assert after.reasons == before.reasons
    np.testing.assert_array_equal(after.distance, before.distance)


def test_the_same_originals_make_the_same_gate(originals, gate):
    assert build_gate(originals).to_bytes() == gate.to_bytes()


def test_a_gate_of_an_original_is_some_kilobytes(originals, gate, label):
    one = len(build_gate(label(originals.images[:12])).to_bytes())
    assert (len(gate.to_bytes()) - one) / 12 < 4500


def test_gates_of_earlier_models_are_read_and_say_what_they_said(originals):
    views = descriptors(originals.images)
    older = OutlineGate(views, originals.ids, GateThresholds(0.3, 2.0), size=32)
    for eight_bits in (False, True):
        again = load_gate(older.to_bytes(eight_bits=eight_bits))
        assert isinstance(again, OutlineGate)
        turned = np.ascontiguousarray(np.rot90(originals.images, 1, axes=(2, 3)))
        assert again.screen(turned, originals.labels).reasons == older.screen(turned).reasons == ("near_copy",) * N


def test_a_gate_of_other_bytes_is_refused(gate):
    data = gate.to_bytes()
    with pytest.raises(IntegrityError, match="recorded hash"):
        load_gate(data, sha256=bytes_sha256(b"other"))
    with pytest.raises(IntegrityError):
        load_gate(data[: len(data) // 2])


def test_originals_of_one_group_are_compared_with_each_other(originals, build_pictures):
    gate = build_gate(originals, groups=["one photograph"] * N)
    assert gate.screen(build_pictures(40, seed=1)).accepted.mean() >= 0.9
    turned = np.ascontiguousarray(np.rot90(originals.images, 1, axes=(2, 3)))
    assert set(gate.screen(turned).reasons) == {"near_copy"}


def test_a_class_whose_copies_look_like_new_images_is_named(label):
    # out of focus: nothing but a slope is left, and every slope is like every other
    rng = np.random.default_rng(3)
    slopes = np.linspace(80, 160, 32)[None, None, None, :] * np.ones((60, 3, 32, 1))
    images = np.clip(slopes + rng.normal(0, 6, (60, 3, 32, 32)), 0, 255).astype(np.uint8)
    gate = build_gate(label(images))
    assert gate.cannot_tell == ("a",)
    assert read_header(gate.to_bytes())["cannot_tell"] == ["a"]
    assert load_gate(gate.to_bytes()).cannot_tell == ("a",)


def test_constant_borders_are_filled_and_nothing_else_is(tissue):
    images = tissue[0].images[:4]
    np.testing.assert_array_equal(fill_borders(images), images)
    bordered = images.copy()
    bordered[:, :, :10], bordered[:, :, :, :8] = 255, 255
    filled = fill_borders(bordered)
    assert not (filled == 255).all(axis=1).any()
    np.testing.assert_array_equal(filled[:, :, 12:, 10:], images[:, :, 12:, 10:])


def test_originals_without_hashes_or_none_at_all_are_refused(originals, label):
    with pytest.raises(OptionError, match="hashes"):
        build_gate(label(originals.images[:0]))
    with pytest.raises(OptionError, match="24 images"):
        build_gate(type(originals)(originals.images, originals.labels, originals.class_names))
