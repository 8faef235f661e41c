"""Generation: requests, jobs, and the images that a request waited for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthbank.catalogue.rows import JobRow
from synthbank.records import JobRequest, JobStatus
from synthbank.service.schemas.base import Label, Name, RowResponse, Seed, StrictBody
from synthbank.service.schemas.images import ImageOut
from synthbank.workflows.generation.requests import MAX_STEPS


class GenerateBody(StrictBody):
    """A request for images of one model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "ihc-64", "class": "dab_positive", "count": 4, "seed": 7},
                {"model": "ihc-64", "class": "dab_positive", "count": 9, "seed": 7, "towards": 8, "format": "url"},
            ]
        }
    )

    model: Name
    class_name: Label | None = Field(None, alias="class", description="One class; left out: every class.")
    count: int = Field(
        1, ge=1, le=1_000_000, description="Accepted images of each class; with `towards`, steps of the interpolation."
    )
    seed: Seed | None = Field(None, description="The same seed gives the same images; left out: a new one is drawn.")
    truncation: float = Field(1.0, ge=0, le=1, description="1: everything; towards 0: cleaner and less varied.")
    towards: Seed | None = Field(
        None, description="Latent interpolation from the first image of `seed` to the first image of this seed."
    )
    format: Literal["png", "url"] = Field("png", description="png: base64 inside the answer; url: links to the files.")

    @model_validator(mode="after")
    def _interpolation(self) -> Self:
        if self.towards is not None and not 2 <= self.count <= MAX_STEPS:
            raise ValueError(f"an interpolation has 2 to {MAX_STEPS} images (count)")
        return self


class JobOut(RowResponse):
    """A generation job and its progress."""

    id: str
    model: str = Field(validation_alias="model_id")
    status: JobStatus
    seed: int
    truncation: float
    towards: int | None
    wanted: dict[str, int]
    accepted: int = Field(validation_alias="n_accepted")
    rejected: int = Field(validation_alias="n_rejected")
    progress: float = Field(description="0 to 1")
    message: str | None
    seconds: float
    started_at: datetime
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of_job(cls, row: JobRow) -> JobOut:
        """The response of a job's row, with its progress and links."""
        request = JobRequest.from_json(row.request)
        # an interpolation draws each step once, accepted or not; other jobs draw until enough are accepted
        done = row.n_attempts if request.steps else row.n_accepted
        ended = row.status in (JobStatus.DONE, JobStatus.CAPPED)
        path = f"/v1/jobs/{row.id}"
        more: dict[str, Any] = {
            "truncation": request.truncation,
            "towards": request.towards,
            "wanted": row.targets or {},
            "progress": 1.0 if ended else min(done / max(row.n_requested, 1), 1.0),
            "links": {"self": path, "events": f"{path}/events", "images": f"/v1/images?job={row.id}"},
        }
        return cls.of(row, **more)


class GenerateResponse(BaseModel):
    """A job with its images, in order of class and number; no images where the job is still working."""

    job: JobOut
    images: list[ImageOut]


class JobPage(BaseModel):
    """A page; pass `next` as `after`."""

    items: list[JobOut]
    next: str | None
