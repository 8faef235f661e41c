"""Pages of images under any filter: cut by key, and each filter read along an index in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from synthbank.catalogue.queries.synthetic import get_image
from synthbank.catalogue.read import records
from synthbank.catalogue.rows import ImageRow
from synthbank.catalogue.tables import GenerationJob, Image, Model
from synthbank.catalogue.write import table_of
from synthbank.errors import OptionError
from synthbank.records import Verdict

_IMAGE = table_of(Image)
ORDERS = ("newest", "nearest", "id")


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """Filter of the images on a page; `None`: all."""

    job_id: str | None = None
    model_id: str | None = None
    class_name: str | None = None
    verdict: Verdict | str | None = None
    since: datetime | None = None
    """Made at this moment or later."""
    until: datetime | None = None
    """Made before this moment."""
    min_distance: float | None = None
    max_distance: float | None = None
    """Bounds of the distance to the nearest training original; images that were not screened have none."""


def images(
    *,
    session: Session,
    job_id: str | None = None,
    model_id: str | None = None,
    class_name: str | None = None,
    verdict: Verdict | str | None = None,
    order: Literal["newest", "nearest", "id"] = "newest",
    after: str | None = None,
    limit: int = 100,
) -> list[ImageRow]:
    """One page of images; `page_images` takes every filter."""
    wanted = ImageFilter(job_id, model_id, class_name, verdict)
    return page_images(wanted, session=session, order=order, after=after, limit=limit)


def page_images(
    wanted: ImageFilter,
    *,
    session: Session,
    order: Literal["newest", "nearest", "id"] = "newest",
    after: str | None = None,
    limit: int = 100,
) -> list[ImageRow]:
    """One page of images.

    Pages are cut by key, not by offset: passing the last id of a page as `after` gives the next one, and rows that are
    entered meanwhile neither shift nor repeat what was not yet shown.

    An index is of use for a page when all its columns before the order's are fixed. What the filter leaves open among
    them (verdict; class, for a model or job) takes few values, so each value gets its own short ordered read, and the
    page is merged from those.

    Args:
        wanted: the filter.
        session: open session.
        order: "newest" first, "nearest" to an original first (leaves out what was not screened), or by "id".
        after: id of the last image already seen; `None`: from the start.
        limit: length of the page.
    """
    if order not in ORDERS:
        raise OptionError("Images have no such order", got=order, allowed=ORDERS)
    seen = None if after is None else get_image(after, session=session)
    where = [*_ranges(wanted, order), *([] if seen is None else [_beyond(seen, order)])]
    branches = _branches(wanted, order, session)
    if len(branches) == 1:
        statement = select(_IMAGE).where(*where, *branches[0])
        return records(session, ImageRow, statement.order_by(*_key(_IMAGE.c, order)).limit(limit))
    place = _IMAGE.c.nearest_distance if order == "nearest" else _IMAGE.c.created_at
    # of candidates only what the index holds; whole rows are read for the page alone
    candidates = select(_IMAGE.c.id, place).where(*where).order_by(*_key(_IMAGE.c, order)).limit(limit)
    merged = union_all(*(select(candidates.where(*equal).subquery()) for equal in branches)).subquery()
    page = select(merged.c.id).order_by(*_key(merged.c, order)).limit(limit).subquery()
    statement = select(_IMAGE).join(page, page.c.id == _IMAGE.c.id).order_by(*_key(_IMAGE.c, order))
    return records(session, ImageRow, statement)


def _branches(wanted: ImageFilter, order: str, session: Session) -> list[list[ColumnElement[bool]]]:
    fixed = {"job_id": wanted.job_id, "model_id": wanted.model_id}
    equal = [_IMAGE.c[name] == value for name, value in fixed.items() if value is not None]
    verdicts: list[str | None] = [None if wanted.verdict is None else Verdict(wanted.verdict).value]
    classes: list[str | None] = [wanted.class_name]
    if order != "id":
        if wanted.verdict is None:
            verdicts = [verdict.value for verdict in Verdict]
        if wanted.class_name is None and equal:
            classes = [*_classes(wanted, session)]
    return [
        [
            *equal,
            *([] if name is None else [_IMAGE.c.class_name == name]),
            *([] if v is None else [_IMAGE.c.verdict == v]),
        ]
        for name, v in product(classes, verdicts)
    ] or [[literal(False)]]


def _classes(wanted: ImageFilter, session: Session) -> list[str]:
    statement: Select[Any] = select(Model.class_names)
    if wanted.job_id is not None:
        statement = statement.join(GenerationJob).where(GenerationJob.id == wanted.job_id)
    else:
        statement = statement.where(Model.id == wanted.model_id)
    return list(session.scalar(statement) or ())


def _ranges(wanted: ImageFilter, order: str) -> list[ColumnElement[bool]]:
    distance, made = _IMAGE.c.nearest_distance, _IMAGE.c.created_at
    where: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        where.append(made >= wanted.since)
    if wanted.until is not None:
        where.append(made < wanted.until)
    if wanted.min_distance is not None:
        where.append(distance >= wanted.min_distance)
    if wanted.max_distance is not None:
        where.append(distance <= wanted.max_distance)
    if order == "nearest":
        where.append(distance.is_not(None))
    return where


def _key(columns: Any, order: str) -> tuple[Any, ...]:
    if order == "newest":
        return columns.created_at.desc(), columns.id.desc()
    return (columns.nearest_distance, columns.id) if order == "nearest" else (columns.id,)


def _beyond(seen: ImageRow, order: str) -> ColumnElement[bool]:
    if order == "id":
        return _IMAGE.c.id > seen.id
    if order == "newest":
        bound = (literal(seen.created_at, _IMAGE.c.created_at.type), literal(seen.id))
        return tuple_(_IMAGE.c.created_at, _IMAGE.c.id) < tuple_(*bound)
    return tuple_(_IMAGE.c.nearest_distance, _IMAGE.c.id) > tuple_(
        literal(seen.nearest_distance or 0.0), literal(seen.id)
    )
