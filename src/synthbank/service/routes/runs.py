"""Training runs: progress, history and sample sheets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from synthbank.catalogue import queries
from synthbank.service.access import Viewer
from synthbank.service.problems import ERRORS
from synthbank.service.routes.images import KEEP, PNG
from synthbank.service.schemas.bank import RunOut
from synthbank.service.schemas.base import Name
from synthbank.service.state import ServiceDep
from synthbank.workflows.training.history import run_history, sample_sheet, sample_steps

router = APIRouter(prefix="/v1/runs", tags=["training"], responses=ERRORS)


@router.get("")
def list_runs(service: ServiceDep, caller: Viewer) -> list[RunOut]:
    """Training runs, newest first, without their history."""
    with service.bank.catalogue.session(read_only=True) as session:
        return [RunOut.of(row, history=[], sheets=[]) for row in queries.list_runs(session=session)]


@router.get("/{run_id}")
def get_run(run_id: Name, service: ServiceDep, caller: Viewer) -> RunOut:
    """One run with its history and the steps of its sample sheets."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_run(run_id, session=session)
    return RunOut.of(row, history=run_history(service.bank, run_id), sheets=sample_steps(service.bank, run_id))


@router.get("/{run_id}/sheets/{step}", response_class=Response, responses=PNG)
def get_sheet(
    run_id: Name, step: Annotated[int, Path(ge=0, le=99_999_999)], service: ServiceDep, caller: Viewer
) -> Response:
    """Samples of every class at one step of the training."""
    return Response(sample_sheet(service.bank, run_id, step), media_type="image/png", headers=KEEP)
