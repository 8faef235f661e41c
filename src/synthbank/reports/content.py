"""Content of a report as plain values and uint8 arrays, with no page and no catalogue behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from synthbank.records import Score, UInt8Images

Points = NDArray[np.float64]
"""`[N, 2]`, float64: positions on the map."""


@dataclass(frozen=True)
class ClassCounts:
    """Accepted originals of one class, by split."""

    class_name: str
    train: int
    validation: int
    test: int
    groups: int
    """Different patients, slides or sources among them."""

    @property
    def total(self) -> int:
        """Accepted originals of the class."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class FindingLine:
    """One quality finding and how often it was made."""

    check: str
    severity: str
    """reject, warn or convert."""
    count: int
    example: str
    """The message of the first of them."""


@dataclass(frozen=True)
class DataPart:
    """The data set the model was trained on."""

    name: str
    version: int
    source: str | None
    licence: str | None
    fingerprint: str
    size: int
    channels: int
    microns_per_pixel: float | None
    counts: tuple[ClassCounts, ...]
    n_files: int
    n_rejected: int
    n_converted: int
    findings: tuple[FindingLine, ...]
    group_rule: str | None
    """Rule that reads the patient, slide or source id from a file's path; `None`: no rule was given."""
    n_groups: int
    n_groups_across_splits: int
    """Groups with images in more than one split; anything above 0 is a leak."""
    shares: tuple[float, ...]
    split_seed: int | None

    def in_split(self, split: str) -> int:
        """Originals of all classes in "train", "validation" or "test"."""
        return sum(getattr(c, split) for c in self.counts)


@dataclass(frozen=True)
class ExpansionPart:
    """The catalogued affine expansion of the training originals."""

    n_originals: int
    n_copies: int
    ranges: tuple[tuple[str, float, float], ...]
    """Name of each parameter with the least and greatest drawn value."""
    used_in_training: bool


@dataclass(frozen=True)
class Curve:
    """One line of a training plot; `x` are optimiser steps."""

    name: str
    x: tuple[int, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class SnapshotLine:
    """One scored snapshot."""

    step: int
    images_seen: int
    kid: float | None
    """Times 1000; lower is better."""
    real_diversity: float | None
    fake_diversity: float | None
    chosen: bool


@dataclass(frozen=True)
class EventLine:
    """One guard warning or rollback."""

    step: int
    kind: str
    """guard or rollback."""
    message: str


@dataclass(frozen=True)
class TrainingPart:
    """The model's architecture, run, curves, snapshots and guard events."""

    model: str
    architecture: str
    parameters: int | None
    """Trainable values of the generator; `None`: not known here."""
    run_id: str | None
    config: tuple[tuple[str, str], ...]
    losses: tuple[Curve, ...] = ()
    logits: tuple[Curve, ...] = ()
    snapshots: tuple[SnapshotLine, ...] = ()
    events: tuple[EventLine, ...] = ()
    history_found: bool = False
    """`False`: the run folder is not here, so there are no loss curves."""
    status: str | None = None
    images_seen: int | None = None
    elapsed_sec: float | None = None
    chosen_by: str = "not recorded"
    """Choice of the published snapshot, in words."""
    shortfall: str | None = None
    """In words, that training saw too few images for a good set; `None`: it saw enough, or nothing is recorded."""
    withdrawn: bool = False


@dataclass(frozen=True)
class ClassSample:
    """The images of one class that are shown side by side."""

    class_name: str
    real: UInt8Images
    """`[N, C, H, W]`, uint8: training originals."""
    synthetic: UInt8Images
    """`[N, C, H, W]`, uint8: accepted synthetic images."""


@dataclass(frozen=True)
class Pair:
    """A synthetic image beside its nearest training original."""

    image_id: str
    class_name: str
    synthetic: UInt8Images
    """`[C, H, W]`, uint8."""
    original: UInt8Images | None
    """`[C, H, W]`, uint8; `None`: the original is not in this bank."""
    original_class: str | None
    distance: float
    reason: str | None = None
    """The gate's reason for rejecting it; `None`: accepted."""


@dataclass(frozen=True)
class NearestPart:
    """Nearest training originals of the job's images."""

    distance_name: str
    """The distance in words."""
    shown: tuple[Pair, ...]
    """Every synthetic image of the side-by-side section, the closest first."""
    closest: tuple[Pair, ...]
    """The closest accepted images of the whole job."""
    rejected: tuple[Pair, ...]
    """Images that the gate rejected, the closest first."""
    distances: tuple[tuple[str, NDArray[np.float64]], ...]
    """Class name and the distance of every accepted image, `[N]`."""


@dataclass(frozen=True)
class GatePart:
    """Verdicts of the gate, counted."""

    screened: bool
    copy_distance: float | None
    """Below this distance an image is a near copy; `None`: not known here."""
    blank_deviation: float | None
    counts: tuple[tuple[str, int, int], ...]
    """Class name, accepted and rejected."""
    reasons: tuple[tuple[str, int], ...]
    cannot_tell: tuple[str, ...] = ()
    """Classes in which the gate cannot tell copies from new images."""

    @property
    def accepted(self) -> int:
        """Accepted images of all classes."""
        return sum(accepted for _, accepted, _ in self.counts)

    @property
    def rejected(self) -> int:
        """Rejected images of all classes."""
        return sum(rejected for _, _, rejected in self.counts)


@dataclass(frozen=True)
class JobPart:
    """The generation job the report is about."""

    id: str
    status: str
    message: str | None
    seed: int
    truncation: float
    n_requested: int
    n_accepted: int
    n_attempts: int
    seconds: float
    finished_at: datetime | None


@dataclass(frozen=True)
class MapGroup:
    """Points of one kind and class on the map."""

    kind: str
    """real train, real test or synthetic."""
    class_name: str
    points: Points


@dataclass(frozen=True)
class MapPart:
    """Two leading directions of the real images' features, with the synthetic images laid over them."""

    network: str
    groups: tuple[MapGroup, ...]
    explained: tuple[float, float]
    """Share of the real images' variance along each axis, 0..1."""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. A part that is `None` is said to be missing, with its reason."""

    title: str
    job: JobPart
    class_names: tuple[str, ...]
    training: TrainingPart
    gate: GatePart
    samples: tuple[ClassSample, ...] = ()
    data: DataPart | None = None
    expansion: ExpansionPart | None = None
    nearest: NearestPart | None = None
    scores: tuple[Score, ...] = ()
    """Empty: the job was not evaluated."""
    evidence: tuple[Score, ...] = ()
    """Scores of utility, bias and shifts; empty: not tried."""
    map: MapPart | None = None
    reader_answers: int = 0
    """Answers of reader studies about images of this job."""
    commands: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    device: str | None = None
    stage_seconds: tuple[tuple[str, float], ...] = field(default=())
