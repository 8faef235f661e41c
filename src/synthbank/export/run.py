"""The one entry to every format: choose images, check each file, write, show, record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy.orm import Session

from synthbank.catalogue import Catalogue, queries
from synthbank.errors import IntegrityError, OptionError, StateError
from synthbank.export.base import ExportFacts, ExportItem, exporters
from synthbank.export.sinks import open_sink
from synthbank.fingerprint import bytes_sha256
from synthbank.records import Verdict
from synthbank.storage import ObjectStore, translate_errors


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The files that were written, and their place."""

    target: str
    fmt: str
    counts: dict[str, int]
    """Class name to number of images."""
    files: int
    bytes: int
    """Of all files together; of the zip itself for a zip."""
    sha256: str | None
    """Of a single-file export; `None` for a folder."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Accepted images to export, the target and the format. Exactly one of `job_id` and `model_id` is given.

    Raises:
        OptionError: both or neither of job and model, or a limit below one.
    """

    target: str | Path | None = None
    """Folder, `file.zip`, `file.npz` or an fsspec URL of one of them; `None`: the bank's own store chooses."""
    fmt: str | None = None
    """Registered format; `None`: "npz" for a target that ends so, else "folder"."""
    job_id: str | None = None
    """The job to export."""
    model_id: str | None = None
    """The model to export, over all its jobs."""
    class_name: str | None = None
    """This class only; `None`: all."""
    limit: int | None = None
    """At most this many images of each class; `None`: all."""
    overwrite: bool = False
    """Replace an earlier export at the target."""

    def __post_init__(self) -> None:
        if (self.job_id is None) == (self.model_id is None):
            raise OptionError(
                "An export is of one job or of one model",
                got=[self.job_id, self.model_id],
                allowed="exactly one",
                next_step="give --job ID or --model NAME",
            )
        if self.limit is not None and self.limit < 1:
            raise OptionError("The limit is a number of images a class", got=self.limit, allowed="1 or more, or none")

    @property
    def format(self) -> str:
        """Name of the format."""
        return self.fmt or ("npz" if str(self.target).endswith(".npz") else "folder")


def export_images(request: ExportRequest, *, catalogue: Catalogue, store: ObjectStore) -> ExportResult:
    """Export the accepted images of a job or a model.

    Args:
        request: what, where to and how; `target` must be given.
        catalogue: the bank's rows.
        store: the bank's files.

    Raises:
        StateError: nothing to export, or the target is occupied.
        SetupError: the target cannot be written.
        IntegrityError: a file differs from what was recorded; nothing is left at the target.
    """
    assert request.target is not None, "the caller names a target"
    fmt, target = request.format, request.target
    exporter = exporters.get(fmt)
    single_file = exporters.spec(fmt).single_file
    with catalogue.session(read_only=True) as session:
        facts = _facts(session, request)
        items = _items(session, store, facts, request)
        with translate_errors(str(target)):
            sink = open_sink(target, overwrite=request.overwrite, single_file=single_file)
            try:
                exporter(items, sink=sink, facts=facts)
                sink.publish()
            finally:
                sink.discard()
    result = ExportResult(str(target), fmt, dict(facts.counts), sink.files, sink.bytes, sink.sha256)
    with catalogue.session() as session:
        queries.add_export(
            session=session,
            job_id=request.job_id,
            model_id=facts.model.id,
            format=fmt,
            target=result.target,
            counts=result.counts,
            sha256=result.sha256,
        )
    return result


def _facts(session: Session, request: ExportRequest) -> ExportFacts:
    job_id, model_id, class_name, limit = request.job_id, request.model_id, request.class_name, request.limit
    name = model_id if job_id is None else queries.get_job(job_id, session=session).model_id
    assert name is not None
    model = queries.get_model(name, session=session)
    if class_name is not None and class_name not in model.class_names:
        raise OptionError(f"Model '{name}' has no such class", got=class_name, allowed=model.class_names)
    counts_by_class = queries.count_images(session=session, job_id=job_id, model_id=model_id)
    wanted = {key: of_class for key, of_class in counts_by_class.items() if class_name in (None, key)}
    accepted = {key: of_class.get(Verdict.ACCEPTED, 0) for key, of_class in wanted.items()}
    counts = {key: n if limit is None else min(n, limit) for key, n in accepted.items() if n}
    withdrawn = sum(of_class.get(Verdict.WITHDRAWN, 0) for of_class in wanted.values())
    if not counts:
        raise _nothing(job_id or name, withdrawn)
    scores = queries.scores(session=session, subject_kind="model", subject_id=name)
    if job_id is not None:
        scores = queries.scores(session=session, subject_kind="job", subject_id=job_id) or scores
    dataset = None if model.dataset_id is None else queries.get_dataset_by_id(model.dataset_id, session=session)
    return ExportFacts(job_id or name, model, dataset, counts, tuple(scores), withdrawn)


def _nothing(subject: str, withdrawn: int) -> StateError:
    if withdrawn:
        return StateError(
            "All these images were withdrawn",
            got=subject,
            next_step="train a model without the withdrawn original, then run `synthbank generate`",
        )
    return StateError("There is no accepted image to export", got=subject, next_step="run `synthbank generate` first")


def _items(session: Session, store: ObjectStore, facts: ExportFacts, request: ExportRequest) -> Iterator[ExportItem]:
    for class_name, n in facts.counts.items():
        rows = queries.accepted_images(
            session=session, job_id=request.job_id, model_id=request.model_id, class_name=class_name
        )
        for row in islice(rows, n):
            data = store.get(row.key)
            if bytes_sha256(data) != row.sha256:
                raise IntegrityError(
                    "A stored image is not the one that was recorded",
                    got=f"{row.key} ({len(data)} bytes)",
                    allowed=f"SHA-256 {row.sha256}",
                    next_step=f"make it again with `synthbank catalogue regenerate {row.id}`",
                    image_id=row.id,
                    key=row.key,
                )
            yield ExportItem(row, data)
