"""The queue of generation jobs: targets of each job, the worker that holds it, and the lease.

A worker *claims* a job, *renews* its lease while it works, and ends or *releases* the job. A worker that dies does
neither: its lease runs out and the job can be claimed again, or somebody who knows of the death *requeues* the job.
Each of these is one short transaction, and no lock is held while images are made.
"""

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
"""Claims in a row without progress after which a job counts as exhausted: it has killed its workers, and fails."""


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
    """Raise the targets of a job to at least `targets`; it is queued unless it holds these images already.

    Args:
        job_id: id of the job; a new one is entered.
        session: open session.
        model_id: published model.
        request: what else decides the images, kept from the first call.
        seed: of the job.
        screened: the gate screens the images.
        targets: class name to number of accepted images.
        max_queued: refuse when so many jobs wait already; `None`: no limit.
        again: queue it even when nothing seems to be missing.

    Raises:
        StateError: the model was withdrawn, or the id belongs to another request.
        BusyError: the queue is full.
    """
    facts: dict[str, Any] = {"model_id": model_id, "request": request, "seed": seed, "screened": screened}
    add_job(job_id, session=session, n_requested=0, **facts)
    # the row is locked before it is read: two requests at once would otherwise both start from the old targets
    job = first(session, JobRow, select(_JOB).where(_JOB.c.id == job_id).with_for_update())
    assert job is not None
    known = dict(job.targets or {})
    # targets only grow: a request for fewer images takes nothing away from an earlier one for more
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
    # a running job stays with its worker, which sees the new revision at its next commit
    running = job.status == JobStatus.RUNNING.value and job.worker is not None
    return update_job(
        job_id,
        session=session,
        targets=wanted,
        n_requested=sum(wanted.values()),
        revision=job.revision + 1,
        status=(JobStatus.RUNNING if running else JobStatus.QUEUED).value,
        queued_at=job.queued_at if waits else now(),  # a waiting job keeps its place in the queue
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
    """Claim waiting jobs, oldest first; also those whose worker let its lease run out.

    Args:
        worker: that claims them.
        session: open session; the claim counts when it commits.
        lease_sec: seconds in which no other worker may claim them.
        limit: at most so many.
        model_id: of this model only.
        job_id: this job only.
    """
    statement = select(_JOB).where(_ready())
    for column, value in ((_JOB.c.model_id, model_id), (_JOB.c.id, job_id)):
        statement = statement if value is None else statement.where(column == value)
    # PostgreSQL: FOR UPDATE SKIP LOCKED. Without SKIP LOCKED, workers that claim at once queue behind the same oldest
    # row, and find it taken; with it each passes over rows that another one is claiming. SQLite knows neither clause:
    # a session that may write begins with BEGIN IMMEDIATE (`database.py`), so claims come one after the other.
    statement = statement.order_by(_JOB.c.queued_at, _JOB.c.id).limit(limit).with_for_update(skip_locked=True)
    ready = records(session, JobRow, statement)
    # a claim is counted up here and set to 0 by progress: it only adds up while workers die before their first commit
    exhausted = [job.id for job in ready if job.claims >= MAX_CLAIMS]
    message = f"given up after {MAX_CLAIMS} attempts"
    _set(session, exhausted, status=JobStatus.FAILED, message=message, finished_at=now())
    claimed = [job.id for job in ready if job.claims < MAX_CLAIMS]
    _set(
        session,
        claimed,
        status=JobStatus.RUNNING,
        worker=worker,
        lease_until=now() + timedelta(seconds=lease_sec),
        claims=_JOB.c.claims + 1,
    )
    return [get_job(identity, session=session) for identity in claimed]


def claimable(*, session: Session, model_id: str | None = None) -> bool:
    """True where `claim` would find a job; asked often, so it takes no lock."""
    statement = select(_JOB.c.id).where(_ready()).limit(1)
    if model_id is not None:
        statement = statement.where(_JOB.c.model_id == model_id)
    return session.scalar(statement) is not None


def workers(*, session: Session) -> list[str]:
    """Sorted names of the workers that hold jobs."""
    statement = select(_JOB.c.worker).where(_JOB.c.status == JobStatus.RUNNING.value, _JOB.c.worker.is_not(None))
    return sorted(session.scalars(statement.distinct()))


def lock_claimed(worker: str, job_ids: Sequence[str], *, session: Session) -> dict[str, JobRow]:
    """Those of the jobs that this worker still holds, by id, locked until the session ends.

    A job whose lease ran out, and that another worker has claimed since, is not among them.

    Args:
        worker: that claimed the jobs.
        job_ids: ids of these jobs.
        session: open session.
    """
    # the holder alone decides, not the clock: a lease that is over but that nobody claimed is still the worker's
    where = (_JOB.c.id.in_(sorted(job_ids)), _JOB.c.worker == worker, _JOB.c.status == JobStatus.RUNNING.value)
    # always in the order of ids, so that two transactions over the same jobs cannot lock each other out
    rows = records(session, JobRow, select(_JOB).where(*where).order_by(_JOB.c.id).with_for_update())
    return {row.id: row for row in rows}


def renew(worker: str, job_ids: Sequence[str], *, session: Session, lease_sec: float) -> dict[str, JobRow]:
    """Renew the leases of the jobs that this worker still holds; these jobs, locked as by `lock_claimed`.

    Args:
        worker: that claimed the jobs.
        job_ids: ids of these jobs.
        session: open session.
        lease_sec: seconds from now until another worker may claim them.
    """
    rows = lock_claimed(worker, job_ids, session=session)
    _set(session, list(rows), lease_until=now() + timedelta(seconds=lease_sec))
    return rows


def record_progress(changes: Sequence[Mapping[str, Any]], *, session: Session, lease_sec: float) -> None:
    """Store how far jobs came, and renew their leases; call it for jobs that `lock_claimed` has returned.

    Args:
        changes: `id`, `n_accepted`, `n_rejected`, `n_attempts`, `seconds` of each job.
        session: the session of `lock_claimed`.
        lease_sec: seconds from now until another worker may claim the jobs.
    """
    if not changes:
        return
    names = ("n_accepted", "n_rejected", "n_attempts", "seconds")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    # progress clears the count of claims: this worker brought the job forward, whatever became of the ones before
    values |= {"lease_until": now() + timedelta(seconds=lease_sec), "claims": 0}
    statement = update(_JOB).where(_JOB.c.id == bindparam("job")).values(values)
    rows = [{"job": row["id"]} | {f"new_{name}": row[name] for name in names} for row in changes]
    session.connection().execute(statement, rows)


def end_jobs(
    job_ids: Sequence[str], status: JobStatus, *, session: Session, message: str | None = None, **columns: Any
) -> None:
    """End jobs that the caller holds, or that wait."""
    ended = {"status": status, "message": message, "finished_at": now(), "worker": None, "lease_until": None}
    _set(session, job_ids, **ended, **columns)


def release(
    worker: str,
    *,
    session: Session,
    job_ids: Sequence[str] | None = None,
    to_the_end: bool = False,
) -> int:
    """Give jobs back to the queue (`None`: all that this worker holds); the number of jobs.

    Args:
        worker: that holds them.
        session: open session.
        job_ids: ids of the jobs; others of the worker stay with it.
        to_the_end: others that wait go first.
    """
    # the claim is taken back: a worker that stops in good order is not held against the job
    claims = case((_JOB.c.claims > 0, _JOB.c.claims - 1), else_=0)
    return _to_queue(worker, job_ids, session, claims=claims, **({"queued_at": now()} if to_the_end else {}))


def requeue(worker: str, *, session: Session) -> int:
    """Put the jobs of a worker that has died back into the queue, without waiting for its leases; their number.

    Their claims go on counting: a job that kills each of its workers is exhausted after `MAX_CLAIMS`, and fails.
    """
    return _to_queue(worker, None, session)


def cancel_job(job_id: str, *, session: Session) -> JobRow:
    """Cancel a job: a waiting one ends at once, a running one at its worker's next commit.

    It keeps the images it has, and a new request for it resumes there.
    """
    job = first(session, JobRow, select(_JOB).where(_JOB.c.id == job_id).with_for_update())
    if job is None:
        return get_job(job_id, session=session)  # raises
    if job.status not in _OPEN:
        return job
    if job.status == JobStatus.QUEUED.value or job.worker is None:
        end_jobs([job_id], JobStatus.CANCELLED, session=session, message="cancelled", cancelled_at=now())
    else:
        # the row stays the worker's, which ends the job itself: its files and rows would otherwise disagree
        _set(session, [job_id], cancelled_at=now(), revision=_JOB.c.revision + 1)
    return get_job(job_id, session=session)


def queued(*, session: Session, model_id: str | None = None) -> int:
    """Number of waiting jobs."""
    where = [_JOB.c.status == JobStatus.QUEUED.value]
    if model_id is not None:
        where.append(_JOB.c.model_id == model_id)
    return session.scalar(select(func.count()).select_from(_JOB).where(*where)) or 0


def has_waiting_jobs(model_id: str, *, session: Session) -> bool:
    """True where a job of another model than this one waits."""
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
        # the last job seen is the bound, not a page number: jobs that come meanwhile shift nothing
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
    # nobody has to tell that a worker died: a job is free again once its lease is over
    lost = and_(_JOB.c.status == JobStatus.RUNNING.value, _JOB.c.lease_until < now())
    return or_(_JOB.c.status == JobStatus.QUEUED.value, lost)


def _nothing_to_do(session: Session, job: JobRow, known: Mapping[str, int], targets: Mapping[str, int]) -> bool:
    # a capped job has used up its attempts: asking for the same again would not bring more
    if job.cancelled_at is None and job.targets is not None and job.status in (*_OPEN, JobStatus.CAPPED.value):
        return all(known.get(name, 0) >= n for name, n in targets.items())
    if job.status != JobStatus.DONE.value:
        return False
    # counted anew, as images may have been withdrawn since the job was done
    have = count_images(job_id=job.id, session=session)
    return all(have.get(name, {}).get(Verdict.ACCEPTED.value, 0) >= n for name, n in targets.items())


def _to_queue(worker: str, job_ids: Sequence[str] | None, session: Session, **columns: Any) -> int:
    where = [_JOB.c.worker == worker, _JOB.c.status == JobStatus.RUNNING.value]
    if job_ids is not None:
        where.append(_JOB.c.id.in_(job_ids))
    values: dict[str, Any] = {"status": JobStatus.QUEUED.value, "worker": None, "lease_until": None, **columns}
    result: Any = session.execute(update(_JOB).where(*where).values(values))
    return int(result.rowcount)


def _set(session: Session, job_ids: Sequence[str], **columns: Any) -> None:
    if job_ids:
        # expressions such as `claims + 1` are computed by the database, and pass the check of plain values by
        computed = {name: value for name, value in columns.items() if hasattr(value, "compile")}
        plain = checked(_JOB, {name: value for name, value in columns.items() if name not in computed})
        session.execute(update(_JOB).where(_JOB.c.id.in_(job_ids)).values({**plain, **computed}))
