"""Train: a data set in, a published model out. The same command resumes a run that was cut off."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from sqlalchemy.orm import Session
from torch import Tensor

from synthbank import __version__
from synthbank.catalogue import DatasetRow, ModelRow, SnapshotRow, queries
from synthbank.config import TrainConfig
from synthbank.data import EpochSampler
from synthbank.errors import OptionError, StateError
from synthbank.export import model_card_markdown
from synthbank.fingerprint import bytes_sha256, set_fingerprint
from synthbank.generation import build_gate
from synthbank.metrics import KID_SCALE, kernel_distance, pairwise_diversity
from synthbank.models import (
    SCORING_NETWORK,
    ModelSpec,
    fused_state,
    load_feature_network,
    networks_inside,
    save_tensors,
    scoring_size,
)
from synthbank.records import JobStatus, LabelledImages, Split, TrainEvent, UInt8Images
from synthbank.reports import labelled_grid
from synthbank.storage import History, layout, write_atomic
from synthbank.training import (
    FitResult,
    Hooks,
    ProcessGroup,
    Progress,
    TrainingLoop,
    check_batch,
    make_trainer,
    state_size,
)
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import DataSplit, load_split, require_dataset
from synthbank.workflows.data.expand import expand, load_expansion
from synthbank.workflows.devices import device_words
from synthbank.workflows.features import embed_images
from synthbank.workflows.lease import held
from synthbank.workflows.models.record import DISCRIMINATOR, GENERATOR, SCREEN, record_model
from synthbank.workflows.models.transfer import InitialWeights, initial_weights
from synthbank.workflows.training.growth import Stage, growth_stages, keeps_picture, shrunk
from synthbank.workflows.training.launch import is_first, processes
from synthbank.workflows.training.speed import fastest


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
    Whatever ends a run, its row in the catalogue says.

    Args:
        bank: where the data set is and the model goes.
        dataset_name: newest version of it.
        config: resolved; together with the originals it names the run, so the same call resumes.
        device: auto, cpu, cuda or mps.
        devices: processes on each node; more than one runs this program again, once for each. `None`: see `processes`.
        nodes: machines that run this command; `None`: see `processes`.
        model_name: of the published model; `None`: the run's id, and where an earlier state of the run was published
            under it, the step as well.
        only_class: train on this class alone; `None`: one conditional model of all classes.
        on_event: told every line of the history and a "progress" event every few steps.
        should_stop: asked after every step.

    Raises:
        BusyError: another process trains this run.
        StateError: there are too few originals, or `model_name` belongs to another model.
        TrainingError: a loss stayed not finite after three rollbacks at falling learning rates.
    """
    dataset = require_dataset(bank, dataset_name)
    wanted = processes(device, devices=devices, nodes=nodes)
    check_batch(config, wanted.count)
    start = _initial_weights(bank, config)
    train_split, validation = (
        _of_class(load_split(bank, dataset, split), only_class) for split in (Split.TRAIN, Split.VALIDATION)
    )
    _check_enough(train_split.images)
    originals = (*train_split.images.ids, *validation.images.ids)
    run_id = run_name(dataset, config, originals, only_class)
    if model_name is not None:
        _check_free(bank, model_name, run_id)
    spec = spec_of(dataset, config, train_split.images.class_names)
    for network in networks_inside(spec):
        load_feature_network(network)  # one that there is not is told before there is a run
    run = _Run(bank, run_id, dataset, config, spec, start, train_split, validation.images)
    with held(run.folder, "training run") if is_first() else nullcontext():
        speed = fastest(config, spec=spec, images=train_split.images, wanted=wanted, run_dir=run.folder)
        run = dataclasses.replace(run, config=speed.config)
        fabric = wanted.launch(speed.config.precision)
        process_group = ProcessGroup(fabric)
        if process_group.is_main:
            if config.offline_expansion:
                expand(bank, dataset_name)
            _enter(run, device_words(fabric.device, process_group.world_size))
        process_group.barrier()
        if speed.images_per_sec:
            on_event(TrainEvent("speed", 0, 0, 0.0, dict(speed.images_per_sec)))
        return _work(run, fabric, process_group, model_name, on_event, should_stop)


def train_per_class(
    bank: Bank, dataset_name: str, config: TrainConfig, *, model_name: str | None = None, **options: Any
) -> list[TrainReport]:
    """One model for each class, as in the paper; each sees only its own class. Arguments as in `train`."""
    dataset = require_dataset(bank, dataset_name)
    reports = []
    for class_name, folder in layout.class_folders(dataset.class_names).items():
        name = None if model_name is None else f"{model_name}-{folder}"
        reports.append(train(bank, dataset_name, config, model_name=name, only_class=class_name, **options))
    return reports


