"""A grey image in a colour set, or the reverse."""

from __future__ import annotations

from synthbank.data.quality._base import Candidate
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity

_NAMES = {1: "grey", 3: "colour"}


@checks.register("odd_colour_mode", stage="fitted", severity="convert", limit="the channels of the majority")
def odd_colour_mode(candidate: Candidate) -> Finding | None:
    """Say that a file's channels differ from those of the set, which most files (or an option) decided."""
    channels = candidate.pixels.shape[0]
    if candidate.native_channels == channels:
        return None
    message = f"{_NAMES[candidate.native_channels]} image in a {_NAMES[channels]} set; converted"
    return Finding("odd_colour_mode", Severity.CONVERT, message, float(candidate.native_channels))
