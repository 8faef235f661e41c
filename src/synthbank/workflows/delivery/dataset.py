"""A job's images, or the originals behind them, as a map-style torch data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthbank.catalogue import queries
from synthbank.errors import StateError, UnknownNameError
from synthbank.records import Split
from synthbank.storage import ObjectStore, decode_png
from synthbank.workflows.bank import Bank

SYNTHETIC, MIXED = "synthetic", "mixed"
PARTS = (SYNTHETIC, MIXED, *(split.value for split in Split))
"""Parts that a data set may be made of: accepted images of a job, originals of one split, or both."""


class LabelledDataset(Dataset[tuple[Any, int]]):
    """Labelled images, each read and decoded when it is asked for.

    An item is (image, label): a uint8 tensor `[C, H, W]`, 0..255, or what `transform` makes of it, and the index of its
    class in `classes`. Labels are the same for every part of a job, so real and synthetic items may be mixed.

    Args:
        store: where the files are.
        keys: of the PNG files, in order.
        targets: index of each one's class.
        classes: class names in label order.
        transform: applied to each image; `None`: the tensor itself.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: list[str],
        targets: list[int],
        classes: tuple[str, ...],
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self.classes, self.targets, self.transform = classes, targets, transform
        self._store, self._keys = store, keys

    @property
    def class_to_idx(self) -> Mapping[str, int]:
        """Class name to label."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = torch.from_numpy(decode_png(self._store.get(self._keys[index])).copy())
        return (image if self.transform is None else self.transform(image)), self.targets[index]


def job_dataset(
    bank: Bank, job_id: str, *, part: str = SYNTHETIC, transform: Callable[[Tensor], Any] | None = None
) -> LabelledDataset:
    """Images of a job, originals behind its model, or both, as a torch data set.

    Args:
        bank: where they are.
        job_id: a generation job.
        part: "synthetic" (accepted images), "train", "validation" or "test" (originals of that split), or "mixed"
            (training originals, then synthetic images).
        transform: of each uint8 tensor `[C, H, W]`; `None`: none.

    Raises:
        UnknownNameError: no such job, or no such part.
        StateError: the part holds no image, or originals are wanted and the model's data set is not in this bank.
    """
    if part not in PARTS:
        raise UnknownNameError("part of a data set", part, PARTS)
    items: list[tuple[str, str]] = []  # (class name, key)
    with bank.catalogue.session(read_only=True) as session:
        job = queries.get_job(job_id, session=session)
        model = queries.get_model(job.model_id, session=session)
        dataset = None if model.dataset_id is None else queries.get_dataset_by_id(model.dataset_id, session=session)
        if part != SYNTHETIC:
            if dataset is None:
                raise StateError(
                    "The model's data set is not in this bank, so there are no originals to read",
                    got=model.id,
                    next_step=f"ask for part='{SYNTHETIC}', or ingest the originals and train here",
                )
            split = Split.TRAIN if part == MIXED else Split(part)
            rows = queries.originals(dataset.id, split=split, session=session)
            items += [(row.class_name or "", row.key) for row in sorted(rows, key=lambda r: r.name) if row.key]
        if part in (SYNTHETIC, MIXED):
            images = queries.accepted_images(job_id=job_id, session=session)
            items += [(row.class_name, row.key) for row in images]
    if not items:
        raise StateError(f"There is no image in this part of {job_id}", got=part, next_step="choose another part")
    classes = model.class_names if dataset is None else dataset.class_names
    label = {name: i for i, name in enumerate(classes)}
    return LabelledDataset(
        bank.store, [key for _, key in items], [label[name] for name, _ in items], classes, transform
    )
