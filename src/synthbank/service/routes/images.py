"""Images: search, fetch, make one again, withdraw one."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from synthbank.catalogue import queries
from synthbank.service.access import FileViewer, Maker, Manager, Viewer
from synthbank.service.generation import image_out
from synthbank.service.problems import ERRORS
from synthbank.service.schemas.base import Identity
from synthbank.service.schemas.images import ImageOut, ImagePage, ImageQuery, RegeneratedOut, WithdrawBody
from synthbank.service.state import ServiceDep
from synthbank.workflows.delivery.image_files import image_file, thumbnail

router = APIRouter(prefix="/v1/images", tags=["images"], responses=ERRORS)
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The PNG."},
    410: {"description": "Withdrawn."},
}
KEEP = {"Cache-Control": "private, max-age=300"}


@router.get("")
def search_images(service: ServiceDep, caller: Viewer, query: Annotated[ImageQuery, Query()]) -> ImagePage:
    """A page of the images that meet all conditions."""
    with service.bank.catalogue.session(read_only=True) as session:
        rows = queries.page_images(
            query.to_filter(), order=query.order, after=query.after, limit=query.limit, session=session
        )
    items = [image_out(service, row) for row in rows]
    return ImagePage(items=items, next=rows[-1].id if len(rows) == query.limit else None)


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
