"""From what the user asked for to one resolved training configuration, with the reasons of every automatic choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbank.catalogue import DatasetRow, queries
from synthbank.config import TrainConfig, resolve_train_config
from synthbank.data import variance_by_place
from synthbank.errors import OptionError
from synthbank.records import Split
from synthbank.workflows.bank import Bank
from synthbank.workflows.ingest import load_split, require_dataset

PRESETS = ("quick", "paper", "auto")
_STYLEGAN2_BATCH = 16  # of its presets
# measured on 12 to 555 images: 0.07 to 0.50 on single cells, 0.001 to 0.016 on tissue
_CENTRED = 0.05


@dataclass(frozen=True)
class Resolved:
    """A configuration, and why it is as it is."""

    config: TrainConfig
    reasons: tuple[str, ...]


def configure(
    bank: Bank,
    dataset_name: str,
    *,
    architecture: str,
    preset: str = "auto",
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """Resolve a preset for a data set.

    Args:
        bank: where the data set is.
        dataset_name: newest version of it.
        architecture: name of an architecture with packaged presets.
        preset: "quick" and "paper" are packaged files; "auto" is "quick" fitted to the data set.
        file: the user's YAML over the preset.
        overrides: of the command line; `None` values mean "not given".
    """
    if preset not in PRESETS:
        raise OptionError("Unknown preset", got=preset, allowed=PRESETS)
    dataset = require_dataset(bank, dataset_name)
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    fitted, reasons = _fit(bank, dataset, architecture) if preset == "auto" else ({}, [])
    if "steps" in given or "time_budget_sec" in given:
        reasons = [r for r in reasons if not r.startswith("time:")]
    if "steps" in given and "time_budget_sec" not in given:
        fitted["time_budget_sec"] = None
    packaged = f"{architecture}-{'quick' if preset == 'auto' else preset}"
    config = resolve_train_config(packaged, file=file, overrides=given, fitted=fitted)
    return Resolved(config, tuple(reasons))


def _fit(bank: Bank, dataset: DatasetRow, architecture: str) -> tuple[dict[str, Any], list[str]]:
    """What "auto" changes in the quick preset, and why."""
    with bank.catalogue.session() as session:
        n = len(queries.originals(dataset.id, split=Split.TRAIN, session=session))
    minutes = min(max(20.0 * (dataset.size / 64) ** 2, 5.0), 240.0)
    reasons = [
        f"{n} training images, {len(dataset.class_names)} classes, {dataset.size} pixels, {dataset.channels} channels",
        f"time: {minutes:.0f} minutes, as pixels cost time (--time-budget or --steps changes it)",
    ]
    fitted: dict[str, Any] = {"time_budget_sec": minutes * 60}
    if architecture == "projected":
        more, why = _fit_projected(bank, dataset)
        fitted |= more
        reasons += why
    if architecture == "stylegan2":
        fitted["r1_gamma"] = 0.0002 * dataset.size**2 / _STYLEGAN2_BATCH
        reasons.append(f"R1: {fitted['r1_gamma']:.2g}, by size and batch as in its paper")
    return fitted, reasons


def _fit_projected(bank: Bank, dataset: DatasetRow) -> tuple[dict[str, Any], list[str]]:
    """Measured on both kinds of image: docs/recipes.md."""
    reasons = [
        "average: over about 500 steps, as the run is longer than a first look",
        "learning rates: fall to a fifth over the second half, so that the end is settled",
    ]
    fitted: dict[str, Any] = {"ema_decay": 0.998, "lr_floor": 0.2}
    share = variance_by_place(load_split(bank, dataset, Split.TRAIN).images.images)
    if share > _CENTRED:
        fitted |= {"augment_d": ("colour", "translation"), "batch_size": 8}
        reasons.append(
            f"kind: single objects, as place explains {share:.0%} of the variance: "
            "no zoom, which would grow them, and batches of 8"
        )
    else:
        reasons.append(
            f"kind: tissue, as place explains {share:.1%} of the variance: "
            "zoom, for what is a few pixels wide, and batches of 16"
        )
    return fitted, reasons
