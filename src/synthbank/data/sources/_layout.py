"""The meaning of folder names: `class/image`, `split/class/image`, or one flat class."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from synthbank.data.sniff import IMAGE_SUFFIXES
from synthbank.records import Split

SPLIT_NAMES = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Class and split of an image, by its path."""

    class_name: str | None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of every path of a source."""

    placements: dict[Parts, Placement]
    notes: tuple[str, ...]


def read_layout(paths: Sequence[Parts], folders: Iterable[Parts], root_name: str) -> Layout:
    """Find classes and splits in paths.

    Top-level folders are classes, and whatever lies deeper in one belongs to it. Where all top-level folders are
    named like splits (train, val, test, …), classes are one level down. Images beside class folders have no class,
    unless they are the majority: then they form a class named by the root, as they do in a flat folder.

    Args:
        paths: path parts of every file, relative to the root.
        folders: path parts of every folder, so that empty classes can be named.
        root_name: name of the root folder or archive.
    """
    tops = {p[0] for p in paths if len(p) > 1}
    split_level = bool(tops) and all(t.lower() in SPLIT_NAMES for t in tops)
    depth = 1 if split_level else 0
    loose, notes = _class_of_loose(paths, depth, _class_text(root_name) or "images")
    placements = {p: _place(p, depth, loose) for p in paths}
    classes = {pl.class_name for pl in placements.values()}
    candidates = {f[depth] for f in folders if len(f) == depth + 1 and not (depth == 0 and split_level)}
    empty = sorted(c for c in candidates if _class_text(c) not in classes)
    notes += [f"Class folder '{c}' is empty" for c in empty]
    notes += _look_alikes(c for c in classes if c is not None)
    return Layout(placements, tuple(notes))


def common_root(paths: Sequence[Parts]) -> str | None:
    """The one folder that wraps a whole archive, or `None`; a lone class or split folder does not count."""
    tops = {p[0] for p in paths}
    if len(tops) != 1 or any(len(p) < 3 for p in paths if PurePosixPath(p[-1]).suffix.lower() in IMAGE_SUFFIXES):
        return None
    top = next(iter(tops))
    return None if top.lower() in SPLIT_NAMES or not any(len(p) > 2 for p in paths) else top


def _place(parts: Parts, depth: int, loose: str | None) -> Placement:
    split = SPLIT_NAMES[parts[0].lower()] if depth and len(parts) > 1 else None
    class_name = _class_text(parts[depth]) if len(parts) > depth + 1 else loose
    return Placement(class_name, split)


def _class_of_loose(paths: Sequence[Parts], depth: int, root_name: str) -> tuple[str | None, list[str]]:
    images = [p for p in paths if PurePosixPath(p[-1]).suffix.strip().lower() in IMAGE_SUFFIXES]
    n_loose = sum(len(p) <= depth + 1 for p in images)
    if n_loose == len(images):
        return root_name, []
    if n_loose == 0:
        return None, []
    if n_loose > len(images) / 2:
        return root_name, [f"{n_loose} images lie beside the class folders; they form the class '{root_name}'"]
    return None, [f"{n_loose} images lie beside the class folders and have no class; they were left out"]


def _class_text(name: str) -> str:
    # The same word typed on two systems may differ in its Unicode form only.
    return unicodedata.normalize("NFC", name).strip()


def _look_alikes(names: Iterable[str]) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        alike[unicodedata.normalize("NFKC", name).casefold()].append(name)
    pairs = [" and ".join(f"'{n}'" for n in same) for _, same in sorted(alike.items()) if len(same) > 1]
    return [f"Classes {pair} differ in letter case only; they were kept apart" for pair in pairs]
