"""The registry of input formats, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from synthbank.data.sources._base import Listing, OpenSource, SourceLimits
from synthbank.errors import OptionError, SourceError, UnknownNameError
from synthbank.registry import Registry, check_fact

Reads = Literal["folder", "file", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Declared facts of an input format."""

    reads: Reads
    """A folder, a file with one of `suffixes`, or a sample that needs no file."""
    description: str
    """Content and layout, in words."""
    suffixes: tuple[str, ...] = ()
    """Endings of the file names that it reads, in lower case with their dot; for files alone."""
    licence: str | None = None
    """Licence of a sample; `None`: the user's own files."""

    def __post_init__(self) -> None:
        check_fact("reads", self.reads, get_args(Reads))
        if not self.description:
            raise OptionError("A source says what it reads", got=self)
        wrong = [suffix for suffix in self.suffixes if not suffix.startswith(".") or suffix != suffix.lower()]
        if wrong or bool(self.suffixes) != (self.reads == "file"):
            raise OptionError(
                "A source of files declares their endings, and no other does",
                got=self.suffixes,
                allowed="endings in lower case with their dot, such as '.zip'",
            )
        if (self.licence is not None) != (self.reads == "sample"):
            raise OptionError("A sample declares its licence, and no other source does", got=self.licence)


sources: Registry[OpenSource, SourceSpec] = Registry(
    "source", SourceSpec, package="synthbank.data.sources", entry_point_group="synthbank.sources"
)


def sample_names() -> list[str]:
    """Names of the samples that need no file, such as "ihc"."""
    return [name for name in sources if sources.spec(name).reads == "sample"]


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
        spec = sources.spec(name)
        if spec.reads != wanted:
            continue
        if wanted == "folder" or path.name.lower().endswith(spec.suffixes):
            return name
        known.extend(spec.suffixes)
    raise SourceError(
        "This file is not a set of images that can be read",
        got=path.name,
        allowed=["a folder", *sorted(known)],
        next_step="give the folder that holds one sub-folder per class",
        path=str(path),
    )
