"""Expand: the paper's affine expansion of a data set's training originals, catalogued with its lineage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from synthbank.catalogue import DatasetRow, queries
from synthbank.data import apply_affine, default_expansion_target, plan_expansion
from synthbank.errors import OptionError
from synthbank.records import AffineParameters, LabelledImages, Split
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import DataSplit, load_split, require_dataset


@dataclass(frozen=True)
class ExpandReport:
    """The expansion of a data set's training split."""

    dataset: DatasetRow
    n_originals: int
    n_copies: int
    is_new: bool


def expand(bank: Bank, name: str, *, to: int | None = None, seed: int | None = None) -> ExpandReport:
    """Plan the paper's affine expansion of the training originals, and catalogue it; copies are drawn when needed.

    Args:
        bank: where the data set is.
        name: of the data set.
        to: originals and copies together; `None`: 3.8 times the originals, as 185 became about 700 in the paper.
        seed: of the draws; `None`: 0. Where neither is given, an expansion that exists is kept as it is.

    Raises:
        OptionError: `to` is below the number of originals, or an expansion with other choices exists.
    """
    dataset = require_dataset(bank, name)
    train = load_split(bank, dataset, Split.TRAIN)
    with bank.catalogue.session() as session:
        existing = queries.list_expansions(dataset.id, session=session)
    if existing and to is None and seed is None:
        here = {row.id for row in train.rows}
        return ExpandReport(dataset, len(here), sum(copy.parent_id in here for copy in existing), False)
    target = default_expansion_target(len(train.rows)) if to is None else to
    plan = plan_expansion(len(train.rows), to=target, seed=seed or 0)
    with bank.catalogue.session() as session:
        if not existing:
            queries.add_expansions(dataset.id, plan, parents=[r.id for r in train.rows], session=session)
    wanted = [(train.rows[e.parent].id, asdict(e.affine)) for e in plan]
    if existing and [(e.parent_id, e.parameters) for e in existing] != wanted:
        raise OptionError(
            f"Data set '{name}' has another expansion already",
            got=f"{len(wanted)} copies with seed {seed}",
            allowed=f"the recorded {len(existing)} copies",
            next_step="ingest under another name to try another expansion",
        )
    return ExpandReport(dataset, len(train.rows), len(plan), not existing)


def load_expansion(bank: Bank, dataset: DatasetRow, train: DataSplit) -> LabelledImages:
    """Training originals followed by their catalogued affine copies."""
    with bank.catalogue.session() as session:
        rows = queries.list_expansions(dataset.id, session=session)
    place = {r.id: i for i, r in enumerate(train.rows)}
    kept = [(place[r.parent_id], r.parameters) for r in rows if r.parent_id in place]
    if not kept:
        return train.images
    copies = np.stack([apply_affine(train.images.images[i], AffineParameters(**p)) for i, p in kept])
    labels = np.array([train.images.labels[i] for i, _ in kept], np.int64)
    ids = tuple(train.images.ids[i] for i, _ in kept)
    return replace(
        train.images,
        images=np.concatenate([train.images.images, copies]),
        labels=np.concatenate([train.images.labels, labels]),
        ids=train.images.ids + ids,
    )
