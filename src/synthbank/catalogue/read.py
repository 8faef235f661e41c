"""Read database rows as frozen records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session

from synthbank.catalogue.rows import OriginalRow
from synthbank.records import Finding, Severity, Split

R = TypeVar("R")

_TUPLES = frozenset({"class_names", "events", "scopes"})


def record(row_type: type[R], mapping: Mapping[str, Any]) -> R:
    """One frozen record; column names are field names."""
    values: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in mapping.items()}
    if row_type is OriginalRow:
        values["findings"] = tuple(_finding(item) for item in values["findings"])
        values["split"] = None if values["split"] is None else Split(values["split"])
    return row_type(**values)


def records(session: Session, row_type: type[R], statement: Select[Any]) -> list[R]:
    """All records of a select over one table."""
    return [record(row_type, mapping) for mapping in mappings(session, statement)]


def first(session: Session, row_type: type[R], statement: Select[Any]) -> R | None:
    """The first record of a select, or `None`."""
    return next(iter(records(session, row_type, statement.limit(1))), None)


def mappings(session: Session, statement: Select[Any]) -> Iterable[Mapping[str, Any]]:
    """Rows as plain mappings from column name to value."""
    return session.execute(statement).mappings().all()  # type: ignore[return-value]


def _finding(item: Mapping[str, Any]) -> Finding:
    return Finding(item["check"], Severity(item["severity"]), item["message"], item["value"], item.get("other"))
