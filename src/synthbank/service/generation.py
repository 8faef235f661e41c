"""Generation over HTTP: queue a request, wait for its images, and read them."""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import dataclass

from synthbank.catalogue.rows import ImageRow, JobRow
from synthbank.errors import OptionError
from synthbank.records import Verdict
from synthbank.service.access import Caller, signed_link
from synthbank.service.schemas.images import ImageOut
from synthbank.service.schemas.jobs import GenerateBody
from synthbank.service.state import Service
from synthbank.service.watch import OPEN
from synthbank.workflows.delivery.image_files import image_file
from synthbank.workflows.generation.requests import GenerateRequest, first_images, submit

_NEW_SEEDS = 2**31


@dataclass(frozen=True)
class GeneratedJob:
    """A requested job, with its images if they were waited for."""

    job: JobRow
    images: list[ImageRow]
    complete: bool
    """The job ended, or holds as many images as were requested; `False`: it is still working."""


def to_request(service: Service, body: GenerateBody) -> GenerateRequest:
    """The request of a worker; a seed is drawn where none was given."""
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
    """Queue a request; its job, and the number of requested images.

    Args:
        service: whose queue.
        request: what to generate.
        caller: for the audit log.
        how: the way in ("generate", "job" or "predict"), for the audit log.
    """
    details = {"how": how, "n": request.n, "class": request.class_name, "seed": request.seed}
    model, job = await asyncio.to_thread(
        submit,
        service.bank,
        request,
        max_queued=service.settings.max_queued,
        audit={"actor": caller.actor, "details": details},
    )
    n = sum(request.targets(model.class_names).values())
    service.metrics.images_requested.labels(model.id).inc(n)
    return job, n


async def generate_and_wait(service: Service, request: GenerateRequest, caller: Caller, *, how: str) -> GeneratedJob:
    """Queue a request and wait for its images, but no longer than the settings say; `how` as for `enqueue`."""
    job, n = await enqueue(service, request, caller, how=how)
    if n > service.settings.max_at_once:
        return GeneratedJob(job, [], False)
    try:
        async with asyncio.timeout(service.settings.wait_sec):
            async for latest in service.watch.follow(job, timeout=service.settings.wait_sec):
                job = latest or job
                if job.status not in OPEN or job.n_accepted >= n:
                    images = await asyncio.to_thread(_images, service, request, job)
                    # a longer job of the same seed may hold enough images in all, but not yet of each class
                    if job.status not in OPEN or len(images) >= n:
                        return GeneratedJob(job, images, True)
    except TimeoutError:
        pass
    return GeneratedJob(job, [], False)


def _images(service: Service, request: GenerateRequest, job: JobRow) -> list[ImageRow]:
    wanted = {request.class_name: request.n} if request.class_name else dict.fromkeys(job.targets or {}, request.n)
    return first_images(service.bank, job.id, wanted)


def image_out(service: Service, row: ImageRow, *, inline: bool = False) -> ImageOut:
    """An image as the API gives it: with its bytes (`inline`) or with a link to them."""
    if row.verdict == Verdict.WITHDRAWN.value:
        return ImageOut.of(row, url=None)
    png = base64.b64encode(image_file(service.bank, row.id)[1]).decode() if inline else None
    return ImageOut.of(row, url=signed_link(service, f"/v1/images/{row.id}/file"), png=png)
