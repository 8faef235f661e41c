"""Generation jobs: rows, one by one. `queue.py` says which worker has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from synthbank.catalogue.queries.models import require_published
from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import JobRow
from synthbank.catalogue.tables import GenerationJob, now
from synthbank.catalogue.write import checked, insert_new, table_of
from synthbank.errors import StateError, UnknownNameError
from synthbank.records import JobStatus

_JOB = table_of(GenerationJob)


def add_job(
    job_id: str,
    *,
    session: Session,
    model_id: str,
    request: Mapping[str, Any],
    seed: int,
    n_requested: int,
    screened: bool,
    status: JobStatus = JobStatus.QUEUED,
) -> JobRow:
    """Record a job; the same id again returns the job as it is, so that it can be resumed.

    Raises:
        StateError: the model was withdrawn, or the id belongs to a job of another model or seed.
    """
    require_published(model_id, session=session)
    row = {
        "id": job_id,
        "model_id": model_id,
        "request": request,
        "seed": seed,
        "n_requested": n_requested,
        "screened": screened,
        "status": status,
        "n_accepted": 0,
        "n_rejected": 0,
        "n_attempts": 0,
        "seconds": 0.0,
        "started_at": now(),
    }
    insert_new(session, GenerationJob, [row])
    job = get_job(job_id, session=session)
    if (job.model_id, job.seed) != (model_id, seed):
        raise StateError(
            "This job id belongs to another request",
            got=f"{job_id}: model {model_id}, seed {seed}",
            allowed=f"model {job.model_id}, seed {job.seed}",
            next_step="resume it with its own settings, or choose another id",
            job=job_id,
        )
    return job


def get_job(job_id: str, *, session: Session) -> JobRow:
    """A job by id; raises `UnknownNameError` with the nearest id."""
    row = first(session, JobRow, select(_JOB).where(_JOB.c.id == job_id))
    if row is None:
        known = session.scalars(select(_JOB.c.id)).all()
        raise UnknownNameError("generation job", job_id, known, next_step="start one with `synthbank generate`")
    return row


def list_jobs(*, session: Session, model_id: str | None = None, limit: int | None = None) -> list[JobRow]:
    """Jobs, newest first."""
    statement = select(_JOB).order_by(_JOB.c.started_at.desc(), _JOB.c.id).limit(limit)
    if model_id is not None:
        statement = statement.where(_JOB.c.model_id == model_id)
    return records(session, JobRow, statement)


def update_job(job_id: str, *, session: Session, **columns: Any) -> JobRow:
    """Change the given columns of a job."""
    get_job(job_id, session=session)
    if columns:
        session.execute(update(_JOB).where(_JOB.c.id == job_id).values(checked(_JOB, columns)))
    return get_job(job_id, session=session)