def run_name(dataset: DatasetRow, config: TrainConfig, originals: Iterable[str], only_class: str | None = None) -> str:
    """The id of the run that these choices and originals (pixel hashes) make: the same ones, the same run."""
    subject = f"{dataset.name}-v{dataset.version}" + ("" if only_class is None else f"-{only_class}")
    identity = set_fingerprint([config.identity(), *originals])[:10]
    return f"{layout.slugify(subject)[:60]}-{config.architecture}-s{config.seed}-{identity}"


def _of_class(split: DataSplit, class_name: str | None) -> DataSplit:
    """The split itself, or one class of it as a data set of its own."""
    if class_name is None:
        return split
    rows = tuple(row for row in split.rows if row.class_name == class_name)
    return DataSplit(rows, split.images.of_classes([class_name]))


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


def _check_enough(originals: LabelledImages) -> None:
    """Refuse a training split from which nothing, or nothing of one class, can be learned."""
    next_step = "ingest more images, or give training a larger share with --split"
    if len(originals) < 2:
        raise StateError(
            "There are too few training originals", got=len(originals), allowed="2 or more", next_step=next_step
        )
    counts = np.bincount(originals.labels, minlength=len(originals.class_names))
    without = [name for name, n in zip(originals.class_names, counts, strict=True) if not n]
    if without:
        raise StateError("A class has no training original", got=without, allowed="1 or more each", next_step=next_step)


def _check_free(bank: Bank, model_name: str, run_id: str) -> None:
    """Refuse a name before the training, and not after it; the run's own model may be published again."""
    layout.check_name(model_name, "model name")
    with bank.catalogue.session() as session:
        known = queries.find_model(model_name, session=session)
    if known is not None and known.run_id != run_id:
        raise StateError(
            "This model name is taken by another model",
            got=model_name,
            next_step="choose another --model-name; a published model never changes",
        )


def snapshot_scorer(reference: LabelledImages) -> Callable[[UInt8Images], Mapping[str, float]]:
    """KID against `reference` in a frozen space that no discriminator looks through, and both sets' diversity."""
    side = scoring_size(reference.images.shape[-1])
    real = embed_images(SCORING_NETWORK, reference.images, input_size=side)

    def score(images: UInt8Images) -> Mapping[str, float]:
        fake = embed_images(SCORING_NETWORK, images, input_size=side)
        return {
            "kid": KID_SCALE * kernel_distance(real=real, fake=fake),
            "real_diversity": pairwise_diversity(real),
            "fake_diversity": pairwise_diversity(fake),
        }

    return score


@dataclass(frozen=True)
class _Run:
    """One training run: what it is made from, and where it goes."""

    bank: Bank
    id: str
    dataset: DatasetRow
    config: TrainConfig
    spec: ModelSpec
    start: InitialWeights | None
    train: DataSplit
    validation: LabelledImages
    """To watch over-fitting with."""

    @property
    def folder(self) -> Path:
        return self.bank.runs_dir / self.id

    @property
    def reference(self) -> LabelledImages:
        """To score snapshots against: with hardly any validation images the score would be noise, so training
        originals choose then, and the report says so."""
        return self.validation if len(self.validation) >= 8 else self.train.images


@dataclass(frozen=True)
class _Begin:
    """Where a stage begins."""

    networks: Mapping[str, Mapping[str, Tensor]] | None = None
    """`None`: from random weights."""
    class_names: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)


def _work(
    run: _Run,
    fabric: Fabric,
    process_group: ProcessGroup,
    model_name: str | None,
    on_event: Callable[[TrainEvent], None],
    should_stop: Callable[[], bool],
) -> TrainReport:
    """All stages that are left, and the publication; however it ends, the catalogue says."""
    loop: TrainingLoop | None = None
    try:
        for loop in _stages(run, fabric, process_group, on_event, should_stop):
            result = loop.fit()
            if not result.finished:
                break
        assert loop is not None
        model, snapshots = _publish(run, loop, model_name) if result.finished and process_group.is_main else (None, ())
    except KeyboardInterrupt:
        _end(run, process_group, loop, JobStatus.CANCELLED, reason="interrupted; the same command resumes")
        raise
    except Exception as error:
        _end(run, process_group, loop, JobStatus.FAILED, reason=str(error))
        raise
    if result.finished:
        _end(run, process_group, loop, JobStatus.DONE)
    else:
        _end(run, process_group, loop, JobStatus.CANCELLED, reason="stopped; the same command resumes")
    return _report(run, result, model, snapshots, loop.history)


