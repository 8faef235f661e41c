"""From a request to images: queue it, wait for it, and read what it made."""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import dataclass

from synthbank.catalogue.rows import ImageRow, JobRow
from synthbank.errors import OptionError
from synthbank.records import Verdict
from synthbank.service.access import Caller, signed_link
from synthbank.service.schemas import GenerateBody, ImageOut
from synthbank.service.state import Service
from synthbank.service.watch import OPEN
from synthbank.workflows.delivery.image_files import image_file
from synthbank.workflows.generation.requests import GenerateRequest, first_images, submit

_NEW_SEEDS = 2**31


@dataclass(frozen=True)
class Made:
    """A job that somebody asked for, and its images as far as they were waited for."""

    job: JobRow
    images: list[ImageRow]
    complete: bool
    """The job ended, or holds all that was asked for; `False`: it goes on."""


def as_request(service: Service, body: GenerateBody) -> GenerateRequest:
    """What the worker understands; a seed is drawn where none was given."""
    if body.count > service.settings.max_images:
        raise OptionError(
            "This is more than one job may make",
            got=body.count,
            allowed=f"1 to {service.settings.max_images} of each class",
            next_step="ask for several jobs with other seeds",
        )
    seed = secrets.randbelow(_NEW_SEEDS) if body.seed is None else body.seed
    return GenerateRequest(body.model, body.count, body.class_name, seed, body.truncation, towards=body.towards)


async def enqueue(service: Service, request: GenerateRequest, caller: Caller, *, how: str) -> tuple[JobRow, int]:
    """Put a request on the queue; its job, and how many images were asked for."""
    details = {"how": how, "n": request.n, "class": request.class_name, "seed": request.seed}
    model, job = await asyncio.to_thread(
        submit,
        service.bank,
        request,
        max_queued=service.settings.max_queued,
        audit={"actor": caller.actor, "details": details},
    )
    n = sum(request.targets(model.class_names).values())
    service.measures.images_asked.labels(model.id).inc(n)
    return job, n


async def make(service: Service, request: GenerateRequest, caller: Caller, *, how: str) -> Made:
    """Queue a request and wait for its images, but no longer than the settings say."""
    job, n = await enqueue(service, request, caller, how=how)
    if n > service.settings.max_at_once:
        return Made(job, [], False)
    try:
        async with asyncio.timeout(service.settings.wait_sec):
            async for latest in service.watch.follow(job, timeout=service.settings.wait_sec):
                job = latest or job
                if job.status not in OPEN or job.n_accepted >= n:
                    images = await asyncio.to_thread(_images, service, request, job)
                    if job.status not in OPEN or len(images) >= n:
                        return Made(job, images, True)
    except TimeoutError:
        pass
    return Made(job, [], False)


def _images(service: Service, request: GenerateRequest, job: JobRow) -> list[ImageRow]:
    wanted = {request.class_name: request.n} if request.class_name else dict.fromkeys(job.targets or {}, request.n)
    return first_images(service.bank, job.id, wanted)


def show(service: Service, row: ImageRow, *, inline: bool = False) -> ImageOut:
    """An image as the API gives it, with its bytes or with a link."""
    if row.verdict == Verdict.WITHDRAWN.value:
        return ImageOut.of(row, url=None)
    png = base64.b64encode(image_file(service.bank, row.id)[1]).decode() if inline else None
    return ImageOut.of(row, url=signed_link(service, f"/v1/images/{row.id}/file"), png=png)
