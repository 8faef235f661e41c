"""Models, data sets, evaluations, exports and (where switched on) originals."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from synthbank.catalogue import queries
from synthbank.catalogue.rows import ExportRow
from synthbank.errors import NotFoundError
from synthbank.reports.scores import meaning_of, order_scores, title_of
from synthbank.service.access import FileViewer, Maker, Viewer, require_originals, signed_link
from synthbank.service.evaluations import REQUESTED
from synthbank.service.problems import ERRORS
from synthbank.service.routes.images import KEEP, PNG
from synthbank.service.schemas.bank import (
    DatasetOut,
    EvaluationBody,
    EvaluationOut,
    EvaluationStatus,
    ExportBody,
    ExportOut,
    ModelOut,
)
from synthbank.service.schemas.base import Identity, Name, Sha256
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.data.preview import expansion_sheet
from synthbank.workflows.delivery.export import ExportRequest, export_to_store, stored_key
from synthbank.workflows.delivery.image_files import original_file

router = APIRouter(prefix="/v1", tags=["bank"], responses=ERRORS)
_TYPES = {"zip": "application/zip", "npz": "application/octet-stream"}


@router.get("/models")
def list_models(service: ServiceDep, caller: Viewer) -> list[ModelOut]:
    """Models, newest first, withdrawn ones included."""
    with service.bank.catalogue.session(read_only=True) as session:
        return [ModelOut.of(row) for row in queries.list_models(session=session)]


@router.get("/models/{name}")
def get_model(name: Name, service: ServiceDep, caller: Viewer) -> ModelOut:
    """One model with its card."""
    with service.bank.catalogue.session(read_only=True) as session:
        return ModelOut.of(queries.get_model(name, session=session))


@router.get("/datasets")
def list_datasets(service: ServiceDep, caller: Viewer) -> list[DatasetOut]:
    """Every version of every data set."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.list_datasets(session=session)
        return [DatasetOut.of(row, counts=queries.split_counts(row.id, session=session)) for row in rows]


@router.get("/datasets/{name}")
def get_dataset(name: Name, service: ServiceDep, caller: Viewer) -> DatasetOut:
    """The newest version of a data set."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_dataset(name, session=session)
        return DatasetOut.of(row, counts=queries.split_counts(row.id, session=session))


@router.get("/datasets/{name}/expansion", response_class=Response, responses=PNG)
def get_expansion_sheet(
    name: Name,
    service: ServiceDep,
    caller: Viewer,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Left out: the newest.")] = None,
) -> Response:
    """Training originals beside their affine copies, where the service was started with `--show-originals`."""
    require_originals(service)
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_dataset(name, version, session=session)
        known = queries.list_expansions(row.id, session=session)
    if not known:
        raise NotFoundError(
            "This data set was not expanded", got=name, next_step=f"synthbank expand {name} --preview sheet.png"
        )
    return Response(expansion_sheet(service.bank, row), media_type="image/png", headers=KEEP)


@router.get("/originals/{sha256}/file", response_class=Response, responses=PNG)
def get_original(sha256: Sha256, service: ServiceDep, caller: FileViewer) -> Response:
    """An original, where the service was started with `--show-originals`."""
    require_originals(service)
    return Response(original_file(service.bank, sha256), media_type="image/png", headers=KEEP)


@router.get("/evaluations")
def list_evaluations(
    service: ServiceDep,
    caller: Viewer,
    subject: Annotated[Identity, Query(description="Id of a job, a model or a data set.")],
    kind: Annotated[Literal["job", "model", "dataset"], Query()] = "job",
) -> list[EvaluationOut]:
    """The newest scores of a job, model or data set, in the order of the report."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.scores(subject_kind=kind, subject_id=subject, session=session)
    return [
        EvaluationOut.of(row, title=title_of(row.metric), meaning=meaning_of(row.metric)) for row in order_scores(rows)
    ]


@router.post("/evaluations", status_code=202)
def evaluate_job(body: EvaluationBody, service: ServiceDep, caller: Maker) -> EvaluationStatus:
    """Score a job's images against held-out originals, in a separate process; follow it with `/progress`."""
    with service.bank.catalogue.session() as session:
        job = queries.get_job(body.job, session=session)
        queries.add_audit(REQUESTED, actor=caller.actor, subject_kind="job", subject_id=job.id, session=session)
    return EvaluationStatus.of(service.evaluations.submit(job.id))


@router.get("/evaluations/progress")
def evaluation_progress(
    service: ServiceDep, caller: Viewer, job: Annotated[Identity, Query(description="Id of a job.")]
) -> EvaluationStatus:
    """Progress of the evaluation of a job."""
    state = service.evaluations.state(job)
    return EvaluationStatus(job=job, state="none") if state is None else EvaluationStatus.of(state)


@router.post("/exports", status_code=201)
def create_export(body: ExportBody, service: ServiceDep, caller: Maker) -> ExportOut:
    """Pack the accepted images of a model or job as one file, with metadata and card."""
    request = ExportRequest(
        fmt=body.format,
        job_id=body.job,
        model_id=body.model,
        class_name=body.class_name,
        limit=body.limit or service.settings.max_images,
    )
    result = export_to_store(service.bank, request)
    with service.bank.catalogue.session() as session:
        row = next(row for row in queries.list_exports(session=session) if row.target == result.target)
        queries.add_audit("export", actor=caller.actor, subject_kind="export", subject_id=str(row.id), session=session)
    return _export_out(service, row)


@router.get("/exports")
def list_exports(service: ServiceDep, caller: Viewer) -> list[ExportOut]:
    """Exports, newest first."""
    with service.bank.catalogue.session(read_only=True) as session:
        return [_export_out(service, row) for row in queries.list_exports(session=session)[:200]]


@router.get(
    "/exports/{number}/file",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}, "application/octet-stream": {}}, "description": "The file."}},
)
def get_export(number: Annotated[int, Path(ge=1, le=2**31 - 1)], service: ServiceDep, caller: FileViewer) -> Response:
    """The file of an export that is kept in the bank."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = next((row for row in queries.list_exports(session=session) if row.id == number), None)
    key = None if row is None else stored_key(service.bank, row.target)
    if key is None:
        raise NotFoundError("The service keeps no such export", got=number, next_step="make one: POST /v1/exports")
    ending = key.rsplit(".", 1)[1]
    name = f'attachment; filename="synthbank-{number}.{ending}"'
    return Response(service.bank.store.get(key), media_type=_TYPES[ending], headers={"Content-Disposition": name})


def _export_out(service: Service, row: ExportRow) -> ExportOut:
    kept = stored_key(service.bank, row.target) is not None
    return ExportOut.of(row, url=signed_link(service, f"/v1/exports/{row.id}/file") if kept else None)
