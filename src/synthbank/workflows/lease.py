"""Who works on a job: names of workers, and whether one on this machine is gone."""

from __future__ import annotations

import os
import socket
import uuid

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
