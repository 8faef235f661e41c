"""Models, data sets, training runs, evaluations and exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from synthbank.records import JobStatus
from synthbank.service.schemas.base import Identity, Label, Name, RowResponse, StrictBody


class ModelOut(RowResponse):
    """A published model."""

    name: str = Field(validation_alias="id")
    architecture: str
    classes: list[str] = Field(validation_alias="class_names")
    size: int
    channels: int
    status: str
    weights_sha256: str = Field(validation_alias="sha256")
    card: dict[str, Any]
    created_at: datetime


class DatasetOut(RowResponse):
    """A data set; counts of accepted originals by class and split."""

    name: str
    version: int
    classes: list[str] = Field(validation_alias="class_names")
    size: int
    channels: int
    licence: str | None
    fingerprint: str
    counts: dict[str, dict[str, int]]
    created_at: datetime


class RunOut(RowResponse):
    """A training run."""

    id: str
    architecture: str
    status: JobStatus
    message: str | None = Field(validation_alias="status_reason")
    images_seen: int
    seconds: float = Field(validation_alias="elapsed_sec")
    device: str | None
    events: list[dict[str, Any]] = Field(description="Guard events: collapse, over-fitting, instability.")
    started_at: datetime
    finished_at: datetime | None
    history: list[dict[str, Any]]
    sheets: list[int] = Field(description="Steps at which samples were drawn.")


class EvaluationBody(StrictBody):
    """The job to evaluate."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "j0123456789"}]})

    job: Identity


class EvaluationStatus(RowResponse):
    """Progress of an evaluation; `none`: not requested since the service started."""

    job: str
    state: Literal["none", "queued", "running", "done", "failed"]
    message: str | None = None
    seconds: float = 0.0


class EvaluationOut(RowResponse):
    """A recorded score."""

    metric: str
    title: str
    meaning: str
    class_name: str | None
    value: float | None
    low: float | None
    high: float | None
    floor: float | None
    n_real: int
    n_fake: int
    higher_is_better: bool
    note: str | None
    created_at: datetime


class ExportBody(StrictBody):
    """The accepted images to export: those of one model or of one job."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "ihc-64", "format": "folder", "limit": 100}]})

    model: Name | None = None
    job: Identity | None = None
    class_name: Label | None = Field(None, alias="class")
    limit: int | None = Field(None, ge=1, le=20_000, description="At most so many images of each class.")
    format: Name = "folder"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.model is None) == (self.job is None):
            raise ValueError("an export is of one model or of one job")
        return self


class ExportOut(RowResponse):
    """An export; `url` opens the file for a while where the service holds it."""

    id: int
    model: str | None = Field(validation_alias="model_id")
    job: str | None = Field(validation_alias="job_id")
    format: str
    counts: dict[str, int]
    sha256: str | None
    created_at: datetime
    url: str | None
