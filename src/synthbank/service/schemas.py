"""What the API takes and gives; the catalogue's rows never leave as they are."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from synthbank.catalogue.rows import (
    ApiKeyRow,
    AuditRow,
    DatasetRow,
    EvaluationRow,
    ExportRow,
    ImageRow,
    JobRow,
    ModelRow,
    ReaderStudyRow,
    RunRow,
)
from synthbank.records import JobRequest, JobStatus, Verdict
from synthbank.service.evaluations import EvaluationState
from synthbank.workflows.evaluation.reader_study import ReaderScore
from synthbank.workflows.generation.requests import MAX_SEED, MAX_STEPS

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=120)]
Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=160)]
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=200)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Distance = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 2, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]
ReaderName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=80, strip_whitespace=True)
]
Limit = Annotated[int, Field(ge=1, le=500)]


class _Strict(BaseModel):
    """A body in which an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class GenerateBody(_Strict):
    """What to make."""

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
    count: int = Field(1, ge=1, le=1_000_000, description="Accepted images of each class; of a walk, its steps.")
    seed: Seed | None = Field(None, description="The same seed gives the same images; left out: a new one is drawn.")
    truncation: float = Field(1.0, ge=0, le=1, description="1: everything; towards 0: cleaner and less varied.")
    towards: Seed | None = Field(None, description="Walk from the first image of `seed` to the first of this seed.")
    format: Literal["png", "url"] = Field("png", description="png: base64 inside the answer; url: links to the files.")

    @model_validator(mode="after")
    def _walk(self) -> Self:
        if self.towards is not None and not 2 <= self.count <= MAX_STEPS:
            raise ValueError(f"a walk has 2 to {MAX_STEPS} images (count)")
        return self


class ExportBody(_Strict):
    """What to export: the accepted images of one model or of one job."""

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


class WithdrawBody(_Strict):
    """Why an image must go."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "looks like a scanner artefact"}]})

    reason: Label


class KeyBody(_Strict):
    """A new key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "notebook", "scope": "generate", "days": 90}]})

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=80)]
    scope: Literal["read", "generate", "admin"] = "generate"
    days: int | None = Field(None, ge=1, le=3650)


class EvaluationBody(_Strict):
    """What to evaluate."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "j0123456789"}]})

    job: Identity


class StudyBody(_Strict):
    """A new reader study."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "j0123456789", "count": 40, "seed": 0}]})

    job: Identity
    count: int = Field(40, ge=2, le=400, description="Images in all, half of them real, spread over the classes.")
    seed: Seed = Field(0, description="Of choice and order.")


class AnswerBody(_Strict):
    """What a reader says of one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reader": "A. Reader", "token": "0123456789ab", "answer": "real", "milliseconds": 2100}]
        }
    )

    reader: ReaderName
    token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    answer: Literal["real", "synthetic"]
    milliseconds: int = Field(ge=0, le=2**31 - 1)


class ErrorFacts(BaseModel):
    """What went wrong and what to do."""

    type: str
    what: str
    got: str | None = None
    allowed: str | None = None
    next: str | None = None


class ErrorOut(BaseModel):
    """Every answer above 399."""

    error: ErrorFacts


class ModelOut(BaseModel):
    """A published model."""

    name: str
    architecture: str
    classes: list[str]
    size: int
    channels: int
    status: str
    weights_sha256: str
    card: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, row: ModelRow) -> ModelOut:
        """From its row."""
        return cls(
            name=row.id,
            architecture=row.architecture,
            classes=list(row.class_names),
            size=row.size,
            channels=row.channels,
            status=row.status,
            weights_sha256=row.sha256,
            card=row.card,
            created_at=row.created_at,
        )


class EvaluationStatus(BaseModel):
    """How far an evaluation is; `none`: not asked since the service started."""

    job: str
    state: Literal["none", "queued", "running", "done", "failed"]
    message: str | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, found: EvaluationState) -> EvaluationStatus:
        """From its state."""
        return cls(**asdict(found))


class StudyOut(BaseModel):
    """A reader study."""

    id: str
    job: str
    count: int
    created_at: datetime

    @classmethod
    def of(cls, row: ReaderStudyRow, count: int) -> StudyOut:
        """From its row and the number of its images."""
        return cls(id=row.id, job=row.job_id, count=count, created_at=row.created_at)


class ReadingOut(BaseModel):
    """How far a reader has come."""

    study: str
    reader: str
    count: int
    open: list[str]
    """Tokens of the images that are not answered yet, in order."""


class ReaderResultOut(BaseModel):
    """How one reader did, or all together, over all classes."""

    reader: str | None
    count: int
    accuracy: float
    low: float
    high: float
    synthetic_called_real: float | None
    verdict: str

    @classmethod
    def of(cls, score: ReaderScore) -> ReaderResultOut:
        """From a score of `study_scores`."""
        return cls(
            reader=score.reader,
            count=score.n,
            accuracy=score.accuracy,
            low=score.low,
            high=score.high,
            synthetic_called_real=score.synthetic_called_real,
            verdict=score.words,
        )


class DatasetOut(BaseModel):
    """A data set; counts of accepted originals by class and split."""

    name: str
    version: int
    classes: list[str]
    size: int
    channels: int
    licence: str | None
    fingerprint: str
    counts: dict[str, dict[str, int]]
    created_at: datetime

    @classmethod
    def of(cls, row: DatasetRow, counts: dict[str, dict[str, int]]) -> DatasetOut:
        """From its row."""
        return cls(
            name=row.name,
            version=row.version,
            classes=list(row.class_names),
            size=row.size,
            channels=row.channels,
            licence=row.licence,
            fingerprint=row.fingerprint,
            counts=counts,
            created_at=row.created_at,
        )


class JobOut(BaseModel):
    """A generation job and how far it came."""

    id: str
    model: str
    status: JobStatus
    seed: int
    truncation: float
    towards: int | None
    wanted: dict[str, int]
    accepted: int
    rejected: int
    progress: float = Field(description="0 to 1")
    message: str | None
    seconds: float
    started_at: datetime
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, row: JobRow) -> JobOut:
        """From its row."""
        request = JobRequest.from_json(row.request)
        done = row.n_attempts if request.steps else row.n_accepted
        ended = row.status in (JobStatus.DONE, JobStatus.CAPPED)
        path = f"/v1/jobs/{row.id}"
        return cls(
            id=row.id,
            model=row.model_id,
            status=JobStatus(row.status),
            seed=row.seed,
            truncation=request.truncation,
            towards=request.towards,
            wanted=row.targets or {},
            accepted=row.n_accepted,
            rejected=row.n_rejected,
            progress=1.0 if ended else min(done / max(row.n_requested, 1), 1.0),
            message=row.message,
            seconds=row.seconds,
            started_at=row.started_at,
            finished_at=row.finished_at,
            links={"self": path, "events": f"{path}/events", "images": f"/v1/images?job={row.id}"},
        )


class ImageOut(BaseModel):
    """A synthetic image."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    job: str
    model: str
    class_name: str = Field(alias="class")
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

    @classmethod
    def of(cls, row: ImageRow, *, url: str | None, png: str | None = None) -> ImageOut:
        """From its row."""
        return cls(
            **{"class": row.class_name},
            id=row.id,
            job=row.job_id,
            model=row.model_id,
            index=row.index,
            seed=row.seed,
            truncation=row.truncation,
            verdict=Verdict(row.verdict),
            reason=row.reason,
            screened=row.screened,
            nearest_original=row.nearest_original,
            nearest_distance=row.nearest_distance,
            sha256=row.sha256,
            bytes=row.bytes,
            created_at=row.created_at,
            url=url,
            png=png,
        )


