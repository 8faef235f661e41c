"""Writing rows on both databases: plain values only, unknown columns refused, conflicts resolved by the database."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, cast

import numpy as np
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from synthbank.catalogue.tables import Base
from synthbank.errors import OptionError

_CHUNK = 500


def plain(value: Any) -> Any:
    """A value that both drivers and JSON take: no numpy scalar, no enum, no tuple; a non-finite number is `None`."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value


def to_json(value: Any) -> str:
    """JSON text of a plain value; anything that JSON cannot hold is an error, not a surprise in the database."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def insert_new(session: Session, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows and leave those that exist untouched; the number of rows that are new."""
    table = table_of(model)
    statement = _insert(session, table).on_conflict_do_nothing().returning(*table.primary_key)
    complete = _complete(table, rows)
    return sum(
        len(session.execute(statement, complete[first : first + _CHUNK]).all())
        for first in range(0, len(complete), _CHUNK)
    )


def checked(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with plain values; raises `OptionError` for a column that the table does not have."""
    unknown = [name for name in row if name not in table.c]
    if unknown:
        raise OptionError(f"The {table.name} table has no such column", got=unknown, allowed=list(table.c.keys()))
    return {name: plain(value) for name, value in row.items()}


def table_of(model: type[Base]) -> Table:
    """The table behind a mapped class."""
    return cast(Table, model.__table__)


def _insert(session: Session, table: Table) -> Any:
    dialect = session.get_bind().dialect.name
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


def _complete(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All rows with the same columns, as one statement needs: those given anywhere, with defaults where missing."""
    given = [checked(table, row) for row in rows]
    names = {name for row in given for name in row}
    missing = [column.name for column in table.c if column.name not in names and _required(column)]
    if given and missing:
        raise OptionError(
            f"A row of the {table.name} table lacks columns", got=sorted(names), allowed=f"also {missing}"
        )
    return [{name: row[name] if name in row else _default(table.c[name]) for name in names} for row in given]


def _required(column: Column[Any]) -> bool:
    numbered = column.primary_key and column.type.python_type is int
    return not (column.nullable or numbered or column.default is not None)


def _default(column: Column[Any]) -> Any:
    default: Any = column.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg
