"""Report: everything known about a job, gathered into one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthbank import __version__
from synthbank.catalogue import DatasetRow, EvaluationRow, ImageRow, JobRow, ModelRow, OriginalRow, RunRow, queries
from synthbank.errors import NotFoundError, StateError, UnknownNameError
from synthbank.export import model_card_markdown
from synthbank.models import (
    SCORING_NETWORK,
    ModelSpec,
    architectures,
    count_parameters,
    read_header,
)
from synthbank.records import LabelledImages, Score, Split, TrainEvent, UInt8Images, Verdict
from synthbank.reports import (
    ClassSample,
    MapGroup,
    MapPart,
    NearestPart,
    Pair,
    ReportData,
    Scorecard,
    commands_again,
    data_part,
    expansion_part,
    gate_part,
    is_evidence,
    job_part,
    project,
    render_report,
    scorecard,
    training_part,
)
from synthbank.storage import History, decode_png, layout, write_atomic
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.features import embed_images

_SHOWN = 96
"""Synthetic images beside real ones, all classes together."""
_SHOWN_OF_CLASS = 12
_CLOSEST = 8
_HOW_GATE = (
    "how unlike their outlines are where they are laid over each other best (0 is the same, 1 is unrelated); turned, "
    "mirrored, moved, cut and recoloured originals count as well"
)
_ON_MAP = 400
"""Images of each kind on the map, all classes together."""


@dataclass(frozen=True)
class _Rows:
    """Catalogue rows of a job."""

    job: JobRow
    model: ModelRow
    dataset: DatasetRow | None
    run: RunRow | None
    originals: tuple[OriginalRow, ...]
    accepted: tuple[ImageRow, ...]
    rejected: tuple[ImageRow, ...]
    scores: tuple[EvaluationRow, ...]


@dataclass(frozen=True)
class _Images:
    """Pixels that the page shows or places on the map."""

    train: LabelledImages | None
    test: LabelledImages | None
    of_key: dict[str, UInt8Images]
    """Storage key of a synthetic image to `[C, H, W]`."""


def write_report(
    bank: Bank, job_id: str, *, to: Path | None = None, stage_seconds: Mapping[str, float] | None = None
) -> Path:
    """Write a job's report; the same bank gives the same bytes, but for times.

    Args:
        bank: where the job is.
        job_id: a generation job, evaluated or not.
        to: file to write; `None`: into the bank's object store.
        stage_seconds: seconds that each stage of the run took; `None`: what the catalogue knows.

    Returns:
        Path of the written file; for a remote store, of the local copy in the bank's folder.

    Raises:
        UnknownNameError: no such job.
        StateError: the job holds no image.
    """
    data = gather(bank, job_id, stage_seconds=stage_seconds)
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
        facts = queries.get_model(data.training.model, session=session).card
    if {"dataset", "training", "snapshot", "software", "not_for"} <= set(facts):
        text = model_card_markdown(facts, scores=(*data.scores, *data.evidence), scorecard=card)
        bank.store.put(layout.model_key(data.training.model, "card.md"), text.encode())


def job_scorecard(bank: Bank, job_id: str) -> Scorecard:
    """The seven criteria of a job. Errors as of `write_report`."""
    return scorecard(gather(bank, job_id))


def gather(bank: Bank, job_id: str, *, stage_seconds: Mapping[str, float] | None = None) -> ReportData:
    """Everything the report of a job shows. Arguments and errors as of `write_report`."""
    rows = _read_rows(bank, job_id)
    if not rows.accepted and not rows.rejected:
        raise StateError("The job holds no image yet", got=job_id, next_step=f"synthbank generate {rows.model.id}")
    names = rows.model.class_names
    images = _read_images(bank, rows)
    part = None if rows.dataset is None else data_part(rows.dataset, rows.originals)
    thresholds = _thresholds(bank, rows.model)
    with bank.catalogue.session(read_only=True) as session:
        counts = queries.count_images(job_id=job_id, session=session)
        snapshots = queries.snapshots(rows.run.id, session=session) if rows.run else []
        copies = queries.list_expansions(rows.dataset.id, session=session) if rows.dataset else []
        ids = {row.id for row in (*rows.accepted, *rows.rejected)}
        answers = sum(a.image_id in ids for a in queries.reader_answers(session=session))
    config = rows.model.card.get("training", {})
    n_train = part.in_split("train") if part else 0
    shown, scores = _shown(rows.accepted, names), _scores(rows)
    return ReportData(
        title=f"Synthetic images from {rows.dataset.name if rows.dataset else rows.model.id}",
        job=job_part(rows.job),
        class_names=names,
        data=part,
        expansion=expansion_part(copies, n_originals=n_train, used=bool(config.get("offline_expansion"))),
        training=training_part(
            rows.model,
            rows.run,
            snapshots,
            _history(bank, rows.run),
            parameters=_parameters(rows.model),
            n_validation=_of_classes(rows, Split.VALIDATION) if part else None,
        ),
        gate=gate_part(
            rows.job,
            counts,
            Counter(r.reason or "unknown" for r in rows.rejected),
            copy_distance=thresholds.get("copy_distance"),
            blank_deviation=thresholds.get("blank_deviation"),
        ),
        samples=_samples(shown, images, names),
        nearest=_nearest(rows, images, shown),
        scores=tuple(s for s in scores if not is_evidence(s)),
        evidence=tuple(s for s in scores if is_evidence(s)),
        map=_map(rows, images),
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
        stage_seconds=_stages(rows, stage_seconds),
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
    return _Rows(job, model, dataset, run, tuple(originals), accepted, tuple(rejected), tuple(scores))


def _run_or_none(run_id: str, runs: Sequence[RunRow]) -> RunRow | None:
    return next((run for run in runs if run.id == run_id), None)


def _read_images(bank: Bank, rows: _Rows) -> _Images:
    """Originals of the model's classes and the synthetic images of grids, pairs and map."""
    train = test = None
    if rows.dataset is not None:
        train, test = (
            load_split(bank, rows.dataset, split).images.of_classes(rows.model.class_names)
            for split in (Split.TRAIN, Split.TEST)
        )
    wanted = [
        *(row for of_class in _shown(rows.accepted, rows.model.class_names).values() for row in of_class),
        *_spread(rows.accepted, rows.model.class_names, _ON_MAP),
        *_closest(rows.accepted),
        *_closest(rows.rejected),
    ]
    keys = dict.fromkeys(row.key for row in wanted)
    return _Images(train, test, {key: decode_png(bank.store.get(key)) for key in keys})


