"""The same pixels twice, under one class or under two."""

from __future__ import annotations

from collections.abc import Sequence

from synthbank.data.quality._base import Candidate, SetFinding
from synthbank.data.quality._registry import checks
from synthbank.fingerprint import pixel_sha256
from synthbank.records import Finding, Severity


@checks.register("exact_duplicate", stage="set", severity="reject", limit="equal pixels")
def exact_duplicate(candidates: Sequence[Candidate]) -> list[SetFinding]:
    """Reject every repetition; the same image under two classes is a label conflict that both report."""
    first: dict[str, int] = {}
    findings: list[SetFinding] = []
    for index, candidate in enumerate(candidates):
        original = first.setdefault(pixel_sha256(candidate.pixels), index)
        if original == index:
            continue
        kept = candidates[original]
        if kept.class_name == candidate.class_name:
            message = f"same pixels as '{kept.name}'"
            findings.append(SetFinding(index, Finding("exact_duplicate", Severity.REJECT, message), original))
        else:
            findings += _conflict(index, candidate, original, kept)
    return findings


def _conflict(index: int, candidate: Candidate, original: int, kept: Candidate) -> list[SetFinding]:
    message = (
        f"'{kept.name}' of class '{kept.class_name}' and '{candidate.name}' of class '{candidate.class_name}' "
        "are the same image; the first was kept, check its label"
    )
    return [
        SetFinding(original, Finding("label_conflict", Severity.WARN, message), index),
        SetFinding(index, Finding("label_conflict", Severity.REJECT, message), original),
    ]
