"""Frozen records that cross rooms. They hold plain values and numpy arrays; never tensors, sessions or open files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import IntegrityError

UInt8Images = NDArray[np.uint8]
"""Images as they cross rooms: `[N, C, H, W]`, uint8, 0..255; C is 1 (grey), 3 (RGB) or more."""

MAX_ATTEMPTS = 4.0
"""Images of a class that a job may draw, as a multiple of the accepted ones it wants, unless it says otherwise."""

SCORING_NETWORK = "lite1"
"""Frozen feature network that scores snapshots and leads in tables; not the one that `projected` looks through."""

INSIDE_DISCRIMINATOR = "seen by the model's discriminator: this space flatters, and never leads"
"""Begins the note of every score in a feature space that the scored model was trained against."""


class Split(StrEnum):
    """The part of a data set an original belongs to; set once, before any augmentation."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


MIN_VALIDATION_IMAGES = 8
"""With fewer validation originals the score of a snapshot is noise, so training originals are its reference."""


@dataclass(frozen=True, slots=True)
class SnapshotReference:
    """The originals that a run scores its snapshots against, and so chooses the published one by.

    >>> SnapshotReference(20).sentence
    'KID to 20 validation originals'
    >>> SnapshotReference(3).sentence
    'KID to the training originals, as there are only 3 validation originals'
    """

    n_validation: int | None
    """Validation originals of the classes that the run trains on; `None`: not recorded."""

    @property
    def split(self) -> Split | None:
        """Validation, or training where there are too few of these; `None`: not recorded."""
        if self.n_validation is None:
            return None
        return Split.VALIDATION if self.n_validation >= MIN_VALIDATION_IMAGES else Split.TRAIN

    @property
    def sentence(self) -> str:
        """The sentence on how the published snapshot was chosen, for terminal, card, JSON and report."""
        if self.split is None:
            return "KID to originals whose split is not recorded"
        if self.split is Split.VALIDATION:
            return f"KID to {self.n_validation} validation originals"
        return f"KID to the training originals, as there are only {self.n_validation} validation originals"


class Verdict(StrEnum):
    """Verdict of the gate, or of a later withdrawal, on a synthetic image."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Severity(StrEnum):
    """The effect of a quality finding on its file."""

    REJECT = "reject"
    """The file is rejected."""
    WARN = "warn"
    """The file is used; a person should look."""
    CONVERT = "convert"
    """The file is used after a conversion that is named in the message."""


class JobStatus(StrEnum):
    """Life of a training run or a generation job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CAPPED = "capped"
    """Ended at the attempt cap with fewer accepted images than asked for."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """Shape of every image of a data set: square, 8 bits a channel."""

    size: int
    """Height and width in pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    microns_per_pixel: float | None = None
    """Physical size of a pixel; `None`: unknown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a quality check noticed about one file."""

    check: str
    """Registered name of the check, such as "blank" or "near_duplicate"."""
    severity: Severity
    message: str
    """The measured value and the limit, as a sentence."""
    value: float | None = None
    """The measured number where there is one."""
    other: str | None = None
    """Name of the other image of a finding about two."""


@dataclass(frozen=True, slots=True)
class Original:
    """One accepted original: its pixels, label and origin."""

    sha256: str
    """Hash of the stored PNG's pixels: `shape + bytes`, so that it does not depend on the encoder."""
    name: str
    """Path inside the source, POSIX style, plus `#y,x` for a tile."""
    class_name: str
    group: str
    """Patient, slide or source id; the unit of splitting. The file's own name where nothing better is known."""
    pixels: NDArray[np.uint8]
    """`[C, H, W]`, uint8, 0..255."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """One file (or tile) that was left out, with at least one finding that says why."""

    name: str
    class_name: str | None
    findings: tuple[Finding, ...]
    original: Original | None = field(default=None, compare=False)
    """The image itself where it was left out for the sake of another image alone."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Where the groups of a data set come from, and how many there are."""

    origin: Literal["not given", "pattern", "source"]
    rule: str | None
    """Pattern that reads the group from a file's path."""
    n_groups: int
    n_images: int

    @property
    def given(self) -> bool:
        """Somebody said which images belong together."""
        return self.origin != "not given"

    @property
    def sentence(self) -> str:
        """The facts in words, for every place that shows them."""
        alone = self.n_groups == self.n_images
        if not self.given:
            near = "" if alone else ", apart from tiles of one file and near duplicates"
            return f"not given: each file counts as its own group{near}"
        counted = "1 group" if self.n_groups == 1 else f"{self.n_groups} groups"
        where = "from the source itself" if self.rule is None else f"read by the pattern {self.rule}"
        return f"{counted}, {where}" + ("; each is one image, so nothing is held together" if alone else "")


