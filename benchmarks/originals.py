"""Originals as `synthbank ingest` reads and splits them, for benchmarks that need no bank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbank.data import IngestOptions, assign_splits, ingest_source
from synthbank.records import UInt8Images


def split_originals(source: str, *, size: int = 64) -> tuple[UInt8Images, NDArray[np.str_], NDArray[np.str_]]:
    """Images `[N, C, size, size]` uint8 of a folder or of `sample:ihc`, their classes, and the split of each."""
    found = ingest_source(source, IngestOptions(size=size))
    classes, groups = [o.class_name for o in found.originals], [o.group for o in found.originals]
    splits = assign_splits(classes, groups, seed=0, suggested=found.suggested_splits).splits
    return np.stack([o.pixels for o in found.originals]), np.array(classes), np.array(splits)
