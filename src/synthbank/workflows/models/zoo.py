"""The zoo: models that come inside packages, and where their files lie.

`synthbank` itself holds one model of 64 pixels, without its discriminator. The package `synthbank-zoo` holds the other
models, and that discriminator with the whole card.
"""

from __future__ import annotations

import json
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from synthbank.errors import SetupError, UnknownNameError
from synthbank.records import ModelCard
from synthbank.workflows.models.record import CARD

ZOO = "zoo:"
"""Begins the source of a packaged model, as in `zoo:ihc-64`."""
ZOO_PACKAGE = "synthbank-zoo"
HOW_TO_INSTALL = f"pip install {ZOO_PACKAGE}, or in a checkout: pip install ./zoo"
_OF_ZOO_PACKAGE = ("cytology3-128", "cytology3-64", "histology128")


def zoo_names() -> list[str]:
    """Names of the packaged models that are installed, sorted."""
    return sorted({path.name for root in _roots() if root.is_dir() for path in root.iterdir() if _is_model(path)})


def missing_zoo_names() -> list[str]:
    """Names of the models that the package `synthbank-zoo` would add, sorted; empty: it is installed."""
    return sorted(set(_OF_ZOO_PACKAGE).difference(zoo_names()))


def zoo_cards() -> dict[str, ModelCard]:
    """The card of every packaged model that is installed."""
    return {name: ModelCard.from_json(json.loads((zoo_folders(name)[0] / CARD).read_text())) for name in zoo_names()}


def zoo_folders(name: str) -> list[Path]:
    """Folders that hold the files of a packaged model; of a file that lies in several, the first is taken.

    Raises:
        SetupError: the model comes with a package that is not installed.
        UnknownNameError: no such model.
    """
    folders = [root / name for root in _roots() if _is_model(root / name)]
    if folders:
        return folders
    known = [*zoo_names(), *missing_zoo_names()]
    if name in known:
        raise SetupError(
            f"This model comes with the package {ZOO_PACKAGE}, which is not installed",
            got=f"{ZOO}{name}",
            allowed=[f"{ZOO}{there}" for there in zoo_names()],
            next_step=HOW_TO_INSTALL,
        )
    raise UnknownNameError("zoo model", name, known, next_step="synthbank models ls --zoo")


def _roots() -> list[Path]:
    """Folders of models, the most complete first."""
    spec = find_spec(ZOO_PACKAGE.replace("-", "_"))
    locations = [] if spec is None else spec.submodule_search_locations or []
    return [*(Path(location) for location in locations), Path(str(resources.files("synthbank"))) / "zoo"]


def _is_model(path: Path) -> bool:
    return (path / CARD).is_file()
