"""Publish: the best snapshot of a finished run becomes a model."""

from __future__ import annotations

import numpy as np
import torch

from synthbank import __version__
from synthbank.catalogue import ModelRow, SnapshotRow, queries
from synthbank.export import model_card_markdown
from synthbank.fingerprint import bytes_sha256
from synthbank.generation import Gate, build_gate
from synthbank.models import save_tensors
from synthbank.records import CardDataset, CardSnapshot, ModelCard
from synthbank.storage import layout
from synthbank.training import Progress, TrainingLoop
from synthbank.workflows.models.record import DISCRIMINATOR, GENERATOR, SCREEN, record_model
from synthbank.workflows.training.run import TrainingRun


def publish(run: TrainingRun, loop: TrainingLoop, model_name: str | None) -> tuple[ModelRow, tuple[SnapshotRow, ...]]:
    """Store every snapshot, choose the best, and publish it with what screening and later runs need.

    Args:
        run: what was trained.
        loop: of the last stage, at its end.
        model_name: `None`: named after the run.

    Returns:
        The model, and all snapshots in the order of their steps.
    """
    snapshots = _store_snapshots(run, loop)
    chosen = next(s for s in snapshots if s.chosen)
    name = model_name or _own_name(run, chosen)
    groups = [row.group_id or row.name for row in run.train.rows]
    gate = build_gate(run.train.images, groups=groups)
    discriminator = save_tensors(loop.trainer.discriminator_state())
    card = _model_card(run, name, chosen, loop.progress, gate=gate, discriminator=discriminator)
    files = {
        GENERATOR: run.bank.store.get(chosen.key),
        DISCRIMINATOR: discriminator,
        SCREEN: gate.to_bytes(),
        "card.md": model_card_markdown(card).encode(),
    }
    model = record_model(
        run.bank,
        name,
        card,
        files,
        originals=run.originals,
        run_id=run.id,
        snapshot_id=chosen.id,
        dataset_id=run.dataset.id,
        microns_per_pixel=run.dataset.microns_per_pixel,
    )
    return model, snapshots


def _store_snapshots(run: TrainingRun, loop: TrainingLoop) -> tuple[SnapshotRow, ...]:
    """Weights into the store, scores into the catalogue; the lowest KID is chosen."""
    scored = {e.step: e for e in loop.history if e.kind == "snapshot"}
    best = min(scored, key=lambda step: scored[step].values["kid"])
    with run.bank.catalogue.session() as session:
        for step, event in sorted(scored.items()):
            data = (run.folder / "snapshots" / f"{step:08d}.safetensors").read_bytes()
            key = layout.snapshot_key(run.id, step)
            run.bank.store.put(key, data)
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
        return tuple(queries.snapshots(run.id, session=session))


def _own_name(run: TrainingRun, chosen: SnapshotRow) -> str:
    """The run's id; where an earlier state of the run is published under it, the step as well."""
    with run.bank.catalogue.session() as session:
        known = queries.find_model(run.id, session=session)
    return run.id if known is None or known.sha256 == chosen.sha256 else f"{run.id}-step{chosen.step}"


def _model_card(
    run: TrainingRun, name: str, chosen: SnapshotRow, progress: Progress, *, gate: Gate, discriminator: bytes
) -> ModelCard:
    """How to build the network, what it was made from, and how it scored."""
    dataset = run.dataset
    return ModelCard(
        name=name,
        spec=run.spec.to_json(),
        weights_sha256=chosen.sha256,
        screen_sha256=bytes_sha256(gate.to_bytes()),
        discriminator_sha256=bytes_sha256(discriminator),
        dataset=CardDataset(
            name=dataset.name,
            version=dataset.version,
            fingerprint=dataset.fingerprint,
            licence=dataset.licence,
            source=dataset.source,
            training_originals=len(run.train.rows),
        ),
        training=run.config.to_json(),
        snapshot=CardSnapshot(chosen.step, chosen.images_seen, chosen.scores, run.snapshot_reference.n_validation),
        software={"synthbank": __version__, "torch": torch.__version__, "numpy": np.__version__},
        not_for="diagnosis, or any claim about a patient; synthetic images are not observations",
        cannot_tell=gate.cannot_tell,
        start=None if run.start is None else run.start.provenance(),
        shortfall=run.shortfall(progress.images_seen, progress.elapsed_sec),
    )
