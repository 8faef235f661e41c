"""Targets of an export: a folder, a zip, one array file or a bucket. Each is complete or not there at all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import uuid
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from synthbank.errors import OptionError, StateError
from synthbank.storage import local_path_of, open_filesystem

MARKER = "README.md"
MARKER_TEXT = "made with SynthBank"
"""Every export's card says this; a folder without it is not ours to replace."""
_REPLACING = f"# Being replaced\n\nThis export, {MARKER_TEXT}, is not whole. Run the export again.\n".encode()
_FILES_AT_ONCE, _BYTES_AT_ONCE = 64, 2**25  # of a bucket
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class Sink(ABC):
    """Files of one export under relative names; `publish` shows them, `discard` leaves no trace."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.sha256: str | None = None

    def write(self, name: str, data: bytes) -> None:
        """Add one small file."""
        with self.open(name) as file:
            file.write(data)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Add one file piece by piece; it need not be seekable."""
        with self._open(name) as file:
            counted = _Counted(file)
            yield counted  # type: ignore[misc]
        self.files += 1
        self.bytes += counted.total

    @abstractmethod
    def _open(self, name: str) -> Any: ...

    @abstractmethod
    def publish(self) -> None:
        """Make the export visible at its target."""

    @abstractmethod
    def discard(self) -> None:
        """Remove everything that was written; also called after `publish`, where it must do nothing."""


class _Counted:
    """A file that counts what is written to it; has just what zipfile and numpy ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.total = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._file.write(data)
        self.total += size
        return size

    def flush(self) -> None:
        self._file.flush()


class FolderSink(Sink):
    """A local folder, written as a hidden sibling and moved into place."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._temporary = _sibling(target)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        path = self._temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file

    def publish(self) -> None:
        """Move the new folder to the target; an earlier one is removed only after that."""
        earlier = _sibling(self._target)
        if self._target.exists():
            self._target.rename(earlier)
        try:
            self._temporary.rename(self._target)
        except OSError:
            if earlier.exists():
                earlier.rename(self._target)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def discard(self) -> None:
        """Remove the hidden sibling."""
        shutil.rmtree(self._temporary, ignore_errors=True)


class ZipSink(Sink):
    """A zip file, streamed; the same images give the same bytes."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = _sibling(target)
        self._zip = zipfile.ZipFile(self._temporary, "x", zipfile.ZIP_STORED, allowZip64=True)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        entry = zipfile.ZipInfo(name, _FIXED_TIME)
        entry.external_attr = 0o644 << 16
        stored = name.endswith((".png", ".npz"))
        entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        with self._zip.open(entry, "w", force_zip64=name.endswith(".npz")) as file:
            yield file

    def publish(self) -> None:
        """Close the zip and put it in place."""
        self._zip.close()
        self.sha256 = _file_sha256(self._temporary)
        self.bytes = self._temporary.stat().st_size
        os.replace(self._temporary, self._target)

    def discard(self) -> None:
        """Remove the unfinished zip."""
        self._zip.close()
        self._temporary.unlink(missing_ok=True)


class ArraySink(Sink):
    """One `.npz` file and, beside it, its card as `.md` and `.json`."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        self._pending: list[tuple[Path, Path]] = []

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        target = self._target if name.endswith(".npz") else self._target.with_suffix(Path(name).suffix)
        temporary = _sibling(target)
        self._pending.append((temporary, target))
        with temporary.open("xb") as file:
            yield file

    def publish(self) -> None:
        """Put the files in place, the array file last."""
        for temporary, target in sorted(self._pending, key=lambda pair: pair[1] == self._target):
            if target == self._target:
                self.sha256 = _file_sha256(temporary)
            os.replace(temporary, target)

    def discard(self) -> None:
        """Remove unfinished files."""
        for temporary, _ in self._pending:
            temporary.unlink(missing_ok=True)


