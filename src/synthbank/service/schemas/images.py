"""Synthetic images."""

from __future__ import annotations

from datetime import datetime

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from synthbank.records import Verdict
from synthbank.service.schemas.base import Label, RowResponse, StrictBody


class WithdrawBody(StrictBody):
    """The reason why an image must go."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "looks like a scanner artefact"}]})

    reason: Label


class ImageOut(RowResponse):
    """A synthetic image."""

    id: str
    job: str = Field(validation_alias="job_id")
    model: str = Field(validation_alias="model_id")
    class_name: str = Field(validation_alias=AliasChoices("class_name", "class"), serialization_alias="class")
    index: int
    seed: int
    truncation: float
    verdict: Verdict
    reason: str | None
    screened: bool
    nearest_original: str | None
    nearest_distance: float | None
    sha256: str
    bytes: int
    created_at: datetime
    url: str | None = Field(description="Signed link to the PNG; none for a withdrawn image.")
    png: str | None = Field(None, description="The PNG itself, base64.")


class RegeneratedOut(BaseModel):
    """An image made again from its row."""

    id: str
    equal: bool = Field(description="Pixel for pixel the recorded image.")
    png: str = Field(description="The new PNG, base64.")


class ImagePage(BaseModel):
    """A page; pass `next` as `after`."""

    items: list[ImageOut]
    next: str | None
