import os
from pathlib import Path

import numpy as np
import pytest

from synthbank.errors import SetupError
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.generation import ImageWriter, image_id, image_seed
from synthbank.storage import ObjectStore, decode_png, layout, local, read_png_text

CLASSES = ("negative", "DAB +")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def seeds():
    return [image_seed(3, 1, 40 + i) for i in range(12)]


@pytest.fixture
def writer(store):
    made = ImageWriter(store, job_id="j1", model="alpha", class_names=CLASSES)
    yield made
    made.close()


def files_below(store):
    root = store.local_path("x").parent
    return sorted(str(Path(folder, name)) for folder, _, names in os.walk(root) for name in names)


def test_files_rows_and_pixels_belong_together(writer, store, images, seeds):
    written = writer.write(images, class_index=1, first=40, seeds=seeds)
    assert [w.index for w in written] == list(range(40, 52))
    assert [w.seed for w in written] == seeds
    for pixels, w in zip(images, written, strict=True):
        data = store.get(w.key)
        np.testing.assert_array_equal(decode_png(data), pixels)
        assert w.id == image_id("j1", 1, w.index)
        assert w.key == layout.image_key("j1", 1, w.index)
        assert (w.sha256, w.pixel_sha256, w.bytes) == (bytes_sha256(data), pixel_sha256(pixels), len(data))
    assert store.list("images/j1") == [w.key for w in written]


def test_every_file_says_that_it_is_synthetic_and_where_it_came_from(writer, store, images, seeds):
    for w in writer.write(images, class_index=1, first=40, seeds=seeds):
        text = read_png_text(store.get(w.key))
        assert text["SynthBank-Synthetic"] == "true"
        assert text["SynthBank-Image"] == w.id == f"j1-1-{w.index:06d}"
        assert text["SynthBank-Model"] == "alpha"
        assert text["SynthBank-Class"] == "DAB +"
        assert text["SynthBank-Seed"] == str(w.seed)
        assert text["Title"].startswith("Synthetic image")
        assert text["Software"] == "SynthBank"


@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_images_are_the_same_bytes_with_any_threads_and_cut(store, images, seeds, threads, tmp_path):
    once = ImageWriter(store, job_id="j1", model="alpha", class_names=CLASSES, threads=threads)
    pieces = ImageWriter(ObjectStore(tmp_path / "other"), job_id="j1", model="alpha", class_names=CLASSES)
    whole = once.write(images, class_index=0, first=0, seeds=seeds)
    parts = [
        w
        for i in (0, 5, 7)
        for w in pieces.write(images[i : {0: 5, 5: 7, 7: 12}[i]], class_index=0, first=i, seeds=seeds[i:])
    ]
    assert whole == parts
    once.close()
    pieces.close()


def test_writing_again_replaces_each_file_by_the_same_bytes(writer, store, images, seeds):
    first = writer.write(images, class_index=0, first=0, seeds=seeds)
    before = {key: store.get(key) for key in store.list()}
    assert writer.write(images, class_index=0, first=0, seeds=seeds) == first
    assert {key: store.get(key) for key in store.list()} == before


def test_an_empty_block_writes_nothing(writer, store, images):
    assert writer.write(images[:0], class_index=0, first=0, seeds=[]) == []
    assert store.list() == []


@pytest.mark.parametrize("stage", ["write_file", "replace"])
def test_a_failure_in_the_middle_is_told_and_leaves_whole_files_only(store, images, seeds, monkeypatch, stage):
    """A full disk at the sixth image: no part of a file, no temporary one, and the same call makes it good."""
    real = local.write_file if stage == "write_file" else os.replace
    calls = []

    def failing(source, *rest, **options):
        calls.append(source)
        if len(calls) == 6:
            if stage == "write_file":
                Path(source).parent.mkdir(parents=True, exist_ok=True)
                Path(source).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return real(source, *rest, **options)

    writer = ImageWriter(store, job_id="j1", model="alpha", class_names=CLASSES, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(local, "write_file", failing) if stage == "write_file" else patch.setattr(os, "replace", failing)
        with pytest.raises(SetupError, match="No space left"):
            writer.write(images, class_index=0, first=0, seeds=seeds)
        writer.close()
    assert files_below(store) == [str(store.local_path(key)) for key in store.list()]
    missing = layout.image_key("j1", 0, 5)
    assert not store.exists(missing)
    for key in store.list():
        np.testing.assert_array_equal(decode_png(store.get(key)), images[int(key[-12:-4])])

    again = ImageWriter(store, job_id="j1", model="alpha", class_names=CLASSES)
    written = again.write(images, class_index=0, first=0, seeds=seeds)
    again.close()
    assert store.list() == [w.key for w in written]
    assert store.exists(missing)


def test_grey_images_stay_grey(writer, store, images, seeds):
    (w,) = writer.write(images[:1, :1], class_index=0, first=0, seeds=seeds[:1])
    np.testing.assert_array_equal(decode_png(store.get(w.key)), images[0, :1])


def test_a_store_in_memory_serves_as_well(images, seeds):
    store = ObjectStore("memory://writer-test")
    writer = ImageWriter(store, job_id="j1", model="alpha", class_names=CLASSES)
    written = writer.write(images, class_index=0, first=998, seeds=seeds)
    writer.close()
    assert store.list() == [w.key for w in written]
    np.testing.assert_array_equal(decode_png(store.get(written[-1].key)), images[-1])
