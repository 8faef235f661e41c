"""Scores, exports and answers of reader studies; rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from synthbank.catalogue.read import records
from synthbank.catalogue.rows import EvaluationRow, ExportRow, ReaderAnswerRow
from synthbank.catalogue.tables import Evaluation, Export, ReaderAnswer, now
from synthbank.catalogue.write import checked, insert_new, table_of
from synthbank.records import Score

SubjectKind = Literal["job", "model", "dataset"]
_EVALUATION = table_of(Evaluation)
_EXPORT = table_of(Export)
_ANSWER = table_of(ReaderAnswer)


def add_scores(
    scores: Sequence[Score],
    *,
    session: Session,
    subject_kind: SubjectKind,
    subject_id: str,
    reference_fingerprint: str | None = None,
) -> None:
    """Record scores of a job, model or data set.

    Args:
        scores: one a metric and class.
        session: open session.
        subject_kind: what was measured.
        subject_id: its id (of a data set: its number as text).
        reference_fingerprint: of the real images it was measured against.
    """
    shared = {
        "subject_kind": subject_kind,
        "subject_id": str(subject_id),
        "reference_fingerprint": reference_fingerprint,
        "created_at": now(),
    }
    insert_new(session, Evaluation, [{**asdict(score), **shared} for score in scores])


def scores(*, session: Session, subject_kind: SubjectKind, subject_id: str, latest: bool = True) -> list[EvaluationRow]:
    """Recorded scores of a subject, by metric and class.

    Args:
        session: open session.
        subject_kind: what was measured.
        subject_id: its id.
        latest: only the newest of each metric, class, group and reference; `False`: the whole history, oldest first.
    """
    where = (_EVALUATION.c.subject_kind == subject_kind, _EVALUATION.c.subject_id == str(subject_id))
    rows = records(session, EvaluationRow, select(_EVALUATION).where(*where).order_by(_EVALUATION.c.id))
    if not latest:
        return rows
    newest = {_measured_thing(row): row for row in rows}
    return [newest[key] for key in sorted(newest)]


def _measured_thing(row: EvaluationRow) -> tuple[str, str, str, str]:
    return (row.metric, row.class_name or "", row.group_name or "", row.reference_fingerprint or "")


def add_export(
    *,
    session: Session,
    job_id: str | None,
    model_id: str | None,
    format: str,
    target: str,
    counts: Mapping[str, int],
    sha256: str | None = None,
) -> int:
    """Record an export; its number."""
    row = {
        "job_id": job_id,
        "model_id": model_id,
        "format": format,
        "target": target,
        "counts": counts,
        "sha256": sha256,
    }
    return _inserted(session, _EXPORT, row)


def list_exports(*, session: Session) -> list[ExportRow]:
    """Exports, newest first."""
    return records(session, ExportRow, select(_EXPORT).order_by(_EXPORT.c.id.desc()))


def add_reader_answer(
    *,
    session: Session,
    reading: str,
    reader: str,
    truth: str,
    answer: str,
    milliseconds: int,
    image_id: str | None = None,
    original_id: int | None = None,
) -> int:
    """Record one answer of a reader study; `reading` is the study session; its number."""
    row = {
        "session": reading,
        "reader": reader,
        "truth": truth,
        "answer": answer,
        "milliseconds": milliseconds,
        "image_id": image_id,
        "original_id": original_id,
    }
    return _inserted(session, _ANSWER, row)


def reader_answers(*, session: Session, reading: str | None = None) -> list[ReaderAnswerRow]:
    """Answers of one study session (or all), in order."""
    statement = select(_ANSWER).order_by(_ANSWER.c.id)
    if reading is not None:
        statement = statement.where(_ANSWER.c.session == reading)
    return records(session, ReaderAnswerRow, statement)


def _inserted(session: Session, table: Any, row: Mapping[str, Any]) -> int:
    statement = insert(table).values({**checked(table, row), "created_at": now()}).returning(table.c.id)
    return int(session.execute(statement).scalar_one())
