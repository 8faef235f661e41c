"""Paths where nothing can be written or read: words before the work, and nothing left behind."""

import os
import tempfile
from pathlib import Path

import pytest

TARGETS = (
    ("report", "--to"),
    ("reader", "make", "--to"),
    ("catalogue", "regenerate", "i1", "--to"),
    ("expand", "ihc", "--preview"),
)


@pytest.mark.parametrize("words", TARGETS, ids=lambda words: words[0])
@pytest.mark.parametrize(("path", "said"), [("folder", "folder"), (".", "folder"), ("file/x", "/file'")])
def test_a_file_that_cannot_be_written_is_refused_first(cli, tmp_path, words, path, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    ran = cli(*words, path)
    assert ran.code == 2
    assert f"Invalid value for '{words[-1]}'" in ran.err
    assert said in "".join(ran.err.replace("│", "").split())  # the frame breaks long paths
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_bank_is_a_folder(cli, tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/bank"):
        ran = cli("catalogue", "migrate", "--bank", place)
        assert ran.code == 1
        assert "folder of the bank cannot be made" in ran.err
        assert f"Got: {place}: " in ran.err.replace("\n", "")


@pytest.fixture
def shut_bank(cli):
    """A bank that this process may read and not write, also where the tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "bank"
        for command in ("migrate", "ls"):  # also loads what another account may not be able to load
            assert cli("catalogue", command, "--bank", home).code == 0
        Path(folder).chmod(0o755)
        (home / "catalogue.db").chmod(0o444)
        home.chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield home
        finally:
            os.seteuid(before)
            home.chmod(0o755)


def test_a_bank_that_must_not_be_written_says_so(cli, shut_bank):
    for words in (["catalogue", "ls"], ["catalogue", "migrate"]):
        ran = cli(*words, "--bank", shut_bank)
        assert ran.code == 1, ran
        assert "database could not be used" in ran.err
        assert "may write to the file and its folder" in ran.err.replace("\n", " ")


def test_a_bank_that_is_damaged_says_so(cli, tmp_path):
    assert cli("catalogue", "migrate", "--bank", "b").code == 0
    (tmp_path / "b" / "catalogue.db").write_bytes(b"no database" * 1000)
    ran = cli("catalogue", "ls", "--bank", "b")
    assert ran.code == 1, ran
    assert "file is not a database" in ran.err
    assert "put a copy of it from before" in ran.err.replace("\n", " ")


def test_what_nothing_has_foreseen_is_told_with_its_path(cli, tmp_path):
    (tmp_path / "file").touch()
    ran = cli("cloud", "init", "--project", "a-project", "--bucket", "a-bucket", "--to", "file")
    assert ran.code == 1, ran
    assert "refused to read or write" in ran.err
    assert "Got: file" in ran.err
    assert "Next: check the path" in ran.err
    assert "Traceback" not in ran.err


def test_windows_is_warned_of_in_words(cli, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    ran = cli("catalogue", "migrate")
    assert ran.code == 0, ran
    assert ran.err.count("not tested on Windows") == 1
    assert "Linux and macOS" in ran.err
    assert "WSL" in ran.err