def _stages(
    run: _Run,
    fabric: Fabric,
    process_group: ProcessGroup,
    on_event: Callable[[TrainEvent], None],
    should_stop: Callable[[], bool],
) -> Iterator[TrainingLoop]:
    """The loop of each stage that is left; each begins with what the one before has left when it is asked for."""
    start, config = run.start, run.config
    images = load_expansion(run.bank, run.dataset, run.train) if config.offline_expansion else run.train.images
    found = process_group.broadcast(state_size(run.folder) if process_group.is_main else None)
    begin = _Begin() if start is None else _Begin(start.networks, start.spec.class_names)
    for stage in growth_stages(config, run.spec.size, start_size=None if start is None else start.spec.size):
        if found is None or stage.size >= found:
            loop = _build_loop(run, stage, images, begin, fabric, on_event, should_stop)
            if stage.last and begin.progress.step:
                _check_time_left(config, process_group.broadcast(loop.progress))
            yield loop
            begin = _handed_on(loop)


def _check_time_left(config: TrainConfig, done: Progress) -> None:
    """Refuse to publish what a small size has left: a schedule that was cut may end before the full size."""
    if config.progress(done.step, done.elapsed_sec) >= 1.0:
        raise StateError(
            "The run has not come to its full size, and its schedule is over",
            got=f"{done.step} steps, {done.elapsed_sec:.0f} s at smaller sizes",
            next_step="give it more with --time-budget or --steps; it goes on from there",
        )


def _build_loop(
    run: _Run,
    stage: Stage,
    images: LabelledImages,
    begin: _Begin,
    fabric: Fabric,
    on_event: Callable[[TrainEvent], None],
    should_stop: Callable[[], bool],
) -> TrainingLoop:
    config, spec = stage.config, dataclasses.replace(run.spec, size=stage.size)
    images, validation = shrunk(images, stage.size), shrunk(run.validation, stage.size)
    sampler = EpochSampler(images.labels, batch_size=config.batch_size, seed=config.seed, balanced=config.balanced)
    trainer = make_trainer(spec, config, train=images, sampler=sampler, fabric=fabric)
    progress = begin.progress
    if begin.networks is not None:
        same_classes, started = begin.class_names == spec.class_names, time.monotonic()
        trainer.start_from(begin.networks, same_classes=same_classes, first_step=progress.step)
        if progress.step:  # what a stage hands over is learned in the run's time
            progress = dataclasses.replace(progress, elapsed_sec=progress.elapsed_sec + time.monotonic() - started)
    if trainer.process_group.is_main:
        recorder = _Recorder(run.folder, run.spec, on_event)
        score = snapshot_scorer(run.reference) if stage.last else None
        hooks = Hooks(score=score, on_event=recorder.event, on_grid=recorder.grid, should_stop=should_stop)
    else:  # it neither scores nor tells
        hooks = Hooks(score=None)
    return TrainingLoop(
        trainer,
        config,
        folder=run.folder,
        validation=validation,
        hooks=hooks,
        begin=progress,
        snapshot_first=stage.last and progress.step > 0 and keeps_picture(config, stage.size),
    )


def _handed_on(loop: TrainingLoop) -> _Begin:
    """What a finished stage leaves to the next one."""
    trainer, done = loop.trainer, loop.progress
    networks = {"generator": fused_state(trainer.published())}
    judge = trainer.discriminator_state()
    if judge:
        networks["discriminator"] = judge
    progress = Progress(
        step=done.step,
        images_seen=done.images_seen,
        elapsed_sec=done.elapsed_sec,
        last_snapshot_sec=done.elapsed_sec,
    )
    return _Begin(networks, trainer.spec.class_names, progress)


