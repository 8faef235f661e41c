"""Production: the jobs that one worker holds of one model, drawn, screened, stored and entered together.

A job's images follow from its recipe alone, so it does not matter which of them share a forward pass. A worker that
holds several jobs fills each block with images of all of them (dynamic batching), where the device gives an image the
same bits at every place of a block; elsewhere each block belongs to one job, as it always does for a lone job.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from synthbank.catalogue import JobRow, queries
from synthbank.generation import ImageWriter, Recipe, WrittenImage
from synthbank.records import MAX_ATTEMPTS, JobRequest, JobStatus, UInt8Images, Verdict, Verdicts
from synthbank.storage import layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.generation.selection import Selection, selection_of
from synthbank.workflows.models.load import LoadedModel

_SPARE_SHARE = 8
"""In a shared block, one image more for each eight that are wanted, against those that the gate keeps out."""


def recipe_of(job: JobRow) -> Recipe:
    """How a job's images are drawn, from its row."""
    request = JobRequest.from_json(job.request)
    return Recipe(job.seed, request.truncation, request.towards, request.steps)


@dataclass
class Strand:
    """One class of one job, on its way to the wanted number."""

    work: Work
    class_index: int
    class_name: str
    next_index: int
    accepted: int
    wanted: int
    cap: int
    """Attempts after which it ends with what it has."""

    @property
    def missing(self) -> int:
        """Images that may still be tried for; 0: ended."""
        return max(min(self.wanted - self.accepted, self.cap - self.next_index), 0)


@dataclass
class Work:
    """A job that this worker holds."""

    job: JobRow
    recipe: Recipe
    screened: bool
    writer: ImageWriter
    max_attempts: float
    strands: list[Strand]
    counts: Counter[str]
    """Verdict to number of images, whoever made them."""
    started: float
    selection: Selection | None = None
    """Keeps the most typical images alone; `None`: all that pass the gate."""
    rows: list[dict[str, object]] = field(default_factory=list)
    """Images that are stored but not entered yet."""

    @property
    def ended(self) -> bool:
        """Nothing is left to try."""
        return not any(strand.missing for strand in self.strands)


@dataclass
class Stages:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what happens inside as this stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class _Part:
    """What one strand gets of a block."""

    strand: Strand
    first: int
    n: int


