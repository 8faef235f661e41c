"""The watch: waits for jobs on behalf of requests, with one query for all of them.

Workers are other processes, maybe on other machines, and share only the catalogue with the server: progress can be seen
there and nowhere else. One task polls it for every job that somebody waits for, so that the number of queries does not
grow with the number of clients. Nobody waiting means no query.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress

from synthbank.catalogue import queries
from synthbank.catalogue.rows import JobRow
from synthbank.errors import SetupError
from synthbank.records import JobStatus
from synthbank.workflows.bank import Bank

_POLL_SEC = 0.02
_AWAY_SEC = 1.0
OPEN = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)


class JobWatch:
    """Follows jobs on behalf of requests; polls the catalogue only while somebody waits."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._waiting: dict[str, set[asyncio.Queue[JobRow]]] = defaultdict(set)
        self._has_waiters = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start polling, inside the running event loop."""
        self._task = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Stop polling."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def follow(self, job: JobRow, *, timeout: float) -> AsyncIterator[JobRow | None]:
        """The job now, then at every change until it has ended; `None` after `timeout` seconds without a change."""
        yield job
        if job.status not in OPEN:
            return
        queue: asyncio.Queue[JobRow] = asyncio.Queue()
        self._waiting[job.id].add(queue)
        self._has_waiters.set()
        try:
            while job.status in OPEN:
                try:
                    latest = await asyncio.wait_for(queue.get(), timeout)
                except TimeoutError:
                    yield None
                    continue
                if latest != job:  # the poll repeats rows that did not change
                    job = latest
                    yield job
        finally:
            self._waiting[job.id].discard(queue)
            if not self._waiting[job.id]:
                del self._waiting[job.id]

    async def _poll(self) -> None:
        while True:
            if not self._waiting:
                self._has_waiters.clear()
                await self._has_waiters.wait()
            try:
                # in a thread: a query must not stop the event loop, which serves all other requests
                rows = await asyncio.to_thread(self._rows, list(self._waiting))
            except SetupError:  # the database is away: requests go on waiting until their own time limit
                await asyncio.sleep(_AWAY_SEC)
                continue
            for identity, row in rows.items():
                for queue in self._waiting.get(identity, ()):
                    queue.put_nowait(row)
            await asyncio.sleep(_POLL_SEC)

    def _rows(self, job_ids: list[str]) -> dict[str, JobRow]:
        with self._bank.catalogue.session(read_only=True) as session:
            return queries.jobs_by_id(job_ids, session=session)
