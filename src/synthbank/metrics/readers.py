"""Can readers tell real from synthetic?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.errors import OptionError
from synthbank.metrics.resampling import wilson_interval

KINDS = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer about one image."""

    reader: str
    class_name: str
    truth: str
    """"real" or "synthetic"."""
    answer: str


@dataclass(frozen=True, slots=True)
class ReaderScore:
    """How one reader (or all) did on one class (or all)."""

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
    def words(self) -> str:
        """What the interval allows to be said."""
        if self.low > 0.5:
            return "tells them apart"
        return "is fooled more often than not" if self.high < 0.5 else "no better than guessing was shown"


def reader_scores(answers: Sequence[Answer]) -> list[ReaderScore]:
    """Accuracy of all readers together, then of each; over all classes, then for each class.

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
    low, high = wilson_interval(accuracy, len(answers))
    return ReaderScore(
        reader, class_name, len(answers), accuracy, low, high, *(_called_real(answers, k) for k in reversed(KINDS))
    )


def _called_real(answers: Sequence[Answer], truth: str) -> float | None:
    of_kind = [a for a in answers if a.truth == truth]
    return sum(a.answer == "real" for a in of_kind) / len(of_kind) if of_kind else None
