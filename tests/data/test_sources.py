from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthbank.data.sources import open_source, sample_names, sources
from synthbank.data.sources._layout import common_root, read_layout
from synthbank.errors import SourceError, UnknownNameError
from synthbank.records import Split


def classes_of(listing):
    return {e.name: e.class_name for e in listing.entries}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_every_source_declares_what_it_reads():
    assert sources.names() == ["archive", "folder", "ihc", "npz"]
    assert all(sources.spec(name).reads in ("folder", "file", "sample") for name in sources)
    assert sample_names() == ["ihc"]


def test_class_folders_hold_their_sub_folders(tmp_path):
    touch(tmp_path, "b/1.png", "a/x/2.png", "a/1.png")
    listing = open_source(tmp_path)
    assert [e.name for e in listing.entries] == ["a/1.png", "a/x/2.png", "b/1.png"]
    assert set(classes_of(listing).values()) == {"a", "b"}
    assert listing.entries[0].read() == b"x"


def test_flat_folder_is_one_class(tmp_path):
    assert classes_of(open_source(touch(tmp_path / "cells", "1.png"))) == {"1.png": "cells"}


def test_split_folders_are_recognised(tmp_path):
    touch(tmp_path, "Train/a/1.png", "val/a/2.png", "test/b/3.png", "README.txt")
    listing = open_source(tmp_path)
    assert [e.split for e in listing.entries] == [None, Split.TRAIN, Split.TEST, Split.VALIDATION]
    assert classes_of(listing)["test/b/3.png"] == "b"


def test_splits_without_class_folders_are_one_class(tmp_path):
    listing = open_source(touch(tmp_path / "cells", "train/1.png", "test/2.png"))
    assert set(classes_of(listing).values()) == {"cells"}
    assert {e.split for e in listing.entries} == {Split.TRAIN, Split.TEST}


def test_images_beside_class_folders(tmp_path):
    few = open_source(touch(tmp_path / "few", "overview.png", "a/1.png", "a/2.png"))
    assert classes_of(few)["overview.png"] is None
    many = open_source(touch(tmp_path / "many", "1.png", "2.png", "a/1.png"))
    assert classes_of(many)["1.png"] == "many"
    assert few.notes
    assert many.notes


def test_side_files_are_counted_only(tmp_path):
    touch(tmp_path, "a/1.png", "a/.DS_Store", "Thumbs.db", "__MACOSX/a/1.png", "a/._1.png", ".git/config")
    listing = open_source(tmp_path)
    assert [e.name for e in listing.entries] == ["a/1.png"]
    assert listing.n_side_files == 3


def test_links_are_never_followed_out_or_in_circles(tmp_path):
    outside = touch(tmp_path / "outside", "secret.png")
    root = touch(tmp_path / "root", "a/1.png")
    (root / "a" / "loop").symlink_to(root / "a")
    (root / "a" / "up.png").symlink_to(outside / "secret.png")
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    (root / "a" / "x.png").symlink_to("y.png")
    (root / "a" / "y.png").symlink_to("x.png")
    (root / "a" / "same.png").symlink_to("1.png")
    listing = open_source(root)
    assert [e.name for e in listing.entries] == ["a/1.png", "a/same.png"]
    assert [r.name for r in listing.rejected] == ["a/gone.png", "a/loop", "a/up.png", "a/x.png", "a/y.png"]
    assert {r.findings[0].check for r in listing.rejected} == {"link"}


def test_pipes_are_not_read(tmp_path):
    touch(tmp_path, "a/1.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert [r.findings[0].check for r in open_source(tmp_path).rejected] == ["not_a_file"]


def test_names_that_are_not_text_are_shown_safely(tmp_path):
    (tmp_path / "a").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png")).write_bytes(b"x")
    (entry,) = open_source(tmp_path).entries
    assert entry.name == "a/\\xff.png"
    assert entry.read() == b"x"


def test_empty_classes_and_look_alikes_are_noted(tmp_path):
    (touch(tmp_path, "Tumour/1.png", "tumour/2.png") / "normal").mkdir()
    notes = " ".join(open_source(tmp_path).notes)
    assert "'normal' is empty" in notes
    assert "'Tumour' and 'tumour'" in notes


def test_unicode_forms_of_one_class_are_one_class():
    layout = read_layout([("Zelle \u00fc", "1.png"), ("Zelle u\u0308", "2.png")], [], "root")
    assert len({p.class_name for p in layout.placements.values()}) == 1


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        (["set/a/1.png", "set/b/2.png"], "set"),
        (["set/a/1.png", "set/README.txt"], "set"),
        (["a/1.png"], None),
        (["a/1.png", "b/1.png"], None),
        (["train/a/1.png"], None),
    ],
)
def test_the_folder_that_wraps_an_archive(paths, root):
    assert common_root([tuple(p.split("/")) for p in paths]) == root


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        open_source(tmp_path / "missing")
    with pytest.raises(SourceError, match="holds no files"):
        open_source(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match=r"\.npz"):
        open_source(tmp_path / "a.txt")
    with pytest.raises(UnknownNameError, match="ihc"):
        open_source("sample:ihx")


def test_an_existing_path_wins_over_a_sample(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "ihc/a/1.png"))
    assert len(open_source("ihc").entries) == 1
    assert len(open_source("sample:ihc").entries) == 196
