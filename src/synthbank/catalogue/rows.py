"""Frozen records of the catalogue's rows: what queries return. No session behind them, safe to keep and to pass on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from synthbank.records import Finding, Score, Split


@dataclass(frozen=True, slots=True)
class NewOriginal:
    """An original on its way into the catalogue."""

    name: str
    """Path inside the source; unique within the data set."""
    accepted: bool
    sha256: str | None = None
    """Hash of its pixels; `None` for a rejected file."""
    key: str | None = None
    class_name: str | None = None
    group_id: str | None = None
    split: Split | None = None
    reason: str | None = None
    """Reason for rejecting it; `None` when accepted."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A version of a data set."""

    id: int
    name: str
    version: int
    class_names: tuple[str, ...]
    size: int
    channels: int
    microns_per_pixel: float | None
    fingerprint: str
    split_fingerprints: dict[str, str]
    licence: str | None
    source: str | None
    options: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OriginalRow:
    """A file or tile of the source."""

    id: int
    dataset_id: int
    name: str
    sha256: str | None
    key: str | None
    class_name: str | None
    group_id: str | None
    split: Split | None
    accepted: bool
    reason: str | None
    findings: tuple[Finding, ...]
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExpansionRow:
    """One augmented copy of an original."""

    id: int
    dataset_id: int
    parent_id: int
    position: int
    parameters: dict[str, float]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A training run."""

    id: str
    dataset_id: int
    architecture: str
    config: dict[str, Any]
    code_version: str | None
    device: str | None
    seed: int
    status: str
    status_reason: str | None
    images_seen: int
    elapsed_sec: float
    history_key: str | None
    events: tuple[Any, ...]
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """Stored weights of a run at one step."""

    id: int
    run_id: str
    step: int
    images_seen: int
    key: str
    sha256: str
    scores: dict[str, Any]
    chosen: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A published model; `id` is its name, `key` the folder of its files."""

    id: str
    run_id: str | None
    snapshot_id: int | None
    dataset_id: int | None
    architecture: str
    class_names: tuple[str, ...]
    size: int
    channels: int
    key: str
    sha256: str
    card: dict[str, Any]
    status: str
    """"published" or "withdrawn"."""
    created_at: datetime
    source: str | None = None
    """Address that it was imported from, such as "zoo:ihc-64"; `None`: trained in this bank, or not recorded."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A generation job."""

    id: str
    model_id: str
    request: dict[str, Any]
    seed: int
    status: str
    n_requested: int
    n_accepted: int
    n_rejected: int
    n_attempts: int
    screened: bool
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    message: str | None
    targets: dict[str, int] | None = None
    """Class name to accepted images wanted, as asked through the queue; `None`: never queued."""
    revision: int = 0
    """Grows whenever something else is wanted of the job."""
    queued_at: datetime | None = None
    worker: str | None = None
    """Worker that holds it now."""
    lease_until: datetime | None = None
    """When another worker may take it over, unless the lease is renewed."""
    claims: int = 0
    """Times it was claimed since its last progress."""
    cancelled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A synthetic image."""

    id: str
    job_id: str
    model_id: str
    class_index: int
    class_name: str
    index: int
    """Number of the attempt within job and class."""
    seed: int
    truncation: float
    key: str
    sha256: str
    """Of the file's bytes."""
    pixel_sha256: str
    bytes: int
    scores: dict[str, Any]
    nearest_original: str | None
    """Pixel hash of the nearest training original; `None`: not screened."""
    nearest_distance: float | None
    verdict: str
    reason: str | None
    screened: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One recorded score."""

    id: int
    subject_kind: str
    """"job", "model" or "dataset"."""
    subject_id: str
    reference_fingerprint: str | None
    metric: str
    class_name: str | None
    value: float | None
    low: float | None
    high: float | None
    floor: float | None
    floor_low: float | None
    floor_high: float | None
    n_real: int
    n_fake: int
    higher_is_better: bool
    seconds: float
    note: str | None
    created_at: datetime
    group_name: str | None
    details: dict[str, Any] | None

    def score(self) -> Score:
        """The record that was entered."""
        return Score(**{name: getattr(self, name) for name in Score.__slots__})


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One export."""

    id: int
    job_id: str | None
    model_id: str | None
    format: str
    target: str
    counts: dict[str, int]
    sha256: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReaderAnswerRow:
    """One answer of a reader study."""

    id: int
    session: str
    reader: str
    image_id: str | None
    original_id: int | None
    truth: str
    answer: str
    milliseconds: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReaderStudyRow:
    """A blinded set of images that readers are asked about."""

    id: str
    job_id: str
    seed: int
    options: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReaderItemRow:
    """One image of a reader study."""

    id: int
    study_id: str
    position: int
    token: str
    """All that a reader's sheet knows of the image."""
    class_name: str
    truth: str
    """"real" or "synthetic"."""
    image_id: str | None
    original_id: int | None


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """A key of the service, without its secret."""

    id: str
    name: str
    secret_sha256: str = field(repr=False)
    scopes: tuple[str, ...]
    """"read", "generate", "admin"."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None

    def valid(self, at: datetime) -> bool:
        """Neither revoked nor past its end."""
        return all(end is None or at < end for end in (self.expires_at, self.revoked_at))


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that somebody did through the service."""

    id: int
    at: datetime
    actor: str
    """Id of the key, or "local"."""
    action: str
    subject_kind: str
    subject_id: str
    details: dict[str, Any]


class ImageFile(NamedTuple):
    """Key and hash of an image's stored file."""

    id: str
    key: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """Something whose name or id matches a search."""

    kind: str
    """"dataset", "original", "run", "model", "job" or "image"."""
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Dependents:
    """Everything that was made from a data set."""

    runs: tuple[str, ...]
    models: tuple[str, ...]
    jobs: tuple[str, ...]
    n_images: int


@dataclass(frozen=True, slots=True)
class WithdrawalReport:
    """Data sets, models and images that depended on an original; all are marked withdrawn, nothing is deleted."""

    sha256: str
    datasets: tuple[str, ...]
    """`name@version` of every data set that holds it."""
    runs: tuple[str, ...]
    """Training runs on those data sets; their snapshots must not be published."""
    models: tuple[str, ...]
    jobs: tuple[str, ...]
    images: tuple[str, ...] = field(repr=False)
    newly_withdrawn: int
    """Models and images that this call changed; 0 when all was withdrawn before."""
