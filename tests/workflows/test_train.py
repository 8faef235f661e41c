import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synthbank.catalogue import queries
from synthbank.data import IngestOptions
from synthbank.errors import BusyError, OptionError, StateError, SynthBankError, UnknownNameError
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import load_gate
from synthbank.models import load_tensors
from synthbank.records import SnapshotReference, Split
from synthbank.storage import layout
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.data.expand import expand
from synthbank.workflows.data.ingest import ingest
from synthbank.workflows.evaluation.report import gather, write_report
from synthbank.workflows.evaluation.requests import ReportRequest
from synthbank.workflows.generation.generate import newest_job
from synthbank.workflows.lease import lock_folder
from synthbank.workflows.models.transfer import push
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.run import run_name
from synthbank.workflows.training.train import train, train_per_class

from .conftest import DATASET, MODEL, small_config


def the_model(bank, name=MODEL):
    with bank.catalogue.session() as session:
        return queries.get_model(name, session=session)


def the_snapshots(bank, run_id):
    with bank.catalogue.session() as session:
        return queries.snapshots(run_id, session=session)


def test_the_published_model_is_the_snapshot_with_the_lowest_kid(trained):
    model = the_model(trained)
    snapshots = the_snapshots(trained, model.run_id)
    assert [s.step for s in snapshots] == [4, 8]
    best = min(snapshots, key=lambda s: s.scores["kid"])
    assert [s.step for s in snapshots if s.chosen] == [best.step]
    stored = trained.store.get(layout.model_key(MODEL, "generator.safetensors"))
    assert bytes_sha256(stored) == model.sha256 == best.sha256
    assert model.card["snapshot"]["step"] == best.step


def test_a_model_carries_what_screening_needs_and_where_it_came_from(trained):
    model = the_model(trained)
    stored = json.loads(trained.store.get(layout.model_key(MODEL, "model.json")))
    gate = load_gate(trained.store.get(layout.model_key(MODEL, "screen.safetensors")))
    shaped = {*stored.pop("originals"), *gate.hashes}
    assert stored == model.card
    with trained.catalogue.session() as session:
        assert sorted(shaped) == queries.model_originals(MODEL, session=session)
    assert model.card["dataset"]["training_originals"] > 50
    assert model.card["training"]["batch_size"] == 4
    screen = trained.store.get(layout.model_key(MODEL, "screen.safetensors"))
    assert bytes_sha256(screen) == model.card["screen_sha256"]


def test_terminal_card_json_and_report_name_the_originals_that_chose_the_snapshot_in_one_sentence(trained):
    n = len(load_split(trained, require_dataset(trained, DATASET), Split.VALIDATION).rows)
    sentence = SnapshotReference(n).sentence
    report = train(trained, TrainRequest(DATASET, config=small_config(), device="cpu", model_name=MODEL))
    assert report.chosen_by == sentence
    assert the_model(trained).card["snapshot"]["validation_originals"] == n
    card = trained.store.get(layout.model_key(MODEL, "card.md")).decode()
    assert f"chosen by {sentence}" in card
    job = newest_job(trained)
    assert gather(trained, job).training.chosen_by == sentence
    write_report(trained, ReportRequest(job))
    assert f"chosen by {sentence}" in trained.store.get(layout.model_key(MODEL, "card.md")).decode()


def test_a_run_folder_holds_configuration_history_grids_and_tensorboard(trained):
    folder = trained.runs_dir / the_model(trained).run_id
    assert json.loads((folder / "config.json").read_text())["steps"] == 8
    kinds = [json.loads(line)["kind"] for line in (folder / "history.jsonl").read_text().splitlines()]
    assert kinds.count("snapshot") == 2
    assert sorted(p.name for p in (folder / "grids").iterdir()) == ["00000004.png", "00000008.png"]
    assert list((folder / "tensorboard").iterdir())


def test_the_same_command_again_trains_no_further(trained):
    again = train(trained, TrainRequest(DATASET, config=small_config(), device="cpu", model_name=MODEL))
    assert again.steps == 8
    assert again.model.sha256 == the_model(trained).sha256


