import errno
import os
import threading
import uuid
from pathlib import Path

import pytest

from synthbank.errors import NotFoundError, OptionError, SetupError
from synthbank.storage import ObjectStore, local_path_of


@pytest.fixture(params=["local", "memory", "gs", "s3"])
def any_store(request, tmp_path):
    if request.param == "local":
        return ObjectStore(tmp_path / "ob jects")
    if request.param in ("gs", "s3"):
        return ObjectStore(f"{request.getfixturevalue(f'{request.param}_bucket')}/deep")
    return ObjectStore(f"memory://{uuid.uuid4().hex}/deep")


def test_bytes_come_back(any_store):
    any_store.put("a/b/c.bin", b"one")
    any_store.put("a/b/c.bin", b"second", durable=True)
    assert any_store.get("a/b/c.bin") == b"second"
    assert any_store.size("a/b/c.bin") == 6
    assert any_store.exists("a/b/c.bin")
    assert not any_store.exists("a/b")
    any_store.delete("a/b/c.bin")
    any_store.delete("a/b/c.bin")
    assert not any_store.exists("a/b/c.bin")


def test_listing_is_sorted_and_by_folder(any_store):
    for key in ("images/j2/z.png", "images/j1/b.png", "images/j1/a/x.png", "images/j10/a.png", "top.json"):
        any_store.put(key, b"x")
    assert any_store.list("images/j1") == ["images/j1/a/x.png", "images/j1/b.png"]
    assert any_store.list("images/j1/") == any_store.list("images/j1")
    assert len(any_store.list()) == 5
    assert any_store.list() == sorted(any_store.list())
    assert any_store.list("nothing/here") == []
    assert any_store.list("top.json") == []


def test_what_is_missing_is_named(any_store):
    for ask in (any_store.get, any_store.size):
        with pytest.raises(NotFoundError, match=r"a/missing\.bin") as caught:
            ask("a/missing.bin")
        assert caught.value.facts["key"] == "a/missing.bin"
    any_store.put("folder/file", b"x")
    with pytest.raises(NotFoundError):
        any_store.get("folder")


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".hidden", "a/.tmp-1", "a\\b", "a\0b", "a/..", "é", "a\n"],
)
def test_keys_that_could_leave_the_store_are_refused(any_store, key):
    for act in (any_store.get, any_store.exists, any_store.size, any_store.delete, any_store.local_path):
        with pytest.raises(OptionError):
            act(key)
    with pytest.raises(OptionError):
        any_store.put(key, b"x")


def test_nothing_is_listed_outside(any_store):
    with pytest.raises(OptionError):
        any_store.list("..")


def test_a_put_that_fails_midway_leaves_the_old_content(tmp_path, monkeypatch):
    store = ObjectStore(tmp_path)
    store.put("a/x.bin", b"old")
    real_write = os.write

    def full_disk(handle, data):
        if len(data) > 10:
            return real_write(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(SetupError, match="No space left"):
        store.put("a/x.bin", b"n" * 15)
    monkeypatch.undo()
    assert store.get("a/x.bin") == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.bin"]


def test_an_interrupted_replace_leaves_no_temporary(tmp_path, monkeypatch):
    store = ObjectStore(tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put("a/x.bin", b"new")
    assert list(tmp_path.rglob("*.*")) == []


def test_leftovers_of_killed_writers_are_hidden_and_swept(tmp_path):
    store = ObjectStore(tmp_path)
    store.put("a/x.bin", b"x")
    leftover = tmp_path / "a" / ".tmp-1-dead-0"
    leftover.write_bytes(b"half")
    assert store.list() == ["a/x.bin"]
    assert store.sweep_temporary() == 0
    os.utime(leftover, (0, 0))
    assert store.sweep_temporary() == 1
    assert not leftover.exists()
    assert store.get("a/x.bin") == b"x"
    assert ObjectStore("memory://sweep").sweep_temporary() == 0


def test_readers_never_see_a_part(tmp_path):
    store = ObjectStore(tmp_path)
    versions = {bytes([n]) * 50_000 for n in range(4)}
    store.put("x.bin", next(iter(versions)))
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(store.get("x.bin"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for data in versions:
            store.put("x.bin", data)
    stop.set()
    reader.join()
    assert seen <= versions


def test_urls(tmp_path):
    store = ObjectStore((tmp_path / "a b").as_uri())
    store.put("x/y.bin", b"1")
    assert (tmp_path / "a b" / "x" / "y.bin").read_bytes() == b"1"
    assert store.url("x/y.bin") == (tmp_path / "a b" / "x" / "y.bin").as_uri()
    assert store.local_path("x/y.bin") == tmp_path / "a b" / "x" / "y.bin"
    assert ObjectStore("memory://m/p/").url("k") == "memory://m/p/k"
    assert ObjectStore("memory://m").local_path("k") is None
    assert local_path_of("gs://bucket") is None
    assert local_path_of("some/path") == Path("some/path").absolute()


def test_an_unknown_filesystem_is_told():
    with pytest.raises(SetupError, match="not understood"):
        ObjectStore("nosuch://x")


def test_a_store_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match="file/x"):
        ObjectStore(tmp_path).put("file/x", b"1")


def test_a_missing_driver_names_its_extra(monkeypatch):
    def missing(*_, **__):
        raise ImportError("no driver")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(SetupError, match=r"synthbank\[gcp\]"):
        ObjectStore("gs://bucket/bank")


@pytest.mark.parametrize(("method", "call"), [("isfile", "exists"), ("find", "list")])
def test_a_refused_look_at_a_remote_store_is_told(method, call, monkeypatch):
    store = ObjectStore("memory://refused")

    def refuse(*_, **__):
        raise PermissionError("forbidden")

    monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{method}", refuse)
    with pytest.raises(SetupError, match="forbidden"):
        getattr(store, call)("images")
