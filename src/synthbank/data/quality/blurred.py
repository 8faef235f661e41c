"""Images out of focus."""

from __future__ import annotations

import numpy as np

from synthbank.data.modes import luma
from synthbank.data.quality._base import Candidate
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity

SHARPNESS_LIMIT = 0.006
"""Variance of the Laplacian over the variance of the grey levels; sharp cells and tissue stay above 0.007."""
_LEAST_VARIANCE = 4.0


@checks.register("blurred", stage="fitted", severity="warn", limit=SHARPNESS_LIMIT)
def blurred(candidate: Candidate) -> Finding | None:
    """Variance of the Laplacian relative to the contrast; blank images are left to the check `blank`."""
    grey = luma(candidate.pixels)
    contrast = float(grey.var())
    if contrast < _LEAST_VARIANCE:
        return None
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    sharpness = float(np.var(laplacian)) / contrast
    if sharpness >= SHARPNESS_LIMIT:
        return None
    message = f"little detail: sharpness {sharpness:.4f}, at least {SHARPNESS_LIMIT:g} expected"
    return Finding("blurred", Severity.WARN, message, sharpness)
