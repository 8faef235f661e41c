"""The files of a run folder: training state, history; written so that a kill at any moment leaves a whole old one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from synthbank.models.weights import load_tensors, read_header, save_tensors
from synthbank.records import TrainEvent
from synthbank.storage import write_atomic

_STATE = "state.safetensors"


def write_state(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Replace the folder's training state."""
    write_atomic(folder / _STATE, save_tensors(tensors, header=values))


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The folder's training state; `None` where there is none yet. What killed writes left behind is removed."""
    for left_over in folder.rglob(".*.part"):  # of a write that was killed
        left_over.unlink()
    path = folder / _STATE
    if not path.exists():
        return None
    data = path.read_bytes()
    return load_tensors(data), read_header(data)


def state_size(folder: Path) -> int | None:
    """Side in pixels of the images that the folder's training state makes; `None` where there is none yet."""
    path = folder / _STATE
    return int(read_header(path.read_bytes())["size"]) if path.exists() else None


class History:
    """The events of a run, one JSON line each, in `history.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.jsonl"

    def append(self, event: TrainEvent) -> None:
        """Add one line."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(event)) + "\n")

    def __iter__(self) -> Iterator[TrainEvent]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with suppress(json.JSONDecodeError):  # a kill can cut the last line
                    yield TrainEvent(**json.loads(line))

    def truncate(self, *, after_step: int, only: str | None = None) -> None:
        """Drop what a run that goes back will write again: every event later than `after_step`.

        Args:
            after_step: the last step whose events stay.
            only: kind of the events that are dropped; `None`: all kinds.
        """
        kept = [json.dumps(asdict(e)) + "\n" for e in self if e.step <= after_step or only not in (None, e.kind)]
        write_atomic(self.path, "".join(kept).encode())
