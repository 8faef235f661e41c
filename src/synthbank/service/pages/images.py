"""The pages *Make* and *Bank*, and the page of one image."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from synthbank.catalogue import queries
from synthbank.records import Verdict
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import Identity, Label, Name
from synthbank.service.state import ServiceDep

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_TILES = 60
_SEEDS = 1_000_000


@router.get("/")
def index() -> RedirectResponse:
    """The first page."""
    return RedirectResponse("/make", 307)


@router.get("/make")
def make(service: ServiceDep, caller: Viewer, model: Annotated[Name | None, Query()] = None) -> HTMLResponse:
    """A form for new images, and the images as they are made."""
    with service.bank.catalogue.session(read_only=True) as session:
        models = queries.list_models(status="published", session=session)
    return page(
        "make",
        title="Make",
        here="/make",
        scripts=["make"],
        models=models,
        chosen=model,
        most=service.settings.max_images,
        seed=secrets.randbelow(_SEEDS),
    )


@router.get("/bank")
def bank(
    service: ServiceDep,
    caller: Viewer,
    model: Annotated[Name | None, Query()] = None,
    job: Annotated[Identity | None, Query()] = None,
    class_name: Annotated[Label | None, Query(alias="class")] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
) -> HTMLResponse:
    """Every image, under filters; further pages come from the API."""
    wanted = queries.ImageFilter(job, model, class_name, verdict)
    with service.bank.catalogue.session(read_only=True) as session:
        models = queries.list_models(session=session)
        images = queries.page_images(wanted, session=session, limit=_TILES)
        total = queries.n_attempts(session=session)
    return page(
        "bank",
        title="Bank",
        here="/bank",
        scripts=["bank"],
        models=models,
        classes=sorted({name for row in models for name in row.class_names}),
        wanted={"model": model, "job": job, "class_name": class_name, "verdict": verdict},
        images=images,
        next=images[-1].id if len(images) == _TILES else None,
        total=total,
    )


@router.get("/images/{image_id}")
def image(
    image_id: Identity, service: ServiceDep, caller: Viewer, part: Annotated[bool, Query()] = False
) -> HTMLResponse:
    """One image with its whole record; `part` alone for the dialog of the gallery."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_image(image_id, session=session)
        job = queries.get_job(row.job_id, session=session)
    return page(
        "detail" if part else "image",
        title=row.id,
        here="/bank",
        scripts=["bank"],
        image=row,
        job=job,
        shows_originals=service.settings.show_originals,
        may_make=caller.may("generate"),
        may_admin=caller.may("admin"),
    )
