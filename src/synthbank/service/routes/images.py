"""Images: search, fetch, make one again, withdraw one."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from synthbank.catalogue import queries
from synthbank.records import Verdict
from synthbank.service.access import FileViewer, Maker, Manager, Viewer
from synthbank.service.generation import image_out
from synthbank.service.problems import ERRORS
from synthbank.service.schemas.base import Distance, Identity, Label, Limit, Moment, Name
from synthbank.service.schemas.images import ImageOut, ImagePage, RegeneratedOut, WithdrawBody
from synthbank.service.state import ServiceDep
from synthbank.workflows.delivery.image_files import image_file, thumbnail

router = APIRouter(prefix="/v1/images", tags=["images"], responses=ERRORS)
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The PNG."},
    410: {"description": "Withdrawn."},
}
KEEP = {"Cache-Control": "private, max-age=300"}


@router.get("")
def search_images(
    service: ServiceDep,
    caller: Viewer,
    model: Annotated[Name | None, Query()] = None,
    job: Annotated[Identity | None, Query()] = None,
    class_name: Annotated[Label | None, Query(alias="class")] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    since: Annotated[Moment | None, Query(description="Made at this moment or later.")] = None,
    until: Annotated[Moment | None, Query(description="Made before this moment.")] = None,
    min_distance: Annotated[Distance | None, Query(description="To the nearest training original.")] = None,
    max_distance: Annotated[Distance | None, Query()] = None,
    order: Annotated[Literal["newest", "nearest", "id"], Query()] = "newest",
    after: Annotated[Identity | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[Limit, Query()] = 60,
) -> ImagePage:
    """A page of images under any combination of filters."""
    wanted = queries.ImageFilter(job, model, class_name, verdict, since, until, min_distance, max_distance)
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.page_images(wanted, order=order, after=after, limit=limit, session=session)
    items = [image_out(service, row) for row in rows]
    return ImagePage(items=items, next=rows[-1].id if len(rows) == limit else None)


@router.get("/{image_id}")
def get_image(image_id: Identity, service: ServiceDep, caller: Viewer) -> ImageOut:
    """One image's record."""
    with service.bank.catalogue.session(read_only=True) as session:
        return image_out(service, queries.get_image(image_id, session=session))


@router.get("/{image_id}/file", response_class=Response, responses=PNG)
def get_file(image_id: Identity, service: ServiceDep, caller: FileViewer) -> Response:
    """The PNG as it was stored, its provenance inside; a signed link opens it without a key."""
    row, data = image_file(service.bank, image_id)
    return Response(data, media_type="image/png", headers={**KEEP, "ETag": f'"{row.sha256}"'})


@router.get("/{image_id}/thumbnail", response_class=Response, responses=PNG)
def get_thumbnail(
    image_id: Identity, service: ServiceDep, caller: FileViewer, side: Annotated[int, Query(ge=16, le=512)] = 128
) -> Response:
    """The image, no wider or higher than `side` pixels."""
    _, data = image_file(service.bank, image_id)
    return Response(thumbnail(data, side), media_type="image/png", headers=KEEP)


@router.post("/{image_id}/regenerate")
def regenerate(image_id: Identity, service: ServiceDep, caller: Maker) -> RegeneratedOut:
    """Make an image again from its record alone, and compare it with the stored one."""
    get_image(image_id, service, caller)  # an unknown id is answered with 404 here, not by the other process
    equal, png = service.regenerator.regenerate(image_id)
    return RegeneratedOut(id=image_id, equal=equal, png=base64.b64encode(png).decode())


@router.post("/{image_id}/withdraw")
def withdraw(
    image_id: Annotated[Identity, Path()], body: WithdrawBody, service: ServiceDep, caller: Manager
) -> ImageOut:
    """Withdraw an image: nobody gets its file any more. Its record stays, with the reason."""
    with service.bank.catalogue.session() as session:
        row = queries.withdraw_image(image_id, reason=body.reason, session=session)
        details = {"reason": body.reason}
        queries.add_audit(
            "withdraw", actor=caller.actor, subject_kind="image", subject_id=row.id, details=details, session=session
        )
    return image_out(service, row)
