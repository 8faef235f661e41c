"""The history of a training run: one JSON line an event, read and written without any network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from synthbank.records import TrainEvent
from synthbank.storage.local import write_atomic


class History:
    """The events of a run, one JSON line each, in `history.jsonl`.

    Args:
        folder: of the run; no event where it or the file is missing.
    """

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
        """Drop every event later than `after_step`: a run that goes back writes them again.

        Changes of the number of threads stay: the run repeats them, and does not write them again.

        Args:
            after_step: the last step whose events stay.
            only: kind of the events that are dropped; `None`: all kinds.
        """
        kept = [
            json.dumps(asdict(e)) + "\n"
            for e in self
            if e.step <= after_step or only not in (None, e.kind) or e.kind == "threads"
        ]
        write_atomic(self.path, "".join(kept).encode())
