"""Synthetic images."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from synthbank.catalogue.queries import ImageFilter
from synthbank.records import Verdict
from synthbank.service.schemas.base import Distance, Identity, Label, Limit, Moment, Name, RowResponse, StrictBody


class WithdrawBody(StrictBody):
    """The reason why an image must go."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "looks like a scanner artefact"}]})

    reason: Label


class ImageQuery(BaseModel):
    """Conditions on images, all of which hold, and the page that is asked for."""

    model: Name | None = None
    job: Identity | None = None
    class_name: Label | None = Field(None, alias="class")
    verdict: Verdict | None = None
    since: Moment | None = Field(None, description="Made at this moment or later.")
    until: Moment | None = Field(None, description="Made before this moment.")
    min_distance: Distance | None = Field(None, description="To the nearest training original.")
    max_distance: Distance | None = None
    order: Literal["newest", "nearest", "id"] = "newest"
    after: Identity | None = Field(None, description="`next` of the page before.")
    limit: Limit = 60

    def to_filter(self) -> ImageFilter:
        """The filter of the catalogue."""
        return ImageFilter(
            self.job,
            self.model,
            self.class_name,
            self.verdict,
            self.since,
            self.until,
            self.min_distance,
            self.max_distance,
        )


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
