"""The conclusions about a set of images in plain words: no more than the scores show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from synthbank.records import Score
from synthbank.reports.content import ReportData
from synthbank.reports.numbers import interval, number
from synthbank.reports.scores import find_score, leading_network

FEW_TEST_IMAGES = 50
"""Test originals below which the page says that scores are only a rough indication."""


class Tone(StrEnum):
    """Advice how to read a statement; it colours the page."""

    FINE = "no problem seen"
    CARE = "read with care"
    PROBLEM = "problem"
    UNKNOWN = "cannot say"


@dataclass(frozen=True)
class Statement:
    """One of the conclusions."""

    tone: Tone
    title: str
    text: str


@dataclass(frozen=True)
class Conclusions:
    """All that can be said of a set: one headline, then statement by statement."""

    headline: str
    statements: tuple[Statement, ...]


def conclude(data: ReportData) -> Conclusions:
    """The conclusions about a job, from its scores, its gate and its training."""
    statements = [
        *_withdrawal(data),
        _amount(data),
        _fidelity(data),
        _variety(data),
        _classes(data),
        _copies(data),
        _guards(data),
        *_shortfall(data),
    ]
    return Conclusions(_headline(data), tuple(s for s in statements if s is not None))


def count_test_images(data: ReportData) -> int:
    """Test originals that the scores were computed with; 0 where there are none."""
    return max((s.n_real for s in data.scores if s.metric.startswith(("kid", "fid"))), default=0)


def _headline(data: ReportData) -> str:
    # the first of these that holds: what forbids use, what is missing, copies, distance, thin evidence
    if data.training.withdrawn:
        return "Withdrawn: do not use these images"
    if not data.scores:
        return "Not evaluated: nothing can be said about quality yet"
    kid = find_score(data.scores, "kid")
    copies = find_score(data.scores, "copy-rate")
    if kid is None:
        return "Too few images to say how close the synthetic images come to real ones"
    if copies is not None and _above_floor(copies):
        return "The synthetic images copy training originals more often than new real images resemble them"
    if _above_floor(kid):
        return "The synthetic images can still be distinguished from real ones"
    if kid.floor_high is None:
        return "A distance from real images was measured, but there is no floor to compare it with"
    if kid.n_real < FEW_TEST_IMAGES:
        return f"No difference from real images was shown, but {kid.n_real} test images are too few to be sure"
    return f"No difference from real images was shown with {kid.n_real} test images"


def _withdrawal(data: ReportData) -> list[Statement]:
    if not data.training.withdrawn:
        return []
    text = "An original that shaped this model was withdrawn after training. The model and its images must not be used."
    return [Statement(Tone.PROBLEM, "Withdrawn model", text)]


def _amount(data: ReportData) -> Statement:
    if not data.scores:
        text = "No score has been computed for this job. Run the evaluation, then write this report again."
        return Statement(Tone.UNKNOWN, "Evaluation", text)
    n_real = count_test_images(data)
    n_fake = max(s.n_fake for s in data.scores)
    text = f"{n_real} test originals and {n_fake} synthetic images were compared."
    if n_real < FEW_TEST_IMAGES:
        text += f" Fewer than {FEW_TEST_IMAGES} test originals give wide intervals: every score is a rough indication."
        return Statement(Tone.CARE, "Amount of evidence", text)
    return Statement(Tone.FINE, "Amount of evidence", text)


def _fidelity(data: ReportData) -> Statement | None:
    if not data.scores:
        return None
    kid, network = find_score(data.scores, "kid"), leading_network(data.scores)
    title = "Closeness to real images"
    if kid is None or kid.value is None:
        return Statement(Tone.UNKNOWN, title, "Too few images to say: the kernel distance could not be computed.")
    text = f"Kernel distance ({network}, lower is better) {_with_floor(kid)}."
    if kid.low is None or kid.floor_high is None:
        return Statement(Tone.UNKNOWN, title, f"{text} Without a floor and intervals nothing follows from it.")
    if _above_floor(kid):
        why = "The interval lies wholly above the floor's: the difference from real images is larger than chance."
        return Statement(Tone.PROBLEM, title, f"{text} {why}")
    why = "The two intervals overlap: no difference was shown with so many images, which does not prove there is none."
    tone = Tone.CARE if kid.n_real < FEW_TEST_IMAGES else Tone.FINE
    return Statement(tone, title, f"{text} {why}")


def _variety(data: ReportData) -> Statement | None:
    if not data.scores:
        return None
    scores = {"Coverage": find_score(data.scores, "coverage"), "recall": find_score(data.scores, "recall")}
    known = [(name, score) for name, score in scores.items() if score is not None]
    if not known:
        return Statement(Tone.UNKNOWN, "Variety", "Too few images to say: coverage and recall could not be computed.")
    text = "; ".join(f"{name} {_with_floor(score)}" for name, score in known) + " (higher is better)."
    low = [name.lower() for name, score in known if _below_floor(score)]
    if low:
        verb = "lie" if len(low) > 1 else "lies"
        why = (
            f"{' and '.join(low).capitalize()} {verb} below the floor's interval: some kinds of real image are missing."
        )
        return Statement(Tone.PROBLEM, "Variety", f"{text} {why}")
    if any(score.floor_low is None or score.high is None for _, score in known):
        return Statement(Tone.UNKNOWN, "Variety", f"{text} Without a floor nothing follows from it.")
    few = min(score.n_real for _, score in known) < FEW_TEST_IMAGES
    why = "No loss of variety was shown at this number of images."
    return Statement(Tone.CARE if few else Tone.FINE, "Variety", f"{text} {why}")


def _classes(data: ReportData) -> Statement | None:
    """Each class by its kernel distance; `None` for a single class or without scores."""
    if not data.scores or len(data.class_names) < 2:
        return None
    worse: list[str] = []
    same: list[str] = []
    unknown: list[str] = []
    for name in data.class_names:
        kid = find_score(data.scores, "kid", name)
        if kid is None or kid.low is None or kid.floor_high is None:
            unknown.append(name)
        elif _above_floor(kid):
            worse.append(name)
        else:
            # with few test originals wide intervals overlap whatever the images are like
            (same if kid.n_real >= FEW_TEST_IMAGES else unknown).append(name)
    words = [
        f"{intro}: {', '.join(names)}."
        for intro, names in (
            ("Kernel distance above the floor", worse),
            ("No difference shown", same),
            ("Too few test originals to say", unknown),
        )
        if names
    ]
    tone = Tone.PROBLEM if worse else Tone.UNKNOWN if unknown else Tone.FINE
    smallest = min((s.n_real for s in data.scores if s.metric.startswith("kid") and s.class_name), default=0)
    return Statement(tone, "Single classes", f"{' '.join(words)} The smallest class has {smallest} test originals.")


def _copies(data: ReportData) -> Statement:
    title, gate = "Copies of training originals", data.gate
    if not gate.screened:
        text = "This job was not screened: copies of training originals were not rejected."
        return Statement(Tone.PROBLEM, title, text)
    n_copies = sum(n for reason, n in gate.reasons if reason.endswith("copy"))
    text = f"The gate rejected {n_copies} of {gate.accepted + gate.rejected} images as copies."
    rate = find_score(data.scores, "copy-rate")
    if rate is None:
        return Statement(Tone.UNKNOWN, title, f"{text} The copy rate of the accepted images was not measured.")
    text += f" Copy rate of the accepted images {_with_floor(rate)} (lower is better)."
    if _above_floor(rate):
        why = "That is more than new real images show: look at the nearest pairs before any use."
        return Statement(Tone.PROBLEM, title, f"{text} {why}")
    why = "No excess over new real images was shown. Near copies that this feature space does not see are not excluded."
    unsure = rate.floor_high is None or count_test_images(data) < FEW_TEST_IMAGES
    return Statement(Tone.CARE if unsure else Tone.FINE, title, f"{text} {why}")


def _guards(data: ReportData) -> Statement:
    training = data.training
    n = len(training.events)
    if n:
        steps = ", ".join(str(e.step) for e in training.events[:5]) + (" …" if n > 5 else "")
        text = f"{n} guard event{'s' * (n > 1)} or rollback{'s' * (n > 1)} at step {steps}; see the training section."
        return Statement(Tone.CARE, "Training", text)
    if training.run_id is None:
        return Statement(Tone.UNKNOWN, "Training", "The training run of this model is not recorded in this bank.")
    text = "No guard fired: no mode collapse, discriminator over-fitting, explosion or oscillation passed its limit."
    return Statement(Tone.FINE, "Training", text)


def _shortfall(data: ReportData) -> list[Statement]:
    job = data.job
    if job.n_accepted >= job.n_requested:
        return []
    text = f"{job.n_requested} images were asked for and {job.n_accepted} accepted in {job.n_attempts} attempts."
    return [Statement(Tone.CARE, "Fewer images than asked for", f"{text} {job.message or ''}".strip())]


def _with_floor(score: Score) -> str:
    assert score.value is not None
    words = f"{number(score.value)} (95% interval {interval(score.low, score.high)})"
    if score.floor is None:
        return f"{words}, floor not measured"
    return f"{words}, floor of real against real {number(score.floor)} ({interval(score.floor_low, score.floor_high)})"


def _above_floor(score: Score) -> bool:
    """The whole interval lies above the floor's: worse than chance where lower is better."""
    return score.low is not None and score.floor_high is not None and score.low > score.floor_high


def _below_floor(score: Score) -> bool:
    """The whole interval lies below the floor's: worse than chance where higher is better."""
    return score.high is not None and score.floor_low is not None and score.high < score.floor_low
