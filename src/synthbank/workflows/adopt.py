"""Adopt: a published model's files from elsewhere into this bank, each checked against the card's hashes."""

from __future__ import annotations

import json
from typing import Any

from synthbank.catalogue import ModelRow, queries
from synthbank.errors import IntegrityError
from synthbank.fingerprint import bytes_sha256
from synthbank.records import ImageSpec
from synthbank.storage import ObjectStore, layout
from synthbank.workflows.bank import Bank

FILES = ("generator.safetensors", "screen.safetensors", "model.json")


def adopt_model(bank: Bank, url: str) -> ModelRow:
    """Copy a model folder (`generator.safetensors`, `screen.safetensors`, `model.json`) and enter it; may be repeated.

    Args:
        bank: where it goes.
        url: folder of the files, as `AIP_STORAGE_URI` names it.

    Raises:
        NotFoundError: a file is missing.
        IntegrityError: the card is not one of ours, or a file is not the one that it names.
        StateError: the name belongs to other weights here.
    """
    source = ObjectStore(url)
    files = {name: source.get(name) for name in FILES}
    card = _card(files["model.json"], url)
    spec = card["spec"]
    for name, expected in (("generator", card["weights_sha256"]), ("screen", card["screen_sha256"])):
        got = bytes_sha256(files[f"{name}.safetensors"])
        if got != expected:
            raise IntegrityError("A model's file is not the one that its card names", got=got, allowed=expected)
    with bank.catalogue.session() as session:
        known = queries.published_before(card["name"], card["weights_sha256"], session=session)
    if known is not None:
        return known
    for name, data in files.items():
        bank.store.put(layout.model_key(card["name"], name), data)
    with bank.catalogue.session() as session:
        return queries.publish_model(
            card["name"],
            architecture=spec["architecture"],
            class_names=spec["class_names"],
            spec=ImageSpec(spec["size"], spec["channels"]),
            key=layout.model_prefix(card["name"]),
            sha256=card["weights_sha256"],
            card=card,
            originals=[],
            session=session,
        )


def _card(data: bytes, url: str) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(data)
        needed = {"architecture", "class_names", "size", "channels"}
        if {"name", "spec", "weights_sha256", "screen_sha256"} <= set(card) and needed <= set(card["spec"]):
            return card
    except (ValueError, TypeError):
        pass
    raise IntegrityError("This is not a model of SynthBank", got=f"{url}/model.json", next_step="publish it again")
