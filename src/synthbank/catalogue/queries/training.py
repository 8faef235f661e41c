"""Training runs and their snapshots."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import RunRow, SnapshotRow
from synthbank.catalogue.tables import Snapshot, TrainingRun, now
from synthbank.catalogue.write import checked, insert_new, table_of
from synthbank.errors import NotFoundError, UnknownNameError
from synthbank.records import JobStatus

_RUN = table_of(TrainingRun)
_SNAPSHOT = table_of(Snapshot)
_RUN_DEFAULTS: dict[str, Any] = {
    "status": JobStatus.QUEUED,
    "images_seen": 0,
    "elapsed_sec": 0.0,
    "config": {},
    "events": [],
}
ENDED = frozenset({JobStatus.DONE, JobStatus.CAPPED, JobStatus.FAILED, JobStatus.CANCELLED})


def upsert_run(run_id: str, *, session: Session, **columns: Any) -> RunRow:
    """Enter a run, or change the given columns of the one with this id.

    A new run needs `dataset_id`, `architecture` and `seed`; the other columns have defaults.
    """
    known = session.scalar(select(_RUN.c.id).where(_RUN.c.id == run_id))
    new = {**_RUN_DEFAULTS, "started_at": now(), **columns, "id": run_id}
    entered = known is None and insert_new(session, TrainingRun, [new]) == 1
    if columns and not entered:
        session.execute(update(_RUN).where(_RUN.c.id == run_id).values(checked(_RUN, columns)))
    return get_run(run_id, session=session)


def get_run(run_id: str, *, session: Session) -> RunRow:
    """A run by id; raises `UnknownNameError` with the nearest id."""
    row = first(session, RunRow, select(_RUN).where(_RUN.c.id == run_id))
    if row is None:
        known = session.scalars(select(_RUN.c.id)).all()
        raise UnknownNameError("training run", run_id, known, next_step="start one with `synthbank train`")
    return row


def list_runs(*, session: Session, dataset_id: int | None = None) -> list[RunRow]:
    """Runs, newest first."""
    statement = select(_RUN).order_by(_RUN.c.started_at.desc(), _RUN.c.id)
    if dataset_id is not None:
        statement = statement.where(_RUN.c.dataset_id == dataset_id)
    return records(session, RunRow, statement)


def set_run_status(
    run_id: str, status: JobStatus | str, *, session: Session, reason: str | None = None, **columns: Any
) -> RunRow:
    """Change a run's status and any other column; an ended run also gets its end time."""
    get_run(run_id, session=session)
    ended = JobStatus(status) in ENDED
    finished = {"finished_at": now() if ended else None}
    return upsert_run(run_id, session=session, **{"status": status, "status_reason": reason, **finished, **columns})


def upsert_snapshot(
    run_id: str,
    step: int,
    *,
    session: Session,
    key: str,
    sha256: str,
    images_seen: int,
    scores: dict[str, Any] | None = None,
) -> SnapshotRow:
    """Enter a snapshot, or change the one of the same run and step.

    Args:
        run_id: id of the run.
        step: training step; one snapshot a step.
        session: open session.
        key: where its weights lie.
        sha256: of the weights file.
        images_seen: training images seen so far.
        scores: metric to value; `None` leaves earlier scores of this snapshot as they are.
    """
    row: dict[str, Any] = {"run_id": run_id, "step": step, "key": key, "sha256": sha256, "images_seen": images_seen}
    insert_new(session, Snapshot, [{**row, "scores": scores or {}, "chosen": False, "created_at": now()}])
    changed = row if scores is None else {**row, "scores": scores}
    where = (_SNAPSHOT.c.run_id == run_id, _SNAPSHOT.c.step == step)
    session.execute(update(_SNAPSHOT).where(*where).values(checked(_SNAPSHOT, changed)))
    return get_snapshot(run_id, step, session=session)


def get_snapshot(run_id: str, step: int, *, session: Session) -> SnapshotRow:
    """The snapshot of a run at a step."""
    where = (_SNAPSHOT.c.run_id == run_id, _SNAPSHOT.c.step == step)
    row = first(session, SnapshotRow, select(_SNAPSHOT).where(*where))
    if row is None:
        steps = [s.step for s in snapshots(run_id, session=session)]
        raise NotFoundError(f"Run '{run_id}' has no snapshot at this step", got=step, allowed=steps or "none yet")
    return row


def snapshots(run_id: str, *, session: Session) -> list[SnapshotRow]:
    """Snapshots of a run, by step."""
    statement = select(_SNAPSHOT).where(_SNAPSHOT.c.run_id == run_id).order_by(_SNAPSHOT.c.step)
    return records(session, SnapshotRow, statement)


def choose_snapshot(run_id: str, step: int, *, session: Session) -> SnapshotRow:
    """Mark one snapshot of a run as chosen, and no other."""
    get_snapshot(run_id, step, session=session)
    where = _SNAPSHOT.c.run_id == run_id
    session.execute(update(_SNAPSHOT).where(where).values(chosen=_SNAPSHOT.c.step == step))
    return get_snapshot(run_id, step, session=session)


def chosen_snapshot(run_id: str, *, session: Session) -> SnapshotRow | None:
    """The chosen snapshot of a run; `None` before the choice."""
    where = (_SNAPSHOT.c.run_id == run_id, _SNAPSHOT.c.chosen.is_(True))
    return first(session, SnapshotRow, select(_SNAPSHOT).where(*where))
