"""The synthetic images of a job in memory, and the check that there are originals to compare them with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthbank.catalogue import queries
from synthbank.errors import InputError, StateError
from synthbank.records import LabelledImages
from synthbank.storage import decode_png
from synthbank.workflows.bank import Bank


def load_synthetic(bank: Bank, job_id: str, class_names: tuple[str, ...], *, max_images: int) -> LabelledImages:
    """Accepted images of a job, the same number of each class where there are enough.

    Args:
        bank: where they are.
        job_id: a generation job; one without accepted images gives an empty set.
        class_names: classes that are loaded.
        max_images: of all classes together.

    Returns:
        uint8 images; `ids` are those of the catalogue.
    """
    per_class = max(max_images // len(class_names), 1)
    pixels, labels, ids = [], [], []
    with bank.catalogue.session(read_only=True) as session:
        for label, name in enumerate(class_names):
            rows = queries.accepted_images(job_id=job_id, class_name=name, session=session)
            for _, row in zip(range(per_class), rows, strict=False):
                pixels.append(decode_png(bank.store.get(row.key)))
                labels.append(label)
                ids.append(row.id)
    images = np.stack(pixels) if pixels else np.zeros((0, 1, 1, 1), np.uint8)
    return LabelledImages(images, np.array(labels, np.int64), class_names, tuple(ids))


def join_sets(sets: Sequence[LabelledImages]) -> LabelledImages:
    """One set out of several with the same classes; raises `InputError` where all of them are empty."""
    filled = [s for s in sets if len(s)]
    if not filled:
        raise InputError("There is no image", got=0)
    images = np.concatenate([s.images for s in filled])
    labels: NDArray[np.int64] = np.concatenate([s.labels for s in filled])
    return LabelledImages(images, labels, filled[0].class_names, tuple(i for s in filled for i in s.ids))


def check_test_originals(dataset_name: str, n: int, *, least: int = 2) -> None:
    """Raise `StateError` where a data set has fewer than `least` test originals."""
    if n < least:
        raise StateError(
            f"Data set '{dataset_name}' has no test originals to compare with",
            got=n,
            allowed=f"{least} or more",
            next_step="ingest it again with a larger test share (--split 60/20/20)",
        )


def check_accepted(n: int, job_ids: Sequence[str]) -> None:
    """Raise `StateError` where no image of these jobs was accepted."""
    if not n:
        raise StateError("The job has no accepted images", got=", ".join(job_ids), next_step="synthbank generate")
