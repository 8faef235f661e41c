"""The page *Training*: every run, and one run with its curves."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from synthbank.catalogue import queries
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import Name
from synthbank.service.state import ServiceDep

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/training")
def training(service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """Every run."""
    with service.bank.catalogue.session(read_only=True) as session:
        runs = queries.list_runs(session=session)
    return page("training", title="Training", here="/training", runs=runs)


@router.get("/training/{run_id}")
def run(run_id: Name, service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """One run; its curves come from the API, again and again while it runs."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_run(run_id, session=session)
    return page("run", title="Training", here="/training", scripts=["training"], run=row)
