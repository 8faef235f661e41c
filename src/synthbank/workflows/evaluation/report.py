"""Report: everything known about a job, gathered into one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synthbank import __version__
from synthbank.catalogue import DatasetRow, EvaluationRow, JobRow, ModelRow, OriginalRow, RunRow, queries
from synthbank.errors import NotFoundError, StateError, UnknownNameError
from synthbank.export import model_card_markdown
from synthbank.models import (
    ModelSpec,
    architectures,
    count_parameters,
    read_header,
)
from synthbank.records import ModelCard, Score, SnapshotReference, Split, TrainEvent, Verdict
from synthbank.reports import (
    ReportData,
    Scorecard,
    commands_again,
    data_part,
    expansion_part,
    gate_part,
    is_evidence,
    job_part,
    render_report,
    scorecard,
    training_part,
)
from synthbank.storage import History, layout, write_atomic
from synthbank.workflows.bank import Bank
from synthbank.workflows.evaluation.feature_map import map_part
from synthbank.workflows.evaluation.report_images import ImageRows, class_samples, nearest_originals, read_images
from synthbank.workflows.evaluation.requests import ReportRequest


@dataclass(frozen=True)
class _Rows:
    """Catalogue rows of a job."""

    job: JobRow
    model: ModelRow
    card: ModelCard
    dataset: DatasetRow | None
    run: RunRow | None
    images: ImageRows
    scores: tuple[EvaluationRow, ...]


def write_report(bank: Bank, request: ReportRequest) -> Path:
    """Write a job's report; the same bank gives the same bytes, but for times.

    Scores and the feature map are those of the job's evaluation. A report after an evaluation runs no network.

    Args:
        bank: where the job is.
        request: the job, evaluated or not, and where the report goes.

    Returns:
        Path of the written file; for a remote store, of the local copy in the bank's folder.

    Raises:
        UnknownNameError: no such job.
        StateError: the job holds no image.
    """
    job_id, to = request.job_id, request.to
    data = gather(bank, job_id, stage_seconds=request.stage_seconds)
    page, card = render_report(data).encode(), scorecard(data).to_json()
    bank.store.put(layout.report_key(job_id, "scorecard.json"), json.dumps(card, indent=2).encode())
    _refresh_model_card(bank, data, card)
    if to is None:
        key = layout.report_key(job_id)
        bank.store.put(key, page)
        local = bank.store.local_path(key)
        if local is not None:
            return local
        to = bank.settings.home / key
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(to, page)
    return to


def _refresh_model_card(bank: Bank, data: ReportData, card: Mapping[str, Any]) -> None:
    """The model's Markdown card with this job's scores; a model from elsewhere keeps the card it came with."""
    with bank.catalogue.session(read_only=True) as session:
        model_card = ModelCard.from_json(queries.get_model(data.training.model, session=session).card)
    if model_card.tells_origin:
        scores, chosen_by = (*data.scores, *data.evidence), data.training.chosen_by
        text = model_card_markdown(model_card, scores=scores, scorecard=card, chosen_by=chosen_by)
        bank.store.put(layout.model_key(data.training.model, "card.md"), text.encode())


def job_scorecard(bank: Bank, job_id: str) -> Scorecard:
    """The seven criteria of a job. Errors as of `write_report`."""
    return scorecard(gather(bank, job_id))


def gather(bank: Bank, job_id: str, *, stage_seconds: Mapping[str, float] | None = None) -> ReportData:
    """Everything the report of a job shows. Arguments as of `ReportRequest`, errors as of `write_report`."""
    rows = _read_rows(bank, job_id)
    accepted, rejected = rows.images.accepted, rows.images.rejected
    if not accepted and not rejected:
        raise StateError("The job holds no image yet", got=job_id, next_step=f"synthbank generate {rows.model.id}")
    images = read_images(bank, rows.dataset, rows.images)
    part = None if rows.dataset is None else data_part(rows.dataset, rows.images.originals)
    thresholds = _thresholds(bank, rows.model)
    with bank.catalogue.session(read_only=True) as session:
        counts = queries.count_images(job_id=job_id, session=session)
        snapshots = queries.snapshots(rows.run.id, session=session) if rows.run else []
        copies = queries.list_expansions(rows.dataset.id, session=session) if rows.dataset else []
        ids = {row.id for row in (*accepted, *rejected)}
        answers = sum(a.image_id in ids for a in queries.reader_answers(session=session))
    config = rows.card.training
    n_train = part.in_split("train") if part else 0
    scores = _scores(rows)
    return ReportData(
        title=f"Synthetic images from {rows.dataset.name if rows.dataset else rows.model.id}",
        job=job_part(rows.job),
        class_names=rows.model.class_names,
        data=part,
        expansion=expansion_part(copies, n_originals=n_train, used=bool(config.get("offline_expansion"))),
        training=training_part(
            rows.model,
            rows.run,
            snapshots,
            _history(bank, rows.run),
            parameters=_parameters(rows.model),
            reference=_snapshot_reference(rows),
        ),
        gate=gate_part(
            rows.job,
            counts,
            Counter(r.reason or "unknown" for r in rejected),
            copy_distance=thresholds.get("copy_distance"),
            blank_deviation=thresholds.get("blank_deviation"),
            cannot_tell=thresholds.get("cannot_tell", ()),
        ),
        samples=class_samples(images),
        nearest=nearest_originals(bank, images),
        scores=tuple(s for s in scores if not is_evidence(s)),
        evidence=tuple(s for s in scores if is_evidence(s)),
        map=map_part(bank, job_id, rows.model.class_names),
        reader_answers=answers,
        commands=commands_again(
            rows.job,
            rows.model,
            per_class=max(1, rows.job.n_requested // max(1, len(counts))),
            dataset=rows.dataset,
            expanded_to=n_train + len(copies) if copies else None,
        ),
        versions=_versions(rows),
        device=rows.run.device if rows.run else None,
        stage_seconds=_stage_seconds(rows, stage_seconds),
    )


def _read_rows(bank: Bank, job_id: str) -> _Rows:
    with bank.catalogue.session(read_only=True) as session:
        job = queries.get_job(job_id, session=session)
        model = queries.get_model(job.model_id, session=session)
        dataset = run = None
        originals: list[OriginalRow] = []
        if model.dataset_id is not None:
            dataset = queries.get_dataset_by_id(model.dataset_id, session=session)
            originals = queries.originals(dataset.id, accepted=None, session=session)
        if model.run_id is not None:
            run = _run_or_none(model.run_id, queries.list_runs(session=session))
        accepted = tuple(queries.accepted_images(job_id=job_id, session=session))
        rejected = queries.images(
            job_id=job_id, verdict=Verdict.REJECTED, order="id", limit=max(job.n_rejected, 1), session=session
        )
        scores = queries.scores(subject_kind="job", subject_id=job_id, session=session)
    images = ImageRows(model.class_names, accepted, tuple(rejected), tuple(originals))
    return _Rows(job, model, ModelCard.from_json(model.card), dataset, run, images, tuple(scores))


def _run_or_none(run_id: str, runs: Sequence[RunRow]) -> RunRow | None:
    return next((run for run in runs if run.id == run_id), None)


def _scores(rows: _Rows) -> tuple[Score, ...]:
    """The newest scores against this data set's test split, else all there are; and those of readers."""
    reference = rows.dataset.split_fingerprints.get(Split.TEST.value) if rows.dataset else None
    readers = [row for row in rows.scores if row.metric.startswith("reader-")]
    measured = [row for row in rows.scores if row not in readers]
    ours = [row for row in measured if row.reference_fingerprint == reference]
    return tuple(row.score() for row in (*(ours or measured), *readers))


