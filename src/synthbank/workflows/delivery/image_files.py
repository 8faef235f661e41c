"""Stored images as a browser wants them: whole, or small."""

from __future__ import annotations

import io

from PIL import Image

from synthbank.catalogue import ImageRow, queries
from synthbank.errors import NotFoundError, StateError
from synthbank.records import Verdict
from synthbank.workflows.bank import Bank


def image_file(bank: Bank, image_id: str) -> tuple[ImageRow, bytes]:
    """An image's row and its PNG.

    Raises:
        NotFoundError: no such image.
        StateError: it was withdrawn, so nobody gets it any more.
    """
    with bank.catalogue.session(read_only=True) as session:
        row = queries.get_image(image_id, session=session)
    if row.verdict == Verdict.WITHDRAWN.value:
        raise StateError("This image was withdrawn", got=image_id, next_step="choose another", withdrawn=True)
    return row, bank.store.get(row.key)


def original_file(bank: Bank, sha256: str) -> bytes:
    """The PNG of an accepted original, by its pixel hash; raises `NotFoundError` for one that is not in the bank."""
    with bank.catalogue.session(read_only=True) as session:
        rows = queries.get_original(sha256, session=session)
    keys = [row.key for row in rows if row.key is not None]
    if not keys or any(row.withdrawn_at is not None for row in rows):
        raise NotFoundError("There is no such original", got=sha256)
    return bank.store.get(keys[0])


def thumbnail(png: bytes, side: int) -> bytes:
    """A PNG no wider or higher than `side` pixels; a smaller one is returned as it is."""
    with Image.open(io.BytesIO(png)) as image:
        if max(image.size) <= side:
            return png
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()
