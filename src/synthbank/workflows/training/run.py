"""One training run: what it is made from, its name, and its row in the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbank import __version__
from synthbank.catalogue import DatasetRow, ModelRow, SnapshotRow, queries
from synthbank.config import TrainConfig
from synthbank.errors import OptionError, StateError
from synthbank.fingerprint import set_fingerprint
from synthbank.models import ModelSpec, load_feature_network, networks_inside
from synthbank.records import JobStatus, LabelledImages, Shortfall, SnapshotReference, Split
from synthbank.storage import History, layout, write_atomic
from synthbank.training import FitResult, Progress, TrainingLoop
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import DataSplit, load_split, require_dataset
from synthbank.workflows.models.transfer import InitialWeights, initial_weights
from synthbank.workflows.training.requests import TrainReport
from synthbank.workflows.training.shortfall import find_shortfall


@dataclass(frozen=True)
class TrainingRun:
    """One training run: what it is made from, and where it goes."""

    bank: Bank
    id: str
    dataset: DatasetRow
    asked: TrainConfig
    """As it names the run."""
    config: TrainConfig
    """The same with what it leaves to the machine decided."""
    spec: ModelSpec
    start: InitialWeights | None
    """`None`: from scratch."""
    train: DataSplit
    validation: LabelledImages
    """To watch over-fitting with."""

    @property
    def folder(self) -> Path:
        """The run folder: configuration, state, history, snapshots, sheets of samples."""
        return self.bank.runs_dir / self.id

    @property
    def snapshot_reference(self) -> SnapshotReference:
        """The originals that snapshots are scored against, in words and numbers."""
        return SnapshotReference(len(self.validation))

    @property
    def reference(self) -> LabelledImages:
        """The images of these originals."""
        return self.validation if self.snapshot_reference.split is Split.VALIDATION else self.train.images

    @property
    def originals(self) -> list[str]:
        """Pixel hashes of every original that shapes the model: withdrawing one of them withdraws it."""
        own = [*self.train.images.ids, *self.validation.ids]  # validation chooses the snapshot
        return own if self.start is None else [*own, *self.start.originals]

    def record_start(self, device: str) -> None:
        """Write the run's row, and its configuration beside its state.

        Args:
            device: what it trains on, in words.
        """
        config = self.config.to_json()
        with self.bank.catalogue.session() as session:
            queries.upsert_run(
                self.id,
                dataset_id=self.dataset.id,
                architecture=self.config.architecture,
                config=config,
                code_version=__version__,
                device=device,
                seed=self.config.seed,
                status=JobStatus.RUNNING.value,
                status_reason=None,
                finished_at=None,
                session=session,
            )
        write_atomic(self.folder / "config.json", json.dumps(config, indent=2).encode())

    def record_end(self, loop: TrainingLoop | None, status: JobStatus, reason: str | None = None) -> None:
        """Write into the run's row how far it came, and how it ended.

        Args:
            loop: of the stage that ended last; `None`: none began.
            status: done, cancelled or failed.
            reason: in words; `None`: it is done.
        """
        progress = Progress() if loop is None else loop.progress
        history = () if loop is None else loop.history
        events = [e.values | {"step": e.step, "kind": e.kind} for e in history if e.kind in ("guard", "rollback")]
        with self.bank.catalogue.session() as session:
            queries.set_run_status(
                self.id,
                status,
                reason=reason,
                images_seen=progress.images_seen,
                elapsed_sec=progress.elapsed_sec,
                events=events,
                session=session,
            )

    def report(
        self, result: FitResult, history: History, model: ModelRow | None, snapshots: tuple[SnapshotRow, ...]
    ) -> TrainReport:
        """The answer to the request."""
        return TrainReport(
            run_id=self.id,
            finished=result.finished,
            model=model,
            snapshots=snapshots,
            steps=result.step,
            images_seen=result.images_seen,
            elapsed_sec=result.elapsed_sec,
            guard_events=tuple(f"step {e.step}: {e.values['message']}" for e in history if e.kind == "guard"),
            run_dir=self.folder,
            chosen_by=self.snapshot_reference.sentence,
            shortfall=self.shortfall(result.images_seen, result.elapsed_sec) if result.finished else None,
        )

    def shortfall(self, images_seen: int, elapsed_sec: float) -> Shortfall | None:
        """The numbers and the command of a run that saw too few images for a good set; `None`: it saw enough."""
        return find_shortfall(
            self.asked,
            self.dataset.name,
            self.spec.size,
            per_class=set(self.spec.class_names) != set(self.dataset.class_names),
            images_seen=images_seen,
            elapsed_sec=elapsed_sec,
        )


def prepare_run(bank: Bank, dataset_name: str, config: TrainConfig, only_class: str | None = None) -> TrainingRun:
    """Load what a run is made from, and name it.

    Args:
        bank: where the data set is.
        dataset_name: newest version of it.
        config: resolved.
        only_class: train on this class alone; `None`: on all classes.

    Raises:
        OptionError: the initial weights belong to another architecture.
        StateError: there are too few training originals.
        UnknownNameError: the configuration names a feature network that there is not.
    """
    dataset = require_dataset(bank, dataset_name)
    start = _initial_weights(bank, config)
    train, validation = (
        _of_class(load_split(bank, dataset, split), only_class) for split in (Split.TRAIN, Split.VALIDATION)
    )
    _check_enough(train.images)
    run_id = run_name(dataset, config, (*train.images.ids, *validation.images.ids), only_class)
    spec = spec_of(dataset, config, train.images.class_names)
    for network in networks_inside(spec):
        load_feature_network(network)  # an unknown one is refused before there is a run
    return TrainingRun(bank, run_id, dataset, config, config, spec, start, train, validation.images)


def run_name(dataset: DatasetRow, config: TrainConfig, originals: Iterable[str], only_class: str | None = None) -> str:
    """The id of a run: the same choices and originals (pixel hashes) name the same run, which then resumes."""
    subject = f"{dataset.name}-v{dataset.version}" + ("" if only_class is None else f"-{only_class}")
    identity = set_fingerprint([config.identity(), *originals])[:10]
    return f"{layout.slugify(subject)[:60]}-{config.architecture}-s{config.seed}-{identity}"


def spec_of(dataset: DatasetRow, config: TrainConfig, class_names: tuple[str, ...]) -> ModelSpec:
    """The networks that the configuration builds for these classes of a data set."""
    return ModelSpec(
        architecture=config.architecture,
        size=dataset.size,
        channels=dataset.channels,
        class_names=class_names,
        latent_dim=config.latent_dim,
        symmetry=config.augment_real,
        options=config.model_options,
    )


def check_model_name(run: TrainingRun, model_name: str) -> None:
    """Refuse a name before the training, and not after it; the run's own model may be published again.

    Raises:
        OptionError: the name cannot stand in a key.
        StateError: another model has it.
    """
    layout.check_name(model_name, "model name")
    with run.bank.catalogue.session() as session:
        known = queries.find_model(model_name, session=session)
    if known is not None and known.run_id != run.id:
        raise StateError(
            "This model name is taken by another model",
            got=model_name,
            next_step="choose another --model-name; a published model never changes",
        )


def _of_class(split: DataSplit, class_name: str | None) -> DataSplit:
    """The split itself, or one class of it as a data set of its own."""
    if class_name is None:
        return split
    rows = tuple(row for row in split.rows if row.class_name == class_name)
    return DataSplit(rows, split.images.of_classes([class_name]))


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


def _initial_weights(bank: Bank, config: TrainConfig) -> InitialWeights | None:
    start = initial_weights(bank, config.init)
    if start is not None and start.spec.architecture != config.architecture:
        raise OptionError(
            "The initial weights belong to another architecture",
            got=f"{config.init}: {start.spec.architecture}",
            allowed=config.architecture,
            next_step=f"add --model {start.spec.architecture}, or another --init",
        )
    return start