def test_a_longer_schedule_goes_on_with_the_same_run(trained):
    longer = train(trained, TrainRequest(DATASET, config=small_config(steps=12), device="cpu", model_name="longer"))
    assert longer.run_id == the_model(trained).run_id
    assert longer.images_seen == 12 * 4
    assert [s.step for s in longer.snapshots] == [4, 8, 12]


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(trained):
    calls = iter(range(100))
    config = small_config(seed=5)
    stopped = train(
        trained,
        TrainRequest(DATASET, config=config, device="cpu", model_name="a"),
        should_stop=lambda: next(calls) >= 3,
    )
    assert stopped.model is None
    assert stopped.steps == 3
    resumed = train(trained, TrainRequest(DATASET, config=config, device="cpu", model_name="a"))
    whole = train(trained, TrainRequest(DATASET, config=config, device="cpu", model_name="b"))
    assert resumed.run_id == whole.run_id  # the second call found it finished
    fresh = train(trained, TrainRequest(DATASET, config=replace(config, preset="paper"), device="cpu", model_name="c"))
    assert fresh.run_id == resumed.run_id


def test_another_seed_option_or_set_of_originals_is_another_run(trained):
    dataset = require_dataset(trained, DATASET)

    def name(originals=("a", "b"), only_class=None, **options):
        return run_name(dataset, small_config(**options), originals, only_class)

    assert name(seed=1) != name()
    assert name(lr_g=1e-4) != name()
    assert name(steps=99) == name()
    assert name(originals=("b", "a")) == name()
    assert name(originals=("a",)) != name()
    long = replace(dataset, name="n" * 120)
    assert run_name(long, small_config(), ("a",)) != run_name(long, small_config(seed=1), ("a",))
    assert layout.check_name(run_name(long, small_config(), ("a",)))
    assert layout.check_name(run_name(long, small_config(seed=2**62), ("a",)) + "-step12345678")


def test_one_model_for_each_class(trained):
    config = small_config(architecture="sagan", steps=2, snapshot_every=2)
    reports = train_per_class(trained, TrainRequest(DATASET, config=config, device="cpu", model_name="each"))
    assert [r.model.id for r in reports] == ["each-dab_negative", "each-dab_positive"]
    for report, name in zip(reports, ("dab_negative", "dab_positive"), strict=True):
        assert report.model.class_names == (name,)
        tensors = load_tensors(trained.store.get(layout.model_key(report.model.id, "generator.safetensors")))
        assert not [k for k in tensors if "offset" in k]  # unconditional


def test_classes_whose_names_differ_in_a_sign_get_models_of_their_own(trained, tmp_path):
    images = load_split(trained, require_dataset(trained, DATASET), Split.TRAIN).images.images
    for i, name in enumerate(("HER2+", "HER2-")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k, pixels in enumerate(images[i::2][:12]):
            Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "set" / name / f"{k}.png")
    ingest(trained, tmp_path / "set", name="her2", options=IngestOptions(size=32))
    config = small_config(architecture="sagan", steps=1, snapshot_every=1)
    reports = train_per_class(trained, TrainRequest("her2", config=config, device="cpu", model_name="her2"))
    assert [r.model.class_names for r in reports] == [("HER2+",), ("HER2-",)]
    assert len({r.run_id for r in reports}) == len({r.model.id for r in reports}) == 2
    assert len({r.model.sha256 for r in reports}) == 2


def test_training_on_the_affine_expansion_uses_the_copies(trained):
    report = train(
        trained,
        TrainRequest(DATASET, config=small_config(steps=2, offline_expansion=True), device="cpu", model_name="wide"),
    )
    assert report.finished
    with trained.catalogue.session() as session:
        dataset = queries.get_dataset(DATASET, session=session)
        assert len(queries.list_expansions(dataset.id, session=session)) > 100


def test_a_class_too_small_to_train_on_says_what_to_do(trained, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "set" / "a" / "only.png")
    ingest(trained, tmp_path / "set", name="tiny")
    for config in (small_config(steps=1), small_config(steps=1, offline_expansion=True)):
        with pytest.raises(StateError, match="too few training originals"):
            train(trained, TrainRequest("tiny", config=config, device="cpu"))


def test_a_class_that_only_the_test_split_has_is_named(trained, tmp_path):
    rng = np.random.default_rng(0)
    for place in ("train/a", "test/a", "test/b"):
        (tmp_path / "set" / place).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                tmp_path / "set" / place / f"{i}.png"
            )
    ingest(trained, tmp_path / "set", name="halved", options=IngestOptions(size=32))
    with pytest.raises(StateError, match=r"no training original. Got: b"):
        train(trained, TrainRequest("halved", config=small_config(steps=1), device="cpu"))


