"""Queries over the whole catalogue: counts and search."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from synthbank.catalogue.rows import SearchHit
from synthbank.catalogue.tables import Base, Dataset, GenerationJob, Image, Model, Original, TrainingRun


def counts(*, session: Session) -> dict[str, int]:
    """Table name to number of rows."""
    tables = Base.metadata.sorted_tables
    return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def search(text: str, *, session: Session, limit: int = 20) -> list[SearchHit]:
    """Everything whose name or id contains `text` (for images and hashes: starts with it), at most `limit` a kind."""
    wanted = text.strip()
    if not wanted:
        return []
    subjects: tuple[tuple[str, Any, Any, ColumnElement[bool]], ...] = (
        ("dataset", Dataset.name, Dataset.source, _contains(Dataset.name, wanted)),
        ("original", Original.sha256, Original.name, _original_matches(wanted)),
        ("run", TrainingRun.id, TrainingRun.architecture, _contains(TrainingRun.id, wanted)),
        ("model", Model.id, Model.architecture, _contains(Model.id, wanted)),
        ("job", GenerationJob.id, GenerationJob.model_id, _contains(GenerationJob.id, wanted)),
        ("image", Image.id, Image.class_name, Image.id.startswith(wanted, autoescape=True)),
    )
    hits: list[SearchHit] = []
    for kind, identity, title, matches in subjects:
        statement = select(identity, title).where(matches).distinct().order_by(identity).limit(limit)
        hits += [SearchHit(kind, row[0] or "", row[1] or "") for row in session.execute(statement)]
    return hits


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    matches: ColumnElement[bool] = column.icontains(text, autoescape=True)
    return matches


def _original_matches(text: str) -> ColumnElement[bool]:
    return or_(_contains(Original.name, text), Original.sha256.startswith(text.lower(), autoescape=True))
