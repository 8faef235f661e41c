"""Health, readiness and Prometheus metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from synthbank.catalogue import queries
from synthbank.errors import SynthBankError
from synthbank.service.access import Viewer
from synthbank.service.state import Service, ServiceDep

router = APIRouter(tags=["health"])


@router.get("/health")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "The catalogue does not answer, or no worker lives."}})
def ready(service: ServiceDep) -> JSONResponse:
    """The catalogue answers and the workers live."""
    return readiness(service)


def readiness(service: Service) -> JSONResponse:
    """200, or 503 with the parts that are missing."""
    problems = []
    try:
        with service.bank.catalogue.session(read_only=True) as session:
            queries.queued(session=session)
    except SynthBankError as error:
        problems.append(error.what)
    if service.settings.workers and not service.supervisor.pids:
        problems.append("no worker lives")
    return JSONResponse({"status": "not ready" if problems else "ok", "problems": problems}, 503 if problems else 200)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: ServiceDep, caller: Viewer) -> Response:
    """Prometheus' text format."""
    text = service.metrics.text(
        service.bank, workers=len(service.supervisor.pids), restarts=service.supervisor.restarts
    )
    return Response(text, media_type=CONTENT_TYPE_LATEST)
