"""Generate: N accepted images a class from a published model, exactly once, however often it is interrupted."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from synthbank.catalogue import JobRow, queries
from synthbank.errors import OptionError, StateError, UnknownNameError
from synthbank.fingerprint import set_fingerprint
from synthbank.generation import ImageWriter, Sampler, WrittenImage, image_seed
from synthbank.records import JobStatus, UInt8Images, Verdict, Verdicts
from synthbank.storage import layout
from synthbank.workflows.bank import Bank
from synthbank.workflows.models import LoadedModel, load_model
from synthbank.workflows.select import Selection, build_selection

_ROWS_A_TRANSACTION = 256


@dataclass(frozen=True)
class GenerateRequest:
    """What is asked of a model."""

    model: str
    n: int
    """Accepted images for each class."""
    class_name: str | None = None
    """`None`: every class."""
    seed: int = 0
    truncation: float = 1.0
    screen: bool = True
    """`False`: nothing is kept out, and every row says that it was not screened."""
    max_attempts: float = 4.0
    """Attempts a class may take, as a multiple of `n` (of `n / select` with selection)."""
    select: float | None = None
    """Share of the images of each class to keep, those most typical of it (see `workflows.select`); `None`: all."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise OptionError("The number of images must be above zero", got=self.n)
        if not 0 <= self.truncation <= 1:
            raise OptionError("Truncation is out of range", got=self.truncation, allowed="0 to 1")
        if self.max_attempts < 1:
            raise OptionError("max_attempts is a multiple of n", got=self.max_attempts, allowed="1 or more")
        if self.seed < 0 or self.seed >= 2**63:
            raise OptionError("The seed is out of range", got=self.seed, allowed="0 to 2**63 - 1")
        if self.select is not None and not 0.0 < self.select < 1.0:
            raise OptionError("The share to select is out of range", got=self.select, allowed="between 0 and 1")
        if self.select is not None and not self.screen:
            raise OptionError("Selection works on screened images", next_step="leave --no-screen or --select out")

    def job_id(self) -> str:
        """The same model, seed, truncation, screening and selection are the same job; asking for more extends it."""
        parts: tuple[object, ...] = (self.model, self.seed, self.truncation, self.screen)
        parts += () if self.select is None else (self.select,)
        return "j" + set_fingerprint([repr(parts)])[:10]


@dataclass(frozen=True)
class GenerateReport:
    """What a job holds now."""

    job: JobRow
    accepted: dict[str, int]
    rejected: dict[str, int]
    reasons: dict[str, int]
    """Why images were kept out, this call."""
    n_new: int
    """Accepted images made by this call."""
    seconds: float
    stage_sec: dict[str, float]
    """Time of each stage: forward, gate, select (where asked for), write, rows."""


@dataclass
class _Stages:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def generate(
    bank: Bank,
    request: GenerateRequest,
    *,
    device: str = "cpu",
    on_progress: Callable[[str, int, int], None] = lambda class_name, done, wanted: None,
) -> GenerateReport:
    """Make images until every asked class holds `n` accepted ones, or the attempt cap is reached.

    The model is all that is needed. Files are stored before their rows are committed; an interrupted job goes on at
    the first number without a row and writes the same files again, so no orphan and no gap is left.

    Args:
        bank: where the model is and the images go.
        request: see `GenerateRequest`.
        device: of the forward passes.
        on_progress: called with class name, accepted so far and wanted.

    Raises:
        UnknownNameError: no such model or class.
    """
    model = load_model(bank, request.model, device=device)
    classes = _classes(model, request)
    model.sampler.check(classes[0], request.truncation)
    selection = _selection(bank, request, model)
    job = _open_job(bank, request, model, selection)
    if selection is not None:
        selection = selection.with_limits(job.request["select"])
    start = time.perf_counter()
    stages, reasons = _Stages(), Counter[str]()
    writer = ImageWriter(bank.store, job_id=job.id, model=model.row.id, class_names=model.row.class_names)
    before = _accepted(bank, job.id)
    try:
        for class_index in classes:
            _one_class(bank, request, model, selection, job.id, class_index, writer, stages, reasons, on_progress)
    except KeyboardInterrupt:
        _close_job(bank, job, JobStatus.CANCELLED, time.perf_counter() - start, "interrupted; the same command resumes")
        raise
    finally:
        writer.close()
    accepted = _accepted(bank, job.id)
    short = [model.row.class_names[c] for c in classes if accepted.get(model.row.class_names[c], 0) < request.n]
    message = f"attempt cap reached for {', '.join(short)}" if short else None
    status = JobStatus.CAPPED if short else JobStatus.DONE
    seconds = time.perf_counter() - start
    job = _close_job(bank, job, status, seconds, message)
    with bank.catalogue.session() as session:
        counts = queries.count_images(job_id=job.id, session=session)
    rejected = {name: of_class.get(Verdict.REJECTED.value, 0) for name, of_class in counts.items()}
    n_new = sum(accepted.values()) - sum(before.values())
    return GenerateReport(job, accepted, rejected, dict(reasons), n_new, seconds, dict(stages.seconds))