def _spread(rows: Sequence[ImageRow], class_names: Sequence[str], n: int) -> list[ImageRow]:
    """The first rows of each class, at most `n` together."""
    per_class = max(1, n // len(class_names))
    return [row for name in class_names for row in [r for r in rows if r.class_name == name][:per_class]]


def _shown(rows: Sequence[ImageRow], class_names: Sequence[str]) -> dict[str, list[ImageRow]]:
    n = min(_SHOWN_OF_CLASS, max(4, _SHOWN // len(class_names)))
    return {name: [r for r in rows if r.class_name == name][:n] for name in class_names}


def _closest(rows: Sequence[ImageRow]) -> list[ImageRow]:
    known = [row for row in rows if row.nearest_distance is not None]
    return sorted(known, key=lambda row: (row.nearest_distance, row.id))[:_CLOSEST]


def _samples(
    shown: Mapping[str, Sequence[ImageRow]], images: _Images, class_names: Sequence[str]
) -> tuple[ClassSample, ...]:
    samples = []
    for name in class_names:
        synthetic = _stack([images.of_key[row.key] for row in shown[name]])
        real = _stack([])
        if images.train is not None and name in images.train.class_names:
            of_class = images.train.of_class(images.train.class_names.index(name)).images
            real = of_class[: len(synthetic) or _SHOWN_OF_CLASS]
        samples.append(ClassSample(name, real, synthetic))
    return tuple(samples)


def _stack(images: Sequence[UInt8Images]) -> UInt8Images:
    return np.stack(images) if images else np.zeros((0, 1, 1, 1), np.uint8)


def _nearest(rows: _Rows, images: _Images, shown: Mapping[str, Sequence[ImageRow]]) -> NearestPart | None:
    """Pairs as the gate measured them; where it did not, by the judge's features."""
    flat = [row for of_class in shown.values() for row in of_class]
    if any(row.nearest_distance is None for row in flat):
        return _nearest_by_judge(images, flat)
    by_hash = {row.sha256 or "": row for row in rows.originals if row.accepted}
    pixels = dict(zip(images.train.ids, images.train.images, strict=True)) if images.train is not None else {}

    def pair(row: ImageRow) -> Pair:
        original = by_hash.get(row.nearest_original or "")
        return Pair(
            image_id=row.id,
            class_name=row.class_name,
            synthetic=images.of_key[row.key],
            original=pixels.get(row.nearest_original or ""),
            original_class=original.class_name if original else None,
            distance=row.nearest_distance or 0.0,
            reason=row.reason,
        )

    def pairs(some: Sequence[ImageRow]) -> tuple[Pair, ...]:
        return tuple(sorted((pair(row) for row in some), key=lambda p: (p.distance, p.image_id)))

    distances = tuple(
        (name, np.array([r.nearest_distance for r in rows.accepted if r.class_name == name], np.float64))
        for name in shown
    )
    return NearestPart(
        _HOW_GATE, pairs(flat), pairs(_closest(rows.accepted)), pairs(_closest(rows.rejected)), distances
    )


def _nearest_by_judge(images: _Images, flat: Sequence[ImageRow]) -> NearestPart | None:
    train = images.train
    if train is None or not len(train) or not flat:
        return None
    synthetic = np.stack([images.of_key[row.key] for row in flat])
    real, fake = embed_images(SCORING_NETWORK, train.images), embed_images(SCORING_NETWORK, synthetic)
    distance = np.stack([np.linalg.norm(real - one, axis=1) for one in fake])  # [N, M]
    nearest = distance.argmin(axis=1)
    pairs = [
        Pair(
            image_id=row.id,
            class_name=row.class_name,
            synthetic=synthetic[i],
            original=train.images[k],
            original_class=train.class_names[train.labels[k]],
            distance=float(distance[i, k]),
        )
        for i, (row, k) in enumerate(zip(flat, nearest, strict=True))
    ]
    return NearestPart(
        f"distance between {SCORING_NETWORK} features",
        tuple(sorted(pairs, key=lambda p: (p.distance, p.image_id))),
        (),
        (),
        (),
    )


def _map(rows: _Rows, images: _Images) -> MapPart | None:
    """Features of the judge on the two leading directions of the real images'."""
    train, test = images.train, images.test
    accepted = _spread(rows.accepted, rows.model.class_names, _ON_MAP)
    if train is None or test is None or len(train) + len(test) < 3 or not accepted:
        return None
    sets: dict[tuple[str, str], UInt8Images] = {}
    for name in rows.model.class_names:
        for kind, real in (("real train", train), ("real test", test)):
            if name in real.class_names:
                of_class = real.of_class(real.class_names.index(name)).images
                sets[kind, name] = of_class[: max(1, _ON_MAP // len(rows.model.class_names))]
        sets["synthetic", name] = _stack([images.of_key[r.key] for r in accepted if r.class_name == name])
    features = {
        f"{kind}/{name}": embed_images(SCORING_NETWORK, some) for (kind, name), some in sets.items() if len(some)
    }
    placed, explained = project(features, [key for key in features if key.startswith("real")])
    order = ("real train", "synthetic", "real test")
    groups = [
        MapGroup(kind, name, placed[f"{kind}/{name}"])
        for kind in order
        for name in rows.model.class_names
        if f"{kind}/{name}" in placed
    ]
    return MapPart(SCORING_NETWORK, tuple(groups), explained)


def _scores(rows: _Rows) -> tuple[Score, ...]:
    """The newest scores against this data set's test split, else all there are; and those of readers."""
    reference = rows.dataset.split_fingerprints.get(Split.TEST.value) if rows.dataset else None
    readers = [row for row in rows.scores if row.metric.startswith("reader-")]
    measured = [row for row in rows.scores if row not in readers]
    ours = [row for row in measured if row.reference_fingerprint == reference]
    return tuple(row.score() for row in (*(ours or measured), *readers))


def _of_classes(rows: _Rows, split: Split) -> int:
    """Accepted originals of one split, of the model's classes."""
    return sum(r.accepted and r.split == split and r.class_name in rows.model.class_names for r in rows.originals)


def _history(bank: Bank, run: RunRow | None) -> list[TrainEvent]:
    return [] if run is None else list(History(bank.runs_dir / run.id))


def _thresholds(bank: Bank, model: ModelRow) -> dict[str, float]:
    """What the published gate was calibrated to; empty where its file is gone."""
    try:
        return read_header(bank.store.get(layout.model_key(model.id, "screen.safetensors")))
    except NotFoundError:
        return {}


def _parameters(model: ModelRow) -> int | None:
    """Parameters of the generator; `None` for a card or architecture that this version does not know."""
    if "spec" not in model.card:
        return None
    try:
        with torch.random.fork_rng(devices=[]):
            return count_parameters(
                architectures.get(model.architecture).generator(ModelSpec.from_json(model.card["spec"]))
            )
    except UnknownNameError:
        return None


def _versions(rows: _Rows) -> tuple[tuple[str, str], ...]:
    trained = {f"{name}, in training": str(v) for name, v in rows.model.card.get("software", {}).items()}
    return (*trained.items(), ("synthbank, this report", __version__), ("torch, this report", str(torch.__version__)))


def _stages(rows: _Rows, stage_seconds: Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    if stage_seconds is not None:
        return tuple(stage_seconds.items())
    train = [("train", rows.run.elapsed_sec)] if rows.run else []
    seconds = sum(s.seconds for s in rows.scores if not is_evidence(s.score()))
    scoring = [("evaluate (scores alone)", seconds)] if rows.scores else []
    return (*train, ("generate", rows.job.seconds), *scoring)
