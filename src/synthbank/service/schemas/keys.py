"""API keys and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from synthbank.service.schemas.base import RowResponse, StrictBody


class KeyBody(StrictBody):
    """A new key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "notebook", "scope": "generate", "days": 90}]})

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=80)]
    scope: Literal["read", "generate", "admin"] = "generate"
    days: int | None = Field(None, ge=1, le=3650)


class KeyOut(RowResponse):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None


class NewKeyOut(KeyOut):
    """A key that was just made; the token is shown this once."""

    token: str


class AuditOut(RowResponse):
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject_kind: str
    subject_id: str
    details: dict[str, Any]
