"""The table of regimes: the training images of each classifier, its scores, and its gain over the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.records import Score
from synthbank.reports.numbers import interval
from synthbank.reports.scores import parts_of

EVIDENCE = ("utility-", "gain-", "rare-coverage-", "common-coverage-", "group-coverage-", "label-agreement-", "reader-")
"""Beginnings of the ids of scores that compare no feature distributions and stand in sections of their own."""


@dataclass(frozen=True)
class RegimeRow:
    """One regime of one classifier."""

    cell: str
    words: str
    value: float | None
    interval: str
    balanced: float | None
    auc: float | None
    ece: float | None
    gain: float | None
    gain_interval: str
    p_value: float | None
    conclusion: str
    """helps, harms or no difference shown; empty for the control."""


@dataclass(frozen=True)
class RegimeGroup:
    """All regimes of one classifier."""

    classifier: str
    how: str
    """Seeds, folds and method."""
    rows: tuple[RegimeRow, ...]


def is_evidence(score: Score) -> bool:
    """The score belongs to utility or bias, not to the table of distances."""
    return score.metric.startswith(EVIDENCE)


def regime_groups(scores: Sequence[Score]) -> tuple[RegimeGroup, ...]:
    """Tables of all classifiers, from the scores of utility among others."""
    known = {s.metric: s for s in scores if s.class_name is None and s.group_name is None}
    leads = [s for m, s in known.items() if m.startswith("utility-macro-f1-")]
    groups = []
    for classifier in sorted({parts_of(s.metric)[1] for s in leads}):
        own = sorted((s for s in leads if parts_of(s.metric)[1] == classifier), key=_regime_place)
        groups.append(RegimeGroup(classifier, _method_text(own[0]), tuple(_row(s, known) for s in own)))
    return tuple(groups)


WORDS = {
    "real": "originals only",
    "affine": "originals, affine augmentation",
    "synthetic": "originals and synthetic images",
    "both": "originals and synthetic images, affine augmentation",
    "selected": "originals and selected synthetic images, affine augmentation",
    "only": "synthetic images only",
}
"""Training images of each regime, in the order of tables."""
_REGIMES = tuple(WORDS)


def cell_in_words(name: str) -> str:
    """A cell's name for people.

    >>> cell_in_words("both@25%")
    'originals and synthetic images, affine augmentation, 25% of the originals'
    """
    regime, _, size = name.partition("@")
    words = WORDS.get(regime, regime)
    if size.endswith("%"):
        return f"{words}, {size} of the originals"
    return f"{words}, {size.removeprefix('x')} synthetic images an original" if size else words


def _regime_place(score: Score) -> tuple[bool, int, str]:
    cell = parts_of(score.metric)[2]
    regime, mark, size = cell.partition("@")
    return bool(mark), _REGIMES.index(regime) if regime in _REGIMES else len(_REGIMES), size


def _method_text(score: Score) -> str:
    details = score.details or {}
    folds = details.get("folds", 1)
    tested = f"{folds} folds" if folds > 1 else "one test set"
    return f"{details.get('seeds', '?')} seeds, {tested}, {score.n_real} originals tested; {details.get('method', '')}"


def _row(score: Score, known: dict[str, Score]) -> RegimeRow:
    _, classifier, cell = parts_of(score.metric)
    gain = known.get(f"gain-macro-f1-{classifier}-{cell}")
    details = (gain.details if gain is not None else None) or {}

    def value(name: str) -> float | None:
        score_of_cell = known.get(f"utility-{name}-{classifier}-{cell}")
        return None if score_of_cell is None else score_of_cell.value

    return RegimeRow(
        cell=cell,
        words=cell_in_words(cell),
        value=score.value,
        interval=interval(score.low, score.high),
        balanced=value("balanced-accuracy"),
        auc=value("auc"),
        ece=value("ece"),
        gain=None if gain is None else gain.value,
        gain_interval="the control" if gain is None else interval(gain.low, gain.high),
        p_value=details.get("p_value"),
        conclusion=str(details.get("verdict", "")),
    )
