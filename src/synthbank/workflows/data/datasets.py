"""Load the originals of a data set, split by split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthbank.catalogue import DatasetRow, OriginalRow, queries
from synthbank.records import LabelledImages, Split, UInt8Images
from synthbank.storage import decode_png
from synthbank.workflows.bank import Bank


@dataclass(frozen=True)
class DataSplit:
    """The originals of one split, in memory, in a fixed order."""

    rows: tuple[OriginalRow, ...]
    images: LabelledImages


def load_split(bank: Bank, dataset: DatasetRow, split: Split) -> DataSplit:
    """Read one split's originals from storage; `ids` are their pixel hashes."""
    with bank.catalogue.session() as session:
        rows = queries.originals(dataset.id, split=split, session=session)
    rows = sorted(rows, key=lambda r: r.name)
    pixels = [decode_png(bank.store.get(r.key)) for r in rows if r.key is not None]
    shape = (0, dataset.channels, dataset.size, dataset.size)
    images: UInt8Images = np.stack(pixels) if pixels else np.zeros(shape, np.uint8)
    labels = np.array([dataset.class_names.index(r.class_name or "") for r in rows], np.int64)
    ids = tuple(r.sha256 or "" for r in rows)
    return DataSplit(tuple(rows), LabelledImages(images, labels, dataset.class_names, ids))


def require_dataset(bank: Bank, name: str) -> DatasetRow:
    """The newest version of a data set; an unknown name offers the nearest."""
    with bank.catalogue.session() as session:
        return queries.get_dataset(name, session=session)
