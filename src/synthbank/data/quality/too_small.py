"""Images smaller than what is asked for."""

from __future__ import annotations

from synthbank.data.quality._base import Candidate
from synthbank.data.quality._registry import checks
from synthbank.records import Finding, Severity


@checks.register("too_small", stage="native", severity="reject or warn", limit="half the target size, the target size")
def too_small(candidate: Candidate) -> Finding | None:
    """Reject below half the target side; warn below it, since the image is enlarged then.

    Crops and tiles are never enlarged: for them anything below the target is rejected.
    """
    height, width = candidate.pixels.shape[1:]
    side, target = min(height, width), candidate.target_size
    if side >= target:
        return None
    native = candidate.fit != "resize"
    if native or side < target / 2:
        least = target if native else target / 2
        message = f"{width}x{height} pixels; the shorter side must have at least {least:g}"
        return Finding("too_small", Severity.REJECT, message, float(side))
    return Finding("too_small", Severity.WARN, f"{width}x{height} pixels are enlarged to {target}", float(side))
