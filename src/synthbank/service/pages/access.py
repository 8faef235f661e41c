"""The page *Keys*, and signing in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from synthbank.catalogue import queries
from synthbank.service.access import COOKIE, SESSION_SEC, Manager, session_cookie
from synthbank.service.pages.render import page
from synthbank.service.state import ServiceDep
from synthbank.workflows.maintenance.keys import find_by_token

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/keys")
def keys(service: ServiceDep, caller: Manager) -> HTMLResponse:
    """Keys and the audit log."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.list_keys(session=session)
        events = queries.audit_events(limit=60, session=session)
    return page(
        "keys",
        title="API keys",
        here="/keys",
        scripts=["keys"],
        keys=rows,
        events=events,
        now=datetime.now(UTC),
        required=service.settings.keys_required,
    )


@router.get("/login")
def login() -> HTMLResponse:
    """Ask for a key."""
    return page("login", title="Sign in", nav=False, wrong=False)


@router.post("/login")
async def sign_in(request: Request, service: ServiceDep) -> Response:
    """Exchange a key for a session of some hours; the browser never stores the key."""
    # each attempt counts for twenty requests: keys must not be guessed at speed
    service.limiter.spend(f"login {request.client.host if request.client else 'unknown'}", cost=20.0)
    fields = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=4)
    row = find_by_token(service.bank, fields.get("key", [""])[0].strip())
    if row is None:
        return page("login", title="Sign in", nav=False, wrong=True, status=401)
    answer = RedirectResponse("/make", 303)
    answer.set_cookie(
        COOKIE,
        session_cookie(service, row.id),
        max_age=SESSION_SEC,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.get("/logout")
def sign_out() -> Response:
    """Forget the session."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer
