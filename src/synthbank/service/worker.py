"""A worker process: takes jobs from the queue, makes their images, and gives back what it cannot finish.

It is started by the server with its settings as one line on stdin, and ends in good order when that pipe closes, so a
server that dies leaves no worker behind. It may be killed at any moment: its leases run out, and what it had stored
without rows is removed by whoever takes the job up.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from synthbank.catalogue import queries
from synthbank.catalogue.rows import JobRow
from synthbank.errors import SetupError, SynthBankError
from synthbank.records import JobStatus
from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import Bank, open_bank
from synthbank.workflows.lease import is_gone, worker_name

if TYPE_CHECKING:
    from synthbank.workflows.generation.producer import Production
    from synthbank.workflows.models.load import LoadedModel

log = logging.getLogger("synthbank.worker")
TOGETHER = 64
"""Jobs that share forward passes at most."""
SLICE_SEC = 5.0
"""How long one model's jobs go first while those of another wait."""
_AWAKE_SEC, _SHORT_NAP, _LONG_NAP = 10.0, 0.01, 0.1
_MODELS_KEPT = 2


class Worker:
    """Works until told to stop.

    Args:
        bank: whose queue it serves.
        settings: device, leases and batching.
        stopping: asked between forward passes.
    """

    def __init__(self, bank: Bank, settings: ServiceSettings, stopping: Callable[[], bool]) -> None:
        self.bank, self.settings, self.stopping = bank, settings, stopping
        self.name = worker_name()
        self._models: dict[tuple[str, str], LoadedModel] = {}
        self._woken = 0.0

    def run(self) -> None:
        """Take up jobs until told to stop; a database that is away is waited for."""
        self._reclaim_dead_workers()
        while not self.stopping():
            try:
                jobs = self._claim(TOGETHER if self.settings.batching else 1)
                if jobs:
                    self._woken = time.monotonic()
                    self.serve(jobs)
                else:
                    awake = time.monotonic() - self._woken < _AWAKE_SEC
                    time.sleep(_SHORT_NAP if awake else _LONG_NAP)
            except SetupError as error:
                log.warning("%s", error)
                time.sleep(1.0)

    def serve(self, jobs: list[JobRow]) -> None:
        """Make the images of claimed jobs of one model."""
        from synthbank.workflows.generation.producer import Production

        held = [job.id for job in jobs]
        try:
            model = self._model(jobs[0].model_id)
            with Production(
                self.bank,
                model,
                worker=self.name,
                lease_sec=self.settings.lease_sec,
                mix=self.settings.batching,
                rows_a_transaction=1,
            ) as production:
                for job in jobs:
                    production.take(job)
                self._produce(production, held)
        except SetupError:
            raise  # the leases run out, and the jobs are tried again
        except SynthBankError as error:
            self._fail(held, error.message)
        except Exception:
            log.exception("jobs %s failed", held)
            self._fail(held, "an unexpected error; the server's log says more")

    def _produce(self, production: Production, held: list[str]) -> None:
        start = time.monotonic()
        while production.works and not self.stopping():
            production.step()
            if self.settings.batching and production.room and len(production.works) < TOGETHER:
                for job in self._claim(TOGETHER - len(production.works), model_id=production.model.row.id):
                    held.append(job.id)
                    production.take(job)
            if time.monotonic() - start > SLICE_SEC and self._has_waiting_jobs(production.model.row.id):
                break
        production.commit()
        with self.bank.catalogue.session() as session:
            queries.release(self.name, to_the_end=not self.stopping(), session=session)

    def _claim(self, limit: int, model_id: str | None = None) -> list[JobRow]:
        with self.bank.catalogue.session(read_only=True) as session:
            if not queries.claimable(session=session, model_id=model_id):
                return []
        lease = self.settings.lease_sec
        with self.bank.catalogue.session() as session:
            jobs: list[JobRow] = []
            if model_id is None:
                jobs = queries.claim(self.name, lease_sec=lease, session=session)
                if not jobs:
                    return []
                model_id, limit = jobs[0].model_id, limit - 1
            if limit > 0:
                jobs += queries.claim(self.name, lease_sec=lease, limit=limit, model_id=model_id, session=session)
            return jobs

    def _model(self, name: str) -> LoadedModel:
        from synthbank.workflows.models.load import load_model

        with self.bank.catalogue.session(read_only=True) as session:
            row = queries.get_model(name, session=session)
        key = (name, row.sha256)
        if key not in self._models or row.status != "published":
            while len(self._models) >= _MODELS_KEPT:
                del self._models[next(iter(self._models))]
            self._models[key] = load_model(self.bank, name, device=self.settings.device)
        return self._models[key]

    def _has_waiting_jobs(self, model_id: str) -> bool:
        with self.bank.catalogue.session(read_only=True) as session:
            return queries.has_waiting_jobs(model_id, session=session)

    def _fail(self, job_ids: list[str], message: str) -> None:
        with self.bank.catalogue.session() as session:
            mine = queries.lock_claimed(self.name, job_ids, session=session)
            queries.end_jobs(list(mine), JobStatus.FAILED, message=message, session=session)

    def _reclaim_dead_workers(self) -> None:
        """Give back at once what killed workers of this machine held, instead of waiting for their leases."""
        with self.bank.catalogue.session() as session:
            for worker in queries.workers(session=session):
                if is_gone(worker):
                    queries.requeue(worker, session=session)


def main() -> None:
    """The process: settings from stdin, stop on SIGTERM, SIGINT or when stdin closes."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    settings = ServiceSettings.model_validate_json(sys.stdin.readline())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def stop_with_the_server() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=stop_with_the_server, daemon=True).start()
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with open_bank(settings, create=True) as bank:
        Worker(bank, settings, stop.is_set).run()


if __name__ == "__main__":
    main()
