"""Reports of a real bank: an untrained generator, screened and unscreened jobs, with and without a run folder."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from synthbank.catalogue import queries
from synthbank.config import TrainConfig
from synthbank.data import IngestOptions
from synthbank.errors import UnknownNameError
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import build_gate
from synthbank.models import ModelSpec, architectures, fused_state, save_tensors
from synthbank.records import ImageSpec, Split
from synthbank.settings import Settings
from synthbank.storage import decode_png, layout
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.data.expand import expand
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.evaluation.evaluate import evaluate
from synthbank.workflows.evaluation.feature_map import read_map
from synthbank.workflows.evaluation.report import gather, write_report
from synthbank.workflows.evaluation.requests import EvaluateRequest, ReportRequest
from synthbank.workflows.generation.generate import GenerateRequest, generate

SIZE = 32


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A bank with a data set of two classes, a published generator with random weights, and a job of each kind."""
    folder = tmp_path_factory.mktemp("report")
    _write_originals(folder / "originals")
    with open_bank(Settings(home=folder / "bank")) as bank:
        dataset = ingest(bank, folder / "originals", name="dots", options=IngestOptions(size=SIZE)).dataset
        expand(bank, "dots")
        _publish(bank, dataset)
        generate(bank, GenerateRequest("m1", 3))
        generate(bank, GenerateRequest("m1", 3, screen=False))
    return folder / "bank"


@pytest.fixture
def dots(home, tmp_path):
    """A copy of it, open."""
    shutil.copytree(home, tmp_path / "bank")
    with open_bank(Settings(home=tmp_path / "bank"), create=False) as bank:
        yield bank


def job_of(bank, *, screened):
    with bank.catalogue.session() as session:
        return next(job.id for job in queries.list_jobs(session=session) if job.screened == screened)


def test_the_report_lies_in_the_bank_and_repeats_itself(dots, made):
    job = job_of(dots, screened=True)
    path = write_report(dots, ReportRequest(job))
    assert path == dots.store.local_path(layout.report_key(job))
    first = path.read_bytes()
    page = made.page(first.decode())
    assert "has not been evaluated" in page.text
    assert "dots, version 1" in page.text
    assert write_report(dots, ReportRequest(job)).read_bytes() == first
    assert str(dots.settings.home) not in first.decode()


def test_it_can_be_written_anywhere(dots, tmp_path):
    target = tmp_path / "some" / "where.html"
    assert write_report(dots, ReportRequest(job_of(dots, screened=True), target, {"train": 61.0})) == target
    assert "1 min 1 s" in target.read_text()
    assert [p.name for p in target.parent.iterdir()] == ["where.html"]


def test_counts_and_pairs_are_the_catalogues(dots):
    job = job_of(dots, screened=True)
    data, dataset = gather(dots, job), dataset_of(dots)
    with dots.catalogue.session() as session:
        rows = list(queries.accepted_images(job_id=job, session=session))
        originals = {r.sha256: r for r in queries.originals(dataset.id, session=session)}
    assert data.data.in_split("total") == 40
    assert data.data.n_files == 41
    assert [f.check for f in data.data.findings if f.severity == "reject"] == ["too_small"]
    assert data.gate.accepted == len(rows)
    assert data.gate.copy_distance > 0
    assert data.expansion.n_copies > 0
    assert not data.expansion.used_in_training
    pairs = {p.image_id: p for p in data.nearest.shown}
    assert [p.distance for p in data.nearest.shown] == sorted(p.distance for p in data.nearest.shown)
    assert set(pairs) == {r.id for r in rows}
    row = rows[0]
    original = decode_png(dots.store.get(originals[row.nearest_original].key))
    assert np.array_equal(pairs[row.id].original, original)
    assert pairs[row.id].distance == row.nearest_distance


def test_the_map_holds_every_image(dots):
    evaluate(dots, EvaluateRequest(job_of(dots, screened=True), n_resamples=2))
    groups = gather(dots, job_of(dots, screened=True)).map.groups
    train = sum(len(g.points) for g in groups if g.kind == "real train")
    assert train == len(load_split(dots, dataset_of(dots), Split.TRAIN).images)
    assert sum(len(g.points) for g in groups if g.kind == "synthetic") == 6
    assert all(np.isfinite(g.points).all() for g in groups)


def test_without_an_evaluation_the_report_says_that_the_map_needs_one(dots, made):
    job = job_of(dots, screened=True)
    assert gather(dots, job).map is None
    text = made.page(write_report(dots, ReportRequest(job)).read_text()).text
    assert f"The map needs an evaluation: synthbank evaluate {job}" in text


@pytest.fixture
def layer_calls():
    """Convolutions and linear layers that any network has run since the test began."""
    calls = []

    def count(module, args):
        if isinstance(module, nn.Conv2d | nn.Linear):
            calls.append(module)

    handle = register_module_forward_pre_hook(count)
    yield calls
    handle.remove()


