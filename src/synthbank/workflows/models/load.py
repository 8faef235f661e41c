"""Published models: from their stored files to a sampler and a gate."""

from __future__ import annotations

from dataclasses import dataclass

from synthbank.catalogue import DatasetRow, JobRow, ModelRow, queries
from synthbank.errors import StateError
from synthbank.generation import Gate, Sampler, load_gate
from synthbank.models import ModelSpec, load_fused, load_tensors
from synthbank.records import ModelCard
from synthbank.storage import ObjectStore, layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.devices import one_device
from synthbank.workflows.models.record import GENERATOR, SCREEN


@dataclass(frozen=True)
class LoadedModel:
    """A published model in memory."""

    row: ModelRow
    sampler: Sampler
    gate: Gate


def load_model(bank: Bank, name: str, *, device: str = "cpu") -> LoadedModel:
    """Read a published model; every file is checked against its recorded hash.

    Raises:
        UnknownNameError: no such model.
        StateError: it was withdrawn.
        IntegrityError: a file is damaged or was exchanged.
    """
    with bank.catalogue.session() as session:
        row = queries.get_model(name, session=session)
    if row.status != "published":
        raise StateError(f"Model '{name}' was withdrawn", got=row.status, next_step="train a new model")
    return read_model(bank.store, row, device=device)


def read_model(store: ObjectStore, row: ModelRow, *, device: str = "cpu") -> LoadedModel:
    """A model from its row and its files, without the catalogue; raises as `load_model`."""
    card = ModelCard.from_json(row.card)
    spec = ModelSpec.from_json(card.spec)
    weights = load_tensors(store.get(layout.model_key(row.id, GENERATOR)), sha256=row.sha256)
    gate = load_gate(store.get(layout.model_key(row.id, SCREEN)), sha256=card.screen_sha256)
    return LoadedModel(row, Sampler(load_fused(spec, weights), device=one_device(device)), gate)


def origin_of(bank: Bank, job_id: str) -> tuple[JobRow, ModelRow, DatasetRow]:
    """A generation job, its model, and the data set that the model was trained on.

    Raises:
        UnknownNameError: no such job.
        StateError: the data set is not in this bank.
    """
    with bank.catalogue.session(read_only=True) as session:
        job = queries.get_job(job_id, session=session)
        model = queries.get_model(job.model_id, session=session)
        if model.dataset_id is None:
            raise StateError("The model's data set is not in this bank", got=model.id)
        return job, model, queries.get_dataset_by_id(model.dataset_id, session=session)
