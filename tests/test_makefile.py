"""`make` refuses a Python that SynthBank does not run on before it makes or downloads anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def make_with(tmp_path):
    """`make_with("3, 10")`: `make demo` with a Python that says it is of this version, and makes nothing."""

    def call(version):
        code = f"import sys; sys.version_info = ({version}, 0, 'final', 0)"
        python = tmp_path / "python"
        python.write_text(
            f'#!/bin/sh\n[ "$1" = -c ] || {{ echo "asked for $2"; exit 9; }}\nexec {sys.executable} -c "{code}\n$2"\n'
        )
        python.chmod(0o755)
        words = ["make", "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize("version", ["3, 10", "3, 13"])
def test_another_version_is_refused_before_anything_is_made(make_with, version):
    ran = make_with(version)
    assert ran.returncode != 0
    assert f"is {version.replace(', ', '.')}. Name another: make demo PYTHON=python3.12" in ran.stderr
    assert "asked for" not in ran.stdout


@pytest.mark.parametrize("version", ["3, 11", "3, 12"])
def test_its_own_versions_go_on(make_with, version):
    assert "asked for venv" in make_with(version).stdout
