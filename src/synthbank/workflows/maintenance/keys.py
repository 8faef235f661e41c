"""API keys: made, looked up, rotated and revoked. A secret is shown once and stored as its hash."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from synthbank.catalogue import ApiKeyRow, queries
from synthbank.errors import OptionError
from synthbank.fingerprint import bytes_sha256
from synthbank.workflows.bank import Bank

SCOPES = ("read", "generate", "admin")
"""Each includes those before it."""


@dataclass(frozen=True)
class NewKey:
    """A key that was just made."""

    row: ApiKeyRow
    token: str
    """The token that the client sends; it cannot be shown again."""


def create_key(
    bank: Bank, name: str, *, scope: str = "generate", days: int | None = None, actor: str = "local"
) -> NewKey:
    """Make a key.

    Args:
        bank: whose service it opens.
        name: who or what uses it, 1 to 80 characters.
        scope: "read" looks, "generate" also makes images, "admin" also withdraws and manages keys.
        days: its life; `None`: no end.
        actor: who makes it, for the audit log.
    """
    if scope not in SCOPES:
        raise OptionError("There is no such scope", got=scope, allowed=SCOPES)
    if not 1 <= len(name.strip()) <= 80 or not name.isprintable():
        raise OptionError("A key needs a name", got=name[:80], allowed="1 to 80 printable characters")
    if days is not None and not 1 <= days <= 3650:
        raise OptionError("The life of a key is a number of days", got=days, allowed="1 to 3650, or none")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with bank.catalogue.session() as session:
        return _enter(session, name.strip(), (scope,), expires_at, "key.create", actor)


def rotate_key(bank: Bank, key_id: str, *, overlap_hours: float = 24.0, actor: str = "local") -> NewKey:
    """A new key with the name and scope of an old one, which stays valid for `overlap_hours` more."""
    if not 0 <= overlap_hours <= 24 * 90:
        raise OptionError("The overlap is a number of hours", got=overlap_hours, allowed="0 to 2160")
    with bank.catalogue.session() as session:
        old = queries.get_key(key_id, session=session)
        now = datetime.now(UTC)
        if not old.valid(now):
            raise OptionError("This key has ended", got=key_id, next_step="make a new one: synthbank keys create NAME")
        new = _enter(session, old.name, old.scopes, old.expires_at, "key.rotate", actor)
        end = now + timedelta(hours=overlap_hours)
        queries.end_key(key_id, at=end, replaced_by=new.row.id, session=session)
    return new


def revoke_key(bank: Bank, key_id: str, *, actor: str = "local") -> ApiKeyRow:
    """End a key at once, whatever end it had."""
    with bank.catalogue.session() as session:
        row = queries.end_key(key_id, at=datetime.now(UTC), session=session)
        queries.add_audit("key.revoke", actor=actor, subject_kind="key", subject_id=key_id, session=session)
    return row


def find_by_token(bank: Bank, token: str) -> ApiKeyRow | None:
    """The valid key that a token opens; `None` for any other text."""
    mark, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    if mark != "sb" or not (key_id.isalnum() and key_id.isascii() and len(key_id) == 12 and secret):
        return None
    with bank.catalogue.session(read_only=True) as session:
        row = queries.find_key(key_id, session=session)
    given = bytes_sha256(secret.encode(errors="replace"))
    if row is None or not hmac.compare_digest(given, row.secret_sha256):
        return None
    return row if row.valid(datetime.now(UTC)) else None


def find_valid(bank: Bank, key_id: str) -> ApiKeyRow | None:
    """The key with this id, unless it has ended."""
    with bank.catalogue.session(read_only=True) as session:
        row = queries.find_key(key_id, session=session)
    return row if row is not None and row.valid(datetime.now(UTC)) else None


def has_valid_key(bank: Bank) -> bool:
    """Tell whether anybody could use the service."""
    with bank.catalogue.session(read_only=True) as session:
        return any(row.valid(datetime.now(UTC)) for row in queries.list_keys(session=session))


def allows(scopes: tuple[str, ...], wanted: str) -> bool:
    """Tell whether scopes include one."""
    return any(SCOPES.index(scope) >= SCOPES.index(wanted) for scope in scopes if scope in SCOPES)


def _enter(
    session: Session, name: str, scopes: tuple[str, ...], expires_at: datetime | None, action: str, actor: str
) -> NewKey:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    # 256 random bits: a plain hash is as good as a slow one, which exists to protect words that people choose
    digest = bytes_sha256(secret.encode())
    row = queries.add_key(
        key_id, name=name, secret_sha256=digest, scopes=scopes, expires_at=expires_at, session=session
    )
    details = {"name": name, "scopes": list(scopes)}
    queries.add_audit(action, actor=actor, subject_kind="key", subject_id=key_id, details=details, session=session)
    return NewKey(row, f"sb_{key_id}_{secret}")
