"""The scores of a report: their names in words, their order, and which of them lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.records import Score


@dataclass(frozen=True)
class Measure:
    """A metric for the reader."""

    title: str
    meaning: str
    rank: int


MEASURES = {
    "kid": Measure("Kernel distance (KID)", "how far the two sets lie apart; 0 is no difference", 0),
    "fd": Measure("Fréchet distance", "how far means and covariances lie apart; biased for small sets", 1),
    "precision": Measure("Precision", "share of synthetic images that fall among the real ones", 2),
    "recall": Measure("Recall", "share of real images that fall among the synthetic ones", 3),
    "density": Measure("Density", "how densely real neighbourhoods are filled; 1 is like real", 4),
    "coverage": Measure("Coverage", "share of real images with a synthetic image close by", 5),
    "diversity": Measure("Diversity ratio", "spread of synthetic over spread of real; 1 is as varied", 6),
    "copy-rate": Measure("Copy rate", "share of synthetic images closer to a training original than originals are", 7),
    "fid": Measure("FID (Inception)", "the published Fréchet Inception distance", 8),
    "is": Measure("Inception Score", "confidence and variety as judged by Inception", 9),
    "rare-coverage": Measure("Coverage of rare modes", "share of originals of small clusters with one near", 10),
    "common-coverage": Measure("Coverage of common modes", "the same for the other clusters", 11),
    "group-coverage": Measure("Coverage of a group", "the same for one patient, slide or centre", 12),
    "reader-accuracy": Measure("Accuracy of readers", "share of images that readers call by their right name", 14),
    "label-agreement": Measure("Label agreement", "share of labels that a real-trained classifier would give too", 13),
}


def parts_of(metric_id: str) -> tuple[str, str, str]:
    """Metric, feature network and input size of a protocol id.

    >>> parts_of("copy-rate-lite1-64")
    ('copy-rate', 'lite1', '64')
    """
    pieces = metric_id.rsplit("-", 2)
    return (pieces[0], pieces[1], pieces[2]) if len(pieces) == 3 else (metric_id, "", "")


def measure_of(metric_id: str) -> Measure:
    """The metric in words; one that this page does not know keeps its id."""
    return MEASURES.get(parts_of(metric_id)[0], Measure(metric_id, "", len(MEASURES)))


def leading_network(scores: Sequence[Score]) -> str | None:
    """The network whose KID the verdict reads: Lite1 where it was used, as no discriminator looks through it."""
    networks = sorted({parts_of(s.metric)[1] for s in scores if parts_of(s.metric)[0] == "kid" and s.value is not None})
    if not networks:
        return None
    return "lite1" if "lite1" in networks else networks[0]


def find_score(scores: Sequence[Score], metric: str, class_name: str | None = None) -> Score | None:
    """The leading network's score of a metric for a class (`None`: over all); `None` where it was not computed."""
    network = leading_network(scores)
    for score in scores:
        if parts_of(score.metric)[:2] == (metric, network) and score.class_name == class_name:
            return score if score.value is not None else None
    return None


def split_by_network(scores: Sequence[Score]) -> tuple[list[Score], list[Score]]:
    """Scores of the leading network and of metrics that only one network gives; and the rest."""
    network = leading_network(scores)
    led = {parts_of(s.metric)[0] for s in scores if parts_of(s.metric)[1] == network}
    first = [s for s in scores if parts_of(s.metric)[1] == network or parts_of(s.metric)[0] not in led]
    return first, [s for s in scores if s not in first]


def in_order(scores: Sequence[Score], class_names: Sequence[str]) -> list[tuple[str | None, list[Score]]]:
    """Scores in table order: over all classes first, then class by class; the leading network first in each."""
    network = leading_network(scores)

    def rank(score: Score) -> tuple[bool, str, int, str]:
        return (
            parts_of(score.metric)[1] != network,
            parts_of(score.metric)[1],
            measure_of(score.metric).rank,
            score.metric,
        )

    names = (None, *class_names, *sorted({s.class_name for s in scores if s.class_name} - set(class_names)))
    groups = [(name, sorted((s for s in scores if s.class_name == name), key=rank)) for name in names]
    return [(name, group) for name, group in groups if group]
