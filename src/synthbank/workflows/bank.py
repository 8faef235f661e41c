"""An open bank: catalogue, object store and run folders, wherever the settings put them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthbank.catalogue import Catalogue
from synthbank.errors import NotFoundError
from synthbank.settings import Settings
from synthbank.storage import ObjectStore


@dataclass(frozen=True)
class Bank:
    """What every workflow works on."""

    settings: Settings
    catalogue: Catalogue
    store: ObjectStore

    @property
    def runs_dir(self) -> Path:
        """Local work folder of training runs."""
        return self.settings.runs_dir


@contextmanager
def open_bank(settings: Settings, *, create: bool = True) -> Iterator[Bank]:
    """Open a bank, with its catalogue at the newest schema.

    Args:
        settings: where its parts are.
        create: make what is missing; `False`: a bank that is not there is an error.

    Raises:
        NotFoundError: there is no bank and `create` is `False`.
    """
    local_catalogue = settings.database_url is None
    if local_catalogue and not create and not (settings.home / "catalogue.db").exists():
        raise NotFoundError(
            "There is no bank here",
            got=str(settings.home),
            next_step="make one with 'synthbank ingest FOLDER --name NAME', or name another with --bank",
        )
    if local_catalogue:
        settings.home.mkdir(parents=True, exist_ok=True)
    catalogue = Catalogue(settings.catalogue_url)
    try:
        catalogue.migrate()
        yield Bank(settings, catalogue, ObjectStore(settings.objects_url))
    finally:
        catalogue.close()
