"""The page *Data*: every data set with its splits, its findings and the files that were left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from synthbank.catalogue import queries
from synthbank.catalogue.rows import DatasetRow, OriginalRow
from synthbank.records import Split
from synthbank.service.access import Viewer
from synthbank.service.pages.render import page
from synthbank.service.state import ServiceDep

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/data")
def data(service: ServiceDep, caller: Viewer) -> HTMLResponse:
    """Every data set: how it was split, and which files were left out."""
    with service.bank.catalogue.session(read_only=True) as session:
        datasets = [_dataset(row, session) for row in reversed(queries.list_datasets(session=session))]
    return page(
        "data",
        title="Data",
        here="/data",
        datasets=datasets,
        splits=[split.value for split in Split],
        shows_originals=service.settings.show_originals,
    )


@dataclass(frozen=True, slots=True)
class _Bar:
    """The share of one split in a stacked bar of width 100."""

    split: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class _Dataset:
    """A data set as the page shows it."""

    row: DatasetRow
    counts: dict[str, dict[str, int]]
    """Accepted originals by class and split."""
    bars: dict[str, list[_Bar]]
    n_groups: int
    n_expansions: int
    left_out: list[OriginalRow]
    findings: list[tuple[tuple[str, str], int]]
    """((check, severity), files), sorted."""


def _dataset(row: DatasetRow, session: Session) -> _Dataset:
    originals = queries.originals(row.id, accepted=None, withdrawn=None, session=session)
    counts = queries.split_counts(row.id, session=session)
    return _Dataset(
        row=row,
        counts=counts,
        bars={name: _bars(of_class) for name, of_class in counts.items()},
        n_groups=len({o.group_id for o in originals if o.accepted and o.group_id}),
        n_expansions=len(queries.list_expansions(row.id, session=session)),
        left_out=[o for o in originals if not o.accepted],
        findings=sorted(Counter((f.check, f.severity.value) for o in originals for f in o.findings).items()),
    )


def _bars(counts: dict[str, int]) -> list[_Bar]:
    total, x, bars = sum(counts.values()) or 1, 0.0, []
    for split in Split:
        width = 100.0 * counts.get(split.value, 0) / total
        bars.append(_Bar(split.value, round(x, 2), round(width, 2)))
        x += width
    return bars
