"""The map of a job: features of real and synthetic images on two leading directions, kept beside its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import NotFoundError
from synthbank.records import LabelledImages
from synthbank.reports import MapGroup, MapPart, project
from synthbank.storage import layout
from synthbank.workflows.bank import Bank

_FILE = "map.json"
_MOST_REAL, _MOST_SYNTHETIC = 240, 480
_KINDS = {"train": "real train", "synthetic": "synthetic", "test": "real test"}
"""Kind of a point to its words in the report, in the order in which they are drawn."""


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
    # principal directions of the real sets alone: a bad synthetic set cannot turn the axes towards itself
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
        for i in _evenly_spaced(len(some), _MOST_SYNTHETIC if kind == "synthetic" else _MOST_REAL)
    ]
    value = {"network": network, "explained": explained, "points": points}
    bank.store.put(layout.evaluation_key("job", job_id, _FILE), json.dumps(value).encode())


def read_map(bank: Bank, job_id: str) -> dict[str, Any] | None:
    """Read the map that `store_map` kept: network, explained shares, and points; `None` before the first evaluation.

    A point has `x`, `y`, `kind` (train, test, synthetic), `class` and, where it is synthetic, `id`.
    """
    try:
        value: dict[str, Any] = json.loads(bank.store.get(layout.evaluation_key("job", job_id, _FILE)))
    except NotFoundError:
        return None
    return value


def map_part(bank: Bank, job_id: str, class_names: Sequence[str]) -> MapPart | None:
    """The stored map as the report draws it: points by kind, then by class; `None` before the first evaluation."""
    stored = read_map(bank, job_id)
    if stored is None:
        return None
    groups = []
    for kind, words in _KINDS.items():
        for name in class_names:
            points = [(p["x"], p["y"]) for p in stored["points"] if p["kind"] == kind and p["class"] == name]
            if points:
                groups.append(MapGroup(words, name, np.array(points, np.float64)))
    first, second = stored["explained"]
    return MapPart(stored["network"], tuple(groups), (first, second))


def _evenly_spaced(n: int, most: int) -> list[int]:
    """At most `most` positions of `n`, evenly spaced."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, most)).round())]
