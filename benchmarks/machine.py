"""What every benchmark says about the machine it ran on, and where it writes its JSON."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """A description of this machine, without names."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write_json(name: str, result: dict[str, Any]) -> Path:
    """Write `benchmarks/results/NAME.json`, with the machine; where it exists, the time joins the name.

    Results are append-only: no run replaces the file of another.
    """
    path = Path(__file__).parent / "results" / f"{name}.json"
    if path.exists():
        path = path.with_stem(f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(compact_json({"machine": machine(), **result}))
    return path


def compact_json(values: dict[str, Any]) -> str:
    """JSON with one line for each key: without indentation, the files are a third smaller."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
