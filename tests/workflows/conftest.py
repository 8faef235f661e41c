"""Banks with a trained model and a finished job; made once, copied for each test."""

import shutil
from pathlib import Path

import pytest
import torch

from synthbank.catalogue import queries
from synthbank.config import resolve_train_config
from synthbank.data import IngestOptions
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import build_gate
from synthbank.models import ModelSpec, architectures, fused_state, save_tensors
from synthbank.records import ImageSpec, Split
from synthbank.settings import Settings
from synthbank.storage import layout
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.evaluation.evaluate import evaluate
from synthbank.workflows.evaluation.requests import EvaluateRequest
from synthbank.workflows.generation.generate import GenerateRequest, generate
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

MODEL, DATASET = "small", "ihc"
SMALL = {
    "batch_size": 4,
    "snapshot_images": 16,
    "snapshot_every": 4,
    "model_options": {"width": 0.25, "mixing": 16},
}


def small_config(*, architecture="projected", **overrides):
    values = {"steps": 8, **SMALL, **overrides}
    if architecture == "sagan":
        values["model_options"] = {"base": 8}
    return resolve_train_config(f"{architecture}-quick", fitted={"time_budget_sec": None}, overrides=values)


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory):
    """Folder of a bank: real tiles at 32 pixels, a model of a few steps, twelve images of each class, scores."""
    home = tmp_path_factory.mktemp("trained") / "bank"
    with open_bank(Settings(home=home)) as bank:
        ingest(bank, "sample:ihc", name=DATASET, options=IngestOptions(size=32))
        train(bank, TrainRequest(DATASET, config=small_config(), device="cpu", model_name=MODEL))
        job = generate(bank, GenerateRequest(MODEL, 12)).job
        evaluate(bank, EvaluateRequest(job.id, n_resamples=20))
    return home


@pytest.fixture
def home(trained_home, tmp_path):
    """A copy of it that a test may change."""
    return Path(shutil.copytree(trained_home, tmp_path / "bank"))


@pytest.fixture
def trained(home):
    """The copy, open."""
    with open_bank(Settings(home=home), create=False) as bank:
        yield bank


@pytest.fixture
def publish(trained):
    """Publishes an untrained generator, after a change to its weights."""

    def make(name, change=lambda generator: None):
        spec = ModelSpec("projected", 32, 3, ("dab_negative", "dab_positive"), options={"width": 0.25})
        generator = architectures.get("projected").generator(spec).eval()
        with torch.no_grad():
            change(generator)
        weights = save_tensors(fused_state(generator))
        originals = load_split(trained, require_dataset(trained, DATASET), Split.TRAIN).images
        gate = build_gate(originals).to_bytes()
        trained.store.put(layout.model_key(name, "generator.safetensors"), weights)
        trained.store.put(layout.model_key(name, "screen.safetensors"), gate)
        with trained.catalogue.session() as session:
            queries.publish_model(
                name,
                architecture="projected",
                class_names=spec.class_names,
                spec=ImageSpec(32, 3),
                key=layout.model_prefix(name),
                sha256=bytes_sha256(weights),
                card={
                    "name": name,
                    "spec": spec.to_json(),
                    "weights_sha256": bytes_sha256(weights),
                    "screen_sha256": bytes_sha256(gate),
                },
                originals=[],
                session=session,
            )

    return make
