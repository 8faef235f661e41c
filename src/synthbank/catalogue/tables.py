"""The tables of the catalogue. Rooms outside see `rows`, never these classes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = "0004"
"""Newest migration; a test holds it equal to Alembic's head, so that opening a catalogue need not import Alembic."""


class UTCDateTime(TypeDecorator[datetime]):
    """Time-zone aware instants, in UTC on every database (SQLite itself forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC; a naive time is an error."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a catalogue time needs a time zone, got {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read from the database: aware, UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSON_TYPE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Common naming of constraints, and the types of annotated columns."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy
        datetime: UTCDateTime(),
        dict[str, Any]: JSON_TYPE,
        list[Any]: JSON_TYPE,
        float: Float(53),
        str: String(),
    }


class Dataset(Base):
    """A version of a data set: the unit that runs, models and evaluations refer to."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    class_names: Mapped[list[Any]]
    size: Mapped[int]
    channels: Mapped[int]
    microns_per_pixel: Mapped[float | None]
    fingerprint: Mapped[str]
    split_fingerprints: Mapped[dict[str, Any]]
    licence: Mapped[str | None]
    source: Mapped[str | None]
    options: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Original(Base):
    """A file (or tile) of the source, accepted or not, and what the checks found."""

    __tablename__ = "original"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"))
    name: Mapped[str]
    sha256: Mapped[str | None] = mapped_column(index=True)
    key: Mapped[str | None]
    class_name: Mapped[str | None]
    group_id: Mapped[str | None]
    split: Mapped[str | None]
    accepted: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(Text)
    findings: Mapped[list[Any]]
    withdrawn_at: Mapped[datetime | None]


class Expansion(Base):
    """One augmented copy: parent and exact transform, never its pixels."""

    __tablename__ = "expansion"
    __table_args__ = (UniqueConstraint("dataset_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"))
    parent_id: Mapped[int] = mapped_column(ForeignKey("original.id"), index=True)
    position: Mapped[int]
    parameters: Mapped[dict[str, Any]]