def _initial_weights(bank: Bank, config: TrainConfig) -> InitialWeights | None:
    start = initial_weights(bank, config.init)
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

    def __init__(self, run_dir: Path, spec: ModelSpec, on_event: Callable[[TrainEvent], None]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._grids = run_dir / "grids"
        self._grids.mkdir(exist_ok=True)
        self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._spec, self._on_event = spec, on_event

    def event(self, event: TrainEvent) -> None:
        if event.kind in ("status", "snapshot"):
            for name, value in event.values.items():
                self._board.add_scalar(f"{event.kind}/{name}", value, event.step)
        self._on_event(event)

    def grid(self, step: int, images: UInt8Images) -> None:
        n, times = self._spec.n_classes, self._spec.size // images.shape[-1]
        images = images.repeat(times, axis=2).repeat(times, axis=3)  # small stages too fill the sheet
        rows = {name: images[i::n][:12] for i, name in enumerate(self._spec.class_names)}
        write_atomic(self._grids / f"{step:08d}.png", labelled_grid(rows))
        self._board.flush()


def _enter(run: _Run, device: str) -> None:
    """The run's row, and its configuration beside its state."""
    with run.bank.catalogue.session() as session:
        queries.upsert_run(
            run.id,
            dataset_id=run.dataset.id,
            architecture=run.config.architecture,
            config=run.config.to_json(),
            code_version=__version__,
            device=device,
            seed=run.config.seed,
            status=JobStatus.RUNNING.value,
            status_reason=None,
            finished_at=None,
            session=session,
        )
    write_atomic(run.folder / "config.json", json.dumps(run.config.to_json(), indent=2).encode())


def _end(
    run: _Run, process_group: ProcessGroup, loop: TrainingLoop | None, status: JobStatus, reason: str | None = None
) -> None:
    if not process_group.is_main:
        return
    done = Progress() if loop is None else loop.progress
    history = () if loop is None else loop.history
    events = [e.values | {"step": e.step, "kind": e.kind} for e in history if e.kind in ("guard", "rollback")]
    with run.bank.catalogue.session() as session:
        queries.set_run_status(
            run.id,
            status,
            reason=reason,
            images_seen=done.images_seen,
            elapsed_sec=done.elapsed_sec,
            events=events,
            session=session,
        )


def _publish(run: _Run, loop: TrainingLoop, model_name: str | None) -> tuple[ModelRow, tuple[SnapshotRow, ...]]:
    """Store every snapshot, choose the best, and publish it with what screening and later runs need."""
    bank, store = run.bank, run.bank.store
    scored = {e.step: e for e in loop.history if e.kind == "snapshot"}
    best = min(scored, key=lambda step: scored[step].values["kid"])
    with bank.catalogue.session() as session:
        for step, event in sorted(scored.items()):
            data = (run.folder / "snapshots" / f"{step:08d}.safetensors").read_bytes()
            key = layout.snapshot_key(run.id, step)
            store.put(key, data)
            queries.upsert_snapshot(
                run.id,
                step,
                images_seen=event.images_seen,
                key=key,
                sha256=bytes_sha256(data),
                scores=event.values,
                session=session,
            )
        queries.choose_snapshot(run.id, best, session=session)
        snapshots = tuple(queries.snapshots(run.id, session=session))
        chosen = next(s for s in snapshots if s.step == best)
        name = model_name or _own_name(run, chosen, session)
    gate, judge = build_gate(run.train.images).to_bytes(), save_tensors(loop.trainer.discriminator_state())
    hashes = {
        "weights_sha256": chosen.sha256,
        "screen_sha256": bytes_sha256(gate),
        "discriminator_sha256": bytes_sha256(judge),
    }
    card = model_card(name, run.dataset, run.config, chosen, run.spec, len(run.train.rows), hashes)
    originals = [*run.train.images.ids, *run.validation.ids]  # validation chose the snapshot
    if run.start is not None:
        card["start"] = run.start.provenance()
        originals += run.start.originals
    files = {
        GENERATOR: store.get(chosen.key),
        DISCRIMINATOR: judge,
        SCREEN: gate,
        "card.md": model_card_markdown(card).encode(),
    }
    model = record_model(
        bank,
        name,
        card,
        files,
        originals=originals,
        run_id=run.id,
        snapshot_id=chosen.id,
        dataset_id=run.dataset.id,
        microns_per_pixel=run.dataset.microns_per_pixel,
    )
    return model, snapshots


def _own_name(run: _Run, chosen: SnapshotRow, session: Session) -> str:
    """The run's id; where an earlier state of the run is published under it, the step as well."""
    known = queries.find_model(run.id, session=session)
    return run.id if known is None or known.sha256 == chosen.sha256 else f"{run.id}-step{chosen.step}"


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
    run: _Run, result: FitResult, model: ModelRow | None, snapshots: tuple[SnapshotRow, ...], history: History
) -> TrainReport:
    events = tuple(f"step {e.step}: {e.values['message']}" for e in history if e.kind == "guard")
    return TrainReport(
        run.id,
        result.finished,
        model,
        snapshots,
        result.step,
        result.images_seen,
        result.elapsed_sec,
        events,
        run.folder,
    )
