"""The container: its file passes a linter, and its steps give a service that runs. Docker itself is not needed."""

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions():
    """(word, rest) of each instruction, continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def test_a_linter_finds_nothing():
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    found = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_as_nobody_special_and_says_how_it_is():
    words = [word for word, _ in instructions()]
    last = words[len(words) - words[::-1].index("FROM") :]
    assert words.count("FROM") == 2  # what builds is not what runs
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert dict(instructions())["USER"] == "10001:10001"
    assert {"HEALTHCHECK", "EXPOSE", "VOLUME"} <= set(last)
    assert ":latest" not in DOCKERFILE


def test_one_server_for_a_team():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    service = services["synthbank"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "healthcheck" in services["database"]
    assert not re.search(r"(?i)(password|secret)[^\n]*[:=] *[a-z0-9]{8,}$", (ROOT / "compose.yaml").read_text(), re.M)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What the image's steps install from what the build is given; libraries come from this environment."""
    base = tmp_path_factory.mktemp("image")
    context = base / "context"
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    wanted = " ".join(rest for word, rest in instructions() if word == "COPY" and not rest.startswith("--from"))
    names = [name for name in wanted.split() if not name.startswith("./")]
    assert sorted(names) == sorted(allowed)
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, context / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(base)]
    subprocess.run([*wheel, str(context), str(context / "zoo")], check=True, timeout=200)
    files = sorted(str(path) for path in base.glob("*.whl"))
    assert [Path(file).name.split("-")[0] for file in files] == ["synthbank", "synthbank_zoo"]
    assert Path(files[0]).stat().st_size < 10e6  # one model of 64 pixels, and no discriminator
    folder = base / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder), *files], check=True, timeout=200)
    return folder


def test_the_wheel_holds_what_a_run_needs(installed):
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    for pattern in (
        "synthbank/configs/projected-quick.yaml",
        "synthbank/zoo/ihc-64/generator.safetensors",
        "synthbank_zoo/ihc-64/discriminator.safetensors",
        "synthbank_zoo/cytology3-128/screen.safetensors",
        "synthbank/service/static/studio.css",
        "synthbank/service/templates/make.html.j2",
        "synthbank/reports/templates/report.html.j2",
        "synthbank/catalogue/migrations/versions/*.py",
    ):
        assert any(fnmatch(name, pattern) for name in files), pattern
    assert not any(fnmatch(name, "synthbank/*discriminator*.safetensors") for name in files)


@pytest.mark.slow
def test_what_the_image_installs_serves_and_is_healthy(installed, tmp_path):
    """Under the variables of a prediction container, with nothing to write to but the bank and the temporary folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bank = tmp_path / "bank"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(installed),  # before this environment's own synthbank
        "SYNTHBANK_HOME": str(bank),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": "/healthy",
        "AIP_PREDICT_ROUTE": "/predict",
        "AIP_STORAGE_URI": (installed / "synthbank" / "zoo" / "ihc-64").as_uri(),
    }
    (check,) = [rest for word, rest in instructions() if word == "HEALTHCHECK"]
    command = yaml.safe_load(check[check.index("[") :])
    assert command[0] == "python"
    (entry,) = [rest for word, rest in instructions() if word == "ENTRYPOINT"]
    assert yaml.safe_load(entry) == ["synthbank"]
    process = subprocess.Popen(
        [sys.executable, "-m", "synthbank", "serve", "--host", "0.0.0.0"], env=environment, cwd=tmp_path
    )
    try:
        deadline = time.monotonic() + 90
        while subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True).returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        body = {"instances": [{"class": "dab_positive", "count": 1, "seed": 3}], "parameters": {}}
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=body, timeout=90)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"]
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, -15)
    assert sorted(path.name for path in tmp_path.iterdir()) in (["bank"], ["bank", "matplotlib"])