def group_facts(groups: Sequence[str], names: Sequence[str], *, rule: str | None) -> GroupFacts:
    """The facts about the groups of accepted originals.

    Args:
        groups: `[N]`, group of each original.
        names: `[N]`, name of each; where nothing is known a group carries the name of a file.
        rule: pattern that was given; `None`: none.

    >>> group_facts(["a.png", "a.png"], ["a.png", "b.png"], rule=None).sentence
    'not given: each file counts as its own group, apart from tiles of one file and near duplicates'
    """
    files = {*names, *(name.rpartition("#")[0] for name in names)}
    known: Literal["not given", "source"] = "not given" if files.issuperset(groups) else "source"
    return GroupFacts("pattern" if rule is not None else known, rule, len(set(groups)), len(groups))


@dataclass(frozen=True, slots=True)
class AffineParameters:
    """One draw of the affine expansion, about the image centre; a part that was not drawn holds its neutral value."""

    scale: float = 1.0
    """Factor; above 1 enlarges."""
    rotation_deg: float = 0.0
    """Counter-clockwise, in degrees."""
    shift_y: float = 0.0
    """Fraction of the height, down is positive."""
    shift_x: float = 0.0
    """Fraction of the width, right is positive."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """One augmented copy: its parent's position in the training list, and the exact transform."""

    parent: int
    affine: AffineParameters


@dataclass(frozen=True)
class LabelledImages:
    """A set of images in memory with integer labels."""

    images: UInt8Images
    """`[N, C, H, W]`, uint8, 0..255."""
    labels: NDArray[np.int64]
    """`[N]`, int64, index into `class_names`."""
    class_names: tuple[str, ...]
    ids: tuple[str, ...] = ()
    """Identity of each image (hash of an original, id of a synthetic image); empty: unknown."""

    def __len__(self) -> int:
        return len(self.images)

    def of_class(self, label: int) -> LabelledImages:
        """The images of one class."""
        return self.take(np.flatnonzero(self.labels == label))

    def of_classes(self, names: Sequence[str]) -> LabelledImages:
        """The images of some classes, which these are all the classes of; their order is that of `names`."""
        number = {self.class_names.index(name): i for i, name in enumerate(names) if name in self.class_names}
        of_them = self.take(np.flatnonzero(np.isin(self.labels, list(number))))
        labels = np.array([number[label] for label in of_them.labels.tolist()], np.int64)
        return LabelledImages(of_them.images, labels, tuple(names), of_them.ids)

    def take(self, index: NDArray[np.int64]) -> LabelledImages:
        """The images at `index`, in that order."""
        ids = tuple(self.ids[i] for i in index) if self.ids else ()
        return LabelledImages(self.images[index], self.labels[index], self.class_names, ids)


MAX_IMAGES = 2048
"""Images of a set that an evaluation looks at unless another number is given."""
FD_BIASED_BELOW = 2048
"""Images of a set below which a Frechet distance is called biased."""


