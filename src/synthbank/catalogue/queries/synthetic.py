"""Synthetic images: bulk entry that may be repeated, streams in a fixed order, and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from synthbank.catalogue.queries.models import require_published
from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import ImageFile, ImageRow
from synthbank.catalogue.tables import Image, now
from synthbank.catalogue.write import checked, insert_new, table_of
from synthbank.errors import NotFoundError
from synthbank.records import Verdict

_IMAGE = table_of(Image)
_PAGE = 1000
_DEFAULTS: dict[str, Any] = {
    "truncation": 1.0,
    "scores": {},
    "nearest_original": None,
    "nearest_distance": None,
    "reason": None,
    "screened": True,
}


def add_images(rows: Sequence[Mapping[str, Any]], *, session: Session) -> int:
    """Enter images; one that is there already (same id, or same job, class and index) stays as it is.

    Args:
        rows: one mapping an image, column name to value: `id`, `job_id`, `model_id`, `class_index`, `class_name`,
            `index`, `seed`, `key`, `sha256`, `pixel_sha256`, `bytes`, `verdict`; `truncation` (1.0), `scores` ({}),
            `nearest_original`, `nearest_distance`, `reason` (`None`) and `screened` (true) may be left out.
        session: open session.

    Returns:
        The number of rows that are new.

    Raises:
        StateError: the model was withdrawn in the meantime.
    """
    for model_id in sorted({str(row["model_id"]) for row in rows if "model_id" in row}):
        require_published(model_id, session=session)
    created_at = now()
    return insert_new(session, Image, [{**_DEFAULTS, "created_at": created_at, **row} for row in rows])


def add_image_scores(scores: Mapping[str, Mapping[str, float]], *, session: Session) -> None:
    """Write scores of single images beside those they have; a name that is there already is replaced.

    Args:
        scores: image id to name to value.
        session: open session.

    Raises:
        NotFoundError: no such image.
    """
    for image_id in sorted(scores):
        known = get_image(image_id, session=session).scores
        row = checked(_IMAGE, {"scores": {**known, **scores[image_id]}})
        session.execute(update(_IMAGE).where(_IMAGE.c.id == image_id).values(row))


def get_image(image_id: str, *, session: Session) -> ImageRow:
    """An image by id."""
    row = first(session, ImageRow, select(_IMAGE).where(_IMAGE.c.id == image_id))
    if row is None:
        raise NotFoundError(
            "There is no image with this id",
            got=image_id,
            next_step="look it up with `synthbank catalogue search`",
            image_id=image_id,
        )
    return row


def accepted_images(
    *,
    session: Session,
    job_id: str | None = None,
    model_id: str | None = None,
    class_name: str | None = None,
) -> Iterator[ImageRow]:
    """Accepted images of a job or model, streamed by class, index and id."""
    statement = _accepted(job_id, model_id, class_name)
    key = (_IMAGE.c.class_index, _IMAGE.c.index, _IMAGE.c.id)
    page = records(session, ImageRow, statement.order_by(*key).limit(_PAGE))
    while page:
        yield from page
        last = page[-1]
        beyond = tuple_(*key) > (last.class_index, last.index, last.id)
        page = records(session, ImageRow, statement.where(beyond).order_by(*key).limit(_PAGE))


def image_keys(*, session: Session, job_id: str | None = None) -> Iterator[ImageFile]:
    """Id, key, hash and size of every stored image, by id; what a check of the files needs."""
    columns = (_IMAGE.c.id, _IMAGE.c.key, _IMAGE.c.sha256, _IMAGE.c.bytes)
    statement = select(*columns).order_by(_IMAGE.c.id).limit(_PAGE)
    if job_id is not None:
        statement = statement.where(_IMAGE.c.job_id == job_id)
    page = session.execute(statement).all()
    while page:
        yield from (ImageFile(*row) for row in page)
        page = session.execute(statement.where(_IMAGE.c.id > page[-1].id)).all()


def count_images(
    *, session: Session, job_id: str | None = None, model_id: str | None = None
) -> dict[str, dict[str, int]]:
    """Class name to verdict to number of images, of a job, a model or the whole bank."""
    columns = (_IMAGE.c.class_index, _IMAGE.c.class_name, _IMAGE.c.verdict)
    statement = select(*columns, func.count().label("n")).group_by(*columns).order_by(*columns)
    if job_id is not None:
        statement = statement.where(_IMAGE.c.job_id == job_id)
    if model_id is not None:
        statement = statement.where(_IMAGE.c.model_id == model_id)
    counts: dict[str, dict[str, int]] = {}
    for row in session.execute(statement):
        of_class = counts.setdefault(row.class_name, {})
        of_class[row.verdict] = of_class.get(row.verdict, 0) + row.n
    return counts


def last_index(*, session: Session, job_id: str, class_index: int) -> int | None:
    """The highest attempt number entered for a class of a job; `None` before the first."""
    where = (_IMAGE.c.job_id == job_id, _IMAGE.c.class_index == class_index)
    highest: int | None = session.scalar(select(func.max(_IMAGE.c.index)).where(*where))
    return highest


def _accepted(job_id: str | None, model_id: str | None, class_name: str | None) -> Select[Any]:
    wanted = {"job_id": job_id, "model_id": model_id, "class_name": class_name, "verdict": Verdict.ACCEPTED.value}
    return select(_IMAGE).where(*(_IMAGE.c[name] == value for name, value in wanted.items() if value is not None))
