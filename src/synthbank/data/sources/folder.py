"""A folder with one sub-folder per class, or `split/class/image`, or one flat class."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from synthbank.data.sources._base import (
    Listing,
    SourceEntry,
    SourceLimits,
    clean_name,
    is_side_file,
    is_side_folder,
    rejected_file,
)
from synthbank.data.sources._layout import Parts, read_layout
from synthbank.data.sources._registry import sources
from synthbank.errors import SourceError
from synthbank.records import Rejected


@dataclass
class _Walk:
    """The state of a walk through the tree."""

    root: Path
    files: dict[Parts, os.DirEntry[str]] = field(default_factory=dict)
    folders: list[Parts] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    n_side_files: int = 0
    banks: list[str] = field(default_factory=list)


@sources.register("folder", reads="folder", description="one sub-folder per class")
def open_folder(path: Path, limits: SourceLimits) -> Listing:
    """List a folder; links that leave it or run in circles are never followed."""
    root = path.resolve()
    walk = _Walk(root)
    _walk(walk, root, ())
    if not walk.files and not walk.rejected:
        raise SourceError(
            "The folder holds no files", got=path, next_step="put one sub-folder per class into it", path=str(path)
        )
    layout = read_layout(list(walk.files), walk.folders, root.name)
    entries = []
    for parts, item in walk.files.items():
        place = layout.placements[parts]
        name, reader = "/".join(parts), _reader(item.path)
        entries.append(SourceEntry(name, place.class_name, reader, split=place.split, size_bytes=_size(item)))
    return Listing(
        entries=tuple(sorted(entries, key=lambda e: e.name)),
        source=f"folder {root.name}",
        rejected=tuple(walk.rejected),
        notes=(*layout.notes, *(f"left out: {name}, a bank of SynthBank" for name in walk.banks)),
        n_side_files=walk.n_side_files,
    )


def _walk(walk: _Walk, folder: Path, parts: Parts) -> None:
    try:
        with os.scandir(folder) as entries:
            items = sorted(entries, key=lambda e: e.name)
    except OSError as error:
        walk.rejected.append(rejected_file("/".join(parts) or ".", "unreadable", f"folder: {error.strerror}"))
        return
    for item in items:
        here = (*parts, clean_name(item.name))
        if is_side_file(here):
            walk.n_side_files += 1
        elif item.is_symlink():
            _look_at_link(walk, item, here)
        elif item.is_dir(follow_symlinks=False):
            if os.path.isfile(os.path.join(item.path, "catalogue.db")):
                walk.banks.append("/".join(here))
            elif not is_side_folder(item.name):
                walk.folders.append(here)
                _walk(walk, Path(item.path), here)
        elif item.is_file(follow_symlinks=False):
            walk.files[here] = item
        else:
            walk.rejected.append(rejected_file("/".join(here), "not_a_file", "a device, pipe or socket"))


def _look_at_link(walk: _Walk, item: os.DirEntry[str], parts: Parts) -> None:
    refusal = _link_refusal(Path(item.path), walk.root)
    if refusal is None:
        walk.files[parts] = item
    else:
        walk.rejected.append(rejected_file("/".join(parts), "link", refusal))


def _link_refusal(link: Path, root: Path) -> str | None:
    """Why a link is not followed; `None`: it leads to a regular file inside the root."""
    try:
        target = link.resolve(strict=True)
        mode = target.stat().st_mode
    except FileNotFoundError:
        return "the link leads to nothing"
    except (OSError, RuntimeError):
        return "the link runs in a circle or cannot be followed"
    if not target.is_relative_to(root):
        return "the link leads out of the folder; copy the file in"
    return None if stat.S_ISREG(mode) else "the link leads to a folder; folders are not followed through links"


def _reader(path: str) -> Callable[[], bytes]:
    return Path(path).read_bytes


def _size(item: os.DirEntry[str]) -> int | None:
    try:
        return item.stat().st_size
    except OSError:
        return None  # gone since the listing; reading it will say so
