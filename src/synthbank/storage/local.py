"""Local files without fsspec's overhead for each one: atomic replace, visible listing, sweeping of leftovers."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_TEMPORARY = ".tmp-"
"""A leading dot is not allowed in a key, so a temporary file can never be listed or fetched."""


class LocalFiles:
    """Files below one folder, addressed by checked keys.

    Args:
        root: folder; made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = str(root)
        self._token = uuid.uuid4().hex[:8]
        self._number = count()

    def path(self, key: str) -> str:
        """Path of a key."""
        return f"{self._base}/{key}"

    def put(self, key: str, data: bytes, *, durable: bool) -> None:
        """Write beside the target, then replace it in one step."""
        target = self.path(key)
        folder = target.rpartition("/")[0]
        temporary = f"{folder}/{_TEMPORARY}{os.getpid()}-{self._token}-{next(self._number)}"
        try:
            write_file(temporary, data, durable=durable)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(folder)

    def list(self, folder: str) -> Iterator[str]:
        """Keys below a folder, in no order."""
        top = self.path(folder) if folder else self._base
        for parent, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = parent[len(self._base) + 1 :]
            for name in files:
                if not name.startswith("."):
                    yield f"{relative}/{name}" if relative else name

    def sweep(self, *, older_than_sec: float) -> int:
        """Remove temporary files that a killed process left behind."""
        limit, removed = time.time() - older_than_sec, 0
        for path in self.root.rglob(f"{_TEMPORARY}*"):
            if path.is_file() and path.stat().st_mtime <= limit:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def write_file(path: str, data: bytes, *, durable: bool) -> None:
    """Write a new file; its folder is made when missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would change line ends
    try:
        handle = os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, flags, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, then replace; a failure leaves the old content and nothing beside it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: str) -> None:
    if os.name == "nt":
        return  # where a folder cannot be opened
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