def test_a_run_that_fails_says_so_in_the_catalogue(trained):
    def fall_over(event):
        raise RuntimeError("the disk is full")

    config = small_config(seed=8)
    with pytest.raises(RuntimeError, match="the disk is full"):
        train(trained, TrainRequest(DATASET, config=config, device="cpu"), on_event=fall_over)
    with trained.catalogue.session() as session:
        (run,) = [r for r in queries.list_runs(session=session) if r.seed == 8]
    assert (run.status, run.status_reason) == ("failed", "the disk is full")


def test_two_processes_do_not_train_one_run(trained):
    busy = pytest.raises(BusyError, match="Another process works on this training run")
    with lock_folder(trained.runs_dir / the_model(trained).run_id, "training run"), busy:
        train(trained, TrainRequest(DATASET, config=small_config(), device="cpu", model_name=MODEL))
    assert train(trained, TrainRequest(DATASET, config=small_config(), device="cpu", model_name=MODEL)).finished


def _files(bank, name):
    names = ("generator.safetensors", "discriminator.safetensors", "screen.safetensors", "model.json", "card.md")
    return {n: bank.store.get(layout.model_key(name, n)) for n in names}


@pytest.mark.parametrize("better", [True, False])
def test_a_longer_run_leaves_the_published_model_as_it_is(trained, monkeypatch, better):
    kid = iter(range(10, 0, -1) if better else range(10))
    scores = {"real_diversity": 1.0, "fake_diversity": 1.0}
    monkeypatch.setattr(
        "synthbank.workflows.training.growth.snapshot_scorer",
        lambda reference: lambda images: {"kid": next(kid)} | scores,
    )
    config = small_config(seed=6, snapshot_every=2, steps=2)
    first = train(trained, TrainRequest(DATASET, config=config, device="cpu")).model
    before = _files(trained, first.id)
    longer = train(trained, TrainRequest(DATASET, config=replace(config, steps=4), device="cpu")).model
    assert first.id == first.run_id == longer.run_id
    assert longer.id == (f"{first.id}-step4" if better else first.id)
    assert _files(trained, first.id) == before
    assert the_model(trained, first.id) == first


def test_a_name_that_is_taken_or_invalid_is_refused_before_the_training(trained):
    before = _files(trained, MODEL)

    def fail():
        raise AssertionError("training began")

    for name, refusal in ((MODEL, "taken by another model"), ("My Model", "use 'my-model'")):
        with pytest.raises(SynthBankError, match=refusal):
            train(
                trained,
                TrainRequest(DATASET, config=small_config(seed=9), device="cpu", model_name=name),
                should_stop=fail,
            )
    assert _files(trained, MODEL) == before


def test_after_a_withdrawal_another_run_begins_without_the_original(trained):
    dataset = require_dataset(trained, DATASET)
    gone = load_split(trained, dataset, Split.TRAIN).images.ids[0]
    with trained.catalogue.session() as session:
        queries.withdraw_original(gone, session=session)
    again = train(trained, TrainRequest(DATASET, config=small_config(), device="cpu", model_name="again"))
    assert again.run_id != the_model(trained).run_id
    with trained.catalogue.session() as session:
        shaped = queries.model_originals("again", session=session)
    left = [i for split in (Split.TRAIN, Split.VALIDATION) for i in load_split(trained, dataset, split).images.ids]
    assert shaped == sorted(left)
    assert gone not in shaped


def test_an_original_that_is_withdrawn_during_the_training_stops_the_publication(trained):
    gone = load_split(trained, require_dataset(trained, DATASET), Split.TRAIN).images.ids[0]

    def withdraw(event):
        with trained.catalogue.session() as session:
            queries.withdraw_original(gone, session=session)

    with pytest.raises(StateError, match="depends on an original that was withdrawn"):
        train(
            trained,
            TrainRequest(DATASET, config=small_config(seed=4, steps=2), device="cpu", model_name="late"),
            on_event=withdraw,
        )
    with trained.catalogue.session() as session:
        assert queries.find_model("late", session=session) is None


