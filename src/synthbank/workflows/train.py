"""Train: a data set in, a published model out. The same command resumes a run that was cut off."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from synthbank import __version__
from synthbank.catalogue import DatasetRow, ModelRow, SnapshotRow, queries
from synthbank.config import TrainConfig
from synthbank.data import EpochSampler
from synthbank.errors import OptionError, StateError, TrainingError
from synthbank.export import model_card_markdown
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import build_gate
from synthbank.metrics import kernel_distance, pairwise_diversity
from synthbank.models import ModelSpec, baked_state, batched, load_feature_network, save_tensors
from synthbank.records import ImageSpec, JobStatus, LabelledImages, Split, TrainEvent, UInt8Images
from synthbank.reports import labelled_grid
from synthbank.storage import layout, write_atomic
from synthbank.training import (
    FitResult,
    History,
    Hooks,
    Peers,
    Progress,
    TrainingLoop,
    check_batch,
    make_trainer,
    state_size,
)
from synthbank.workflows.bank import Bank
from synthbank.workflows.ingest import DataSplit, augment, load_expansion, load_split, require_dataset
from synthbank.workflows.processes import device_words, processes
from synthbank.workflows.speed import fastest
from synthbank.workflows.stages import Stage, shrunk, stages_of
from synthbank.workflows.zoo import CARD, DISCRIMINATOR, GENERATOR, SCREEN, StartWeights, start_weights

JUDGE = "lite1"
"""Scores snapshots; not the network that `projected` looks through."""


@dataclass(frozen=True)
class TrainReport:
    """How a training command ended."""

    run_id: str
    finished: bool
    model: ModelRow | None
    """The published best snapshot; `None` while the run is not finished."""
    snapshots: tuple[SnapshotRow, ...]
    steps: int
    images_seen: int
    elapsed_sec: float
    guard_events: tuple[str, ...]
    run_dir: Path


def train(
    bank: Bank,
    dataset_name: str,
    config: TrainConfig,
    *,
    device: str = "auto",
    devices: int | None = None,
    nodes: int | None = None,
    model_name: str | None = None,
    only_class: str | None = None,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainReport:
    """Train on a data set's training split and publish the best snapshot.

    Several processes share each batch; the first one writes and publishes, and what the others return holds no model.

    Args:
        bank: where the data set is and the model goes.
        dataset_name: newest version of it.
        config: resolved; together with the data set it names the run, so the same call resumes.
        device: auto, cpu, cuda or mps.
        devices: processes on each node; more than one runs this program again, once for each. `None`: see `processes`.
        nodes: machines that run this command; `None`: see `processes`.
        model_name: of the published model; `None`: the run's id.
        only_class: train on this class alone; `None`: one conditional model of all classes.
        on_event: told every line of the history and a "progress" event every few steps.
        should_stop: asked after every step.
    """
    dataset = require_dataset(bank, dataset_name)
    run_id = run_name(dataset, config, only_class)
    run_dir = bank.runs_dir / run_id
    wanted = processes(device, devices=devices, nodes=nodes)
    check_batch(config, wanted.count)
    start = _start_weights(bank, config)
    train_split = _of_class(load_split(bank, dataset, Split.TRAIN), only_class)
    spec = spec_of(dataset, config, train_split.images.class_names)
    speed = fastest(config, spec=spec, images=train_split.images, wanted=wanted, run_dir=run_dir)
    config = speed.config
    fabric = wanted.launch(config.precision)
    peers = Peers(fabric)
    if peers.first:
        run_dir.mkdir(parents=True, exist_ok=True)
        if config.offline_expansion:
            augment(bank, dataset_name, seed=0)
        _start_run(bank, run_id, dataset, config, device_words(fabric.device, peers.count))
        write_atomic(run_dir / "config.json", json.dumps(config.to_json(), indent=2).encode())
    peers.wait()
    if speed.images_per_sec:
        on_event(TrainEvent("speed", 0, 0, 0.0, dict(speed.images_per_sec)))
    validation = _of_class(load_split(bank, dataset, Split.VALIDATION), only_class).images
    material = _Material(
        images=training_images(bank, dataset, config, train_split),
        # with hardly any validation images the score would be noise; training reals then choose, and the report says so
        reference=validation if len(validation) >= 8 else train_split.images,
        validation=validation,
    )
    found = peers.from_first(state_size(run_dir) if peers.first else None)
    begin = _Begin() if start is None else _Begin(start.networks, start.spec.class_names)
    stages = stages_of(config, spec.size, start_size=None if start is None else start.spec.size)
    left = [stage for stage in stages if found is None or stage.size >= found]
    for stage in left:
        loop = _build_loop(stage, spec, fabric, run_dir, material, begin, on_event, should_stop)
        result = _fit(bank, run_id, loop)
        if not result.finished:
            break
        if not stage.last:
            begin = _handed_on(loop)
    if not (result.finished and peers.first):
        return _report(run_id, run_dir, result, None, (), loop.history)
    judge = save_tensors(loop.trainer.judge_weights())
    model, snapshots = _publish(
        bank, run_id, dataset, config, run_dir, train_split, start, loop.history, model_name, judge
    )
    _end_run(bank, run_id, JobStatus.DONE, loop)
    return _report(run_id, run_dir, result, model, snapshots, loop.history)


def train_per_class(
    bank: Bank, dataset_name: str, config: TrainConfig, *, model_name: str | None = None, **options: Any
) -> list[TrainReport]:
    """One model for each class, as in the paper; each sees only its own class. Arguments as in `train`."""
    dataset = require_dataset(bank, dataset_name)
    reports = []
    for class_name in dataset.class_names:
        name = None if model_name is None else layout.slugify(f"{model_name}-{class_name}")
        reports.append(train(bank, dataset_name, config, model_name=name, only_class=class_name, **options))
    return reports


def run_name(dataset: DatasetRow, config: TrainConfig, only_class: str | None = None) -> str:
    """The id of the run that this data set and configuration make: the same choices, the same run."""
    subject = f"{dataset.name}-v{dataset.version}" + ("" if only_class is None else f"-{only_class}")
    return layout.slugify(f"{subject}-{config.architecture}-s{config.seed}-{config.identity()}")


def _of_class(split: DataSplit, class_name: str | None) -> DataSplit:
    """The split itself, or one class of it as a data set of its own."""
    if class_name is None:
        return split
    kept = np.flatnonzero(split.images.labels == split.images.class_names.index(class_name))
    of_class = split.images.take(kept)
    relabelled = LabelledImages(of_class.images, np.zeros_like(of_class.labels), (class_name,), of_class.ids)
    return DataSplit(tuple(split.rows[i] for i in kept), relabelled)


def spec_of(dataset: DatasetRow, config: TrainConfig, class_names: tuple[str, ...]) -> ModelSpec:
    """What the configuration builds for these classes of a data set."""
    return ModelSpec(
        architecture=config.architecture,
        size=dataset.size,
        channels=dataset.channels,
        class_names=class_names,
        latent_dim=config.latent_dim,
        symmetry=config.augment_real,
        options=config.model_options,
    )


def training_images(bank: Bank, dataset: DatasetRow, config: TrainConfig, train: DataSplit) -> LabelledImages:
    """What a run trains on: originals, with their affine copies where the configuration says so."""
    images = load_expansion(bank, dataset, train) if config.offline_expansion else train.images
    if len(images) < 2:
        raise StateError(
            "There are too few training originals",
            got=len(images),
            allowed="2 or more",
            next_step="ingest more images, or give training a larger share with --split",
        )
    return images


def judged_at(size: int) -> int:
    """Side in pixels at which frozen networks judge images of this size.

    They were trained at 224 and more: fed 64 pixels, half of their channels see hardly anything and distances are
    ruled by a few outliers.
    """
    return min(max(size, 128), 256)


def snapshot_scorer(reference: LabelledImages) -> Callable[[UInt8Images], Mapping[str, float]]:
    """KID against `reference` in a frozen space that no discriminator looks through, and both sets' diversity."""
    network = load_feature_network(JUDGE)
    side = judged_at(reference.images.shape[-1])
    real = network.embed(batched(reference.images), input_size=side)

    def score(images: UInt8Images) -> Mapping[str, float]:
        fake = network.embed(batched(images), input_size=side)
        return {
            "kid": 1000.0 * kernel_distance(real=real, fake=fake),
            "real_diversity": pairwise_diversity(real),
            "fake_diversity": pairwise_diversity(fake),
        }

    return score


