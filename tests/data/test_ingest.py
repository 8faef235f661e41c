from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import synthbank.data
from synthbank.data import IngestOptions, ingest_source
from synthbank.data.fit import fit_image
from synthbank.data.groups import compile_group_pattern, match_group
from synthbank.errors import OptionError, SourceError, UnknownNameError
from synthbank.fingerprint import pixel_sha256
from synthbank.records import Severity, Split


def reasons(result):
    return {r.name: r.findings[-1].check for r in result.rejected}


def test_public_names_are_sorted_and_there():
    names = synthbank.data.__all__
    assert names == sorted(names, key=lambda n: (not n.isupper(), n.islower(), n))
    assert all(hasattr(synthbank.data, name) for name in names)


def test_the_room_imports_neither_torch_nor_scikit_image():
    code = "import sys, synthbank.data; print(sorted({'torch', 'skimage', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_clean_folder(class_folder):
    result = ingest_source(class_folder)
    assert result.class_names == ("round", "spiky")
    assert (result.spec.size, result.spec.channels, result.n_files) == (64, 3, 8)
    assert result.rejected == ()
    assert result.source == "folder cells"
    for original in result.originals:
        assert original.sha256 == pixel_sha256(original.pixels)
        assert original.group == original.name
        assert original.findings == ()
    assert [o.name for o in result.originals] == sorted(o.name for o in result.originals)


def test_one_bad_file_never_stops_an_ingest(class_folder, encoded, picture):
    round_ = class_folder / "round"
    (round_ / "cut.png").write_bytes(encoded(picture(99))[:900])
    (round_ / "empty.png").write_bytes(b"")
    (round_ / "notes.md").write_text("# hello")
    (round_ / "table.csv").write_text("a,b\n1,2\n")
    (round_ / "tiny.png").write_bytes(encoded(picture(98, 9, 9)))
    (round_ / "copy.png").write_bytes((round_ / "p0_0.png").read_bytes())
    (round_ / "gone.png").symlink_to("nowhere")
    (class_folder / "overview.png").write_bytes(encoded(picture(97)))
    result = ingest_source(class_folder)
    assert reasons(result) == {
        "overview.png": "no_class",
        "round/cut.png": "truncated",
        "round/empty.png": "empty_file",
        "round/gone.png": "link",
        "round/notes.md": "not_an_image",
        "round/p0_0.png": "exact_duplicate",
        "round/table.csv": "not_an_image",
        "round/tiny.png": "too_small",
    }
    assert len(result.originals) == 8
    assert result.n_files == 16
    assert all(f.severity is not Severity.REJECT for o in result.originals for f in o.findings)


