"""Training runs as somebody who watches them wants them: history and sheets of samples. Loads no network."""

from __future__ import annotations

import json
import re
from typing import Any

from synthbank.errors import NotFoundError
from synthbank.storage import layout
from synthbank.workflows.bank import Bank

_SHEET = re.compile(r"(\d{8})\.png")


def run_history(bank: Bank, run_id: str) -> list[dict[str, Any]]:
    """Every line of a run's history; empty where the run's folder is on another machine."""
    path = bank.runs_dir / layout.check_name(run_id, "run id") / "history.jsonl"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]  # the last may be half


def sample_steps(bank: Bank, run_id: str) -> list[int]:
    """Steps at which a sheet of samples was drawn, in order."""
    folder = bank.runs_dir / layout.check_name(run_id, "run id") / "grids"
    names = sorted(path.name for path in folder.glob("*.png")) if folder.is_dir() else []
    return [int(match[1]) for match in map(_SHEET.fullmatch, names) if match]


def sample_sheet(bank: Bank, run_id: str, step: int) -> bytes:
    """The sheet of one step, PNG."""
    path = bank.runs_dir / layout.check_name(run_id, "run id") / "grids" / f"{step:08d}.png"
    if not path.is_file():
        raise NotFoundError("There is no sheet of samples of this step", got=step)
    return path.read_bytes()
