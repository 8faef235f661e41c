"""A limit on the requests of each caller."""

from __future__ import annotations

import time
from threading import Lock

from synthbank.errors import BusyError

_MOST_BUCKETS = 10_000


class RateLimiter:
    """A token bucket for each caller: a minute's requests at once, refilled evenly.

    Args:
        per_minute: requests of one caller.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate, self._size = per_minute / 60.0, float(per_minute)
        self._buckets: dict[str, tuple[float, float]] = {}  # caller: (tokens left, time of the last request)
        self._lock = Lock()

    def spend(self, name: str, *, cost: float = 1.0, at: float | None = None) -> None:
        """Take one request out of a caller's bucket.

        Args:
            name: of the caller: the id of its key, or its address.
            cost: requests that this one counts for.
            at: seconds of a monotonic clock; `None`: now.

        Raises:
            BusyError: the bucket is empty; its fact `retry_after_sec` says when it is not.
        """
        now = time.monotonic() if at is None else at
        with self._lock:
            left, then = self._buckets.get(name, (self._size, now))
            left = min(self._size, left + (now - then) * self._rate)
            if left < cost:
                wait = (cost - left) / self._rate
                raise BusyError(
                    "Too many requests", next_step=f"wait {wait:.0f} s", retry_after_sec=max(1, round(wait))
                )
            if len(self._buckets) > _MOST_BUCKETS:
                # memory stays bounded when an attacker varies its address; everybody then starts with a full bucket
                self._buckets.clear()
            self._buckets[name] = (left - cost, now)