def test_an_unreadable_file_is_a_finding(class_folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(SourceError, match="8 unreadable") as caught:
        ingest_source(class_folder)
    assert len(caught.value.facts["rejected"]) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions(class_folder):
    (class_folder / "round" / "p0_0.png").chmod(0)
    assert reasons(ingest_source(class_folder)) == {"round/p0_0.png": "unreadable"}


def test_large_files_are_not_even_read(class_folder, monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(SourceError, match="8 file_size"):
        ingest_source(class_folder, IngestOptions(max_file_bytes=100))


def test_a_zip_gives_what_its_folder_gives(class_folder):
    archive = class_folder.parent / "cells.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(class_folder.rglob("*.png"), reverse=True):
            out.write(path, path.relative_to(class_folder.parent).as_posix())
    from_zip, from_folder = ingest_source(archive), ingest_source(class_folder)
    assert [(o.name, o.sha256, o.class_name) for o in from_zip.originals] == [
        (o.name, o.sha256, o.class_name) for o in from_folder.originals
    ]


def test_groups_come_from_the_pattern(class_folder, encoded, picture):
    (class_folder / "round" / "other.png").write_bytes(encoded(picture(50)))
    result = ingest_source(class_folder, IngestOptions(group_by=r"/(?P<group>p\d+)_(\d)", ungrouped="own"))
    groups = {o.name: o.group for o in result.originals}
    assert groups["round/p0_1.png"] == groups["spiky/p0_0.png"] == "p0"
    assert groups["round/other.png"] == "round/other.png"
    (odd,) = [o for o in result.originals if o.findings]
    assert (odd.name, odd.findings[0].check) == ("round/other.png", "no_group")


@pytest.mark.parametrize("pattern", ["p(", r"p\d+"])
def test_bad_group_patterns(pattern):
    with pytest.raises(OptionError, match="group pattern"):
        IngestOptions(group_by=pattern)


def test_match_group():
    pattern = compile_group_pattern(r"(a)?(\d)")
    assert match_group(pattern, "7") is None
    assert match_group(pattern, "a7") == "a"
    assert match_group(pattern, "b") is None


def test_near_duplicates_share_a_group(class_folder, encoded, picture):
    twin = np.clip(picture(0).astype(int) + 3, 0, 255).astype(np.uint8)
    (class_folder / "spiky" / "twin.png").write_bytes(encoded(twin))
    result = ingest_source(class_folder)
    assert result.near_duplicate_pairs == (("round/p0_0.png", "spiky/twin.png"),)
    groups = {o.name: o.group for o in result.originals}
    assert groups["spiky/twin.png"] == groups["round/p0_0.png"]
    (finding,) = result.originals[-1].findings
    assert "'round/p0_0.png' of class 'round'" in finding.message
    strict = ingest_source(class_folder, IngestOptions(near_duplicates="drop"))
    assert reasons(strict) == {"spiky/twin.png": "near_duplicate"}
    assert strict.near_duplicate_pairs == ()


def test_a_label_conflict_keeps_the_first_with_a_warning(class_folder):
    (class_folder / "spiky" / "same.png").write_bytes((class_folder / "round" / "p0_0.png").read_bytes())
    result = ingest_source(class_folder)
    assert reasons(result) == {"spiky/same.png": "label_conflict"}
    assert result.originals[0].findings[0].check == "label_conflict"


def test_the_majority_decides_about_colour(class_folder, encoded, picture):
    (class_folder / "round" / "grey.png").write_bytes(encoded(picture(50)[..., 0]))
    result = ingest_source(class_folder)
    assert result.spec.channels == 3
    assert [o.findings[0].check for o in result.originals if o.findings] == ["odd_colour_mode"]
    grey = ingest_source(class_folder, IngestOptions(channels=1))
    assert {o.pixels.shape for o in grey.originals} == {(1, 64, 64)}
    assert sum(bool(o.findings) for o in grey.originals) == 8


def test_tiles_of_a_file_share_its_group_and_empty_ones_are_left_out(tmp_path, encoded, picture):
    field = picture(1, 130, 200)
    field[:64, 64:128] = 240
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encoded(field))
    result = ingest_source(tmp_path, IngestOptions(fit="tile"))
    places = [o.name.removeprefix("a/1.png#") for o in result.originals]
    assert places == ["0,0", "0,128", "64,0", "64,128", "64,64"]
    assert reasons(result) == {"a/1.png#0,64": "blank"}
    assert {o.group for o in result.originals} == {"a/1.png"}
    assert result.n_files == 1
    overlapping = ingest_source(tmp_path, IngestOptions(fit="tile", tile_stride=16))
    assert overlapping.near_duplicate_pairs == ()
    assert any("one class only" in note for note in result.notes)


def test_fit_by_hand():
    ramp = np.arange(6 * 10, dtype=np.uint8).reshape(1, 6, 10)
    (crop,) = fit_image(ramp, size=4, fit="crop")
    np.testing.assert_array_equal(crop.pixels, ramp[:, 1:5, 3:7])
    (same,) = fit_image(ramp[:, :, :6], size=6, fit="resize")
    np.testing.assert_array_equal(same.pixels, ramp[:, :, :6])
    assert same.findings == ()
    (half,) = fit_image(np.full((3, 20, 30), 77, np.uint8), size=8, fit="resize")
    assert half.pixels.shape == (3, 8, 8)
    assert (half.pixels == 77).all()
    assert half.findings[0].severity is Severity.CONVERT
    tiles = fit_image(ramp, size=3, fit="tile", tile_stride=2)
    assert [t.suffix for t in tiles][:4] == ["#0,0", "#0,2", "#0,4", "#0,6"]
    assert len(tiles) == 8


def test_split_folders_suggest_splits(tmp_path, class_folder):
    root = tmp_path / "split"
    root.mkdir()
    class_folder.rename(root / "train")
    result = ingest_source(root)
    assert set(result.suggested_splits) == {Split.TRAIN}
    assert result.class_names == ("round", "spiky")


def test_nothing_usable_says_why(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("hello")
    with pytest.raises(SourceError, match="1 not_an_image"):
        ingest_source(tmp_path)


def test_a_class_without_an_accepted_file_is_noted(class_folder):
    (class_folder / "lost").mkdir()
    (class_folder / "lost" / "1.png").write_bytes(b"")
    assert any("'lost'" in note for note in ingest_source(class_folder).notes)


def test_progress_is_reported(class_folder):
    seen = []
    ingest_source(class_folder, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]


@pytest.mark.parametrize(
    "options", [{"size": 4}, {"channels": 2}, {"tile_stride": 8}, {"tile_stride": 0, "fit": "tile"}]
)
def test_impossible_options(options):
    with pytest.raises(OptionError):
        IngestOptions(**options)


def test_unknown_fit():
    with pytest.raises(UnknownNameError, match="resize"):
        IngestOptions(fit="resise")


def test_unknown_treatments():
    with pytest.raises(UnknownNameError, match="did you mean 'join'"):
        IngestOptions(near_duplicates="joined")
    with pytest.raises(UnknownNameError, match="own"):
        IngestOptions(ungrouped="owner")
