"""Parts of a report from catalogue rows and a run's history: counting and sorting, no disk and no session."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from synthbank.catalogue import DatasetRow, ExpansionRow, JobRow, ModelRow, OriginalRow, RunRow, SnapshotRow
from synthbank.records import Finding, JobRequest, ModelCard, Severity, SnapshotReference, Split, TrainEvent, Verdict
from synthbank.reports.content import (
    ClassCounts,
    Curve,
    DataPart,
    EventLine,
    ExpansionPart,
    FindingLine,
    GatePart,
    JobPart,
    SnapshotLine,
    TrainingPart,
)

_LOSSES = {"loss_d": "discriminator", "loss_g": "generator", "loss": "denoiser"}
_LOGITS = {"logit_of_train": "real (train)", "logit_of_validation": "real (validation)", "logit_of_fake": "synthetic"}
_TRANSFORMS = {
    "scale": "Scale, factor",
    "rotation_deg": "Rotation, degrees",
    "shift_y": "Shift down, share of the height",
    "shift_x": "Shift right, share of the width",
}


def data_part(dataset: DatasetRow, rows: Sequence[OriginalRow]) -> DataPart:
    """The data set with its counts.

    Args:
        dataset: the data set.
        rows: all its originals, the rejected ones included.
    """
    accepted = [r for r in rows if r.accepted]
    splits_of: dict[str, set[str]] = {}
    for row in accepted:
        splits_of.setdefault(row.group_id or row.name, set()).add(str(row.split))
    converted = [r for r in accepted if any(f.severity == Severity.CONVERT for f in r.findings)]
    return DataPart(
        name=dataset.name,
        version=dataset.version,
        source=dataset.source,
        licence=dataset.licence,
        fingerprint=dataset.fingerprint,
        size=dataset.size,
        channels=dataset.channels,
        microns_per_pixel=dataset.microns_per_pixel,
        counts=tuple(_class_counts(name, accepted) for name in dataset.class_names),
        n_files=len(rows),
        n_rejected=len(rows) - len(accepted),
        n_converted=len(converted),
        findings=_finding_lines([f for r in rows for f in r.findings]),
        group_rule=dataset.options.get("group_by"),
        n_groups=len(splits_of),
        n_groups_across_splits=sum(len(splits) > 1 for splits in splits_of.values()),
        shares=tuple(dataset.options.get("shares") or ()),
        split_seed=dataset.options.get("split_seed"),
    )


def expansion_part(rows: Sequence[ExpansionRow], *, n_originals: int, used: bool) -> ExpansionPart | None:
    """The affine expansion; `None` where none was planned.

    Args:
        rows: its copies.
        n_originals: training originals.
        used: the model was trained on the copies as well.
    """
    if not rows:
        return None
    ranges = []
    for key, words in _TRANSFORMS.items():
        values = [r.parameters[key] for r in rows if key in r.parameters]
        if values:
            ranges.append((words, min(values), max(values)))
    return ExpansionPart(n_originals, len(rows), tuple(ranges), used)


def training_part(
    model: ModelRow,
    run: RunRow | None,
    snapshots: Sequence[SnapshotRow],
    history: Sequence[TrainEvent],
    *,
    parameters: int | None,
    reference: SnapshotReference,
) -> TrainingPart:
    """The training of the model, from its run folder where it is here, else from the catalogue.

    Args:
        model: the published model.
        run: its run; `None`: made elsewhere.
        snapshots: of the run, by step.
        history: events of the run folder; empty: it is not here.
        parameters: of the generator; `None`: not known.
        reference: originals that the snapshots were scored against.
    """
    card = ModelCard.from_json(model.card)
    config = run.config if run is not None else card.training
    return TrainingPart(
        model=model.id,
        architecture=model.architecture,
        parameters=parameters,
        run_id=None if run is None else run.id,
        config=tuple((name, _option_text(value)) for name, value in sorted(config.items())),
        losses=_curves(history, "status", _LOSSES),
        logits=_curves(history, "snapshot", _LOGITS),
        snapshots=tuple(_snapshot_line(s) for s in snapshots),
        events=_events(run, history),
        history_found=bool(history),
        status=None if run is None else run.status,
        images_seen=None if run is None else run.images_seen,
        elapsed_sec=None if run is None else run.elapsed_sec,
        chosen_by=reference.sentence,
        shortfall=None if card.shortfall is None else card.shortfall.sentence,
        withdrawn=model.status != "published",
    )


def gate_part(
    job: JobRow,
    counts: Mapping[str, Mapping[str, int]],
    reasons: Mapping[str, int],
    *,
    copy_distance: float | None,
    blank_deviation: float | None,
    cannot_tell: Sequence[str] = (),
) -> GatePart:
    """Verdicts of the gate in a job; `counts` is class name to verdict to number of images."""
    lines = tuple(
        (name, of_class.get(Verdict.ACCEPTED.value, 0), of_class.get(Verdict.REJECTED.value, 0))
        for name, of_class in counts.items()
    )
    by_number = tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return GatePart(job.screened, copy_distance, blank_deviation, lines, by_number, tuple(cannot_tell))


def job_part(job: JobRow) -> JobPart:
    """The job's own numbers."""
    return JobPart(
        id=job.id,
        status=job.status,
        message=job.message,
        seed=job.seed,
        truncation=JobRequest.from_json(job.request).truncation,
        n_requested=job.n_requested,
        n_accepted=job.n_accepted,
        n_attempts=job.n_attempts,
        seconds=job.seconds,
        finished_at=job.finished_at,
    )


