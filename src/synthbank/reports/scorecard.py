"""The scorecard: seven criteria for synthetic medical data, filled from the records, with what was not measured.

Source: Zamzmi et al. 2025, "Scorecard for synthetic medical data evaluation", Communications Engineering 4, 130
(arXiv 2406.11143): congruence, coverage, constraint, completeness, compliance, comprehension, consistency. The paper
names the criteria and leaves measures and limits to the user; those chosen here stand on each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from synthbank.records import Score
from synthbank.reports.content import ReportData
from synthbank.reports.measures import find_score, leading_network, parts_of
from synthbank.reports.verdict import FEW_HELD_OUT, Tone, interval, number

_CONTROL_WORDS = "training with affine augmentation alone"


class Met(StrEnum):
    """The verdict of a line or a criterion."""

    YES = "met"
    ROUGH = "met, on thin evidence"
    PARTLY = "met where measured"
    NO = "not met"
    UNKNOWN = "not measured"

    @property
    def tone(self) -> Tone:
        """How the page colours it."""
        tones = {Met.YES: Tone.FINE, Met.NO: Tone.PROBLEM, Met.UNKNOWN: Tone.UNKNOWN}
        return tones.get(self, Tone.CARE)


@dataclass(frozen=True)
class Line:
    """One measure of a criterion."""

    measure: str
    value: str
    """With its interval, in words."""
    threshold: str
    """What counts as met."""
    better: str
    """higher, lower or yes."""
    met: Met


@dataclass(frozen=True)
class Criterion:
    """One of the seven."""

    name: str
    question: str
    met: Met
    lines: tuple[Line, ...]
    not_measured: tuple[str, ...]


@dataclass(frozen=True)
class Scorecard:
    """All seven, and what the images did to a classifier, which the seven do not ask."""

    job: str
    model: str
    criteria: tuple[Criterion, ...]
    usefulness: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def scorecard(data: ReportData) -> Scorecard:
    """The scorecard of a job, from what its report shows."""
    parts = (
        _congruence(data),
        _coverage(data),
        _constraint(data),
        _completeness(data),
        _compliance(data),
        _comprehension(data),
        _consistency(data),
    )
    return Scorecard(data.job.id, data.training.model, parts, _usefulness(data.evidence))


def _congruence(data: ReportData) -> Criterion:
    lines = [
        _beside_floor("Kernel distance (KID)", find_score(data.scores, "kid")),
        _beside_floor("Fréchet distance", find_score(data.scores, "fd")),
        _beside_floor("Precision", find_score(data.scores, "precision")),
    ]
    return _criterion(
        "Congruence",
        "Do the synthetic images follow the distribution of the originals?",
        lines,
        ["Distances in the feature space of a network trained on such tissue", "Visual quality as an expert sees it"],
    )


def _coverage(data: ReportData) -> Criterion:
    lines = [
        _beside_floor("Coverage", find_score(data.scores, "coverage")),
        _beside_floor("Recall", find_score(data.scores, "recall")),
        _beside_floor("Coverage of rare modes", _first(data.evidence, "rare-coverage-")),
    ]
    return _criterion(
        "Coverage",
        "Do they span the variety of the originals, rare kinds included?",
        lines,
        ["Variety that the originals themselves do not show"],
    )


def _constraint(data: ReportData) -> Criterion:
    lines = [_beside_floor("A real-trained classifier agrees", _first(data.evidence, "label-agreement-"))]
    missing = ["Whether each structure is biologically possible: no measure here sees it"]
    readers = _first(data.evidence, "reader-accuracy-")
    if readers is None or readers.low is None:
        missing.append("The judgement of readers: no reader study has answers for this job")
    else:
        met = Met.NO if readers.low > 0.5 else _thin(readers.n_real)
        threshold = "interval reaches 0.5, guessing"
        lines.append(Line("Accuracy of readers", _with_interval(readers), threshold, "lower", met))
    return _criterion("Constraint", "Do they keep to what biology and the label allow?", lines, missing)


def _completeness(data: ReportData) -> Criterion:
    job, present = data.job, {name for name, accepted, _ in data.gate.counts if accepted}
    missing = [name for name in data.class_names if name not in present]
    lines = [
        _fact(
            "Images accepted of those asked for",
            f"{job.n_accepted} of {job.n_requested}",
            "all of them",
            job.n_accepted >= job.n_requested,
        ),
        _fact(
            "Classes with images",
            f"{len(data.class_names) - len(missing)} of {len(data.class_names)}",
            "every class of the model",
            not missing,
        ),
    ]
    if data.data is not None:
        wanted = [c.class_name for c in data.data.counts if c.train]
        lines.append(
            _fact(
                "Classes of the originals that the model knows",
                f"{sum(name in data.class_names for name in wanted)} of {len(wanted)}",
                "all of them",
                all(name in data.class_names for name in wanted),
            )
        )
    return _criterion(
        "Completeness",
        "Is everything there that the task needs?",
        lines,
        ["Clinical variables beside the class (age, grade, stain protocol): the images carry none"],
    )


def _compliance(data: ReportData) -> Criterion:
    part, gate = data.data, data.gate
    lines = [
        _fact("Screened against copies of originals", "yes" if gate.screened else "no", "yes", gate.screened),
        _beside_floor("Copy rate", find_score(data.scores, "copy-rate")),
        _fact(
            "Withdrawn originals behind the model",
            "yes" if data.training.withdrawn else "none",
            "none",
            not data.training.withdrawn,
        ),
    ]
    if part is not None:
        lines += [
            _fact("Licence of the originals", part.licence or "not recorded", "recorded", bool(part.licence)),
            _fact(
                "Groups on both sides of the split",
                str(part.n_groups_across_splits),
                "0",
                not part.n_groups_across_splits,
            ),
        ]
    return _criterion(
        "Compliance",
        "Are privacy, law and standards respected?",
        lines,
        ["A formal privacy guarantee", "Consent and legal review of the originals"],
    )


def _comprehension(data: ReportData) -> Criterion:
    training, part = data.training, data.data
    known = {
        "architecture and configuration": bool(training.config),
        "training run": training.run_id is not None,
        "seed of every image": True,  # a column that cannot be empty
        "software versions": bool(data.versions),
        "source of the originals": part is not None and bool(part.source),
        "counts and splits of the originals": part is not None,
        "scores with intervals": bool(data.scores),
        "commands that repeat it": bool(data.commands),
    }
    missing = [name for name, there in known.items() if not there]
    lines = [
        _fact(
            "Facts a user needs, on record", f"{len(known) - len(missing)} of {len(known)}", "all of them", not missing
        ),
    ]
    gaps = [f"On record is no {name}" for name in missing]
    return _criterion(
        "Comprehension",
        "Can a stranger understand how they were made and judge them?",
        lines,
        [*gaps, "Whether readers understood the documents"],
    )


def _consistency(data: ReportData) -> Criterion:
    lines = [
        _beside_floor(f"Kernel distance, class {name}", find_score(data.scores, "kid", name))
        for name in data.class_names
        if len(data.class_names) > 1
    ]
    groups = [s for s in data.evidence if s.metric.startswith("group-coverage-") and s.value is not None]
    if groups:
        worst = min(groups, key=lambda s: (s.value, s.group_name))
        mean = sum(s.value or 0.0 for s in groups) / len(groups)
        met = Met.NO if worst.high is not None and worst.high < 0.5 * mean else _thin(worst.n_real)
        lines.append(
            Line(
                f"Coverage of the worst group ({worst.group_name})",
                _with_interval(worst),
                f"not below half of the mean group ({number(0.5 * mean)})",
                "higher",
                met,
            )
        )
    lines += [
        _gain_line(s, f"Gain under {parts_of(s.metric)[0].partition('@')[2]}, {parts_of(s.metric)[1]}")
        for s in data.evidence
        if s.metric.startswith("gain-macro-f1@") and parts_of(s.metric)[2] == "both"
    ]
    missing = ["Stability over time"]
    if not groups:
        missing.append("Single groups: too few originals in each, or not asked for")
    if not any("@" in s.metric and s.metric.startswith("gain-") for s in data.evidence):
        missing.append("Other stain, focus, compression or light (synthbank utility --shifts)")
    return _criterion("Consistency", "Are they as good in every class, group and condition?", lines, missing)


def _usefulness(evidence: Sequence[Score]) -> tuple[Line, ...]:
    """Gain of a classifier over its control, one line a classifier."""
    wanted = [s for s in evidence if s.metric.startswith("gain-macro-f1-") and parts_of(s.metric)[2] == "both"]
    return tuple(_gain_line(s, f"Gain in macro-F1, {parts_of(s.metric)[1]}") for s in wanted)


def _gain_line(score: Score, measure: str) -> Line:
    threshold = f"interval not wholly below 0, the level of {_CONTROL_WORDS}"
    if score.low is None or score.high is None or score.value is None:
        return Line(measure, score.note or "not computed", threshold, "higher", Met.UNKNOWN)
    word = "helps" if score.low > 0 else "harms" if score.high < 0 else "no difference shown"
    met = Met.NO if score.high < 0 else Met.YES if score.low > 0 else Met.ROUGH
    return Line(measure, f"{_with_interval(score)}: {word}", threshold, "higher", met)


def _beside_floor(measure: str, score: Score | None) -> Line:
    """Met unless the whole interval lies on the bad side of the floor's."""
    higher = bool(score and score.higher_is_better)
    better = "higher" if higher or measure.startswith(("Cov", "Rec", "Pre", "A ")) else "lower"
    unknown = "interval reaches that of real against real"
    if score is None or score.value is None:
        return Line(measure, "not computed", unknown, better, Met.UNKNOWN)
    shown = _with_interval(score)
    floor = interval(score.floor_low, score.floor_high)
    if score.low is None or score.high is None or score.floor_low is None or score.floor_high is None:
        return Line(measure, shown, unknown, better, Met.UNKNOWN)
    bad = score.high < score.floor_low if higher else score.low > score.floor_high
    side = "below" if higher else "above"
    return Line(
        measure,
        shown,
        f"interval not wholly {side} real against real, {floor}",
        better,
        Met.NO if bad else _thin(score.n_real),
    )


