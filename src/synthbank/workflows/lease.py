"""Names of workers, a test whether one on this machine is gone, and locks on folders."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from synthbank.errors import BusyError

LEASE_SEC = 60.0


def worker_name() -> str:
    """A name of this process that no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_gone(worker: str) -> bool:
    """True for a worker that was a process of this machine and runs no more; `False` where this cannot be known."""
    if os.name == "nt":
        return False  # signal 0 would end the process there
    host, _, rest = worker.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a folder; the system releases the lock when the process ends, in any way.

    Args:
        folder: made when missing.
        what: it holds, for the message.

    Raises:
        BusyError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a soft lock would outlive a killed process
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BusyError(
            f"Another process works on this {what}",
            got=folder.name,
            next_step="wait until it ends, or stop it; then repeat the command",
        ) from error
    except PermissionError:
        raise
    except OSError:
        pass  # some mounted file systems know no locks
    try:
        yield
    finally:
        lock.release()
