"""Deliver: accepted images out of the bank, in a format that others read."""

from __future__ import annotations

import secrets
from typing import Any

from synthbank.export import ExportResult, export_images
from synthbank.export.base import exporters
from synthbank.storage import layout
from synthbank.workflows.bank import Bank


def deliver(bank: Bank, target: str, **options: Any) -> ExportResult:
    """Export from a bank; options as of `synthbank.export.export_images`."""
    return export_images(catalogue=bank.catalogue, store=bank.store, target=target, **options)


def deliver_to_store(bank: Bank, *, fmt: str, **options: Any) -> ExportResult:
    """Export as one file into the bank's own store, under a name that nobody can guess."""
    ending = "npz" if exporters.facts(fmt).get("single_file") else "zip"
    key = layout.export_key(f"{secrets.token_hex(16)}.{ending}")
    return deliver(bank, bank.store.url(key), fmt=fmt, **options)


def stored_key(bank: Bank, target: str) -> str | None:
    """The key of an export that lies in the bank's own store; `None` for one that went elsewhere."""
    key = target.removeprefix(bank.store.url() + "/")
    return key if key.startswith("exports/") and key != target else None
