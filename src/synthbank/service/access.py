"""Who asks, what they may, how often; and links that open one file for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from threading import Lock
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request

from synthbank.catalogue.rows import ApiKeyRow
from synthbank.errors import AccessError, BusyError
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.maintenance.keys import SCOPES, allows, find_by_token, find_valid

COOKIE = "synthbank_session"
SESSION_SEC = 12 * 3600


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    actor: str
    """Id of the key, or "local" where no key is needed."""
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """Whether the caller holds a scope."""
        return allows(self.scopes, scope)


class RateLimiter:
    """A bucket for each caller: as many requests at once as a minute allows, refilled evenly.

    Args:
        per_minute: requests.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate, self._size = per_minute / 60.0, float(per_minute)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def spend(self, who: str, *, cost: float = 1.0, at: float | None = None) -> None:
        """Take one request (or one that counts for `cost`) out of a bucket; raises `BusyError` when it is empty."""
        now = time.monotonic() if at is None else at
        with self._lock:
            left, then = self._buckets.get(who, (self._size, now))
            left = min(self._size, left + (now - then) * self._rate)
            if left < cost:
                wait = (cost - left) / self._rate
                raise BusyError(
                    "Too many requests", next_step=f"wait {wait:.0f} s", retry_after_sec=max(1, round(wait))
                )
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            self._buckets[who] = (left - cost, now)


def sign(secret: bytes, text: str) -> str:
    """Message authentication code of a text, URL-safe."""
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def signed_link(service: Service, path: str) -> str:
    """A path with an end and a signature: opens this file without a key until then."""
    expires = int(time.time()) + service.settings.link_sec
    return f"{path}?{urlencode({'expires': expires, 'signature': sign(service.secret, f'{path}|{expires}')})}"


def link_is_good(service: Service, request: Request) -> bool:
    """Whether a request's path was signed and has not ended."""
    expires, signature = request.query_params.get("expires", ""), request.query_params.get("signature", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12) or int(expires) < time.time():
        return False
    expected = sign(service.secret, f"{request.url.path}|{expires}")
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))


def session_cookie(service: Service, key_id: str) -> str:
    """What a browser keeps after its key was accepted: the key's id and an end, signed; never the secret."""
    expires = int(time.time()) + SESSION_SEC
    return f"{expires}.{key_id}.{sign(service.secret, f'session|{key_id}|{expires}')}"


def _key_of(service: Service, request: Request) -> tuple[bool, ApiKeyRow | None]:
    """Whether a key was presented at all, and the valid key that it is."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if token:
        return True, find_by_token(service.bank, token)
    cookie = request.cookies.get(COOKIE, "")
    return bool(cookie), _key_of_session(service, cookie)


def _key_of_session(service: Service, cookie: str) -> ApiKeyRow | None:
    expires, _, rest = cookie.partition(".")
    key_id, _, signature = rest.partition(".")
    if not (expires.isascii() and expires.isdigit()) or len(expires) > 12 or int(expires) < time.time():
        return None
    expected = sign(service.secret, f"session|{key_id}|{expires}")
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        return None
    return find_valid(service.bank, key_id)


def caller(request: Request, service: ServiceDep) -> Caller:
    """Who asks; raises `AccessError` where a key is needed and none is good."""
    address = request.client.host if request.client else "unknown"
    presented, row = _key_of(service, request)
    if not presented and not service.settings.keys_required:
        service.limiter.spend(address)
        return Caller("local", ("admin",))
    service.limiter.spend(row.id if row else f"stranger {address}")
    if row is None:
        what = "This API key is unknown or has ended" if presented else "This needs an API key"
        raise AccessError(what, next_step="send 'Authorization: Bearer sb_…' (synthbank keys create NAME)", known=False)
    return Caller(row.id, row.scopes)


def require_originals(service: Service, what: str = "Originals are not served here") -> None:
    """Raise `AccessError`, which says `what`, unless the service was started with `--show-originals`."""
    if not service.settings.show_originals:
        raise AccessError(what, next_step="start the service with --show-originals", known=True)


CallerDep = Annotated[Caller, Depends(caller)]


def _require(scope: str) -> object:
    def check(found: CallerDep) -> Caller:
        if not found.may(scope):
            raise AccessError(
                "This key may not do that",
                got=found.scopes,
                allowed=SCOPES[SCOPES.index(scope) :],
                next_step=f"use a key with the scope '{scope}'",
                known=True,
            )
        return found

    return Depends(check)


def _file_reader(request: Request, service: ServiceDep) -> Caller:
    if link_is_good(service, request):
        return Caller("link", ("read",))
    found = caller(request, service)
    if not found.may("read"):
        raise AccessError("This key may not read", got=found.scopes, known=True)
    return found


Reader = Annotated[Caller, _require("read")]
Maker = Annotated[Caller, _require("generate")]
Admin = Annotated[Caller, _require("admin")]
FileReader = Annotated[Caller, Depends(_file_reader)]
