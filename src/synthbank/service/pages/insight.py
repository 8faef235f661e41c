"""Training, Evidence and Data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from synthbank.catalogue import queries
from synthbank.catalogue.rows import DatasetRow, EvaluationRow, OriginalRow
from synthbank.records import Score, Split, Verdict
from synthbank.reports.measures import in_order, measure_of, parts_of, split_by_network
from synthbank.reports.verdict import interval, number
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import Identity, Name
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.evaluation.feature_map import read_map

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_WIDTH = 300.0
_MAP, _HUES = 560.0, 5


@router.get("/training")
def training(service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """Every run."""
    with service.bank.catalogue.session(read_only=True) as session:
        runs = queries.list_runs(session=session)
    return page("training", title="Training", here="/training", runs=runs)


@router.get("/training/{run_id}")
def run(run_id: Name, service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """One run; its curves come from the API, again and again while it runs."""
    with service.bank.catalogue.session(read_only=True) as session:
        row = queries.get_run(run_id, session=session)
    return page("run", title="Training", here="/training", scripts=["training"], run=row)


@router.get("/evidence")
def evidence(service: ServiceDep, caller: Viewer, job: Annotated[Identity | None, Query()] = None) -> HTMLResponse:
    """The scores of a job, and its images that lie closest to an original."""
    with service.bank.catalogue.session(read_only=True) as session:
        jobs = [row for row in queries.page_jobs(limit=200, session=session) if row.n_attempts]
        chosen = queries.get_job(job, session=session) if job else _judged(jobs, session)
        rows = queries.scores(subject_kind="job", subject_id=chosen.id, session=session) if chosen else []
        wanted = queries.ImageFilter(job_id=chosen.id if chosen else None, verdict=Verdict.ACCEPTED)
        nearest = queries.page_images(wanted, order="nearest", limit=12, session=session) if chosen else []
    return page(
        "evidence",
        title="Evidence",
        here="/evidence",
        scripts=["evidence"],
        jobs=jobs,
        job=chosen,
        groups=_groups(rows),
        map=_map(service, chosen.id) if chosen else None,
        judging=service.evaluations.state(chosen.id) if chosen else None,
        may_make=caller.may("generate"),
        notes=sorted({row.note for row in rows if row.note and row.value is not None}),
        nearest=nearest,
    )


@router.get("/data")
def data(service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """Every data set: how it was split, and what was left out."""
    with service.bank.catalogue.session(read_only=True) as session:
        found = [_dataset(row, session) for row in reversed(queries.list_datasets(session=session))]
    return page(
        "data",
        title="Data",
        here="/data",
        datasets=found,
        splits=[split.value for split in Split],
        shows_originals=service.settings.show_originals,
    )


def _map(service: Service, job_id: str) -> dict[str, Any] | None:
    """Points of the feature map on a square of `_MAP`, real ones first; classes get a number for their colour."""
    found = read_map(service.bank, job_id)
    if found is None:
        return None
    points = found["points"]
    left, right = min(p["x"] for p in points), max(p["x"] for p in points)
    low, high = min(p["y"] for p in points), max(p["y"] for p in points)
    names = sorted({p["class"] for p in points})
    placed = [
        {
            **p,
            "hue": names.index(p["class"]) % _HUES,
            "x": round(12 + (_MAP - 24) * (p["x"] - left) / ((right - left) or 1.0), 1),
            "y": round(12 + (_MAP - 24) * (high - p["y"]) / ((high - low) or 1.0), 1),
        }
        for p in points
    ]
    # a synthetic image of a withdrawn kind keeps its place: its page says what became of it
    return {
        "network": found["network"],
        "explained": [round(100 * share) for share in found["explained"]],
        "side": round(_MAP),
        "real": [p for p in placed if p["kind"] != "synthetic"],
        "synthetic": [p for p in placed if p["kind"] == "synthetic"],
        "names": [(name, i % _HUES) for i, name in enumerate(names)],
    }


def _judged(jobs: list[Any], session: Session) -> Any:
    """The newest job with scores, else the newest."""
    for row in jobs[:50]:
        if queries.scores(subject_kind="job", subject_id=row.id, session=session):
            return row
    return jobs[0] if jobs else None


def _groups(rows: list[EvaluationRow]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Scores in the order of the report: those that lead, then class by class, then through other networks."""
    lead, others = split_by_network([row.score() for row in rows])
    groups = [(name or "All classes", scores) for name, scores in in_order(lead, [])]
    if others:
        groups.append(("Through other networks", [s for _, scores in in_order(others, []) for s in scores]))
    return [(title, [_score(score) for score in scores]) for title, scores in groups]


def _score(row: Score) -> dict[str, Any]:
    _, network, size = parts_of(row.metric)
    return {
        "title": measure_of(row.metric).title,
        "meaning": measure_of(row.metric).meaning,
        "protocol": f"{network}, {size} px" if network else row.metric,
        "class_name": row.class_name,
        "higher_is_better": row.higher_is_better,
        "shown": "not computed" if row.value is None else number(row.value),
        "n_real": row.n_real,
        "n_fake": row.n_fake,
        "note": row.note,
        "plot": _plot(row),
        "spoken": f"{interval(row.low, row.high)}; real against real {interval(row.floor_low, row.floor_high)}",
    }


@dataclass(frozen=True, slots=True)
class _Plot:
    """Places on a line of `_WIDTH`, from zero (or the lowest value) to the highest."""

    low: float
    value: float
    high: float
    floor: tuple[float, float] | None


def _plot(row: Score) -> _Plot | None:
    if row.value is None or row.low is None or row.high is None:
        return None
    known = [row.value, row.low, row.high, *(v for v in (row.floor_low, row.floor_high) if v is not None)]
    start, end = min(0.0, *known), max(known) * 1.06 or 1.0
    place = {v: round(8 + (v - start) / ((end - start) or 1.0) * (_WIDTH - 16), 1) for v in known}
    floor = None
    if row.floor_low is not None and row.floor_high is not None:
        floor = (place[row.floor_low], max(place[row.floor_high] - place[row.floor_low], 3.0))
    return _Plot(place[row.low], place[row.value], place[row.high], floor)


def _dataset(row: DatasetRow, session: Session) -> dict[str, Any]:
    originals = queries.originals(row.id, accepted=None, withdrawn=None, session=session)
    counts = queries.split_counts(row.id, session=session)
    return {
        "row": row,
        "counts": counts,
        "bars": {name: _bars(of_class) for name, of_class in counts.items()},
        "n_groups": len({o.group_id for o in originals if o.accepted and o.group_id}),
        "n_expansions": len(queries.list_expansions(row.id, session=session)),
        "left_out": [o for o in originals if not o.accepted],
        "findings": _findings(originals),
    }


def _findings(originals: list[OriginalRow]) -> list[tuple[tuple[str, str], int]]:
    found = Counter((f.check, f.severity.value) for o in originals for f in o.findings)
    return sorted(found.items())


def _bars(counts: dict[str, int]) -> list[dict[str, Any]]:
    total, x, bars = sum(counts.values()) or 1, 0.0, []
    for split in Split:
        width = 100.0 * counts.get(split.value, 0) / total
        bars.append({"split": split.value, "x": round(x, 2), "width": round(width, 2)})
        x += width
    return bars
