"""Checks of a bank as a whole: every row has its file, every file its row; any image can be made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synthbank.catalogue import ImageRow, queries
from synthbank.errors import IntegrityError
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.records import UInt8Images
from synthbank.storage import encode_png
from synthbank.workflows.bank import Bank
from synthbank.workflows.generate import redraw
from synthbank.workflows.models import load_model
from synthbank.workflows.produce import recipe_of

_SHOWN = 20


@dataclass(frozen=True)
class VerifyReport:
    """What `catalogue verify` found; an empty list of problems is a sound bank."""

    n_images: int
    n_files: int
    problems: tuple[str, ...]
    n_problems: int

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return self.n_problems == 0


def verify(bank: Bank, *, hashes: bool = True, on_progress: Callable[[int], None] = lambda n: None) -> VerifyReport:
    """Compare every image row with its file, and every file under `images/` with its row.

    Args:
        bank: to check.
        hashes: read every file and compare its hash; `False`: only its presence.
        on_progress: called with the number of rows checked.
    """
    problems: list[str] = []
    files = set(bank.store.list("images"))
    keys: set[str] = set()
    with bank.catalogue.session() as session:
        for n, row in enumerate(queries.image_keys(session=session), start=1):
            keys.add(row.key)
            if row.key not in files:
                problems.append(f"row without file: {row.id} ({row.key})")
            elif hashes and bytes_sha256(bank.store.get(row.key)) != row.sha256:
                problems.append(f"file differs from its row: {row.id} ({row.key})")
            if n % 500 == 0:
                on_progress(n)
    problems += [f"file without row: {key}" for key in sorted(files - keys)]
    return VerifyReport(len(keys), len(files), tuple(problems[:_SHOWN]), len(problems))


@dataclass(frozen=True)
class RegenerateReport:
    """An image made again from its row."""

    row: ImageRow
    pixels: UInt8Images
    """`[1, C, H, W]` uint8."""
    equal: bool
    """Pixel for pixel the recorded image."""

    def png(self) -> bytes:
        """The image as PNG, without the text chunks of the stored file."""
        return encode_png(self.pixels[0])


def regenerate(bank: Bank, image_id: str, *, device: str = "cpu") -> RegenerateReport:
    """Make an image again from its row alone.

    Raises:
        NotFoundError: no such image.
        IntegrityError: its job was recorded with another forward block than this version uses.
    """
    with bank.catalogue.session() as session:
        row = queries.get_image(image_id, session=session)
        job = queries.get_job(row.job_id, session=session)
    model = load_model(bank, row.model_id, device=device)
    if job.request.get("block") != model.sampler.block:
        raise IntegrityError("The job used another forward block", got=job.request, allowed=model.sampler.block)
    pixels = redraw(model.sampler, recipe_of(job), class_index=row.class_index, index=row.index)
    return RegenerateReport(row, pixels, pixel_sha256(pixels[0]) == row.pixel_sha256)
