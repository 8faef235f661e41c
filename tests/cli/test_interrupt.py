"""Ctrl-C in a real process: a word and exit code 130, at any depth of the command line."""

import os
import signal
import subprocess
import sys
import time

import pytest

SAID = "interrupted; repeat the command to resume"


@pytest.fixture
def start(tmp_path):
    """Starts a command that Ctrl-C reaches, also where these tests run in the background of a shell."""
    started = []

    def call(*words):
        command = [sys.executable, "-m", "synthbank", *map(str, words)]
        listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def _until(process, is_so):
    deadline = time.monotonic() + 300
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _interrupted(process):
    process.send_signal(signal.SIGINT)
    talk = process.communicate(timeout=300)[1]
    assert process.returncode == 130, talk
    assert talk.strip().splitlines()[-1] == SAID
    assert "Traceback" not in talk


def test_a_command_of_a_group(start, tmp_path):
    options = tmp_path / "options.yaml"
    os.mkfifo(options)
    process = start("cloud", "train", "cells", "--config", options)
    writer = []

    def is_reading():
        try:
            writer.append(os.open(options, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    _until(process, is_reading)
    _interrupted(process)
    os.close(writer[0])


def test_a_command_that_ends_its_own_work_first(start, cli, tmp_path):
    bank = tmp_path / "bank"
    assert cli("models", "pull", "zoo:ihc-64", "--bank", bank).code == 0
    process = start("generate", "ihc-64", "-n", 100_000, "--bank", bank)
    _until(process, (bank / "objects" / "images").exists)
    _interrupted(process)
    (job,) = cli("catalogue", "ls", "--bank", bank, "--json").json["jobs"]
    assert job["status"] == "cancelled"