@dataclass(frozen=True)
class _Material:
    """The images of a run, at full size."""

    images: LabelledImages
    """To train on."""
    reference: LabelledImages
    """To score snapshots against."""
    validation: LabelledImages
    """To watch over-fitting with."""


@dataclass(frozen=True)
class _Begin:
    """Where a stage begins."""

    networks: Mapping[str, Mapping[str, Tensor]] | None = None
    """`None`: from random weights."""
    class_names: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)


def _build_loop(
    stage: Stage,
    spec: ModelSpec,
    fabric: Fabric,
    run_dir: Path,
    material: _Material,
    begin: _Begin,
    on_event: Callable[[TrainEvent], None],
    should_stop: Callable[[], bool],
) -> TrainingLoop:
    config, spec = stage.config, dataclasses.replace(spec, size=stage.size)
    images, validation = shrunk(material.images, stage.size), shrunk(material.validation, stage.size)
    sampler = EpochSampler(images.labels, batch_size=config.batch_size, seed=config.seed, balanced=config.balanced)
    trainer = make_trainer(spec, config, train=images, sampler=sampler, fabric=fabric)
    if begin.networks is not None:
        same_classes = begin.class_names == spec.class_names
        trainer.start_from(begin.networks, same_classes=same_classes, first_step=begin.progress.step)
    if trainer.peers.first:
        recorder = _Recorder(run_dir, images.class_names, on_event, full_size=material.images.images.shape[-1])
        score = snapshot_scorer(material.reference) if stage.last else None
        hooks = Hooks(score=score, on_event=recorder.event, on_grid=recorder.grid, should_stop=should_stop)
    else:  # it neither scores nor tells
        hooks = Hooks(score=None)
    return TrainingLoop(trainer, config, folder=run_dir, validation=validation, hooks=hooks, begin=begin.progress)


