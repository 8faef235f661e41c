"""Reader studies: blinded tests of real against synthetic, answered one image at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from synthbank.catalogue import queries
from synthbank.service.access import Maker, Viewer, require_originals
from synthbank.service.problems import ERRORS
from synthbank.service.routes.images import PNG
from synthbank.service.schemas.base import Identity
from synthbank.service.schemas.readers import AnswerBody, ReaderName, ReaderResultOut, ReadingOut, StudyBody, StudyOut
from synthbank.service.state import ServiceDep
from synthbank.workflows.evaluation.reader_study import (
    give_answer,
    record_study,
    study_image,
    study_scores,
    unanswered_tokens,
)

router = APIRouter(prefix="/v1/reader-studies", tags=["reader studies"], responses=ERRORS)
_CLOSED = "A reader test shows originals, and these are not served here"
Token = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("")
def list_studies(service: ServiceDep, caller: Viewer) -> list[StudyOut]:
    """Studies, newest first."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.list_studies(session=session)
        return [StudyOut.of(row, count=len(queries.study_items(row.id, session=session))) for row in rows]


@router.post("", status_code=201)
def make_study(body: StudyBody, service: ServiceDep, caller: Maker) -> StudyOut:
    """Choose images for a study; the same request gives the same study."""
    require_originals(service, _CLOSED)
    study = record_study(service.bank, body.job, n=body.count, seed=body.seed)
    with service.bank.catalogue.session() as session:
        queries.add_audit("reader study", actor=caller.actor, subject_kind="job", subject_id=body.job, session=session)
        return StudyOut.of(study, count=len(queries.study_items(study.id, session=session)))


@router.get("/{study_id}/open")
def open_images(
    study_id: Identity, service: ServiceDep, caller: Viewer, reader: Annotated[ReaderName, Query()]
) -> ReadingOut:
    """Images that a reader has not answered yet, in order, without telling which are real."""
    require_originals(service, _CLOSED)
    with service.bank.catalogue.session(read_only=True) as session:
        n = len(queries.study_items(study_id, session=session))
    return ReadingOut(study=study_id, reader=reader, count=n, open=unanswered_tokens(service.bank, study_id, reader))


@router.get("/{study_id}/images/{token}", response_class=Response, responses=PNG)
def get_image(study_id: Identity, token: Token, service: ServiceDep, caller: Viewer) -> Response:
    """One image of a study: its pixels alone, because metadata would tell real from synthetic."""
    require_originals(service, _CLOSED)
    png = study_image(service.bank, study_id, token)
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.post("/{study_id}/answers", status_code=204)
def answer(study_id: Identity, body: AnswerBody, service: ServiceDep, caller: Maker) -> None:
    """Store one answer; the same answer again changes nothing, and a different one is refused."""
    give_answer(
        service.bank,
        study_id,
        reader=body.reader,
        token=body.token,
        answer=body.answer,
        milliseconds=body.milliseconds,
    )


@router.get("/{study_id}/results")
def results(study_id: Identity, service: ServiceDep, caller: Viewer) -> list[ReaderResultOut]:
    """Accuracy with its 95% interval: of all readers together, and of each who has answered every image.

    A reader in the middle of the test is left out, so that nobody learns from it how the answers were.
    """
    with service.bank.catalogue.session(read_only=True) as session:
        queries.get_study(study_id, session=session)
    return [ReaderResultOut.of(score) for score in study_scores(service.bank, study_id, whole=True)]
