"""Export accepted images of a bank in a format that other tools read."""

from __future__ import annotations

import secrets
from dataclasses import replace

from synthbank.errors import OptionError
from synthbank.export import ExportRequest, ExportResult, export_images
from synthbank.export.base import exporters
from synthbank.storage import layout, local_path_of, open_filesystem, sign
from synthbank.workflows.bank import Bank

__all__ = ["ExportRequest", "ExportResult", "export", "export_to_store", "require_linkable", "share", "stored_key"]


def export(bank: Bank, request: ExportRequest) -> ExportResult:
    """Export accepted images of a bank to a folder, a file or a bucket.

    Raises:
        StateError: nothing to export, or the target is occupied.
        SetupError: the target cannot be written.
        IntegrityError: a file differs from what was recorded; nothing is left at the target.
    """
    return export_images(request, catalogue=bank.catalogue, store=bank.store)


def export_to_store(bank: Bank, request: ExportRequest) -> ExportResult:
    """Export as one file into the bank's own store, under a name that nobody can guess; `target` is chosen here."""
    ending = "npz" if exporters.spec(request.format).single_file else "zip"
    key = layout.export_key(f"{secrets.token_hex(16)}.{ending}")
    return export(bank, replace(request, target=bank.store.url(key)))


def require_linkable(target: str) -> None:
    """Raise `OptionError` for a target that can have no link: a folder, or a file on this machine."""
    if local_path_of(target) is not None or not target.endswith((".zip", ".npz")):
        raise _no_link(target)


def share(target: str, *, hours: float) -> str:
    """A link to an exported file in a bucket that anybody may open for so long.

    Raises:
        OptionError: there are no links in such a place.
        SetupError: the credentials at hand cannot sign.
    """
    require_linkable(target)
    link = sign(*open_filesystem(target), life_sec=round(3600 * hours))
    if link is None:
        raise _no_link(target)
    return link


def stored_key(bank: Bank, target: str) -> str | None:
    """The key of an export that lies in the bank's own store; `None` for one that went elsewhere."""
    key = target.removeprefix(bank.store.url() + "/")
    return key if key.startswith("exports/") and key != target else None


def _no_link(target: str) -> OptionError:
    return OptionError(
        "There can be no link to this place",
        got=target,
        allowed="one file in a bucket, such as gs://BUCKET/release.zip",
        next_step="export to such a file, or leave --link out",
    )
