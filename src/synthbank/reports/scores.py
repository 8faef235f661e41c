"""Scores as tables list them: the parts of an id, the network that leads, and the one order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from synthbank.metrics import MetricSpec, metrics
from synthbank.records import INSIDE_DISCRIMINATOR, SCORING_NETWORK

_UNKNOWN_ORDER = 1_000_000
"""Place of a metric that no registered spec describes: after all others."""


class Scored(Protocol):
    """A score, or a row that holds one."""

    @property
    def metric(self) -> str:
        """Protocol id, such as "kid-lite1-64"."""

    @property
    def class_name(self) -> str | None:
        """`None`: over all classes."""

    @property
    def value(self) -> float | None:
        """`None`: not computed."""

    @property
    def note(self) -> str | None:
        """Remarks."""


S = TypeVar("S", bound=Scored)


def parts_of(metric_id: str) -> tuple[str, str, str]:
    """Metric, feature network and input size of a protocol id.

    >>> parts_of("copy-rate-lite1-64")
    ('copy-rate', 'lite1', '64')
    """
    pieces = metric_id.rsplit("-", 2)
    return (pieces[0], pieces[1], pieces[2]) if len(pieces) == 3 else (metric_id, "", "")


def metric_spec(metric_id: str) -> MetricSpec | None:
    """The declared facts of the metric in a protocol id; `None`: no such metric is registered here."""
    name = parts_of(metric_id)[0]
    return metrics.spec(name) if name in metrics else None


def title_of(metric_id: str) -> str:
    """The metric's title; of an unknown one, its id."""
    spec = metric_spec(metric_id)
    return metric_id if spec is None else spec.title


def meaning_of(metric_id: str) -> str:
    """Half a sentence about the value; empty for an unknown metric."""
    spec = metric_spec(metric_id)
    return "" if spec is None else spec.meaning


def metric_order(metric_id: str) -> tuple[int, str]:
    """Sorting key of a protocol id: the order that the metric's spec declares, unknown metrics last."""
    spec = metric_spec(metric_id)
    return _UNKNOWN_ORDER if spec is None else spec.order, metric_id


def leading_network(scores: Sequence[Scored]) -> str | None:
    """The network whose KID the conclusion reads: one that the model's discriminator did not look through.

    Of several, the scoring network; `None` where the discriminator looked through each.
    """
    kids = [
        s for s in scores if parts_of(s.metric)[0] == "kid" and s.value is not None and not seen_by_discriminator(s)
    ]
    names = sorted({parts_of(s.metric)[1] for s in kids}, key=lambda name: (name != SCORING_NETWORK, name))
    return names[0] if names else None


def seen_by_discriminator(score: Scored) -> bool:
    """The score was taken in a space that the model's discriminator looked through."""
    return (score.note or "").startswith(INSIDE_DISCRIMINATOR)


def find_score(scores: Sequence[S], metric: str, class_name: str | None = None) -> S | None:
    """The leading network's score of a metric for a class (`None`: over all); `None` where it was not computed."""
    network = leading_network(scores)
    for score in scores:
        if parts_of(score.metric)[:2] == (metric, network) and score.class_name == class_name:
            return score if score.value is not None else None
    return None


def split_by_network(scores: Sequence[S]) -> tuple[list[S], list[S]]:
    """Scores of the leading network and of metrics that only one network gives; and the rest."""
    network = leading_network(scores)
    led = {parts_of(s.metric)[0] for s in scores if parts_of(s.metric)[1] == network}
    first = [s for s in scores if parts_of(s.metric)[1] == network or parts_of(s.metric)[0] not in led]
    return first, [s for s in scores if s not in first]


def group_scores(scores: Sequence[S], class_names: Sequence[str] = ()) -> list[tuple[str | None, list[S]]]:
    """Scores of one table each: over all classes first (`None`), then class by class; in each, the order of the specs.

    Args:
        scores: of one subject, through one network or several; the leading network comes first.
        class_names: order of the classes; others follow as they first appear.
    """
    network = leading_network(scores)
    led = {parts_of(s.metric)[0] for s in scores if parts_of(s.metric)[1] == network}

    def place(score: Scored) -> tuple[str, int, str]:
        name, own_network, _ = parts_of(score.metric)
        beside = own_network != network and name in led  # the same metric in a second feature space
        return own_network if beside else "", *metric_order(score.metric)

    names = dict.fromkeys((None, *class_names, *(s.class_name for s in scores)))
    groups = [(name, sorted((s for s in scores if s.class_name == name), key=place)) for name in names]
    return [(name, group) for name, group in groups if group]


def order_scores(scores: Sequence[S], class_names: Sequence[str] = ()) -> list[S]:
    """All scores in the order of the tables, one after the other: of the leading network, then of the others.

    The terminal, the report and the API list them in this order.
    """
    return [
        score for part in split_by_network(scores) for _, group in group_scores(part, class_names) for score in group
    ]
