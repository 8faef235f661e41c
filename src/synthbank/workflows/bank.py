"""An open bank: catalogue, object store and run folders, wherever the settings put them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthbank.catalogue import Catalogue
from synthbank.errors import NotFoundError, SetupError
from synthbank.settings import Settings
from synthbank.storage import ObjectStore


@dataclass(frozen=True)
class Bank:
    """Settings, catalogue and store of an open bank, as every workflow takes them."""

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
        SetupError: its folder cannot be made, or its catalogue cannot be used.
    """
    if (warning := untested_system()) is not None:
        warnings.warn(warning, UntestedSystemWarning, stacklevel=3)
    local_catalogue = settings.database_url is None
    if local_catalogue and not create and not (settings.home / "catalogue.db").exists():
        raise NotFoundError(
            "There is no bank here",
            got=str(settings.home),
            next_step="make one with 'synthbank ingest FOLDER --name NAME', or name another with --bank",
        )
    if local_catalogue:
        _make_folder(settings.home)
    catalogue = Catalogue(settings.catalogue_url)
    try:
        catalogue.migrate()
        yield Bank(settings, catalogue, ObjectStore(settings.objects_url))
    finally:
        catalogue.close()


class UntestedSystemWarning(UserWarning):
    """SynthBank was not tested on this operating system."""


def untested_system() -> str | None:
    """The warning for an operating system that SynthBank was not tested on; `None`: it was tested on this one."""
    system = platform.system()
    if system in ("Linux", "Darwin"):
        return None
    return f"SynthBank is not tested on {system}; it is on Linux and macOS, also inside WSL or a container"


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            "The folder of the bank cannot be made",
            got=f"{home}: {error.strerror}",
            next_step="name another place with --bank or SYNTHBANK_HOME",
        ) from error