@pytest.mark.parametrize("screened", [True, False])
def test_a_report_after_an_evaluation_runs_no_network(dots, layer_calls, screened):
    job = job_of(dots, screened=screened)
    evaluate(dots, EvaluateRequest(job, n_resamples=2))
    assert layer_calls  # they are counted
    layer_calls.clear()
    write_report(dots, ReportRequest(job))
    data = gather(dots, job)
    assert data.map is not None
    assert data.nearest.shown
    assert layer_calls == []


def test_the_report_and_the_studio_draw_one_map(dots):
    job = job_of(dots, screened=True)
    evaluate(dots, EvaluateRequest(job, n_resamples=2))
    drawn = {(x, y) for group in gather(dots, job).map.groups for x, y in group.points.tolist()}
    assert drawn == {(point["x"], point["y"]) for point in read_map(dots, job)["points"]}


def test_history_gives_curves_and_its_absence_none(dots):
    job = job_of(dots, screened=True)
    assert not gather(dots, job).training.history_found
    folder = dots.runs_dir / "run-1"
    folder.mkdir(parents=True)
    lines = [
        {"kind": "status", "step": 50, "values": {"loss_d": 1.5, "loss_g": 0.5}},
        {"kind": "status", "step": 100, "values": {"loss_d": 1.25, "loss_g": 0.75}},
        {"kind": "guard", "step": 60, "values": {"message": "a loss reached 51", "name": "exploding_loss"}},
        {"kind": "rollback", "step": 40, "values": {"rollbacks": 1, "lr_scale": 0.5}},
    ]
    whole = [json.dumps({**line, "images_seen": 0, "elapsed_sec": 0.0}) for line in lines]
    (folder / "history.jsonl").write_text("\n".join([*whole, '{"kind": "sta']))
    training = gather(dots, job).training
    assert next((c.name, c.x, c.y) for c in training.losses) == ("discriminator", (50, 100), (1.5, 1.25))
    assert [(e.step, e.kind) for e in training.events] == [(60, "guard"), (40, "rollback")]
    assert "times 0.5" in training.events[1].message


def test_an_unscreened_job_is_compared_by_the_scoring_network(dots, made):
    job = job_of(dots, screened=False)
    data = gather(dots, job)
    assert "lite1" in data.nearest.distance_name
    assert len(data.nearest.shown) == 6
    assert all(p.original is not None and p.distance > 0 for p in data.nearest.shown)
    assert "was not screened" in made.page(write_report(dots, ReportRequest(job)).read_text()).text


def test_commands_repeat_the_choices(dots):
    ingested, expanded, trained, generated, *_ = gather(dots, job_of(dots, screened=False)).commands
    assert ingested.startswith("synthbank ingest path/to/originals --name dots --size 32 --fit resize")
    assert "--split 70/15/15" in ingested
    assert expanded.startswith("synthbank expand dots --to ")
    assert "--preset quick --steps 8 --seed 3 --set batch_size=4" in trained
    assert trained.endswith("--model-name m1")
    assert generated == "synthbank generate m1 -n 3 --seed 0 --no-screen"


def test_an_unknown_job_is_refused(dots):
    with pytest.raises(UnknownNameError):
        write_report(dots, ReportRequest("no-such-job"))


def dataset_of(bank):
    with bank.catalogue.session() as session:
        return queries.get_dataset("dots", session=session)


def _write_originals(folder):
    """Twenty noisy pictures of two classes, and one that is too small."""
    rng = np.random.default_rng(0)
    for name, colour in (("dark", 60), ("light", 190)):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(rng.normal(colour, 45, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / "dark" / "tiny.png")


def _publish(bank, dataset):
    config = TrainConfig(preset="projected-quick", steps=8, batch_size=4, seed=3, snapshot_images=256)
    spec = ModelSpec("projected", SIZE, 3, dataset.class_names, options={"width": 0.25, "mixing": 16})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = save_tensors(
            fused_state(architectures.get("projected").generator(spec).eval()), header=spec.to_json()
        )
    gate = build_gate(load_split(bank, dataset, Split.TRAIN).images).to_bytes()
    card = {
        "name": "m1",
        "spec": spec.to_json(),
        "weights_sha256": bytes_sha256(weights),
        "screen_sha256": bytes_sha256(gate),
        "training": config.to_json(),
    }
    bank.store.put(layout.model_key("m1", "generator.safetensors"), weights)
    bank.store.put(layout.model_key("m1", "screen.safetensors"), gate)
    with bank.catalogue.session() as session:
        queries.upsert_run(
            "run-1", dataset_id=dataset.id, architecture="projected", seed=3, config=config.to_json(), session=session
        )
        queries.publish_model(
            "m1",
            run_id="run-1",
            dataset_id=dataset.id,
            architecture="projected",
            class_names=dataset.class_names,
            spec=ImageSpec(SIZE, 3),
            key=layout.model_prefix("m1"),
            sha256=bytes_sha256(weights),
            card=card,
            session=session,
        )
