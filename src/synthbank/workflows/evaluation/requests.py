"""Requests of evaluation. Plain values that need no network, so that every front door builds the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthbank.errors import OptionError
from synthbank.records import MAX_IMAGES

__all__ = ["BiasRequest", "EvaluateRequest", "ReportRequest", "UtilityRequest"]

GROUPS = "groups"
"""Number of folds that leaves each group out once."""


@dataclass(frozen=True)
class EvaluateRequest:
    """Scores of a job against the test originals."""

    job_id: str
    max_images: int = MAX_IMAGES
    """Synthetic images that are scored, all classes together; the same number of each class."""
    n_resamples: int = 200
    """Of the bootstrap."""
    seed: int = 0
    """Of every random subset."""
    encoder: Path | None = None
    """Your own frozen encoder (TorchScript or ONNX) as one more feature space; `None`: that of the settings, if any."""

    def __post_init__(self) -> None:
        _check_counts(max_images=self.max_images, n_resamples=self.n_resamples)


@dataclass(frozen=True)
class UtilityRequest:
    """Classifiers trained with and without the images of a job, and tested on held-out originals."""

    job_id: str
    seeds: int = 5
    """Classifiers of each kind."""
    budget_sec: float | None = None
    """No new classifier is begun after so many seconds; the first seed is always finished. `None`: all."""
    select: float | None = None
    """Share of the synthetic images of each class, the most typical ones, that one more regime keeps; `None`: none."""
    curves: bool = False
    """Also parts of the originals, and ratios of synthetic images to originals."""
    shifts: bool = False
    """Also test images under other stain, blur, JPEG and light."""
    folds: int | str | None = None
    """`None`: the data set's own test split. A number: cross-validation, with a new generator for each fold.

    "groups" leaves each group out once.
    """
    generator_sec: float | None = None
    """Training time of each fold's generator; `None`: steps or time of the job's own model."""
    classifiers: tuple[str, ...] | None = None
    """Names of registered classifiers; `None`: all."""
    max_images: int = MAX_IMAGES
    """Synthetic images that are used, all classes together; the same number of each class."""
    n_resamples: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of classifiers, subsets and folds."""

    def __post_init__(self) -> None:
        _check_counts(max_images=self.max_images, n_resamples=self.n_resamples, seeds=self.seeds)
        if self.folds is not None:
            fold_count(self.folds)


@dataclass(frozen=True)
class BiasRequest:
    """Coverage of rare modes and single groups by the images of a job, and agreement with their labels."""

    job_id: str
    max_images: int = MAX_IMAGES
    """Synthetic images that are used, all classes together; the same number of each class."""
    seed: int = 0
    """Of clusters and of the choice of regularisation."""

    def __post_init__(self) -> None:
        _check_counts(max_images=self.max_images)


@dataclass(frozen=True)
class ReportRequest:
    """The report of a job, evaluated or not."""

    job_id: str
    to: Path | None = None
    """File to write; `None`: into the bank's object store."""
    stage_seconds: Mapping[str, float] | None = None
    """Seconds that each stage of a run took; `None`: what the catalogue knows."""


def fold_count(folds: int | str) -> int | None:
    """The number of folds, from a number or its digits; `None` leaves each group out once.

    Raises:
        OptionError: less than 2, or neither a number nor "groups".

    >>> fold_count("5"), fold_count("groups")
    (5, None)
    """
    if folds == GROUPS:
        return None
    if not str(folds).isdigit() or int(folds) < 2:
        raise OptionError("This is no number of folds", got=folds, allowed=f"2 or more, or '{GROUPS}'")
    return int(folds)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        least = 2 if name == "n_resamples" else 1  # an interval needs two
        if value < least:
            raise OptionError(f"'{name}' is out of range", got=value, allowed=f"{least} or more")
