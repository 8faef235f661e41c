"""NumPy archives: MedMNIST's `train_images`, `train_labels`, … or plain `images`, `labels`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.data.modes import channels_first
from synthbank.data.sources._base import Listing, SourceEntry, SourceLimits
from synthbank.data.sources._registry import sources
from synthbank.errors import SourceError, UnsafeArchiveError
from synthbank.records import Split

_PREFIXES = (("train", Split.TRAIN), ("val", Split.VALIDATION), ("test", Split.TEST))
_NEXT = "store uint8 images as [N, H, W] or [N, H, W, 3] with one integer label each"
Arrays = dict[str, NDArray[Any]]


@sources.register("npz", reads="file", suffixes=(".npz",), description="MedMNIST, or images and labels")
def open_npz(path: Path, limits: SourceLimits) -> Listing:
    """List the images of a `.npz`; MedMNIST's own split becomes the suggested split.

    Class names come from an optional string array `class_names`, else they are `class_0`, `class_1`, …

    Raises:
        SourceError: damaged, pickled, or without the expected arrays.
        UnsafeArchiveError: unpacks to more than the limit.
    """
    arrays = _load(path, limits)
    entries: list[SourceEntry] = []
    for prefix, split in _PREFIXES:
        if f"{prefix}_images" in arrays:
            entries += _entries(arrays, prefix, split, path)
    if not entries and "images" in arrays:
        entries = _entries(arrays, None, None, path)
    if not entries:
        names = ", ".join(sorted(arrays)) or "no arrays"
        raise SourceError("The .npz holds no images", got=names, allowed="train_images … or images", next_step=_NEXT)
    return Listing(tuple(sorted(entries, key=lambda e: e.name)), source=f"array file {path.name}")


def _load(path: Path, limits: SourceLimits) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
        if total > limits.max_total_bytes:
            allowed = f"at most {limits.max_total_bytes} bytes"
            raise UnsafeArchiveError(f"{path.name} unpacks to too much", got=f"{total} bytes", allowed=allowed)
        with np.load(path, allow_pickle=False) as archive:
            wanted = ("images", "labels", "class_names")
            return {k: archive[k] for k in archive.files if k.endswith(wanted)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        got = f"{path.name}: {str(error)[:120]}"
        raise SourceError("The .npz cannot be read", got=got, next_step=_NEXT, path=str(path)) from error


def _entries(arrays: Arrays, prefix: str | None, split: Split | None, path: Path) -> list[SourceEntry]:
    lead = f"{prefix}_" if prefix else ""
    images = arrays[f"{lead}images"]
    _check_images(images, f"{lead}images")
    names = _class_names(arrays, lead, len(images), path)
    folder = prefix or "images"
    return [SourceEntry(f"{folder}/{i:06d}", names[i], _reader(images, i), split=split) for i in range(len(images))]


def _check_images(images: NDArray[Any], key: str) -> None:
    grey = images.ndim == 3
    colour = images.ndim == 4 and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not (grey or colour):
        got = f"{key} {images.dtype} {list(images.shape)}"
        raise SourceError("The images have another shape or type", got=got, next_step=_NEXT)


def _class_names(arrays: Arrays, lead: str, n_images: int, path: Path) -> list[str]:
    labels = arrays.get(f"{lead}labels")
    if labels is None:
        return [path.stem] * n_images
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != n_images or labels.dtype.kind not in "iu":
        got = f"{lead}labels {labels.dtype} {list(labels.shape)} for {n_images} images"
        raise SourceError("One integer label an image is needed", got=got, next_step=_NEXT)
    known = arrays.get("class_names")
    if known is None or known.dtype.kind != "U":
        return [f"class_{int(label)}" for label in labels]
    if labels.size and not 0 <= labels.min() <= labels.max() < len(known):
        raise SourceError("A label has no class name", got=int(labels.max()), allowed=f"0 to {len(known) - 1}")
    return [str(known[int(label)]) for label in labels]


def _reader(images: NDArray[np.uint8], index: int) -> Callable[[], NDArray[np.uint8]]:
    return lambda: channels_first(images[index])
