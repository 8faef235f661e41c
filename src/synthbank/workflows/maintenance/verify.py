"""Checks of a bank as a whole: every recorded file is there and unchanged; any image can be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from synthbank.catalogue import ImageRow, ModelRow, queries
from synthbank.errors import IntegrityError
from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.records import JobRequest, ModelCard, UInt8Images
from synthbank.storage import decode_png, encode_png, layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.generate import redraw
from synthbank.workflows.generation.producer import recipe_of
from synthbank.workflows.models.load import load_model
from synthbank.workflows.models.record import DISCRIMINATOR, GENERATOR, recorded_hashes

_SHOWN = 20


@dataclass(frozen=True)
class VerifyReport:
    """The result of `catalogue verify`; an empty list of problems is a sound bank."""

    n_images: int
    n_files: int
    """Under `images/`."""
    n_originals: int
    n_weights: int
    """Recorded files of models and of snapshots."""
    n_swept: int
    """Half-written files of killed processes, an hour old or more, that were removed."""
    problems: tuple[str, ...]
    n_problems: int

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return self.n_problems == 0


def verify(bank: Bank, *, hashes: bool = True, on_progress: Callable[[int], None] = lambda n: None) -> VerifyReport:
    """Compare rows of images, originals, models and snapshots with their files, and files under `images/` with rows.

    Withdrawn originals, models and their snapshots are left out: their files may have been deleted by hand. What killed
    processes left half-written is removed.

    Args:
        bank: to check.
        hashes: read every file and compare its hash; `False`: only its presence.
        on_progress: called with the number of rows checked.
    """
    swept = bank.store.sweep_temporary()
    problems: list[str] = []
    found = {folder: set(bank.store.list(folder)) for folder in ("images", "originals", "models", "runs")}
    keys: dict[str, set[str]] = {folder: set() for folder in found}
    with bank.catalogue.session(read_only=True) as session:
        for n, one in enumerate(_recorded(session), start=1):
            folder = one.key.partition("/")[0]
            keys[folder].add(one.key)
            if one.key not in found[folder]:
                if one.needed:
                    problems.append(f"row without file: {one.owner} ({one.key})")
            elif hashes and one.hash_of(bank.store.get(one.key)) != one.sha256:
                problems.append(f"file differs from its row: {one.owner} ({one.key})")
            if n % 500 == 0:
                on_progress(n)
    problems += [f"file without row: {key}" for key in sorted(found["images"] - keys["images"])]
    n_weights = len(keys["models"]) + len(keys["runs"])
    return VerifyReport(
        n_images=len(keys["images"]),
        n_files=len(found["images"]),
        n_originals=len(keys["originals"]),
        n_weights=n_weights,
        n_swept=swept,
        problems=tuple(problems[:_SHOWN]),
        n_problems=len(problems),
    )


@dataclass(frozen=True)
class _Recorded:
    """A file as the catalogue knows it."""

    owner: str
    key: str
    sha256: str
    hash_of: Callable[[bytes], str] = bytes_sha256
    needed: bool = True
    """`False`: its owner is whole without it."""


def _recorded(session: Session) -> Iterator[_Recorded]:
    for image in queries.image_keys(session=session):
        yield _Recorded(image.id, image.key, image.sha256)
    for dataset in queries.list_datasets(session=session):
        for original in queries.originals(dataset.id, session=session):
            if original.key is not None and original.sha256 is not None:
                yield _Recorded(original.name, original.key, original.sha256, _hash_of_pixels)
    models = queries.list_models(session=session)
    for model in models:
        if model.status == "published":
            yield from _files_of(model)
    withdrawn = {model.run_id for model in models if model.status != "published"}
    for run in queries.list_runs(session=session):
        if run.id not in withdrawn:
            for snapshot in queries.snapshots(run.id, session=session):
                yield _Recorded(f"{run.id}, step {snapshot.step}", snapshot.key, snapshot.sha256)


def _files_of(model: ModelRow) -> Iterator[_Recorded]:
    hashes = recorded_hashes(ModelCard.from_json(model.card)) | {GENERATOR: model.sha256}
    for name, sha256 in hashes.items():
        # a bank of an earlier version may lack a discriminator that the card names
        yield _Recorded(model.id, layout.model_key(model.id, name), sha256, needed=name != DISCRIMINATOR)


def _hash_of_pixels(data: bytes) -> str:
    """Of a PNG; of a damaged one, a hash that no image has."""
    try:
        return pixel_sha256(decode_png(data))
    except IntegrityError:
        return ""


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
    if JobRequest.from_json(job.request).block != model.sampler.block:
        raise IntegrityError("The job used another forward block", got=job.request, allowed=model.sampler.block)
    pixels = redraw(model.sampler, recipe_of(job), class_index=row.class_index, index=row.index)
    return RegenerateReport(row, pixels, pixel_sha256(pixels[0]) == row.pixel_sha256)
