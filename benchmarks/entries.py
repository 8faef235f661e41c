"""Catalogue rows without images behind them, for the benchmarks that grow a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from synthbank.catalogue import queries
from synthbank.records import ImageSpec
from synthbank.storage import layout


def record_model(name: str, class_names: Sequence[str], *, session: Session) -> None:
    """A published model without weights."""
    facts = {"architecture": "none", "class_names": class_names, "spec": ImageSpec(64, 3), "card": {}, "originals": []}
    queries.publish_model(name, key=f"models/{name}", sha256=f"{0:064x}", session=session, **facts)


def enter_job(name: str, model: str, seed: int, *, session: Session) -> None:
    """A job of that model."""
    queries.add_job(name, model_id=model, request={}, seed=seed, n_requested=1, screened=True, session=session)


def image_row(
    number: int,
    *,
    job: str,
    model: str,
    class_index: int,
    class_name: str,
    index: int,
    size: int,
    verdict: str,
    distance: float,
    at: datetime,
) -> dict[str, Any]:
    """The row of image `number` of the catalogue, `index` of its job and class."""
    return {
        "id": f"{job}-{class_index}-{index:08d}",
        "job_id": job,
        "model_id": model,
        "class_index": class_index,
        "class_name": class_name,
        "index": index,
        "seed": number,
        "key": layout.image_key(job, class_index, index),
        "sha256": f"{number:064x}",
        "pixel_sha256": f"{number:064x}",
        "bytes": size,
        "verdict": verdict,
        "nearest_original": f"{number % 185:064x}",
        "nearest_distance": distance,
        "created_at": at,
    }
