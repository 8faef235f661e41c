"""Models that travel between banks as folders, buckets and packages; and initial weights for training.

A travelling model is one folder: `generator.safetensors`, `screen.safetensors`, `model.json`, and, where training can
start from it, `discriminator.safetensors`. Every hash stands in `model.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from synthbank.catalogue import ModelRow, queries
from synthbank.errors import IntegrityError, NotFoundError, SourceError
from synthbank.generation import Gate, load_gate
from synthbank.models import ModelSpec, load_tensors
from synthbank.records import CardStart, ModelCard
from synthbank.storage import ObjectStore, layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.models.record import (
    CARD,
    DISCRIMINATOR,
    GENERATOR,
    SCREEN,
    record_model,
    recorded_hashes,
    travelling_card,
)
from synthbank.workflows.models.zoo import ZOO, zoo_folders


@dataclass(frozen=True)
class Package:
    """The files of a travelling model, checked against the hashes of its card."""

    card: ModelCard
    files: Mapping[str, bytes]

    @property
    def spec(self) -> ModelSpec:
        """The specification of its networks."""
        return ModelSpec.from_json(self.card.spec)

    @property
    def gate(self) -> Gate:
        """The screen of its images; it knows the originals that the model was trained on."""
        return load_gate(self.files[SCREEN], sha256=self.card.screen_sha256)

    @property
    def originals(self) -> tuple[str, ...]:
        """Pixel hashes of all originals that shaped it, sorted: those of its gate and those that its card names."""
        return tuple(sorted({*self.gate.hashes, *self.card.originals}))


@dataclass(frozen=True)
class InitialWeights:
    """Weights that training starts from."""

    source: str
    card: ModelCard
    """Of the model that they come from."""
    networks: Mapping[str, Mapping[str, Tensor]]
    """Tensors of "generator" and, where it travels, of "discriminator"."""
    originals: tuple[str, ...]
    """Pixel hashes of what shaped them: a model that starts from them must go when one of these is withdrawn."""

    @property
    def spec(self) -> ModelSpec:
        """Specification of the networks that they come from."""
        return ModelSpec.from_json(self.card.spec)

    def provenance(self) -> CardStart:
        """The facts on them in the card of a model that starts from them."""
        card = self.card
        return CardStart(self.source, card.weights_sha256, card.dataset, card.data, card.licence)


def read_package(source: str) -> Package:
    """Read a travelling model and check every hash.

    Args:
        source: `zoo:NAME`, a folder, or a URL that fsspec knows.

    Raises:
        UnknownNameError: no such model in the zoo.
        SetupError: the model comes with a package that is not installed.
        SourceError: the folder holds no whole model.
        IntegrityError: the card is not one of SynthBank, or a file is damaged or was exchanged.
    """
    stores = _stores(source)
    try:
        card = _card(_get(stores, CARD), source)
        recorded = recorded_hashes(card)
        if SCREEN not in recorded:
            raise NotFoundError("The card records no gate", got=card.name)
        files = {name: _get(stores, name) for name in recorded}
    except NotFoundError as error:
        raise SourceError(
            "This folder holds no whole model",
            got=source,
            allowed=f"{GENERATOR}, {SCREEN} and {CARD} in it",
            next_step="write one with 'synthbank models push MODEL FOLDER'",
        ) from error
    for name, data in files.items():
        load_tensors(data, sha256=recorded[name])
    return Package(card, files)


def import_model(bank: Bank, source: str, *, name: str | None = None) -> ModelRow:
    """Record a model that was made elsewhere, ready to generate: the only way for a model to come in.

    Doing it twice changes nothing. Where the bank holds the data set that the model was trained on, its images can be
    evaluated as those of a model trained here.

    Args:
        bank: where it goes.
        source: `zoo:NAME`, a folder, or a URL that fsspec knows, such as `AIP_STORAGE_URI` names.
        name: in this bank; `None`: the model's own.

    Raises:
        UnknownNameError: no such model in the zoo.
        SetupError: the model comes with a package that is not installed.
        SourceError: the folder holds no whole model.
        IntegrityError: the card is not one of SynthBank, or a file is damaged or was exchanged.
        StateError: the name belongs to other weights here, or one of the model's originals was withdrawn.
    """
    package = read_package(source)
    card = package.card
    with bank.catalogue.session() as session:
        datasets = queries.list_datasets(session=session)
    known = [d.id for d in datasets if card.dataset is not None and d.fingerprint == card.dataset.fingerprint]
    return record_model(
        bank,
        name or card.name,
        card,
        package.files,
        originals=package.originals,
        dataset_id=known[-1] if known else None,
        source=source,
    )


def push(bank: Bank, name: str, target: str) -> list[str]:
    """Write a published model as a folder that `import_model` and `--init` read; the names of the files written."""
    with bank.catalogue.session() as session:
        row = queries.get_model(name, session=session)
        originals = queries.model_originals(name, session=session)
    store = ObjectStore(target)
    card = ModelCard.from_json(row.card)
    files = {filename: bank.store.get(layout.model_key(name, filename)) for filename in recorded_hashes(card)}
    for filename, data in files.items():
        store.put(filename, data)
    store.put(CARD, travelling_card(card, files[SCREEN], originals))  # last: a folder with a card is whole
    return [*files, CARD]


def initial_weights(bank: Bank, init: str) -> InitialWeights | None:
    """The weights that `--init` names: a model of the bank, `zoo:NAME`, a folder or URL; `None` for "none".

    Raises:
        StateError: the model was withdrawn.
    """
    if init == "none":
        return None
    with bank.catalogue.session() as session:
        of_bank = init in {m.id for m in queries.list_models(session=session)}
        if of_bank:
            queries.require_published(init, session=session)
            originals = queries.model_originals(init, session=session)
    package = read_package(bank.store.url(layout.model_prefix(init)) if of_bank else init)
    if not of_bank:
        originals = list(package.originals)
    networks = {
        name.split(".")[0]: _in_full(load_tensors(package.files[name]))
        for name in (GENERATOR, DISCRIMINATOR)
        if name in package.files
    }
    return InitialWeights(init, package.card, networks, tuple(originals))


def _in_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float32, also those that are stored in half precision."""
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _stores(source: str) -> list[ObjectStore]:
    """The places of a model's files, the most complete first."""
    folders = zoo_folders(source.removeprefix(ZOO)) if source.startswith(ZOO) else [source]
    return [ObjectStore(str(folder)) for folder in folders]


def _get(stores: Sequence[ObjectStore], name: str) -> bytes:
    """A file from the first place that has it; `NotFoundError`: none has."""
    return next((store for store in stores if store.exists(name)), stores[-1]).get(name)


def _card(data: bytes, source: str) -> ModelCard:
    try:
        return ModelCard.from_json(json.loads(data))
    except ValueError as error:
        raise IntegrityError("This is not the card of a model", got=f"{source}: {CARD}") from error
