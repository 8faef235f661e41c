"""The ledger: the claimed jobs of one model, and the only code that enters their rows and their progress.

The order is always the same: files first, then their rows, then the end of the job. A process that is killed in
between leaves files without rows, which the next one removes when it opens the job; never a row without its file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from synthbank.catalogue import JobRow, queries
from synthbank.records import MAX_ATTEMPTS, JobRequest, JobStatus, Verdict
from synthbank.storage import layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.plan import ClassTarget, limits
from synthbank.workflows.generation.producer import ImageRules, StageTimer, StoredImages, recipe_of
from synthbank.workflows.generation.selection import Selection, selection_of
from synthbank.workflows.models.load import LoadedModel


@dataclass
class ActiveJob:
    """A job that this worker holds."""

    row: JobRow
    rules: ImageRules
    max_attempts: float
    counts: Counter[str]
    """Verdict to number of images, of this and of earlier workers."""
    targets: list[ClassTarget] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    waiting_rows: list[dict[str, object]] = field(default_factory=list)
    """Images that are stored but not entered yet."""

    @property
    def ended(self) -> bool:
        """Nothing is left to try."""
        return not any(target.missing for target in self.targets)


class Ledger:
    """Claimed jobs of one model, from `open` until they are closed, stopped or lost to another worker.

    Args:
        bank: where files and rows go.
        model: whose jobs they are.
        worker: that holds the jobs.
        lease_sec: seconds for which each commit keeps other workers away.
        rows_per_commit: images that may wait for their rows.
        on_progress: called with class name, accepted so far and wanted.
    """

    def __init__(
        self,
        bank: Bank,
        model: LoadedModel,
        *,
        worker: str,
        lease_sec: float,
        rows_per_commit: int = 256,
        on_progress: Callable[[str, int, int], None] = lambda class_name, done, wanted: None,
    ) -> None:
        self.bank, self.model, self.worker, self.lease_sec = bank, model, worker, lease_sec
        self.jobs: dict[str, ActiveJob] = {}
        self.timer, self.reasons = StageTimer(), Counter[str]()
        self._rows_per_commit, self._on_progress = rows_per_commit, on_progress
        self._committed = time.monotonic()

    @property
    def open_targets(self) -> list[ClassTarget]:
        """Class targets of which images are missing, in the order of their jobs."""
        return [target for job in self.jobs.values() for target in job.targets if target.missing]

    @property
    def renewal_due(self) -> bool:
        """True where leases may run out before long."""
        # a third: one more pass and one slow transaction fit in before another worker may claim the jobs
        return time.monotonic() - self._committed > self.lease_sec / 3

    def open(self, row: JobRow, *, max_attempts: float = MAX_ATTEMPTS, selection: Selection | None = None) -> bool:
        """Begin or resume a job that this worker has claimed; files of a killed worker without rows are removed.

        Args:
            row: of the job.
            max_attempts: attempts of a class, as a multiple of the images wanted (of these over the selection's share).
            selection: of the request, where it has been built; `None`: built here where the job asks for one.

        Returns:
            `False`: another worker has claimed the job since, and nothing of it was touched.
        """
        asked = JobRequest.from_json(row.request)
        selection = selection or selection_of(self.bank, self.model, asked, seed=row.seed)
        with self.bank.catalogue.session() as session:
            # locked until the files are removed: a worker whose lease ran out since its claim (it was slow, or its
            # machine slept) would otherwise remove what the next one is storing
            held = queries.renew(self.worker, [row.id], lease_sec=self.lease_sec, session=session)
            if row.id not in held:
                return False
            row, selection = self._with_limits(held[row.id], selection, session)
            counts = queries.count_images(job_id=row.id, session=session)
            total = Counter[str]()
            for of_class in counts.values():
                total.update(of_class)
            job = ActiveJob(row, ImageRules(row.id, recipe_of(row), row.screened, selection), max_attempts, total)
            job.targets = self._targets(job, counts, session)
            for target in job.targets:
                self._remove_uncommitted(target)
        self.jobs[row.id] = job
        return True

    def enter(self, target: ClassTarget, stored: StoredImages) -> None:
        """Take over stored images, the next ones of a target; their rows wait for the next commit."""
        job = self.jobs[target.job_id]
        new = [self._image_row(job, target, stored, i) for i in range(len(stored.written))]
        self.reasons.update(str(row["reason"]) for row in new if row["reason"])
        verdicts = Counter(str(row["verdict"]) for row in new)
        job.counts.update(verdicts)
        job.waiting_rows += new
        target.advance(len(new), accepted=verdicts[Verdict.ACCEPTED.value])
        self._on_progress(target.class_name, target.accepted, min(target.wanted, target.cap))

    def held_jobs(self) -> Container[str]:
        """Ids of the jobs whose files may be written; leases are renewed and lost jobs dropped first, where due."""
        if self.renewal_due:
            with self.timer("rows"), self.bank.catalogue.session() as session:
                held = queries.renew(self.worker, list(self.jobs), lease_sec=self.lease_sec, session=session)
            # without their waiting rows: the other worker has removed those files, and makes them again
            self.jobs = {identity: job for identity, job in self.jobs.items() if identity in held}
        return self.jobs

    def commit_when_due(self) -> None:
        """Commit where enough rows wait, a lease needs it, or a job has ended."""
        waiting = sum(len(job.waiting_rows) for job in self.jobs.values())
        if waiting >= self._rows_per_commit or self.renewal_due or any(job.ended for job in self.jobs.values()):
            self.commit()

    def commit(self) -> list[JobRow]:
        """Enter what is stored, renew the leases and close what has ended; the jobs that were closed.

        A job that another worker claimed meanwhile is dropped: none of its rows are entered here.
        """
        with self.timer("rows"), self.bank.catalogue.session() as session:
            held = queries.lock_claimed(self.worker, list(self.jobs), session=session)
            jobs = [self.jobs[identity] for identity in held]
            # rows, progress and the end of a job are one transaction: a reader never sees a done job without its images
            queries.add_images([row for job in jobs for row in job.waiting_rows], session=session)
            queries.record_progress([_progress(job) for job in jobs], session=session, lease_sec=self.lease_sec)
            closed = [job.row.id for job in jobs if self._close(job, held[job.row.id], session)]
            rows = queries.jobs_by_id(closed, session=session)
        for job in jobs:
            job.waiting_rows.clear()
        self.jobs = {job.row.id: job for job in jobs if job.row.id not in closed}
        self._committed = time.monotonic()
        return list(rows.values())

    def stop(self, status: JobStatus, message: str) -> None:
        """Enter what is stored and end every job with this status."""
        self.commit()
        with self.bank.catalogue.session() as session:
            held = queries.lock_claimed(self.worker, list(self.jobs), session=session)
            queries.end_jobs(list(held), status, message=message, session=session)
        self.jobs.clear()

    def last(self, job_id: str) -> None:
        """Put a job behind the others, so that jobs which cannot share a block have one each, in turn."""
        self.jobs[job_id] = self.jobs.pop(job_id)

    def discard(self, images: Mapping[tuple[str, int], list[range]]) -> None:
        """Remove files that were stored and are not entered, by job and class: ranges of their numbers."""
        with self.bank.catalogue.session() as session:
            held = queries.lock_claimed(self.worker, [job for job, _ in images], session=session)
        for (job, class_index), ranges in images.items():
            # the files of a job that was lost are the other worker's
            for index in (index for numbers in ranges if job in held for index in numbers):
                self.bank.store.delete(layout.image_key(job, class_index, index))

    def _with_limits(
        self, row: JobRow, selection: Selection | None, session: Session
    ) -> tuple[JobRow, Selection | None]:
        """Job and selection after the first call of the job has recorded forward block and limits, or with these."""
        request = JobRequest.from_json(row.request)
        if request.block is None:
            rule = None if selection is None else selection.rule()
            request = replace(request, block=self.model.sampler.block, selection=rule)
            return queries.update_job(row.id, request=request.to_json(), session=session), selection
        if selection is not None and request.selection is not None:
            # limits are set anew from drawn images on each call; on another device they might differ in a last digit
            selection = selection.with_limits(request.selection)
        return row, selection

    def _targets(self, job: ActiveJob, counts: Mapping[str, Mapping[str, int]], session: Session) -> list[ClassTarget]:
        """One for each wanted class; `counts` are the images entered, by class and verdict."""
        names = self.model.row.class_names
        known = {target.class_name: target for target in job.targets}
        return [
            self._target(job, names.index(name), wanted, known.get(name), counts.get(name, {}), session)
            for name, wanted in sorted((job.row.targets or {}).items(), key=lambda item: names.index(item[0]))
        ]

    def _target(
        self,
        job: ActiveJob,
        class_index: int,
        wanted: int,
        known: ClassTarget | None,
        counts: Mapping[str, int],
        session: Session,
    ) -> ClassTarget:
        name = self.model.row.class_names[class_index]
        if known is None:
            last = queries.last_index(job_id=job.row.id, class_index=class_index, session=session)
            accepted = counts.get(Verdict.ACCEPTED.value, 0)
            next_index = 0 if last is None else last + 1
        else:  # the job has grown while it was held: this worker knows more than the rows do
            accepted, next_index = known.accepted, known.next_index
        share = 1.0 if job.rules.selection is None else job.rules.selection.share
        aim, cap = limits(
            wanted,
            max_attempts=job.max_attempts,
            share=share,
            steps=job.rules.recipe.steps,
            next_index=next_index,
        )
        return ClassTarget(job.row.id, class_index, name, next_index, accepted, aim, cap, job.rules.screened)

    def _remove_uncommitted(self, target: ClassTarget) -> None:
        """Delete files that a killed process stored but did not enter; this one may not reach their numbers again."""
        folder = layout.image_key(target.job_id, target.class_index, 0).rsplit("/", 2)[0]
        for key in self.bank.store.list(folder):
            if int(key.rsplit("/", 1)[1].split(".")[0]) >= target.next_index:
                self.bank.store.delete(key)

    def _image_row(self, job: ActiveJob, target: ClassTarget, stored: StoredImages, i: int) -> dict[str, object]:
        written, verdicts, measures = stored.written[i], stored.verdicts, stored.measures
        accepted = verdicts is None or bool(verdicts.accepted[i])
        return {
            "id": written.id,
            "job_id": job.row.id,
            "model_id": self.model.row.id,
            "class_index": target.class_index,
            "class_name": target.class_name,
            "index": written.index,
            "seed": written.seed,
            "truncation": job.rules.recipe.truncation,
            "key": written.key,
            "sha256": written.sha256,
            "pixel_sha256": written.pixel_sha256,
            "bytes": written.bytes,
            "scores": {} if measures is None else measures[i],
            "screened": verdicts is not None,
            "verdict": (Verdict.ACCEPTED if accepted else Verdict.REJECTED).value,
            "reason": None if verdicts is None else verdicts.reasons[i],
            "nearest_original": None if verdicts is None else self.model.gate.hashes[verdicts.nearest[i]],
            "nearest_distance": None if verdicts is None else float(verdicts.distance[i]),
        }

    def _close(self, job: ActiveJob, row: JobRow, session: Session) -> bool:
        """End a job that is finished or cancelled; take note when more is wanted of it than when it was claimed."""
        if row.cancelled_at is not None:
            queries.end_jobs([row.id], JobStatus.CANCELLED, message="cancelled", session=session)
            return True
        # `row` is locked: a request for more either stands in it already, or waits until this job is done
        if row.revision != job.row.revision:
            job.row = row
            job.targets = self._targets(job, queries.count_images(job_id=row.id, session=session), session)
        if not job.ended:
            return False
        steps = job.rules.recipe.steps
        short = [] if steps else [t.class_name for t in job.targets if t.accepted < t.wanted]
        message = f"attempt cap reached for {', '.join(short)}" if short else None
        queries.end_jobs([row.id], JobStatus.CAPPED if short else JobStatus.DONE, message=message, session=session)
        return True


def _progress(job: ActiveJob) -> dict[str, object]:
    return {
        "id": job.row.id,
        "n_accepted": job.counts[Verdict.ACCEPTED.value],
        "n_rejected": job.counts[Verdict.REJECTED.value],
        "n_attempts": sum(job.counts.values()),
        "seconds": job.row.seconds + time.perf_counter() - job.started,
    }
