"""Generation: make images, and follow the jobs that make them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from synthbank.catalogue import queries
from synthbank.catalogue.rows import JobRow
from synthbank.records import JobStatus
from synthbank.service.access import Maker, Viewer
from synthbank.service.generation import enqueue, generate_and_wait, image_out, to_request
from synthbank.service.problems import ERRORS
from synthbank.service.schemas.base import Identity, Limit, Name
from synthbank.service.schemas.jobs import GenerateBody, GenerateResponse, JobOut, JobPage
from synthbank.service.state import Service, ServiceDep

router = APIRouter(prefix="/v1", tags=["jobs"], responses=ERRORS)
_PING_SEC = 15.0


@router.post(
    "/generate", responses={202: {"model": GenerateResponse, "description": "More than a request waits for: a job."}}
)
async def generate(body: GenerateBody, service: ServiceDep, caller: Maker, response: Response) -> GenerateResponse:
    """Make images and wait for them; a large request answers at once with its job. A seed gives the same images."""
    made = await generate_and_wait(service, to_request(service, body), caller, how="generate")
    job = JobOut.of_job(made.job)
    if not made.complete:
        response.status_code = 202
        response.headers["Location"] = job.links["self"]
        return GenerateResponse(job=job, images=[])
    images = await asyncio.to_thread(lambda: [image_out(service, r, inline=body.format == "png") for r in made.images])
    return GenerateResponse(job=job, images=images)


@router.post("/jobs", status_code=202)
async def create_job(body: GenerateBody, service: ServiceDep, caller: Maker, response: Response) -> JobOut:
    """Queue a job and return at once; follow its `events`."""
    row, _ = await enqueue(service, to_request(service, body), caller, how="job")
    job = JobOut.of_job(row)
    response.headers["Location"] = job.links["self"]
    return job


@router.get("/jobs")
def list_jobs(
    service: ServiceDep,
    caller: Viewer,
    model: Annotated[Name | None, Query()] = None,
    status: Annotated[JobStatus | None, Query()] = None,
    after: Annotated[Identity | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> JobPage:
    """Jobs, newest first."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.page_jobs(model_id=model, status=status, after=after, limit=limit, session=session)
    return JobPage(items=[JobOut.of_job(row) for row in rows], next=rows[-1].id if len(rows) == limit else None)


@router.get("/jobs/{job_id}")
def get_job(job_id: Identity, service: ServiceDep, caller: Viewer) -> JobOut:
    """One job."""
    return JobOut.of_job(_job(service, job_id))


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: Identity, service: ServiceDep, caller: Maker) -> JobOut:
    """Stop a job; its images stay. The same request again resumes it."""
    with service.bank.catalogue.session() as session:
        row = queries.cancel_job(job_id, session=session)
        queries.add_audit("cancel", actor=caller.actor, subject_kind="job", subject_id=job_id, session=session)
    return JobOut.of_job(row)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`job` events, the last when it ends."}},
)
async def follow_job(job_id: Identity, service: ServiceDep, caller: Viewer) -> StreamingResponse:
    """Server-sent events: the job now, at every change, and when it has ended."""
    job = await asyncio.to_thread(_job, service, job_id)  # 404 before the stream starts
    return StreamingResponse(_events(service, job), media_type="text/event-stream")


def _job(service: Service, job_id: str) -> JobRow:
    with service.bank.catalogue.session(read_only=True) as session:
        return queries.get_job(job_id, session=session)


async def _events(service: Service, job: JobRow) -> AsyncIterator[str]:
    async for latest in service.watch.follow(job, timeout=_PING_SEC):
        if latest is None:
            yield ": still there\n\n"  # a comment of the protocol, which keeps proxies from closing the connection
        else:
            yield f"event: job\ndata: {json.dumps(JobOut.of_job(latest).model_dump(mode='json'))}\n\n"