class Production:
    """Jobs of one model in the making.

    Args:
        bank: where files and rows go.
        model: that makes them.
        worker: who holds the jobs.
        lease_sec: how long each commit keeps others away.
        mix: fill a block with images of several jobs and classes, where the device allows it.
        rows_a_transaction: images that may wait for their rows.
        on_progress: called with class name, accepted so far and wanted.
    """

    def __init__(
        self,
        bank: Bank,
        model: LoadedModel,
        *,
        worker: str,
        lease_sec: float,
        mix: bool = False,
        rows_a_transaction: int = 256,
        on_progress: Callable[[str, int, int], None] = lambda class_name, done, wanted: None,
    ) -> None:
        self.bank, self.model, self.worker, self.lease_sec = bank, model, worker, lease_sec
        self.works: dict[str, Work] = {}
        self.stages, self.reasons = Stages(), Counter[str]()
        self._mix, self._rows, self._on_progress = mix, rows_a_transaction, on_progress
        self._pool = ThreadPoolExecutor(bank.store.writers, thread_name_prefix="png")
        self._committed = time.monotonic()

    def __enter__(self) -> Production:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    @property
    def room(self) -> int:
        """Images that the next block could hold beside those that are wanted already."""
        wanted = sum(strand.missing for work in self.works.values() for strand in work.strands)
        return max(self.model.sampler.block - wanted, 0)

    def take(self, job: JobRow, *, max_attempts: float = MAX_ATTEMPTS, selection: Selection | None = None) -> bool:
        """Add a job that this worker has claimed; files of a killed worker without rows are removed.

        The job is locked meanwhile: a worker whose lease ran out since it claimed the job (it was slow, or its machine
        slept) would otherwise remove what the next one is storing.

        Args:
            job: its row.
            max_attempts: see `GenerateRequest`.
            selection: of the request, where it has been built; `None`: built here where the job asks for one.

        Returns:
            `False`: another worker has taken the job over, and nothing of it was touched.
        """
        selection = selection or selection_of(self.bank, self.model, JobRequest.from_json(job.request), seed=job.seed)
        row = self.model.row
        with self.bank.catalogue.session() as session:
            mine = queries.renew(self.worker, [job.id], lease_sec=self.lease_sec, session=session)
            if job.id not in mine:
                return False
            job = mine[job.id]
            request = JobRequest.from_json(job.request)
            if request.block is None:
                rule = None if selection is None else selection.rule()
                request = replace(request, block=self.model.sampler.block, selection=rule)
                job = queries.update_job(job.id, request=request.to_json(), session=session)
            elif selection is not None and request.selection is not None:  # an earlier call has set the limits
                selection = selection.with_limits(request.selection)
            counts = queries.count_images(job_id=job.id, session=session)
            total = Counter[str]()
            for of_class in counts.values():
                total.update(of_class)
            writer = ImageWriter(
                self.bank.store, job_id=job.id, model=row.id, class_names=row.class_names, pool=self._pool
            )
            work = Work(
                job, recipe_of(job), job.screened, writer, max_attempts, [], total, time.perf_counter(), selection
            )
            work.strands = self._strands(work, counts, session)
            for strand in work.strands:
                self._remove_uncommitted(strand)
        self.works[job.id] = work
        return True

    def step(self) -> None:
        """One forward pass, its verdicts and its files; rows are entered when enough wait."""
        parts = self._parts()
        if parts:
            with self.stages("forward"):
                images = self._draw(parts)
            assert len(images) == sum(part.n for part in parts)
            verdicts = self._judge(parts, images)
            if self._late:
                self._drop_lost()
            first = 0
            for part in parts:
                end = first + part.n
                if part.strand.work.job.id in self.works:
                    self._store(part, images[first:end], None if verdicts is None else verdicts.part(first, end))
                first = end
        self._commit_when_due()

    @property
    def _late(self) -> bool:
        """Whether leases may run out before long."""
        return time.monotonic() - self._committed > self.lease_sec / 3

    def _drop_lost(self) -> None:
        """Renew the leases, and leave jobs that another worker took over: their files are its own by now."""
        with self.stages("rows"), self.bank.catalogue.session() as session:
            mine = queries.renew(self.worker, list(self.works), lease_sec=self.lease_sec, session=session)
        self.works = {identity: work for identity, work in self.works.items() if identity in mine}

    def _commit_when_due(self) -> None:
        waiting = sum(len(work.rows) for work in self.works.values())
        if waiting >= self._rows or self._late or any(work.ended for work in self.works.values()):
            self.commit()

    def commit(self) -> list[JobRow]:
        """Enter what is stored, renew the leases and close what has ended; the jobs that were closed.

        A job that another worker took over meanwhile is dropped: none of its rows are entered here.
        """
        with self.stages("rows"), self.bank.catalogue.session() as session:
            mine = queries.lock_claimed(self.worker, list(self.works), session=session)
            works = [self.works[identity] for identity in mine]
            queries.add_images([row for work in works for row in work.rows], session=session)
            changes = [_progress(work) for work in works]
            queries.record_progress(changes, session=session, lease_sec=self.lease_sec)
            closed = [work.job.id for work in works if self._close(work, mine[work.job.id], session)]
            rows = queries.jobs_by_id(closed, session=session)
        for work in works:
            work.rows.clear()
        self.works = {work.job.id: work for work in works if work.job.id not in closed}
        self._committed = time.monotonic()
        return list(rows.values())

    def stop(self, status: JobStatus, message: str) -> None:
        """Enter what is stored and end every job with this status."""
        self.commit()
        with self.bank.catalogue.session() as session:
            mine = queries.lock_claimed(self.worker, list(self.works), session=session)
            queries.end_jobs(list(mine), status, message=message, session=session)
        self.works.clear()

    def _strands(self, work: Work, counts: Mapping[str, Mapping[str, int]], session: Session) -> list[Strand]:
        """One for each wanted class; `counts` are the images entered, by class and verdict."""
        names = self.model.row.class_names
        known = {strand.class_name: strand for strand in work.strands}
        return [
            self._strand(work, names.index(name), wanted, known.get(name), counts.get(name, {}), session)
            for name, wanted in sorted((work.job.targets or {}).items(), key=lambda item: names.index(item[0]))
        ]

    def _strand(
        self,
        work: Work,
        class_index: int,
        wanted: int,
        known: Strand | None,
        counts: Mapping[str, int],
        session: Session,
    ) -> Strand:
        name = self.model.row.class_names[class_index]
        if known is None:
            last = queries.last_index(job_id=work.job.id, class_index=class_index, session=session)
            accepted = counts.get(Verdict.ACCEPTED.value, 0)
            next_index = 0 if last is None else last + 1
        else:
            accepted, next_index = known.accepted, known.next_index
        share = 1.0 if work.selection is None else work.selection.share
        cap = work.recipe.steps or max(int(wanted * work.max_attempts / share), next_index)
        # every image of a walk has its place; one that the gate keeps out leaves a gap
        wanted = wanted if not work.recipe.steps else cap + 1
        return Strand(work, class_index, name, next_index, accepted, wanted, cap)

    def _remove_uncommitted(self, strand: Strand) -> None:
        """Delete files that a killed process stored but did not enter; this one may not reach their numbers again."""
        folder = layout.image_key(strand.work.job.id, strand.class_index, 0).rsplit("/", 2)[0]
        for key in self.bank.store.list(folder):
            if int(key.rsplit("/", 1)[1].split(".")[0]) >= strand.next_index:
                self.bank.store.delete(key)

    def _parts(self) -> list[_Part]:
        """Who gets how much of the next block: small wants first, so that a long job never holds up a short one."""
        open_ = [strand for work in self.works.values() for strand in work.strands if strand.missing]
        if not open_:
            return []
        block = self.model.sampler.block
        if len(open_) == 1 or not (self._mix and self.model.sampler.mixes):
            if self._mix:  # one block each, in turn
                strand = open_[0]
                self.works[strand.work.job.id] = self.works.pop(strand.work.job.id)
            strand = open_[0]
            n = min(block - strand.next_index % block, strand.cap - strand.next_index)
            return [_Part(strand, strand.next_index, n)]
        return _shared_out(sorted(open_, key=lambda strand: strand.missing), block)

    def _draw(self, parts: Sequence[_Part]) -> UInt8Images:
        sampler = self.model.sampler
        draws = [p.strand.work.recipe.draw(p.strand.class_index, p.first + i) for p in parts for i in range(p.n)]
        part = parts[0]
        if len(parts) > 1 or part.first % sampler.block + part.n > sampler.block:
            return sampler.draw(draws)
        # alone: at its own place, so that nothing depends on `mixes`
        strand = part.strand
        return sampler.draw_aligned(strand.work.recipe, strand.class_index, first=part.first, n=part.n)

    def _judge(self, parts: Sequence[_Part], images: UInt8Images) -> Verdicts | None:
        if not any(part.strand.work.screened for part in parts):
            return None
        with self.stages("gate"):
            return self.model.gate.screen(images)

    def _store(self, part: _Part, images: UInt8Images, verdicts: Verdicts | None) -> None:
        strand, work = part.strand, part.strand.work
        verdicts, measured = verdicts if work.screened else None, None
        if work.selection is not None and verdicts is not None:
            with self.stages("select"):
                verdicts, measured = work.selection.narrow(verdicts, images, strand.class_index)
        keep = until_enough(verdicts, strand.wanted - strand.accepted, part.n)
        with self.stages("write"):
            seeds = [work.recipe.draw(strand.class_index, part.first + i).seed for i in range(keep)]
            written = work.writer.write(images[:keep], class_index=strand.class_index, first=part.first, seeds=seeds)
        self._enter(strand, written, verdicts, measured)

    def _enter(
        self,
        strand: Strand,
        written: Sequence[WrittenImage],
        verdicts: Verdicts | None,
        measured: list[dict[str, float]] | None,
    ) -> None:
        """Rows of stored images, the next ones of a strand; they wait for the next commit."""
        work = strand.work
        new = [self._row(strand, w, verdicts, measured, i) for i, w in enumerate(written)]
        self.reasons.update(str(row["reason"]) for row in new if row["reason"])
        of = Counter(str(row["verdict"]) for row in new)
        work.counts.update(of)
        work.rows += new
        strand.accepted += of[Verdict.ACCEPTED.value]
        strand.next_index += len(written)
        self._on_progress(strand.class_name, strand.accepted, min(strand.wanted, strand.cap))

    def _row(
        self,
        strand: Strand,
        written: WrittenImage,
        verdicts: Verdicts | None,
        measured: list[dict[str, float]] | None,
        i: int,
    ) -> dict[str, object]:
        accepted = verdicts is None or bool(verdicts.accepted[i])
        return {
            "id": written.id,
            "job_id": strand.work.job.id,
            "model_id": self.model.row.id,
            "class_index": strand.class_index,
            "class_name": strand.class_name,
            "index": written.index,
            "seed": written.seed,
            "truncation": strand.work.recipe.truncation,
            "key": written.key,
            "sha256": written.sha256,
            "pixel_sha256": written.pixel_sha256,
            "bytes": written.bytes,
            "scores": {} if measured is None else measured[i],
            "screened": verdicts is not None,
            "verdict": (Verdict.ACCEPTED if accepted else Verdict.REJECTED).value,
            "reason": None if verdicts is None else verdicts.reasons[i],
            "nearest_original": None if verdicts is None else self.model.gate.hashes[verdicts.nearest[i]],
            "nearest_distance": None if verdicts is None else float(verdicts.distance[i]),
        }

    def _close(self, work: Work, row: JobRow, session: Session) -> bool:
        """End a job that is finished or cancelled; take note when more is wanted of it than it was taken up for."""
        if row.cancelled_at is not None:
            queries.end_jobs([row.id], JobStatus.CANCELLED, message="cancelled", session=session)
            return True
        if row.revision != work.job.revision:
            work.job = row
            work.strands = self._strands(work, queries.count_images(job_id=row.id, session=session), session)
        if not work.ended:
            return False
        short = [s.class_name for s in work.strands if s.accepted < s.wanted] if not work.recipe.steps else []
        message = f"attempt cap reached for {', '.join(short)}" if short else None
        queries.end_jobs([row.id], JobStatus.CAPPED if short else JobStatus.DONE, message=message, session=session)
        return True


