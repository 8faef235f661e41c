"""Requests for training and the reports on it: plain values, so that building one loads no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbank.errors import OptionError

if TYPE_CHECKING:
    from synthbank.catalogue import ModelRow, SnapshotRow
    from synthbank.config import TrainConfig
    from synthbank.records import Shortfall

PRESETS = ("quick", "paper", "auto")


@dataclass(frozen=True)
class TrainRequest:
    """A training run as a user asks for it. The command line, the service, the cloud and Python all build this.

    Raises:
        OptionError: an unknown preset.
    """

    dataset: str
    """Name of a data set; its newest version is trained on."""
    architecture: str = "projected"
    """An architecture with packaged presets."""
    preset: str = "auto"
    """"quick" and "paper" are packaged files; "auto" is "quick" fitted to the data set."""
    steps: int | None = None
    """Optimiser steps; `None`, here and below: as the preset says."""
    time_budget_sec: float | None = None
    """Seconds of training."""
    seed: int | None = None
    """Of weights, batches and latents."""
    init: str | None = None
    """Initial weights: `zoo:NAME`, a model of the bank, a folder or URL of a pushed model; "none": random."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Further options of `TrainConfig` by name; they win over the preset and the file, the fields above over them."""
    file: Path | None = None
    """The user's YAML with options over the preset's; `None`: none."""
    config: TrainConfig | None = None
    """A configuration that is resolved already, in place of all options above; `None`: `configure` resolves them."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    devices: int | None = None
    """Processes on each machine, one a device; more than one runs this program again, once for each. `None`: as
    torchrun says, else 1."""
    nodes: int | None = None
    """Machines that run this request; `None`: as torchrun says, else 1."""
    model_name: str | None = None
    """Of the published model; `None`: the run's id, and where an earlier state of the run was published under it, the
    step as well."""
    only_class: str | None = None
    """Train on this class alone; `None`: one conditional model of all classes."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise OptionError("Unknown preset", got=self.preset, allowed=PRESETS)

    def options(self) -> dict[str, Any]:
        """The training options that were given, by the names of `TrainConfig`; what was not given is left out."""
        named = {name: getattr(self, name) for name in ("steps", "time_budget_sec", "seed", "init")}
        return {k: v for k, v in {**self.overrides, **_given(named)}.items() if v is not None}

    def resolved(self, config: TrainConfig) -> TrainRequest:
        """The same request with its configuration resolved."""
        return dataclasses.replace(self, config=config)


@dataclass(frozen=True)
class TrainReport:
    """How a training request ended."""

    run_id: str
    finished: bool
    """`False`: stopped on request; repeat the request to resume."""
    model: ModelRow | None
    """The published best snapshot; `None` while the run is not finished."""
    snapshots: tuple[SnapshotRow, ...]
    steps: int
    images_seen: int
    elapsed_sec: float
    guard_events: tuple[str, ...]
    run_dir: Path
    chosen_by: str
    """How the published snapshot is chosen, in words."""
    shortfall: Shortfall | None = None
    """Training saw too few images for a good set; `None`: it saw enough, or is not finished."""


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}