def _fit(bank: Bank, run_id: str, loop: TrainingLoop) -> FitResult:
    """Run one stage; where it does not come to its end, the catalogue says why."""
    try:
        result = loop.fit()
    except TrainingError as error:
        _end_run(bank, run_id, JobStatus.FAILED, loop, reason=error.message)
        raise
    except KeyboardInterrupt:
        _end_run(bank, run_id, JobStatus.CANCELLED, loop, reason="interrupted; the same command resumes")
        raise
    if not result.finished:
        _end_run(bank, run_id, JobStatus.CANCELLED, loop, reason="stopped; the same command resumes")
    return result


def _handed_on(loop: TrainingLoop) -> _Begin:
    """What a finished stage leaves to the next one."""
    trainer, done = loop.trainer, loop.progress
    networks = {"generator": baked_state(trainer.published())}
    judge = trainer.judge_weights()
    if judge:
        networks["discriminator"] = judge
    progress = Progress(
        step=done.step,
        images_seen=done.images_seen,
        elapsed_sec=done.elapsed_sec,
        last_snapshot_sec=done.elapsed_sec,
    )
    return _Begin(networks, trainer.spec.class_names, progress)


def _start_weights(bank: Bank, config: TrainConfig) -> StartWeights | None:
    start = start_weights(bank, config.init)
    if start is not None and start.spec.architecture != config.architecture:
        raise OptionError(
            "Start weights belong to another architecture",
            got=f"{config.init}: {start.spec.architecture}",
            allowed=config.architecture,
            next_step=f"add --model {start.spec.architecture}, or another --init",
        )
    return start


