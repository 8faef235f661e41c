import os

import pytest

from synthbank.storage import write_atomic


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_bytes(b"old")
    with pytest.raises(IsADirectoryError):
        write_atomic(folder, b"new")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
