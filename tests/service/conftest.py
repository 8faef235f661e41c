"""A bank with data, a run, a model and images; the service over it, with real worker processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import uvicorn

from synthbank.catalogue import queries
from synthbank.data import IngestOptions
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import GateThresholds, Sampler, build_gate
from synthbank.models import ModelSpec, architectures, fused_state, load_fused, load_tensors, save_tensors
from synthbank.records import ImageSpec, JobStatus, Score, Split
from synthbank.service import ServiceSettings, create_app
from synthbank.settings import Settings
from synthbank.storage import layout
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.generation.generate import GenerateRequest, generate

MODEL, OTHER, DATASET, RUN = "small", "other", "ihc", "run-1"
CLASSES = ("dab_negative", "dab_positive")
LOCAL = "http://127.0.0.1"
FAST = {"threads": 1, "lease_sec": 3.0, "max_at_once": 16, "max_images": 2000, "wait_sec": 60.0}


def publish(bank, name, dataset_id, originals, *, seed=0):
    """An untrained generator with the gate of real originals, set so that it keeps out at most one image in twenty."""
    spec = ModelSpec("projected", 32, 3, CLASSES, options={"width": 0.25})
    torch.manual_seed(seed)
    weights = save_tensors(fused_state(architectures.get("projected").generator(spec).eval()))
    gate = build_gate(originals)
    sampler = Sampler(load_fused(spec, load_tensors(weights)))
    blocks = [sampler.draw_block(job_seed=seed, class_index=c, block=0) for c in range(len(CLASSES))]
    nearest = min(float(np.quantile(gate.screen(images).distance, 0.05)) for images in blocks)
    limits = GateThresholds(copy_distance=nearest, blank_deviation=0.0)
    gate = gate.with_thresholds(limits).to_bytes()
    card = {
        "name": name,
        "spec": spec.to_json(),
        "weights_sha256": bytes_sha256(weights),
        "screen_sha256": bytes_sha256(gate),
    }
    bank.store.put(layout.model_key(name, "generator.safetensors"), weights)
    bank.store.put(layout.model_key(name, "screen.safetensors"), gate)
    bank.store.put(layout.model_key(name, "model.json"), json.dumps(card).encode())
    with bank.catalogue.session() as session:
        queries.publish_model(
            name,
            architecture="projected",
            class_names=CLASSES,
            spec=ImageSpec(32, 3),
            key=layout.model_prefix(name),
            sha256=bytes_sha256(weights),
            card=card,
            dataset_id=dataset_id,
            run_id=RUN,
            session=session,
        )


def fill(settings):
    """Real tiles at 32 pixels, a run with a snapshot, two models, eight images of each class, scores."""
    with open_bank(settings) as bank:
        ingest(bank, "sample:ihc", name=DATASET, options=IngestOptions(size=32))
        dataset = require_dataset(bank, DATASET)
        with bank.catalogue.session() as session:
            queries.upsert_run(RUN, dataset_id=dataset.id, architecture="projected", seed=1, session=session)
            queries.set_run_status(RUN, JobStatus.DONE, session=session, images_seen=640, elapsed_sec=12.0)
        originals = load_split(bank, dataset, Split.TRAIN).images
        publish(bank, MODEL, dataset.id, originals)
        job = generate(bank, GenerateRequest(MODEL, 8)).job
        score = Score("kid-lite1-64", 30.0, 20.0, 40.0, 1.0, 0.5, 1.5, 60, 16)
        with bank.catalogue.session() as session:
            queries.add_scores([score], subject_kind="job", subject_id=job.id, session=session)


@pytest.fixture(scope="session")
def service_home(tmp_path_factory):
    """Folder of the bank; copied by whoever changes it."""
    home = tmp_path_factory.mktemp("service") / "bank"
    fill(Settings(home=home))
    return home


@pytest.fixture
def home(service_home, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(service_home, tmp_path / "bank"))


@contextmanager
def running(app):
    """A real server in a thread of this process; yields a client with the application as `client.app`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the application did not start"
                time.sleep(0.01)
            with httpx.Client(base_url=f"{LOCAL}:{listening.getsockname()[1]}", timeout=120) as client:
                client.app = app
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def served(home, **options):
    """The service over a bank, its workers in processes of their own."""
    with running(create_app(ServiceSettings(home=home, **{**FAST, **options}))) as client:
        yield client


@pytest.fixture(scope="module")
def client(service_home, tmp_path_factory):
    """A service of this test file, with one worker."""
    home = Path(shutil.copytree(service_home, tmp_path_factory.mktemp("served") / "bank"))
    with served(home) as found:
        yield found


@pytest.fixture
def quiet(home):
    """A service without workers: what is asked for stays in the queue."""
    with served(home, workers=0, wait_sec=0.2) as found:
        yield found


@contextmanager
def server(home, *words, environment=None):
    """`synthbank serve` as a process of its own; yields its address and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from synthbank.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--bank", str(home), "--port", str(port), *words]
    outside = {**os.environ, "SYNTHBANK_THREADS": "1", "SYNTHBANK_LEASE_SEC": "3", **(environment or {})}
    process = subprocess.Popen(command, env=outside)
    try:
        _wait_until_ready(process, f"{LOCAL}:{port}")
        yield f"{LOCAL}:{port}", process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(process, address):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            if httpx.get(f"{address}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the server did not become ready")
