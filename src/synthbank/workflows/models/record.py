"""Record a model: its files into the store and its row into the catalogue, for trained and imported models alike."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from synthbank.catalogue import ModelRow, queries
from synthbank.records import ImageSpec, ModelCard
from synthbank.storage import layout
from synthbank.workflows.bank import Bank

GENERATOR, DISCRIMINATOR, SCREEN, CARD = (
    "generator.safetensors",
    "discriminator.safetensors",
    "screen.safetensors",
    "model.json",
)


def recorded_hashes(card: ModelCard) -> dict[str, str]:
    """The hash of each file that a model has by its card; a file without a hash is no part of the model."""
    hashes = {GENERATOR: card.weights_sha256, DISCRIMINATOR: card.discriminator_sha256, SCREEN: card.screen_sha256}
    return {name: sha256 for name, sha256 in hashes.items() if sha256 is not None}


def record_model(
    bank: Bank,
    name: str,
    card: ModelCard,
    files: Mapping[str, bytes],
    *,
    originals: Iterable[str],
    run_id: str | None = None,
    snapshot_id: int | None = None,
    dataset_id: int | None = None,
    microns_per_pixel: float | None = None,
    source: str | None = None,
) -> ModelRow:
    """Write a model's files into the store, its card among them, and its row into the catalogue.

    The name is checked before any file is written, as a published model never changes. The same model again adds the
    originals that were not recorded for it, and changes nothing else.

    Args:
        bank: where it goes.
        name: of the model.
        card: written as `model.json`, with the originals that the gate does not know, and into the row without them.
        files: by name, without the card; the screen is among them.
        originals: pixel hashes of all that shaped it.
        run_id: its training run; `None`, here and below: not of this bank, or not known.
        snapshot_id: the chosen snapshot.
        dataset_id: what it was trained on.
        microns_per_pixel: of its images.
        source: address that it was imported from; `None`: trained in this bank.

    Raises:
        OptionError: the name cannot stand in a key.
        StateError: the name belongs to other weights, the model was withdrawn, or one of its originals was.
    """
    layout.check_name(name, "model name")
    spec, shaped = card.spec, set(originals)
    with bank.catalogue.session() as session:
        known = queries.published_before(name, card.weights_sha256, session=session)
    if known is None:
        for filename, data in {**files, CARD: travelling_card(card, files[SCREEN], shaped)}.items():
            bank.store.put(layout.model_key(name, filename), data)
    with bank.catalogue.session() as session:
        return queries.publish_model(
            name,
            run_id=run_id,
            snapshot_id=snapshot_id,
            dataset_id=dataset_id,
            architecture=spec["architecture"],
            class_names=spec["class_names"],
            spec=ImageSpec(spec["size"], spec["channels"], microns_per_pixel),
            key=layout.model_prefix(name),
            sha256=card.weights_sha256,
            card=replace(card, originals=()).to_json(),  # they are rows of the catalogue
            originals=shaped,
            source=source,
            session=session,
        )


def travelling_card(card: ModelCard, screen: bytes, originals: Collection[str]) -> bytes:
    """The content of `model.json`: the card, with the originals that shaped the model and that its gate does not know.

    Those have chosen the snapshot, or stand behind the initial weights. With them, a bank that imports the model can
    withdraw it with any of its originals.
    """
    from synthbank.models import read_header  # which loads torch

    others = sorted(set(originals).difference(read_header(screen)["hashes"]))
    return json.dumps(replace(card, originals=tuple(others)).to_json(), indent=2).encode()
