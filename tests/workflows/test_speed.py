"""What a configuration leaves to the machine: measured, recorded, and kept by a resumed run."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from synthbank.config import PRECISIONS, resolve_train_config
from synthbank.models import ModelSpec
from synthbank.records import LabelledImages
from synthbank.workflows.training import speed
from synthbank.workflows.training.launch import Processes
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.speed import fastest
from synthbank.workflows.training.train import train

from .conftest import DATASET, SMALL, small_config

FIRST = ("32-true", "channels_last")
ALL = {"32-true channels_last", "32-true contiguous", "bf16-mixed channels_last", "bf16-mixed contiguous"}


def open_config(**overrides):
    """Ends by time, and leaves precision and layout open."""
    return resolve_train_config("projected-quick", overrides={**SMALL, "time_budget_sec": 1200.0, **overrides})


def decide(config, *, wanted=None, run_dir=None):
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
    data = LabelledImages(images, np.arange(16) % 2, ("a", "b"))
    spec = ModelSpec("projected", 32, 3, ("a", "b"), options=config.model_options)
    return fastest(config, spec=spec, images=data, wanted=wanted or Processes("cpu"), run_dir=run_dir)


def test_every_choice_is_measured():
    choice = decide(open_config())
    assert set(choice.images_per_sec) == ALL
    assert all(rate > 0 for rate in choice.images_per_sec.values())
    assert next(iter(choice.images_per_sec)) == f"{choice.config.precision} {choice.config.layout}"


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ([10.0, 9.0, 9.0, 20.0], ("bf16-mixed", "contiguous")),
        ([10.0, 12.0, 9.0, 8.0], ("32-true", "contiguous")),
        ([10.0, 10.4, 9.0, 10.4], FIRST),  # not worth leaving the first choice
    ],
)
def test_the_fastest_is_chosen_where_it_is_clearly_faster(rates, chosen, monkeypatch):
    monkeypatch.setattr(speed, "images_per_sec", lambda *_, **__: rates)
    choice = decide(open_config())
    assert (choice.config.precision, choice.config.layout) == chosen
    assert set(choice.images_per_sec) == ALL


def test_what_is_far_behind_is_not_tried_again(monkeypatch):
    """bf16 on a processor without instructions for it."""
    steps = dict.fromkeys(PRECISIONS, 0)
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    class Trainer:
        def __init__(self, spec, config, **_):
            self.precision = config.precision

        def step(self, index, *, progress):
            steps[self.precision] += 1
            clock.now += 2.0 if self.precision == "bf16-mixed" else 0.5
            return {"loss": 0.0}

    monkeypatch.setattr(speed, "make_trainer", Trainer)
    monkeypatch.setattr(speed, "time", clock)
    choice = decide(open_config(layout="contiguous"))
    assert steps == {"32-true": 5, "bf16-mixed": 2}
    assert choice.config.precision == "32-true"
    batch = choice.config.batch_size
    assert choice.images_per_sec == {"32-true contiguous": batch / 0.5, "bf16-mixed contiguous": batch / 2.0}


def test_what_the_user_set_is_not_measured():
    assert decide(open_config(precision="bf16-mixed", layout="contiguous")).images_per_sec == {}
    choice = decide(open_config(layout="contiguous"))
    assert set(choice.images_per_sec) == {"32-true contiguous", "bf16-mixed contiguous"}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [(open_config(steps=5), Processes("cpu")), (open_config(), Processes("cpu", devices=2))],
    ids=["fixed steps", "several processes"],
)
def test_a_run_that_others_must_be_able_to_repeat_takes_the_first_choices(config, wanted):
    choice = decide(config, wanted=wanted)
    assert (choice.config.precision, choice.config.layout) == FIRST
    assert choice.images_per_sec == {}


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_are_not_measured_with(n):
    """Training says what is wrong with them."""
    images = LabelledImages(np.zeros((n, 3, 32, 32), np.uint8), np.zeros(n, np.int64), ("a",))
    spec = ModelSpec("projected", 32, 3, ("a",), options=SMALL["model_options"])
    assert fastest(open_config(), spec=spec, images=images, wanted=Processes("cpu")).images_per_sec == {}


def test_a_run_that_goes_on_keeps_what_it_began_with(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"precision": "bf16-mixed", "layout": "contiguous"}))
    choice = decide(open_config(), run_dir=tmp_path)
    assert (choice.config.precision, choice.config.layout) == ("bf16-mixed", "contiguous")
    assert choice.images_per_sec == {}


def test_a_slow_machine_measures_fewer_choices(monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    class Trainer:
        def __init__(self, spec, config, **_):
            clock.now += 4.0

        def step(self, index, *, progress):
            clock.now += 3.0
            return {"loss": 0.0}

    monkeypatch.setattr(speed, "make_trainer", Trainer)
    monkeypatch.setattr(speed, "time", clock)
    choice = decide(open_config(time_budget_sec=240.0))
    assert set(choice.images_per_sec) == {"32-true channels_last", "32-true contiguous"}
    assert choice.seconds == clock.now <= 0.15 * 240.0


def test_training_tells_and_records_what_it_chose(trained):
    events = []
    config = open_config(seed=5, snapshot_every=1000)
    request = TrainRequest(DATASET, config=config, device="cpu")
    asked = iter(range(100))
    stopped = train(trained, request, on_event=events.append, should_stop=lambda: next(asked) >= 3)
    choices = [e for e in events if e.kind == "speed"]
    assert [set(e.values) for e in choices] == [ALL]
    assert stopped.elapsed_sec > choices[0].elapsed_sec > 0  # measuring takes of the budget
    recorded = json.loads((stopped.run_dir / "config.json").read_text())
    assert f"{recorded['precision']} {recorded['layout']}" == next(iter(choices[0].values))
    events.clear()
    ended = dataclasses.replace(config, time_budget_sec=1e-3)
    report = train(trained, TrainRequest(DATASET, config=ended, device="cpu"), on_event=events.append)
    assert (report.run_id, report.finished) == (stopped.run_id, True)
    assert report.model.card["training"]["precision"] == recorded["precision"]
    assert not [e for e in events if e.kind == "speed"]


def test_bf16_and_layout_train_the_same_run_to_its_end(trained):
    report = train(
        trained,
        TrainRequest(DATASET, config=small_config(precision="bf16-mixed", layout="contiguous", steps=8), device="cpu"),
    )
    assert report.finished
    assert report.steps == 8