class GenerateResponse(BaseModel):
    """Images that a request waited for, in order of class and number."""

    job: JobOut
    images: list[ImageOut]


class RegeneratedOut(BaseModel):
    """An image made again from its row."""

    id: str
    equal: bool = Field(description="Pixel for pixel the recorded image.")
    png: str = Field(description="The new PNG, base64.")


class JobPage(BaseModel):
    """A page; pass `next` as `after`."""

    items: list[JobOut]
    next: str | None


class ImagePage(BaseModel):
    """A page; pass `next` as `after`."""

    items: list[ImageOut]
    next: str | None


class RunOut(BaseModel):
    """A training run."""

    id: str
    architecture: str
    status: JobStatus
    message: str | None
    images_seen: int
    seconds: float
    device: str | None
    events: list[dict[str, Any]] = Field(description="What the guards said.")
    started_at: datetime
    finished_at: datetime | None
    history: list[dict[str, Any]]
    sheets: list[int] = Field(description="Steps at which samples were drawn.")

    @classmethod
    def of(cls, row: RunRow, *, history: list[dict[str, Any]] | None = None, sheets: list[int] | None = None) -> RunOut:
        """From its row."""
        return cls(
            id=row.id,
            architecture=row.architecture,
            status=JobStatus(row.status),
            message=row.status_reason,
            images_seen=row.images_seen,
            seconds=row.elapsed_sec,
            device=row.device,
            events=list(row.events),
            started_at=row.started_at,
            finished_at=row.finished_at,
            history=history or [],
            sheets=sheets or [],
        )


class EvaluationOut(BaseModel):
    """A recorded score."""

    metric: str
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

    @classmethod
    def of(cls, row: EvaluationRow) -> EvaluationOut:
        """From its row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ExportOut(BaseModel):
    """An export; `url` opens the file for a while where the service holds it."""

    id: int
    model: str | None
    job: str | None
    format: str
    counts: dict[str, int]
    sha256: str | None
    created_at: datetime
    url: str | None

    @classmethod
    def of(cls, row: ExportRow, url: str | None) -> ExportOut:
        """From its row."""
        return cls(
            id=row.id,
            model=row.model_id,
            job=row.job_id,
            format=row.format,
            counts=row.counts,
            sha256=row.sha256,
            created_at=row.created_at,
            url=url,
        )


class KeyOut(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None

    @classmethod
    def of(cls, row: ApiKeyRow) -> KeyOut:
        """From its row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields if name != "scopes"}, scopes=[*row.scopes])


class NewKeyOut(KeyOut):
    """A key that was just made; the token is shown this once."""

    token: str


class AuditOut(BaseModel):
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject_kind: str
    subject_id: str
    details: dict[str, Any]

    @classmethod
    def of(cls, row: AuditRow) -> AuditOut:
        """From its row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})
