"""The queue of generation jobs: what is wanted of each, who works on it, and until when nobody else may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal, or_, select, tuple_, update
from sqlalchemy.orm import Session

from synthbank.catalogue.queries.jobs import add_job, get_job, update_job
from synthbank.catalogue.queries.synthetic import count_images
from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import JobRow
from synthbank.catalogue.tables import GenerationJob, now
from synthbank.catalogue.write import checked, table_of
from synthbank.errors import BusyError
from synthbank.records import JobStatus, Verdict

_JOB = table_of(GenerationJob)
_OPEN = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
MAX_CLAIMS = 5
"""A job that was taken up so often without coming forward has killed its workers; it fails."""


def enqueue(
    job_id: str,
    *,
    session: Session,
    model_id: str,
    request: Mapping[str, Any],
    seed: int,
    screened: bool,
    targets: Mapping[str, int],
    max_queued: int | None = None,
    again: bool = False,
) -> JobRow:
    """Want at least `targets` accepted images of each class of a job; it is queued unless it holds them already.

    Args:
        job_id: id of the job; a new one is entered.
        session: open session.
        model_id: published model.
        request: what else decides the images, kept from the first call.
        seed: of the job.
        screened: whether the gate looks at the images.
        targets: class name to number of accepted images.
        max_queued: refuse when so many jobs wait already; `None`: no limit.
        again: queue it even when nothing seems to be missing.

    Raises:
        StateError: the model was withdrawn, or the id belongs to another request.
        BusyError: the queue is full.
    """
    facts: dict[str, Any] = {"model_id": model_id, "request": request, "seed": seed, "screened": screened}
    add_job(job_id, session=session, n_requested=0, **facts)
    job = first(session, JobRow, select(_JOB).where(_JOB.c.id == job_id).with_for_update())
    assert job is not None
    known = dict(job.targets or {})
    wanted = known | {name: max(n, known.get(name, 0)) for name, n in targets.items()}
    if not again and _nothing_to_do(session, job, known, targets):
        return job
    waits = job.status == JobStatus.QUEUED.value and job.queued_at is not None
    if not waits and max_queued is not None and queued(session=session) >= max_queued:
        raise BusyError(
            "The queue of generation jobs is full",
            got=max_queued,
            next_step="ask again in some seconds",
            retry_after_sec=5,
        )
    running = job.status == JobStatus.RUNNING.value and job.worker is not None
    return update_job(
        job_id,
        session=session,
        targets=wanted,
        n_requested=sum(wanted.values()),
        revision=job.revision + 1,
        status=(JobStatus.RUNNING if running else JobStatus.QUEUED).value,
        queued_at=job.queued_at if waits else now(),
        cancelled_at=None,
        finished_at=None,
        message=None,
    )


def claim(
    worker: str,
    *,
    session: Session,
    lease_sec: float,
    limit: int = 1,
    model_id: str | None = None,
    job_id: str | None = None,
) -> list[JobRow]:
    """Take up waiting jobs, oldest first; also those whose worker let its lease run out.

    Several workers may claim at once: PostgreSQL skips rows that another holds, SQLite lets one writer in at a time.

    Args:
        worker: who takes them.
        session: open session; the jobs are taken when it commits.
        lease_sec: how long nobody else may take them.
        limit: at most so many.
        model_id: of this model only.
        job_id: this job only.
    """
    statement = select(_JOB).where(_ready())
    for column, value in ((_JOB.c.model_id, model_id), (_JOB.c.id, job_id)):
        statement = statement if value is None else statement.where(column == value)
    statement = statement.order_by(_JOB.c.queued_at, _JOB.c.id).limit(limit).with_for_update(skip_locked=True)
    found = records(session, JobRow, statement)
    worn = [job.id for job in found if job.claims >= MAX_CLAIMS]
    _set(session, worn, status=JobStatus.FAILED, message=f"given up after {MAX_CLAIMS} attempts", finished_at=now())
    taken = [job.id for job in found if job.claims < MAX_CLAIMS]
    _set(
        session,
        taken,
        status=JobStatus.RUNNING,
        worker=worker,
        lease_until=now() + timedelta(seconds=lease_sec),
        claims=_JOB.c.claims + 1,
    )
    return [get_job(identity, session=session) for identity in taken]


def claimable(*, session: Session, model_id: str | None = None) -> bool:
    """Whether `claim` would find something; asked often, so it takes no lock."""
    statement = select(_JOB.c.id).where(_ready()).limit(1)
    if model_id is not None:
        statement = statement.where(_JOB.c.model_id == model_id)
    return session.scalar(statement) is not None


def workers(*, session: Session) -> list[str]:
    """Sorted names of those who hold jobs."""
    statement = select(_JOB.c.worker).where(_JOB.c.status == JobStatus.RUNNING.value, _JOB.c.worker.is_not(None))
    return sorted(session.scalars(statement.distinct()))


def held(worker: str, job_ids: Sequence[str], *, session: Session, lease_sec: float | None = None) -> dict[str, JobRow]:
    """Those of the jobs that this worker still holds, by id, locked until the session ends.

    Args:
        worker: who asks.
        job_ids: which.
        session: open session.
        lease_sec: also renew their leases, for so long.
    """
    where = (_JOB.c.id.in_(sorted(job_ids)), _JOB.c.worker == worker, _JOB.c.status == JobStatus.RUNNING.value)
    rows = records(session, JobRow, select(_JOB).where(*where).order_by(_JOB.c.id).with_for_update())
    if lease_sec is not None:
        _set(session, [row.id for row in rows], lease_until=now() + timedelta(seconds=lease_sec))
    return {row.id: row for row in rows}


def record_progress(changes: Sequence[Mapping[str, Any]], *, session: Session, lease_sec: float) -> None:
    """Store how far jobs came, and renew their leases; call it for jobs that `held` has returned.

    Args:
        changes: `id`, `n_accepted`, `n_rejected`, `n_attempts`, `seconds` of each job.
        session: the session of `held`.
        lease_sec: length of the new lease.
    """
    if not changes:
        return
    names = ("n_accepted", "n_rejected", "n_attempts", "seconds")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    values |= {"lease_until": now() + timedelta(seconds=lease_sec), "claims": 0}
    statement = update(_JOB).where(_JOB.c.id == bindparam("job")).values(values)
    rows = [{"job": row["id"]} | {f"new_{name}": row[name] for name in names} for row in changes]
    session.connection().execute(statement, rows)


def end_jobs(
    job_ids: Sequence[str], status: JobStatus, *, session: Session, message: str | None = None, **columns: Any
) -> None:
    """End jobs that the caller holds (or that wait)."""
    ended = {"status": status, "message": message, "finished_at": now(), "worker": None, "lease_until": None}
    _set(session, job_ids, **ended, **columns)


def release(
    worker: str,
    *,
    session: Session,
    job_ids: Sequence[str] | None = None,
    to_the_end: bool = False,
    keep_claims: bool = False,
) -> int:
    """Give jobs back to the queue (`None`: all that this worker holds); the number of jobs.

    Args:
        worker: who holds them.
        session: open session.
        job_ids: which; others of the worker stay with it.
        to_the_end: others that wait go first.
        keep_claims: the worker died over them; a job that does so again and again fails at last.
    """
    where = [_JOB.c.worker == worker, _JOB.c.status == JobStatus.RUNNING.value]
    if job_ids is not None:
        where.append(_JOB.c.id.in_(job_ids))
    values: dict[str, Any] = {
        "status": JobStatus.QUEUED.value,
        "worker": None,
        "lease_until": None,
        "claims": _JOB.c.claims if keep_claims else case((_JOB.c.claims > 0, _JOB.c.claims - 1), else_=0),
    }
    result: Any = session.execute(
        update(_JOB).where(*where).values(values | ({"queued_at": now()} if to_the_end else {}))
    )
    return int(result.rowcount)


def cancel_job(job_id: str, *, session: Session) -> JobRow:
    """Want nothing more of a job.

    A waiting one ends at once, a running one when its worker looks up. Both keep what they have, and asking for the job
    again goes on from there.
    """
    job = first(session, JobRow, select(_JOB).where(_JOB.c.id == job_id).with_for_update())
    if job is None:
        return get_job(job_id, session=session)  # raises
    if job.status not in _OPEN:
        return job
    if job.status == JobStatus.QUEUED.value or job.worker is None:
        end_jobs([job_id], JobStatus.CANCELLED, session=session, message="cancelled", cancelled_at=now())
    else:
        _set(session, [job_id], cancelled_at=now(), revision=_JOB.c.revision + 1)
    return get_job(job_id, session=session)


def queued(*, session: Session, model_id: str | None = None) -> int:
    """How many jobs wait."""
    where = [_JOB.c.status == JobStatus.QUEUED.value]
    if model_id is not None:
        where.append(_JOB.c.model_id == model_id)
    return session.scalar(select(func.count()).select_from(_JOB).where(*where)) or 0


def others_wait(model_id: str, *, session: Session) -> bool:
    """Whether a job of another model waits."""
    where = (_JOB.c.status == JobStatus.QUEUED.value, _JOB.c.model_id != model_id)
    return session.scalar(select(_JOB.c.id).where(*where).limit(1)) is not None


def jobs_by_id(job_ids: Sequence[str], *, session: Session) -> dict[str, JobRow]:
    """The jobs with these ids; ids that are not known are left out."""
    return {row.id: row for row in records(session, JobRow, select(_JOB).where(_JOB.c.id.in_(sorted(job_ids))))}


def page_jobs(
    *,
    session: Session,
    model_id: str | None = None,
    status: JobStatus | str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[JobRow]:
    """A page of jobs, newest first; `after` is the last id of the page before."""
    statement = select(_JOB).order_by(_JOB.c.started_at.desc(), _JOB.c.id.desc()).limit(limit)
    if model_id is not None:
        statement = statement.where(_JOB.c.model_id == model_id)
    if status is not None:
        statement = statement.where(_JOB.c.status == JobStatus(status).value)
    if after is not None:
        seen = get_job(after, session=session)
        bound = tuple_(literal(seen.started_at, _JOB.c.started_at.type), literal(seen.id))
        statement = statement.where(tuple_(_JOB.c.started_at, _JOB.c.id) < bound)
    return records(session, JobRow, statement)


def n_attempts(*, session: Session) -> int:
    """Images in the bank, as the jobs count them; counting millions of rows would take seconds."""
    return int(session.scalar(select(func.sum(_JOB.c.n_attempts))) or 0)


def job_counts(*, session: Session) -> dict[str, int]:
    """Status to number of jobs."""
    statement = select(_JOB.c.status, func.count()).group_by(_JOB.c.status).order_by(_JOB.c.status)
    return {status: int(n) for status, n in session.execute(statement)}


def _ready() -> ColumnElement[bool]:
    lost = and_(_JOB.c.status == JobStatus.RUNNING.value, _JOB.c.lease_until < now())
    return or_(_JOB.c.status == JobStatus.QUEUED.value, lost)


def _nothing_to_do(session: Session, job: JobRow, known: Mapping[str, int], targets: Mapping[str, int]) -> bool:
    if job.cancelled_at is None and job.targets is not None and job.status in (*_OPEN, JobStatus.CAPPED.value):
        return all(known.get(name, 0) >= n for name, n in targets.items())
    if job.status != JobStatus.DONE.value:
        return False
    have = count_images(job_id=job.id, session=session)
    return all(have.get(name, {}).get(Verdict.ACCEPTED.value, 0) >= n for name, n in targets.items())


def _set(session: Session, job_ids: Sequence[str], **columns: Any) -> None:
    if job_ids:
        computed = {name: value for name, value in columns.items() if hasattr(value, "compile")}
        plain = checked(_JOB, {name: value for name, value in columns.items() if name not in computed})
        session.execute(update(_JOB).where(_JOB.c.id.in_(job_ids)).values({**plain, **computed}))