@dataclass(frozen=True, slots=True)
class Score:
    """One measured value with everything needed to read it; one row of the catalogue, one line of JSON."""

    metric: str
    """Protocol id: metric, feature network, input size; such as "kid-lite1-64"."""
    value: float | None
    """`None`: not computed; `note` says why."""
    low: float | None = None
    high: float | None = None
    """Bounds of the 95% bootstrap interval."""
    floor: float | None = None
    """The same metric of real against real at the same n; `None`: not measured."""
    floor_low: float | None = None
    floor_high: float | None = None
    n_real: int = 0
    n_fake: int = 0
    class_name: str | None = None
    """`None`: over all classes."""
    higher_is_better: bool = False
    seconds: float = 0.0
    note: str | None = None
    """Warnings such as "biased below 2048 images"."""
    group_name: str | None = None
    """Patient, slide, centre or scanner; `None`: over all groups."""
    details: dict[str, Any] | None = None
    """The method in plain values, such as seeds, folds, method and p-value; `None`: the id says it all."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts of the gate on a batch of synthetic images."""

    accepted: NDArray[np.bool_]
    """`[N]`"""
    reasons: tuple[str | None, ...]
    """Reason of each rejection; `None` where accepted."""
    nearest: NDArray[np.int64]
    """`[N]`, index of the nearest training original."""
    distance: NDArray[np.float32]
    """`[N]`, how unlike it is: 0 is the same, 1 is unrelated."""

    def part(self, first: int, end: int) -> Verdicts:
        """Those of images `first` to `end`, `end` not included."""
        return Verdicts(
            self.accepted[first:end], self.reasons[first:end], self.nearest[first:end], self.distance[first:end]
        )


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """Image selection of a job: the share to keep, and the limits that its first call has set."""

    option: str
    """`select` (the most typical images) or `match` (as often as their like among the originals)."""
    share: float
    """Above 0, below 1: share of the images that pass the gate."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Network, input size and limits; empty: not set yet."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("select", "match")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The `request` column of a generation job: with model and seed, it decides every image of the job.

    This class alone reads and writes that JSON. Jobs of earlier versions lack some keys, and get the defaults.
    """

    truncation: float = 1.0
    """1: the whole distribution; towards 0: the mean image of the class."""
    screen: bool = True
    """`False`: the gate is not asked."""
    towards: int | None = None
    """Seed at the far end of a latent interpolation; `None`: independent images."""
    steps: int = 0
    """Images of the interpolation, both ends included; 0: no interpolation."""
    selection: SelectionRule | None = None
    """`None`: every image that passes the gate is accepted."""
    block: int | None = None
    """Images of a forward pass, to which the bits of an image belong; `None`: no worker has opened the job yet."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> JobRequest:
        """The request of a job's row, of this version or an earlier one; unknown keys are ignored."""
        rule = None
        for option in SelectionRule.OPTIONS:
            if stored.get(option):
                limits = {name: value for name, value in stored[option].items() if name != "share"}
                rule = SelectionRule(option, float(stored[option]["share"]), limits)
        return cls(
            truncation=float(stored.get("truncation", 1.0)),
            screen=bool(stored.get("screen", True)),
            towards=stored.get("towards"),
            steps=stored.get("steps", 0),
            selection=rule,
            block=stored.get("block"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON of a job's row; what a job does without has no key in it."""
        stored: dict[str, Any] = {"truncation": self.truncation, "screen": self.screen}
        if self.towards is not None:
            stored |= {"towards": self.towards, "steps": self.steps}
        if self.selection is not None:
            stored[self.selection.option] = {"share": self.selection.share, **self.selection.limits}
        if self.block is not None:
            stored["block"] = self.block
        return stored


@dataclass(frozen=True, slots=True)
class CardDataset:
    """Data set behind a model, as the model's card names it."""

    name: str
    version: int
    fingerprint: str
    licence: str | None = None
    source: str | None = None
    training_originals: int | None = None
    other: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know, kept as they are."""


@dataclass(frozen=True, slots=True)
class CardSnapshot:
    """The snapshot that was published."""

    step: int
    images_seen: int
    scores: Mapping[str, Any] = field(default_factory=dict)
    validation_originals: int | None = None
    """Validation originals of the run, as of `SnapshotReference`; `None`: not recorded, and no key in JSON."""
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> SnapshotReference:
        """The originals that the run's snapshots were scored against."""
        return SnapshotReference(self.validation_originals)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A training that saw too few images for a good set, and how to go on."""

    images_seen: int
    good_images: int
    """Images that good sets of this size had seen."""
    command: str
    """Resumes the run, and trains as long as those did."""
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Both numbers and the command, in words."""
        return (
            f"Training saw {self.images_seen:,} images; good sets of this size had seen about {self.good_images:,}. "
            f"To go on: {self.command}"
        )


@dataclass(frozen=True, slots=True)
class CardStart:
    """The initial weights of a training; in JSON, `source` is called "from"."""

    source: str
    """As `--init` named it."""
    weights_sha256: str
    dataset: CardDataset | None = None
    data: str | None = None
    licence: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The content of `model.json`, which is also the `card` column of a model.

    This class alone reads and writes that JSON. What a card does not record is `None` or empty here, and has no key
    there; keys that this version does not know are kept.
    """

    name: str
    """Of the model where it was published."""
    spec: Mapping[str, Any]
    """The networks to build; read by `ModelSpec.from_json`."""
    weights_sha256: str
    screen_sha256: str | None = None
    discriminator_sha256: str | None = None
    dataset: CardDataset | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    """As it was stored, under the names of its version; read by `read_train_config`."""
    snapshot: CardSnapshot | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    """Versions in training, by package."""
    not_for: str | None = None
    start: CardStart | None = None
    """`None`: from scratch."""
    shortfall: Shortfall | None = None
    """`None`: training saw enough images, or it is not recorded."""
    data: str | None = None
    """The origin of a packaged model's images, as a sentence."""
    licence: str | None = None
    originals: tuple[str, ...] = ()
    """Pixel hashes of originals that shaped a travelling model and that its gate does not know."""
    cannot_tell: tuple[str, ...] = ()
    """Classes in which its gate cannot tell copies from new images."""
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tells_origin(self) -> bool:
        """The card says what the model was made from, which of its snapshots it is, and what it is not for."""
        return None not in (self.dataset, self.snapshot, self.not_for) and bool(self.training and self.software)

    @classmethod
    def from_json(cls, stored: Any) -> ModelCard:
        """The card of a model of this version or an earlier one.

        Raises:
            IntegrityError: the value is not the card of a model.
        """
        try:
            values = _known_fields(cls, stored)
            if not {"architecture", "size", "channels", "class_names"} <= set(values["spec"]):
                raise KeyError("spec")
            for name, record in (("dataset", CardDataset), ("snapshot", CardSnapshot), ("shortfall", Shortfall)):
                if values.get(name) is not None:
                    values[name] = record(**_known_fields(record, values[name]))
            if values.get("start") is not None:
                values["start"] = _read_start(values["start"])
            return cls(**values | {name: tuple(values.get(name, ())) for name in ("originals", "cannot_tell")})
        except (KeyError, TypeError, AttributeError) as error:
            name = stored.get("name", "no name") if isinstance(stored, dict) else type(stored).__name__
            raise IntegrityError(
                "This is not the card of a model", got=name, next_step="publish the model again"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain values; the inverse of `from_json`."""
        known = _plain_fields(replace(self, other={}))
        stored = {name: value for name, value in known.items() if value not in (None, {}, ())}
        if self.snapshot is not None and self.snapshot.validation_originals is None:
            del stored["snapshot"]["validation_originals"]
        stored |= {name: list(stored[name]) for name in ("originals", "cannot_tell") if name in stored}
        if self.start is not None:
            start = _plain_fields(self.start)
            stored["start"] = {"from": start.pop("source"), **start}
        return {**stored, **self.other}


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """One line of a run's history: a status, a sample, a score, a snapshot or a guard event."""

    kind: str
    step: int
    images_seen: int
    elapsed_sec: float
    values: dict[str, Any] = field(default_factory=dict)


def _known_fields(record: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the fields of a record; the keys that it does not know go into `other`."""
    known = {f.name for f in fields(record)} - {"other"}
    values = {name: value for name, value in stored.items() if name in known}
    return values | {"other": {name: value for name, value in stored.items() if name not in known}}


def _plain_fields(record: Any) -> dict[str, Any]:
    """Fields by name, records among them as plain values, and the keys of `other` behind them."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "other"}
    plain = {name: _plain_fields(v) if isinstance(v, _CARD_PARTS) else v for name, v in values.items()}
    return plain | dict(record.other)


def _read_start(stored: Mapping[str, Any]) -> CardStart:
    values = _known_fields(CardStart, {"source" if name == "from" else name: v for name, v in stored.items()})
    if values.get("dataset") is not None:
        values["dataset"] = CardDataset(**_known_fields(CardDataset, values["dataset"]))
    return CardStart(**values)


_CARD_PARTS = (CardDataset, CardSnapshot, CardStart, Shortfall)
