"""Pictures of what is in the bank, as PNG bytes."""

from __future__ import annotations

import numpy as np

from synthbank.catalogue import DatasetRow
from synthbank.records import Split
from synthbank.reports import labelled_grid
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.data.expand import load_expansion

_PARENTS = 8
_COPIES = 7


def expansion_sheet(bank: Bank, dataset: DatasetRow) -> bytes:
    """A sheet with an original at the left of every row and its affine copies beside it; PNG bytes."""
    train = load_split(bank, dataset, Split.TRAIN)
    expanded = load_expansion(bank, dataset, train)
    rows = {}
    for parent in np.linspace(0, len(train.rows) - 1, min(_PARENTS, len(train.rows))).astype(int):
        family = [i for i, identity in enumerate(expanded.ids) if identity == train.images.ids[parent]]
        rows[f"{train.rows[parent].class_name} {parent}"] = expanded.images[family[: _COPIES + 1]]
    return labelled_grid(rows)
