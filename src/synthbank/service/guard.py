"""The guard around the application: host, origin, size and pace of every request; headers of every answer.

It runs before any route, key or parser. Three attacks decide its rules:

- DNS rebinding: a page of another site points its own name at 127.0.0.1. Without keys, only requests to a local host
  name are served.
- Cross-site request forgery: a page of another site submits a form here, with the session of its reader. Requests that
  change something must come from this origin.
- Bodies without end, or of one byte a minute. A body is read whole, within limits of bytes and seconds, before anything
  works on it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthbank.service.settings import ServiceSettings

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class Refused(Exception):
    """A request that is answered by the guard and reaches no route."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what it protects.
        settings: limits.
        observe: called with method, route, status and seconds of every answer.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, observe: Callable[[str, str, int, float], None]
    ) -> None:
        self.app, self.settings, self._observe = app, settings, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit or refuse one request, and observe its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), [500]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                _add_headers(message, scope["path"])
            await send(message)

        try:
            body = await self._admit(scope, receive)
            await self.app(scope, body, send_with_headers)
        except Refused as refused:
            await _send_refusal(send_with_headers, refused)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self._observe(scope["method"], route, status[0], time.perf_counter() - start)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        if not self.settings.keys_required:
            _check_host(headers)
        if scope["method"] in _SAFE:
            return receive
        # browsers set this header and scripts cannot; programs do not send it
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(403, "This request comes from another site")
        return await self._read_body(headers, receive)

    async def _read_body(self, headers: Headers, receive: Receive) -> Receive:
        """The body, read whole within the limits of bytes and seconds, as a `Receive` that gives it once more."""
        limit = self.settings.max_body_bytes
        announced = headers.get("content-length", "0")  # chunked bodies announce nothing and are counted below
        if not announced.isdigit() or int(announced) > limit:
            raise Refused(413, f"The body may have {limit} bytes")
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self.settings.body_timeout_sec):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "The client went away")
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > limit:
                        raise Refused(413, f"The body may have {limit} bytes")
        except TimeoutError:
            raise Refused(408, "The body came too slowly") from None
        return _replay(b"".join(parts), receive)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()  # waits for the disconnect
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _check_host(headers: Headers) -> None:
    """Refuse a host name that is not local: it may be another site's, pointed here (DNS rebinding)."""
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if name not in _LOCAL_NAMES:
        raise Refused(421, "Without API keys the service answers to localhost only")


def _add_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(raw=message["headers"])
    message["headers"] = headers.raw
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store" if not path.startswith("/static/") else "no-cache")


async def _send_refusal(send: Send, refused: Refused) -> None:
    content = {"error": {"type": "Refused", "what": refused.what}}
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
