"""Who works on what: names of workers, whether one on this machine is gone, and folders for one process at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthbank.errors import BusyError

LEASE_SEC = 60.0


def worker_name() -> str:
    """A name for this process that no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_gone(worker: str) -> bool:
    """Whether a worker was a process of this machine that runs no more; `False` where this cannot be known."""
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
def held(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a folder; a process that ends, in any way, lets go of it.

    Args:
        folder: made when missing.
        what: it holds, for the message.

    Raises:
        BusyError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Another process works on this {what}",
                got=folder.name,
                next_step="wait until it ends, or stop it; then the same command goes on",
            ) from error
        except OSError:
            pass  # some mounted file systems know no locks
        yield
