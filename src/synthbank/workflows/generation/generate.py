"""Generate: N accepted images a class from a published model, exactly once, however often it is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from synthbank.catalogue import JobRow, queries
from synthbank.errors import BusyError, StateError
from synthbank.generation import Recipe, Sampler
from synthbank.records import JobStatus, UInt8Images, Verdict
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.driver import LocalProducer, Producer, drive
from synthbank.workflows.generation.ledger import Ledger
from synthbank.workflows.generation.requests import GenerateRequest
from synthbank.workflows.generation.selection import selection_of
from synthbank.workflows.lease import LEASE_SEC, is_gone, worker_name
from synthbank.workflows.models.load import LoadedModel, load_model

__all__ = ["GenerateReport", "GenerateRequest", "generate", "newest_job", "redraw"]


@dataclass(frozen=True)
class GenerateReport:
    """Images of a job after a call of `generate`, and what the call added."""

    job: JobRow
    accepted: dict[str, int]
    rejected: dict[str, int]
    reasons: dict[str, int]
    """Reason to number of images that were rejected by this call."""
    n_new: int
    """Accepted images made by this call."""
    seconds: float
    stage_seconds: dict[str, float]
    """Seconds of each stage: forward, gate, select (where asked for), write, rows; on a cluster: cluster, rows."""


def generate(
    bank: Bank,
    request: GenerateRequest,
    *,
    device: str = "cpu",
    on_progress: Callable[[str, int, int], None] = lambda class_name, done, wanted: None,
    should_stop: Callable[[], bool] = lambda: False,
    producer: Producer | None = None,
) -> GenerateReport:
    """Make images until every class asked for holds `n` accepted ones, or the attempt cap is reached.

    The model is all that is needed. Files are stored before their rows are committed; an interrupted job resumes at
    the first number without a row and writes the same files again, so no orphan and no gap is left.

    Args:
        bank: where the model is and the images go.
        request: model, number, seed and options.
        device: of the forward passes.
        on_progress: called with class name, accepted so far and wanted.
        should_stop: asked before each forward pass; `True` ends the job as cancelled, with the images it has.
        producer: makes the images, and is closed at the end; `None`: in this process.

    Raises:
        UnknownNameError: no such model or class.
        BusyError: another process works on the same job.
    """
    model = load_model(bank, request.model, device=device)
    model.sampler.check(0, request.truncation)
    # before the job is recorded: it may not be possible here
    selection = selection_of(bank, model, request.job_request(), seed=request.seed)
    start, worker = time.perf_counter(), worker_name()
    job = _claim(bank, request, model, worker)
    before = _counts(bank, job.id, Verdict.ACCEPTED)
    ledger = Ledger(bank, model, worker=worker, lease_sec=LEASE_SEC, on_progress=on_progress)
    with closing(producer or LocalProducer(bank.store)) as producer:
        if not ledger.open(job, max_attempts=request.max_attempts, selection=selection):
            raise _busy(job.id, "a worker that claimed it since")
        try:
            drive(ledger, producer, should_stop=should_stop)
            producer.abandon(ledger)
            # a job that is done has left the ledger: this ends one that was stopped
            ledger.stop(JobStatus.CANCELLED, "stopped; repeat the command to resume")
        except KeyboardInterrupt:
            producer.abandon(ledger)
            ledger.stop(JobStatus.CANCELLED, "interrupted; repeat the command to resume")
            raise
    with bank.catalogue.session(read_only=True) as session:
        job = queries.get_job(job.id, session=session)
    accepted, rejected = (_counts(bank, job.id, verdict) for verdict in (Verdict.ACCEPTED, Verdict.REJECTED))
    n_new = sum(accepted.values()) - sum(before.values())
    seconds = time.perf_counter() - start
    reasons, stage_seconds = dict(ledger.reasons), dict(ledger.timer.seconds)
    return GenerateReport(job, accepted, rejected, reasons, n_new, seconds, stage_seconds)


def _claim(bank: Bank, request: GenerateRequest, model: LoadedModel, worker: str) -> JobRow:
    """Record the job and claim it in one transaction, so that no service claims it in between."""
    identity = request.job_id()
    with bank.catalogue.session() as session:
        job = queries.enqueue(
            identity,
            model_id=model.row.id,
            request=request.job_request().to_json(),
            seed=request.seed,
            screened=request.screen,
            targets=request.targets(model.row.class_names),
            again=True,
            session=session,
        )
        # a killed process of this machine is known to be gone before its lease is over
        if job.worker is not None and is_gone(job.worker):
            queries.release(job.worker, job_ids=[identity], session=session)
        claimed = queries.claim(worker, job_id=identity, lease_sec=LEASE_SEC, session=session)
        if not claimed:
            raise _busy(identity, job.worker)
        return claimed[0]


def _busy(job_id: str, holder: str | None) -> BusyError:
    return BusyError(
        "Another process works on this job",
        got=f"{job_id}: {holder}",
        next_step="wait for it to end, or ask for another seed",
        retry_after_sec=30,
    )


def _counts(bank: Bank, job_id: str, verdict: Verdict) -> dict[str, int]:
    with bank.catalogue.session(read_only=True) as session:
        counts = queries.count_images(job_id=job_id, session=session)
    return {name: of_class.get(verdict.value, 0) for name, of_class in counts.items()}


def redraw(sampler: Sampler, recipe: Recipe, *, class_index: int, index: int) -> UInt8Images:
    """One image of a job again, `[1, C, H, W]` uint8, equal to the stored one on the same kind of device."""
    return sampler.draw_aligned(recipe, class_index, first=index, n=1)


def newest_job(bank: Bank) -> str:
    """Id of the newest generation job."""
    with bank.catalogue.session(read_only=True) as session:
        jobs = queries.list_jobs(limit=1, session=session)
    if not jobs:
        raise StateError("There is no generation job yet", next_step="synthbank generate MODEL -n 2000")
    return jobs[0].id
