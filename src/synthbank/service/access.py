"""Access: the caller of a request, its scopes and its rate; and signed links that open one file for a while.

Three things authorise a request: an API key, the session cookie of a browser that presented one, and (for one file) a
signed link. Cookie and link are `HMAC-SHA-256(secret, text)` over a text that holds its own end, so that the server
keeps no list of them. The text of a cookie begins with "session|" and that of a link with "/": neither can be passed
off as the other. A cookie holds the id of the key and never its token, and the key is looked up at every request:
revoking the key ends its sessions at once. Signatures are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request

from synthbank.catalogue.rows import ApiKeyRow
from synthbank.errors import AccessError
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.maintenance.keys import SCOPES, allows, find_by_token, find_valid

COOKIE = "synthbank_session"
SESSION_SEC = 12 * 3600
_MOST_DIGITS = 12
"""Of a time in seconds: a longer number is no time, and would cost time to convert."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request."""

    actor: str
    """Id of the key, or "local" where no key is needed."""
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """`True` if the caller holds a scope."""
        return allows(self.scopes, scope)


def sign(secret: bytes, text: str) -> str:
    """Message authentication code of a text, URL-safe."""
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def signed_link(service: Service, path: str) -> str:
    """A path with an end and a signature: opens this file without a key until then."""
    expires = int(time.time()) + service.settings.link_sec
    return f"{path}?{urlencode({'expires': expires, 'signature': sign(service.secret, f'{path}|{expires}')})}"


def link_is_valid(service: Service, request: Request) -> bool:
    """`True` if a request's path was signed and its link has not ended."""
    expires, signature = request.query_params.get("expires", ""), request.query_params.get("signature", "")
    if _has_ended(expires):
        return False
    return _is_signed(service, f"{request.url.path}|{expires}", signature)


def session_cookie(service: Service, key_id: str) -> str:
    """The session of a browser whose key was accepted: the key's id and an end, signed; never the secret."""
    expires = int(time.time()) + SESSION_SEC
    return f"{expires}.{key_id}.{sign(service.secret, f'session|{key_id}|{expires}')}"


def _key_of(service: Service, request: Request) -> tuple[bool, ApiKeyRow | None]:
    """(a key was presented, the valid key that it is)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if token:
        return True, find_by_token(service.bank, token)
    cookie = request.cookies.get(COOKIE, "")
    return bool(cookie), _key_of_session(service, cookie)


def _key_of_session(service: Service, cookie: str) -> ApiKeyRow | None:
    expires, _, rest = cookie.partition(".")
    key_id, _, signature = rest.partition(".")
    if _has_ended(expires) or not _is_signed(service, f"session|{key_id}|{expires}", signature):
        return None
    return find_valid(service.bank, key_id)


def _has_ended(expires: str) -> bool:
    # isdigit alone would let through digits of other scripts, which int() reads as well
    well_formed = expires.isascii() and expires.isdigit() and len(expires) <= _MOST_DIGITS
    return not well_formed or int(expires) < time.time()


def _is_signed(service: Service, text: str, signature: str) -> bool:
    # compared in constant time: how long a comparison takes must not say how many characters were right
    return hmac.compare_digest(sign(service.secret, text).encode(), signature.encode(errors="replace"))


def caller(request: Request, service: ServiceDep) -> Caller:
    """The caller of a request; raises `AccessError` where a key is needed and none is valid."""
    address = request.client.host if request.client else "unknown"
    presented, row = _key_of(service, request)
    if not presented and not service.settings.keys_required:
        service.limiter.spend(address)
        return Caller("local", ("admin",))
    # requests with a wrong key share a bucket by address, so that keys cannot be guessed at speed
    service.limiter.spend(row.id if row else f"stranger {address}")
    if row is None:
        what = "This API key is unknown or has ended" if presented else "This needs an API key"
        raise AccessError(what, next_step="send 'Authorization: Bearer sb_…' (synthbank keys create NAME)", known=False)
    return Caller(row.id, row.scopes)


def require_originals(service: Service, what: str = "Originals are not served here") -> None:
    """Raise `AccessError` with the text `what`, unless the service was started with `--show-originals`."""
    if not service.settings.show_originals:
        raise AccessError(what, next_step="start the service with --show-originals", known=True)


CallerDep = Annotated[Caller, Depends(caller)]


def _require(scope: str) -> Any:
    """A dependency that gives the caller, or raises `AccessError` where it does not hold the scope."""

    def check(known: CallerDep) -> Caller:
        if not known.may(scope):
            raise AccessError(
                "This key may not do that",
                got=known.scopes,
                allowed=SCOPES[SCOPES.index(scope) :],
                next_step=f"use a key with the scope '{scope}'",
                known=True,
            )
        return known

    return Depends(check)


def _file_viewer(request: Request, service: ServiceDep) -> Caller:
    if link_is_valid(service, request):
        return Caller("link", ("read",))
    known = caller(request, service)
    if not known.may("read"):
        raise AccessError("This key may not read", got=known.scopes, known=True)
    return known


Viewer = Annotated[Caller, _require("read")]
Maker = Annotated[Caller, _require("generate")]
Manager = Annotated[Caller, _require("admin")]
FileViewer = Annotated[Caller, Depends(_file_viewer)]
