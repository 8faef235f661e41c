"""Reader study: how often readers tell synthetic images from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.errors import OptionError
from synthbank.metrics.resampling import wilson_interval

KINDS = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of one reader about one image."""

    reader: str
    class_name: str
    truth: str
    """"real" or "synthetic"."""
    answer: str


@dataclass(frozen=True, slots=True)
class ReaderScore:
    """Accuracy of one reader (or all) on one class (or all)."""

    reader: str | None
    """`None`: all readers together."""
    class_name: str | None
    """`None`: all classes together."""
    n: int
    accuracy: float
    """0.5 is guessing; the nearer to it, the more the synthetic images pass for real."""
    low: float
    high: float
    """Wilson's 95% interval; of all readers together it takes answers as independent, and is then too narrow."""
    synthetic_called_real: float | None
    """Share; `None`: no synthetic image was answered."""
    real_called_real: float | None

    @property
    def conclusion(self) -> str:
        """Conclusion that the interval allows, for the reader of a report."""
        if self.low > 0.5:
            return "tells them apart"
        return "is fooled more often than not" if self.high < 0.5 else "no better than guessing was shown"


def reader_scores(answers: Sequence[Answer]) -> list[ReaderScore]:
    """Score all readers together, then each; over all classes, then for each class.

    Args:
        answers: in any order.

    Returns:
        Accuracies from 0 to 1. 0.5 is guessing; the nearer to it, the more synthetic images pass for real.

    Raises:
        OptionError: no answer, or a word that is neither "real" nor "synthetic".

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not answers:
        raise OptionError("There is no answer to score", next_step="import a reader's file first")
    for answer in answers:
        if answer.truth not in KINDS or answer.answer not in KINDS:
            raise OptionError("This is no answer of a reader", got=(answer.truth, answer.answer), allowed=KINDS)
    readers = [None, *sorted({a.reader for a in answers})]
    classes = [None, *sorted({a.class_name for a in answers})]
    scores = []
    for reader in readers:
        for name in classes:
            some = [a for a in answers if reader in (None, a.reader) and name in (None, a.class_name)]
            if some:
                scores.append(_score(reader, name, some))
    return scores


def _score(reader: str | None, class_name: str | None, answers: Sequence[Answer]) -> ReaderScore:
    accuracy = sum(a.answer == a.truth for a in answers) / len(answers)
    # answers count as independent Bernoulli trials; for one reader they are, for several of one image they are not
    low, high = wilson_interval(accuracy, len(answers))
    return ReaderScore(
        reader, class_name, len(answers), accuracy, low, high, *(_called_real(answers, k) for k in reversed(KINDS))
    )


def _called_real(answers: Sequence[Answer], truth: str) -> float | None:
    # miss rate where the truth is synthetic, specificity where it is real: accuracy alone hides a reader who says
    # "real" to everything
    of_kind = [a for a in answers if a.truth == truth]
    return sum(a.answer == "real" for a in of_kind) / len(of_kind) if of_kind else None
