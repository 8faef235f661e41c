"""A worker process: claims jobs from the queue, makes their images, and releases jobs that it cannot finish.

The server starts it with its settings as one line on stdin. It ends in good order when that pipe closes, so a server
that dies leaves no worker behind. It may be killed at any moment: its leases run out, another worker claims its jobs,
and removes the files that it had stored without rows.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from synthbank.catalogue import queries
from synthbank.catalogue.rows import JobRow
from synthbank.errors import SetupError, SynthBankError
from synthbank.records import JobStatus
from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import Bank, open_bank
from synthbank.workflows.lease import is_gone, worker_name

if TYPE_CHECKING:
    from synthbank.workflows.generation.driver import LocalProducer
    from synthbank.workflows.generation.ledger import Ledger
    from synthbank.workflows.models.load import LoadedModel

log = logging.getLogger("synthbank.worker")
TOGETHER = 64
"""Jobs that share forward passes at most."""
SLICE_SEC = 5.0
"""Turn of one model: after so long its jobs are released if those of another model wait."""
_AWAKE_SEC, _SHORT_NAP, _LONG_NAP = 10.0, 0.01, 0.1
_MODELS_KEPT = 2


class Worker:
    """Claims jobs and makes their images until it is asked to stop.

    Args:
        bank: whose queue it serves.
        settings: device, leases and batching.
        stopping: called between forward passes; `True` ends the work.
    """

    def __init__(self, bank: Bank, settings: ServiceSettings, stopping: Callable[[], bool]) -> None:
        self.bank, self.settings, self.stopping = bank, settings, stopping
        self.name = worker_name()
        self._models: dict[tuple[str, str], LoadedModel] = {}
        self._woken = 0.0

    def run(self) -> None:
        """Claim and serve jobs until asked to stop; a database that does not answer is tried again every second."""
        self._reclaim_dead_workers()
        while not self.stopping():
            try:
                jobs = self._claim(TOGETHER if self.settings.batching else 1)
                if jobs:
                    self._woken = time.monotonic()
                    self.serve(jobs)
                else:
                    # an idle worker polls gently; for some seconds after work it polls fast, as requests come in bursts
                    awake = time.monotonic() - self._woken < _AWAKE_SEC
                    time.sleep(_SHORT_NAP if awake else _LONG_NAP)
            except SetupError as error:
                log.warning("%s", error)
                time.sleep(1.0)

    def serve(self, jobs: list[JobRow]) -> None:
        """Make the images of claimed jobs of one model."""
        from synthbank.workflows.generation.driver import LocalProducer
        from synthbank.workflows.generation.ledger import Ledger

        claimed = [job.id for job in jobs]
        try:
            model = self._model(jobs[0].model_id)
            ledger = Ledger(
                self.bank,
                model,
                worker=self.name,
                lease_sec=self.settings.lease_sec,
                rows_per_commit=1,  # a request waits for its images: each block is committed as it is made
            )
            with closing(LocalProducer(self.bank.store, mix=self.settings.batching)) as producer:
                for job in jobs:
                    ledger.open(job)
                self._produce(ledger, producer, claimed)
        except SetupError:
            raise  # the leases run out, and the jobs are tried again
        except SynthBankError as error:
            self._fail(claimed, error.message)
        except Exception:
            log.exception("jobs %s failed", claimed)
            self._fail(claimed, "an unexpected error; the server's log says more")

    def _produce(self, ledger: Ledger, producer: LocalProducer, claimed: list[str]) -> None:
        """Make images until the jobs have ended, the worker stops, or its time slice for this model is over.

        Args:
            ledger: with the open jobs.
            producer: that makes their images.
            claimed: ids of all jobs claimed; further ones are added.
        """
        from synthbank.workflows.generation.driver import drive

        start, model_id = time.monotonic(), ledger.model.row.id

        def claim_more() -> None:
            # jobs that came meanwhile share the next forward pass, which costs the same whether full or not
            if self.settings.batching and producer.free_places(ledger) and len(ledger.jobs) < TOGETHER:
                for job in self._claim(TOGETHER - len(ledger.jobs), model_id=model_id):
                    claimed.append(job.id)
                    ledger.open(job)

        def should_stop() -> bool:
            # one model's endless stream of jobs must not starve another model's
            slice_over = time.monotonic() - start > SLICE_SEC
            return self.stopping() or (slice_over and self._has_waiting_jobs(model_id))

        drive(ledger, producer, should_stop=should_stop, after_step=claim_more)
        ledger.commit()
        with self.bank.catalogue.session() as session:
            queries.release(self.name, to_the_end=not self.stopping(), session=session)

    def _claim(self, limit: int, model_id: str | None = None) -> list[JobRow]:
        # look before claiming: a look takes no lock, and most looks at an idle queue find nothing
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
        key = (name, row.sha256)  # a name whose weights have changed is another model
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
            # only jobs that are still this worker's: a lease may have run out, and another worker may have the job
            claimed = queries.lock_claimed(self.name, job_ids, session=session)
            queries.end_jobs(list(claimed), JobStatus.FAILED, message=message, session=session)

    def _reclaim_dead_workers(self) -> None:
        """Requeue the jobs of dead workers of this machine at once, instead of waiting for their leases to run out."""
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
