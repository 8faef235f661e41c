"""Runs that grow: a small size first, then the full one, as one run."""

import dataclasses
import json

import numpy as np
import pytest
from skimage.io import imread

from synthbank.config import TrainConfig, read_train_config
from synthbank.data import IngestOptions
from synthbank.errors import StateError
from synthbank.models import load_tensors, state_fingerprint
from synthbank.records import LabelledImages
from synthbank.settings import Settings
from synthbank.storage import layout
from synthbank.training import AdversarialTrainer, state_size
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.growth import downscale, growth_stages
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.train import train

from .conftest import SMALL, small_config

DATASET = "large"
GROWING = {"grow_share": 0.5, "steps": 6, "snapshot_every": 2, "snapshot_images": 8}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    with open_bank(Settings(home=tmp_path_factory.mktemp("growing") / "bank")) as bank:
        ingest(bank, "sample:ihc", name=DATASET, options=IngestOptions(size=64))
        yield bank


@pytest.fixture(scope="module")
def whole(bank):
    """A growing run without interruption, and the hand-over between its stages."""
    handed = []
    original = AdversarialTrainer.start_from

    def start_from(trainer, start, **how):
        handed.append((trainer.spec.size, how, original(trainer, start, **how)))
        return handed[-1][-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialTrainer, "start_from", start_from)
        return train(
            bank, TrainRequest(DATASET, config=small_config(**GROWING), device="cpu", model_name="whole")
        ), handed


def _weights(bank, report):
    tensors = load_tensors(bank.store.get(layout.model_key(report.model.id, "generator.safetensors")))
    return state_fingerprint(tensors)


def test_each_stage_has_half_the_size_and_its_share_of_what_is_left():
    config = read_train_config({"steps": 1000, "grow_share": 0.4, "lr_floor": 0.2, "lr_floor_d": 0.5})
    stages = [
        (
            s.size,
            s.config.steps,
            s.config.lr_final_fraction,
            s.config.adversarial.lr_final_fraction_discriminator,
            s.last,
        )
        for s in growth_stages(config, 256)
    ]
    assert stages == [
        (64, 160, 1.0, None, False),
        (128, 400, 1.0, None, False),
        (256, 1000, 0.2, 0.5, True),
    ]
    kept = dataclasses.replace(config, model_options={"picture_size": 128})
    assert [
        (s.size, s.config.lr_final_fraction, s.config.adversarial.lr_final_fraction_discriminator)
        for s in growth_stages(kept, 256)
    ] == [
        (64, 1.0, None),
        (128, 0.2, 0.5),
        (256, 0.2, 0.5),
    ]
    timed = TrainConfig(time_budget_sec=600.0, grow_share=0.25)
    assert [(s.size, s.config.time_budget_sec) for s in growth_stages(timed, 64)] == [(32, 150.0), (64, 600.0)]


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        ({"steps": 500, "time_budget_sec": None}, (200, None)),
        ({"steps": 5000, "time_budget_sec": None}, (1000, None)),
        ({"time_budget_sec": 1200.0}, (None, 180.0)),
        ({"steps": 5000, "time_budget_sec": 1200.0}, (1000, 180.0)),
    ],
)
def test_the_stage_of_32_pixels_is_short_in_long_runs(schedule, first):
    config = TrainConfig(**{"steps": None} | schedule, batch_size=8, grow_share=0.4)
    small, full = growth_stages(config, 64)
    assert (small.config.steps, small.config.time_budget_sec) == first
    assert full.config == config
    assert growth_stages(config, 128)[0].config.time_budget_sec in (None, 480.0)


def test_no_stage_is_smaller_than_the_initial_weights():
    config = TrainConfig(steps=1000, grow_share=0.4)
    sizes = {start: [s.size for s in growth_stages(config, 128, start_size=start)] for start in (64, 128, 256)}
    assert sizes == {64: [64, 128], 128: [128], 256: [128]}


@pytest.mark.parametrize(("share", "size"), [(0.0, 256), (0.4, 32)])
def test_small_images_and_runs_without_a_share_have_one_stage(share, size):
    config = TrainConfig(steps=10, grow_share=share)
    (only,) = growth_stages(config, size)
    assert (only.size, only.config, only.last) == (size, config, True)


def test_a_single_step_is_taken_at_full_size():
    assert [s.size for s in growth_stages(TrainConfig(steps=1, grow_share=0.4), 256)] == [256]
    assert [s.config.steps for s in growth_stages(TrainConfig(steps=2, grow_share=0.4), 256)] == [1, 2]


def test_shrinking_takes_the_mean_of_each_square():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8), dtype=np.uint8)
    small = downscale(LabelledImages(pixels, np.arange(3), ("a", "b", "c"), ("x", "y", "z")), 2)
    assert small.images.dtype == np.uint8
    assert small.images.shape == (3, 2, 2, 2)
    assert abs(int(small.images[1, 0, 0, 1]) - pixels[1, 0, :4, 4:].mean()) <= 0.5
    assert (small.ids, small.labels.tolist()) == (("x", "y", "z"), [0, 1, 2])


