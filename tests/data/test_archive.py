from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from synthbank.data.sources import SourceLimits, open_source
from synthbank.errors import SourceError, UnsafeArchiveError


def write_zip(path, files, link=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def write_tar(path, files, link=None):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) if link else ():
            info = tarfile.TarInfo(f"{link}{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


KINDS = [("a.zip", write_zip), ("a.tar", write_tar), ("a.tar.gz", write_tar), ("a.TGZ".lower(), write_tar)]
GOOD = {"set/b/2.png": b"two", "set/a/1.png": b"one", "set/a/.DS_Store": b"", "__MACOSX/set/a/._1.png": b""}


@pytest.mark.parametrize(("name", "write"), KINDS)
def test_entries_are_read_in_memory_and_sorted(tmp_path, name, write):
    files = {k: v for k, v in GOOD.items() if not k.startswith("__")}
    with open_source(write(tmp_path / name, files)) as listing:
        assert [(e.name, e.class_name, e.read()) for e in listing.entries] == [
            ("a/1.png", "a", b"one"),
            ("b/2.png", "b", b"two"),
        ]
        assert [e.size_bytes for e in listing.entries] == [3, 3]
        assert listing.n_side_files == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_side_folders_do_not_hide_the_wrapping_folder(tmp_path):
    with open_source(write_zip(tmp_path / "a.zip", GOOD)) as listing:
        assert [e.name for e in listing.entries] == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize(("name", "write"), KINDS)
@pytest.mark.parametrize("entry", ["../out.png", "a/../../out.png", "/abs.png", "C:\\abs.png"])
def test_entries_that_point_outside_refuse_the_archive(tmp_path, name, write, entry):
    path = write(tmp_path / name, {"a/1.png": b"x", entry: b"x"})
    with pytest.raises(UnsafeArchiveError, match="points outside"):
        open_source(path)


@pytest.mark.parametrize(("name", "write"), KINDS)
def test_links_are_left_out(tmp_path, name, write):
    with open_source(write(tmp_path / name, {"a/1.png": b"x"}, link="a/link")) as listing:
        assert [e.name for e in listing.entries] == ["a/1.png"]
        assert {r.findings[0].check for r in listing.rejected} == {"link"}


@pytest.mark.parametrize(("name", "write"), KINDS)
@pytest.mark.parametrize(
    "limits",
    [SourceLimits(max_total_bytes=1000), SourceLimits(max_entries=1), SourceLimits(max_ratio=0.01)],
    ids=["total", "entries", "ratio"],
)
def test_bombs_are_refused(tmp_path, monkeypatch, name, write, limits):
    monkeypatch.setattr("synthbank.data.sources.archive._RATIO_FLOOR_BYTES", 0)
    path = write(tmp_path / name, {"a/1.png": bytes(900), "a/2.png": bytes(900)})
    with pytest.raises(UnsafeArchiveError, match="unpacks to too much"):
        open_source(path, limits)


def test_a_tar_header_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a/1.png")
        info.pax_headers = {"comment": "x" * 5000}
        archive.addfile(info)
    with pytest.raises(SourceError, match="at most 2000"):
        open_source(path, SourceLimits(max_bytes=2000))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_damaged_archives(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(tmp_path / name)


def test_empty_archive(tmp_path):
    with pytest.raises(SourceError, match="holds no files"):
        open_source(write_zip(tmp_path / "a.zip", {}))


def test_a_damaged_entry_is_an_os_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a/1.png": bytes(range(256)) * 8})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(bytes(data))
    with open_source(path) as listing, pytest.raises(OSError, match="cannot be unpacked"):
        listing.entries[0].read()
