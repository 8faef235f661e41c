"""Evaluations asked for over HTTP: one at a time, each in a process of its own, away from server and workers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from synthbank.catalogue import queries
from synthbank.errors import BusyError, SynthBankError
from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import Bank, open_bank

ASKED, _ANSWERED = "evaluate", "evaluated"
"""Entries of the audit log."""
_KEPT = timedelta(days=1)
_MOST_WAITING = 16
_MOST_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class Judging:
    """How far the evaluation of a job is."""

    job: str
    state: str
    """queued, running, done or failed."""
    message: str | None = None
    seconds: float = 0.0


class Judge:
    """A short queue of jobs to evaluate. What a restart interrupts is found in the audit log and begun again.

    Args:
        settings: of the service; the signing secret stays here.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._line = settings.model_dump_json(exclude={"secret"})
        self._known: dict[str, Judging] = {}
        self._waiting: deque[str] = deque()
        self._process: subprocess.Popen[str] | None = None
        self._change = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="judge", daemon=True)

    def start(self, bank: Bank) -> None:
        """Begin to serve, first what was asked for within the last day and has no answer yet."""
        since = datetime.now(UTC) - _KEPT
        with bank.catalogue.session(read_only=True) as session:
            asked = queries.unanswered(ASKED, _ANSWERED, subject_kind="job", since=since, session=session)
        for job in asked[-_MOST_WAITING:]:
            self.ask(job)
        self._thread.start()

    def stop(self) -> None:
        """End the evaluation in progress, if any; no score of it is entered, and the next start begins it again."""
        with self._change:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
            self._change.notify_all()
        self._thread.join()

    def ask(self, job: str) -> Judging:
        """Queue a job; one that waits or is being evaluated is not queued twice. `BusyError` where too many wait."""
        with self._change:
            found = self._known.get(job)
            if found is not None and found.state in ("queued", "running"):
                return found
            if len(self._waiting) >= _MOST_WAITING:
                raise BusyError("Too many evaluations wait", got=len(self._waiting), retry_after_sec=60)
            self._remember(Judging(job, "queued"))
            self._waiting.append(job)
            self._change.notify_all()
            return self._known[job]

    def state(self, job: str) -> Judging | None:
        """Of the newest request for this job; `None`: not asked since the service started."""
        with self._change:
            return self._known.get(job)

    def _remember(self, judging: Judging) -> None:
        self._known.pop(judging.job, None)
        self._known[judging.job] = judging
        while len(self._known) > _MOST_REMEMBERED:
            del self._known[next(iter(self._known))]

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._stopped:
                    self._change.wait()
                if self._stopped:
                    return
                job = self._waiting.popleft()
                self._remember(Judging(job, "running"))
                command = [sys.executable, "-m", "synthbank.service.judge"]
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                process = self._process
            start = time.monotonic()
            out, _ = process.communicate(f"{self._line}\n{job}\n")
            with self._change:
                self._process = None
                told = json.loads(out) if out else {"problem": "the evaluating process has ended"}
                done = Judging(job, "failed" if "problem" in told else "done", told.get("problem"))
                self._remember(replace(done, seconds=time.monotonic() - start))


def main() -> None:
    """The process: settings and a job's id on stdin, one line of JSON on stdout."""
    from synthbank.workflows.evaluation.evaluate import evaluate

    settings, job = ServiceSettings.model_validate_json(sys.stdin.readline()), sys.stdin.readline().strip()
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    with open_bank(settings, create=False) as bank:
        try:
            answer: dict[str, object] = {"scores": len(evaluate(bank, job).scores)}
        except SynthBankError as error:
            answer = {"problem": error.message}
        facts: dict[str, Any] = {"actor": "service", "subject_kind": "job", "subject_id": job, "details": answer}
        with bank.catalogue.session() as session:
            queries.add_audit(_ANSWERED, session=session, **facts)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