def _thin(n_real: int) -> Met:
    return Met.ROUGH if n_real < FEW_HELD_OUT else Met.YES


def _fact(measure: str, value: str, threshold: str, met: bool) -> Line:
    return Line(measure, value, threshold, "yes", Met.YES if met else Met.NO)


def _criterion(name: str, question: str, lines: Sequence[Line], not_measured: Sequence[str]) -> Criterion:
    found = {line.met for line in lines}
    if Met.NO in found:
        met = Met.NO
    elif not found or found == {Met.UNKNOWN}:
        met = Met.UNKNOWN
    elif Met.UNKNOWN in found:
        met = Met.PARTLY
    else:
        met = Met.ROUGH if Met.ROUGH in found else Met.YES
    return Criterion(name, question, met, tuple(lines), tuple(not_measured))


def _first(scores: Sequence[Score], start: str) -> Score | None:
    """The score over all classes and groups whose id begins so; the leading network's where there are several."""
    network = leading_network(scores)
    found = [s for s in scores if s.metric.startswith(start) and s.class_name is None and s.group_name is None]
    return next((s for s in found if parts_of(s.metric)[1] == network), found[0] if found else None)


def _with_interval(score: Score) -> str:
    assert score.value is not None
    return f"{number(score.value)} (95%: {interval(score.low, score.high)})"