def _one_class(
    bank: Bank,
    request: GenerateRequest,
    model: LoadedModel,
    selection: Selection | None,
    job_id: str,
    class_index: int,
    writer: ImageWriter,
    stages: _Stages,
    reasons: Counter[str],
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Blocks of one class until enough are accepted; a transaction takes several blocks."""
    class_name = model.row.class_names[class_index]
    with bank.catalogue.session() as session:
        last = queries.last_index(job_id=job_id, class_index=class_index, session=session)
    next_index = 0 if last is None else last + 1
    _remove_uncommitted(bank, job_id, class_index, next_index)
    accepted = _accepted(bank, job_id).get(class_name, 0)
    cap = max(int(request.n * request.max_attempts / (request.select or 1.0)), next_index)
    rows: list[dict[str, object]] = []
    while accepted < request.n and next_index < cap:
        block, offset = divmod(next_index, model.sampler.block)
        with stages("forward"):
            images = model.sampler.draw_block(
                job_seed=request.seed, class_index=class_index, block=block, truncation=request.truncation
            )[offset : offset + cap - next_index]
        verdicts, measured = None, None
        if request.screen:
            with stages("gate"):
                verdicts = model.gate.judge(images)
        if selection is not None and verdicts is not None:
            with stages("select"):
                verdicts, measured = selection.narrow(verdicts, images, class_index)
        keep = _until_enough(verdicts, request.n - accepted, len(images))
        with stages("write"):
            seeds = [image_seed(request.seed, class_index, next_index + i) for i in range(keep)]
            written = writer.write(images[:keep], class_index=class_index, first=next_index, seeds=seeds)
        new = _rows(request, model, job_id, class_index, written, verdicts, measured)
        reasons.update(str(r["reason"]) for r in new if r["reason"])
        accepted += sum(r["verdict"] == Verdict.ACCEPTED.value for r in new)
        rows += new
        next_index += keep
        if len(rows) >= _ROWS_A_TRANSACTION:
            with stages("rows"):
                _commit(bank, rows)
        on_progress(class_name, accepted, request.n)
    with stages("rows"):
        _commit(bank, rows)


def _remove_uncommitted(bank: Bank, job_id: str, class_index: int, next_index: int) -> None:
    """Delete files that a killed process stored but did not enter; this call may not reach their numbers again."""
    folder = layout.image_key(job_id, class_index, 0).rsplit("/", 2)[0]
    for key in bank.store.list(folder):
        if int(key.rsplit("/", 1)[1].split(".")[0]) >= next_index:
            bank.store.delete(key)


def _until_enough(verdicts: Verdicts | None, wanted: int, n: int) -> int:
    """How many images of a block, from its start, hold `wanted` accepted ones."""
    if verdicts is None:
        return min(n, wanted)
    enough: NDArray[np.int64] = np.flatnonzero(np.cumsum(verdicts.accepted) >= wanted)
    return int(enough[0]) + 1 if len(enough) else n


def _rows(
    request: GenerateRequest,
    model: LoadedModel,
    job_id: str,
    class_index: int,
    written: list[WrittenImage],
    verdicts: Verdicts | None,
    measured: list[dict[str, float]] | None,
) -> list[dict[str, object]]:
    return [
        {
            "id": w.id,
            "job_id": job_id,
            "model_id": model.row.id,
            "class_index": class_index,
            "class_name": model.row.class_names[class_index],
            "index": w.index,
            "seed": w.seed,
            "truncation": request.truncation,
            "key": w.key,
            "sha256": w.sha256,
            "pixel_sha256": w.pixel_sha256,
            "bytes": w.bytes,
            "scores": {} if measured is None else measured[i],
            "screened": verdicts is not None,
            "verdict": Verdict.ACCEPTED.value if verdicts is None or verdicts.accepted[i] else Verdict.REJECTED.value,
            "reason": None if verdicts is None else verdicts.reasons[i],
            "nearest_original": None if verdicts is None else model.gate.hashes[verdicts.nearest[i]],
            "nearest_distance": None if verdicts is None else float(verdicts.distance[i]),
        }
        for i, w in enumerate(written)
    ]


def _commit(bank: Bank, rows: list[dict[str, object]]) -> None:
    if rows:
        with bank.catalogue.session() as session:
            queries.add_images(rows, session=session)
        rows.clear()


def _classes(model: LoadedModel, request: GenerateRequest) -> list[int]:
    names = model.row.class_names
    if request.class_name is None:
        return list(range(len(names)))
    if request.class_name not in names:
        raise UnknownNameError(f"class of model '{request.model}'", request.class_name, names)
    return [names.index(request.class_name)]


def _selection(bank: Bank, request: GenerateRequest, model: LoadedModel) -> Selection | None:
    if request.select is None:
        return None
    return build_selection(bank, model, share=request.select, seed=request.seed)


def _open_job(bank: Bank, request: GenerateRequest, model: LoadedModel, selection: Selection | None) -> JobRow:
    wanted = request.n * len(_classes(model, request))
    choices = {"truncation": request.truncation, "block": model.sampler.block, "screen": request.screen}
    with bank.catalogue.session() as session:
        job = queries.add_job(
            request.job_id(),
            model_id=model.row.id,
            request=choices if selection is None else {**choices, "select": selection.to_json()},
            seed=request.seed,
            n_requested=wanted,
            screened=request.screen,
            session=session,
        )
        return queries.update_job(
            job.id,
            status=JobStatus.RUNNING.value,
            n_requested=max(wanted, job.n_requested),
            message=None,
            session=session,
        )


def _close_job(bank: Bank, job: JobRow, status: JobStatus, seconds: float, message: str | None) -> JobRow:
    with bank.catalogue.session() as session:
        counts = queries.count_images(job_id=job.id, session=session)
        total = Counter[str]()
        for of_class in counts.values():
            total.update(of_class)
        return queries.update_job(
            job.id,
            status=status.value,
            n_accepted=total[Verdict.ACCEPTED.value],
            n_rejected=total[Verdict.REJECTED.value],
            n_attempts=sum(total.values()),
            seconds=job.seconds + seconds,
            finished_at=datetime.now(UTC),
            message=message,
            session=session,
        )


def _accepted(bank: Bank, job_id: str) -> dict[str, int]:
    with bank.catalogue.session() as session:
        counts = queries.count_images(job_id=job_id, session=session)
    return {name: of_class.get(Verdict.ACCEPTED.value, 0) for name, of_class in counts.items()}


def redraw(sampler: Sampler, *, job_seed: int, class_index: int, index: int, truncation: float) -> UInt8Images:
    """One image of a job again, `[1, C, H, W]` uint8, equal to the stored one on the same kind of device."""
    block, offset = divmod(index, sampler.block)
    images = sampler.draw_block(job_seed=job_seed, class_index=class_index, block=block, truncation=truncation)
    return images[offset : offset + 1]


def newest_job(bank: Bank) -> str:
    """Id of the newest generation job."""
    with bank.catalogue.session(read_only=True) as session:
        jobs = queries.list_jobs(limit=1, session=session)
    if not jobs:
        raise StateError("There is no generation job yet", next_step="synthbank generate MODEL -n 2000")
    return jobs[0].id
