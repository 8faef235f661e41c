"""`make` finds a Python that SynthBank runs on, and refuses others before it makes or downloads anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def fake_python(path, version):
    """A Python that says it is of this version, and makes nothing."""
    code = f"import sys; sys.version_info = ({version}, 0, 'final', 0)"
    refusal = f'[ "$1" = -c ] || {{ echo "{path.name} asked for $2"; exit 9; }}'
    path.write_text(f'#!/bin/sh\n{refusal}\nexec {sys.executable} -c "{code}\n$2"\n')
    path.chmod(0o755)
    return path


def make_demo(tmp_path, *words, path):
    command = [shutil.which("make"), "demo", f"VENV={tmp_path / 'venv'}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": str(path)})


@pytest.fixture
def make_with(tmp_path):
    """`make_with("3, 10")`: `make demo` with a Python of this version."""

    def call(version):
        python = fake_python(tmp_path / "python", version)
        return make_demo(tmp_path, f"PYTHON={python}", path="/usr/bin:/bin")

    return call


@pytest.mark.parametrize("version", ["3, 10", "3, 15"])
def test_another_version_is_refused_before_anything_is_made(make_with, version):
    ran = make_with(version)
    assert ran.returncode != 0
    assert f"is {version.replace(', ', '.')}. Name another: make demo PYTHON=python3.12" in ran.stderr
    assert "asked for" not in ran.stdout


@pytest.mark.parametrize("version", ["3, 11", "3, 12", "3, 13", "3, 14"])
def test_its_own_versions_go_on(make_with, version):
    assert "asked for venv" in make_with(version).stdout


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3": "3, 13", "python3.11": "3, 11"}, "python3"),
        ({"python3": "3, 10", "python3.12": "3, 12", "python3.14": "3, 14"}, "python3.12"),
        ({"python3.14": "3, 14"}, "python3.14"),
    ],
)
def test_the_first_python_that_serves_is_taken(tmp_path, there, taken):
    """python3 before all others."""
    for name, version in there.items():
        fake_python(tmp_path / name, version)
    assert f"{taken} asked for venv" in make_demo(tmp_path, path=tmp_path).stdout


def test_where_no_python_serves_the_message_names_the_one_that_is_there(tmp_path):
    fake_python(tmp_path / "python3", "3, 9")
    assert "SynthBank needs Python 3.11 to 3.14, and python3 is 3.9" in make_demo(tmp_path, path=tmp_path).stderr


def test_pythons_that_are_not_there_are_said_to_be_skipped(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "grep", "mktemp", "rm"):
        (tools / name).symlink_to(shutil.which(name))
    broken = tools / "python3.13"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    fake_python(tools / "python3.14", "3, 14")  # it starts, and makes no environment
    ran = subprocess.run(
        [tools / "bash", "scripts/other_pythons.sh"],
        cwd=ROOT,
        env={"PATH": str(tools), "HOME": str(tmp_path), "BIN": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    others = [v for v in ("3.11", "3.12", "3.13", "3.14") if v != f"3.{sys.version_info[1]}"]
    assert [line.split(":")[0] for line in ran.stdout.splitlines()] == [f"SKIPPED Python {v}" for v in others]
