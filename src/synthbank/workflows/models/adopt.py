"""Adopt: a published model's files from elsewhere into this bank, each checked against the card's hashes."""

from __future__ import annotations

import json
from typing import Any

from synthbank.catalogue import ModelRow
from synthbank.errors import IntegrityError
from synthbank.fingerprint import bytes_sha256
from synthbank.storage import ObjectStore
from synthbank.workflows.bank import Bank
from synthbank.workflows.models.record import CARD, GENERATOR, SCREEN, record_model


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
    files = {name: source.get(name) for name in (GENERATOR, SCREEN)}
    card = _card(source.get(CARD), url)
    for name, expected in ((GENERATOR, card["weights_sha256"]), (SCREEN, card["screen_sha256"])):
        got = bytes_sha256(files[name])
        if got != expected:
            raise IntegrityError("A model's file is not the one that its card names", got=got, allowed=expected)
    return record_model(bank, card["name"], card, files, originals=())


def _card(data: bytes, url: str) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(data)
        needed = {"architecture", "class_names", "size", "channels"}
        if {"name", "spec", "weights_sha256", "screen_sha256"} <= set(card) and needed <= set(card["spec"]):
            return card
    except (ValueError, TypeError):
        pass
    raise IntegrityError("This is not a model of SynthBank", got=f"{url}/model.json", next_step="publish it again")
