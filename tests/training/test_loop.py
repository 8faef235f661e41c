"""Real runs of a few steps: history, snapshots, stopping, resuming, budgets, and what happens when a loss is NaN."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from synthbank.config import TrainConfig, read_train_config
from synthbank.data import EpochSampler
from synthbank.errors import IntegrityError, StateError, TrainingError
from synthbank.models import (
    AdversarialArchitecture,
    ModelSpec,
    architectures,
    load_fused,
    load_tensors,
    read_header,
    save_tensors,
    state_fingerprint,
)
from synthbank.records import LabelledImages
from synthbank.storage import History
from synthbank.training import FitResult, Hooks, TrainingLoop, loop, make_trainer
from synthbank.training.state import read_state, write_state

from ..conftest import NARROW

CONFIG = TrainConfig(
    architecture="projected",
    model_options=NARROW["projected"],
    latent_dim=8,
    steps=12,
    batch_size=4,
    lr_final_fraction=0.1,
    snapshot_every=6,
    snapshot_images=6,
    grad_clip=5.0,
)


@pytest.fixture(scope="module")
def fabric():
    found = Fabric(accelerator="cpu", devices=1)
    found.launch()
    return found


def _images(n: int, seed: int) -> LabelledImages:
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % 2
    colour = rng.integers(60, 180, (n, 3, 1, 1)) + 40 * labels[:, None, None, None]
    pixels = (colour + rng.integers(-20, 20, (n, 3, 32, 32))).clip(0, 255).astype(np.uint8)
    return LabelledImages(pixels, labels, ("a", "b"))


def _score(images):
    pixels = images.reshape(len(images), -1).astype(float)
    distances = np.linalg.norm(pixels[:, None] - pixels[None], axis=2)
    return {"kid": float(pixels.mean()), "real_diversity": 1.0, "fake_diversity": float(distances.mean()) + 1.0}


class Run:
    """A trainer and its loop in a folder, with everything that the hooks received."""

    def __init__(
        self, folder, fabric, config=CONFIG, *, score=_score, stop_at=None, on_event=None, validation=6, train=None
    ):
        self.events, self.grids, self.folder = [], [], folder
        spec = ModelSpec(
            config.architecture, 32, 3, ("a", "b"), latent_dim=config.latent_dim, options=config.model_options
        )
        train = train or _images(10, seed=0)
        sampler = EpochSampler(train.labels, batch_size=config.batch_size, seed=config.seed, balanced=config.balanced)
        self.trainer = make_trainer(spec, config, train=train, sampler=sampler, fabric=fabric)

        def listen(event):
            self.events.append(event)
            if on_event is not None:
                on_event(self.trainer, event)

        hooks = Hooks(
            score=score,
            on_event=listen,
            on_grid=lambda step, images: self.grids.append((step, images)),
            should_stop=lambda: stop_at is not None and self.loop.progress.step >= stop_at,
        )
        self.loop = TrainingLoop(
            self.trainer, config, folder=folder, validation=_images(validation, seed=1), hooks=hooks
        )

    def fit(self) -> FitResult:
        return self.loop.fit()

    def kinds(self, kind):
        return [e for e in self.events if e.kind == kind]

    @property
    def snapshots(self):
        return sorted((self.folder / "snapshots").iterdir())

    def weights(self):
        """Fingerprints of every network and optimiser."""
        tensors, values = self.trainer.state()
        parts = (*self.trainer.modules(), *self.trainer.optimizers())
        assert {"generator", "ema", "opt_g"} <= set(parts)
        found = {p: state_fingerprint({k: v for k, v in tensors.items() if k.startswith(f"{p}.")}) for p in parts}
        assert sum(len([k for k in tensors if k.startswith(f"{p}.")]) > 4 for p in parts) == len(parts)
        return found | values


def _config(name, **changes):
    networks = {"architecture": name, "model_options": NARROW.get(name, {})}
    return read_train_config(CONFIG.to_json() | networks | changes)


def _adversarial(name):
    return isinstance(architectures.get(name), AdversarialArchitecture)


@pytest.fixture(scope="module", params=architectures.names())
def whole(request, fabric, tmp_path_factory):
    """One uninterrupted run of each architecture."""
    run = Run(tmp_path_factory.mktemp(request.param), fabric, _config(request.param))
    run.result = run.fit()
    return run


def test_a_run_ends_where_its_schedule_ends(whole):
    result = whole.result
    assert (result.finished, result.step, result.images_seen, result.rollbacks) == (True, 12, 48, 0)
    assert result.elapsed_sec > 0


def test_training_moves_every_network(whole, fabric, tmp_path):
    fresh = Run(tmp_path, fabric, whole.loop.config).trainer.state()[0]
    now = whole.trainer.state()[0]
    networks = whole.trainer.modules()
    trained = [k for k in fresh if k.split(".")[0] in networks and "weight" in k]
    moved = [k for k in trained if not torch.equal(fresh[k], now[k])]
    assert {k.split(".")[0] for k in moved} == set(networks)
    assert all(v.isfinite().all() for v in now.values())
    last = [k.removeprefix("ema.") for k in now if k.startswith("ema.") and "to_pixels" in k and k.endswith("bias")]
    assert last
    assert not torch.equal(now[f"ema.{last[-1]}"], now[f"generator.{last[-1]}"])


def test_snapshots_are_made_at_their_steps_and_hold_what_was_scored(whole):
    assert [p.name for p in whole.snapshots] == ["00000006.safetensors", "00000012.safetensors"]
    assert [step for step, _ in whole.grids] == [6, 12]
    data = whole.snapshots[-1].read_bytes()
    spec = ModelSpec.from_json(read_header(data))
    assert spec == whole.trainer.spec
    images = whole.grids[-1][1]
    assert images.shape == (6, 3, 32, 32)
    again = whole.trainer.sample(load_fused(spec, load_tensors(data)), np.arange(6) % 2)
    assert abs(again.astype(int) - images).max() <= 1
    event = whole.kinds("snapshot")[-1]
    assert event.values["kid"] == _score(images)["kid"]
    logits = {"logit_of_train", "logit_of_validation", "logit_of_fake"}
    assert set(event.values) & logits == (logits if _adversarial(spec.architecture) else set())


def test_the_history_is_what_the_hooks_received_but_for_progress(whole):
    written = list(History(whole.folder))
    assert written == [e for e in whole.events if e.kind != "progress"]
    assert [e.step for e in written if e.kind == "snapshot"] == [6, 12]
    assert all(e.images_seen == 4 * e.step for e in written)
    assert [e.elapsed_sec for e in written] == sorted(e.elapsed_sec for e in written)
    progress = whole.kinds("progress")
    assert [e.step for e in progress] == [6, 10, 12]
    metrics = {"loss_d", "loss_g", "logit_real", "logit_fake"}
    assert set(progress[0].values) == (metrics if _adversarial(whole.trainer.spec.architecture) else {"loss"})


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole, fabric, tmp_path):
    config = whole.loop.config
    for stop_at in (3, 6, 11):
        part = Run(tmp_path, fabric, config, stop_at=stop_at)
        result = part.fit()
        assert (result.finished, result.step) == (False, stop_at)
        assert part.weights() != whole.weights()
    last = Run(tmp_path, fabric, config)
    result = last.fit()
    assert (result.finished, result.step, result.images_seen) == (True, 12, 48)
    assert last.weights() == whole.weights()
    assert [p.name for p in last.snapshots] == [p.name for p in whole.snapshots]
    for mine, theirs in zip(last.snapshots, whole.snapshots, strict=True):
        assert mine.read_bytes() == theirs.read_bytes()

    def timeless(run):
        return [dataclasses.replace(e, elapsed_sec=0) for e in History(run.folder)]

    assert timeless(last) == timeless(whole)


def test_adaptive_augmentation_and_lazy_penalties_resume_bit_for_bit(fabric, tmp_path):
    config = _config(
        "sagan",
        steps=7,
        loss="relativistic",
        r1_gamma=1.0,
        r2_gamma=0.5,
        penalty_every=3,
        ada_target=0.1,
        ada_kimg=0.05,
        augment_d=("stain", "geometry"),
    )
    whole = Run(tmp_path / "whole", fabric, config)
    whole.fit()
    assert Run(tmp_path / "part", fabric, config, stop_at=4).fit().step == 4
    last = Run(tmp_path / "part", fabric, config)
    last.fit()
    assert last.weights() == whole.weights()
    assert last.trainer.strength.p.item() == whole.trainer.strength.p.item() > 0


def test_penalties_come_at_their_steps_and_weigh_as_much_more(fabric, tmp_path):
    every_step = Run(tmp_path / "a", fabric, _config("sagan", r1_gamma=1.0)).trainer
    lazy = Run(tmp_path / "b", fabric, _config("sagan", r1_gamma=1.0, penalty_every=2)).trainer
    first, first_lazy = (t.step(0, progress=0.0) for t in (every_step, lazy))
    assert first_lazy["penalty"].item() == pytest.approx(2 * first["penalty"].item(), rel=1e-5)
    assert "penalty" in every_step.step(1, progress=0.0)
    assert "penalty" not in lazy.step(1, progress=0.0)
    assert "penalty" in lazy.step(2, progress=0.0)


def test_a_finished_run_is_not_trained_again(whole, fabric):
    again = Run(whole.folder, fabric, whole.loop.config)
    before = (whole.folder / "history.jsonl").read_bytes()
    assert again.fit().step == 12
    assert again.weights() == whole.weights()
    assert not again.grids
    assert (whole.folder / "history.jsonl").read_bytes() == before


def test_the_same_seed_repeats_and_another_seed_does_not(fabric, tmp_path):
    def train(name, seed):
        run = Run(tmp_path / name, fabric, _config("projected", steps=4, seed=seed))
        run.fit()
        return run.weights()

    first = train("one", 0)
    assert train("two", 0) == first
    other = train("three", 1)
    assert all(first[p] != other[p] for p in ("generator", "discriminator", "ema", "opt_g", "opt_d"))


def test_a_longer_schedule_resumes_at_the_end_of_a_shorter_one(fabric, tmp_path):
    assert Run(tmp_path, fabric, _config("projected", steps=6)).fit().step == 6
    longer = Run(tmp_path, fabric, _config("projected", steps=8))
    assert longer.fit().step == 8
    assert [e.step for e in History(tmp_path) if e.kind == "snapshot"] == [6, 8]


@pytest.mark.parametrize(("every", "expected"), [(4, [4, 8, 10]), (None, list(range(1, 11))), (50, [10])])
def test_snapshot_intervals(every, expected, fabric, tmp_path):
    run = Run(tmp_path, fabric, _config("projected", steps=10, snapshot_every=every))
    run.fit()
    assert [step for step, _ in run.grids] == expected


def test_status_lines_are_means_over_their_steps(fabric, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_STATUS_EVERY", 5)
    monkeypatch.setattr(loop, "_CHECK_EVERY", 1)
    run = Run(tmp_path, fabric, _config("projected", steps=10, snapshot_every=10))
    run.fit()
    status = [e for e in History(tmp_path) if e.kind == "status"]
    assert [e.step for e in status] == [5, 10]
    each = [e.values["loss_d"] for e in run.kinds("progress")]
    assert len(each) == 10
    assert status[0].values["loss_d"] == pytest.approx(np.mean(each[:5]))
    assert status[1].values["loss_d"] == pytest.approx(np.mean(each[5:]))


def test_the_learning_rate_falls_over_the_second_half(fabric, tmp_path):
    trainer = Run(tmp_path, fabric).trainer
    for progress, share in ((0.0, 1.0), (0.5, 1.0), (0.75, 0.55), (1.0, 0.1)):
        trainer.step(0, progress=progress)
        assert trainer.opt_g.param_groups[0]["lr"] == pytest.approx(CONFIG.lr_g * share)
        assert trainer.opt_d.param_groups[0]["lr"] == pytest.approx(CONFIG.adversarial.lr_d * share)


def test_the_discriminator_may_keep_its_learning_rate(fabric, tmp_path):
    trainer = Run(tmp_path, fabric, _config("projected", lr_final_fraction_discriminator=1.0)).trainer
    trainer.step(0, progress=1.0)
    assert trainer.opt_g.param_groups[0]["lr"] == pytest.approx(CONFIG.lr_g * 0.1)
    assert trainer.opt_d.param_groups[0]["lr"] == pytest.approx(CONFIG.adversarial.lr_d)


def test_a_run_without_validation_images_is_not_watched_for_overfitting(fabric, tmp_path):
    run = Run(tmp_path, fabric, _config("projected", steps=4), validation=0)
    run.fit()
    assert not any(k.startswith("logit_of") for k in run.kinds("snapshot")[0].values)


def test_the_discriminator_is_asked_of_reals_of_every_class(fabric, tmp_path):
    """Originals are sorted by class, and few validation images are a reason to ask of few."""
    images = _images(20, seed=0)
    run = Run(tmp_path, fabric, validation=1, train=images.take(np.argsort(images.labels, kind="stable")))
    asked, mean_logit = [], run.trainer.mean_logit

    def listen(images, labels):
        asked.append(labels.tolist())
        return mean_logit(images, labels)

    run.trainer.mean_logit = listen
    run.fit()
    assert asked[:2] == [[0, 0, 1, 1], [0]]


def test_collapse_is_written_down(fabric, tmp_path):
    def score(images):
        return {"kid": 1.0, "real_diversity": 10.0, "fake_diversity": 1.0}

    run = Run(tmp_path, fabric, _config("projected", steps=4), score=score)
    run.fit()
    (event,) = [e for e in History(tmp_path) if e.kind == "guard"]
    assert event.values["name"] == "mode_collapse"
    assert event.values["value"] == pytest.approx(0.1)


def _forge_progress(folder, **changed):
    tensors, values = read_state(folder)
    values["progress"] |= changed
    write_state(folder, tensors, values)


def test_a_budget_counts_the_time_that_was_spent_before(fabric, tmp_path):
    config = _config("projected", steps=None, time_budget_sec=60.0, snapshot_every=1000)
    assert not Run(tmp_path, fabric, config, stop_at=2).fit().finished
    _forge_progress(tmp_path, elapsed_sec=59.8)
    start = time.monotonic()
    result = Run(tmp_path, fabric, config).fit()
    assert time.monotonic() - start < 30
    assert result.finished
    assert result.step > 2
    assert result.elapsed_sec >= 60
    again = Run(tmp_path, fabric, config).fit()
    assert (again.finished, again.step) == (True, result.step)


def test_an_exhausted_budget_trains_no_further_step(fabric, tmp_path):
    config = _config("projected", steps=None, time_budget_sec=60.0, snapshot_every=1000)
    Run(tmp_path, fabric, config, stop_at=2).fit()
    _forge_progress(tmp_path, elapsed_sec=61.0)
    run = Run(tmp_path, fabric, config)
    result = run.fit()
    assert (result.finished, result.step) == (True, 2)
    assert [step for step, _ in run.grids] == [2]  # even so there is something to publish


def test_a_time_budget_makes_a_snapshot_each_sixth_of_it(fabric, tmp_path):
    config = _config("projected", steps=None, time_budget_sec=6000.0, snapshot_every=None)
    Run(tmp_path, fabric, config, stop_at=2).fit()
    _forge_progress(tmp_path, elapsed_sec=990.0)
    young = Run(tmp_path, fabric, config, stop_at=3)
    young.fit()
    assert not young.grids
    _forge_progress(tmp_path, elapsed_sec=1010.0)
    due = Run(tmp_path, fabric, config, stop_at=6)
    due.fit()
    assert [step for step, _ in due.grids] == [4]  # and the next one only 1000 seconds later


@pytest.mark.parametrize(
    ("elapsed", "cost", "score", "shown"),
    [
        (201.0, 15.0, _score, True),
        (201.0, 25.0, _score, False),  # or a quarter of the time would go into snapshots
        (251.0, 25.0, _score, True),
        (545.0, 1.0, _score, True),
        (555.0, 1.0, _score, False),  # there is one at the end
        (290.0, 1.0, None, False),
        (310.0, 1.0, None, True),
    ],
)
def test_snapshots_take_a_tenth_of_a_timed_run_at_most_and_wait_for_its_end(
    elapsed, cost, score, shown, fabric, tmp_path
):
    config = _config("projected", steps=None, time_budget_sec=600.0, snapshot_every=None)
    Run(tmp_path, fabric, config, stop_at=2, score=score).fit()
    _forge_progress(tmp_path, elapsed_sec=elapsed, last_snapshot_sec=0.0, snapshot_cost_sec=cost)
    run = Run(tmp_path, fabric, config, stop_at=4, score=score)
    run.fit()
    assert bool(run.grids) == shown


def test_what_a_snapshot_took_is_remembered(fabric, tmp_path):
    def score(images):
        time.sleep(0.2)
        return _score(images)

    Run(tmp_path, fabric, _config("projected", steps=2, snapshot_every=2), score=score).fit()
    progress = read_state(tmp_path)[1]["progress"]
    assert 0.2 < progress["snapshot_cost_sec"] < progress["last_snapshot_sec"] <= progress["elapsed_sec"]


def _poison(trainer):
    with torch.no_grad():
        next(p for p in trainer.generator.module.parameters() if p.requires_grad).fill_(float("nan"))


@pytest.fixture
def _look_often(monkeypatch):
    monkeypatch.setattr(loop, "_CHECK_EVERY", 2)


def _poison_at(step, *, rollbacks=range(9)):
    """A listener that breaks a weight when the run gets there."""

    def on_event(trainer, event):
        if event.kind == "progress" and event.step == step and trainer.rollbacks in rollbacks:
            _poison(trainer)

    return on_event


@pytest.mark.usefixtures("_look_often")
def test_a_nan_rolls_back_to_the_last_state_at_half_the_learning_rate(fabric, tmp_path):
    run = Run(tmp_path, fabric, on_event=_poison_at(8, rollbacks=[0]))
    result = run.fit()
    assert (result.finished, result.step, result.rollbacks) == (True, 12, 1)
    (guard,) = run.kinds("guard")
    assert guard.values["name"] == "not_finite"
    assert guard.step == 10
    (rollback,) = run.kinds("rollback")
    assert rollback.values == {"rollbacks": 1, "lr_scale": 0.5}
    assert rollback.step == 6  # the last state
    assert run.trainer.opt_g.param_groups[0]["lr"] < 0.5 * CONFIG.lr_g
    tensors, _ = run.trainer.state()
    assert all(v.isfinite().all() for v in tensors.values())
    assert [p.stem for p in run.snapshots] == ["00000006", "00000012"]
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [e["kind"] for e in lines] == ["snapshot", "guard", "rollback", "snapshot"]


def test_a_roll_back_takes_other_random_choices(fabric, tmp_path):
    trainer = Run(tmp_path, fabric).trainer
    before = torch.rand(3, generator=trainer._rng("step", 5))
    trainer.rollbacks = 1
    assert not torch.equal(torch.rand(3, generator=trainer._rng("step", 5)), before)


@pytest.mark.usefixtures("_look_often")
def test_the_fourth_nan_ends_the_run_with_its_reason(fabric, tmp_path):
    run = Run(tmp_path, fabric, on_event=_poison_at(8))
    with pytest.raises(TrainingError, match="after 3 rollbacks") as caught:
        run.fit()
    assert "NaN" in caught.value.message
    assert "lower the learning rates" in caught.value.message
    assert caught.value.facts["step"] == 10
    assert [e.values["lr_scale"] for e in run.kinds("rollback")] == [0.5, 0.25, 0.125]
    assert len(run.kinds("guard")) == 4
    assert [p.stem for p in run.snapshots] == ["00000006"]  # kept
    written = [e.kind for e in History(tmp_path)]
    assert written.count("rollback") == 3


def test_a_state_is_never_saved_with_broken_weights(fabric, tmp_path):
    """An update can break the weights in the very step after which the state is saved; its loss was still fine."""
    poisoned = []

    def score(images):
        if not poisoned:
            poisoned.append(True)
            _poison(run.trainer)
        return _score(images)

    run = Run(tmp_path, fabric, score=score)
    result = run.fit()
    assert (result.finished, result.step, result.rollbacks) == (True, 12, 1)
    assert all(v.isfinite().all() for v in read_state(tmp_path)[0].values())
    assert _written_snapshots(run) == [p.stem for p in run.snapshots] == ["00000006", "00000012"]


def _written_snapshots(run):
    return [f"{e.step:08d}" for e in History(run.folder) if e.kind == "snapshot"]


@pytest.mark.parametrize("score", [_score, None])
def test_broken_weights_are_no_snapshot(score, fabric, tmp_path):
    """The last loss is fine, the update after it is not: the run goes back before anything is shown or written."""
    run = Run(tmp_path, fabric, score=score, on_event=_poison_at(6, rollbacks=[0]))
    result = run.fit()
    assert (result.finished, result.step, result.rollbacks) == (True, 12, 1)
    assert [e.values["message"] for e in run.kinds("guard")] == ["a weight is NaN or infinite"]
    assert run.kinds("rollback")[0].step == 0
    assert [step for step, _ in run.grids] == [6, 12]
    assert (
        _written_snapshots(run)
        == [p.stem for p in run.snapshots]
        == ([] if score is None else ["00000006", "00000012"])
    )


@pytest.mark.parametrize("broken_after", [10, 11])
def test_a_nan_in_the_last_steps_does_not_end_the_run(broken_after, fabric, tmp_path):
    """Found by the last loss, or by the weights that the last update has left."""
    run = Run(tmp_path, fabric, _config("projected", steps=11), on_event=_poison_at(broken_after, rollbacks=[0]))
    result = run.fit()
    assert (result.finished, result.step, result.rollbacks) == (True, 11, 1)
    assert run.kinds("rollback")[0].step == 6
    assert _written_snapshots(run) == [p.stem for p in run.snapshots] == ["00000006", "00000011"]
    tensors, values = read_state(tmp_path)
    assert (values["progress"]["step"], values["lr_scale"]) == (11, 0.5)
    assert all(v.isfinite().all() for v in tensors.values())


def test_an_exhausted_budget_ends_a_run_that_went_back_with_what_is_good(fabric, tmp_path):
    config = _config("projected", steps=None, time_budget_sec=60.0, snapshot_every=1000)
    Run(tmp_path, fabric, config, stop_at=2).fit()
    run = Run(tmp_path, fabric, config)
    step = run.trainer.step

    def last_step(index, *, progress):
        metrics = step(index, progress=progress)
        run.loop.progress.elapsed_sec = 61.0
        _poison(run.trainer)
        return metrics

    run.trainer.step = last_step
    result = run.fit()
    assert (result.finished, result.step, result.rollbacks) == (True, 2, 1)
    assert _written_snapshots(run) == [p.stem for p in run.snapshots] == ["00000002"]


@pytest.mark.usefixtures("_look_often")
def test_roll_backs_survive_a_stop(fabric, tmp_path):
    on_event = _poison_at(8, rollbacks=[0])
    part = Run(tmp_path / "part", fabric, on_event=on_event, stop_at=11)
    assert part.fit().rollbacks == 1
    last = Run(tmp_path / "part", fabric)
    assert last.fit().rollbacks == 1
    assert last.trainer.lr_scale == 0.5
    whole = Run(tmp_path / "whole", fabric, on_event=on_event)
    whole.fit()
    assert last.weights() == whole.weights()


def test_a_damaged_state_is_refused(fabric, tmp_path):
    Run(tmp_path, fabric, CONFIG, stop_at=2).fit()
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="damaged"):
        Run(tmp_path, fabric, CONFIG).fit()


@pytest.mark.parametrize("change", ["missing", "left over", "of another shape"])
def test_a_state_of_other_networks_is_refused_in_words(change, fabric, tmp_path):
    Run(tmp_path, fabric, CONFIG, stop_at=2).fit()
    tensors, values = read_state(tmp_path)
    # a file's tensors come in any order: the first by name, and not a number alone, which has no shape to change
    name = min(k for k, tensor in tensors.items() if k.startswith("discriminator.") and tensor.ndim)
    value = tensors.pop(name)
    if change == "left over":
        tensors |= {name: value, f"{name}.more": value}
    if change == "of another shape":
        tensors[name] = torch.cat([value, value])
    write_state(tmp_path, tensors, values)
    with pytest.raises(StateError, match="another version") as error:
        Run(tmp_path, fabric, CONFIG).fit()
    assert "--seed" in error.value.next_step


@pytest.mark.parametrize("name", architectures.names())
def test_the_step_after_loading_a_state_is_the_step_without(name, fabric, tmp_path):
    """Nothing that a step depends on is outside the state, the memory layout of the moments included."""
    config = _config(name)
    run, other = Run(tmp_path / "one", fabric, config), Run(tmp_path / "other", fabric, config)
    for step in range(2):
        run.trainer.step(step, progress=0.0)
    tensors, values = run.trainer.state()
    other.trainer.load_state(load_tensors(save_tensors(tensors)), values)
    assert other.weights() == run.weights()
    for trainer in (run.trainer, other.trainer):
        trainer.step(2, progress=0.0)
    assert other.weights() == run.weights()


@pytest.mark.parametrize("name", [n for n in architectures.names() if _adversarial(n)])
def test_a_state_stored_under_earlier_names_is_resumed_bit_by_bit(name, fabric, tmp_path):
    """Runs that an earlier version left unfinished call the discriminator's last layer `judge`."""
    config = _config(name, steps=4, snapshot_every=4)
    whole = Run(tmp_path / "whole", fabric, config)
    whole.fit()
    Run(tmp_path / "part", fabric, config, stop_at=2).fit()
    tensors, values = read_state(tmp_path / "part")
    renamed = {k.replace(".to_logits.", ".judge."): v for k, v in tensors.items()}
    assert set(renamed) != set(tensors)
    write_state(tmp_path / "part", renamed, values)
    again = Run(tmp_path / "part", fabric, config)
    assert again.fit().step == 4
    assert again.weights() == whole.weights()
    assert set(again.trainer.state()[0]) == set(tensors)