def _class_counts(name: str, accepted: Sequence[OriginalRow]) -> ClassCounts:
    rows = [r for r in accepted if r.class_name == name]
    per_split = Counter(r.split for r in rows)
    groups = len({r.group_id or r.name for r in rows})
    return ClassCounts(name, per_split[Split.TRAIN], per_split[Split.VALIDATION], per_split[Split.TEST], groups)


def _finding_lines(findings: Sequence[Finding]) -> tuple[FindingLine, ...]:
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.check, str(finding.severity)), []).append(finding)
    lines = [FindingLine(*kind, len(same), same[0].message) for kind, same in by_kind.items()]
    return tuple(sorted(lines, key=lambda line: (line.severity != "reject", -line.count, line.check)))


def _curves(history: Sequence[TrainEvent], kind: str, names: Mapping[str, str]) -> tuple[Curve, ...]:
    """One curve for each name that the events of this kind hold; a rollback's repeated steps stand in order."""
    curves = []
    for key, words in names.items():
        # a rollback repeats steps: the later value of a step counts
        points = {e.step: e.values[key] for e in history if e.kind == kind and _is_number(e.values.get(key))}
        if points:
            steps = tuple(sorted(points))
            curves.append(Curve(words, steps, tuple(float(points[step]) for step in steps)))
    return tuple(curves)


def _events(run: RunRow | None, history: Sequence[TrainEvent]) -> tuple[EventLine, ...]:
    # a run folder of another machine is not here; the catalogue holds its guard events alone
    if history:
        events: list[tuple[int, str, Mapping[str, object]]] = [(e.step, e.kind, e.values) for e in history]
    else:
        events = [(int(e.get("step", 0)), str(e.get("kind", "guard")), e) for e in (run.events if run else ())]
    return tuple(
        EventLine(step, kind, _message(values)) for step, kind, values in events if kind in ("guard", "rollback")
    )


def _message(values: Mapping[str, object]) -> str:
    if "message" in values:
        return str(values["message"])
    scale = values.get("lr_scale")
    if isinstance(scale, int | float):
        return f"back to the last good state; learning rates now times {scale:g}"
    return "no details recorded"


def _snapshot_line(row: SnapshotRow) -> SnapshotLine:
    values = [row.scores.get(name) for name in ("kid", "real_diversity", "fake_diversity")]
    kid, real, fake = (float(v) if v is not None and _is_number(v) else None for v in values)
    return SnapshotLine(row.step, row.images_seen, kid, real, fake, row.chosen)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _option_text(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} = {v}" for k, v in sorted(value.items())) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
