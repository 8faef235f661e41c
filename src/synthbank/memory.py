"""Keep freed memory in this process."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of glibc's options (malloc.h)."""
_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let freed memory wait for its next use, up to 1 GiB, in place of giving every large block back at once.

    glibc asks the system for each block above 32 MiB anew, and the system clears every page of it at first touch. A
    network that is called again and again on large batches spends much of its time there. Whatever holds such a network
    calls this when it is made; repeating it changes nothing, and results are the same either way.

    Returns:
        Whether this process has an allocator that takes the option (glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and bool(set_option(_MMAP_MAX, 0) and set_option(_TRIM_THRESHOLD, _KEPT))
