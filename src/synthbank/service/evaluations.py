"""The evaluation queue: evaluations requested over HTTP, one at a time, each in a process of its own.

Scoring takes a network and minutes of a core, so it runs neither in the server nor in a worker. A request is an entry
of the audit log before it is in the queue, and its end is another entry: a service that starts re-queues every request
of the last day that has no end yet.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from synthbank.catalogue import queries
from synthbank.errors import BusyError
from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import Bank

REQUESTED, FINISHED = "evaluate", "evaluated"
"""Entries of the audit log: a request, and its end with or without scores."""
_KEPT = timedelta(days=1)
_MOST_WAITING = 16
_MOST_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class EvaluationState:
    """Progress of the evaluation of a job."""

    job: str
    state: Literal["queued", "running", "done", "failed"]
    message: str | None = None
    seconds: float = 0.0


class EvaluationQueue:
    """A short queue of jobs to evaluate. Requests that a restart interrupts are read from the audit log.

    Args:
        settings: of the service; the signing secret stays here.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings_json = settings.model_dump_json(exclude={"secret"})
        self._states: dict[str, EvaluationState] = {}
        self._waiting: deque[str] = deque()
        self._process: subprocess.Popen[str] | None = None
        self._change = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name="evaluations", daemon=True)

    def start(self, bank: Bank) -> None:
        """Begin to serve, first the requests of the last day that have no result yet."""
        since = datetime.now(UTC) - _KEPT
        with bank.catalogue.session(read_only=True) as session:
            unfinished = queries.unanswered(REQUESTED, FINISHED, subject_kind="job", since=since, session=session)
        for job in unfinished[-_MOST_WAITING:]:
            self.submit(job)
        self._thread.start()

    def stop(self) -> None:
        """End the evaluation in progress, if any; no score of it is recorded, and the next start begins it again."""
        with self._change:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
            self._change.notify_all()
        self._thread.join()

    def submit(self, job: str) -> EvaluationState:
        """Queue a job; one that waits or is being evaluated is not queued twice. `BusyError` where too many wait."""
        with self._change:
            known = self._states.get(job)
            if known is not None and known.state in ("queued", "running"):
                return known
            if len(self._waiting) >= _MOST_WAITING:
                raise BusyError("Too many evaluations wait", got=len(self._waiting), retry_after_sec=60)
            self._remember(EvaluationState(job, "queued"))
            self._waiting.append(job)
            self._change.notify_all()
            return self._states[job]

    def state(self, job: str) -> EvaluationState | None:
        """State of the newest request for this job; `None`: none since the service started."""
        with self._change:
            return self._states.get(job)

    def _remember(self, state: EvaluationState) -> None:
        """Keep the newest states; the oldest are forgotten first."""
        self._states.pop(state.job, None)
        self._states[state.job] = state
        while len(self._states) > _MOST_REMEMBERED:
            del self._states[next(iter(self._states))]

    def _serve(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._stopped:
                    self._change.wait()
                if self._stopped:
                    return
                job = self._waiting.popleft()
                self._remember(EvaluationState(job, "running"))
                # started under the lock: `stop` then either prevents the process or knows it and ends it
                command = [sys.executable, "-m", "synthbank.service.process", "evaluate"]
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                process = self._process
            start = time.monotonic()
            out, _ = process.communicate(f"{self._settings_json}\n{job}\n")
            with self._change:
                self._process = None
                result = json.loads(out) if out else {"problem": "the evaluating process has ended"}
                ended = EvaluationState(job, "failed" if "problem" in result else "done", result.get("problem"))
                self._remember(replace(ended, seconds=time.monotonic() - start))