def _shared_out(strands: Sequence[Strand], room: int) -> list[_Part]:
    """A block shared out: what is missing first, then a few more each against those that the gate keeps out."""
    given: list[tuple[Strand, int]] = []
    for strand in strands:
        n = min(strand.missing, room)
        room -= n
        given.append((strand, n))
    parts = []
    for strand, n in given:
        spare = 1 + strand.missing // _SPARE_SHARE if strand.work.screened and n == strand.missing else 0
        more = min(spare, strand.cap - strand.next_index - n, room)
        room -= more
        if n + more:
            parts.append(_Part(strand, strand.next_index, n + more))
    return parts


def _progress(work: Work) -> dict[str, object]:
    return {
        "id": work.job.id,
        "n_accepted": work.counts[Verdict.ACCEPTED.value],
        "n_rejected": work.counts[Verdict.REJECTED.value],
        "n_attempts": sum(work.counts.values()),
        "seconds": work.job.seconds + time.perf_counter() - work.started,
    }


def until_enough(verdicts: Verdicts | None, wanted: int, n: int) -> int:
    """How many of `n` images, from the first, hold `wanted` accepted ones."""
    if verdicts is None:
        return min(n, wanted)
    enough: NDArray[np.int64] = np.flatnonzero(np.cumsum(verdicts.accepted) >= wanted)
    return int(enough[0]) + 1 if len(enough) else n
