"""The page *Readers*: make a blinded test, take it, see the results."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from synthbank.catalogue import queries
from synthbank.catalogue.rows import JobRow, ReaderStudyRow
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import Identity
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.evaluation.reader_study import study_scores

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/readers")
def readers(service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """Every study with its results, and a form for a new one."""
    with service.bank.catalogue.session(read_only=True) as session:
        jobs = [row for row in queries.page_jobs(limit=200, session=session) if row.n_accepted]
        studies = [_study(service, row, session) for row in queries.list_studies(session=session)]
    return page(
        "readers",
        title="Reader test",
        here="/readers",
        scripts=["readers"],
        jobs=jobs,
        studies=studies,
        shows_originals=service.settings.show_originals,
        may_make=caller.may("generate"),
    )


@router.get("/readers/{study_id}")
def reading(study_id: Identity, service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """The test itself; its script fetches one image after another from the API."""
    with service.bank.catalogue.session(read_only=True) as session:
        study = _study(service, queries.get_study(study_id, session=session), session)
    return page(
        "reading",
        title="Reader test",
        here="/readers",
        scripts=["reading"],
        study=study,
        shows_originals=service.settings.show_originals,
        may_answer=caller.may("generate"),
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """The accuracy of one reader, or of all together, in percent."""

    reader: str
    count: int
    accuracy: int
    low: int
    high: int
    conclusion: str


@dataclass(frozen=True, slots=True)
class _Study:
    """A study as the pages show it."""

    row: ReaderStudyRow
    job: JobRow
    count: int
    """Images."""
    n_begun: int
    """Readers who have answered at least one image."""
    results: list[_Result]


def _study(service: Service, row: ReaderStudyRow, session: Session) -> _Study:
    answers = queries.reader_answers(reading=row.id, session=session)
    results = [
        _Result(
            reader=score.reader or "All readers",
            count=score.n,
            accuracy=round(100 * score.accuracy),
            low=round(100 * score.low),
            high=round(100 * score.high),
            conclusion=score.conclusion,
        )
        for score in study_scores(service.bank, row.id, whole=True)
    ]
    return _Study(
        row=row,
        job=queries.get_job(row.job_id, session=session),
        count=len(queries.study_items(row.id, session=session)),
        n_begun=len({answer.reader for answer in answers}),
        results=results if len(results) > 2 else results[1:],  # one reader alone is "all readers" as well
    )
