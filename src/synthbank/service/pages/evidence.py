"""The page *Evidence*: the scores of a job, its feature map, and its images that lie closest to an original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from synthbank.catalogue import queries
from synthbank.catalogue.rows import EvaluationRow, JobRow
from synthbank.records import Score, Verdict
from synthbank.reports.numbers import interval, number
from synthbank.reports.scores import group_scores, meaning_of, order_scores, parts_of, split_by_network, title_of
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.schemas.base import Identity
from synthbank.service.state import Service, ServiceDep
from synthbank.workflows.evaluation.feature_map import read_map

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_WIDTH = 300.0
"""Of the drawing of one interval, in units of its view box."""
_MAP, _HUES = 560.0, 5


@router.get("/evidence")
def evidence(service: ServiceDep, caller: Viewer, job: Annotated[Identity | None, Query()] = None) -> HTMLResponse:
    """The scores of a job, and its images that lie closest to an original."""
    with service.bank.catalogue.session(read_only=True) as session:
        jobs = [row for row in queries.page_jobs(limit=200, session=session) if row.n_attempts]
        chosen = queries.get_job(job, session=session) if job else _newest_scored(jobs, session)
        rows = queries.scores(subject_kind="job", subject_id=chosen.id, session=session) if chosen else []
        accepted = queries.ImageFilter(job_id=chosen.id if chosen else None, verdict=Verdict.ACCEPTED)
        nearest = queries.page_images(accepted, order="nearest", limit=12, session=session) if chosen else []
    return page(
        "evidence",
        title="Evidence",
        here="/evidence",
        scripts=["evidence"],
        jobs=jobs,
        job=chosen,
        groups=_groups(rows),
        map=_map(service, chosen.id) if chosen else None,
        evaluation=service.evaluations.state(chosen.id) if chosen else None,
        may_make=caller.may("generate"),
        notes=sorted({row.note for row in rows if row.note and row.value is not None}),
        nearest=nearest,
    )


def _newest_scored(jobs: list[JobRow], session: Session) -> JobRow | None:
    """The newest job with scores, else the newest."""
    for row in jobs[:50]:
        if queries.scores(subject_kind="job", subject_id=row.id, session=session):
            return row
    return jobs[0] if jobs else None


@dataclass(frozen=True, slots=True)
class _Point:
    """One image on the feature map."""

    x: float
    y: float
    hue: int
    """Number of the colour of its class."""
    class_name: str
    id: str | None
    """`None`: a real image."""


@dataclass(frozen=True, slots=True)
class _Map:
    """The feature map on a square, in units of its view box."""

    network: str
    explained: list[int]
    """Percent of the variance of real images along x and y."""
    side: int
    real: list[_Point]
    synthetic: list[_Point]
    hues: list[tuple[str, int]]
    """(class, number of its colour)."""


def _map(service: Service, job_id: str) -> _Map | None:
    """The stored map, placed on a square of `_MAP`; `None` before the first evaluation."""
    stored = read_map(service.bank, job_id)
    if stored is None:
        return None
    points = stored["points"]
    left, right = min(p["x"] for p in points), max(p["x"] for p in points)
    low, high = min(p["y"] for p in points), max(p["y"] for p in points)
    hues = {name: i % _HUES for i, name in enumerate(sorted({p["class"] for p in points}))}
    real: list[_Point] = []
    synthetic: list[_Point] = []
    for p in points:
        point = _Point(
            x=round(12 + (_MAP - 24) * (p["x"] - left) / ((right - left) or 1.0), 1),
            y=round(12 + (_MAP - 24) * (high - p["y"]) / ((high - low) or 1.0), 1),  # SVG's y grows downwards
            hue=hues[p["class"]],
            class_name=p["class"],
            id=p.get("id"),
        )
        (synthetic if p["kind"] == "synthetic" else real).append(point)
    # an image that was withdrawn after the map was made keeps its point: its page says that it was withdrawn
    explained = [round(100 * share) for share in stored["explained"]]
    return _Map(stored["network"], explained, round(_MAP), real, synthetic, [*hues.items()])


@dataclass(frozen=True, slots=True)
class _Plot:
    """Places on a line of `_WIDTH`, from zero (or the lowest value) to the highest."""

    low: float
    value: float
    high: float
    floor: tuple[float, float] | None
    """Start and width of the score of real against real."""


@dataclass(frozen=True, slots=True)
class _ShownScore:
    """One line of a table of scores."""

    title: str
    meaning: str
    protocol: str
    class_name: str | None
    higher_is_better: bool
    shown: str
    n_real: int
    n_fake: int
    note: str | None
    plot: _Plot | None
    spoken: str
    """The plot in words, for a screen reader."""


def _groups(rows: Sequence[EvaluationRow]) -> list[tuple[str, list[_ShownScore]]]:
    """Scores in the order of the report: those that lead, then class by class, then through other networks."""
    lead, others = split_by_network([row.score() for row in rows])
    groups = [(name or "All classes", scores) for name, scores in group_scores(lead)]
    if others:
        groups.append(("Through other networks", order_scores(others)))
    return [(title, [_shown_score(score) for score in scores]) for title, scores in groups]


def _shown_score(score: Score) -> _ShownScore:
    _, network, size = parts_of(score.metric)
    return _ShownScore(
        title=title_of(score.metric),
        meaning=meaning_of(score.metric),
        protocol=f"{network}, {size} px" if network else score.metric,
        class_name=score.class_name,
        higher_is_better=score.higher_is_better,
        shown="not computed" if score.value is None else number(score.value),
        n_real=score.n_real,
        n_fake=score.n_fake,
        note=score.note,
        plot=_plot(score),
        spoken=f"{interval(score.low, score.high)}; real against real {interval(score.floor_low, score.floor_high)}",
    )


def _plot(score: Score) -> _Plot | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    known = [score.value, score.low, score.high]
    known += [v for v in (score.floor_low, score.floor_high) if v is not None]
    start, end = min(0.0, *known), max(known) * 1.06 or 1.0
    place = {v: round(8 + (v - start) / ((end - start) or 1.0) * (_WIDTH - 16), 1) for v in known}
    floor = None
    if score.floor_low is not None and score.floor_high is not None:
        floor = (place[score.floor_low], max(place[score.floor_high] - place[score.floor_low], 3.0))
    return _Plot(place[score.low], place[score.value], place[score.high], floor)
