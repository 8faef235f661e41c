"""API keys and the audit log of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, insert, select, update
from sqlalchemy.orm import Session

from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import ApiKeyRow, AuditRow
from synthbank.catalogue.tables import ApiKey, AuditEvent, now
from synthbank.catalogue.write import checked, table_of
from synthbank.errors import UnknownNameError

_KEY = table_of(ApiKey)
_EVENT = table_of(AuditEvent)


def add_key(
    key_id: str,
    *,
    session: Session,
    name: str,
    secret_sha256: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> ApiKeyRow:
    """Enter a key; only the hash of its secret."""
    row = {"id": key_id, "name": name, "secret_sha256": secret_sha256, "scopes": scopes, "expires_at": expires_at}
    session.execute(insert(_KEY).values({**checked(_KEY, row), "created_at": now()}))
    return get_key(key_id, session=session)


def find_key(key_id: str, *, session: Session) -> ApiKeyRow | None:
    """A key by id; `None` when nobody has it."""
    return first(session, ApiKeyRow, select(_KEY).where(_KEY.c.id == key_id))


def get_key(key_id: str, *, session: Session) -> ApiKeyRow:
    """A key by id; raises `UnknownNameError` with the nearest id."""
    row = find_key(key_id, session=session)
    if row is None:
        known = session.scalars(select(_KEY.c.id)).all()
        raise UnknownNameError("API key", key_id, known, next_step="make one with `synthbank keys create NAME`")
    return row


def list_keys(*, session: Session) -> list[ApiKeyRow]:
    """All keys, newest first, ended ones included."""
    return records(session, ApiKeyRow, select(_KEY).order_by(_KEY.c.created_at.desc(), _KEY.c.id))


def end_key(key_id: str, *, session: Session, at: datetime, replaced_by: str | None = None) -> ApiKeyRow:
    """A key stops being valid at `at`; one that ends earlier stays as it is."""
    known = get_key(key_id, session=session)
    if known.revoked_at is None or at < known.revoked_at:
        values = {"revoked_at": at, "replaced_by": replaced_by or known.replaced_by}
        session.execute(update(_KEY).where(_KEY.c.id == key_id).values(checked(_KEY, values)))
    return get_key(key_id, session=session)


def add_audit(
    action: str,
    *,
    session: Session,
    actor: str,
    subject_kind: str,
    subject_id: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Record who did what."""
    row = {
        "actor": actor,
        "action": action,
        "subject_kind": subject_kind,
        "subject_id": subject_id,
        "details": dict(details or {}),
    }
    session.execute(insert(_EVENT).values({**checked(_EVENT, row), "at": now()}))


def audit_events(
    *,
    session: Session,
    subject_kind: str | None = None,
    subject_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditRow]:
    """A page of the audit log, newest first; `before` is the last number of the page before."""
    statement = select(_EVENT).order_by(_EVENT.c.id.desc()).limit(limit)
    wanted = {"subject_kind": subject_kind, "subject_id": subject_id}
    statement = statement.where(*(_EVENT.c[name] == value for name, value in wanted.items() if value is not None))
    if before is not None:
        statement = statement.where(_EVENT.c.id < before)
    return records(session, AuditRow, statement)


def unanswered(action: str, answer: str, *, session: Session, subject_kind: str, since: datetime) -> list[str]:
    """Subjects for which an `action` was entered after `since`, and no `answer` after the newest one; oldest first."""

    def newest(name: str) -> ColumnElement[int]:
        return func.max(case((_EVENT.c.action == name, _EVENT.c.id), else_=0))

    statement = (
        select(_EVENT.c.subject_id)
        .where(_EVENT.c.subject_kind == subject_kind, _EVENT.c.action.in_((action, answer)), _EVENT.c.at > since)
        .group_by(_EVENT.c.subject_id)
        .having(newest(action) > newest(answer))
        .order_by(newest(action))
    )
    return list(session.scalars(statement))
