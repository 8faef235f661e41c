"""Reader studies, their images and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from synthbank.service.schemas.base import Identity, RowResponse, Seed, StrictBody

ReaderName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=80, strip_whitespace=True)
]


class StudyBody(StrictBody):
    """A new reader study."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "j0123456789", "count": 40, "seed": 0}]})

    job: Identity
    count: int = Field(40, ge=2, le=400, description="Images in all, half of them real, spread over the classes.")
    seed: Seed = Field(0, description="Seed of the choice and the order.")


class AnswerBody(StrictBody):
    """A reader's answer for one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reader": "A. Reader", "token": "0123456789ab", "answer": "real", "milliseconds": 2100}]
        }
    )

    reader: ReaderName
    token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    answer: Literal["real", "synthetic"]
    milliseconds: int = Field(ge=0, le=2**31 - 1)


class StudyOut(RowResponse):
    """A reader study."""

    id: str
    job: str = Field(validation_alias="job_id")
    count: int
    created_at: datetime


class ReadingOut(BaseModel):
    """A reader's progress in a study."""

    study: str
    reader: str
    count: int
    open: list[str]
    """Tokens of the images that are not answered yet, in order."""


class ReaderResultOut(RowResponse):
    """The accuracy of one reader, or of all together, over all classes."""

    reader: str | None
    count: int = Field(validation_alias="n")
    accuracy: float
    low: float
    high: float
    synthetic_called_real: float | None
    conclusion: str
