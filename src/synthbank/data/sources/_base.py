"""Records that every source yields, and the names of side files of operating systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank.records import Finding, Rejected, Severity, Split

_SIDE_FILES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", ".directory", ".gitkeep", ".gitignore"}
_SIDE_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits of a source, and the cut of a sample."""

    tile_size: int = 64
    """Side of the tiles that a sample cuts out of its field, in pixels."""
    max_bytes: int = 256 * 1024**2
    """Largest single file."""
    max_total_bytes: int = 4 * 1024**3
    """Largest unpacked archive."""
    max_ratio: float = 200.0
    """Largest unpacked to packed size of an archive, looked at above 64 MiB unpacked."""
    max_entries: int = 500_000
    """Most entries of an archive."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One file (or array) of a source."""

    name: str
    """Path inside the source, POSIX style."""
    class_name: str | None
    """`None`: the layout gives it no class."""
    read: Callable[[], bytes | NDArray[np.uint8]]
    """The file's bytes, or decoded pixels `[C, H, W]`; may raise `OSError` and decoder errors."""
    group: str | None = None
    """Patient, slide or region if the source knows it."""
    split: Split | None = None
    """The source's own split."""
    size_bytes: int | None = None
    """Size before reading; `None`: unknown."""
    position: int = 0
    """Reading in this order is fastest (tar archives have no index)."""


@dataclass(frozen=True)
class Listing:
    """Everything a source holds; a context manager that closes the source."""

    entries: tuple[SourceEntry, ...]
    """Sorted by name."""
    source: str
    """Origin of the images, as a sentence for the catalogue."""
    rejected: tuple[Rejected, ...] = ()
    """Entries that could not be listed as files: links, unreadable folders."""
    notes: tuple[str, ...] = ()
    licence: str | None = None
    n_side_files: int = 0
    """Operating-system side files that were passed over."""
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


OpenSource = Callable[[Any, SourceLimits], Listing]
"""`(path, limits) -> Listing`; a sample is given `None` for the path."""


def is_side_file(parts: tuple[str, ...]) -> bool:
    """Tell whether a path is a by-product of an operating system or tool, never a user's image."""
    *folders, name = (p.lower() for p in parts)
    if name in _SIDE_FILES or name.startswith("._"):
        return True
    return any(is_side_folder(folder) for folder in folders)


def is_side_folder(name: str) -> bool:
    """Tell whether a folder is hidden or made by an operating system."""
    return name.startswith(".") or name.lower() in _SIDE_FOLDERS


def clean_name(name: str) -> str:
    """A file name as valid text: names on disk need not be, what is shown and stored must."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def rejected_file(name: str, check: str, message: str) -> Rejected:
    """A file that is rejected before any check reads it."""
    return Rejected(name, None, (Finding(check, Severity.REJECT, message),))
