"""Error handlers: the one place where errors become HTTP responses."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from synthbank.errors import (
    AccessError,
    BusyError,
    InputError,
    IntegrityError,
    NotFoundError,
    OptionError,
    SetupError,
    StateError,
    SynthBankError,
    UnknownNameError,
)
from synthbank.service.guard import HEADERS
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import ErrorOut

log = logging.getLogger("synthbank.service")

# the first match counts: a subclass stands before its parent
_STATUS: tuple[tuple[type[SynthBankError], int], ...] = (
    (UnknownNameError, 404),
    (NotFoundError, 404),
    (OptionError, 422),
    (InputError, 422),
    (BusyError, 429),
    (IntegrityError, 500),
    (StateError, 409),
    (SetupError, 503),
)
ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorOut, "description": HTTPStatus(status).phrase} for status in (401, 403, 404, 409, 422, 429)
}
"""Errors that any route of the API may answer with, for the OpenAPI document."""


def register(app: FastAPI) -> None:
    """Add the handlers."""
    app.add_exception_handler(SynthBankError, _synthbank_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected_error)


def status_of(error: SynthBankError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, AccessError):
        return 403 if error.facts.get("known") else 401
    if error.facts.get("withdrawn"):
        return 410
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def body_of(kind: str, what: str, **facts: object) -> dict[str, object]:
    """The body of every 4xx or 5xx response."""
    shown = {name: None if value is None else _shortened(value) for name, value in facts.items()}
    return {"error": {"type": kind, "what": what, "got": None, "allowed": None, "next": None} | shown}


async def _synthbank_error(request: Request, error: SynthBankError) -> Response:
    status = status_of(error)
    if (answer := _page_for_browser(request, status, error.what, error.next_step)) is not None:
        return answer
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(error.facts.get("retry_after_sec", 5))
    if status >= 500:
        log.error("%s", error.message)
    content = body_of(type(error).__name__, error.what, got=error.got, allowed=error.allowed, next=error.next_step)
    return JSONResponse(content, status, headers)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    if (answer := _page_for_browser(request, 404, "There is nothing here", None)) is not None:
        return answer
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse(body_of("ValidationError", f"{where}: {first['msg']}", got=first.get("input")), 422)


async def _http_error(request: Request, error: HTTPException) -> Response:
    if (answer := _page_for_browser(request, error.status_code, "There is nothing here", None)) is not None:
        return answer
    return JSONResponse(body_of("HTTPError", str(error.detail)), error.status_code, error.headers)


async def _unexpected_error(_: Request, error: Exception) -> Response:
    log.exception("an unexpected error", exc_info=error)
    return JSONResponse(body_of("InternalError", "An unexpected error; the server's log says more"), 500, HEADERS)


def _page_for_browser(request: Request, status: int, what: str, next_step: str | None) -> Response | None:
    """The sign-in page, or a page that says what is wrong; `None` if the client is a program and not a browser."""
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return None
    if status == 401:
        return RedirectResponse("/login", 303)
    return page("problem", title="Problem", status=status, what=what, next=next_step)


def _shortened(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
    return text.encode(errors="replace").decode()[:300]
