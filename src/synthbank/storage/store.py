"""One object store for a folder, an in-memory filesystem or a bucket: bytes under keys, replaced atomically."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from synthbank.errors import NotFoundError
from synthbank.storage.layout import check_key
from synthbank.storage.local import LocalFiles
from synthbank.storage.remote import open_filesystem, sign, translate_errors

_LOCAL_WRITERS, _REMOTE_WRITERS = 2, 16


class ObjectStore:
    """Bytes under keys.

    A local folder is written through `os` calls: temporary file, then replace. Every other filesystem is an fsspec one,
    whose single-object write is atomic on object stores.

    Args:
        url: a path, `file://…`, `memory://…`, `gs://…`, `s3://…` or any other URL that fsspec knows.
    """

    def __init__(self, url: str | Path) -> None:
        path = local_path_of(url)
        self._local = LocalFiles(path) if path is not None else None
        self._fs: Any = None
        self._root = ""
        if path is None:
            self._fs, self._root = open_filesystem(str(url))
        self._url = path.as_uri() if path is not None else str(url).rstrip("/")

    def __repr__(self) -> str:
        return f"ObjectStore({self._url!r})"

    def put(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Store bytes; readers see the old content or the new one, never a part.

        Args:
            key: see `layout`.
            data: the whole content.
            durable: also wait until a local disk holds it.

        Raises:
            SetupError: no room, no permission or no connection; the old content stays.
        """
        check_key(key)
        with _translate_errors(key, self._url):
            if self._local is not None:
                self._local.put(key, data, durable=durable)
            else:
                self._remote.pipe_file(self._remote_path(key), data)

    def get(self, key: str) -> bytes:
        """The bytes of a key; raises `NotFoundError` when there are none."""
        check_key(key)
        with _translate_errors(key, self._url, absent_is_not_found=True):
            if self._local is not None:
                with open(self._local.path(key), "rb") as file:
                    return file.read()
            return bytes(self._remote.cat_file(self._remote_path(key)))

    def exists(self, key: str) -> bool:
        """Tell whether the key holds bytes."""
        check_key(key)
        if self._local is not None:
            return Path(self._local.path(key)).is_file()
        with _translate_errors(key, self._url):
            return bool(self._remote.isfile(self._remote_path(key)))

    def size(self, key: str) -> int:
        """Number of bytes of a key; raises `NotFoundError` when there is none."""
        if not self.exists(key):
            raise _not_found(key, self._url)
        if self._local is not None:
            return Path(self._local.path(key)).stat().st_size
        with _translate_errors(key, self._url):
            return int(self._remote.size(self._remote_path(key)))

    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""
        if not self.exists(key):
            return
        if self._local is not None:
            Path(self._local.path(key)).unlink(missing_ok=True)
        else:
            with _translate_errors(key, self._url):
                self._remote.rm_file(self._remote_path(key))

    def list(self, folder: str = "") -> list[str]:
        """Sorted keys below a folder such as `images/job-1`; `""` is the whole store."""
        folder = folder.rstrip("/")
        if folder:
            check_key(folder)
        if self._local is not None:
            return sorted(self._local.list(folder))
        with _translate_errors(folder, self._url):
            paths = self._remote.find(self._remote_path(folder))
        keys = (str(path).lstrip("/")[len(self._root.lstrip("/")) :].lstrip("/") for path in paths)
        inside = f"{folder}/" if folder else ""
        return sorted(key for key in keys if key.startswith(inside))

    def url(self, key: str = "") -> str:
        """Full address of a key (or of the store)."""
        return f"{self._url}/{check_key(key)}" if key else self._url

    def signed_url(self, key: str, *, life_sec: int) -> str | None:
        """An address that opens this key in a browser without an account, for so long; `None` for a store without any.

        Raises:
            SetupError: the credentials at hand cannot sign.
        """
        check_key(key)
        return None if self._fs is None else sign(self._fs, self._remote_path(key), life_sec=life_sec)

    @property
    def writers(self) -> int:
        """Number of threads that may write at once: a disk keeps two cores busy, a bucket makes each writer wait."""
        return _LOCAL_WRITERS if self._local is not None else _REMOTE_WRITERS

    def local_path(self, key: str) -> Path | None:
        """Path of a key on this machine, for memory mapping; `None` when the store is elsewhere."""
        check_key(key)
        return Path(self._local.path(key)) if self._local is not None else None

    def sweep_temporary(self, *, older_than_sec: float = 3600.0) -> int:
        """Remove what killed writers left behind in a local store; the number of files removed."""
        return self._local.sweep(older_than_sec=older_than_sec) if self._local is not None else 0

    @property
    def _remote(self) -> Any:
        assert self._fs is not None
        return self._fs

    def _remote_path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root


def local_path_of(url: str | Path) -> Path | None:
    """The absolute path that a plain path or `file://` URL names; `None` for any other URL."""
    text = str(url)
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path)).absolute()
    if "://" in text or "::" in text:
        return None
    return Path(text).expanduser().absolute()


@contextmanager
def _translate_errors(key: str, store_url: str, *, absent_is_not_found: bool = False) -> Iterator[None]:
    """`translate_errors` for one key; with `absent_is_not_found` a missing file raises `NotFoundError`."""
    with translate_errors(f"{store_url} ({key})"):
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            if absent_is_not_found:
                raise _not_found(key, store_url) from error
            raise


def _not_found(key: str, store_url: str) -> NotFoundError:
    return NotFoundError(
        "Nothing is stored under this key",
        got=key,
        next_step=f"check that {store_url} is the store of this bank",
        key=key,
        store=store_url,
    )