class TrainingRun(Base):
    """One training with its full resolved configuration."""

    __tablename__ = "training_run"

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    architecture: Mapped[str]
    config: Mapped[dict[str, Any]]
    code_version: Mapped[str | None]
    device: Mapped[str | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    status_reason: Mapped[str | None] = mapped_column(Text)
    images_seen: Mapped[int] = mapped_column(BigInteger)
    elapsed_sec: Mapped[float]
    history_key: Mapped[str | None]
    events: Mapped[list[Any]]
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Snapshot(Base):
    """Stored weights of a run at one step, and how they scored."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("run_id", "step"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("training_run.id"))
    step: Mapped[int]
    images_seen: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str]
    sha256: Mapped[str]
    scores: Mapped[dict[str, Any]]
    chosen: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Model(Base):
    """A published snapshot; its name is its key."""

    __tablename__ = "model"

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("training_run.id"))
    snapshot_id: Mapped[int | None] = mapped_column(ForeignKey("snapshot.id"))
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    architecture: Mapped[str]
    class_names: Mapped[list[Any]]
    size: Mapped[int]
    channels: Mapped[int]
    key: Mapped[str]
    sha256: Mapped[str]
    card: Mapped[dict[str, Any]]
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    source: Mapped[str | None] = mapped_column(Text)


class ModelOriginal(Base):
    """An original that shaped a model; followed at withdrawal."""

    __tablename__ = "model_original"

    model_id: Mapped[str] = mapped_column(ForeignKey("model.id"), primary_key=True)
    original_sha256: Mapped[str] = mapped_column(primary_key=True, index=True)


class GenerationJob(Base):
    """One request for images and how far it came; the columns from `targets` on make it an entry of the queue."""

    __tablename__ = "generation_job"
    __table_args__ = (Index(None, "status", "queued_at"), Index(None, "started_at", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("model.id"), index=True)
    request: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    n_requested: Mapped[int]
    n_accepted: Mapped[int] = mapped_column(default=0)
    n_rejected: Mapped[int] = mapped_column(default=0)
    n_attempts: Mapped[int] = mapped_column(default=0)
    screened: Mapped[bool]
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str | None] = mapped_column(Text)
    targets: Mapped[dict[str, Any] | None] = mapped_column(JSON_TYPE)
    revision: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    queued_at: Mapped[datetime | None]
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    cancelled_at: Mapped[datetime | None]


class Image(Base):
    """One synthetic image: where it came from, where it lies, and what the gate decided."""

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("job_id", "class_index", "index"),
        Index(None, "model_id", "class_index", "index"),
        Index(None, "created_at", "id"),
        # one for each way to ask for a page: what is fixed, then the order of the page
        Index("ix_image_newest", "verdict", "created_at", "id"),
        Index("ix_image_class_newest", "class_name", "verdict", "created_at", "id"),
        Index("ix_image_model_newest", "model_id", "class_name", "verdict", "created_at", "id"),
        Index("ix_image_job_newest", "job_id", "class_name", "verdict", "created_at", "id"),
        Index("ix_image_nearest", "verdict", "nearest_distance", "id"),
        Index("ix_image_class_nearest", "class_name", "verdict", "nearest_distance", "id"),
        Index("ix_image_model_nearest", "model_id", "class_name", "verdict", "nearest_distance", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("generation_job.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("model.id"))
    class_index: Mapped[int]
    class_name: Mapped[str]
    index: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    truncation: Mapped[float]
    key: Mapped[str]
    sha256: Mapped[str]
    pixel_sha256: Mapped[str]
    bytes: Mapped[int]
    scores: Mapped[dict[str, Any]]
    nearest_original: Mapped[str | None]
    nearest_distance: Mapped[float | None]
    verdict: Mapped[str]
    reason: Mapped[str | None] = mapped_column(Text)
    screened: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Evaluation(Base):
    """One score of a job, model or data set; rows are only ever added."""

    __tablename__ = "evaluation"
    __table_args__ = (Index(None, "subject_kind", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    reference_fingerprint: Mapped[str | None]
    metric: Mapped[str]
    class_name: Mapped[str | None]
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    floor: Mapped[float | None]
    floor_low: Mapped[float | None]
    floor_high: Mapped[float | None]
    n_real: Mapped[int]
    n_fake: Mapped[int]
    higher_is_better: Mapped[bool]
    seconds: Mapped[float]
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)
    group_name: Mapped[str | None]
    details: Mapped[dict[str, Any] | None]


class Export(Base):
    """One export and where it went."""

    __tablename__ = "export"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("generation_job.id"))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("model.id"))
    format: Mapped[str]
    target: Mapped[str]
    counts: Mapped[dict[str, Any]]
    sha256: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ReaderAnswer(Base):
    """One answer of a reader study: real or synthetic?"""

    __tablename__ = "reader_answer"
    __table_args__ = (Index(None, "session"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    session: Mapped[str]
    reader: Mapped[str]
    image_id: Mapped[str | None] = mapped_column(ForeignKey("image.id"))
    original_id: Mapped[int | None] = mapped_column(ForeignKey("original.id"))
    truth: Mapped[str]
    answer: Mapped[str]
    milliseconds: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ReaderStudy(Base):
    """A blinded set of images that readers are asked about."""

    __tablename__ = "reader_study"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("generation_job.id"))
    seed: Mapped[int] = mapped_column(BigInteger)
    options: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ReaderItem(Base):
    """One image of a reader study; its token is all that a reader's sheet knows of it."""

    __tablename__ = "reader_item"
    __table_args__ = (UniqueConstraint("study_id", "position"), UniqueConstraint("study_id", "token"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("reader_study.id"))
    position: Mapped[int]
    token: Mapped[str]
    class_name: Mapped[str]
    truth: Mapped[str]
    image_id: Mapped[str | None] = mapped_column(ForeignKey("image.id"))
    original_id: Mapped[int | None] = mapped_column(ForeignKey("original.id"))


class ApiKey(Base):
    """A key of the service and its scopes; the secret itself is never stored."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    replaced_by: Mapped[str | None]


class AuditEvent(Base):
    """A change made through the service and its actor; rows are only ever added."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "subject_kind", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    actor: Mapped[str]
    action: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    details: Mapped[dict[str, Any]]
