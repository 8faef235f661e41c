"""API keys and the audit log; for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from synthbank.catalogue import queries
from synthbank.service.access import Manager
from synthbank.service.problems import ERRORS
from synthbank.service.schemas.base import Identity, Label
from synthbank.service.schemas.keys import AuditOut, KeyBody, KeyOut, NewKeyOut
from synthbank.service.state import ServiceDep
from synthbank.workflows.maintenance.keys import NewKey, create_key, revoke_key, rotate_key

router = APIRouter(prefix="/v1", tags=["keys"], responses=ERRORS)
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("/keys")
def list_keys(service: ServiceDep, caller: Manager) -> list[KeyOut]:
    """All keys, ended ones included."""
    with service.bank.catalogue.session(read_only=True) as session:
        return [KeyOut.of(row) for row in queries.list_keys(session=session)]


@router.post("/keys", status_code=201)
def new_key(body: KeyBody, service: ServiceDep, caller: Manager) -> NewKeyOut:
    """Make a key; its token is in this answer and nowhere else."""
    return _new_key_out(create_key(service.bank, body.name, scope=body.scope, days=body.days, actor=caller.actor))


@router.post("/keys/{key_id}/rotate", status_code=201)
def rotate(
    key_id: KeyId,
    service: ServiceDep,
    caller: Manager,
    overlap_hours: Annotated[float, Query(ge=0, le=2160, allow_inf_nan=False)] = 24.0,
) -> NewKeyOut:
    """A new key in place of an old one, which stays valid for some hours."""
    return _new_key_out(rotate_key(service.bank, key_id, overlap_hours=overlap_hours, actor=caller.actor))


@router.post("/keys/{key_id}/revoke")
def revoke(key_id: KeyId, service: ServiceDep, caller: Manager) -> KeyOut:
    """End a key at once."""
    return KeyOut.of(revoke_key(service.bank, key_id, actor=caller.actor))


@router.get("/audit")
def audit(
    service: ServiceDep,
    caller: Manager,
    kind: Annotated[Label | None, Query()] = None,
    subject: Annotated[Identity | None, Query()] = None,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[AuditOut]:
    """The audit log, newest first: every change, with its time and its actor."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.audit_events(subject_kind=kind, subject_id=subject, before=before, limit=limit, session=session)
    return [AuditOut.of(row) for row in rows]


def _new_key_out(new: NewKey) -> NewKeyOut:
    return NewKeyOut.of(new.row, token=new.token)
