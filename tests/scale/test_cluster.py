"""Work on a real Ray cluster of this machine's two cores, whose workers are killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthbank.catalogue import queries
from synthbank.errors import OptionError, SetupError
from synthbank.scale.cluster import address_of, check_shared, check_version, cluster
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.maintenance.verify import verify

from ..workflows.conftest import MODEL

EACH, SEED, KILLS = 150, 91, 2


def _start(*parts, home):
    command = [sys.executable, "-m", "synthbank", *map(str, parts), "--on", "ray", "--bank", str(home), "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def _ended(process):
    out, talk = process.communicate(timeout=280)
    assert process.returncode == 0, talk.decode()
    return json.loads(out)


def _below(pid):
    """A process and everything that it started."""
    yield pid
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from _below(child)


def _busy_workers(pid):
    """Workers of the cluster that a process started which make images right now."""
    for found in _below(pid):
        try:
            if Path(f"/proc/{found}/cmdline").read_bytes().startswith(b"ray::make"):
                yield found
        except OSError:
            continue


def _kill_some(process, files):
    """Kill workers in the middle of their shards, each after more files have come; how many."""
    kills, seen = 0, 0
    deadline = time.monotonic() + 250
    while process.poll() is None and kills < KILLS and time.monotonic() < deadline:
        there = sum(1 for _ in files.glob("*/*.png")) + sum(1 for _ in files.glob("*/*/*.png"))
        busy = list(_busy_workers(process.pid))
        if there > seen and busy:
            os.kill(busy[kills % len(busy)], signal.SIGKILL)
            kills, seen = kills + 1, there + 20
        time.sleep(0.02)
    return kills


def _content(home, job):
    """Rows and files of a job."""
    with open_bank(Settings(home=home), create=False) as bank:
        assert verify(bank).sound
        with bank.catalogue.session() as session:
            rows = queries.images(job_id=job, limit=100_000, session=session)
        files = bank.store.list(f"images/{job}")
    # distances are sums, and may differ in their last digits with the number of threads
    facts = [
        (r.id, r.seed, r.sha256, r.verdict, r.reason, r.nearest_original, round(r.nearest_distance, 5)) for r in rows
    ]
    return sorted(facts), files


@pytest.mark.slow
def test_a_job_on_a_cluster_whose_workers_die_is_the_job_on_one_machine(home, tmp_path):
    alone = Path(shutil.copytree(home, tmp_path / "alone"))
    request = GenerateRequest(MODEL, EACH, seed=SEED)
    process = _start("generate", MODEL, "-n", EACH, "--seed", SEED, home=home)
    kills = _kill_some(process, home / "objects" / "images" / request.job_id())
    report = _ended(process)
    assert kills == KILLS
    assert set(report["accepted"].values()) == {EACH}
    with open_bank(Settings(home=alone), create=False) as bank:
        assert generate(bank, request).accepted == report["accepted"]
    rows, files = _content(home, request.job_id())
    assert (rows, files) == _content(alone, request.job_id())
    assert len(files) == len(rows) >= 2 * EACH


@pytest.mark.slow
def test_scores_from_a_cluster_are_the_scores_of_one_machine(home):
    with open_bank(Settings(home=home), create=False) as bank, bank.catalogue.session() as session:
        job = queries.list_jobs(limit=1, session=session)[0].id
        rows = queries.scores(subject_kind="job", subject_id=job, session=session)
        before = {(row.metric, row.class_name): row.value for row in rows}
    shutil.rmtree(home / "cache")  # or nothing would be computed
    scores = _ended(_start("evaluate", job, "--resamples", 20, home=home))["scores"]
    assert (home / "cache" / "features.db").exists()
    after = {(s["metric"], s["class_name"]): s["value"] for s in scores}
    assert set(after) == set(before)
    for key, value in before.items():
        assert after[key] == (None if value is None else pytest.approx(value, rel=1e-3, abs=1e-4)), key


def test_an_address_follows_the_engine_and_no_other_engine_is_known():
    assert address_of("ray") is None
    assert address_of("ray:10.0.0.5:6379") == "10.0.0.5:6379"
    assert address_of("ray:ray://head:10001") == "ray://head:10001"
    with pytest.raises(OptionError, match=r"Got: dask\. Allowed: ray"):
        address_of("dask")


@pytest.mark.parametrize("address", ["10.0.0.5:6379", "ray://head.cluster:10001"])
def test_workers_elsewhere_and_files_here_are_refused_before_anything_is_connected(address, tmp_path):
    with (
        pytest.raises(OptionError, match=r"cannot reach the bank's files.*gs://.*SYNTHBANK_STORAGE_URL"),
        cluster(f"ray:{address}", tmp_path.as_uri()),
    ):
        pass


def test_files_that_every_machine_reaches_are_not_refused():
    check_shared("gs://bucket/bank", {"worker-1", "worker-2"})
    check_shared(None, {"worker-1"})
    check_shared("file:///somewhere", {"localhost"})
    with pytest.raises(OptionError, match="cannot reach"):
        check_shared("memory://bank", {"localhost"})
    with pytest.raises(OptionError, match=r"workers on worker-1, worker-2"):
        check_shared("/somewhere", {"worker-2", "worker-1"})


def test_a_worker_of_another_version_does_not_do_the_work():
    with pytest.raises(SetupError, match=r"another version.*Allowed: 0\.0\.0"):
        check_version("0.0.0")
