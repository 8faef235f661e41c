"""The registry of quality checks, and running them by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from synthbank.data.quality._base import Candidate, ImageCheck, SetCheck, SetFinding
from synthbank.records import Finding
from synthbank.registry import Registry

checks: Registry[ImageCheck | SetCheck] = Registry(
    "quality check", package="synthbank.data.quality", entry_point_group="synthbank.quality"
)
"""Facts: `stage` is "native", "fitted" or "set"; `limit` and `severity` say when it speaks and what follows."""


def image_findings(candidate: Candidate, stage: str) -> list[Finding]:
    """What the checks of a stage ("native" or "fitted") say about one image."""
    found = (cast(ImageCheck, checks.get(name))(candidate) for name in _at(stage))
    return [finding for finding in found if finding is not None]


def set_findings(name: str, candidates: Sequence[Candidate]) -> list[SetFinding]:
    """What one check of the stage "set" says about all images."""
    return cast(SetCheck, checks.get(name))(candidates)


def _at(stage: str) -> list[str]:
    return [name for name in checks if checks.facts(name)["stage"] == stage]
