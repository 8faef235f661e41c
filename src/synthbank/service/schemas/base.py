"""Shared parts of all schemas: types of single fields, strict bodies, and responses read from a row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from synthbank.workflows.generation.requests import MAX_SEED

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=120)]
Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=160)]
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=200)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Distance = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 2, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]
Limit = Annotated[int, Field(ge=1, le=500)]


class StrictBody(BaseModel):
    """A body in which an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class RowResponse(BaseModel):
    """A response whose fields are those of a row of the catalogue.

    A field with another name in the row names it as its `validation_alias`.
    """

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    @classmethod
    def of(cls, row: object, **more: Any) -> Self:
        """The response of a row, with `more` fields that the row does not hold."""
        return cls.model_validate(_Extended(row, more))


class _Extended:
    """A row with more attributes, as `from_attributes` reads it."""

    def __init__(self, row: object, more: dict[str, Any]) -> None:
        self._row, self._more = row, more

    def __getattr__(self, name: str) -> Any:
        return self._more[name] if name in self._more else getattr(self._row, name)


class ErrorFacts(BaseModel):
    """A problem and its remedy."""

    type: str
    what: str
    got: str | None = None
    allowed: str | None = None
    next: str | None = None


class ErrorOut(BaseModel):
    """The body of every 4xx or 5xx response."""

    error: ErrorFacts