def test_the_users_own_expansion_is_the_one_that_is_trained_on(trained):
    assert expand(trained, DATASET, to=180, seed=3).is_new
    kept = expand(trained, DATASET)
    assert (kept.is_new, kept.n_originals + kept.n_copies) == (False, 180)
    report = train(
        trained,
        TrainRequest(DATASET, config=small_config(steps=1, offline_expansion=True), device="cpu", model_name="own"),
    )
    assert report.finished
    with pytest.raises(OptionError, match="another expansion already"):
        expand(trained, DATASET, seed=4)


def test_an_unknown_feature_network_is_refused_before_there_is_a_run(trained):
    config = small_config(seed=9, model_options={"width": 0.25, "mixing": 16, "feature_network": "lite2"})
    with pytest.raises(UnknownNameError, match=r"feature network.*Got: lite2.*Allowed: lite0, lite1"):
        train(trained, TrainRequest(DATASET, config=config, device="cpu"))
    with trained.catalogue.session() as session:
        assert [r.seed for r in queries.list_runs(session=session)] == [small_config().seed]


def test_an_unknown_device_or_preset_is_named(trained):
    with pytest.raises(OptionError, match="device"):
        train(trained, TrainRequest(DATASET, config=small_config(), device="tpu"))
    with pytest.raises(OptionError, match="preset"):
        configure(trained, TrainRequest(DATASET, preset="best"))


def test_auto_fits_the_time_to_the_size_and_the_command_line_wins(trained):
    auto = configure(trained, TrainRequest(DATASET))
    assert auto.config.time_budget_sec == 5 * 60
    assert "training images" in auto.reasons[0]
    given = configure(trained, TrainRequest(DATASET, overrides={"steps": 7}))
    assert (given.config.steps, given.config.time_budget_sec) == (7, None)
    assert not [r for r in given.reasons if r.startswith("time")]


