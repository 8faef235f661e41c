"""Deliver: accepted images out of the bank, in a format that others read."""

from __future__ import annotations

from typing import Any

from synthbank.export import ExportResult, export_images
from synthbank.workflows.bank import Bank


def deliver(bank: Bank, target: str, **options: Any) -> ExportResult:
    """Export from a bank; options as of `synthbank.export.export_images`."""
    return export_images(catalogue=bank.catalogue, store=bank.store, target=target, **options)
