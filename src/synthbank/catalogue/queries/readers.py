"""Reader studies and their items; what readers answered stands in `evaluations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import ReaderItemRow, ReaderStudyRow
from synthbank.catalogue.tables import Image, Original, ReaderItem, ReaderStudy, now
from synthbank.catalogue.write import insert_new, table_of
from synthbank.errors import UnknownNameError
from synthbank.records import Verdict

_STUDY = table_of(ReaderStudy)
_ITEM = table_of(ReaderItem)
_IMAGE = table_of(Image)
_ORIGINAL = table_of(Original)


def add_study(
    study_id: str,
    *,
    session: Session,
    job_id: str,
    seed: int,
    options: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
) -> ReaderStudyRow:
    """Enter a study with its items; the same id again changes nothing.

    Args:
        study_id: names the study.
        session: open session.
        job_id: whose images are asked about.
        seed: of choice, order and tokens.
        options: how it was made.
        items: `position`, `token`, `class_name`, `truth`, and `image_id` or `original_id`.
    """
    row = {"id": study_id, "job_id": job_id, "seed": seed, "options": options, "created_at": now()}
    if insert_new(session, ReaderStudy, [row]):
        insert_new(session, ReaderItem, [{"study_id": study_id, **item} for item in items])
    return get_study(study_id, session=session)


def get_study(study_id: str, *, session: Session) -> ReaderStudyRow:
    """A study by id; raises `UnknownNameError` with the nearest id."""
    row = first(session, ReaderStudyRow, select(_STUDY).where(_STUDY.c.id == study_id))
    if row is None:
        known = session.scalars(select(_STUDY.c.id)).all()
        raise UnknownNameError("reader study", study_id, known, next_step="make one with `synthbank reader make`")
    return row


def list_studies(*, session: Session, job_id: str | None = None) -> list[ReaderStudyRow]:
    """Studies, newest first."""
    statement = select(_STUDY).order_by(_STUDY.c.created_at.desc(), _STUDY.c.id)
    if job_id is not None:
        statement = statement.where(_STUDY.c.job_id == job_id)
    return records(session, ReaderStudyRow, statement)


def study_items(study_id: str, *, session: Session) -> list[ReaderItemRow]:
    """The images of a study, in the order in which they are shown."""
    return records(session, ReaderItemRow, select(_ITEM).where(_ITEM.c.study_id == study_id).order_by(_ITEM.c.position))


def study_keys(study_id: str, *, session: Session) -> dict[str, str]:
    """Token to storage key of a study's images; those that were withdrawn since are left out."""
    synthetic = (
        select(_ITEM.c.token, _IMAGE.c.key)
        .join(_IMAGE, _IMAGE.c.id == _ITEM.c.image_id)
        .where(_ITEM.c.study_id == study_id, _IMAGE.c.verdict != Verdict.WITHDRAWN.value)
    )
    real = (
        select(_ITEM.c.token, _ORIGINAL.c.key)
        .join(_ORIGINAL, _ORIGINAL.c.id == _ITEM.c.original_id)
        .where(_ITEM.c.study_id == study_id, _ORIGINAL.c.withdrawn_at.is_(None), _ORIGINAL.c.key.is_not(None))
    )
    return {token: key for statement in (synthetic, real) for token, key in session.execute(statement)}
