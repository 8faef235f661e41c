"""Names, network and order of scores in tables."""

import pytest

from synthbank.metrics import metrics
from synthbank.records import INSIDE_DISCRIMINATOR, SCORING_NETWORK, Score
from synthbank.reports.scores import (
    find_score,
    group_scores,
    leading_network,
    meaning_of,
    order_scores,
    split_by_network,
    title_of,
)


@pytest.fixture
def open_registry(monkeypatch):
    """The registry of metrics; what a test registers is forgotten after it."""
    assert metrics.names()  # loaded before, or what is loaded later would be forgotten as well
    for attribute in ("_items", "_specs"):
        monkeypatch.setattr(metrics, attribute, dict(getattr(metrics, attribute)))
    return metrics


def score(metric, value=0.5, class_name=None, note=None):
    return Score(metric, value, class_name=class_name, note=note)


def test_a_metric_of_another_package_is_listed_at_its_place_under_its_title(open_registry):
    facts = {"kind": "declared", "order": 45, "title": "Gap", "meaning": "gap of the means", "citation": "ours"}
    open_registry.register("gap", **facts)(None)
    scores = [score(f"{name}-lite1-64") for name in ("density", "gap", "recall", "kid")]
    names = [s.metric.removesuffix("-lite1-64") for s in order_scores(scores)]
    assert names == ["kid", "recall", "gap", "density"]
    assert (title_of("gap-lite1-64"), meaning_of("gap-lite1-64")) == ("Gap", "gap of the means")


def test_a_metric_that_nobody_registered_keeps_its_id_and_stands_last():
    scores = [score("of-old-lite1-64"), score("duplicates-lite1-64"), score("kid-lite1-64")]
    assert [s.metric for s in order_scores(scores)][-1] == "of-old-lite1-64"
    assert (title_of("of-old-lite1-64"), meaning_of("of-old-lite1-64")) == ("of-old-lite1-64", "")


def test_the_scoring_network_leads_unless_the_discriminator_saw_it():
    ours, other = score(f"kid-{SCORING_NETWORK}-64"), score("kid-aaa-64")
    assert leading_network([other, ours]) == SCORING_NETWORK
    seen = score(ours.metric, note=f"{INSIDE_DISCRIMINATOR}; times 1000")
    assert leading_network([other, seen]) == "aaa"
    assert leading_network([seen]) is None
    assert leading_network([score(ours.metric, value=None)]) is None


def test_a_score_is_found_for_its_class_and_only_with_a_value():
    scores = [score("kid-lite1-64"), score("fd-lite1-64", value=None), score("kid-lite1-64", 0.7, "a")]
    assert find_score(scores, "kid").value == 0.5
    assert find_score(scores, "kid", "a").value == 0.7
    assert find_score(scores, "fd") is None
    assert find_score(scores, "kid", "b") is None


def test_metrics_that_only_one_network_gives_stand_with_the_leading_ones():
    scores = [score(m) for m in ("kid-lite0-64", "kid-lite1-64", "stain-pixels-64", "fid-inception-299")]
    leading, others = split_by_network(scores)
    assert [s.metric for s in leading] == ["kid-lite1-64", "stain-pixels-64", "fid-inception-299"]
    assert [s.metric for s in others] == ["kid-lite0-64"]


def test_groups_are_all_classes_then_each_class_as_named_or_as_it_first_appears():
    scores = [score("kid-lite1-64", class_name=name) for name in ("b", None, "a", "c")]
    assert [name for name, _ in group_scores(scores)] == [None, "b", "a", "c"]
    assert [name for name, _ in group_scores(scores, ("a", "b"))] == [None, "a", "b", "c"]
    assert [name for name, _ in group_scores(scores[:1], ("a", "b"))] == ["b"]
