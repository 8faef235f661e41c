"""Zip and tar archives, read in memory one entry at a time; nothing is ever unpacked to disk.

An archive with an entry that points outside (`../`, an absolute path, a drive letter) is refused as a whole: it was
made to attack, or is damaged. Links are left out with a finding.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from synthbank.data.sources._base import Listing, SourceEntry, SourceLimits, clean_name, is_side_file, rejected_file
from synthbank.data.sources._layout import Parts, common_root, read_layout
from synthbank.data.sources._registry import sources
from synthbank.errors import SourceError, UnsafeArchiveError
from synthbank.records import Rejected

_RATIO_FLOOR_BYTES = 64 * 1024**2
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry of an archive, as its index describes it."""

    name: str
    size_bytes: int
    is_link: bool
    is_file: bool
    read: Callable[[], bytes]


@sources.register("archive", reads="file", suffixes=(".zip", ".tar", ".tar.gz", ".tgz"), description="a packed folder")
def open_archive(path: Path, limits: SourceLimits) -> Listing:
    """List an archive laid out as a folder would be; one folder that wraps everything is looked through.

    Raises:
        UnsafeArchiveError: an entry points outside, or the archive unpacks to more than the limits.
        SourceError: the archive is damaged.
    """
    try:
        is_zip = path.name.lower().endswith(".zip")
        members, close = _zip_members(path, limits) if is_zip else _tar_members(path, limits)
    except _BROKEN as error:
        raise SourceError(
            "The archive cannot be read",
            got=f"{path.name}: {type(error).__name__}: {error}",
            next_step="pack it again as .zip or .tar.gz",
            path=str(path),
        ) from error
    return _listing(path, members, close)


def _listing(path: Path, members: list[_Member], close: Callable[[], None]) -> Listing:
    files: dict[Parts, tuple[int, _Member]] = {}
    folders: list[Parts] = []
    rejected: list[Rejected] = []
    n_side_files = 0
    for position, member in enumerate(members):
        parts = tuple(p for p in clean_name(member.name).split("/") if p not in ("", "."))
        if not parts or is_side_file(parts):
            n_side_files += bool(parts)
        elif member.is_link:
            rejected.append(rejected_file("/".join(parts), "link", "links in archives are not followed"))
        elif not member.is_file:
            folders.append(parts)
        else:
            files[parts] = (position, member)
    if not files:
        close()
        raise SourceError("The archive holds no files", got=path.name, next_step="pack one sub-folder per class")
    return _as_listing(path, files, folders, rejected, n_side_files, close)


def _as_listing(
    path: Path,
    files: dict[Parts, tuple[int, _Member]],
    folders: list[Parts],
    rejected: list[Rejected],
    n_side_files: int,
    close: Callable[[], None],
) -> Listing:
    root = common_root(list(files))
    skip = 0 if root is None else 1
    stem = path.name.split(".")[0]
    layout = read_layout([p[skip:] for p in files], [f[skip:] for f in folders], root or stem)
    entries = []
    for parts, (position, member) in files.items():
        place = layout.placements[parts[skip:]]
        entries.append(
            SourceEntry(
                name="/".join(parts[skip:]),
                class_name=place.class_name,
                read=member.read,
                split=place.split,
                size_bytes=member.size_bytes,
                position=position,
            )
        )
    return Listing(
        entries=tuple(sorted(entries, key=lambda e: e.name)),
        source=f"archive {path.name}",
        rejected=tuple(rejected),
        notes=layout.notes,
        n_side_files=n_side_files,
        close=close,
    )


class _Tally:
    """Adds up what an archive would unpack to and stops at the limits."""

    def __init__(self, path: Path, limits: SourceLimits) -> None:
        self._path, self._limits = path, limits
        self._packed = max(path.stat().st_size, 1)
        self._total = self._count = 0

    def add(self, name: str, size_bytes: int) -> None:
        self._total += size_bytes
        self._count += 1
        _refuse_escape(self._path, name)
        if self._count > self._limits.max_entries:
            self._refuse(f"more than {self._limits.max_entries} entries", f"at most {self._limits.max_entries} entries")
        if self._total > self._limits.max_total_bytes:
            self._refuse(f"{self._total} bytes unpacked", f"at most {self._limits.max_total_bytes} bytes")
        ratio = self._total / self._packed
        if self._total > _RATIO_FLOOR_BYTES and ratio > self._limits.max_ratio:
            self._refuse(f"{ratio:.0f} times its packed size", f"at most {self._limits.max_ratio:g} times")

    def _refuse(self, got: str, allowed: str) -> None:
        raise UnsafeArchiveError(
            f"The archive {self._path.name} unpacks to too much",
            got=got,
            allowed=allowed,
            next_step="unpack it yourself and ingest the folder",
            path=str(self._path),
        )


def _refuse_escape(path: Path, name: str) -> None:
    drive = name[1:3] in (":/", ":\\")
    # Nothing is unpacked, so a backslash is a plain character of a name; only a whole ".." between slashes escapes.
    if name.startswith(("/", "\\")) or drive or ".." in name.split("/"):
        raise UnsafeArchiveError(
            f"The archive {path.name} has an entry that points outside",
            got=name[:120],
            allowed="relative paths without '..'",
            next_step="do not unpack it; ask where it came from, or pack the folder again",
            path=str(path),
        )


def _zip_members(path: Path, limits: SourceLimits) -> tuple[list[_Member], Callable[[], None]]:
    archive = zipfile.ZipFile(path)
    tally = _Tally(path, limits)
    members = []
    try:
        for info in archive.infolist():
            tally.add(info.filename, info.file_size)
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            read = _zip_reader(archive, info, limits)
            members.append(_Member(info.filename, info.file_size, is_link, not info.is_dir(), read))
    except BaseException:
        archive.close()
        raise
    return members, archive.close


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: SourceLimits) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(info) as stream:
                return stream.read(limits.max_bytes + 1)
        except (*_BROKEN, RuntimeError) as error:  # RuntimeError: the entry is encrypted
            raise OSError(f"cannot be unpacked: {str(error)[:120]}") from error

    return read


def _tar_members(path: Path, limits: SourceLimits) -> tuple[list[_Member], Callable[[], None]]:
    packed = path.name.lower().endswith(("gz", "tgz"))
    stream = cast(IO[bytes], gzip.open(path) if packed else path.open("rb"))  # noqa: SIM115 - closed by the listing
    try:
        archive = tarfile.open(fileobj=_Bounded(stream, limits.max_bytes), mode="r:")  # noqa: SIM115
        tally = _Tally(path, limits)
        members = []
        for info in archive:
            tally.add(info.name, max(info.size, 0))
            is_link = info.issym() or info.islnk()
            is_file = info.isfile() or not info.isdir()
            members.append(_Member(info.name, info.size, is_link, is_file, _tar_reader(archive, info)))
    except BaseException:
        stream.close()
        raise
    return members, stream.close


def _tar_reader(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            stream = archive.extractfile(info)
            if stream is None:
                raise OSError("not a regular file")
            return stream.read()
        except _BROKEN as error:
            raise OSError(f"cannot be unpacked: {str(error)[:120]}") from error

    return read


class _Bounded(io.RawIOBase):
    """A stream that refuses to read more than a limit in one go: a tar header may claim gigabytes for itself."""

    def __init__(self, stream: IO[bytes], max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max_bytes

    def read(self, size: int | None = -1, /) -> Any:
        if size is None or not 0 <= size <= self._max_bytes:
            raise OSError(f"an entry of {size} bytes; at most {self._max_bytes}")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
