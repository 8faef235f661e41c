"""The registry of input formats, and the choice among them."""

from __future__ import annotations

from pathlib import Path

from synthbank.data.sources._base import Listing, OpenSource, SourceLimits
from synthbank.errors import SourceError, UnknownNameError
from synthbank.registry import Registry

sources: Registry[OpenSource] = Registry(
    "source", package="synthbank.data.sources", entry_point_group="synthbank.sources"
)
"""Facts: `reads` is "folder", "file" or "sample"; a file source declares `suffixes`, a sample its `licence`."""


def sample_names() -> list[str]:
    """Names of the samples that need no file, such as "ihc"."""
    return [name for name in sources if sources.facts(name)["reads"] == "sample"]


def open_source(location: str | Path, limits: SourceLimits | None = None) -> Listing:
    """List a folder, an archive, an array file or a sample.

    Args:
        location: a path, or the name of a sample; an existing path wins over a sample of the same name, and
            "sample:ihc" always means the sample.
        limits: `None`: the defaults.

    Raises:
        SourceError: nothing is there, or nothing reads it.
        UnsafeArchiveError: an archive that would escape its folder or exhaust the machine.
    """
    limits = limits or SourceLimits()
    text = str(location)
    if text.startswith("sample:"):
        return _open_sample(text.removeprefix("sample:"), limits)
    path = Path(location)
    if path.exists():
        return sources.get(_name_for(path))(path, limits)
    if text in sample_names():
        return _open_sample(text, limits)
    raise SourceError(
        "There is no such folder, file or sample",
        got=text,
        allowed=f"a path, or one of the samples {', '.join(sample_names())}",
        next_step="check the spelling of the path",
        path=text,
    )


def _open_sample(name: str, limits: SourceLimits) -> Listing:
    if name not in sample_names():
        raise UnknownNameError("sample", name, sample_names())
    return sources.get(name)(None, limits)


def _name_for(path: Path) -> str:
    wanted = "folder" if path.is_dir() else "file"
    known: list[str] = []
    for name in sources:
        facts = sources.facts(name)
        if facts["reads"] != wanted:
            continue
        suffixes = facts.get("suffixes", ())
        if wanted == "folder" or path.name.lower().endswith(tuple(suffixes)):
            return name
        known.extend(suffixes)
    raise SourceError(
        "This file is not a set of images that can be read",
        got=path.name,
        allowed=["a folder", *sorted(known)],
        next_step="give the folder that holds one sub-folder per class",
        path=str(path),
    )