class RemoteSink(Sink):
    """A folder of any fsspec filesystem. Object stores cannot rename folders, so it is whole once its card is there.

    A new export is written in place, card last, and taken back when something fails. One that replaces another is
    written beside it first; while its files are then copied over on the server, a card says that copying is under way.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        super().__init__()
        self._fs, self._root = filesystem, filesystem._strip_protocol(root)
        self._stale = set(filesystem.find(self._root)) if filesystem.exists(self._root) else set()
        self._base = f"{self._root}.new-{uuid.uuid4().hex[:8]}" if self._stale else self._root
        self._pending: dict[str, bytes] = {}
        self._card: dict[str, bytes] = {}
        self._sent: list[str] = []

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        with io.BytesIO() as file:
            yield file
            (self._card if name == MARKER else self._pending)[name] = file.getvalue()
        if len(self._pending) >= _FILES_AT_ONCE or sum(map(len, self._pending.values())) >= _BYTES_AT_ONCE:
            self._send(self._pending)

    def publish(self) -> None:
        """Send what is left, the card last; where there was an earlier export, put the new one in its place."""
        self._send(self._pending)
        self._send(self._card)
        if self._stale:
            self._replace()
        self._sent = []

    def discard(self) -> None:
        """Remove what was written and is not published."""
        left = set(self._sent) & set(self._fs.find(self._base)) if self._sent else ()
        if left:
            self._fs.rm(sorted(left))

    def _send(self, waiting: dict[str, bytes]) -> None:
        files = {f"{self._base}/{name}": data for name, data in waiting.items()}
        if files:
            self._make_folders(files)
            self._sent += files
            self._fs.pipe(files)
        waiting.clear()

    def _replace(self) -> None:
        new = {path: f"{self._root}{path.removeprefix(self._base)}" for path in self._sent}
        card = f"{self._base}/{MARKER}"
        self._fs.pipe_file(f"{self._root}/{MARKER}", _REPLACING)
        others = [path for path in new if path != card]
        self._make_folders(new.values())
        self._fs.copy(others, [new[path] for path in others])
        gone = sorted(self._stale - set(new.values()))
        if gone:
            self._fs.rm(gone)
        self._fs.copy(card, new[card])
        self._fs.rm(self._sent)

    def _make_folders(self, files: Iterable[str]) -> None:
        for folder in {path.rpartition("/")[0] for path in files}:
            self._fs.makedirs(folder, exist_ok=True)


class RemoteFileSink(Sink):
    """A zip or array file for another filesystem: made locally, then sent in one piece."""

    def __init__(self, filesystem: Any, path: str) -> None:
        super().__init__()
        self._fs, self._path = filesystem, path
        self._folder = Path(tempfile.mkdtemp(prefix="synthbank-export-"))
        local = self._folder / Path(path).name
        self._sink: Sink = ZipSink(local) if path.endswith(".zip") else ArraySink(local)

    def _open(self, name: str) -> Any:
        return self._sink.open(name)

    def publish(self) -> None:
        """Send the finished files."""
        self._sink.publish()
        self.sha256 = self._sink.sha256
        parent = self._path.rpartition("/")[0]
        self._fs.makedirs(parent, exist_ok=True)
        for file in sorted(self._folder.iterdir()):
            self._fs.put_file(str(file), f"{parent}/{file.name}")

    def discard(self) -> None:
        """Remove the local copy."""
        self._sink.discard()
        shutil.rmtree(self._folder, ignore_errors=True)


def open_sink(target: str | Path, *, overwrite: bool, single_file: bool) -> Sink:
    """The sink for a target.

    Args:
        target: folder, `file.zip`, `file.npz` or fsspec URL of one of them.
        overwrite: replace an earlier export.
        single_file: the format can be one `.npz` file.

    Raises:
        StateError: something is there already, and `overwrite` is off or it is not an export.
    """
    name = str(target).rstrip("/")
    if name.endswith(".npz") and not single_file:
        raise OptionError(
            "This format is not an array file", got=name, allowed="a folder, a .zip or a URL", next_step="--format npz"
        )
    path = local_path_of(target)
    if path is None:
        filesystem, root = open_filesystem(name)
        _refuse_remote(filesystem, root, name, overwrite=overwrite)
        is_file = name.endswith((".zip", ".npz"))
        return RemoteFileSink(filesystem, root) if is_file else RemoteSink(filesystem, root)
    _refuse_local(path, overwrite=overwrite)
    if name.endswith(".zip"):
        return ZipSink(path)
    return ArraySink(path) if name.endswith(".npz") else FolderSink(path)


def _refuse_local(path: Path, *, overwrite: bool) -> None:
    occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if not occupied:
        return
    if not overwrite:
        raise _occupied(path)
    if path.is_dir() and not _is_export(path / MARKER):
        raise _not_ours(path)


def _refuse_remote(filesystem: Any, root: str, name: str, *, overwrite: bool) -> None:
    if not filesystem.exists(root) or not filesystem.find(root):
        return
    if not overwrite:
        raise _occupied(name)
    card = f"{root}/{MARKER}"
    if filesystem.isdir(root) and not (filesystem.exists(card) and MARKER_TEXT.encode() in filesystem.cat_file(card)):
        raise _not_ours(name)


def _is_export(card: Path) -> bool:
    return card.is_file() and MARKER_TEXT in card.read_text(encoding="utf-8", errors="replace")


def _occupied(target: object) -> StateError:
    return StateError(
        "The export target is not empty",
        got=target,
        allowed="a new or empty place",
        next_step="choose another target, or replace the earlier export with --overwrite",
        target=str(target),
    )


def _not_ours(target: object) -> StateError:
    return StateError(
        "The export target holds files that SynthBank did not write, so it is not replaced",
        got=target,
        next_step="choose another target, or empty it by hand",
        target=str(target),
    )


def _sibling(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