def test_auto_zooms_into_tissue_but_not_into_single_objects_and_says_why(trained, tmp_path):
    y, x = np.mgrid[:32, :32] - 15.5
    for i in range(24):
        rng = np.random.default_rng(i)
        field = rng.integers(120, 250, (32, 32, 3))
        cell = (x**2 + y**2 < rng.integers(50, 120))[..., None]
        folder = tmp_path / "cells" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(cell, field // 3, field).astype(np.uint8)).save(folder / f"{i}.png")
    ingest(trained, str(tmp_path / "cells"), name="cells", options=IngestOptions(size=32))
    tissue = configure(trained, TrainRequest(DATASET))
    cells = configure(trained, TrainRequest("cells"))
    assert ("zoom" in tissue.config.adversarial.augment_d, tissue.config.batch_size) == (True, 16)
    assert (cells.config.adversarial.augment_d, cells.config.batch_size) == (("colour", "translation"), 8)
    assert (tissue.config.adversarial.ada_target, cells.config.adversarial.ada_target) == (0.0, 0.6)
    assert (
        tissue.config.adversarial.lr_final_fraction_discriminator,
        cells.config.adversarial.lr_final_fraction_discriminator,
    ) == (None, 1.0)
    plain = configure(trained, TrainRequest("cells", overrides={"augment_d": []}))
    assert (plain.config.adversarial.augment_d, plain.config.adversarial.ada_target) == ((), 0.0)
    assert not [r for r in plain.reasons if r.startswith(("kind", "augmentation"))]
    assert [r.split()[1].strip(",:") for r in (*tissue.reasons, *cells.reasons) if r.startswith("kind:")] == [
        "tissue",
        "single",
    ]


def test_auto_does_not_give_reasons_for_what_the_user_chose(trained):
    def prefixes(**overrides):
        resolved = configure(trained, TrainRequest(DATASET, overrides=overrides))
        return {r.split(":")[0] for r in resolved.reasons if ":" in r}

    everything = prefixes()
    assert {"time", "average", "learning rates", "kind", "batch", "start"} == everything
    assert prefixes(batch_size=4) == everything - {"batch"}
    fresh = prefixes(init="none", ema_decay=0.9)
    assert fresh == everything - {"start", "average"} | {"generator's learning rate"}


def test_auto_starts_from_weights_of_other_images_unless_told_not_to(trained):
    assert configure(trained, TrainRequest(DATASET)).config.init == "zoo:cytology3-64"
    assert configure(trained, TrainRequest(DATASET, overrides={"init": "none"})).config.init == "none"
    assert configure(trained, TrainRequest(DATASET, preset="quick")).config.init == "none"
    assert configure(trained, TrainRequest(DATASET, architecture="stylegan2")).config.init == "none"


@pytest.mark.parametrize("preset", ["auto", "quick"])
def test_the_generator_learns_faster_from_scratch(trained, preset):
    def rates(**overrides):
        resolved = configure(trained, TrainRequest(DATASET, preset=preset, overrides=overrides))
        said = any(r.startswith("generator's learning rate: 0.004") for r in resolved.reasons)
        return resolved.config.lr_g, resolved.config.adversarial.lr_d, said

    assert rates(init="none") == (4e-3, 5e-4, True)
    assert rates(init="zoo:cytology3-64") == (5e-4, 5e-4, False)
    assert rates(init="none", lr_g=1e-4) == (1e-4, 5e-4, False)
    assert rates() == ((4e-3, 5e-4, True) if preset == "quick" else (5e-4, 5e-4, False))


def test_auto_grows_up_to_a_size_that_no_initial_weights_have(trained):
    ingest(trained, "sample:ihc", name="larger", options=IngestOptions(size=64))
    started = configure(trained, TrainRequest("larger"))
    fresh = configure(trained, TrainRequest("larger", overrides={"init": "none"}))
    tiny = configure(trained, TrainRequest(DATASET, overrides={"init": "none"}))
    assert (started.config.grow_share, fresh.config.grow_share, tiny.config.grow_share) == (0.0, 0.4, 0.0)
    grows = [any(r.startswith("growth") for r in resolved.reasons) for resolved in (started, fresh, tiny)]
    assert grows == [False, True, False]


def test_auto_does_not_grow_from_initial_weights_of_full_size(trained):
    ingest(trained, "sample:ihc", name="larger", options=IngestOptions(size=64))
    resolved = configure(trained, TrainRequest("larger", overrides={"init": "zoo:ihc-64"}))
    assert resolved.config.grow_share == 0.0
    assert not [r for r in resolved.reasons if r.startswith("growth")]


@pytest.mark.parametrize("preset", ["auto", "quick"])
@pytest.mark.parametrize("options", [{"init": "none"}, {"steps": 7}, {"steps": 7, "time_budget_sec": 9.0}])
def test_a_file_says_what_the_command_line_would(trained, tmp_path, preset, options):
    ingest(trained, "sample:ihc", name="larger", options=IngestOptions(size=64))
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(options))
    said = [
        configure(trained, TrainRequest("larger", preset=preset, **how))
        for how in ({"file": file}, {"overrides": options})
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(("size", "grows"), [(128, 0.0), (256, 0.4)])
def test_auto_starts_large_images_from_weights_of_128_pixels(trained, size, grows):
    ingest(trained, "sample:ihc", name="large", options=IngestOptions(size=size))
    config = configure(trained, TrainRequest("large")).config
    assert (config.init, config.grow_share) == ("zoo:cytology3-128", grows)


@pytest.mark.parametrize(("size", "share", "options"), [(64, 0.4, {}), (256, 0.75, {"picture_size": 64})])
def test_from_scratch_large_images_keep_those_of_64_pixels(trained, size, share, options):
    ingest(trained, "sample:ihc", name="large", options=IngestOptions(size=size))
    config = configure(trained, TrainRequest("large", overrides={"init": "none"})).config
    assert (config.grow_share, config.model_options) == (share, options)


def test_auto_does_not_start_from_weights_that_know_these_images(trained, tmp_path, monkeypatch):
    """A model trained on them has seen what is held out now, or the same fields at another size."""
    push(trained, MODEL, str(tmp_path / "pushed"))
    monkeypatch.setattr("synthbank.workflows.training.configure.START", str(tmp_path / "pushed"))
    images = load_split(trained, require_dataset(trained, DATASET), Split.TRAIN).images
    for i, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
        folder = tmp_path / "larger" / images.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).resize((64, 64)).save(folder / f"{i}.png")
    ingest(trained, tmp_path / "larger", name="larger", options=IngestOptions(size=64))
    for name in (DATASET, "larger"):
        resolved = configure(trained, TrainRequest(name))
        assert resolved.config.init == "none"
        assert [r for r in resolved.reasons if r.startswith("start: from scratch")]
