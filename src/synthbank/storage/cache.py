"""A cache of small float32 arrays on the local disk: safe to lose, safe to share between processes, bounded."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SCHEMA = """
CREATE TABLE IF NOT EXISTS array (
    space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL, stored REAL NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID
"""
_BUSY_SEC = 30.0
_KEYS_A_QUERY = 500
_KEPT_SHARE = 0.8
MOST_BYTES = 2**30


class ArrayCache:
    """Vectors by (space, key) in one SQLite file.

    A row whose checksum or length is wrong is as good as none. A file that is no database is thrown away. Two
    processes may read and write at once; the same key always stands for the same value, so the last writer wins.

    Args:
        path: of the file; its folder is made when something is stored.
        most_bytes: of values; above, the oldest fifth is dropped.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path, self.most_bytes = path, most_bytes

    def get(self, space: str, keys: Sequence[str], *, length: int) -> dict[str, NDArray[np.float32]]:
        """The intact entries among `keys`, each `[length]`, float32."""
        if not self.path.exists():
            return {}
        arrays: dict[str, NDArray[np.float32]] = {}
        with self._open() as connection:
            for first in range(0, len(keys), _KEYS_A_QUERY):
                part = keys[first : first + _KEYS_A_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT key, value, checksum FROM array WHERE space = ? AND key IN ({marks})", (space, *part)
                )
                arrays |= {k: np.frombuffer(v, np.float32) for k, v, c in rows if _is_intact(v, c, length)}
        return arrays

    def put(self, space: str, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Store vectors; what is there under the same keys is replaced."""
        if not arrays:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        values = {key: np.ascontiguousarray(array, np.float32).tobytes() for key, array in arrays.items()}
        rows = [(space, key, value, zlib.crc32(value), time.time()) for key, value in values.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO array VALUES (?, ?, ?, ?, ?)", rows)
            self._shrink(connection)

    def clear(self) -> int:
        """Throw everything away; the number of bytes that the file held."""
        if not self.path.exists():
            return 0
        size = self.path.stat().st_size
        with self._open() as connection:
            connection.execute("DELETE FROM array")
        with closing(sqlite3.connect(self.path, timeout=_BUSY_SEC)) as connection:
            connection.execute("VACUUM")
        return size

    def _shrink(self, connection: sqlite3.Connection) -> None:
        pages, free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        total = (pages - free) * page_bytes
        if total <= self.most_bytes:
            return
        dropped, aim = 0, total - int(_KEPT_SHARE * self.most_bytes)
        old = []
        for space, key, size in connection.execute("SELECT space, key, length(value) FROM array ORDER BY stored, key"):
            if dropped >= aim:
                break
            old.append((space, key))
            dropped += size
        connection.executemany("DELETE FROM array WHERE space = ? AND key = ?", old)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a transaction; a file that is no database is replaced by an empty one."""
        try:
            connection = self._connect()
        except sqlite3.OperationalError:  # locked for too long, or no place: nothing is wrong with the file
            raise
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            connection = self._connect()
        with closing(connection), connection:
            yield connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SEC)
        try:
            connection.execute("PRAGMA synchronous = OFF")  # a lost entry is computed again
            connection.execute(_SCHEMA)
            connection.execute("SELECT count(*) FROM (SELECT key FROM array LIMIT 1)").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection


def _is_intact(value: bytes, checksum: int, length: int) -> bool:
    return len(value) == 4 * length and zlib.crc32(value) == checksum
