from __future__ import annotations

import numpy as np
import pytest

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.data.sources import SourceLimits, open_source
from synthbank.errors import SourceError, UnsafeArchiveError
from synthbank.records import Split


def stack(picture, first, n):
    return np.stack([picture(first + i, 28, 28) for i in range(n)])


def test_medmnist_keeps_its_split(tmp_path, picture):
    path = tmp_path / "bloodmnist.npz"
    arrays = {}
    for k, (part, n) in enumerate({"train": 6, "val": 2, "test": 2}.items()):
        arrays |= {f"{part}_images": stack(picture, 100 * k, n), f"{part}_labels": np.arange(n)[:, None] % 2}
    np.savez(path, **arrays)
    result = ingest_source(path, IngestOptions(size=28))
    assert result.class_names == ("class_0", "class_1")
    assert result.n_files == 10
    splits = assign_splits(
        [o.class_name for o in result.originals],
        [o.group for o in result.originals],
        seed=0,
        suggested=result.suggested_splits,
    )
    assert splits.splits == result.suggested_splits
    assert splits.splits.count(Split.TRAIN) == 6


def test_plain_grey_images_with_class_names(tmp_path, picture):
    images = stack(picture, 0, 4)[..., 0]
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 1, 0]), class_names=np.array(["no", "yes"]))
    entries = open_source(tmp_path / "a.npz").entries
    assert [(e.name, e.class_name) for e in entries][:2] == [("images/000000", "no"), ("images/000001", "yes")]
    np.testing.assert_array_equal(entries[3].read(), images[3][None])


def test_images_without_labels_are_one_class(tmp_path, picture):
    np.savez(tmp_path / "cells.npz", images=stack(picture, 0, 2))
    assert {e.class_name for e in open_source(tmp_path / "cells.npz").entries} == {"cells"}


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros(3)},
        {"images": np.zeros((2, 8, 8), np.float32)},
        {"images": np.zeros((2, 8, 8, 5), np.uint8)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros((2, 3), int)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(3, int)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array([0, 5]), "class_names": np.array(["a"])},
        {"images": np.array([object()], dtype=object)},
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError):
        open_source(tmp_path / "a.npz")


def test_damaged_and_oversized(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError):
        open_source(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", images=np.zeros((9, 64, 64), np.uint8))
    with pytest.raises(UnsafeArchiveError):
        open_source(tmp_path / "b.npz", SourceLimits(max_total_bytes=1000))