def test_only_the_full_size_makes_snapshots_and_counting_goes_on(bank, whole):
    report, handed = whole
    assert report.model.size == 64
    assert [s.step for s in report.snapshots] == [4, 6]
    assert (report.steps, report.images_seen) == (6, 24)
    ((size, how, share),) = handed
    assert (size, how) == (64, {"same_classes": True, "first_step": 3})
    assert share > 0.7
    lines = (bank.runs_dir / report.run_id / "history.jsonl").read_text().splitlines()
    times = [json.loads(line)["elapsed_sec"] for line in lines]
    assert times == sorted(times)


def test_small_stages_show_their_images_on_sheets_of_the_full_size(whole):
    report, _ = whole
    paths = sorted((report.run_dir / "grids").iterdir())
    assert [path.stem for path in paths] == ["00000002", "00000004", "00000006"]
    sheets = [imread(path) for path in paths]
    assert len({sheet.shape for sheet in sheets}) == 1
    first = sheets[0][-68:-4, -68:-4]  # its last image, inside the gap around it
    assert first.std() > 1
    assert (first[::2, ::2] == first[1::2, 1::2]).all()


@pytest.mark.parametrize(("stop", "size"), [(2, 32), (4, 64)])
def test_a_growing_run_that_was_stopped_in_any_stage_ends_with_the_same_weights(bank, whole, stop, size):
    config = small_config(**GROWING, ada_kimg=100.0 + stop)  # without effect here: another run
    asked = iter(range(100))
    stopped = train(
        bank,
        TrainRequest(DATASET, config=config, device="cpu", model_name="cut"),
        should_stop=lambda: next(asked) >= stop,
    )
    assert (stopped.finished, stopped.steps) == (False, stop)
    assert state_size(stopped.run_dir) == size
    resumed = train(bank, TrainRequest(DATASET, config=config, device="cpu", model_name=f"cut-{stop}"))
    assert _weights(bank, resumed) == _weights(bank, whole[0])


def test_a_run_that_inherits_its_images_can_be_stopped_too_and_its_model_gives_initial_weights(bank):
    options = {"model_options": SMALL["model_options"] | {"picture_size": 32}}
    whole = train(
        bank, TrainRequest(DATASET, config=small_config(**GROWING, **options), device="cpu", model_name="kept")
    )
    assert [s.step for s in whole.snapshots] == [3, 4, 6]
    config = small_config(**GROWING, **options, ada_kimg=101.0)  # without effect here: another run
    asked = iter(range(100))
    stopped = train(bank, TrainRequest(DATASET, config=config, device="cpu"), should_stop=lambda: next(asked) >= 4)
    assert (stopped.steps, state_size(stopped.run_dir)) == (4, 64)
    resumed = train(bank, TrainRequest(DATASET, config=config, device="cpu", model_name="kept-too"))
    assert _weights(bank, resumed) == _weights(bank, whole)
    resolved = configure(bank, TrainRequest(DATASET, overrides={"init": "kept"}))
    assert resolved.config.model_options == options["model_options"]
    assert any(r.startswith("networks: ") and "picture_size 32" in r for r in resolved.reasons)
    chosen = {"init": "kept", "model_options": {"width": 0.5}}
    assert configure(bank, TrainRequest(DATASET, overrides=chosen)).config.model_options == {"width": 0.5}


def test_a_run_whose_schedule_was_cut_before_its_full_size_is_not_published(bank):
    def config(sec):
        schedule = {"steps": None, "time_budget_sec": sec, "grow_share": 0.5, "precision": "32-true"}
        return small_config(**GROWING | schedule, seed=5)

    asked = iter([False, False, True])
    stopped = train(bank, TrainRequest(DATASET, config=config(600.0), device="cpu"), should_stop=lambda: next(asked))
    assert not stopped.finished
    for _ in range(2):  # asking again does not get it published either
        with pytest.raises(StateError, match="full size"):
            train(bank, TrainRequest(DATASET, config=config(1e-3), device="cpu", model_name="cut"))
    assert state_size(stopped.run_dir) == 32
    asked = iter([False, True])
    longer = train(bank, TrainRequest(DATASET, config=config(600.0), device="cpu"), should_stop=lambda: next(asked))
    assert longer.steps == stopped.steps + 1


def test_a_longer_schedule_goes_on_at_full_size(bank, whole):
    config = small_config(**GROWING | {"steps": 8})
    longer = train(bank, TrainRequest(DATASET, config=config, device="cpu", model_name="longer"))
    assert (longer.run_id, longer.steps) == (whole[0].run_id, 8)
    assert [s.step for s in longer.snapshots] == [4, 6, 8]