def _snapshot_reference(rows: _Rows) -> SnapshotReference:
    """The originals that the model's snapshots were scored against."""
    recorded = SnapshotReference(None) if rows.card.snapshot is None else rows.card.snapshot.reference
    if recorded.split is not None or rows.dataset is None:
        return recorded
    # a model of an earlier version: the catalogue still knows the split that it was trained with
    validation = [row for row in rows.images.originals if row.accepted and row.split == Split.VALIDATION]
    return SnapshotReference(sum(row.class_name in rows.model.class_names for row in validation))


def _history(bank: Bank, run: RunRow | None) -> list[TrainEvent]:
    return [] if run is None else list(History(bank.runs_dir / run.id))


def _thresholds(bank: Bank, model: ModelRow) -> dict[str, Any]:
    """Read the thresholds of the published gate; empty where its file is gone."""
    try:
        return read_header(bank.store.get(layout.model_key(model.id, "screen.safetensors")))
    except NotFoundError:
        return {}


def _parameters(model: ModelRow) -> int | None:
    """Parameters of the generator; `None` for an architecture that this version does not know."""
    spec = ModelCard.from_json(model.card).spec
    try:
        with torch.random.fork_rng(devices=[]):
            return count_parameters(architectures.get(model.architecture).generator(ModelSpec.from_json(spec)))
    except UnknownNameError:
        return None


def _versions(rows: _Rows) -> tuple[tuple[str, str], ...]:
    trained = {f"{name}, in training": str(v) for name, v in rows.card.software.items()}
    return (*trained.items(), ("synthbank, this report", __version__), ("torch, this report", str(torch.__version__)))


def _stage_seconds(rows: _Rows, stage_seconds: Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    if stage_seconds is not None:
        return tuple(stage_seconds.items())
    train = [("train", rows.run.elapsed_sec)] if rows.run else []
    seconds = sum(s.seconds for s in rows.scores if not is_evidence(s.score()))
    scoring = [("evaluate (scores alone)", seconds)] if rows.scores else []
    return (*train, ("generate", rows.job.seconds), *scoring)
