"""The registry of quality checks, and running them by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from synthbank.data.quality._base import Candidate, ImageCheck, SetCheck, SetFinding
from synthbank.errors import OptionError
from synthbank.records import Finding
from synthbank.registry import Registry, check_fact

Stage = Literal["native", "fitted", "set"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """Declared facts of a quality check."""

    stage: Stage
    """"native": each image as it was read; "fitted": each at the data set's size; "set": all images together."""
    severity: str
    """Effect of a finding on the file, in words."""
    limit: float | str
    """Limit of the measured value, or the limits in words."""

    def __post_init__(self) -> None:
        check_fact("stage", self.stage, get_args(Stage))
        if not self.severity or self.limit == "":
            raise OptionError("A quality check says its severity and its limit", got=self)


checks: Registry[ImageCheck | SetCheck, CheckSpec] = Registry(
    "quality check", CheckSpec, package="synthbank.data.quality", entry_point_group="synthbank.quality"
)


def image_findings(candidate: Candidate, stage: Stage) -> list[Finding]:
    """Findings of the checks of a stage ("native" or "fitted") about one image."""
    findings = (cast(ImageCheck, checks.get(name))(candidate) for name in checks_at(stage))
    return [finding for finding in findings if finding is not None]


def set_findings(name: str, candidates: Sequence[Candidate]) -> list[SetFinding]:
    """Findings of one check of the stage "set" about all images."""
    return cast(SetCheck, checks.get(name))(candidates)


def checks_at(stage: Stage) -> list[str]:
    """Names of the checks of a stage, sorted."""
    return [name for name in checks if checks.spec(name).stage == stage]
