"""Data sets, their originals and their affine expansion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import DatasetRow, Dependents, ExpansionRow, NewOriginal, OriginalRow
from synthbank.catalogue.tables import Dataset, GenerationJob, Image, Model, Original, TrainingRun
from synthbank.catalogue.tables import Expansion as ExpansionTable
from synthbank.catalogue.write import checked, insert_new, plain, table_of
from synthbank.errors import NotFoundError, OptionError, UnknownNameError
from synthbank.records import Expansion, ImageSpec, Split

_DATASET = table_of(Dataset)
_ORIGINAL = table_of(Original)
_EXPANSION = table_of(ExpansionTable)


def add_dataset(
    *,
    session: Session,
    name: str,
    class_names: Sequence[str],
    spec: ImageSpec,
    fingerprint: str,
    split_fingerprints: Mapping[str, str],
    originals: Sequence[NewOriginal],
    licence: str | None = None,
    source: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> DatasetRow:
    """Enter a data set with all its originals, as the next version of its name.

    Entering the same content again (fingerprint, splits and options of the newest version) returns that version.
    """
    newest = first(session, DatasetRow, _newest(name))
    content = (fingerprint, plain(split_fingerprints), _current(plain(options or {})))
    if newest is not None and (newest.fingerprint, newest.split_fingerprints, _current(newest.options)) == content:
        return newest
    row = {
        "name": name,
        "version": 1 if newest is None else newest.version + 1,
        "class_names": class_names,
        "size": spec.size,
        "channels": spec.channels,
        "microns_per_pixel": spec.microns_per_pixel,
        "fingerprint": fingerprint,
        "split_fingerprints": split_fingerprints,
        "licence": licence,
        "source": source,
        "options": options or {},
    }
    identity = session.execute(insert(_DATASET).values(checked(_DATASET, row)).returning(_DATASET.c.id)).scalar_one()
    _add_originals(session, identity, originals)
    return get_dataset_by_id(identity, session=session)


def get_dataset(name: str, version: int | None = None, *, session: Session) -> DatasetRow:
    """A data set by name; `version=None` is the newest."""
    statement = _newest(name)
    if version is not None:
        statement = statement.where(_DATASET.c.version == version)
    row = first(session, DatasetRow, statement)
    if row is not None:
        return row
    known = session.scalars(select(_DATASET.c.name).distinct()).all()
    if name not in known:
        raise UnknownNameError("data set", name, known, next_step="enter one with `synthbank ingest`")
    versions = session.scalars(select(_DATASET.c.version).where(_DATASET.c.name == name)).all()
    raise NotFoundError(f"Data set '{name}' has no such version", got=version, allowed=sorted(versions))


def get_dataset_by_id(dataset_id: int, *, session: Session) -> DatasetRow:
    """A data set by its number."""
    row = first(session, DatasetRow, select(_DATASET).where(_DATASET.c.id == dataset_id))
    if row is None:
        raise NotFoundError("There is no such data set", got=dataset_id, next_step="see `synthbank catalogue ls`")
    return row


def list_datasets(*, session: Session) -> list[DatasetRow]:
    """Every version of every data set, by name and version."""
    return records(session, DatasetRow, select(_DATASET).order_by(_DATASET.c.name, _DATASET.c.version))


def originals(
    dataset_id: int,
    *,
    session: Session,
    split: Split | str | None = None,
    accepted: bool | None = True,
    withdrawn: bool | None = False,
) -> list[OriginalRow]:
    """Originals of a data set, in the order in which they were entered.

    Args:
        dataset_id: number of the data set.
        session: open session.
        split: one split only; `None`: all.
        accepted: `None`: also those that the quality checks rejected.
        withdrawn: `None`: also those that were withdrawn later.
    """
    statement = select(_ORIGINAL).where(_ORIGINAL.c.dataset_id == dataset_id).order_by(_ORIGINAL.c.id)
    if split is not None:
        statement = statement.where(_ORIGINAL.c.split == str(split))
    if accepted is not None:
        statement = statement.where(_ORIGINAL.c.accepted.is_(accepted))
    if withdrawn is not None:
        is_null = _ORIGINAL.c.withdrawn_at.is_(None)
        statement = statement.where(~is_null if withdrawn else is_null)
    return records(session, OriginalRow, statement)


def split_counts(dataset_id: int, *, session: Session) -> dict[str, dict[str, int]]:
    """Class name to split to number of accepted originals that were not withdrawn."""
    columns = (_ORIGINAL.c.class_name, _ORIGINAL.c.split)
    where = (_ORIGINAL.c.dataset_id == dataset_id, _ORIGINAL.c.accepted, _ORIGINAL.c.withdrawn_at.is_(None))
    statement = select(*columns, func.count()).where(*where).group_by(*columns).order_by(*columns)
    counts: dict[str, dict[str, int]] = {}
    for class_name, split, n in session.execute(statement):
        counts.setdefault(class_name or "", {})[split or ""] = n
    return counts


def get_original(sha256: str, *, session: Session) -> list[OriginalRow]:
    """Every entry of an original, over all data sets that hold it."""
    return records(session, OriginalRow, select(_ORIGINAL).where(_ORIGINAL.c.sha256 == sha256).order_by(_ORIGINAL.c.id))


def add_expansions(
    dataset_id: int, expansions: Sequence[Expansion], *, parents: Sequence[int], session: Session
) -> None:
    """Record the affine expansion of a data set in place of any earlier one.

    Args:
        dataset_id: number of the data set.
        expansions: one an augmented copy; `parent` is a position in `parents`.
        parents: ids of the training originals, in the order of the training list.
        session: open session.
    """
    outside = [e.parent for e in expansions if not 0 <= e.parent < len(parents)]
    if outside:
        raise OptionError("Expansion of an original that is not listed", got=outside[:5], allowed=f"< {len(parents)}")
    session.execute(delete(_EXPANSION).where(_EXPANSION.c.dataset_id == dataset_id))
    rows = [
        {"dataset_id": dataset_id, "parent_id": parents[e.parent], "position": i, "parameters": asdict(e.affine)}
        for i, e in enumerate(expansions)
    ]
    insert_new(session, ExpansionTable, rows)


def list_expansions(dataset_id: int, *, session: Session) -> list[ExpansionRow]:
    """The affine expansion of a data set, by position."""
    statement = select(_EXPANSION).where(_EXPANSION.c.dataset_id == dataset_id).order_by(_EXPANSION.c.position)
    return records(session, ExpansionRow, statement)


def dataset_dependents(dataset_id: int, *, session: Session) -> Dependents:
    """Runs, models, jobs and images that were made from a data set."""
    models = select(Model.id).where(Model.dataset_id == dataset_id)
    jobs = select(GenerationJob.id).where(GenerationJob.model_id.in_(models))
    runs = select(TrainingRun.id).where(TrainingRun.dataset_id == dataset_id)
    return Dependents(
        runs=tuple(sorted(session.scalars(runs))),
        models=tuple(sorted(session.scalars(models))),
        jobs=tuple(sorted(session.scalars(jobs))),
        n_images=session.scalar(select(func.count()).select_from(Image).where(Image.model_id.in_(models))) or 0,
    )


def _current(options: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options under today's names; data sets of earlier versions hold `keep_near_duplicates`."""
    others = {name: value for name, value in options.items() if name != "keep_near_duplicates"}
    kept = options.get("keep_near_duplicates", True)
    return {"near_duplicates": "join" if kept else "drop", "ungrouped": None, **others}


def _newest(name: str) -> Any:
    return select(_DATASET).where(_DATASET.c.name == name).order_by(_DATASET.c.version.desc())


def _add_originals(session: Session, dataset_id: int, entries: Sequence[NewOriginal]) -> None:
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise OptionError("Two originals of a data set have the same name", got=twice[:5], allowed="names used once")
    rows = [
        {
            **{field: getattr(entry, field) for field in NewOriginal.__slots__},
            "dataset_id": dataset_id,
            "findings": [asdict(finding) for finding in entry.findings],
        }
        for entry in entries
    ]
    insert_new(session, Original, rows)
