"""The files of `init`: settings, a price table, and Terraform for the resources in the settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from synthbank.cloud import prices
from synthbank.cloud.building import source_prefix
from synthbank.cloud.settings import FILE, CloudSettings, dump_settings
from synthbank.errors import StateError

FOLDER = "terraform"
_SHARED = ("project", "region", "bucket", "prefix", "repository", "service_account", "database_instance", "database")


def setup_files(settings: CloudSettings, people: Sequence[str] = ()) -> dict[str, str]:
    """Text of each file, by its path below the folder of `init`.

    Args:
        settings: names of the resources.
        people: users of the bank, such as `user:ada@example.org`.
    """
    values = {name: getattr(settings, name) for name in _SHARED}
    values |= {
        "build_prefix": source_prefix(settings),
        "labels": settings.labels | {"synthbank": settings.prefix},
        "people": list(people),
    }
    return {
        FILE: dump_settings(settings),
        prices.FILE: prices.example_prices(),
        f"{FOLDER}/main.tf": resources.files("synthbank.cloud").joinpath(FOLDER, "main.tf").read_text(),
        f"{FOLDER}/terraform.tfvars.json": json.dumps(values, indent=2) + "\n",
    }


def write_files(folder: Path, files: dict[str, str], *, force: bool) -> list[Path]:
    """Write the files; a file with the same text is left alone.

    Returns:
        Paths of the written files.

    Raises:
        StateError: a file is there with another text, and `force` is not given. Nothing is written then.
    """
    changed = {folder / name: text for name, text in files.items() if _text(folder / name) != text}
    taken = sorted(str(path) for path in changed if path.exists())
    if taken and not force:
        raise StateError(
            "These files are there already, with another text", got=taken, next_step="--force replaces them"
        )
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(changed)


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
