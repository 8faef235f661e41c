"""Records of a service as the client returns them: the JSON objects of the API, with the types of their fields.

Times are ISO 8601 texts, as JSON has no type for them.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

JobState = Literal["queued", "running", "done", "capped", "cancelled", "failed"]
"""`capped`: the attempts were used up before enough images were accepted."""
VerdictName = Literal["accepted", "rejected", "withdrawn"]
ImageOrder = Literal["newest", "nearest", "id"]
"""`nearest`: smallest distance to a training original first."""


class ModelRecord(TypedDict):
    """A published model."""

    name: str
    architecture: str
    classes: list[str]
    size: int
    channels: int
    status: str
    weights_sha256: str
    card: dict[str, Any]
    created_at: str


class JobRecord(TypedDict):
    """A generation job and its progress."""

    id: str
    model: str
    status: JobState
    seed: int
    truncation: float
    towards: int | None
    wanted: dict[str, int]
    accepted: int
    rejected: int
    progress: float
    message: str | None
    seconds: float
    started_at: str
    finished_at: str | None
    links: dict[str, str]


ImageRecord = TypedDict(
    "ImageRecord",
    {
        "id": str,
        "job": str,
        "model": str,
        "class": str,
        "index": int,
        "seed": int,
        "truncation": float,
        "verdict": VerdictName,
        "reason": str | None,
        "screened": bool,
        "nearest_original": str | None,
        "nearest_distance": float | None,
        "sha256": str,
        "bytes": int,
        "created_at": str,
        "url": str | None,
    },
)
"""A synthetic image, without its file."""
