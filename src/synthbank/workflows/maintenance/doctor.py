"""Examine the machine: what works, what is missing, and what that means."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from synthbank.errors import SynthBankError
from synthbank.models import load_feature_network
from synthbank.settings import Settings
from synthbank.workflows.bank import open_bank, untested_system

_DISK_GB = 2.0


@dataclass(frozen=True)
class Examined:
    """One thing that was looked at."""

    what: str
    state: str
    """"ok", "note" (works without it) or "broken"."""
    found: str


def examine(settings: Settings) -> list[Examined]:
    """Look at everything; nothing is changed, and no check stops another."""
    checks: list[tuple[str, Callable[[Settings], tuple[str, str]]]] = [
        ("system", _system),
        ("Python", _python),
        ("torch", _torch),
        ("accelerator", _accelerator),
        ("feature network lite0", lambda _: _network("lite0")),
        ("feature network lite1", lambda _: _network("lite1")),
        ("Inception weights", _inception),
        ("memory", _memory),
        ("disk", _disk),
        ("bank", _bank),
    ]
    return [_examined(what, check, settings) for what, check in checks]


def _examined(what: str, check: Callable[[Settings], tuple[str, str]], settings: Settings) -> Examined:
    try:
        state, found = check(settings)
    except SynthBankError as error:
        state, found = "broken", error.message
    return Examined(what, state, found)


def _system(_: Settings) -> tuple[str, str]:
    warning = untested_system()
    return ("ok", platform.platform()) if warning is None else ("note", f"{platform.platform()}: {warning}")


def _python(_: Settings) -> tuple[str, str]:
    good = (3, 11) <= sys.version_info[:2] <= (3, 14)
    return ("ok" if good else "note"), platform.python_version()


def _torch(_: Settings) -> tuple[str, str]:
    return "ok", f"{torch.__version__}, {torch.get_num_threads()} threads"


def _accelerator(_: Settings) -> tuple[str, str]:
    if torch.cuda.is_available():
        return "ok", torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return "ok", "Apple GPU"
    return "note", "none: training runs on the CPU (minutes at 64 pixels, hours at 256)"


def _network(name: str) -> tuple[str, str]:
    network = load_feature_network(name)
    return "ok", f"{network.dim} features, weights match their hash"


def _inception(settings: Settings) -> tuple[str, str]:
    if settings.inception is None:
        return "note", "not given: FID and Inception Score are not computed (SYNTHBANK_INCEPTION)"
    found = settings.inception.is_file()
    return ("ok" if found else "broken"), str(settings.inception)


def _memory(_: Settings) -> tuple[str, str]:
    if not hasattr(os, "sysconf"):
        return "note", "not known on this system"
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return ("ok" if gigabytes >= 4 else "note"), f"{gigabytes:.1f} GB (the 64-pixel demo needs less than 4)"


def _disk(settings: Settings) -> tuple[str, str]:
    place = settings.home.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    return ("ok" if free >= _DISK_GB else "broken"), f"{free:.0f} GB free at {place}"


def _bank(settings: Settings) -> tuple[str, str]:
    if settings.database_url is None and not (settings.home / "catalogue.db").exists():
        return "note", f"none yet at {settings.home} (it is made by the first ingest)"
    with open_bank(settings, create=False) as bank:
        version = bank.catalogue.schema_version()
    return "ok", f"{settings.home}, schema {version}"
