"""Published models and the originals that shaped them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from synthbank.catalogue.read import first, records
from synthbank.catalogue.rows import ModelRow
from synthbank.catalogue.tables import Model, ModelOriginal, Original, now
from synthbank.catalogue.write import checked, insert_new, table_of
from synthbank.errors import StateError, UnknownNameError
from synthbank.records import ImageSpec

PUBLISHED = "published"
WITHDRAWN = "withdrawn"
_MODEL = table_of(Model)


def publish_model(
    name: str,
    *,
    session: Session,
    architecture: str,
    class_names: Sequence[str],
    spec: ImageSpec,
    key: str,
    sha256: str,
    card: Mapping[str, Any],
    run_id: str | None = None,
    snapshot_id: int | None = None,
    dataset_id: int | None = None,
    source: str | None = None,
    originals: Iterable[str] = (),
) -> ModelRow:
    """Record a model. The same weights under the same name again add only originals that were not recorded before.

    Args:
        name: the model's name and id.
        session: open session.
        architecture: registered name.
        class_names: in the order of the generator's labels.
        spec: size and channels of its images.
        key: folder of its files.
        sha256: of its weights.
        card: the model card.
        run_id: its training run; `None` for a model from elsewhere.
        snapshot_id: the chosen snapshot.
        dataset_id: what it was trained on.
        source: where it was imported from; `None`: trained in this bank.
        originals: pixel hashes of all originals that shaped it: those it was trained on, those that chose its snapshot,
            and those that shaped the weights it started from.

    Raises:
        StateError: the name belongs to other weights, the model was withdrawn, or one of its originals was.
    """
    hashes = sorted(set(originals))
    known = published_before(name, sha256, session=session)
    if known is not None:
        # a model that an earlier version imported may lack its originals, and withdrawal follows these rows
        add_model_originals(name, hashes, session=session)
        return known
    _refuse_withdrawn(session, name, hashes)
    row = {
        "id": name,
        "run_id": run_id,
        "snapshot_id": snapshot_id,
        "dataset_id": dataset_id,
        "architecture": architecture,
        "class_names": class_names,
        "size": spec.size,
        "channels": spec.channels,
        "key": key,
        "sha256": sha256,
        "card": card,
        "status": PUBLISHED,
        "created_at": now(),
        "source": source,
    }
    insert_new(session, Model, [row])
    add_model_originals(name, hashes, session=session)
    return get_model(name, session=session)


def add_model_originals(name: str, originals: Iterable[str], *, session: Session) -> None:
    """Record originals (pixel hashes) that shaped a model; those that are recorded already stay.

    Raises:
        StateError: one of them was withdrawn.
    """
    hashes = sorted(set(originals) - set(model_originals(name, session=session)))
    _refuse_withdrawn(session, name, hashes)
    insert_new(session, ModelOriginal, [{"model_id": name, "original_sha256": value} for value in hashes])


def published_before(name: str, sha256: str, *, session: Session) -> ModelRow | None:
    """The model that holds these weights under this name; `None`: the name is free. Ask before any file is written.

    Raises:
        StateError: the name belongs to other weights, or to a model that was withdrawn.
    """
    known = find_model(name, session=session)
    if known is None:
        return None
    if known.status == WITHDRAWN:
        raise StateError("This model was withdrawn", got=name, next_step="publish under another name", model=name)
    if known.sha256 != sha256:
        raise StateError(
            "This model name is taken by other weights",
            got=name,
            next_step="choose another name; a published model never changes",
            model=name,
        )
    return known


def find_model(name: str, *, session: Session) -> ModelRow | None:
    """A model by name; `None`: there is none."""
    return first(session, ModelRow, select(_MODEL).where(_MODEL.c.id == name))


def get_model(name: str, *, session: Session) -> ModelRow:
    """A model by name; raises `UnknownNameError` with the nearest name."""
    row = find_model(name, session=session)
    if row is None:
        known = session.scalars(select(_MODEL.c.id)).all()
        raise UnknownNameError("model", name, known, next_step="publish one with `synthbank train`")
    return row


def list_models(*, session: Session, status: str | None = None) -> list[ModelRow]:
    """Models, newest first; `status` is "published", "withdrawn" or `None` for all."""
    statement = select(_MODEL).order_by(_MODEL.c.created_at.desc(), _MODEL.c.id)
    if status is not None:
        statement = statement.where(_MODEL.c.status == status)
    return records(session, ModelRow, statement)


def update_model_card(name: str, card: Mapping[str, Any], *, session: Session) -> ModelRow:
    """Replace a model's card, as after an evaluation."""
    get_model(name, session=session)
    session.execute(update(_MODEL).where(_MODEL.c.id == name).values(checked(_MODEL, {"card": card})))
    return get_model(name, session=session)


def model_originals(name: str, *, session: Session) -> list[str]:
    """Sorted pixel hashes of the originals that shaped a model."""
    column = ModelOriginal.original_sha256
    return sorted(session.scalars(select(column).where(ModelOriginal.model_id == name)))


def require_published(name: str, *, session: Session) -> ModelRow:
    """The model, held against a withdrawal until the session ends; raises `StateError` when it is withdrawn."""
    statement = select(_MODEL.c.status).where(_MODEL.c.id == name).with_for_update(read=True)
    if session.scalar(statement) == WITHDRAWN:
        raise StateError(
            "This model was withdrawn, because one of its originals was",
            got=name,
            next_step="train and publish a new model without that original",
            model=name,
        )
    return get_model(name, session=session)


def _refuse_withdrawn(session: Session, name: str, hashes: Sequence[str]) -> None:
    statement = select(Original.sha256).where(Original.withdrawn_at.is_not(None)).distinct()
    gone = sorted({value for value in session.scalars(statement) if value is not None} & set(hashes))
    if gone:
        raise StateError(
            f"Model '{name}' depends on an original that was withdrawn",
            got=gone[:3],
            next_step="train again: withdrawn originals are left out, and initial weights that know them are refused",
            model=name,
        )
