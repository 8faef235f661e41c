"""The scorecard: seven criteria for synthetic medical data, filled from the records, with what was not measured.

Source: Zamzmi et al. 2025, "Scorecard for synthetic medical data evaluation", Communications Engineering 4, 130
(arXiv 2406.11143): congruence, coverage, constraint, completeness, compliance, comprehension, consistency. The paper
names the criteria and leaves measures and limits to the user; those chosen here stand on each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from synthbank.records import Score
from synthbank.reports.conclusion import FEW_TEST_IMAGES, Tone
from synthbank.reports.content import ReportData
from synthbank.reports.numbers import interval, number
from synthbank.reports.scores import find_score, leading_network, metric_spec, parts_of, title_of

_CONTROL_WORDS = "training with affine augmentation alone"


class Conclusion(StrEnum):
    """Conclusion from the evidence about a line or a criterion."""

    SHOWN = "shown"
    """The line keeps to its limit, with enough images behind it; the criterion does so in all its lines."""
    NOT_SHOWN = "not shown"
    """Nothing speaks against it, but too few images or an interval about zero do not show it."""
    PARTLY = "shown where measured"
    """For a criterion alone: some of its lines were not measured, and no other is a problem."""
    UNDECIDED = "undecided"
    """The measure is missing."""
    PROBLEM = "problem"
    """The whole interval lies on the bad side of the limit."""

    @property
    def tone(self) -> Tone:
        """The colour on the page."""
        tones = {
            Conclusion.SHOWN: Tone.FINE,
            Conclusion.PROBLEM: Tone.PROBLEM,
            Conclusion.UNDECIDED: Tone.UNKNOWN,
        }
        return tones.get(self, Tone.CARE)


@dataclass(frozen=True)
class Line:
    """One measure of a criterion."""

    measure: str
    value: str
    """With its interval, in words."""
    threshold: str
    """The limit, in words."""
    better: str
    """higher, lower or yes."""
    conclusion: Conclusion


@dataclass(frozen=True)
class Criterion:
    """One of the seven."""

    name: str
    question: str
    conclusion: Conclusion
    lines: tuple[Line, ...]
    not_measured: tuple[str, ...]


@dataclass(frozen=True)
class Scorecard:
    """All seven, and what the images did to a classifier, which the seven do not ask."""

    job: str
    model: str
    criteria: tuple[Criterion, ...]
    usefulness: tuple[Line, ...]

    def to_json(self) -> dict[str, object]:
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
        _floor_line("kid", find_score(data.scores, "kid")),
        _floor_line("fd", find_score(data.scores, "fd")),
        _floor_line("precision", find_score(data.scores, "precision")),
    ]
    return _criterion(
        "Congruence",
        "Do the synthetic images follow the distribution of the originals?",
        lines,
        ["Distances in the feature space of a network trained on such tissue", "Visual quality as an expert sees it"],
    )


def _coverage(data: ReportData) -> Criterion:
    lines = [
        _floor_line("coverage", find_score(data.scores, "coverage")),
        _floor_line("recall", find_score(data.scores, "recall")),
        _floor_line("rare-coverage", _overall_score(data.evidence, "rare-coverage")),
    ]
    return _criterion(
        "Coverage",
        "Do they span the variety of the originals, rare kinds included?",
        lines,
        ["Variety that the originals themselves do not show"],
    )


def _constraint(data: ReportData) -> Criterion:
    lines = [_floor_line("label-agreement", _overall_score(data.evidence, "label-agreement"))]
    missing = ["Whether each structure is biologically possible: no measure here sees it"]
    readers = _overall_score(data.evidence, "reader-accuracy")
    if readers is None or readers.low is None:
        missing.append("The opinion of readers: no reader study has answers for this job")
    else:
        conclusion = Conclusion.PROBLEM if readers.low > 0.5 else _shown_by(readers.n_real)
        title, threshold = title_of("reader-accuracy"), "interval reaches 0.5, guessing"
        lines.append(Line(title, _value_text(readers), threshold, "lower", conclusion))
    return _criterion("Constraint", "Do they keep to what biology and the label allow?", lines, missing)


def _completeness(data: ReportData) -> Criterion:
    job, present = data.job, {name for name, accepted, _ in data.gate.counts if accepted}
    missing = [name for name in data.class_names if name not in present]
    lines = [
        _fact_line(
            "Images accepted of those asked for",
            f"{job.n_accepted} of {job.n_requested}",
            "all of them",
            job.n_accepted >= job.n_requested,
        ),
        _fact_line(
            "Classes with images",
            f"{len(data.class_names) - len(missing)} of {len(data.class_names)}",
            "every class of the model",
            not missing,
        ),
    ]
    if data.data is not None:
        wanted = [c.class_name for c in data.data.counts if c.train]
        lines.append(
            _fact_line(
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
        _fact_line("Screened against copies of originals", "yes" if gate.screened else "no", "yes", gate.screened),
        _floor_line("copy-rate", find_score(data.scores, "copy-rate")),
        _fact_line(
            "Withdrawn originals behind the model",
            "yes" if data.training.withdrawn else "none",
            "none",
            not data.training.withdrawn,
        ),
    ]
    if part is not None:
        lines += [
            _fact_line("Licence of the originals", part.licence or "not recorded", "recorded", bool(part.licence)),
            _fact_line(
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
        _fact_line(
            "Facts a user needs, on record", f"{len(known) - len(missing)} of {len(known)}", "all of them", not missing
        ),
    ]
    gaps = [f"On record is no {name}" for name in missing]
    return _criterion(
        "Comprehension",
        "Can a stranger understand how they were made, and assess them?",
        lines,
        [*gaps, "Whether readers understood the documents"],
    )


def _consistency(data: ReportData) -> Criterion:
    lines = [
        _floor_line("kid", find_score(data.scores, "kid", name), class_name=name)
        for name in data.class_names
        if len(data.class_names) > 1
    ]
    groups = [s for s in data.evidence if s.metric.startswith("group-coverage-") and s.value is not None]
    if groups:
        worst = min(groups, key=lambda s: (s.value, s.group_name))
        mean = sum(s.value or 0.0 for s in groups) / len(groups)
        far_below = worst.high is not None and worst.high < 0.5 * mean
        lines.append(
            Line(
                f"Coverage of the worst group ({worst.group_name})",
                _value_text(worst),
                f"not below half of the mean group ({number(0.5 * mean)})",
                "higher",
                Conclusion.PROBLEM if far_below else _shown_by(worst.n_real),
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
        return Line(measure, score.note or "not computed", threshold, "higher", Conclusion.UNDECIDED)
    if score.high < 0:
        word, conclusion = "harms", Conclusion.PROBLEM
    elif score.low > 0:
        word, conclusion = "helps", Conclusion.SHOWN
    else:
        word, conclusion = "no difference shown", Conclusion.NOT_SHOWN
    return Line(measure, f"{_value_text(score)}: {word}", threshold, "higher", conclusion)


def _floor_line(metric: str, score: Score | None, class_name: str | None = None) -> Line:
    """One metric beside the score of real against real; a problem only where the whole interval lies beyond it."""
    spec = metric_spec(metric)
    better = "lower" if spec is None else spec.direction
    measure = title_of(metric) if class_name is None else f"{title_of(metric)}, class {class_name}"
    threshold = "interval reaches that of real against real"
    if score is None or score.value is None:
        return Line(measure, "not computed", threshold, better, Conclusion.UNDECIDED)
    value = _value_text(score)
    if score.low is None or score.high is None or score.floor_low is None or score.floor_high is None:
        return Line(measure, value, threshold, better, Conclusion.UNDECIDED)
    higher = better == "higher"
    beyond = score.high < score.floor_low if higher else score.low > score.floor_high
    side = "below" if higher else "above"
    return Line(
        measure,
        value,
        f"interval not wholly {side} real against real, {interval(score.floor_low, score.floor_high)}",
        better,
        Conclusion.PROBLEM if beyond else _shown_by(score.n_real),
    )


def _shown_by(n_real: int) -> Conclusion:
    """The conclusion where nothing speaks against a line that so many originals stand behind."""
    return Conclusion.NOT_SHOWN if n_real < FEW_TEST_IMAGES else Conclusion.SHOWN


def _fact_line(measure: str, value: str, threshold: str, holds: bool) -> Line:
    return Line(measure, value, threshold, "yes", Conclusion.SHOWN if holds else Conclusion.PROBLEM)


def _criterion(name: str, question: str, lines: Sequence[Line], not_measured: Sequence[str]) -> Criterion:
    of_lines = {line.conclusion for line in lines}  # the worst line decides, then what is missing, then what is thin
    if Conclusion.PROBLEM in of_lines:
        conclusion = Conclusion.PROBLEM
    elif of_lines <= {Conclusion.UNDECIDED}:
        conclusion = Conclusion.UNDECIDED
    elif Conclusion.UNDECIDED in of_lines:
        conclusion = Conclusion.PARTLY
    else:
        conclusion = Conclusion.NOT_SHOWN if Conclusion.NOT_SHOWN in of_lines else Conclusion.SHOWN
    return Criterion(name, question, conclusion, tuple(lines), tuple(not_measured))


def _overall_score(scores: Sequence[Score], metric: str) -> Score | None:
    """The score of a metric over all classes and groups; the leading network's where there are several."""
    network = leading_network(scores)
    overall = [s for s in scores if s.metric.startswith(f"{metric}-") and s.class_name is None and s.group_name is None]
    return next((s for s in overall if parts_of(s.metric)[1] == network), overall[0] if overall else None)


def _value_text(score: Score) -> str:
    assert score.value is not None
    return f"{number(score.value)} (95%: {interval(score.low, score.high)})"
