"""Runs the command line in this process, as a user would call it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from synthbank.cli import main


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """`cli("generate", "m", "-n", 5)` -> exit code, stdout, stderr; relative paths are in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["synthbank", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def cli_home(tmp_path_factory):
    """A folder to hold what one chain of commands leaves behind."""
    return Path(tmp_path_factory.mktemp("cli"))
