"""The map of a job: features of real and synthetic images on two leading directions, kept beside its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import NotFoundError
from synthbank.records import LabelledImages
from synthbank.reports import project
from synthbank.storage import layout
from synthbank.workflows.bank import Bank

_FILE = "map.json"
_MOST_REAL, _MOST_SYNTHETIC = 240, 480


def store_map(
    bank: Bank,
    job_id: str,
    network: str,
    features: Mapping[str, NDArray[np.floating]],
    images: Mapping[str, LabelledImages],
) -> None:
    """Place images on the two leading directions of the real ones, and keep the map; an earlier one is replaced.

    Args:
        bank: where the job is.
        job_id: whose synthetic images they are.
        network: that the features come from.
        features: "train", "test" and "synthetic" to `[N, D]`.
        images: the same names to the images, in the same order; ids of synthetic ones are catalogue ids.
    """
    reals = [name for name in ("train", "test") if len(features[name])]
    if sum(len(features[name]) for name in reals) < 3:
        return
    placed, explained = project(features, reals)
    points = [
        {
            "x": round(float(placed[kind][i, 0]), 4),
            "y": round(float(placed[kind][i, 1]), 4),
            "kind": kind,
            "class": some.class_names[some.labels[i]],
            "id": some.ids[i] if kind == "synthetic" else None,  # originals stay without a name
        }
        for kind, some in images.items()
        for i in _spread(len(some), _MOST_SYNTHETIC if kind == "synthetic" else _MOST_REAL)
    ]
    value = {"network": network, "explained": explained, "points": points}
    bank.store.put(layout.evaluation_key("job", job_id, _FILE), json.dumps(value).encode())


def read_map(bank: Bank, job_id: str) -> dict[str, Any] | None:
    """What `store_map` kept: network, explained shares, and points; `None` before the first evaluation.

    A point has `x`, `y`, `kind` (train, test, synthetic), `class` and, where it is synthetic, `id`.
    """
    try:
        value: dict[str, Any] = json.loads(bank.store.get(layout.evaluation_key("job", job_id, _FILE)))
    except NotFoundError:
        return None
    return value


def _spread(n: int, most: int) -> list[int]:
    """At most `most` positions of `n`, evenly spread."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, most)).round())]
