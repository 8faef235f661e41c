"""Withdrawal: an original must go, and with it everything that learned from it. Records stay; their verdict changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from synthbank.catalogue.queries.models import WITHDRAWN
from synthbank.catalogue.queries.synthetic import get_image
from synthbank.catalogue.rows import ImageRow, WithdrawalReport
from synthbank.catalogue.tables import (
    Dataset,
    GenerationJob,
    Image,
    Model,
    ModelOriginal,
    Original,
    TrainingRun,
    now,
)
from synthbank.catalogue.write import table_of
from synthbank.errors import NotFoundError
from synthbank.records import Verdict


def withdraw_original(sha256: str, *, session: Session) -> WithdrawalReport:
    """Mark an original, each model that depended on it and each of their images as withdrawn; may be repeated.

    Args:
        sha256: pixel hash of the original.
        session: open session.

    Raises:
        NotFoundError: no data set and no model knows this original.
    """
    if not _known(sha256, session):
        raise NotFoundError(
            "No data set and no model holds this original",
            got=sha256,
            next_step="find its hash with `synthbank catalogue search NAME`",
            sha256=sha256,
        )
    return _withdraw(sha256, session)


def withdraw_image(image_id: str, *, session: Session, reason: str) -> ImageRow:
    """Mark one synthetic image as withdrawn, with the reason; may be repeated."""
    row = get_image(image_id, session=session)
    if row.verdict != Verdict.WITHDRAWN.value:
        note = func.coalesce(Image.reason + "; ", "") + reason
        _mark(session, Image, Image.id == image_id, verdict=Verdict.WITHDRAWN.value, reason=note)
    return get_image(image_id, session=session)


def _known(sha256: str, session: Session) -> bool:
    entered = select(Original.id).where(Original.sha256 == sha256)
    learned = select(ModelOriginal.model_id).where(ModelOriginal.original_sha256 == sha256)
    return session.scalar(entered.limit(1)) is not None or session.scalar(learned.limit(1)) is not None


def _withdraw(sha256: str, session: Session) -> WithdrawalReport:
    models = select(ModelOriginal.model_id).where(ModelOriginal.original_sha256 == sha256)
    note = f"original {sha256[:12]} withdrawn"
    _mark(session, Original, Original.sha256 == sha256, Original.withdrawn_at.is_(None), withdrawn_at=now())
    # models before images: a job that enters images holds its model's row, so none can slip in between
    changed = _mark(session, Model, Model.id.in_(models), Model.status != WITHDRAWN, status=WITHDRAWN)
    changed += _mark(
        session,
        Image,
        Image.model_id.in_(models),
        Image.verdict != Verdict.WITHDRAWN.value,
        verdict=Verdict.WITHDRAWN.value,
        reason=func.coalesce(Image.reason + "; ", "") + note,
    )
    holders = select(Original.dataset_id).where(Original.sha256 == sha256)
    datasets = session.execute(select(Dataset.name, Dataset.version).where(Dataset.id.in_(holders)))
    return WithdrawalReport(
        sha256=sha256,
        datasets=tuple(sorted(f"{name}@{version}" for name, version in datasets)),
        runs=_sorted(session, select(TrainingRun.id).where(TrainingRun.dataset_id.in_(holders))),
        models=_sorted(session, models),
        jobs=_sorted(session, select(GenerationJob.id).where(GenerationJob.model_id.in_(models))),
        images=_sorted(session, select(Image.id).where(Image.model_id.in_(models))),
        newly_withdrawn=changed,
    )


def _mark(session: Session, model: Any, *where: ColumnElement[bool], **values: Any) -> int:
    table = table_of(model)
    result: Any = session.execute(update(table).where(*where).values(**values))
    return int(result.rowcount)


def _sorted(session: Session, statement: Any) -> tuple[str, ...]:
    return tuple(sorted(session.scalars(statement)))
