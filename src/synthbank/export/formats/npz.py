"""One `.npz` file in MedMNIST's layout: `train_images`, `train_labels`, and where each image came from."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.errors import IntegrityError
from synthbank.export.base import ExportFacts, ExportItem, exporters
from synthbank.export.card import CARD_JSON, dataset_card, dataset_card_json
from synthbank.export.sinks import MARKER, Sink
from synthbank.storage import decode_png

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@exporters.register("npz", description="one MedMNIST-style array file", single_file=True)
def write_npz(items: Iterator[ExportItem], *, sink: Sink, facts: ExportFacts) -> None:
    """Write `synthbank.npz` and the card; all pixels are held in memory at once.

    Arrays: `train_images` `[N, H, W, 3]` (grey: `[N, H, W]`) uint8, `train_labels` `[N, 1]` (uint8; int64 above 256
    classes), `class_names` `[K]`, `image_ids` `[N]`.
    """
    size, channels = facts.model.size, facts.model.channels
    images = np.empty((facts.total, size, size, channels), np.uint8)
    labels = np.empty((facts.total, 1), np.uint8 if len(facts.model.class_names) <= 256 else np.int64)
    ids: list[str] = []
    for n, item in enumerate(items):
        pixels = decode_png(item.data)
        if pixels.shape != (channels, size, size):
            raise IntegrityError("A stored image has another shape than its model", got=pixels.shape, image=item.row.id)
        images[n] = pixels.transpose(1, 2, 0)  # [H, W, C]
        labels[n] = item.row.class_index
        ids.append(item.row.id)
    arrays = {
        "train_images": images[..., 0] if channels == 1 else images,
        "train_labels": labels,
        "class_names": np.array(facts.model.class_names),
        "image_ids": np.array(ids),
    }
    with sink.open("synthbank.npz") as file:
        _save(file, arrays)
    sink.write(CARD_JSON, dataset_card_json(facts, layout="npz"))
    sink.write(MARKER, dataset_card(facts, layout="npz").encode())


def _save(file: Any, arrays: dict[str, NDArray[Any]]) -> None:
    """`numpy.savez_compressed` with a fixed time inside, so that the same images give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
