"""Quality checks, one file each: on the file as it came, on the image at its final size, or on the whole set."""

from synthbank.data.quality._base import Candidate, ImageCheck, SetCheck, SetFinding
from synthbank.data.quality._registry import CheckSpec, checks, checks_at, image_findings, set_findings

__all__ = [
    "Candidate",
    "CheckSpec",
    "ImageCheck",
    "SetCheck",
    "SetFinding",
    "checks",
    "checks_at",
    "image_findings",
    "set_findings",
]