class _Recorder:
    """Writes grids and TensorBoard beside the history, and passes every event on."""

    def __init__(
        self, run_dir: Path, class_names: tuple[str, ...], on_event: Callable[[TrainEvent], None], *, full_size: int
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._grids = run_dir / "grids"
        self._grids.mkdir(exist_ok=True)
        self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._class_names, self._on_event, self._full_size = class_names, on_event, full_size

    def event(self, event: TrainEvent) -> None:
        if event.kind in ("status", "snapshot"):
            for name, value in event.values.items():
                self._board.add_scalar(f"{event.kind}/{name}", value, event.step)
        self._on_event(event)

    def grid(self, step: int, images: UInt8Images) -> None:
        n, times = len(self._class_names), self._full_size // images.shape[-1]
        images = images.repeat(times, axis=2).repeat(times, axis=3)  # small stages too fill the sheet
        rows = {name: images[i::n][:12] for i, name in enumerate(self._class_names)}
        write_atomic(self._grids / f"{step:08d}.png", labelled_grid(rows))
        self._board.flush()


def _start_run(bank: Bank, run_id: str, dataset: DatasetRow, config: TrainConfig, device: str) -> None:
    with bank.catalogue.session() as session:
        queries.upsert_run(
            run_id,
            dataset_id=dataset.id,
            architecture=config.architecture,
            config=config.to_json(),
            code_version=__version__,
            device=device,
            seed=config.seed,
            status=JobStatus.RUNNING.value,
            status_reason=None,
            finished_at=None,
            session=session,
        )


def _end_run(bank: Bank, run_id: str, status: JobStatus, loop: TrainingLoop, reason: str | None = None) -> None:
    if not loop.peers.first:
        return
    events = [e.values | {"step": e.step, "kind": e.kind} for e in loop.history if e.kind in ("guard", "rollback")]
    with bank.catalogue.session() as session:
        queries.set_run_status(
            run_id,
            status,
            reason=reason,
            images_seen=loop.progress.images_seen,
            elapsed_sec=loop.progress.elapsed_sec,
            events=events,
            session=session,
        )


def _publish(
    bank: Bank,
    run_id: str,
    dataset: DatasetRow,
    config: TrainConfig,
    run_dir: Path,
    train_split: DataSplit,
    start: StartWeights | None,
    history: History,
    model_name: str | None,
    judge: bytes,
) -> tuple[ModelRow, tuple[SnapshotRow, ...]]:
    """Store every snapshot, choose the best, and publish it with what screening and later runs need."""
    scored = {e.step: e for e in history if e.kind == "snapshot"}
    best = min(scored, key=lambda step: scored[step].values["kid"])
    name = layout.check_name(model_name or run_id, "model name")
    with bank.catalogue.session() as session:
        for step, event in sorted(scored.items()):
            data = (run_dir / "snapshots" / f"{step:08d}.safetensors").read_bytes()
            key = layout.snapshot_key(run_id, step)
            bank.store.put(key, data)
            queries.upsert_snapshot(
                run_id,
                step,
                images_seen=event.images_seen,
                key=key,
                sha256=bytes_sha256(data),
                scores=event.values,
                session=session,
            )
        queries.choose_snapshot(run_id, best, session=session)
        snapshots = tuple(queries.snapshots(run_id, session=session))
    chosen = next(s for s in snapshots if s.step == best)
    spec = spec_of(dataset, config, train_split.images.class_names)
    weights = bank.store.get(chosen.key)
    gate = build_gate(train_split.images).to_bytes()
    hashes = {"weights_sha256": chosen.sha256, "screen_sha256": bytes_sha256(gate)}
    hashes["discriminator_sha256"] = bytes_sha256(judge)
    card = model_card(name, dataset, config, chosen, spec, len(train_split.rows), hashes)
    if start is not None:
        card["start"] = start.provenance()
    for filename, data in ((GENERATOR, weights), (DISCRIMINATOR, judge), (SCREEN, gate)):
        bank.store.put(layout.model_key(name, filename), data)
    bank.store.put(layout.model_key(name, CARD), json.dumps(card, indent=2).encode())
    bank.store.put(layout.model_key(name, "card.md"), model_card_markdown(card).encode())
    with bank.catalogue.session() as session:
        model = queries.publish_model(
            name,
            run_id=run_id,
            snapshot_id=chosen.id,
            dataset_id=dataset.id,
            architecture=spec.architecture,
            class_names=spec.class_names,
            spec=ImageSpec(spec.size, spec.channels, dataset.microns_per_pixel),
            key=layout.model_prefix(name),
            sha256=chosen.sha256,
            card=card,
            inherited=() if start is None else start.originals,
            session=session,
        )
    return model, snapshots


def model_card(
    name: str,
    dataset: DatasetRow,
    config: TrainConfig,
    chosen: SnapshotRow,
    spec: ModelSpec,
    n_train: int,
    hashes: Mapping[str, str],
) -> dict[str, object]:
    """What `model.json` holds: how to build the network, what it was made from, and how it scored."""
    return {
        "name": name,
        "spec": spec.to_json(),
        **hashes,
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "fingerprint": dataset.fingerprint,
            "licence": dataset.licence,
            "source": dataset.source,
            "training_originals": n_train,
        },
        "training": config.to_json(),
        "snapshot": {"step": chosen.step, "images_seen": chosen.images_seen, "scores": chosen.scores},
        "software": {"synthbank": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "not_for": "diagnosis, or any claim about a patient; synthetic images are not observations",
    }


def _report(
    run_id: str,
    run_dir: Path,
    result: FitResult,
    model: ModelRow | None,
    snapshots: tuple[SnapshotRow, ...],
    history: History,
) -> TrainReport:
    events = tuple(f"step {e.step}: {e.values['message']}" for e in history if e.kind == "guard")
    return TrainReport(
        run_id, result.finished, model, snapshots, result.step, result.images_seen, result.elapsed_sec, events, run_dir
    )
