"""Images that show (almost) nothing: empty glass, a closed shutter."""

from __future__ import annotations

import numpy as np

from synthbank.data.modes import luma
from synthbank.data.quality._base import Candidate
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity

RANGE_LIMIT = 8.0
"""Grey levels between the 1st and the 99th percentile."""


@checks.register("blank", stage="fitted", severity="reject for tiles, else warn", limit=RANGE_LIMIT)
def blank(candidate: Candidate) -> Finding | None:
    """Measure the spread of grey levels; empty tiles are left out, an empty file is for a person to judge."""
    low, high = np.percentile(luma(candidate.pixels), (1, 99))
    spread = float(high - low)
    if spread >= RANGE_LIMIT:
        return None
    severity = Severity.REJECT if candidate.fit == "tile" else Severity.WARN
    message = f"near-uniform: grey levels spread over {spread:.1f}, at least {RANGE_LIMIT:g} expected"
    return Finding("blank", severity, message, spread)
